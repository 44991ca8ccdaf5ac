// A distribution that fits into a line of results: counts in buckets whose width is a fixed share of their
// value, so that distributions of many runs add up. Below 64 a bucket is one cycle; above, its lower edge is
// within 3.2 % of every value in it.

/** [lower edge, count], ascending. */
export type Histogram = readonly (readonly [value: number, count: number])[]

const SIGNIFICANT_BITS = 6

/** Of whole numbers that are not negative. */
export function histogramOf(values: readonly number[]): Histogram {
  const counts = new Map<number, number>()
  for (const value of values) {
    const edge = bucketOf(value)
    counts.set(edge, (counts.get(edge) ?? 0) + 1)
  }
  return sorted(counts)
}

/** The sum of several. */
export function mergeHistograms(histograms: readonly Histogram[]): Histogram {
  const counts = new Map<number, number>()
  for (const [edge, count] of histograms.flat()) counts.set(edge, (counts.get(edge) ?? 0) + count)
  return sorted(counts)
}

/** The lower edge of the bucket of `value`. */
export function bucketOf(value: number): number {
  let width = 1
  while (value / width >= 2 ** SIGNIFICANT_BITS) width *= 2
  return Math.floor(value / width) * width
}

function sorted(counts: ReadonlyMap<number, number>): Histogram {
  return [...counts].sort(([a], [b]) => a - b)
}
