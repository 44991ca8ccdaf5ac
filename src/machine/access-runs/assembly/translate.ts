// One access, in the order of mmu.ts: first level, second level, walk, pages of each class in turn.

import { ACCESS_EXEC, WORD_LIVE, WORD_TAG } from '../../mmu-layout'
import {
  ARRAY_CLOCK, ARRAY_MASK, ARRAY_SET_BYTES, ARRAY_START, CLASSES, KIND_DENY, KIND_MASK, KIND_SET_BYTES, KIND_START,
  PLAN_ACCESS_CYCLES, PLAN_CANONICAL_BIAS, PLAN_CANONICAL_MASK, PLAN_FRONT_CLASS, PLAN_FRONT_PAGES, PLAN_FRONT_STLB,
  PLAN_L1D, PLAN_L1I, PLAN_STLB, PLAN_STLB_HIT_CYCLES,
} from '../plan-layout'
import {
  addLive, age, ARRAY_BYTES, attrOf, denied, ENTRY_BYTES, fill, find, findExact, frontTag, hasStamps, keyOf,
  moveToFront, stamp, startOf, word,
} from './arrays'
import { countMiss, isSimple, mayChange, NOT_HERE, noteLive } from './run'
import { walk, walkPlain } from './walks'

/** An access that was looked for behind the front of its set is there, and may not be done. */
let isDenied: bool = false

/**
 * Whether the access finds its page in the first level, of the class in front, and may be done. It is the youngest of
 * its set then.
 */
@inline
export function isHit(plan: usize, mmu: usize, address: u64, kind: usize, shift: u64, tag: u64): bool {
  const page = address >> shift
  return page < load<u64>(plan + PLAN_FRONT_PAGES * 4) && isPageHit(mmu, page, kind, page | tag)
}

/** Whether the page is in front of its set, and the access may be done. */
@inline
export function isFront(mmu: usize, page: u64, kind: usize, key: u64): bool {
  const set = mmu + word(kind, KIND_START) + (<u32>page & word(kind, KIND_MASK)) * word(kind, KIND_SET_BYTES)
  return load<u64>(set) == key && (attrOf(set) & load<i32>(mmu + word(kind, KIND_DENY))) == 0
}

/** {@link isHit} for a page that can be in front; for a `key` that no entry has, it says no. */
@inline
export function isPageHit(mmu: usize, page: u64, kind: usize, key: u64): bool {
  const setBytes = word(kind, KIND_SET_BYTES)
  const set = mmu + word(kind, KIND_START) + (<u32>page & word(kind, KIND_MASK)) * setBytes
  const deny = load<i32>(mmu + word(kind, KIND_DENY))
  return load<u64>(set) == key ? (attrOf(set) & deny) == 0 : isHitBehind(set, set + setBytes, key, deny)
}

/** The same behind the front of its set. */
@inline
function isHitBehind(set: usize, past: usize, key: u64, deny: i32): bool {
  if (!isSimple) return false
  const at = findExact(set + ENTRY_BYTES, past, key)
  isDenied = at != 0 && (attrOf(at) & deny) != 0
  if (at == 0 || isDenied) return false
  moveToFront(set, at)
  return true
}

/** One access: its price, or NOT_HERE with nothing changed. `kind`: the row of the plan for it. */
export function translate(plan: usize, mmu: usize, address: u64, access: i32, kind: usize, shift: u64): i32 {
  if (isHit(plan, mmu, address, kind, shift, frontTag(plan, mmu))) return word(plan, PLAN_ACCESS_CYCLES)
  return translateMiss(plan, mmu, address, access, kind, shift)
}

/** The same after {@link isHit} has said no. */
@inline
export function translateMiss(plan: usize, mmu: usize, address: u64, access: i32, kind: usize, shift: u64): i32 {
  const page = address >> shift
  if (!isSimple || page >= load<u64>(plan + PLAN_FRONT_PAGES * 4)) return translateAnySize(plan, mmu, address, access)
  const key = page | frontTag(plan, mmu)
  const setBytes = word(kind, KIND_SET_BYTES)
  const set = mmu + word(kind, KIND_START) + (<u32>page & word(kind, KIND_MASK)) * setBytes
  const past = set + setBytes
  if (load<u64>(set) == key || isDenied) return NOT_HERE

  const second = plan + PLAN_FRONT_STLB * 4
  const secondSet = mmu + word(second, ARRAY_START)
    + (<usize>page & word(second, ARRAY_MASK)) * word(second, ARRAY_SET_BYTES)
  const at = findExact(secondSet, secondSet + word(second, ARRAY_SET_BYTES), key)
  if (at == 0) {
    const cycles = walkPlain(plan, mmu, address, access, key, set, past)
    return cycles == NOT_HERE ? translateAnySize(plan, mmu, address, access) : cycles
  }
  if ((attrOf(at) & load<i32>(mmu + word(kind, KIND_DENY))) != 0 || !hasStamps(mmu, second)) return NOT_HERE
  age(set, past - ENTRY_BYTES)
  v128.store(set, v128.load(at))
  addLive(mmu, access == ACCESS_EXEC ? WORD_LIVE : WORD_LIVE + 1, 1 << word(plan, PLAN_FRONT_CLASS))
  stamp(mmu, second, at)
  countMiss(access == ACCESS_EXEC)
  return word(plan, PLAN_ACCESS_CYCLES) + word(plan, PLAN_STLB_HIT_CYCLES)
}

/** The same with pages of several sizes, each class in turn, and with global ones. */
function translateAnySize(plan: usize, mmu: usize, address: u64, access: i32): i32 {
  const upper = <i32>(address >> 32) + word(plan, PLAN_CANONICAL_BIAS)
  if ((upper & word(plan, PLAN_CANONICAL_MASK)) != 0 || !mayChange) return NOT_HERE
  const isCode = access == ACCESS_EXEC
  const liveAt = mmu + (isCode ? WORD_LIVE : WORD_LIVE + 1) * 4
  const arrays = plan + (isCode ? PLAN_L1I : PLAN_L1D) * 4
  const deny = denied(mmu, access)
  const price = word(plan, PLAN_ACCESS_CYCLES)
  const live = load<i32>(liveAt)
  for (let cls = 0; cls < CLASSES; cls++) {
    if ((live & (1 << cls)) == 0) continue
    const array = arrays + cls * ARRAY_BYTES
    const key = keyOf(plan, array, cls, address, word(mmu, WORD_TAG))
    const set = startOf(mmu, array, key)
    const at = find(set, set + word(array, ARRAY_SET_BYTES), key)
    if (at == 0) continue
    if ((attrOf(at) & deny) != 0) return NOT_HERE
    moveToFront(set, at)
    return price
  }

  const second = word(mmu, WORD_LIVE + 2)
  for (let cls = 0; cls < CLASSES; cls++) {
    if ((second & (1 << cls)) == 0) continue
    const array = plan + PLAN_STLB * 4 + cls * ARRAY_BYTES
    const key = keyOf(plan, array, cls, address, word(mmu, WORD_TAG))
    const set = startOf(mmu, array, key)
    const at = find(set, set + word(array, ARRAY_SET_BYTES), key)
    if (at == 0) continue
    if ((attrOf(at) & deny) != 0 || !hasStamps(mmu, array)) return NOT_HERE
    const found = load<u64>(at)
    const value = load<u64>(at, 8)
    if (word(array, ARRAY_CLOCK) != 0) stamp(mmu, array, at)
    else moveToFront(set, at)
    fill(mmu, arrays + cls * ARRAY_BYTES, liveAt, cls, found, value)
    noteLive(plan, mmu)
    countMiss(isCode)
    return price + word(plan, PLAN_STLB_HIT_CYCLES)
  }
  return walk(plan, mmu, address, access, liveAt)
}
