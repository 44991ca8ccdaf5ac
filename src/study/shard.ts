// Part i of n of a study, counted from 1: every n-th point, so that dear and cheap points are spread evenly.

export interface Shard {
  number: number
  of: number
}

/** `2/4`; undefined when the text is not a part of a whole. */
export function parseShard(text: string): Shard | undefined {
  const match = /^(\d{1,7})\/(\d{1,7})$/.exec(text)
  const [number, of] = [Number(match?.[1]), Number(match?.[2])]
  return match !== null && number >= 1 && number <= of ? { number, of } : undefined
}

/** Indices of its points, ascending; all of `count` without a shard. */
export function shardIndices(count: number, shard: Shard | undefined): number[] {
  const { number, of } = shard ?? { number: 1, of: 1 }
  return Array.from({ length: Math.max(0, Math.ceil((count - number + 1) / of)) }, (_, i) => number - 1 + i * of)
}
