// The places that a `touch` goes to, and runs of hits among them: like those of records (records.ts) in functions of
// their own.

import { isFront, isPageHit } from './translate'

/** Where the strided access behind the last one of {@link skipStrided} goes. */
export let placeAfter: u64 = 0

/**
 * How many strided accesses from place `at` on, at most `most`, go to a page that is in the first level. All places are
 * in the lower half of the address space.
 */
export function skipStrided(
  mmu: usize, kind: usize, base: u64, at: u64, step: u64, most: i32, past: u64, tag: u64, shift: u64,
): i32 {
  let left = most
  while (left > 0) {
    while (left > 0) {
      const page = base + at >> shift
      if (!isFront(mmu, page, kind, page | tag)) break
      left--
      at = nextPlace(at, step, past)
    }
    if (left == 0) break
    const page = base + at >> shift
    if (!isPageHit(mmu, page, kind, page | tag)) break
    left--
    at = nextPlace(at, step, past)
  }
  placeAfter = at
  return most - left
}

/** The same for random accesses from position `position` on. */
export function skipRandom(
  mmu: usize, kind: usize, base: u64, seed: u32, position: u32, most: i32, slots: u64, tag: u64, shift: u64,
): i32 {
  let done: i32 = 0
  while (done < most) {
    while (done < most) {
      const page = base + placeOf(seed, position + done, slots) >> shift
      if (!isFront(mmu, page, kind, page | tag)) break
      done++
    }
    if (done == most) break
    const page = base + placeOf(seed, position + done, slots) >> shift
    if (!isPageHit(mmu, page, kind, page | tag)) break
    done++
  }
  return done
}

@inline
export function nextPlace(at: u64, step: u64, past: u64): u64 {
  let next = at + step
  while (next >= past) next -= past
  return next
}

/** One of `slots` places of eight bytes. No hash reaches a slot beyond 2^32. */
@inline
export function placeOf(seed: u32, position: u32, slots: u64): u64 {
  const drawn = hash(seed, position)
  return <u64>(slots >> 32 == 0 ? drawn % <u32>slots : drawn) << 3
}

/** base/prng.ts, hash32(). */
@inline
function hash(a: u32, b: u32): u32 {
  let h = mixIn(mixIn(0x2f0b4c47, a), b)
  h ^= h >> 16
  h *= 0x85ebca6b
  h ^= h >> 13
  h *= 0xc2b2ae35
  return h ^ h >> 16
}

@inline
function mixIn(seed: u32, word: u32): u32 {
  const h = rotl(seed ^ rotl(word * 0xcc9e2d51, 15) * 0x1b873593, 13)
  return h * 5 + 0xe6546b64
}
