// The arrays of TLBs and paging caches, as tlb-array.ts keeps them: moved or stamped, entries of 16 bytes. A
// key is one load: low word and second word of an entry (mmu-layout.ts).

import {
  ENTRY_ATTR, KEY_CLASS_SHIFT, KEY_GLOBAL, KEY_PCID_MASK, LIVE_GLOBAL, STAMP_LAST, STAMP_ONE, WORD_DENY, WORD_TAG,
} from '../../mmu-layout'
import {
  ARRAY_CLOCK, ARRAY_MASK, ARRAY_SET_BYTES, ARRAY_SETS, ARRAY_SHIFT, ARRAY_STAMPS, ARRAY_START, ARRAY_WAYS,
  ARRAY_WORDS, CACHE_KEY_MASK, CACHE_WORDS, PLAN_ADDRESS_MASK, PLAN_CACHE, PLAN_FRONT_CLASS,
} from '../plan-layout'

export const ENTRY_BYTES: usize = 16
export const ARRAY_BYTES: i32 = ARRAY_WORDS * 4
/** The page number in a key. */
const KEY_PAGE: u64 = (1 << 45) - 1

@inline
export function word(base: usize, index: usize): i32 {
  return load<i32>(base + index * 4)
}

@inline
export function attrOf(entry: usize): i32 {
  return load<i32>(entry, ENTRY_ATTR * 4)
}

/** What an entry must not have for a user access of this kind. */
@inline
export function denied(mmu: usize, access: i32): i32 {
  return word(mmu, WORD_DENY + access * 2 + 1)
}

/** The upper half of a key in front. */
@inline
export function frontTag(plan: usize, mmu: usize): u64 {
  return <u64><u32>(word(plan, PLAN_FRONT_CLASS) << KEY_CLASS_SHIFT | word(mmu, WORD_TAG)) << 32
}

@inline
export function keyOf(plan: usize, array: usize, cls: i32, address: u64, tag: i32): u64 {
  const page = (address & load<u64>(plan + PLAN_ADDRESS_MASK * 4)) >> <u64>word(array, ARRAY_SHIFT)
  return page | <u64><u32>(cls << KEY_CLASS_SHIFT | tag) << 32
}

@inline
export function cacheKey(mmu: usize, cache: usize, address: u64): u64 {
  const bits = address >> <u64>word(cache, ARRAY_SHIFT) & load<u64>(cache + CACHE_KEY_MASK * 4)
  return bits | <u64><u32>word(mmu, WORD_TAG) << 32
}

@inline
function setOf(array: usize, key: u64): usize {
  const page = key & KEY_PAGE
  const sets = word(array, ARRAY_SETS)
  return sets == 0 ? <usize>page & word(array, ARRAY_MASK) : <usize>(page % <u64>sets)
}

@inline
export function startOf(mmu: usize, array: usize, key: u64): usize {
  return mmu + word(array, ARRAY_START) + setOf(array, key) * word(array, ARRAY_SET_BYTES)
}

/** The entry with this key; 0: there is none. Without a branch for each, since none of them could be predicted. */
@inline
export function findExact(start: usize, past: usize, key: u64): usize {
  let found: usize = 0
  for (let at = start; at < past; at += ENTRY_BYTES) found = load<u64>(at) == key ? at : found
  return found
}

/** The entry with this key, in an array where it is likely to be in front; 0: there is none. */
@inline
export function findFirst(start: usize, past: usize, key: u64): usize {
  for (let at = start; at < past; at += ENTRY_BYTES) if (load<u64>(at) == key) return at
  return 0
}

/** The entry with this key, or its global twin; 0: there is none. */
@inline
export function find(start: usize, end: usize, key: u64): usize {
  const twin = (key & ~(<u64>KEY_PCID_MASK << 32)) | <u64>KEY_GLOBAL << 32
  for (let at = start; at < end; at += ENTRY_BYTES) {
    const found = load<u64>(at)
    if (found == key || found == twin) return at
  }
  return 0
}

/** Moves the entries [start, at) one way back, over the one at `at`. */
@inline
export function age(start: usize, at: usize): void {
  for (let to = at; to > start; to -= ENTRY_BYTES) v128.store(to, v128.load(to - ENTRY_BYTES))
}

export function moveToFront(start: usize, at: usize): void {
  const entry = v128.load(at)
  age(start, at)
  v128.store(start, entry)
}

/** Room for the next stamp: the MMU itself numbers an array anew. */
export function hasStamps(mmu: usize, array: usize): bool {
  const clock = word(array, ARRAY_CLOCK)
  return clock == 0 || load<i32>(mmu + clock) != STAMP_LAST
}

export function haveCachesStamps(plan: usize, mmu: usize, caches: i32): bool {
  let cache = plan + PLAN_CACHE * 4
  for (let i = 0; i < caches; i++) {
    // A walk stamps an entry that it finds, and one that it adds at every other level.
    if (load<i32>(mmu + word(cache, ARRAY_CLOCK)) == STAMP_LAST) return false
    cache += CACHE_WORDS * 4
  }
  return true
}

@inline
export function stamp(mmu: usize, array: usize, at: usize): void {
  const clock = mmu + word(array, ARRAY_CLOCK)
  const now = load<i32>(clock) + STAMP_ONE
  store<i32>(clock, now)
  store<i32>(mmu + word(array, ARRAY_STAMPS) + (at - mmu - word(array, ARRAY_START)) / 4, now)
}

/** Adds an entry that is known to be absent to its set, as the youngest; the oldest falls out. */
@inline
export function insert(mmu: usize, array: usize, key: u64, value: u64): void {
  const set = setOf(array, key)
  const setBytes = word(array, ARRAY_SET_BYTES)
  let at = mmu + word(array, ARRAY_START) + set * setBytes
  if (word(array, ARRAY_CLOCK) != 0) {
    at += oldest(mmu + word(array, ARRAY_STAMPS) + set * setBytes / 4, word(array, ARRAY_WAYS)) * ENTRY_BYTES
    stamp(mmu, array, at)
  } else {
    age(at, at + setBytes - ENTRY_BYTES)
  }
  store<u64>(at, key)
  store<u64>(at, value, 8)
}

/** {@link insert} where the level keeps such pages, and says so. */
@inline
export function fill(mmu: usize, array: usize, liveAt: usize, cls: i32, key: u64, value: u64): void {
  if (word(array, ARRAY_WAYS) == 0) return
  insert(mmu, array, key, value)
  store<i32>(liveAt, load<i32>(liveAt) | liveBits(cls, key))
}

@inline
export function addLive(mmu: usize, index: usize, bits: i32): void {
  store<i32>(mmu + index * 4, word(mmu, index) | bits)
}

/** What a level has in its live word with such an entry. */
@inline
function liveBits(cls: i32, key: u64): i32 {
  return 1 << cls | ((<i32>(key >> 32) & KEY_GLOBAL) != 0 ? LIVE_GLOBAL : 0)
}

/** The way that is empty, or was used longest ago: of the least stamp (tlb-array.ts). Four at once. */
@inline
function oldest(stamps: usize, ways: i32): usize {
  let least: u32 = u32.MAX_VALUE
  let way: i32 = 0
  if (ways >= 4) {
    let numbers = i32x4(0, 1, 2, 3)
    let leasts = v128.or(v128.load(stamps), numbers)
    for (way = 4; way + 4 <= ways; way += 4) {
      numbers = i32x4.add(numbers, i32x4.splat(4))
      leasts = i32x4.min_u(leasts, v128.or(v128.load(stamps + way * 4), numbers))
    }
    leasts = i32x4.min_u(leasts, v128.shuffle<i32>(leasts, leasts, 2, 3, 0, 1))
    least = min(<u32>i32x4.extract_lane(leasts, 0), <u32>i32x4.extract_lane(leasts, 1))
  }
  for (; way < ways; way++) {
    const other = load<u32>(stamps + way * 4) | way
    least = other < least ? other : least
  }
  return least & (STAMP_ONE - 1)
}
