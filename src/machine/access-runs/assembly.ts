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
  PFN_HI_MASK,
} from '../entry-bits'
import {
  ACCESS_EXEC, ACCESS_READ, ACCESS_WRITE, ATTR_CACHE_INDEX_SHIFT, ATTR_LEVEL_SHIFT, CONTROL_NXE, CONTROL_PGE,
  COUNTER_L1D_LOOKUPS, COUNTER_L1D_MISSES, COUNTER_L1I_LOOKUPS, COUNTER_L1I_MISSES, COUNTER_STLB_LOOKUPS,
  COUNTER_STLB_MISSES, COUNTER_WALK_STEPS, ENTRY_ATTR, ENTRY_PFN, KEY_CLASS_SHIFT, KEY_GLOBAL, KEY_PCID_MASK,
  KEY_VALID, LIVE_GLOBAL, RESTRICT_CLEAN, RESTRICT_NX, RESTRICT_SUPERVISOR, RESTRICT_USER_PAGE, STAMP_LAST,
  STAMP_ONE, UNDO_ARMED, WORD_CONTROLS, WORD_DENY, WORD_LIVE, WORD_ROOT_PFN, WORD_TAG, WORD_UNDO,
} from '../mmu-layout'
import {
  ARRAY_CLOCK, ARRAY_MASK, ARRAY_SETS, ARRAY_SET_BYTES, ARRAY_SHIFT, ARRAY_STAMPS, ARRAY_START, ARRAY_WAYS,
  ARRAY_WORDS, CACHE_KEY_MASK, CACHE_ROW_BELOW, CACHE_WORDS, CLASSES, LEAF_ALWAYS, LEAF_WITH_PS, PLAN_ACCESS_CYCLES,
  PLAN_ADDRESS_MASK, PLAN_CACHE, PLAN_CACHES, PLAN_CANONICAL_BIAS, PLAN_CANONICAL_MASK, PLAN_FRAMES,
  PLAN_FRAME_SHIFT, PLAN_FRONT_CLASS, PLAN_L1D, PLAN_L1I, PLAN_MEMORY, PLAN_RECORD_SHIFT, PLAN_SHORT_RECORDS,
  PLAN_STLB, PLAN_STLB_HIT_CYCLES, PLAN_TOP_ROW, PLAN_WALK_STEP_CYCLES, ROW_CACHE, ROW_CLASS, ROW_INDEX_MASK,
  ROW_LEAF, ROW_LEVEL, ROW_RESERVED_LEAF, ROW_RESERVED_TABLE, ROW_SHIFT, ROW_WORDS, RUN_ACCESSES, RUN_CLOCK,
  RUN_LAST_START, RUN_POSITION,
} from './plan-layout'

const ENTRY_BYTES: usize = 16
const NX: u64 = 1 << 63
const PFN_BITS: u64 = <u64>PFN_HI_MASK << 32 | 0xffff_ffff
const ARRAY_BYTES: i32 = ARRAY_WORDS * 4
/** The page number in a key. */
const KEY_PAGE: u64 = (1 << 45) - 1
const RECORD_BYTES_SHIFT: usize = 3
const RECORD_ADDRESS: u64 = (1 << 48) - 1
const RECORD_SIZE_SHIFT: u64 = 48
const RECORD_SIZE_MASK: u64 = 0x3fff
const RECORD_KIND_SHIFT: u64 = 62
/** Cycles, or accesses, of one run: the caller starts the next one. */
const RUN_MAX: f64 = 0x4000_0000
/** Instead of cycles: the access is the caller's. */
const NOT_HERE: i32 = -1

// The run that is under way: plan and CPU, and what it has counted.
let plan: usize = 0
let mmu: usize = 0
let codeMisses: i32 = 0
let dataMisses: i32 = 0
let walks: i32 = 0
let walkSteps: i32 = 0

// What the addresses of a run are. A constant where it is used, so each pattern has a loop of its own.
const STRIDED: i32 = 0
const RANDOM: i32 = 1
const RECORDED: i32 = 2

/** Accesses `stride` apart from `offset` on, that start over at `length`, up to position `end`. */
export function touchStrided(
  planAt: usize, mmuAt: usize, counters: usize, run: usize, stop: f64, end: f64, access: i32, hi: i32, lo: i32,
  length: f64, stride: f64, offset: f64,
): void {
  begin(planAt, mmuAt)
  const base = <u64>hi << 32 | <u64><u32>lo
  accessAll(STRIDED, counters, run, stop, end, access, base, <i64>offset, <i64>stride, <i64>length)
}

/** Accesses of eight bytes each at one of `slots` places, which a hash of `seed` and the position chooses. */
export function touchRandom(
  planAt: usize, mmuAt: usize, counters: usize, run: usize, stop: f64, end: f64, access: i32, hi: i32, lo: i32,
  slots: f64, seed: i32,
): void {
  begin(planAt, mmuAt)
  const base = <u64>hi << 32 | <u64><u32>lo
  accessAll(RANDOM, counters, run, stop, end, access, base, <i64>load<f64>(run, RUN_POSITION * 8), seed, <i64>slots)
}

/** Recorded accesses (kernel/abi.ts, TraceRecords), whose record 0 would be at `records`. */
export function replay(
  planAt: usize, mmuAt: usize, counters: usize, run: usize, stop: f64, end: f64, records: usize,
): void {
  begin(planAt, mmuAt)
  accessAll(RECORDED, counters, run, stop, end, ACCESS_READ, <u64>records, <i64>load<f64>(run, RUN_POSITION * 8), 0, 0)
}

/** Accesses until `end` or `stop` is reached, or one is not for this code. */
// @ts-ignore: decorator
@inline
function accessAll(
  pattern: i32, counters: usize, run: usize, stop: f64, end: f64, given: i32, base: u64, first: i64, step: i64,
  past: i64,
): void {
  const addressMask = load<u64>(plan + PLAN_ADDRESS_MASK * 4)
  const bias = word(plan, PLAN_CANONICAL_BIAS)
  const nonCanonical = word(plan, PLAN_CANONICAL_MASK)
  const hitCycles = word(plan, PLAN_ACCESS_CYCLES)
  const tag = frontTag()
  // Recorded accesses are of all kinds: code and data have each their front.
  const data = pattern != RECORDED && given == ACCESS_EXEC ? frontOf(PLAN_L1I) : frontOf(PLAN_L1D)
  const dataStart = mmu + word(data, ARRAY_START)
  const dataMask = word(data, ARRAY_MASK)
  const dataSets = word(data, ARRAY_SETS)
  const dataSetBytes = word(data, ARRAY_SET_BYTES)
  const shift = <u64>word(data, ARRAY_SHIFT)
  const code = frontOf(PLAN_L1I)
  const codeStart = mmu + word(code, ARRAY_START)
  const codeMask = word(code, ARRAY_MASK)
  const codeSets = word(code, ARRAY_SETS)
  const codeSetBytes = word(code, ARRAY_SET_BYTES)
  const recordBytes: u64 = 1 << <u64>word(plan, PLAN_RECORD_SHIFT)
  const isShort = word(plan, PLAN_SHORT_RECORDS) != 0

  const budget = toRun(stop - load<f64>(run, RUN_CLOCK * 8))
  const most = toRun(end - load<f64>(run, RUN_POSITION * 8))
  let at = first
  let positions: i32 = 0
  let accesses: i32 = 0
  let fetches: i32 = 0
  let spent: i32 = 0
  let last: i32 = 0
  let access = given
  while (positions < most && spent < budget) {
    let address: u64
    let taken = 1
    if (pattern == RANDOM) {
      address = base + ((past >> 32 == 0 ? hash(<i32>step, <i32>at) % <u32>past : hash(<i32>step, <i32>at)) << 3)
    } else if (pattern == STRIDED) {
      address = base + <u64>at
    } else {
      const record = load<u64>(<usize>base + ((<usize>at >> 1) << RECORD_BYTES_SHIFT))
      const kind = <i32>(record >> RECORD_KIND_SHIFT)
      access = kind == 0 ? ACCESS_EXEC : kind == 1 ? ACCESS_READ : ACCESS_WRITE
      address = record & RECORD_ADDRESS
      if ((at & 1) != 0) {
        address = (address & (0 - recordBytes)) + recordBytes
      } else {
        const pastPage = (address & (recordBytes - 1)) + (record >> RECORD_SIZE_SHIFT & RECORD_SIZE_MASK)
        if (pastPage <= recordBytes) taken = 2
        else if (isShort && pastPage > 2 * recordBytes) break
      }
    }

    const isCode = pattern == RECORDED && access == ACCESS_EXEC
    const page = (address & addressMask) >> shift
    const sets = isCode ? codeSets : dataSets
    const set = sets == 0 ? <u32>page & (isCode ? codeMask : dataMask) : <u32>(page % <u64>sets)
    const entry = (isCode ? codeStart : dataStart) + set * (isCode ? codeSetBytes : dataSetBytes)
    let cycles = hitCycles
    if (load<u64>(entry) != (page | tag) || (attrOf(entry) & denied(access)) != 0
      || ((<u32>(address >> 32) + bias) & nonCanonical) != 0) {
      cycles = translate(address, access)
      if (cycles == NOT_HERE) break
    }
    last = cycles
    spent += cycles
    accesses++
    if (pattern == RECORDED) {
      fetches += isCode ? 1 : 0
      positions += taken
      at += taken
    } else {
      positions++
      at += pattern == STRIDED ? step : 1
      if (pattern == STRIDED) while (at >= past) at -= past
    }
  }

  if (accesses == 0) return
  if (pattern != RECORDED && given == ACCESS_EXEC) fetches = accesses
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

/** An access that the front of its set does not answer: its price, or NOT_HERE with nothing changed. */
function translate(address: u64, access: i32): i32 {
  const upper = <u32>(address >> 32) + word(plan, PLAN_CANONICAL_BIAS)
  if ((upper & word(plan, PLAN_CANONICAL_MASK)) != 0) return NOT_HERE
  const isCode = access == ACCESS_EXEC
  const arrays = plan + (isCode ? PLAN_L1I : PLAN_L1D) * 4
  const liveAt = mmu + (WORD_LIVE + (isCode ? 0 : 1)) * 4
  const deny = denied(access)
  const mayChange = word(mmu, WORD_UNDO) != UNDO_ARMED
  const price = word(plan, PLAN_ACCESS_CYCLES)

  const live = load<i32>(liveAt)
  for (let cls = 0; cls < CLASSES; cls++) {
    if ((live & (1 << cls)) == 0) continue
    const array = arrays + cls * ARRAY_BYTES
    const key = keyOf(array, cls, address, tagWord())
    const start = startOf(array, key)
    const at = find(start, start + word(array, ARRAY_SET_BYTES), key)
    if (at == 0) continue
    if ((attrOf(at) & deny) != 0) return NOT_HERE
    if (at != start) {
      if (!mayChange) return NOT_HERE
      moveToFront(start, at)
    }
    return price
  }
  if (!mayChange) return NOT_HERE

  const second = word(mmu, WORD_LIVE + 2)
  for (let cls = 0; cls < CLASSES; cls++) {
    if ((second & (1 << cls)) == 0) continue
    const array = plan + PLAN_STLB * 4 + cls * ARRAY_BYTES
    const key = keyOf(array, cls, address, tagWord())
    const start = startOf(array, key)
    const at = find(start, start + word(array, ARRAY_SET_BYTES), key)
    if (at == 0) continue
    if ((attrOf(at) & deny) != 0 || !hasStamps(array)) return NOT_HERE
    const found = load<u64>(at)
    const value = load<u64>(at, 8)
    touch(array, start, at)
    fill(arrays + cls * ARRAY_BYTES, liveAt, cls, found, value)
    countMiss(isCode)
    return price + word(plan, PLAN_STLB_HIT_CYCLES)
  }
  if (word(plan, PLAN_TOP_ROW) == 0) return NOT_HERE
  return walk(address, access, deny, arrays, liveAt)
}

/** Both levels missed. Only a walk that has nothing to write and that permits the access. */
function walk(address: u64, access: i32, deny: i32, arrays: usize, liveAt: usize): i32 {
  const controls = word(mmu, WORD_CONTROLS)
  const frames = <u32>word(plan, PLAN_FRAMES)
  const memory = <usize>word(plan, PLAN_MEMORY)
  const frameShift = <u64>word(plan, PLAN_FRAME_SHIFT)
  const hasNx = (controls & CONTROL_NXE) != 0
  const reservedNx: u64 = hasNx ? 0 : NX
  const isWrite = access == ACCESS_WRITE

  // From the root, or from the longest prefix that is cached.
  let row = plan + word(plan, PLAN_TOP_ROW) * 4
  let table = <u32>word(mmu, WORD_ROOT_PFN)
  let restrictions: i32 = 0
  const caches = word(plan, PLAN_CACHES)
  let cache = plan + PLAN_CACHE * 4
  let cached: usize = 0
  for (let i = 0; i < caches; i++) {
    const start = mmu + word(cache, ARRAY_START)
    cached = find(start, start + word(cache, ARRAY_SET_BYTES), cacheKey(cache, address))
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
  if (!hasStamps(second)) return NOT_HERE

  if (caches != 0) {
    if (!haveCachesStamps(caches)) return NOT_HERE
    if (cached != 0) stamp(cache, cached)
    keepUpperEntries(memory, frameShift, firstRow, row, firstTable, firstRestrictions, address, hasNx)
  }
  const tag = (entry & PAGE_GLOBAL) != 0 && (controls & CONTROL_PGE) != 0 ? KEY_VALID | KEY_GLOBAL : tagWord()
  const key = keyOf(second, cls, address, tag)
  const pages: u32 = 1 << (word(row, ROW_SHIFT) - <i32>frameShift)
  const pfn = <u32>((entry & PFN_BITS) >> frameShift) & (0 - pages)
  const value = <u64>pfn | <u64>attr << 32
  fill(second, mmu + (WORD_LIVE + 2) * 4, cls, key, value)
  fill(arrays + cls * ARRAY_BYTES, liveAt, cls, key, value)
  countMiss(access == ACCESS_EXEC)
  walks++
  walkSteps += steps
  return word(plan, PLAN_ACCESS_CYCLES) + steps * word(plan, PLAN_WALK_STEP_CYCLES)
}

/** The entries that a walk read above its leaf go to the paging caches. They are read again: nothing writes them. */
function keepUpperEntries(
  memory: usize, frameShift: u64, firstRow: usize, leafRow: usize, firstTable: u32, upper: i32, address: u64,
  hasNx: bool,
): void {
  let table = firstTable
  let restrictions = upper
  for (let row = firstRow; row != leafRow; row += ROW_WORDS * 4) {
    const entry = entryAt(memory, table, frameShift, row, address)
    table = <u32>(entry >> frameShift)
    restrictions |= restrictionsOf(entry, hasNx)
    const cache = word(row, ROW_CACHE)
    if (cache != 0) {
      insert(plan + cache * 4, cacheKey(plan + cache * 4, address), <u64>table | <u64>restrictions << 32)
    }
  }
}

function begin(planAt: usize, mmuAt: usize): void {
  plan = planAt
  mmu = mmuAt
  codeMisses = 0
  dataMisses = 0
  walks = 0
  walkSteps = 0
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
function denied(access: i32): i32 {
  return word(mmu, WORD_DENY + access * 2 + 1)
}

// @ts-ignore: decorator
@inline
function tagWord(): i32 {
  return word(mmu, WORD_TAG)
}

/** The upper half of a key in front. */
function frontTag(): u64 {
  return <u64><u32>(word(plan, PLAN_FRONT_CLASS) << KEY_CLASS_SHIFT | tagWord()) << 32
}

/** The array of a level in which the page of an access is looked for first. */
function frontOf(level: usize): usize {
  return plan + level * 4 + word(plan, PLAN_FRONT_CLASS) * ARRAY_BYTES
}

// @ts-ignore: decorator
@inline
function keyOf(array: usize, cls: i32, address: u64, tag: i32): u64 {
  const page = (address & load<u64>(plan + PLAN_ADDRESS_MASK * 4)) >> <u64>word(array, ARRAY_SHIFT)
  return page | <u64><u32>(cls << KEY_CLASS_SHIFT | tag) << 32
}

// @ts-ignore: decorator
@inline
function cacheKey(cache: usize, address: u64): u64 {
  const bits = address >> <u64>word(cache, ARRAY_SHIFT) & load<u64>(cache + CACHE_KEY_MASK * 4)
  return bits | <u64><u32>tagWord() << 32
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
function startOf(array: usize, key: u64): usize {
  return mmu + word(array, ARRAY_START) + setOf(array, key) * word(array, ARRAY_SET_BYTES)
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
function hasStamps(array: usize): bool {
  const clock = word(array, ARRAY_CLOCK)
  return clock == 0 || load<i32>(mmu + clock) != STAMP_LAST
}

function haveCachesStamps(caches: i32): bool {
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
function stamp(array: usize, at: usize): void {
  const clock = mmu + word(array, ARRAY_CLOCK)
  const now = load<i32>(clock) + STAMP_ONE
  store<i32>(clock, now)
  store<i32>(mmu + word(array, ARRAY_STAMPS) + (at - mmu - word(array, ARRAY_START)) / 4, now)
}

/** Makes an entry the youngest of its set. */
// @ts-ignore: decorator
@inline
function touch(array: usize, start: usize, at: usize): void {
  if (word(array, ARRAY_CLOCK) != 0) stamp(array, at)
  else moveToFront(start, at)
}

/** Adds an entry that is known to be absent to its set, as the youngest; the oldest falls out. */
// @ts-ignore: decorator
@inline
function insert(array: usize, key: u64, value: u64): void {
  const set = setOf(array, key)
  const setBytes = word(array, ARRAY_SET_BYTES)
  let at = mmu + word(array, ARRAY_START) + set * setBytes
  if (word(array, ARRAY_CLOCK) != 0) {
    at += oldest(mmu + word(array, ARRAY_STAMPS) + set * setBytes / 4, word(array, ARRAY_WAYS)) * ENTRY_BYTES
    stamp(array, at)
  } else {
    age(at, at + setBytes - ENTRY_BYTES)
  }
  store<u64>(at, key)
  store<u64>(at, value, 8)
}

/** {@link insert} where the level keeps such pages, and says so. */
// @ts-ignore: decorator
@inline
function fill(array: usize, liveAt: usize, cls: i32, key: u64, value: u64): void {
  if (word(array, ARRAY_WAYS) == 0) return
  insert(array, key, value)
  const isGlobal = (<i32>(key >> 32) & KEY_GLOBAL) != 0
  store<i32>(liveAt, load<i32>(liveAt) | 1 << cls | (isGlobal ? LIVE_GLOBAL : 0))
}

/** The way that is empty, or was used longest ago: of the least stamp (tlb-array.ts). */
// @ts-ignore: decorator
@inline
function oldest(stamps: usize, ways: i32): usize {
  let least = load<u32>(stamps)
  for (let way = 1; way < ways; way++) {
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
