// The hardware page walk: from the root, or from the longest cached prefix, down to a leaf
// (SDM vol. 3, 4.5 to 4.8). `walk` only looks; `commit` then sets accessed and dirty bits and
// fills the paging-structure caches, so that a walk whose access does not complete leaves no
// trace. What an access may do with the result is decided in mmu.ts.
//
// At each level, in this order: P clear stops the walk; a reserved bit stops it; then the entry
// is a leaf or names the next table. Permissions collect as restrictions on the way down.

import * as entry from './entry.js'
import * as geometry from './geometry.js'
import type { Geometry } from './geometry.js'
import type { MachineConfig } from './config.js'
import * as state from './mmu-state.js'
import type { PagingCache } from './paging-cache.js'
import type { PhysMem } from './phys-mem.js'

// Bound to constants of this module: the compiler folds those, and loads imported ones each time.
const {
  ATTR_CACHE_INDEX_SHIFT, ATTR_LEVEL_SHIFT, CONTROL_NXE, CONTROL_PGE, CONTROL_PSE, KEY_GLOBAL, KEY_VALID,
  RESTRICT_CLEAN, RESTRICT_NX, RESTRICT_SUPERVISOR, RESTRICT_USER_PAGE, WORD_CONTROLS, WORD_PAE_LATCH, WORD_ROOT_PFN,
  WORD_TAG,
} = state
const { bitsFrom, LEVEL_PTE } = geometry
const {
  cacheIndex, entryPfn, PAGE_ACCESSED, PAGE_DIRTY, PAGE_FLAGS_LO, PAGE_GLOBAL, PAGE_PAT_LARGE, PAGE_PCD, PAGE_PRESENT,
  PAGE_PSE, PAGE_PWT, PFN_HI_MASK,
} = entry

export const WALK_OK = 0
export const WALK_NOT_PRESENT = 1
export const WALK_RESERVED = 2

/** Bits that must be zero in present entries of one level. */
interface ReservedBits {
  tableLo: number
  leafLo: number
  hi: number
}

/** A level that has tables, and what it reserves besides NX while EFER.NXE is clear. */
export interface WalkLevel {
  level: number
  reserved: ReservedBits
}

/** One row of the table that a walk follows: a level that is not folded. */
const ROW_WORDS = 8
const ROW_LEVEL = 0
const ROW_SHIFT = 1
const ROW_INDEX_MASK = 2
/** 1 where PS may map a page. */
const ROW_LEAF_ABOVE = 3
const ROW_RESERVED_TABLE_LO = 4
const ROW_RESERVED_LEAF_LO = 5
const ROW_RESERVED_HI = 6

/** What a walk remembers of an entry that it read, for {@link Walker.commit}. */
const STEP_WORDS = 8
const STEP_LEVEL = 0
const STEP_TABLE = 1
const STEP_SLOT = 2
/** The table that the entry names, and the restrictions so far. */
const STEP_NEXT = 3
const STEP_RESTRICTIONS = 4

const NX_HI = 1 << 31
/** Bits 12 up to `bit - 1`. */
const addressBitsBelow = (bit: number): number => (2 ** bit - 1) & ~PAGE_FLAGS_LO

/** What a level reserves, besides NX while EFER.NXE is clear. */
function reservedBits(m: MachineConfig, g: Geometry, level: number): ReservedBits {
  const shape = g.levels[level]!
  if (g.entryBytes === 4) {
    // PSE-36: bits 20:13 of a 4 MiB leaf are physical bits 39:32; those at MAXPHYADDR and above, and bit 21, are
    // reserved. Other entries of 32-bit paging reserve nothing.
    const unusable = addressBitsBelow(22) & ~addressBitsBelow(Math.min(m.maxPhysAddrBits, 40) - 32 + 13)
    return { tableLo: 0, leafLo: shape.leaf && level < LEVEL_PTE ? unusable & ~PAGE_PAT_LARGE : 0, hi: 0 }
  }
  // Bits 51:MAXPHYADDR; PAE reserves 62:52 too, where long mode leaves them to software.
  const highest = g.name === 'i386-pae' ? NX_HI : 1 << 20
  const hi = (highest - 1) & ~(2 ** (m.maxPhysAddrBits - 32) - 1)
  const tableLo = addressBitsBelow(g.pageShift)
  if (level === LEVEL_PTE) return { tableLo, leafLo: tableLo, hi }
  if (shape.leaf) return { tableLo, leafLo: addressBitsBelow(shape.shift) & ~PAGE_PAT_LARGE, hi }
  // The two top levels of long mode: PS must be 0, and on AMD also bit 8 (AMD APM vol. 2, 5.3.3; Intel ignores it).
  const amdGlobal = m.vendor === 'amd' && level < 2 ? PAGE_GLOBAL : 0
  return { tableLo: tableLo | PAGE_PSE | amdGlobal, leafLo: 0, hi }
}

/** Bits of a PAE top entry that make MOV CR3 raise #GP: all flags but P, PWT, PCD and software bits 11:9. */
const PAE_TOP_RESERVED_LO = PAGE_FLAGS_LO & ~(PAGE_PRESENT | PAGE_PWT | PAGE_PCD | 0xe00)

export class Walker {
  // Results of the last walk, valid until the next one.
  /** First base-page number of the page. */
  $leafPfn = 0
  $leafLevel = 0
  /** Flags of the leaf. */
  $leafLo = 0
  /** RESTRICT_READ_ONLY, _SUPERVISOR, _NX, collected over all levels. */
  $restrictions = 0
  /** Entries read from memory. */
  $steps = 0
  /** Every entry read has its accessed bit set. */
  $allAccessed = false

  declare private readonly mem: PhysMem
  declare private readonly words: Int32Array
  declare private readonly cache: PagingCache
  declare private readonly isPae: boolean
  declare private readonly nxExists: boolean
  declare private readonly paeReservedHi: number
  declare private readonly pageShift: number
  declare private readonly shift: Int32Array
  /** A row for each level that is not folded, the top first; and which row comes after a level. */
  declare private readonly rows: Int32Array
  declare private readonly rowBelow: Int32Array
  /** Scratch: the entries that the last walk read, in order. */
  private readonly steps = new Int32Array(5 * STEP_WORDS)
  /** The paging-cache entry that the last walk started from, or -1. */
  private cachedAt = -1
  private cachedLevel = 0

  constructor(m: MachineConfig, g: Geometry, mem: PhysMem, words: Int32Array, cache: PagingCache) {
    this.mem = mem
    this.words = words
    this.cache = cache
    this.isPae = g.name === 'i386-pae'
    this.nxExists = g.entryBytes === 8
    this.pageShift = g.pageShift
    this.shift = Int32Array.from(g.levels, (shape) => shape.shift)
    const levels = walkLevels(m, g)
    this.rows = Int32Array.from(levels.flatMap((row) => buildRow(g, row)))
    const rowOf = (level: number): number => levels.findIndex((row) => row.level === level)
    this.rowBelow = Int32Array.from(g.levels, (_, level) => (rowOf(level) + 1) * ROW_WORDS)
    this.paeReservedHi = ~(2 ** (m.maxPhysAddrBits - 32) - 1)
  }

  /** Looks up the address in the tables, without side effects. Returns a WALK_* status. */
  walk(hi: number, lo: number): number {
    const { words, mem, rows, steps, pageShift } = this
    const { frames, frameWordShift, entryWordShift } = mem
    const memory = mem.words
    const controls = words[WORD_CONTROLS]!
    const nxe = (controls & CONTROL_NXE) !== 0
    const unusedNx = nxe ? 0 : NX_HI
    // PS is always honoured in 8-byte entries and needs CR4.PSE in 4-byte ones.
    const pageSizes = this.nxExists || (controls & CONTROL_PSE) !== 0 ? PAGE_PSE : 0
    let row = 0
    let table = words[WORD_ROOT_PFN]!
    let restrictions = 0
    this.$steps = 0

    const cached = this.findCached(hi, lo)
    if (cached >= 0) {
      table = this.cache.nextTable(cached)
      restrictions = this.cache.restrictions(cached)
      row = this.rowBelow[this.cachedLevel]!
    } else if (this.isPae) {
      const latch = WORD_PAE_LATCH + (bitsFrom(hi, lo, rows[ROW_SHIFT]!) & 3) * 2
      if ((words[latch]! & PAGE_PRESENT) === 0) return WALK_NOT_PRESENT
      table = entryPfn(words[latch]!, words[latch + 1]!, pageShift)
      row = ROW_WORDS
    }

    let accessed = PAGE_ACCESSED
    for (let step = 0; ; step += STEP_WORDS) {
      const shift = rows[row + ROW_SHIFT]!
      const upper = shift < 32 ? (lo >>> shift) | (hi << (32 - shift)) : hi >>> (shift - 32)
      const slot = upper & rows[row + ROW_INDEX_MASK]!
      let entryLo: number
      let entryHi = 0
      if (table >>> 0 < frames) {
        const at = (table << frameWordShift) + (slot << entryWordShift)
        entryLo = memory[at]!
        if (entryWordShift !== 0) entryHi = memory[at + 1]!
      } else {
        entryLo = mem.loadLo(table, slot)
        entryHi = mem.loadHi(table, slot)
      }
      steps[step + STEP_LEVEL] = rows[row + ROW_LEVEL]!
      steps[step + STEP_TABLE] = table
      steps[step + STEP_SLOT] = slot
      this.$steps++
      if ((entryLo & PAGE_PRESENT) === 0) return WALK_NOT_PRESENT
      const level = rows[row + ROW_LEVEL]!
      const leaf = level === LEVEL_PTE || (rows[row + ROW_LEAF_ABOVE] === 1 && (entryLo & pageSizes) !== 0)
      const reservedLo = rows[row + (leaf ? ROW_RESERVED_LEAF_LO : ROW_RESERVED_TABLE_LO)]!
      if (((entryLo & reservedLo) | (entryHi & (rows[row + ROW_RESERVED_HI]! | unusedNx))) !== 0) return WALK_RESERVED
      accessed &= entryLo
      // RW and US, inverted and moved down one bit, are RESTRICT_READ_ONLY and RESTRICT_SUPERVISOR.
      restrictions |= (~entryLo >>> 1) & 3
      if (nxe && entryHi < 0) restrictions |= RESTRICT_NX
      if (leaf) {
        this.$leafPfn = this.firstPfn(level, entryLo, entryHi)
        this.$leafLevel = level
        this.$leafLo = entryLo
        this.$restrictions = restrictions
        this.$allAccessed = accessed !== 0
        return WALK_OK
      }
      table = (entryLo >>> pageShift) | (entryHi << (32 - pageShift))
      steps[step + STEP_NEXT] = table
      steps[step + STEP_RESTRICTIONS] = restrictions
      row += ROW_WORDS
    }
  }

  /** True when an access that the last walk found allowed has no A or D bit to set. */
  isComplete(write: boolean): boolean {
    return this.$allAccessed && (!write || (this.$leafLo & PAGE_DIRTY) !== 0)
  }

  /**
   * Completes the last walk: sets A in every entry that it read, and D in the leaf for a write; caches the upper
   * entries. Returns the number of entries changed.
   */
  commit(hi: number, lo: number, write: boolean): number {
    const changed = this.isComplete(write) ? 0 : this.setAccessedDirty(write)
    const cache = this.cache
    if (cache.levels.length === 0) return changed
    if (this.cachedAt >= 0) cache.touch(this.cachedLevel, this.cachedAt)
    const { steps } = this
    const tag = this.words[WORD_TAG]!
    const last = (this.$steps - 1) * STEP_WORDS
    for (let step = 0; step < last; step += STEP_WORDS) {
      cache.insert(
        steps[step + STEP_LEVEL]!, hi, lo, tag, steps[step + STEP_NEXT]!, steps[step + STEP_RESTRICTIONS]!)
    }
    return changed
  }

  /** TLB attributes of the page that the last walk found; a write sets its D bit. */
  leafAttr(isWrite: boolean): number {
    const restrictions = this.$restrictions
    const level = this.$leafLevel
    const memoryType = cacheIndex(this.$leafLo, level !== LEVEL_PTE)
    return restrictions | (memoryType << ATTR_CACHE_INDEX_SHIFT) | (level << ATTR_LEVEL_SHIFT) |
      ((restrictions & RESTRICT_SUPERVISOR) === 0 ? RESTRICT_USER_PAGE : 0) |
      (isWrite || (this.$leafLo & PAGE_DIRTY) !== 0 ? 0 : RESTRICT_CLEAN)
  }

  /** The tag for the page that the last walk found: global pages belong to no PCID. */
  leafTag(): number {
    const global = (this.$leafLo & PAGE_GLOBAL) !== 0 && (this.words[WORD_CONTROLS]! & CONTROL_PGE) !== 0
    return global ? KEY_VALID | KEY_GLOBAL : this.words[WORD_TAG]!
  }

  /** MOV CR3 under PAE: copies the four top entries into the registers; false (#GP) when one has a reserved bit. */
  latchPae(rootPfn: number): boolean {
    if (!this.isPae) return true
    const mem = this.mem
    for (let slot = 0; slot < 4; slot++) {
      const lo = mem.loadLo(rootPfn, slot)
      const reserved = (lo & PAE_TOP_RESERVED_LO) | (mem.loadHi(rootPfn, slot) & this.paeReservedHi)
      if ((lo & PAGE_PRESENT) !== 0 && reserved !== 0) return false
    }
    for (let slot = 0; slot < 4; slot++) {
      this.words[WORD_PAE_LATCH + slot * 2] = mem.loadLo(rootPfn, slot)
      this.words[WORD_PAE_LATCH + slot * 2 + 1] = mem.loadHi(rootPfn, slot)
    }
    return true
  }

  private findCached(hi: number, lo: number): number {
    const levels = this.cache.levels
    const tag = this.words[WORD_TAG]!
    for (let i = 0; i < levels.length; i++) {
      const at = this.cache.find(levels[i]!, hi, lo, tag)
      if (at >= 0) {
        this.cachedLevel = levels[i]!
        this.cachedAt = at
        return at
      }
    }
    this.cachedAt = -1
    return -1
  }

  /** Each entry is read again, because one table may serve at two levels and then one entry is met twice. */
  private setAccessedDirty(write: boolean): number {
    const { mem, steps } = this
    const last = (this.$steps - 1) * STEP_WORDS
    let changed = 0
    for (let step = 0; step <= last; step += STEP_WORDS) {
      const wanted = write && step === last ? PAGE_ACCESSED | PAGE_DIRTY : PAGE_ACCESSED
      const table = steps[step + STEP_TABLE]!
      const slot = steps[step + STEP_SLOT]!
      const entryLo = mem.loadLo(table, slot)
      if ((entryLo & wanted) === wanted) continue
      mem.storeLo(table, slot, entryLo | wanted)
      changed++
    }
    return changed
  }

  private firstPfn(level: number, entryLo: number, entryHi: number): number {
    if (level === LEVEL_PTE) return entryPfn(entryLo, entryHi & PFN_HI_MASK, this.pageShift)
    if (!this.nxExists) return ((entryLo >>> 22) << 10) | (((entryLo >>> 13) & 0xff) << 20)
    const pages = 1 << (this.shift[level]! - this.pageShift)
    return (entryPfn(entryLo, entryHi & PFN_HI_MASK, this.pageShift) & -pages) >>> 0
  }
}

/** The levels that have tables, the top first. */
export function walkLevels(m: MachineConfig, g: Geometry): readonly WalkLevel[] {
  const levels: WalkLevel[] = []
  for (const [level, { folded }] of g.levels.entries()) {
    if (!folded) levels.push({ level, reserved: reservedBits(m, g, level) })
  }
  return levels
}

function buildRow(g: Geometry, { level, reserved }: WalkLevel): readonly number[] {
  const shape = g.levels[level]!
  const row = new Array<number>(ROW_WORDS).fill(0)
  row[ROW_LEVEL] = level
  row[ROW_SHIFT] = shape.shift
  row[ROW_INDEX_MASK] = (1 << shape.bits) - 1
  row[ROW_LEAF_ABOVE] = shape.leaf && level < LEVEL_PTE ? 1 : 0
  row[ROW_RESERVED_TABLE_LO] = reserved.tableLo
  row[ROW_RESERVED_LEAF_LO] = reserved.leafLo
  row[ROW_RESERVED_HI] = reserved.hi
  return row
}
