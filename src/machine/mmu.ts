// One CPU's memory-management unit: TLB, then paging-structure caches, then the page walk.
//
// `translate` answers for one access: first a base page found in the first way of its L1 set, the rest
// in order of cost. Long runs of user accesses are done by access-runs/, bit for bit as here. A call that
// does not return TRANSLATED and may not write leaves the state bit for bit as it was, so the
// engine can try an access, stop in front of it, and commit it later.
//
// All state is in `words` and `counters` (layout: mmu-state.ts); the fields here are constants of
// the configuration and results of the last call. Absent: data, memory types, protection keys.

import type { MachineConfig } from './config.js'
import type { Costs } from './costs.js'
import * as geometry from './geometry.js'
import type { Geometry } from './geometry.js'
import * as controls from './controls.js'
import type { Controls } from './controls.js'
import * as dump from './mmu-dump.js'
import * as state from './mmu-state.js'
import { PagingCache } from './paging-cache.js'
import type { PhysMem } from './phys-mem.js'
import { classShapes, type TlbArray, type TlbLevel } from './tlb.js'
import { TlbLevels } from './tlb-levels.js'
import * as walk from './walker.js'
import { Walker } from './walker.js'
import { assert, fail } from '../base/assert.js'

export * from './controls.js'
export type { PagingCacheEntry, TlbEntry } from './mmu-dump.js'
export {
  COUNTER_L1D_LOOKUPS, COUNTER_L1D_MISSES, COUNTER_L1I_LOOKUPS, COUNTER_L1I_MISSES, COUNTER_STLB_LOOKUPS,
  COUNTER_STLB_MISSES, COUNTER_WALK_STEPS, mmuCounters, mmuWords,
} from './mmu-state.js'
export { peekWalk, type PeekReason, type PeekResult, type PeekStep } from './peek-walk.js'

// Bound to constants of this module: the compiler folds those, and loads imported ones each time.
const {
  ATTR_CACHE_INDEX_MASK, ATTR_CACHE_INDEX_SHIFT, ATTR_LEVEL_SHIFT, CLASS_BASE, classesByLevel, CONTROL_AC,
  CONTROL_PCIDE, COUNTER_L1D_LOOKUPS, COUNTER_L1I_LOOKUPS, COUNTER_STLB_LOOKUPS, COUNTER_STLB_MISSES,
  COUNTER_WALK_STEPS, ENTRY_ATTR, ENTRY_KEY_HI, ENTRY_PFN, globalTwin, HEADER_WORDS, KEY_CLASS_MASK, KEY_CLASS_SHIFT,
  KEY_PCID_MASK, KEY_PCID_SHIFT, KEY_VALID, keepWords, mmuCounters, mmuWords, RESTRICT_CLEAN, sameTranslation, tagOf,
  UNDO_ARMED, WORD_CONTROLS, WORD_CR3_FLAGS, WORD_DENY, WORD_ROOT_PFN, WORD_TAG, WORD_UNDO,
} = state
const {
  ACCESS_EXEC, ACCESS_WRITE, accessCode, computeDenyMasks, controlBits, FAULT_PRESENT, FAULT_RESERVED,
  GENERAL_PROTECTION, INVPCID_ADDRESS, INVPCID_ALL, INVPCID_ALL_GLOBAL, NEEDS_WRITE, PAGE_FAULT, TRANSLATED,
} = controls
const { bitsFrom, canonicalBias, canonicalMask, geometryOf } = geometry
const { WALK_NOT_PRESENT, WALK_OK } = walk
const NO_UNDO = new Int32Array(0)
const MISSES_BEHIND_LOOKUPS = state.COUNTER_L1D_MISSES - COUNTER_L1D_LOOKUPS

export class Mmu {
  // Declared and not defined: a field that was undefined before the constructor set it is checked at every load.
  // Results of the last `translate`, valid until the next one.
  /** Set by PAGE_FAULT and GENERAL_PROTECTION (0). */
  errorCode = 0
  /** Price of the access, without what the kernel does about a fault. Not set by NEEDS_WRITE. */
  cycles = 0
  declare readonly geometry: Geometry
  /** Of the page that was found: the base page of the access, as a signed word, and the attributes of a TLB entry. */
  private foundPfn = 0
  private foundAttr = 0
  declare private readonly words: Int32Array
  declare private readonly counters: Float64Array
  declare private readonly undo: Int32Array
  declare private readonly walker: Walker
  declare private readonly pagingCache: PagingCache
  declare private readonly tlbs: TlbLevels
  declare private readonly l1i: TlbLevel
  declare private readonly l1d: TlbLevel
  declare private readonly stlb: TlbLevel
  /** Where first-level base pages are: {@link translate} looks there first. */
  declare private readonly codeArray: TlbArray
  declare private readonly dataArray: TlbArray
  declare private readonly areBasePagesKept: boolean
  /** By size class: which bits of a base-page number count inside one page of it. */
  declare private readonly insideMask: Int32Array
  declare private readonly classOfLevel: Int32Array
  declare private readonly pageShift: number
  declare private readonly baseHiMask: number
  declare private readonly canonicalBias: number
  declare private readonly canonicalMask: number
  declare private readonly accessCycles: number
  declare private readonly costs: Costs

  /** `undo`: where the words go before the first change when that is armed (mmu-state.ts), of their length. */
  constructor(m: MachineConfig, mem: PhysMem, words: Int32Array, counters: Float64Array, undo: Int32Array = NO_UNDO) {
    const g = geometryOf(m.geometry)
    if (words.length < mmuWords(m)) fail(`MMU needs ${mmuWords(m)} words, got ${words.length}`)
    if (counters.length < mmuCounters()) fail(`MMU needs ${mmuCounters()} counters, got ${counters.length}`)
    this.geometry = g
    this.words = words
    this.counters = counters
    this.undo = undo
    this.tlbs = new TlbLevels(words, HEADER_WORDS, m.tlb, g)
    this.l1i = this.tlbs.l1i
    this.l1d = this.tlbs.l1d
    this.stlb = this.tlbs.stlb
    this.areBasePagesKept = this.tlbs.keepBasePages
    this.codeArray = this.l1i.base
    this.dataArray = this.l1d.base
    this.pagingCache = new PagingCache(words, this.tlbs.end, m, g)
    this.walker = new Walker(m, g, mem, words, this.pagingCache)
    this.insideMask = Int32Array.from(classShapes(g), (shape) => shape?.insideMask ?? 0)
    this.classOfLevel = Int32Array.from(classesByLevel(g))
    this.pageShift = g.pageShift
    this.baseHiMask = classShapes(g)[CLASS_BASE]!.hiMask | 0
    this.canonicalBias = canonicalBias(g)
    this.canonicalMask = canonicalMask(g)
    this.accessCycles = m.costs.access
    this.costs = m.costs
  }

  /** Power on: empty TLBs and caches, root 0, counters 0. Geometries of 32-bit machines have no PCID. */
  reset(c: Controls): void {
    this.words.fill(0)
    this.counters.fill(0)
    this.words[WORD_CONTROLS] = controlBits(c, this.geometry)
    this.words[WORD_TAG] = KEY_VALID
    computeDenyMasks(this.words)
  }

  /** RFLAGS.AC: lets the kernel touch user pages in spite of SMAP (STAC, CLAC). */
  setAc(on: boolean): void {
    if (on) this.words[WORD_CONTROLS]! |= CONTROL_AC
    else this.words[WORD_CONTROLS]! &= ~CONTROL_AC
    computeDenyMasks(this.words)
  }

  get rootPfn(): number { return this.words[WORD_ROOT_PFN]! >>> 0 }

  get pcid(): number {
    return (this.words[WORD_TAG]! & KEY_PCID_MASK) >>> KEY_PCID_SHIFT
  }

  /** The base page that the access fell into. Unsigned. Set by TRANSLATED, as are the next two. */
  get pfn(): number {
    return this.foundPfn >>> 0
  }

  /** Level of the leaf that mapped it. */
  get pageSizeLevel(): number {
    return this.foundAttr >>> ATTR_LEVEL_SHIFT
  }

  /** PAT, PCD and PWT of that leaf: which of the eight memory types of the PAT register (SDM vol. 3, 4.9.2). */
  get cacheIndex(): number {
    return (this.foundAttr >>> ATTR_CACHE_INDEX_SHIFT) & ATTR_CACHE_INDEX_MASK
  }

  /**
   * Translates one access. `mayWrite`: A and D bits may be set in memory, and a fault may drop what is cached.
   * Returns TRANSLATED, NEEDS_WRITE, PAGE_FAULT or GENERAL_PROTECTION.
   */
  translate(hi: number, lo: number, access: number, user: boolean, mayWrite: boolean): number {
    if (((hi + this.canonicalBias) & this.canonicalMask) !== 0) return this.generalProtection()
    const words = this.words
    const pageShift = this.pageShift
    const pageLo = (lo >>> pageShift) | (hi << (32 - pageShift))
    const array = access === ACCESS_EXEC ? this.codeArray : this.dataArray
    const at = array.offset + (pageLo & array.mask) * array.setWords
    if (words[at] === pageLo) {
      const keyHi = ((hi >>> pageShift) & this.baseHiMask) | words[WORD_TAG]!
      const found = words[at + ENTRY_KEY_HI]!
      const deny = words[WORD_DENY + (access << 1) + (user === true ? 1 : 0)]!
      const attr = words[at + ENTRY_ATTR]!
      if ((found === keyHi || found === globalTwin(keyHi)) && (attr & deny) === 0) {
        this.counters[access === ACCESS_EXEC ? COUNTER_L1I_LOOKUPS : COUNTER_L1D_LOOKUPS]! += 1
        this.foundPfn = words[at + ENTRY_PFN]!
        this.foundAttr = attr
        this.cycles = this.accessCycles
        return TRANSLATED
      }
    }
    return this.translateBehind(hi, lo, access, user, mayWrite)
  }

  /**
   * MOV CR3. Without PCIDE, `pcid` and `noFlush` do not exist and everything that is not global goes. Returns
   * TRANSLATED, or GENERAL_PROTECTION with nothing loaded when a PAE top entry has a reserved bit.
   */
  loadCr3(rootPfn: number, pcid: number, noFlush: boolean, cr3Flags = 0): number {
    if (!this.walker.latchPae(rootPfn)) return GENERAL_PROTECTION
    const words = this.words
    const tagged = (words[WORD_CONTROLS]! & CONTROL_PCIDE) !== 0
    words[WORD_ROOT_PFN] = rootPfn
    words[WORD_CR3_FLAGS] = cr3Flags
    words[WORD_TAG] = tagged ? KEY_VALID | (pcid << KEY_PCID_SHIFT) : KEY_VALID
    if (!tagged) {
      this.tlbs.dropNonGlobal(undefined)
      this.pagingCache.clear()
    } else if (!noFlush) {
      this.tlbs.dropNonGlobal(words[WORD_TAG]!)
      this.pagingCache.dropTag(words[WORD_TAG]!)
    }
    return TRANSLATED
  }

  /** MOV CR3 with its own value: the local flush of Linux. */
  flushNonGlobal(): void {
    this.loadCr3(this.rootPfn, this.pcid, false, this.words[WORD_CR3_FLAGS])
  }

  /** Toggling CR4.PGE: everything goes, of every PCID. PAE reads its top entries again. */
  flushGlobal(): void {
    this.walker.latchPae(this.rootPfn)
    this.tlbs.clear()
    this.pagingCache.clear()
  }

  /** INVLPG: the page of this address, whatever its size, and with it every paging-cache entry of the current PCID. */
  invlpg(hi: number, lo: number): void {
    const tag = this.words[WORD_TAG]!
    this.tlbs.dropPage(hi, lo, tag, true)
    this.pagingCache.dropTag(tag)
  }

  /** INVPCID: 0 one page of one PCID, 1 one PCID, 2 everything with globals, 3 everything else. */
  invpcid(type: number, pcid: number, hi: number, lo: number): void {
    assert(type >= INVPCID_ADDRESS && type <= INVPCID_ALL, 'invpcid: unknown type')
    const tag = KEY_VALID | (pcid << KEY_PCID_SHIFT)
    if (type === INVPCID_ALL_GLOBAL) {
      this.tlbs.clear()
      this.pagingCache.clear()
    } else if (type === INVPCID_ALL) {
      this.tlbs.dropNonGlobal(undefined)
      this.pagingCache.clear()
    } else {
      if (type === INVPCID_ADDRESS) this.tlbs.dropPage(hi, lo, tag, false)
      else this.tlbs.dropNonGlobal(tag)
      this.pagingCache.dropTag(tag)
    }
  }

  /** Whether what is cached may have changed: {@link dump.contentsStamp}. */
  get contentsStamp(): number { return dump.contentsStamp(this.tlbs.drops, this.counters) }

  /** Visits every valid TLB entry: L1I, L1D, STLB; sets ascending, youngest first. */
  forEachTlbEntry(visit: (entry: dump.TlbEntry) => void): void {
    this.tlbs.forEach((level, at) => visit(dump.describeTlbEntry(this.geometry, this.words, level, at)))
  }

  /** Visits every paging-cache entry, the top level first, youngest first. */
  forEachPagingCacheEntry(visit: (entry: dump.PagingCacheEntry) => void): void {
    this.pagingCache.forEach((level, at) => visit(dump.describePagingCacheEntry(this.geometry, this.words, level, at)))
  }

  /** The top entries that PAE latched with the root and that are present. */
  latchedTops(): dump.PagingCacheEntry[] { return dump.describeLatch(this.geometry, this.words) }

  /** A base page further back in its L1 set. */
  private translateBehind(hi: number, lo: number, access: number, user: boolean, mayWrite: boolean): number {
    const words = this.words
    const lookups = access === ACCESS_EXEC ? COUNTER_L1I_LOOKUPS : COUNTER_L1D_LOOKUPS
    const pageShift = this.pageShift
    const pageLo = (lo >>> pageShift) | (hi << (32 - pageShift))
    const pageHi = (hi >>> pageShift) & this.baseHiMask
    const keyHi = pageHi | words[WORD_TAG]!
    const deny = words[WORD_DENY + (access << 1) + (user === true ? 1 : 0)]!
    const first = access === ACCESS_EXEC ? this.codeArray : this.dataArray
    const start = first.startOf(pageHi, pageLo)
    const at = first.find(start, pageLo, keyHi)
    if (at >= 0) {
      const attr = words[at + ENTRY_ATTR]!
      if ((attr & deny) !== 0) return this.translateAnySize(hi, lo, access, user, mayWrite)
      this.counters[lookups]! += 1
      this.foundPfn = words[at + ENTRY_PFN]!
      this.foundAttr = attr
      this.cycles = this.accessCycles
      if (words[WORD_UNDO] === UNDO_ARMED) keepWords(words, this.undo)
      first.moveToFront(start, at)
      return TRANSLATED
    }
    return this.translateBySecond(hi, lo, access, user, mayWrite)
  }

  /**
   * A base page that is in the STLB and not in its L1 set, while no larger page could be meant. A function of its own,
   * because the compiler inlines what is called in most runs of a function, however rare these are.
   */
  private translateBySecond(hi: number, lo: number, access: number, user: boolean, mayWrite: boolean): number {
    const level = access === ACCESS_EXEC ? this.l1i : this.l1d
    if (this.areBasePagesKept === false || !level.onlyBasePages() || !this.stlb.onlyBasePages()) {
      return this.translateAnySize(hi, lo, access, user, mayWrite)
    }
    const words = this.words
    const pageShift = this.pageShift
    const pageLo = (lo >>> pageShift) | (hi << (32 - pageShift))
    const pageHi = (hi >>> pageShift) & this.baseHiMask
    const second = this.stlb.base
    const at = second.find(second.startOf(pageHi, pageLo), pageLo, pageHi | words[WORD_TAG]!)
    if (at < 0) return this.translateByWalk(hi, lo, access, user, mayWrite)
    const attr = words[at + ENTRY_ATTR]!
    if ((attr & words[WORD_DENY + (access << 1) + (user === true ? 1 : 0)]!) !== 0) {
      return this.translateAnySize(hi, lo, access, user, mayWrite)
    }
    this.foundPfn = words[at + ENTRY_PFN]!
    this.foundAttr = attr
    this.cycles = this.accessCycles + this.costs.stlbHit
    const first = level.base
    if (words[WORD_UNDO] === UNDO_ARMED) keepWords(words, this.undo)
    first.insertCopy(first.startOf(pageHi, pageLo), at)
    level.noteBase(words[at + ENTRY_KEY_HI]!)
    second.stamp(at)
    this.countFirstLevelMiss(access)
    return TRANSLATED
  }

  /** The whole order of things: first level, second level, walk, with pages of all sizes and every denial. */
  private translateAnySize(hi: number, lo: number, access: number, user: boolean, mayWrite: boolean): number {
    const words = this.words
    const level = access === ACCESS_EXEC ? this.l1i : this.l1d
    const tag = words[WORD_TAG]!
    const deny = words[WORD_DENY + (access << 1) + (user === true ? 1 : 0)]!
    const inL1 = level.find(hi, lo, tag)
    const at = inL1 >= 0 ? inL1 : this.stlb.find(hi, lo, tag)
    if (at < 0) return this.translateByWalk(hi, lo, access, user, mayWrite)
    const attr = words[at + ENTRY_ATTR]!
    const cycles = this.accessCycles + (inL1 >= 0 ? 0 : this.costs.stlbHit)
    const denied = attr & deny
    if (denied === RESTRICT_CLEAN) return this.walkToSetDirty(hi, lo, user, mayWrite, inL1 >= 0)
    if (denied !== 0) return this.fault(accessCode(this.words, access, user) | FAULT_PRESENT, cycles, hi, lo, mayWrite)
    const keyHi = words[at + ENTRY_KEY_HI]!
    const pfn = words[at + ENTRY_PFN]!
    const cls = (keyHi & KEY_CLASS_MASK) >>> KEY_CLASS_SHIFT
    this.foundPfn = pfn | (bitsFrom(hi, lo, this.pageShift) & this.insideMask[cls]!)
    this.foundAttr = attr
    this.cycles = cycles
    if (words[WORD_UNDO] === UNDO_ARMED) keepWords(words, this.undo)
    if (inL1 >= 0) {
      this.counters[access === ACCESS_EXEC ? COUNTER_L1I_LOOKUPS : COUNTER_L1D_LOOKUPS]! += 1
      level.touchFound(at)
    } else {
      this.countFirstLevelMiss(access)
      level.fill(cls, hi, lo, tagOf(keyHi), pfn, attr)
      this.stlb.touchFound(at)
    }
    return TRANSLATED
  }

  /** Both levels missed. */
  private translateByWalk(hi: number, lo: number, access: number, user: boolean, mayWrite: boolean): number {
    const status = this.walkFor(hi, lo, access, user, mayWrite, this.accessCycles)
    if (status !== TRANSLATED) return status
    this.countFirstLevelMiss(access)
    this.counters[COUNTER_STLB_MISSES]! += 1
    const level = access === ACCESS_EXEC ? this.l1i : this.l1d
    const walker = this.walker
    const key = walker.leafTag()
    const cls = this.classOfLevel[walker.$leafLevel]!
    this.stlb.fill(cls, hi, lo, key, walker.$leafPfn, this.foundAttr)
    level.fill(cls, hi, lo, key, walker.$leafPfn, this.foundAttr)
    return TRANSLATED
  }

  /**
   * Walks for an access, judges it and, when it may proceed, commits the walk and sets what was found, cycles and the
   * step counter. Fills no TLB.
   */
  private walkFor(
    hi: number, lo: number, access: number, user: boolean, mayWrite: boolean, baseCycles: number,
  ): number {
    const walker = this.walker
    const found = walker.walk(hi, lo)
    const cycles = baseCycles + walker.$steps * this.costs.walkStep
    if (found !== WALK_OK) {
      const bits = found === WALK_NOT_PRESENT ? 0 : FAULT_PRESENT | FAULT_RESERVED
      return this.fault(accessCode(this.words, access, user) | bits, cycles, hi, lo, mayWrite)
    }
    const isWrite = access === ACCESS_WRITE
    const deny = this.words[WORD_DENY + (access << 1) + (user === true ? 1 : 0)]!
    const attr = walker.leafAttr(isWrite)
    if ((attr & deny) !== 0) {
      return this.fault(accessCode(this.words, access, user) | FAULT_PRESENT, cycles, hi, lo, mayWrite)
    }
    if (!mayWrite && !walker.isComplete(isWrite)) return NEEDS_WRITE
    if (this.words[WORD_UNDO] === UNDO_ARMED) keepWords(this.words, this.undo)
    const changed = walker.commit(hi, lo, isWrite)
    this.counters[COUNTER_WALK_STEPS]! += walker.$steps
    this.cycles = cycles + changed * this.costs.setAccessedDirty
    const inside = this.insideMask[this.classOfLevel[walker.$leafLevel]!]!
    this.foundPfn = walker.$leafPfn | (bitsFrom(hi, lo, this.pageShift) & inside)
    this.foundAttr = attr
    return TRANSLATED
  }

  /**
   * A write that hit an entry whose D is clear. The entry is renewed from the walk where it stands, in L1D and in
   * the STLB; when the tables by now map the page otherwise (another size, global or not), it is replaced.
   */
  private walkToSetDirty(hi: number, lo: number, user: boolean, mayWrite: boolean, hitL1: boolean): number {
    const { walker, words, l1d, stlb } = this
    const before = hitL1 ? this.accessCycles : this.accessCycles + this.costs.stlbHit
    const status = this.walkFor(hi, lo, ACCESS_WRITE, user, mayWrite, before)
    if (status !== TRANSLATED) return status
    if (hitL1) this.counters[COUNTER_L1D_LOOKUPS]! += 1
    else this.countFirstLevelMiss(ACCESS_WRITE)
    const tag = words[WORD_TAG]!
    const cls = this.classOfLevel[walker.$leafLevel]!
    const key = walker.leafTag()
    const attr = this.foundAttr
    const pfn = walker.$leafPfn
    const hit = (hitL1 ? l1d : stlb).find(hi, lo, tag)
    if (!sameTranslation(words[hit + ENTRY_KEY_HI]!, cls, key)) {
      this.tlbs.dropPage(hi, lo, tag, true)
      stlb.fill(cls, hi, lo, key, pfn, attr)
      l1d.fill(cls, hi, lo, key, pfn, attr)
      return TRANSLATED
    }
    this.tlbs.renew(hit, pfn, attr)
    if (hitL1) {
      l1d.touchFound(hit)
      const twin = stlb.find(hi, lo, tag)
      if (twin >= 0 && sameTranslation(words[twin + ENTRY_KEY_HI]!, cls, key)) this.tlbs.renew(twin, pfn, attr)
    } else {
      stlb.touchFound(hit)
      l1d.fill(cls, hi, lo, key, pfn, attr)
    }
    return TRANSLATED
  }

  /** An access that missed the first level and so looked up the second. */
  private countFirstLevelMiss(access: number): void {
    const counters = this.counters
    const lookups = access === ACCESS_EXEC ? COUNTER_L1I_LOOKUPS : COUNTER_L1D_LOOKUPS
    counters[lookups]! += 1
    counters[lookups + MISSES_BEHIND_LOOKUPS]! += 1
    counters[COUNTER_STLB_LOOKUPS]! += 1
  }

  /**
   * #PF. It drops what is cached for the address under the current PCID, global entries and the paging-cache entries
   * of its walk included, so that the fault does not come back once the tables allow the access (SDM vol. 3, 4.10.4.1).
   */
  private fault(code: number, cycles: number, hi: number, lo: number, mayWrite: boolean): number {
    this.errorCode = code
    this.cycles = cycles
    if (mayWrite) {
      this.tlbs.dropPage(hi, lo, this.words[WORD_TAG]!, true)
      this.pagingCache.dropAddress(hi, lo, this.words[WORD_TAG]!)
    }
    return PAGE_FAULT
  }

  private generalProtection(): number {
    this.errorCode = 0
    this.cycles = this.accessCycles
    return GENERAL_PROTECTION
  }
}
