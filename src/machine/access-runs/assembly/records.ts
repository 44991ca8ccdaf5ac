// Recorded accesses (kernel/abi.ts, TraceRecords), each one load: address, size, kind.
//
// A run of hits has functions of its own, because a loop is as fast as the host's registers suffice for
// everything in its function.

import { KIND_WORDS, PLAN_KINDS } from '../plan-layout'
import { isFront, isPageHit } from './translate'

export const KIND_BYTES: i32 = KIND_WORDS * 4
export const RECORD_BYTES: usize = 8
export const RECORD_BYTES_SHIFT: usize = 3
export const RECORD_ADDRESS: u64 = (1 << 48) - 1
export const RECORD_KIND_SHIFT: u64 = 62
const RECORD_SIZE_SHIFT: u64 = 48
const RECORD_SIZE_MASK: u64 = 0x3fff
/** Bits that are not of the address. */
const RECORD_OTHER_BITS: u64 = 16

/** Of the hits that were skipped last: those that are no fetches. */
export let dataHits: i32 = 0

/**
 * The first record from `at` up to `limit` that is not of one page which is in the first level. Upper addresses
 * never are: their sign is spread over all of the key, and no entry has such a one.
 */
export function skipHits(plan: usize, mmu: usize, at: usize, limit: usize, tag: u64, shift: u64): usize {
  return skip(plan, mmu, at, limit, tag, shift)
}

/** {@link skipHits} for pages of 4 KiB. */
export function skipHits4k(plan: usize, mmu: usize, at: usize, limit: usize, tag: u64): usize {
  return skip(plan, mmu, at, limit, tag, 12)
}

@inline
function skip(plan: usize, mmu: usize, at: usize, limit: usize, tag: u64, shift: u64): usize {
  let data: i32 = 0
  while (true) {
    // Pages in front of their sets, and nothing else in the loop.
    while (at < limit) {
      const record = load<u64>(at)
      if (!isInOnePage(record, shift)) break
      const page = pageOf(record, shift)
      if (!isFront(mmu, page, kindAt(plan, record), page | tag)) break
      data += dataOf(record)
      at += RECORD_BYTES
    }
    if (at == limit) break
    const record = load<u64>(at)
    if (!isInOnePage(record, shift)) break
    const page = pageOf(record, shift)
    if (!isPageHit(mmu, page, kindAt(plan, record), page | tag)) break
    data += dataOf(record)
    at += RECORD_BYTES
  }
  dataHits = data
  return at
}

@inline
function isInOnePage(record: u64, shift: u64): bool {
  const pageBytes = <u64>1 << shift
  return reachOf(record, pageBytes) <= pageBytes
}

@inline
function pageOf(record: u64, shift: u64): u64 {
  return <i64>(record << RECORD_OTHER_BITS) >> <i64>(RECORD_OTHER_BITS + shift)
}

/** 1 for a load or a store, 0 for a fetch. */
@inline
function dataOf(record: u64): i32 {
  return <i32>((record >> RECORD_KIND_SHIFT) + 1) >> 1
}

/** Bytes from the beginning of its page to the end of an access. */
@inline
export function reachOf(record: u64, pageBytes: u64): u64 {
  return (record & (pageBytes - 1)) + (record >> RECORD_SIZE_SHIFT & RECORD_SIZE_MASK)
}

@inline
export function kindAt(plan: usize, record: u64): usize {
  return plan + PLAN_KINDS * 4 + <i32>(record >> RECORD_KIND_SHIFT) * KIND_BYTES
}
