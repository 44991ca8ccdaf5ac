// Runs of accesses, as fast as the host can: what Mmu.translate() does for accesses that change no memory
// and are not denied. Written in AssemblyScript and compiled to WebAssembly (binary.ts), which reads and
// writes the same shared memory as the rest: the same entries, in the same order of use, with the same
// counts, to the bit. An access that is not for this code - a fault, an A or D bit to set, the first
// change after a checkpoint - ends the run in front of it, and the caller gives it to the MMU.
//
// The order of things is that of mmu.ts: first level, second level, walk, pages of each class in turn.
// Addresses are 64 bits here and a key is one load: low word and second word of an entry (mmu-layout.ts).

import {
  PAGE_ACCESSED, PAGE_DIRTY, PAGE_GLOBAL, PAGE_PAT, PAGE_PAT_LARGE, PAGE_PCD, PAGE_PRESENT, PAGE_PSE, PAGE_PWT,
  PAGE_RW, PAGE_USER, PFN_HI_MASK,
} from '../entry-bits'
import {
  ACCESS_EXEC, ACCESS_WRITE, ATTR_CACHE_INDEX_SHIFT, ATTR_LEVEL_SHIFT, CONTROL_NXE, CONTROL_PGE,
  COUNTER_L1D_LOOKUPS, COUNTER_L1D_MISSES, COUNTER_L1I_LOOKUPS, COUNTER_L1I_MISSES, COUNTER_STLB_LOOKUPS,
  COUNTER_STLB_MISSES, COUNTER_WALK_STEPS, ENTRY_ATTR, ENTRY_PFN, KEY_CLASS_SHIFT, KEY_GLOBAL, KEY_PCID_MASK,
  KEY_VALID, LIVE_GLOBAL, RESTRICT_CLEAN, RESTRICT_NX, RESTRICT_SUPERVISOR, RESTRICT_USER_PAGE, STAMP_LAST,
  STAMP_ONE, UNDO_ARMED, WORD_CONTROLS, WORD_DENY, WORD_LIVE, WORD_ROOT_PFN, WORD_TAG, WORD_UNDO,
} from '../mmu-layout'
import {
  ARRAY_CLOCK, ARRAY_MASK, ARRAY_SETS, ARRAY_SET_BYTES, ARRAY_SHIFT, ARRAY_STAMPS, ARRAY_START, ARRAY_WAYS,
  ARRAY_WORDS, CACHE_KEY_MASK, CACHE_ROW_BELOW, CACHE_WORDS, CLASSES, KIND_DENY, KIND_MASK, KIND_SET_BYTES, KIND_START, KIND_WORDS, LEAF_ALWAYS, LEAF_WITH_PS, PLAN_ACCESS_CYCLES,
  PLAN_ADDRESS_MASK, PLAN_CACHE, PLAN_CACHES, PLAN_CANONICAL_BIAS, PLAN_CANONICAL_MASK, PLAN_FRAMES,
  PLAN_FRAME_SHIFT, PLAN_FRONT_CLASS, PLAN_FRONT_PAGES, PLAN_FRONT_STLB, PLAN_KINDS, PLAN_L1D, PLAN_L1I, PLAN_MEMORY, PLAN_IS_FIT, PLAN_PLAIN_LEAF_MASK, PLAN_PLAIN_MASK, PLAN_PLAIN_TABLES,
  PLAN_FRONT_SHIFT, PLAN_SHORT_RECORDS,
  PLAN_STLB, PLAN_STLB_HIT_CYCLES, PLAN_TOP_ROW, PLAN_WALK_STEP_CYCLES, ROW_CACHE, ROW_CLASS, ROW_INDEX_MASK,
  ROW_LEAF, ROW_LEVEL, ROW_RESERVED_LEAF, ROW_RESERVED_TABLE, ROW_SHIFT, ROW_WORDS, RUN_ACCESSES, RUN_CLOCK,
  RUN_LAST_START, RUN_POSITION,
} from './plan-layout'

const ENTRY_BYTES: usize = 16
const NX: u64 = 1 << 63
/** An entry that names a table, restricts nothing and has A set: the bits of it that matter. */
const PLAIN_TABLE: u64 = PAGE_PRESENT | PAGE_RW | PAGE_USER | PAGE_ACCESSED
const LEVEL_PTE: i32 = 4
const NO_TABLE: u64 = u64.MAX_VALUE
const PFN_BITS: u64 = <u64>PFN_HI_MASK << 32 | 0xffff_ffff
const ARRAY_BYTES: i32 = ARRAY_WORDS * 4
const KIND_BYTES: i32 = KIND_WORDS * 4
/** The page number in a key. */
const KEY_PAGE: u64 = (1 << 45) - 1
const RECORD_BYTES: usize = 8
const RECORD_BYTES_SHIFT: usize = 3
const RECORD_ADDRESS: u64 = (1 << 48) - 1
const RECORD_SIZE_SHIFT: u64 = 48
const RECORD_SIZE_MASK: u64 = 0x3fff
const RECORD_KIND_SHIFT: u64 = 62
/** Cycles, or accesses, of one run: the caller starts the next one. */
const RUN_MAX: f64 = 0x4000_0000
/** Instead of cycles: the access is the caller's. */
const NOT_HERE: i32 = -1

// What the run that is under way has counted.
let codeMisses: i32 = 0
let dataMisses: i32 = 0
let walks: i32 = 0
let walkSteps: i32 = 0
/** An access that was looked for behind the front of its set is there, and may not be done. */
let isDenied: bool = false
/** No copy of the MMU's words is due before their first change. */
let mayChange: bool = false
/** And every page that any TLB holds is of the class in front and not global. */
let isSimple: bool = false

/** Accesses `stride` apart from `offset` on, that start over at `length`, up to position `end`. */
export function touchStrided(
  plan: usize, mmu: usize, counters: usize, run: usize, stop: f64, end: f64, access: i32, hi: i32, lo: i32,
  length: f64, stride: f64, offset: f64,
): void {
  const kind = plan + PLAN_KINDS * 4 + kindOf(access) * KIND_BYTES
  const most = toRun(end - load<f64>(run, RUN_POSITION * 8))
  const budget = toRun(stop - load<f64>(run, RUN_CLOCK * 8))
  const base = <u64>hi << 32 | <u64><u32>lo
  const past = <u64>length
  const step = <u64>stride
  const shift = <u64>word(plan, PLAN_FRONT_SHIFT)
  let at = <u64>offset
  const hitCycles = word(plan, PLAN_ACCESS_CYCLES)
  let done: i32 = 0
  let spent: i32 = 0
  let last: i32 = 0
  begin(plan, mmu)
  const tag = frontTag(plan, mmu)
  while (done < most && spent < budget) {
    const limit = limitOf(done, most, budget - spent, hitCycles)
    const from = done
    for (; done < limit && isHit(plan, mmu, base + at, kind, shift, tag); done++) {
      at += step
      while (at >= past) at -= past
    }
    if (done > from) {
      spent += (done - from) * hitCycles
      last = hitCycles
    }
    if (done == limit) continue
    const cycles = translateMiss(plan, mmu, base + at, access, kind, shift)
    if (cycles == NOT_HERE) break
    spent += cycles
    last = cycles
    done++
    at += step
    while (at >= past) at -= past
  }
  finish(counters, run, done, access == ACCESS_EXEC ? done : 0, done, spent, last)
}

/** Accesses of eight bytes each at one of `slots` places, which a hash of `seed` and the position chooses. */
export function touchRandom(
  plan: usize, mmu: usize, counters: usize, run: usize, stop: f64, end: f64, access: i32, hi: i32, lo: i32,
  slots: f64, seed: i32,
): void {
  const kind = plan + PLAN_KINDS * 4 + kindOf(access) * KIND_BYTES
  const most = toRun(end - load<f64>(run, RUN_POSITION * 8))
  const budget = toRun(stop - load<f64>(run, RUN_CLOCK * 8))
  const base = <u64>hi << 32 | <u64><u32>lo
  // No hash reaches a slot beyond 2^32.
  const modulus: u32 = slots < 4294967296 ? <u32>slots : 0
  const first = <u32><u64>load<f64>(run, RUN_POSITION * 8)
  const shift = <u64>word(plan, PLAN_FRONT_SHIFT)
  const hitCycles = word(plan, PLAN_ACCESS_CYCLES)
  let done: i32 = 0
  let spent: i32 = 0
  let last: i32 = 0
  begin(plan, mmu)
  const tag = frontTag(plan, mmu)
  while (done < most && spent < budget) {
    const limit = limitOf(done, most, budget - spent, hitCycles)
    const from = done
    let address: u64 = 0
    for (; done < limit; done++) {
      const drawn = hash(seed, first + done)
      address = base + (<u64>(modulus == 0 ? drawn : drawn % modulus) << 3)
      if (!isHit(plan, mmu, address, kind, shift, tag)) break
    }
    if (done > from) {
      spent += (done - from) * hitCycles
      last = hitCycles
    }
    if (done == limit) continue
    const cycles = translateMiss(plan, mmu, address, access, kind, shift)
    if (cycles == NOT_HERE) break
    spent += cycles
    last = cycles
    done++
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

// @ts-ignore: decorator
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
  let extra: i32 = isSecond ? -1 : 0
  const hitCycles = word(plan, PLAN_ACCESS_CYCLES)
  let fetches: i32 = 0
  let spent: i32 = 0
  let last: i32 = 0
  begin(plan, mmu)
  const tag = frontTag(plan, mmu)
  while (at < past && spent < budget) {
    // Records in one page that is in the first level.
    const from = at
    let data: i32 = 0
    if (!isSecond) {
      const records = limitOf(0, <i32>((past - at) >> RECORD_BYTES_SHIFT), budget - spent, hitCycles)
      const limit = at + <usize>records * RECORD_BYTES
      while (at < limit) {
        const record = load<u64>(at)
        const address = record & RECORD_ADDRESS
        if (reachOf(record, pageBytes) > pageBytes) break
        if (!isHit(plan, mmu, address, kindAt(plan, record), shift, tag)) break
        data += <i32>((record >> RECORD_KIND_SHIFT) + 1) >> 1
        at += RECORD_BYTES
      }
      const hits = <i32>((at - from) >> RECORD_BYTES_SHIFT)
      if (hits > 0) {
        fetches += hits - data
        spent += hits * hitCycles
        last = hitCycles
      }
      if (at == limit) continue
    }

    // Any other access.
    const record = load<u64>(at)
    const number = <i32>(record >> RECORD_KIND_SHIFT)
    const access = number == 0 ? ACCESS_EXEC : number - 1
    const kind = kindAt(plan, record)
    const reach = reachOf(record, pageBytes)
    let cycles: i32
    if (reach > pageBytes) {
      if (reach > longest) break
      const address = record & RECORD_ADDRESS
      cycles = translate(plan, mmu, isSecond ? (address & (0 - pageBytes)) + pageBytes : address, access, kind, shift)
    } else {
      cycles = translateMiss(plan, mmu, record & RECORD_ADDRESS, access, kind, shift)
    }
    if (cycles == NOT_HERE) break
    spent += cycles
    last = cycles
    fetches += number == 0 ? 1 : 0
    isSecond = reach > pageBytes && !isSecond
    if (isSecond) extra++
    else at += RECORD_BYTES
  }
  const done = <i32>((at - first) >> RECORD_BYTES_SHIFT)
  const positions = 2 * done + (isSecond ? 1 : 0) - <i32>(position & 1)
  finish(counters, run, done + extra, fetches, positions, spent, last)
}

/** Bytes from the beginning of its page to the end of an access. */
// @ts-ignore: decorator
@inline
function reachOf(record: u64, pageBytes: u64): u64 {
  return (record & (pageBytes - 1)) + (record >> RECORD_SIZE_SHIFT & RECORD_SIZE_MASK)
}

// @ts-ignore: decorator
@inline
function kindAt(plan: usize, record: u64): usize {
  return plan + PLAN_KINDS * 4 + <i32>(record >> RECORD_KIND_SHIFT) * KIND_BYTES
}

/** Of accesses from `done` to `most`: how far those that cost `hitCycles` each get in so many cycles. */
// @ts-ignore: decorator
@inline
function limitOf(done: i32, most: i32, cycles: i32, hitCycles: i32): i32 {
  return <i64>(most - done) * hitCycles <= cycles ? most : done + (cycles - 1) / hitCycles + 1
}

/** Kinds are numbered as in records: fetch, load, store. */
function kindOf(access: i32): i32 {
  return access == ACCESS_EXEC ? 0 : access + 1
}

function begin(plan: usize, mmu: usize): void {
  mayChange = word(mmu, WORD_UNDO) != UNDO_ARMED
  noteLive(plan, mmu)
  codeMisses = 0
  dataMisses = 0
  walks = 0
  walkSteps = 0
}

/** The live words may have changed. */
function noteLive(plan: usize, mmu: usize): void {
  const live = word(mmu, WORD_LIVE) | word(mmu, WORD_LIVE + 1) | word(mmu, WORD_LIVE + 2)
  isSimple = mayChange && word(plan, PLAN_IS_FIT) != 0 && (live & ~(1 << word(plan, PLAN_FRONT_CLASS))) == 0
}

/** Writes down what a run has done. */
function finish(
  counters: usize, run: usize, accesses: i32, fetches: i32, positions: i32, spent: i32, last: i32,
): void {
  if (accesses == 0) return
  add(counters, COUNTER_L1I_LOOKUPS, fetches)
  add(counters, COUNTER_L1I_MISSES, codeMisses)
  add(counters, COUNTER_L1D_LOOKUPS, accesses - fetches)
  add(counters, COUNTER_L1D_MISSES, dataMisses)
  add(counters, COUNTER_STLB_LOOKUPS, codeMisses + dataMisses)
  add(counters, COUNTER_STLB_MISSES, walks)
  add(counters, COUNTER_WALK_STEPS, walkSteps)
  add(run, RUN_CLOCK, spent)
  add(run, RUN_POSITION, positions)
  add(run, RUN_ACCESSES, accesses)
  store<f64>(run, load<f64>(run, RUN_CLOCK * 8) - <f64>last, RUN_LAST_START * 8)
}

/** Whether the access finds its page in the first level, the class in front, and may be done. It is the youngest then. */
// @ts-ignore: decorator
@inline
function isHit(plan: usize, mmu: usize, address: u64, kind: usize, shift: u64, tag: u64): bool {
  const page = address >> shift
  if (page >= load<u64>(plan + PLAN_FRONT_PAGES * 4)) return false
  const key = page | tag
  const setBytes = word(kind, KIND_SET_BYTES)
  const set = mmu + word(kind, KIND_START) + (<u32>page & word(kind, KIND_MASK)) * setBytes
  const deny = load<i32>(mmu + word(kind, KIND_DENY))
  return load<u64>(set) == key ? (attrOf(set) & deny) == 0 : isHitBehind(set, set + setBytes, key, deny)
}

/** The same behind the front of its set. */
// @ts-ignore: decorator
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
function translate(plan: usize, mmu: usize, address: u64, access: i32, kind: usize, shift: u64): i32 {
  if (isHit(plan, mmu, address, kind, shift, frontTag(plan, mmu))) return word(plan, PLAN_ACCESS_CYCLES)
  return translateMiss(plan, mmu, address, access, kind, shift)
}

/** The same after {@link isHit} has said no. */
// @ts-ignore: decorator
@inline
function translateMiss(plan: usize, mmu: usize, address: u64, access: i32, kind: usize, shift: u64): i32 {
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

/**
 * Both levels missed: the walk of nearly all of them, through tables of 4 KiB. From the root when there are no paging caches, else from their
 * lowest level; no level that restricts or maps a page itself, a base page that is not global. NOT_HERE also where
 * {@link walk} has to look.
 */
function walkPlain(
  plan: usize, mmu: usize, address: u64, access: i32, key: u64, set: usize, past: usize,
): i32 {
  const tables = word(plan, PLAN_PLAIN_TABLES)
  if (tables == 0) return NOT_HERE
  const memory = <usize>word(plan, PLAN_MEMORY)
  const bytes = <u64><u32>word(plan, PLAN_FRAMES) << 12
  const mask = load<u64>(plan + PLAN_PLAIN_MASK * 4)
  const cache = plan + PLAN_CACHE * 4
  let cached: usize = 0
  let steps = 1
  let table: u64
  if (word(plan, PLAN_CACHES) == 0) {
    steps += tables
    table = <u64><u32>word(mmu, WORD_ROOT_PFN) << 12
    if (tables == 4) table = plainTable(memory, bytes, mask, table, address >> 48)
    table = plainTable(memory, bytes, mask, table, address >> 39)
    table = plainTable(memory, bytes, mask, table, address >> 30)
    table = plainTable(memory, bytes, mask, table, address >> 21)
  } else {
    const start = mmu + word(cache, ARRAY_START)
    cached = findFirst(start, start + word(cache, ARRAY_SET_BYTES), cacheKey(mmu, cache, address))
    if (cached == 0 || attrOf(cached) != 0 || !hasStamps(mmu, cache)) return NOT_HERE
    table = <u64>load<u32>(cached, ENTRY_PFN * 4) << 12
  }
  if (table >= bytes) return NOT_HERE
  const entry = load<u64>(memory + <usize>table + ((<usize>(address >> 12) & 511) << 3))
  if ((entry & load<u64>(plan + PLAN_PLAIN_LEAF_MASK * 4)) != (PAGE_PRESENT | PAGE_ACCESSED)) return NOT_HERE
  const isDirty = (entry & PAGE_DIRTY) != 0
  if (access == ACCESS_WRITE && !isDirty) return NOT_HERE
  const hasNx = (word(mmu, WORD_CONTROLS) & CONTROL_NXE) != 0
  if (!hasNx && <i64>entry < 0) return NOT_HERE
  const restrictions = restrictionsOf(entry, hasNx)
  const attr = restrictions | memoryType(entry, true) << ATTR_CACHE_INDEX_SHIFT | LEVEL_PTE << ATTR_LEVEL_SHIFT
    | ((restrictions & RESTRICT_SUPERVISOR) == 0 ? RESTRICT_USER_PAGE : 0) | (isDirty ? 0 : RESTRICT_CLEAN)
  const second = plan + PLAN_FRONT_STLB * 4
  if ((attr & denied(mmu, access)) != 0 || !hasStamps(mmu, second)) return NOT_HERE

  const value = <u64><u32>((entry & PFN_BITS) >> 12) | <u64>attr << 32
  if (cached != 0) stamp(mmu, cache, cached)
  insert(mmu, second, key, value)
  age(set, past - ENTRY_BYTES)
  store<u64>(set, key)
  store<u64>(set, value, 8)
  const live = 1 << word(plan, PLAN_FRONT_CLASS)
  addLive(mmu, access == ACCESS_EXEC ? WORD_LIVE : WORD_LIVE + 1, live)
  addLive(mmu, WORD_LIVE + 2, live)
  countMiss(access == ACCESS_EXEC)
  walks++
  walkSteps += steps
  return word(plan, PLAN_ACCESS_CYCLES) + steps * word(plan, PLAN_WALK_STEP_CYCLES)
}

/** Byte of the table that the entry at `slot` names in the table at byte `table`; NO_TABLE: it is not plain. */
// @ts-ignore: decorator
@inline
function plainTable(memory: usize, bytes: u64, mask: u64, table: u64, slot: u64): u64 {
  if (table >= bytes) return NO_TABLE
  const entry = load<u64>(memory + <usize>table + ((<usize>slot & 511) << 3))
  return (entry & mask) == PLAIN_TABLE ? entry & PFN_BITS & ~0xfff : NO_TABLE
}

/** Both levels missed. Only a walk that has nothing to write and that permits the access. */
function walk(plan: usize, mmu: usize, address: u64, access: i32, liveAt: usize): i32 {
  if (word(plan, PLAN_TOP_ROW) == 0) return NOT_HERE
  const deny = denied(mmu, access)
  const controls = word(mmu, WORD_CONTROLS)
  const frames = <u32>word(plan, PLAN_FRAMES)
  const memory = <usize>word(plan, PLAN_MEMORY)
  const frameShift = <u64>word(plan, PLAN_FRAME_SHIFT)
  const hasNx = (controls & CONTROL_NXE) != 0
  const reservedNx: u64 = hasNx ? 0 : NX
  const isWrite = access == ACCESS_WRITE
  const isCode = access == ACCESS_EXEC

  // From the root, or from the longest prefix that is cached.
  let row = plan + word(plan, PLAN_TOP_ROW) * 4
  let table = <u32>word(mmu, WORD_ROOT_PFN)
  let restrictions: i32 = 0
  const caches = word(plan, PLAN_CACHES)
  let cache = plan + PLAN_CACHE * 4
  let cached: usize = 0
  for (let i = 0; i < caches; i++) {
    const start = mmu + word(cache, ARRAY_START)
    cached = findFirst(start, start + word(cache, ARRAY_SET_BYTES), cacheKey(mmu, cache, address))
    if (cached != 0) {
      table = load<u32>(cached, ENTRY_PFN * 4)
      restrictions = attrOf(cached)
      row = plan + word(cache, CACHE_ROW_BELOW) * 4
      break
    }
    cache += CACHE_WORDS * 4
  }

  const firstRow = row
  const firstTable = table
  const firstRestrictions = restrictions
  let accessed: u64 = PAGE_ACCESSED
  let steps: i32 = 0
  let entry: u64
  for (;;) {
    if (table >= frames) return NOT_HERE
    entry = entryAt(memory, table, frameShift, row, address)
    steps++
    if ((entry & PAGE_PRESENT) == 0) return NOT_HERE
    const isLeaf = isLeafOf(row, entry)
    const reserved = load<u64>(row + (isLeaf ? ROW_RESERVED_LEAF * 4 : ROW_RESERVED_TABLE * 4))
    if ((entry & (reserved | reservedNx)) != 0) return NOT_HERE
    accessed &= entry
    restrictions |= restrictionsOf(entry, hasNx)
    if (isLeaf) break
    table = <u32>(entry >> frameShift)
    row += ROW_WORDS * 4
  }

  const isClean = !isWrite && (entry & PAGE_DIRTY) == 0
  const level = word(row, ROW_LEVEL)
  const cls = word(row, ROW_CLASS)
  const attr = restrictions | memoryType(entry, word(row, ROW_LEAF) == LEAF_ALWAYS) << ATTR_CACHE_INDEX_SHIFT
    | level << ATTR_LEVEL_SHIFT | ((restrictions & RESTRICT_SUPERVISOR) == 0 ? RESTRICT_USER_PAGE : 0)
    | (isClean ? RESTRICT_CLEAN : 0)
  if ((attr & deny) != 0) return NOT_HERE
  if (accessed == 0 || (isWrite && (entry & PAGE_DIRTY) == 0)) return NOT_HERE
  const second = plan + PLAN_STLB * 4 + cls * ARRAY_BYTES
  if (!hasStamps(mmu, second)) return NOT_HERE

  if (caches != 0) {
    if (!haveCachesStamps(plan, mmu, caches)) return NOT_HERE
    if (cached != 0) stamp(mmu, cache, cached)
    keepUpperEntries(plan, mmu, firstRow, row, firstTable, firstRestrictions, address, hasNx)
  }
  const tag = (entry & PAGE_GLOBAL) != 0 && (controls & CONTROL_PGE) != 0 ? KEY_VALID | KEY_GLOBAL : word(mmu, WORD_TAG)
  const key = keyOf(plan, second, cls, address, tag)
  const pages: u32 = 1 << (word(row, ROW_SHIFT) - <i32>frameShift)
  const pfn = <u32>((entry & PFN_BITS) >> frameShift) & (0 - pages)
  const value = <u64>pfn | <u64>attr << 32
  fill(mmu, second, mmu + (WORD_LIVE + 2) * 4, cls, key, value)
  fill(mmu, plan + (isCode ? PLAN_L1I : PLAN_L1D) * 4 + cls * ARRAY_BYTES, liveAt, cls, key, value)
  countMiss(isCode)
  noteLive(plan, mmu)
  walks++
  walkSteps += steps
  return word(plan, PLAN_ACCESS_CYCLES) + steps * word(plan, PLAN_WALK_STEP_CYCLES)
}

/** The entries that a walk read above its leaf go to the paging caches. They are read again: nothing writes them. */
function keepUpperEntries(
  plan: usize, mmu: usize, firstRow: usize, leafRow: usize, firstTable: u32, upper: i32, address: u64, hasNx: bool,
): void {
  const memory = <usize>word(plan, PLAN_MEMORY)
  const frameShift = <u64>word(plan, PLAN_FRAME_SHIFT)
  let table = firstTable
  let restrictions = upper
  for (let row = firstRow; row != leafRow; row += ROW_WORDS * 4) {
    const entry = entryAt(memory, table, frameShift, row, address)
    table = <u32>(entry >> frameShift)
    restrictions |= restrictionsOf(entry, hasNx)
    const cache = word(row, ROW_CACHE)
    if (cache != 0) {
      insert(mmu, plan + cache * 4, cacheKey(mmu, plan + cache * 4, address), <u64>table | <u64>restrictions << 32)
    }
  }
}

function countMiss(isCode: bool): void {
  if (isCode) codeMisses++
  else dataMisses++
}

/** Adds to one of an array of doubles. */
function add(doubles: usize, index: usize, amount: i32): void {
  store<f64>(doubles + index * 8, load<f64>(doubles + index * 8) + <f64>amount)
}

/** As a number of cycles or accesses that one run can do. */
function toRun(amount: f64): i32 {
  return <i32>min(ceil(amount), RUN_MAX)
}

// @ts-ignore: decorator
@inline
function word(base: usize, index: usize): i32 {
  return load<i32>(base + index * 4)
}

// @ts-ignore: decorator
@inline
function attrOf(entry: usize): i32 {
  return load<i32>(entry, ENTRY_ATTR * 4)
}

/** What an entry must not have for a user access of this kind. */
// @ts-ignore: decorator
@inline
function denied(mmu: usize, access: i32): i32 {
  return word(mmu, WORD_DENY + access * 2 + 1)
}

/** The upper half of a key in front. */
// @ts-ignore: decorator
@inline
function frontTag(plan: usize, mmu: usize): u64 {
  return <u64><u32>(word(plan, PLAN_FRONT_CLASS) << KEY_CLASS_SHIFT | word(mmu, WORD_TAG)) << 32
}

/** The array of a level in which the page of an access is looked for first. */
// @ts-ignore: decorator
@inline
function frontOf(plan: usize, level: usize): usize {
  return plan + level * 4 + word(plan, PLAN_FRONT_CLASS) * ARRAY_BYTES
}

// @ts-ignore: decorator
@inline
function keyOf(plan: usize, array: usize, cls: i32, address: u64, tag: i32): u64 {
  const page = (address & load<u64>(plan + PLAN_ADDRESS_MASK * 4)) >> <u64>word(array, ARRAY_SHIFT)
  return page | <u64><u32>(cls << KEY_CLASS_SHIFT | tag) << 32
}

// @ts-ignore: decorator
@inline
function cacheKey(mmu: usize, cache: usize, address: u64): u64 {
  const bits = address >> <u64>word(cache, ARRAY_SHIFT) & load<u64>(cache + CACHE_KEY_MASK * 4)
  return bits | <u64><u32>word(mmu, WORD_TAG) << 32
}

// @ts-ignore: decorator
@inline
function setOf(array: usize, key: u64): usize {
  const page = key & KEY_PAGE
  const sets = word(array, ARRAY_SETS)
  return sets == 0 ? <usize>page & word(array, ARRAY_MASK) : <usize>(page % <u64>sets)
}

// @ts-ignore: decorator
@inline
function startOf(mmu: usize, array: usize, key: u64): usize {
  return mmu + word(array, ARRAY_START) + setOf(array, key) * word(array, ARRAY_SET_BYTES)
}

/** The entry with this key; 0: there is none. Without a branch for each, since none of them could be predicted. */
// @ts-ignore: decorator
@inline
function findExact(start: usize, past: usize, key: u64): usize {
  let found: usize = 0
  for (let at = start; at < past; at += ENTRY_BYTES) found = load<u64>(at) == key ? at : found
  return found
}

/** The entry with this key, in an array where it is likely to be in front; 0: there is none. */
// @ts-ignore: decorator
@inline
function findFirst(start: usize, past: usize, key: u64): usize {
  for (let at = start; at < past; at += ENTRY_BYTES) if (load<u64>(at) == key) return at
  return 0
}

/** The entry with this key, or its global twin; 0: there is none. */
// @ts-ignore: decorator
@inline
function find(start: usize, end: usize, key: u64): usize {
  const twin = (key & ~(<u64>KEY_PCID_MASK << 32)) | <u64>KEY_GLOBAL << 32
  for (let at = start; at < end; at += ENTRY_BYTES) {
    const found = load<u64>(at)
    if (found == key || found == twin) return at
  }
  return 0
}

/** Moves the entries [start, at) one way back, over the one at `at`. */
// @ts-ignore: decorator
@inline
function age(start: usize, at: usize): void {
  for (let to = at; to > start; to -= ENTRY_BYTES) v128.store(to, v128.load(to - ENTRY_BYTES))
}

function moveToFront(start: usize, at: usize): void {
  const entry = v128.load(at)
  age(start, at)
  v128.store(start, entry)
}

/** Room for the next stamp: the MMU itself numbers an array anew. */
function hasStamps(mmu: usize, array: usize): bool {
  const clock = word(array, ARRAY_CLOCK)
  return clock == 0 || load<i32>(mmu + clock) != STAMP_LAST
}

function haveCachesStamps(plan: usize, mmu: usize, caches: i32): bool {
  let cache = plan + PLAN_CACHE * 4
  for (let i = 0; i < caches; i++) {
    // A walk stamps an entry that it finds, and one that it adds at every other level.
    if (load<i32>(mmu + word(cache, ARRAY_CLOCK)) == STAMP_LAST) return false
    cache += CACHE_WORDS * 4
  }
  return true
}

// @ts-ignore: decorator
@inline
function stamp(mmu: usize, array: usize, at: usize): void {
  const clock = mmu + word(array, ARRAY_CLOCK)
  const now = load<i32>(clock) + STAMP_ONE
  store<i32>(clock, now)
  store<i32>(mmu + word(array, ARRAY_STAMPS) + (at - mmu - word(array, ARRAY_START)) / 4, now)
}

/** Adds an entry that is known to be absent to its set, as the youngest; the oldest falls out. */
// @ts-ignore: decorator
@inline
function insert(mmu: usize, array: usize, key: u64, value: u64): void {
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
// @ts-ignore: decorator
@inline
function fill(mmu: usize, array: usize, liveAt: usize, cls: i32, key: u64, value: u64): void {
  if (word(array, ARRAY_WAYS) == 0) return
  insert(mmu, array, key, value)
  store<i32>(liveAt, load<i32>(liveAt) | liveBits(cls, key))
}

// @ts-ignore: decorator
@inline
function addLive(mmu: usize, index: usize, bits: i32): void {
  store<i32>(mmu + index * 4, word(mmu, index) | bits)
}

/** What a level has in its live word with such an entry. */
// @ts-ignore: decorator
@inline
function liveBits(cls: i32, key: u64): i32 {
  return 1 << cls | ((<i32>(key >> 32) & KEY_GLOBAL) != 0 ? LIVE_GLOBAL : 0)
}

/** The way that is empty, or was used longest ago: of the least stamp (tlb-array.ts). Four at once. */
// @ts-ignore: decorator
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

// @ts-ignore: decorator
@inline
function entryAt(memory: usize, table: u32, frameShift: u64, row: usize, address: u64): u64 {
  const slot = <u32>(address >> <u64>word(row, ROW_SHIFT)) & word(row, ROW_INDEX_MASK)
  return load<u64>(memory + (table << <u32>frameShift) + (slot << 3))
}

// @ts-ignore: decorator
@inline
function isLeafOf(row: usize, entry: u64): bool {
  const leaf = word(row, ROW_LEAF)
  return leaf == LEAF_ALWAYS || (leaf == LEAF_WITH_PS && (entry & PAGE_PSE) != 0)
}

/** RW and US, inverted and moved down one bit, are RESTRICT_READ_ONLY and RESTRICT_SUPERVISOR. */
// @ts-ignore: decorator
@inline
function restrictionsOf(entry: u64, hasNx: bool): i32 {
  return (<i32>(~entry >> 1) & 3) | (hasNx && <i64>entry < 0 ? RESTRICT_NX : 0)
}

/** entry.ts, cacheIndex(). */
function memoryType(entry: u64, isBase: bool): i32 {
  const pat = entry & (isBase ? PAGE_PAT : PAGE_PAT_LARGE)
  return <i32>(entry & (PAGE_PWT | PAGE_PCD)) >>> 3 | (pat == 0 ? 0 : 4)
}

/** base/prng.ts, hash32(). */
// @ts-ignore: decorator
@inline
function hash(a: u32, b: u32): u32 {
  let h = mixIn(mixIn(0x2f0b4c47, a), b)
  h ^= h >> 16
  h *= 0x85ebca6b
  h ^= h >> 13
  h *= 0xc2b2ae35
  return h ^ h >> 16
}

// @ts-ignore: decorator
@inline
function mixIn(seed: u32, word: u32): u32 {
  const h = rotl(seed ^ rotl(word * 0xcc9e2d51, 15) * 0x1b873593, 13)
  return h * 5 + 0xe6546b64
}
