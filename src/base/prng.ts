// The only source of randomness. A generator is named: `createRandom(7, 'placement')` and
// `createRandom(7, 'workload')` are independent streams of the same seed, so drawing more
// numbers for one purpose never changes another. Nothing here reads a clock.
//
// Not for cryptography.

import { assert } from './assert.js'

export interface Random {
  /** Uniform in [0, 2^32). */
  nextU32(): number
  /** Uniform in [0, n) without bias; n in 1..2^32. */
  nextInt(n: number): number
  /** Uniform in [0, 1), 53 bits. */
  nextFloat(): number
}

/** The substream `name` of `seed` (an integer of at most 53 bits). Chris Doty-Humphrey's sfc32 (PractRand). */
export function createRandom(seed: number, name: string): Random {
  assert(Number.isSafeInteger(seed), `seed ${seed} is not a safe integer`)
  let a = hash32(seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0)
  let b = 0x9e3779b9
  let c = hash32(a, name.length)
  for (let i = 0; i < name.length; i++) {
    b = hash32(b, name.charCodeAt(i))
    c = hash32(c, b)
  }
  let counter = 1

  const nextU32 = (): number => {
    const result = (a + b + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = ((c << 21) | (c >>> 11)) + result | 0
    return result >>> 0
  }
  // sfc32 wants its words mixed before the first number is used.
  for (let i = 0; i < 15; i++) nextU32()

  return {
    nextU32,
    nextInt(n) {
      assert(Number.isInteger(n) && n >= 1 && n <= 2 ** 32, `nextInt(${n}): n must be in 1..2^32`)
      // Numbers from the incomplete last interval are drawn again: fewer than two draws on average.
      const limit = 2 ** 32 - (2 ** 32 % n)
      let drawn = nextU32()
      while (drawn >= limit) drawn = nextU32()
      return drawn % n
    },
    nextFloat() {
      return ((nextU32() >>> 5) * 2 ** 26 + (nextU32() >>> 6)) / 2 ** 53
    },
  }
}

/**
 * Mixes two 32-bit words into one, uniform in [0, 2^32): the same input gives the same output,
 * without state. Rounds and finalizer of Austin Appleby's MurmurHash3 (x86, 32 bit).
 */
export function hash32(a: number, b: number): number {
  let h = mixIn(mixIn(0x2f0b4c47, a), b)
  h ^= h >>> 16
  h = Math.imul(h, 0x85ebca6b)
  h ^= h >>> 13
  h = Math.imul(h, 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

function mixIn(h: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51)
  k = (k << 15) | (k >>> 17)
  h ^= Math.imul(k, 0x1b873593)
  h = (h << 13) | (h >>> 19)
  return (Math.imul(h, 5) + 0xe6546b64) | 0
}
