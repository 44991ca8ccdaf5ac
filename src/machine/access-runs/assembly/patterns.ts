// Runs of accesses, as fast as the host can: what Mmu.translate() does for accesses that change no memory
// and are not denied. Written in AssemblyScript and compiled to WebAssembly (../binary.ts), which reads and
// writes the same shared memory as the rest: the same entries, in the same order of use, with the same
// counts, to the bit. An access that is not for this code - a fault, an A or D bit to set, the first
// change after a checkpoint - ends the run in front of it, and the caller gives it to the MMU.
//
// Addresses are 64 bits here. A loop over first-level hits goes first in every pattern, because they are
// most; what follows it does any other access.

import { ACCESS_EXEC } from '../../mmu-layout'
import {
  PLAN_ACCESS_CYCLES, PLAN_FRONT_PAGES, PLAN_FRONT_SHIFT, PLAN_KINDS, PLAN_SHORT_RECORDS, RUN_CLOCK, RUN_POSITION,
} from '../plan-layout'
import { frontTag, word } from './arrays'
import {
  dataHits, KIND_BYTES, kindAt, reachOf, RECORD_ADDRESS, RECORD_BYTES, RECORD_BYTES_SHIFT, RECORD_KIND_SHIFT,
  skipHits, skipHits4k,
} from './records'
import { begin, finish, NOT_HERE, toRun } from './run'
import { nextPlace, placeAfter, placeOf, skipRandom, skipStrided } from './touches'
import { isHit, translate, translateMiss } from './translate'

/** Accesses `stride` apart from `offset` on, that start over at `length`, up to position `end`. */
export function touchStrided(
  plan: usize, mmu: usize, counters: usize, run: usize, stop: f64, end: f64, access: i32, hi: i32, lo: i32,
  length: f64, stride: f64, offset: f64,
): void {
  touch(false, plan, mmu, counters, run, stop, end, access, hi, lo, <u64>offset, <u64>stride, <u64>length)
}

/** Accesses of eight bytes each at one of `slots` places, which a hash of `seed` and the position chooses. */
export function touchRandom(
  plan: usize, mmu: usize, counters: usize, run: usize, stop: f64, end: f64, access: i32, hi: i32, lo: i32,
  slots: f64, seed: i32,
): void {
  touch(true, plan, mmu, counters, run, stop, end, access, hi, lo, 0, seed, <u64>slots)
}

/** `isRandom` is a constant where it is called, so each pattern has a loop of its own. `step`: the seed, if so. */
@inline
function touch(
  isRandom: bool, plan: usize, mmu: usize, counters: usize, run: usize, stop: f64, end: f64, access: i32, hi: i32,
  lo: i32, offset: u64, step: u64, past: u64,
): void {
  const kind = plan + PLAN_KINDS * 4 + kindOf(access) * KIND_BYTES
  const first = load<f64>(run, RUN_POSITION * 8)
  const most = toRun(end - first)
  const budget = toRun(stop - load<f64>(run, RUN_CLOCK * 8))
  const base = <u64>hi << 32 | <u64><u32>lo
  const shift = <u64>word(plan, PLAN_FRONT_SHIFT)
  const hitCycles = word(plan, PLAN_ACCESS_CYCLES)
  let at = isRandom ? placeOf(<u32>step, <u32><u64>first, past) : offset
  let done: i32 = 0
  let spent: i32 = 0
  let last: i32 = 0
  begin(plan, mmu)
  const tag = frontTag(plan, mmu)
  const pages = load<u64>(plan + PLAN_FRONT_PAGES * 4)
  const isNear = base >> shift < pages && base + (isRandom ? past << 3 : past) - 1 >> shift < pages
  let cycles = hitCycles
  while (done < most && spent < budget && cycles != NOT_HERE) {
    if (isNear) {
      const limit = limitOf(done, most, budget - spent, hitCycles)
      const hits = isRandom
        ? skipRandom(mmu, kind, base, <u32>step, <u32><u64>first + done, limit - done, past, tag, shift)
        : skipStrided(mmu, kind, base, at, step, limit - done, past, tag, shift)
      if (hits > 0) {
        done += hits
        spent += hits * hitCycles
        last = hitCycles
        at = isRandom ? placeOf(<u32>step, <u32><u64>first + done, past) : placeAfter
      }
      if (done == limit) continue
    }

    // Any other access, and those behind it up to the next hit.
    do {
      cycles = isHit(plan, mmu, base + at, kind, shift, tag)
        ? hitCycles
        : translateMiss(plan, mmu, base + at, access, kind, shift)
      if (cycles == NOT_HERE) break
      spent += cycles
      last = cycles
      done++
      at = isRandom ? placeOf(<u32>step, <u32><u64>first + done, past) : nextPlace(at, step, past)
    } while (cycles != hitCycles && done < most && spent < budget)
  }
  finish(counters, run, done, access == ACCESS_EXEC ? done : 0, done, spent, last)
}

/** Recorded accesses (kernel/abi.ts, TraceRecords), whose record 0 would be at `records`. `end` is even. */
export function replay(
  plan: usize, mmu: usize, counters: usize, run: usize, stop: f64, end: f64, records: usize,
): void {
  replayPages(<u64>word(plan, PLAN_FRONT_SHIFT), plan, mmu, counters, run, stop, end, records)
}

/** {@link replay} with pages of 4 KiB in front. */
export function replay4k(
  plan: usize, mmu: usize, counters: usize, run: usize, stop: f64, end: f64, records: usize,
): void {
  replayPages(12, plan, mmu, counters, run, stop, end, records)
}

@inline
function replayPages(
  shift: u64, plan: usize, mmu: usize, counters: usize, run: usize, stop: f64, end: f64, records: usize,
): void {
  const position = <i64>load<f64>(run, RUN_POSITION * 8)
  const first = records + (<usize>(position >> 1) << RECORD_BYTES_SHIFT)
  const past = records + (<usize>(<i64>end >> 1) << RECORD_BYTES_SHIFT)
  const budget = toRun(stop - load<f64>(run, RUN_CLOCK * 8))
  const pageBytes = <u64>1 << shift
  const longest = word(plan, PLAN_SHORT_RECORDS) == 0 ? u64.MAX_VALUE : 2 * pageBytes
  let at = first
  // In the record at `at`, which crosses a page: its first page is done.
  let isSecond = (position & 1) != 0
  let extra: i32 = 0
  const hitCycles = word(plan, PLAN_ACCESS_CYCLES)
  let fetches: i32 = 0
  let spent: i32 = 0
  let last: i32 = 0
  begin(plan, mmu)
  const tag = frontTag(plan, mmu)
  let cycles = hitCycles
  while (at < past && spent < budget && cycles != NOT_HERE) {
    if (!isSecond) {
      const from = at
      const records = limitOf(0, <i32>((past - at) >> RECORD_BYTES_SHIFT), budget - spent, hitCycles)
      const limit = at + <usize>records * RECORD_BYTES
      at = shift == 12 ? skipHits4k(plan, mmu, at, limit, tag) : skipHits(plan, mmu, at, limit, tag, shift)
      const hits = <i32>((at - from) >> RECORD_BYTES_SHIFT)
      if (hits > 0) {
        fetches += hits - dataHits
        spent += hits * hitCycles
        last = hitCycles
      }
      if (at == limit) continue
    }

    // Any other access, and those behind it up to the next hit.
    do {
      const record = load<u64>(at)
      const number = <i32>(record >> RECORD_KIND_SHIFT)
      const access = number == 0 ? ACCESS_EXEC : number - 1
      const kind = kindAt(plan, record)
      const address = record & RECORD_ADDRESS
      const reach = reachOf(record, pageBytes)
      if (reach <= pageBytes) {
        cycles = isHit(plan, mmu, address, kind, shift, tag)
          ? hitCycles
          : translateMiss(plan, mmu, address, access, kind, shift)
      } else if (reach <= longest) {
        const start = isSecond ? (address & (0 - pageBytes)) + pageBytes : address
        cycles = translate(plan, mmu, start, access, kind, shift)
      } else {
        cycles = NOT_HERE
      }
      if (cycles == NOT_HERE) break
      spent += cycles
      last = cycles
      fetches += number == 0 ? 1 : 0
      isSecond = reach > pageBytes && !isSecond
      if (isSecond) extra++
      else at += RECORD_BYTES
    } while (cycles != hitCycles && at < past && spent < budget)
  }
  const done = <i32>((at - first) >> RECORD_BYTES_SHIFT)
  const positions = 2 * done + (isSecond ? 1 : 0) - <i32>(position & 1)
  finish(counters, run, done + extra, fetches, positions, spent, last)
}

/** Of accesses from `done` to `most`: how far those that cost `hitCycles` each get in so many cycles. */
@inline
function limitOf(done: i32, most: i32, cycles: i32, hitCycles: i32): i32 {
  return <i64>(most - done) * hitCycles <= cycles ? most : done + (cycles - 1) / hitCycles + 1
}

/** Kinds are numbered as in records: fetch, load, store. */
function kindOf(access: i32): i32 {
  return access == ACCESS_EXEC ? 0 : access + 1
}
