// Quantiles and bootstrap intervals: pure functions of numbers. test/860 holds them against simple-statistics.

import { createRandom } from '../base/prng.js'

const RESAMPLES = 2000

export interface Interval {
  mean: number
  low: number
  high: number
  /** Values that it was made of. */
  count: number
}

/** The smallest value that at least `share` (0 to 1) of the ascending `sorted` values do not exceed; 0 of nothing. */
export function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0
}

/** Mean of `values`, at least one. */
export function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

/**
 * The mean of `values` and its 95 % interval by the percentile bootstrap (Efron 1979): the means of samples drawn
 * from the values, with replacement. The draws are a function of the values. One value has no interval.
 */
export function bootstrapMean(values: readonly number[]): Interval {
  const mean = meanOf(values)
  const count = values.length
  if (new Set(values).size <= 1) return { mean, low: mean, high: mean, count }
  const random = createRandom(count, 'bootstrap')
  const means = Array.from({ length: RESAMPLES }, () => {
    let sum = 0
    for (let i = 0; i < count; i++) sum += values[random.nextInt(count)]!
    return sum / count
  }).sort((a, b) => a - b)
  return { mean, low: quantile(means, 0.025), high: quantile(means, 0.975), count }
}
