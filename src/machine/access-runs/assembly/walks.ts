// Page walks that read memory only: as walker.ts does them, where there is no A or D bit to set and nothing
// denies the access. Physical memory is at the beginning of the memory.

import {
  PAGE_ACCESSED, PAGE_DIRTY, PAGE_GLOBAL, PAGE_PAT, PAGE_PAT_LARGE, PAGE_PCD, PAGE_PRESENT, PAGE_PSE, PAGE_PWT,
  PAGE_RW, PAGE_USER, PFN_HI_MASK,
} from '../../entry-bits'
import {
  ACCESS_EXEC, ACCESS_WRITE, ATTR_CACHE_INDEX_SHIFT, ATTR_LEVEL_SHIFT, CONTROL_NXE, CONTROL_PGE, ENTRY_PFN,
  KEY_GLOBAL, KEY_VALID, RESTRICT_CLEAN, RESTRICT_NX, RESTRICT_SUPERVISOR, RESTRICT_USER_PAGE, WORD_CONTROLS,
  WORD_LIVE, WORD_ROOT_PFN, WORD_TAG,
} from '../../mmu-layout'
import {
  ARRAY_SET_BYTES, ARRAY_START, CACHE_ROW_BELOW, CACHE_WORDS, LEAF_ALWAYS, LEAF_WITH_PS, PLAN_ACCESS_CYCLES,
  PLAN_CACHE, PLAN_CACHES, PLAN_FRAME_SHIFT, PLAN_FRAMES, PLAN_FRONT_CLASS, PLAN_FRONT_STLB, PLAN_L1D, PLAN_L1I,
  PLAN_PLAIN_LEAF_MASK, PLAN_PLAIN_MASK, PLAN_PLAIN_TABLES, PLAN_STLB, PLAN_TOP_ROW,
  PLAN_WALK_STEP_CYCLES, ROW_CACHE, ROW_CLASS, ROW_INDEX_MASK, ROW_LEAF, ROW_LEVEL, ROW_RESERVED_LEAF,
  ROW_RESERVED_TABLE, ROW_SHIFT, ROW_WORDS,
} from '../plan-layout'
import {
  addLive, age, ARRAY_BYTES, attrOf, cacheKey, denied, ENTRY_BYTES, fill, findFirst, hasStamps, haveCachesStamps,
  insert, keyOf, stamp, word,
} from './arrays'
import { countWalk, NOT_HERE, noteLive } from './run'

const NX: u64 = 1 << 63
/** An entry that names a table, restricts nothing and has A set: the bits of it that matter. */
const PLAIN_TABLE: u64 = PAGE_PRESENT | PAGE_RW | PAGE_USER | PAGE_ACCESSED
const LEVEL_PTE: i32 = 4
const NO_TABLE: u64 = u64.MAX_VALUE
const PFN_BITS: u64 = <u64>PFN_HI_MASK << 32 | 0xffff_ffff

/**
 * Both levels missed: the walk of nearly all of them, through tables of 4 KiB. From the root when there are no paging
 * caches, else from their lowest level; no level that restricts or maps a page itself, a base page that is not global.
 * NOT_HERE also where {@link walk} has to look.
 */
export function walkPlain(
  plan: usize, mmu: usize, address: u64, access: i32, key: u64, set: usize, past: usize,
): i32 {
  const tables = word(plan, PLAN_PLAIN_TABLES)
  if (tables == 0) return NOT_HERE
  const bytes = <u64><u32>word(plan, PLAN_FRAMES) << 12
  const mask = load<u64>(plan + PLAN_PLAIN_MASK * 4)
  const cache = plan + PLAN_CACHE * 4
  let cached: usize = 0
  let steps = 1
  let table: u64
  if (word(plan, PLAN_CACHES) == 0) {
    steps += tables
    table = <u64><u32>word(mmu, WORD_ROOT_PFN) << 12
    if (tables == 4) table = plainTable(bytes, mask, table, address >> 48)
    table = plainTable(bytes, mask, table, address >> 39)
    table = plainTable(bytes, mask, table, address >> 30)
    table = plainTable(bytes, mask, table, address >> 21)
  } else {
    const start = mmu + word(cache, ARRAY_START)
    cached = findFirst(start, start + word(cache, ARRAY_SET_BYTES), cacheKey(mmu, cache, address))
    if (cached == 0 || attrOf(cached) != 0 || !hasStamps(mmu, cache)) return NOT_HERE
    table = <u64>load<u32>(cached, ENTRY_PFN * 4) << 12
  }
  if (table >= bytes) return NOT_HERE
  const entry = load<u64>(<usize>table + ((<usize>(address >> 12) & 511) << 3))
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
  countWalk(access == ACCESS_EXEC, steps)
  return word(plan, PLAN_ACCESS_CYCLES) + steps * word(plan, PLAN_WALK_STEP_CYCLES)
}

/** Byte of the table that the entry at `slot` names in the table at byte `table`; NO_TABLE: it is not plain. */
@inline
function plainTable(bytes: u64, mask: u64, table: u64, slot: u64): u64 {
  if (table >= bytes) return NO_TABLE
  const entry = load<u64>(<usize>table + ((<usize>slot & 511) << 3))
  return (entry & mask) == PLAIN_TABLE ? entry & PFN_BITS & ~0xfff : NO_TABLE
}

/** Both levels missed. Only a walk that has nothing to write and that permits the access. */
export function walk(plan: usize, mmu: usize, address: u64, access: i32, liveAt: usize): i32 {
  if (word(plan, PLAN_TOP_ROW) == 0) return NOT_HERE
  const deny = denied(mmu, access)
  const controls = word(mmu, WORD_CONTROLS)
  const frames = <u32>word(plan, PLAN_FRAMES)
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
    entry = entryAt(table, frameShift, row, address)
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
  noteLive(plan, mmu)
  countWalk(isCode, steps)
  return word(plan, PLAN_ACCESS_CYCLES) + steps * word(plan, PLAN_WALK_STEP_CYCLES)
}

/** The entries that a walk read above its leaf go to the paging caches. They are read again: nothing writes them. */
function keepUpperEntries(
  plan: usize, mmu: usize, firstRow: usize, leafRow: usize, firstTable: u32, upper: i32, address: u64, hasNx: bool,
): void {
  const frameShift = <u64>word(plan, PLAN_FRAME_SHIFT)
  let table = firstTable
  let restrictions = upper
  for (let row = firstRow; row != leafRow; row += ROW_WORDS * 4) {
    const entry = entryAt(table, frameShift, row, address)
    table = <u32>(entry >> frameShift)
    restrictions |= restrictionsOf(entry, hasNx)
    const cache = word(row, ROW_CACHE)
    if (cache != 0) {
      insert(mmu, plan + cache * 4, cacheKey(mmu, plan + cache * 4, address), <u64>table | <u64>restrictions << 32)
    }
  }
}

@inline
function entryAt(table: u32, frameShift: u64, row: usize, address: u64): u64 {
  const slot = <u32>(address >> <u64>word(row, ROW_SHIFT)) & word(row, ROW_INDEX_MASK)
  return load<u64>((table << <u32>frameShift) + (slot << 3))
}

@inline
function isLeafOf(row: usize, entry: u64): bool {
  const leaf = word(row, ROW_LEAF)
  return leaf == LEAF_ALWAYS || (leaf == LEAF_WITH_PS && (entry & PAGE_PSE) != 0)
}

/** RW and US, inverted and moved down one bit, are RESTRICT_READ_ONLY and RESTRICT_SUPERVISOR. */
@inline
function restrictionsOf(entry: u64, hasNx: bool): i32 {
  return (<i32>(~entry >> 1) & 3) | (hasNx && <i64>entry < 0 ? RESTRICT_NX : 0)
}

/** entry.ts, cacheIndex(). */
function memoryType(entry: u64, isBase: bool): i32 {
  const pat = entry & (isBase ? PAGE_PAT : PAGE_PAT_LARGE)
  return <i32>(entry & (PAGE_PWT | PAGE_PCD)) >>> 3 | (pat == 0 ? 0 : 4)
}
