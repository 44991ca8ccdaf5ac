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
  ATTR_LEVEL_SHIFT, CONTROL_NXE, CONTROL_PGE, CONTROL_PSE, KEY_GLOBAL, KEY_VALID, RESTRICT_CLEAN, RESTRICT_NX,
  RESTRICT_SUPERVISOR, RESTRICT_USER_PAGE, WORD_CONTROLS, WORD_PAE_LATCH, WORD_ROOT_PFN, WORD_TAG,
} = state
const { bitsFrom, LEVEL_PTE } = geometry
const {
  entryPfn, PAGE_ACCESSED, PAGE_DIRTY, PAGE_FLAGS_LO, PAGE_GLOBAL, PAGE_PAT_LARGE, PAGE_PCD, PAGE_PRESENT, PAGE_PSE,
  PAGE_PWT, PFN_HI_MASK,
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

  private readonly g: Geometry
  private readonly mem: PhysMem
  private readonly words: Int32Array
  private readonly cache: PagingCache
  private readonly isPae: boolean
  private readonly nxExists: boolean
  private readonly paeReservedHi: number
  private readonly pageShift: number
  // Per level.
  private readonly shift: Int32Array
  private readonly indexMask: Int32Array
  private readonly next: Int32Array
  private readonly leafAbove: Int32Array
  private readonly reservedTableLo: Int32Array
  private readonly reservedLeafLo: Int32Array
  private readonly reservedHi: Int32Array
  // Scratch: the entries that the last walk read, in order; the table each names and the restrictions so far.
  private readonly stepLevel = new Int32Array(5)
  private readonly stepTable = new Int32Array(5)
  private readonly stepSlot = new Int32Array(5)
  private readonly stepNext = new Int32Array(5)
  private readonly stepRestrictions = new Int32Array(5)
  /** The paging-cache entry that the last walk started from, or -1. */
  private cachedAt = -1
  private cachedLevel = 0

  constructor(m: MachineConfig, g: Geometry, mem: PhysMem, words: Int32Array, cache: PagingCache) {
    this.g = g
    this.mem = mem
    this.words = words
    this.cache = cache
    this.isPae = g.name === 'i386-pae'
    this.nxExists = g.entryBytes === 8
    this.pageShift = g.pageShift
    this.shift = Int32Array.from(g.levels, (shape) => shape.shift)
    this.indexMask = Int32Array.from(g.levels, (shape) => (1 << shape.bits) - 1)
    this.next = Int32Array.from(g.levels, (_, level) => {
      const below = g.levels.findIndex((shape, other) => other > level && !shape.folded)
      return below < 0 ? level : below
    })
    this.leafAbove = Int32Array.from(g.levels, (shape, level) => (shape.leaf && level < LEVEL_PTE ? 1 : 0))
    const reserved = g.levels.map((_, level) => reservedBits(m, g, level))
    this.reservedTableLo = Int32Array.from(reserved, (bits) => bits.tableLo)
    this.reservedLeafLo = Int32Array.from(reserved, (bits) => bits.leafLo)
    this.reservedHi = Int32Array.from(reserved, (bits) => bits.hi)
    this.paeReservedHi = ~(2 ** (m.maxPhysAddrBits - 32) - 1)
  }

  /** Looks up the address in the tables, without side effects. Returns a WALK_* status. */
  walk(hi: number, lo: number): number {
    const words = this.words
    const mem = this.mem
    const controls = words[WORD_CONTROLS]!
    const nxe = (controls & CONTROL_NXE) !== 0
    const unusedNx = nxe ? 0 : NX_HI
    let level = this.g.topLevel
    let table = words[WORD_ROOT_PFN]!
    let restrictions = 0
    this.$steps = 0

    const cached = this.findCached(hi, lo)
    if (cached >= 0) {
      table = this.cache.nextTable(cached)
      restrictions = this.cache.restrictions(cached)
      level = this.next[this.cachedLevel]!
    } else if (this.isPae) {
      const latch = WORD_PAE_LATCH + (bitsFrom(hi, lo, this.shift[level]!) & 3) * 2
      if ((words[latch]! & PAGE_PRESENT) === 0) return WALK_NOT_PRESENT
      table = entryPfn(words[latch]!, words[latch + 1]!, this.pageShift)
      level = this.next[level]!
    }

    let accessed = PAGE_ACCESSED
    let step = 0
    for (;;) {
      const slot = bitsFrom(hi, lo, this.shift[level]!) & this.indexMask[level]!
      const entryLo = mem.loadLo(table, slot)
      const entryHi = mem.loadHi(table, slot)
      this.stepLevel[step] = level
      this.stepTable[step] = table
      this.stepSlot[step] = slot
      this.$steps = step + 1
      if ((entryLo & PAGE_PRESENT) === 0) return WALK_NOT_PRESENT
      const leaf = level === LEVEL_PTE || ((entryLo & PAGE_PSE) !== 0 && this.mapsPages(level, controls))
      const reservedLo = leaf ? this.reservedLeafLo[level]! : this.reservedTableLo[level]!
      if (((entryLo & reservedLo) | (entryHi & (this.reservedHi[level]! | unusedNx))) !== 0) return WALK_RESERVED
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
      table = entryPfn(entryLo, entryHi, this.pageShift)
      this.stepNext[step] = table
      this.stepRestrictions[step] = restrictions
      level = this.next[level]!
      step++
    }
  }

  /**
   * Completes the last walk: sets A in every entry that it read, and D in the leaf for a write; caches the upper
   * entries. Returns the number of entries changed. Each entry is read again, because one table may serve at two
   * levels and then one entry is met twice.
   */
  commit(hi: number, lo: number, write: boolean): number {
    const mem = this.mem
    const cache = this.cache
    const last = this.$steps - 1
    const tag = this.words[WORD_TAG]!
    let changed = 0
    if (this.cachedAt >= 0) cache.touch(this.cachedLevel, this.cachedAt)
    for (let step = 0; step <= last; step++) {
      const wanted = write && step === last ? PAGE_ACCESSED | PAGE_DIRTY : PAGE_ACCESSED
      const table = this.stepTable[step]!
      const slot = this.stepSlot[step]!
      const entryLo = mem.loadLo(table, slot)
      if ((entryLo & wanted) !== wanted) {
        mem.storeLo(table, slot, entryLo | wanted)
        changed++
      }
      if (step < last) {
        cache.insert(this.stepLevel[step]!, hi, lo, tag, this.stepNext[step]!, this.stepRestrictions[step]!)
      }
    }
    return changed
  }

  /** TLB attributes of the page that the last walk found; a write sets its D bit. */
  leafAttr(isWrite: boolean): number {
    const restrictions = this.$restrictions
    return restrictions | (this.$leafLevel << ATTR_LEVEL_SHIFT) |
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

  /** PS is always honoured in 8-byte entries and needs CR4.PSE in 4-byte ones. */
  private mapsPages(level: number, controls: number): boolean {
    return this.leafAbove[level] === 1 && (this.nxExists || (controls & CONTROL_PSE) !== 0)
  }

  private firstPfn(level: number, entryLo: number, entryHi: number): number {
    if (level === LEVEL_PTE) return entryPfn(entryLo, entryHi & PFN_HI_MASK, this.pageShift)
    if (!this.nxExists) return ((entryLo >>> 22) << 10) | (((entryLo >>> 13) & 0xff) << 20)
    const pages = 1 << (this.shift[level]! - this.pageShift)
    return (entryPfn(entryLo, entryHi & PFN_HI_MASK, this.pageShift) & -pages) >>> 0
  }
}
