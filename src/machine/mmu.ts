// One CPU's memory-management unit: TLB, then paging-structure caches, then the page walk.
//
// `translate` answers for one access. Its first lines are the hot path of the whole simulator: a
// base page found in the first way of its L1 set. Everything else is `translateSlowly`. A call that does not
// return TRANSLATED and may not write leaves the state bit for bit as it was, so the engine can
// try an access, stop in front of it, and commit it later.
//
// All state is in `words` and `counters` (layout: mmu-state.ts); the fields here are constants of
// the configuration and results of the last call. No data is moved, no memory types exist, and
// protection keys are absent.

import type { MachineConfig } from './config.js'
import type { Costs } from './costs.js'
import { PAGE_DIRTY, PAGE_GLOBAL } from './entry.js'
import { bitsFrom, canonicalBias, canonicalMask, geometryOf, LEVEL_PTE, type Geometry } from './geometry.js'
import {
  ACCESS_EXEC, ACCESS_WRITE, computeDenyMasks, controlBits, FAULT_FETCH, FAULT_PRESENT, FAULT_RESERVED, FAULT_USER,
  FAULT_WRITE, GENERAL_PROTECTION, INVPCID_ADDRESS, INVPCID_ALL, INVPCID_ALL_GLOBAL, NEEDS_WRITE, PAGE_FAULT,
  TRANSLATED, type Controls,
} from './controls.js'
import {
  describePagingCacheEntry, describeTlbEntry, type PagingCacheEntry, type TlbEntry,
} from './mmu-dump.js'
import {
  ATTR_LEVEL_SHIFT, CLASS_BASE, classesByLevel, CONTROL_AC, CONTROL_NXE, CONTROL_PCIDE, CONTROL_PGE, CONTROL_SMEP,
  COUNTER_L1D_LOOKUPS, COUNTER_L1D_MISSES, COUNTER_L1I_LOOKUPS, COUNTER_L1I_MISSES, COUNTER_STLB_LOOKUPS,
  COUNTER_STLB_MISSES, COUNTER_WALK_STEPS, ENTRY_ATTR, ENTRY_KEY_HI, ENTRY_PFN, HEADER_WORDS, KEY_CLASS_MASK,
  KEY_CLASS_SHIFT, KEY_GLOBAL, KEY_PCID_MASK, KEY_PCID_SHIFT, KEY_VALID, mmuCounters, mmuWordsOf, RESTRICT_CLEAN,
  RESTRICT_SUPERVISOR, RESTRICT_USER_PAGE, tlbLevelWords, WORD_CONTROLS, WORD_CR3_FLAGS, WORD_DENY, WORD_ROOT_PFN,
  WORD_TAG,
} from './mmu-state.js'
import { PagingCache } from './paging-cache.js'
import type { PhysMem } from './phys-mem.js'
import { classShapes, TlbLevel, type ClassShape } from './tlb.js'
import { WALK_NOT_PRESENT, WALK_OK, Walker } from './walker.js'
import { assert } from '../base/assert.js'

export * from './controls.js'
export type { PagingCacheEntry, TlbEntry } from './mmu-dump.js'
export {
  COUNTER_L1D_LOOKUPS, COUNTER_L1D_MISSES, COUNTER_L1I_LOOKUPS, COUNTER_L1I_MISSES, COUNTER_STLB_LOOKUPS,
  COUNTER_STLB_MISSES, COUNTER_WALK_STEPS, mmuCounters,
} from './mmu-state.js'
export { peekWalk, type PeekReason, type PeekResult, type PeekStep } from './peek-walk.js'

/** Length of the words view that a machine's MMU needs. */
export function mmuWords(m: MachineConfig): number {
  return mmuWordsOf(m, geometryOf(m.geometry))
}

export class Mmu {
  // Results of the last `translate`, valid until the next one.
  /** The base page that the access falls into. Unsigned. Set by TRANSLATED. */
  pfn = 0
  /** Level of the leaf that mapped it. Set by TRANSLATED. */
  pageSizeLevel = LEVEL_PTE
  /** Set by PAGE_FAULT and GENERAL_PROTECTION (0). */
  errorCode = 0
  /** Price of the access, without what the kernel does about a fault. Not set by NEEDS_WRITE. */
  cycles = 0

  readonly geometry: Geometry
  private readonly words: Int32Array
  private readonly counters: Float64Array
  private readonly walker: Walker
  private readonly pagingCache: PagingCache
  private readonly l1i: TlbLevel
  private readonly l1d: TlbLevel
  private readonly stlb: TlbLevel
  private readonly shapes: readonly (ClassShape | undefined)[]
  private readonly classOfLevel: Int32Array
  private readonly pageShift: number
  private readonly baseHiMask: number
  private readonly canonicalBias: number
  private readonly canonicalMask: number
  private readonly accessCycles: number
  private readonly stlbHitCycles: number
  private readonly walkStepCycles: number
  private readonly setAccessedDirtyCycles: number

  constructor(m: MachineConfig, mem: PhysMem, words: Int32Array, counters: Float64Array) {
    const g = geometryOf(m.geometry)
    assert(words.length >= mmuWordsOf(m, g), `MMU needs ${mmuWordsOf(m, g)} words, got ${words.length}`)
    assert(counters.length >= mmuCounters(), `MMU needs ${mmuCounters()} counters, got ${counters.length}`)
    this.geometry = g
    this.words = words
    this.counters = counters
    let at = HEADER_WORDS
    this.l1i = new TlbLevel(words, at, m.tlb.l1i, g, 0)
    at += tlbLevelWords(m.tlb.l1i)
    this.l1d = new TlbLevel(words, at, m.tlb.l1d, g, 1)
    at += tlbLevelWords(m.tlb.l1d)
    this.stlb = new TlbLevel(words, at, m.tlb.stlb, g, 2)
    at += tlbLevelWords(m.tlb.stlb)
    this.pagingCache = new PagingCache(words, at, m, g)
    this.walker = new Walker(m, g, mem, words, this.pagingCache)
    this.shapes = classShapes(g)
    this.classOfLevel = Int32Array.from(classesByLevel(g))
    this.pageShift = g.pageShift
    this.baseHiMask = this.shapes[CLASS_BASE]!.hiMask
    this.canonicalBias = canonicalBias(g)
    this.canonicalMask = canonicalMask(g)
    const costs: Costs = m.costs
    this.accessCycles = costs.access
    this.stlbHitCycles = costs.stlbHit
    this.walkStepCycles = costs.walkStep
    this.setAccessedDirtyCycles = costs.setAccessedDirty
  }

  /** Power on: empty TLBs and caches, root 0, counters 0. Geometries of 32-bit machines have no PCID. */
  reset(c: Controls): void {
    this.words.fill(0)
    this.counters.fill(0)
    this.words[WORD_CONTROLS] = controlBits(c, this.geometry.canonical)
    this.words[WORD_TAG] = KEY_VALID
    computeDenyMasks(this.words)
  }

  /** RFLAGS.AC: lets the kernel touch user pages in spite of SMAP (STAC, CLAC). */
  setAc(on: boolean): void {
    const controls = this.words[WORD_CONTROLS]!
    this.words[WORD_CONTROLS] = on ? controls | CONTROL_AC : controls & ~CONTROL_AC
    computeDenyMasks(this.words)
  }

  get rootPfn(): number {
    return this.words[WORD_ROOT_PFN]! >>> 0
  }

  get pcid(): number {
    return (this.words[WORD_TAG]! & KEY_PCID_MASK) >>> KEY_PCID_SHIFT
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
    const array = access === ACCESS_EXEC ? this.l1i.base : this.l1d.base
    const at = array.offset + (pageLo & array.mask) * array.setWords
    if (words[at] === pageLo) {
      const keyHi = ((hi >>> pageShift) & this.baseHiMask) | words[WORD_TAG]!
      const found = words[at + ENTRY_KEY_HI]!
      const deny = words[WORD_DENY + access * 2 + (user ? 1 : 0)]!
      if ((found === keyHi || found === globalTag(keyHi)) && (words[at + ENTRY_ATTR]! & deny) === 0) {
        this.counters[access === ACCESS_EXEC ? COUNTER_L1I_LOOKUPS : COUNTER_L1D_LOOKUPS]! += 1
        this.pfn = words[at + ENTRY_PFN]! >>> 0
        this.pageSizeLevel = LEVEL_PTE
        this.cycles = this.accessCycles
        return TRANSLATED
      }
    }
    return this.translateSlowly(hi, lo, access, user, mayWrite)
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
      this.dropNonGlobal(undefined)
      this.pagingCache.clear()
    } else if (!noFlush) {
      this.dropNonGlobal(words[WORD_TAG]!)
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
    this.clearAll()
  }

  /** INVLPG: the page of this address, whatever its size, and with it every paging-cache entry of the current PCID. */
  invlpg(hi: number, lo: number): void {
    const tag = this.words[WORD_TAG]!
    this.dropPage(hi, lo, tag, true)
    this.pagingCache.dropTag(tag)
  }

  /** INVPCID: 0 one page of one PCID, 1 one PCID, 2 everything with globals, 3 everything else. */
  invpcid(type: number, pcid: number, hi: number, lo: number): void {
    assert(type >= INVPCID_ADDRESS && type <= INVPCID_ALL, 'invpcid: unknown type')
    const tag = KEY_VALID | (pcid << KEY_PCID_SHIFT)
    if (type === INVPCID_ALL_GLOBAL) {
      this.clearAll()
    } else if (type === INVPCID_ALL) {
      this.dropNonGlobal(undefined)
      this.pagingCache.clear()
    } else {
      if (type === INVPCID_ADDRESS) this.dropPage(hi, lo, tag, false)
      else this.dropNonGlobal(tag)
      this.pagingCache.dropTag(tag)
    }
  }

  /** Visits every valid TLB entry: L1I, L1D, STLB; sets ascending, youngest first. */
  forEachTlbEntry(visit: (entry: TlbEntry) => void): void {
    const { geometry, words } = this
    this.l1i.forEach((at) => visit(describeTlbEntry(geometry, words, 'l1i', at)))
    this.l1d.forEach((at) => visit(describeTlbEntry(geometry, words, 'l1d', at)))
    this.stlb.forEach((at) => visit(describeTlbEntry(geometry, words, 'stlb', at)))
  }

  /** Visits every paging-cache entry, the top level first, youngest first. */
  forEachPagingCacheEntry(visit: (entry: PagingCacheEntry) => void): void {
    this.pagingCache.forEach((level, at) => visit(describePagingCacheEntry(this.geometry, this.words, level, at)))
  }

  /** Anything but a base page in the first way. */
  private translateSlowly(hi: number, lo: number, access: number, user: boolean, mayWrite: boolean): number {
    const words = this.words
    const counters = this.counters
    const isFetch = access === ACCESS_EXEC
    const level = isFetch ? this.l1i : this.l1d
    const stlb = this.stlb
    const tag = words[WORD_TAG]!
    const deny = words[WORD_DENY + access * 2 + (user ? 1 : 0)]!
    const code = this.accessCode(access, user)
    const lookups = isFetch ? COUNTER_L1I_LOOKUPS : COUNTER_L1D_LOOKUPS
    const misses = isFetch ? COUNTER_L1I_MISSES : COUNTER_L1D_MISSES

    const inL1 = level.find(hi, lo, tag)
    if (inL1 >= 0) {
      const denied = words[inL1 + ENTRY_ATTR]! & deny
      if (denied !== 0) {
        if (denied !== RESTRICT_CLEAN) return this.fault(code | FAULT_PRESENT, this.accessCycles, hi, lo, mayWrite)
        return this.walkToSetDirty(hi, lo, deny, code, mayWrite, true)
      }
      counters[lookups]! += 1
      this.takeResult(inL1, hi, lo, this.accessCycles)
      level.touchFound(inL1)
      return TRANSLATED
    }

    const inStlb = stlb.find(hi, lo, tag)
    if (inStlb >= 0) {
      const attr = words[inStlb + ENTRY_ATTR]!
      const denied = attr & deny
      const cycles = this.accessCycles + this.stlbHitCycles
      if (denied !== 0) {
        if (denied !== RESTRICT_CLEAN) return this.fault(code | FAULT_PRESENT, cycles, hi, lo, mayWrite)
        return this.walkToSetDirty(hi, lo, deny, code, mayWrite, false)
      }
      counters[lookups]! += 1
      counters[misses]! += 1
      counters[COUNTER_STLB_LOOKUPS]! += 1
      const keyHi = words[inStlb + ENTRY_KEY_HI]!
      this.takeResult(inStlb, hi, lo, cycles)
      level.fill((keyHi & KEY_CLASS_MASK) >>> KEY_CLASS_SHIFT, hi, lo, tagOf(keyHi), words[inStlb + ENTRY_PFN]!, attr)
      stlb.touchFound(inStlb)
      return TRANSLATED
    }

    const status = this.walkFor(hi, lo, deny, code, mayWrite, this.accessCycles)
    if (status !== TRANSLATED) return status
    counters[lookups]! += 1
    counters[misses]! += 1
    counters[COUNTER_STLB_LOOKUPS]! += 1
    counters[COUNTER_STLB_MISSES]! += 1
    const walker = this.walker
    const cls = this.classOfLevel[walker.$leafLevel]!
    const attr = this.leafAttr(access === ACCESS_WRITE)
    const key = this.leafTag(tag)
    stlb.fill(cls, hi, lo, key, walker.$leafPfn, attr)
    level.fill(cls, hi, lo, key, walker.$leafPfn, attr)
    return TRANSLATED
  }

  /**
   * Walks for an access, judges it and, when it may proceed, commits the walk and sets pfn, cycles and the step
   * counter. Fills no TLB.
   */
  private walkFor(hi: number, lo: number, deny: number, code: number, mayWrite: boolean, baseCycles: number): number {
    const walker = this.walker
    const found = walker.walk(hi, lo)
    const cycles = baseCycles + walker.$steps * this.walkStepCycles
    if (found !== WALK_OK) {
      const bits = found === WALK_NOT_PRESENT ? 0 : FAULT_PRESENT | FAULT_RESERVED
      return this.fault(code | bits, cycles, hi, lo, mayWrite)
    }
    const isWrite = (code & FAULT_WRITE) !== 0
    if ((this.leafAttr(isWrite) & deny) !== 0) return this.fault(code | FAULT_PRESENT, cycles, hi, lo, mayWrite)
    const complete = walker.$allAccessed && (!isWrite || (walker.$leafLo & PAGE_DIRTY) !== 0)
    if (!complete && !mayWrite) return NEEDS_WRITE
    const changed = walker.commit(hi, lo, isWrite)
    this.counters[COUNTER_WALK_STEPS]! += walker.$steps
    this.cycles = cycles + changed * this.setAccessedDirtyCycles
    const inside = this.shapes[this.classOfLevel[walker.$leafLevel]!]!.insideMask
    this.pfn = (walker.$leafPfn | (bitsFrom(hi, lo, this.pageShift) & inside)) >>> 0
    this.pageSizeLevel = walker.$leafLevel
    return TRANSLATED
  }

  /**
   * A write that hit an entry whose D is clear. The entry is renewed from the walk where it stands, in L1D and in
   * the STLB; when the tables by now map the page otherwise (another size, global or not), it is replaced.
   */
  private walkToSetDirty(
    hi: number, lo: number, deny: number, code: number, mayWrite: boolean, hitL1: boolean,
  ): number {
    const { walker, counters, words, l1d, stlb } = this
    const status = this.walkFor(hi, lo, deny, code, mayWrite, this.accessCycles + (hitL1 ? 0 : this.stlbHitCycles))
    if (status !== TRANSLATED) return status
    counters[COUNTER_L1D_LOOKUPS]! += 1
    if (!hitL1) {
      counters[COUNTER_L1D_MISSES]! += 1
      counters[COUNTER_STLB_LOOKUPS]! += 1
    }
    const tag = words[WORD_TAG]!
    const cls = this.classOfLevel[walker.$leafLevel]!
    const key = this.leafTag(tag)
    const attr = this.leafAttr(true)
    const pfn = walker.$leafPfn
    const hit = (hitL1 ? l1d : stlb).find(hi, lo, tag)
    if (!sameTranslation(words[hit + ENTRY_KEY_HI]!, cls, key)) {
      this.dropPage(hi, lo, tag, true)
      stlb.fill(cls, hi, lo, key, pfn, attr)
      l1d.fill(cls, hi, lo, key, pfn, attr)
      return TRANSLATED
    }
    this.renew(hit, pfn, attr)
    ;(hitL1 ? l1d : stlb).touchFound(hit)
    if (hitL1) {
      const twin = stlb.find(hi, lo, tag)
      if (twin >= 0 && sameTranslation(words[twin + ENTRY_KEY_HI]!, cls, key)) this.renew(twin, pfn, attr)
    } else {
      l1d.fill(cls, hi, lo, key, pfn, attr)
    }
    return TRANSLATED
  }

  private renew(at: number, pfn: number, attr: number): void {
    this.words[at + ENTRY_PFN] = pfn
    this.words[at + ENTRY_ATTR] = attr
  }

  private takeResult(at: number, hi: number, lo: number, cycles: number): void {
    const words = this.words
    const cls = (words[at + ENTRY_KEY_HI]! & KEY_CLASS_MASK) >>> KEY_CLASS_SHIFT
    const inside = bitsFrom(hi, lo, this.pageShift) & this.shapes[cls]!.insideMask
    this.pfn = (words[at + ENTRY_PFN]! | inside) >>> 0
    this.pageSizeLevel = words[at + ENTRY_ATTR]! >>> ATTR_LEVEL_SHIFT
    this.cycles = cycles
  }

  /** Attributes of the page that the last walk found; after a write its D bit is set. */
  private leafAttr(isWrite: boolean): number {
    const walker = this.walker
    const restrictions = walker.$restrictions
    return restrictions | (walker.$leafLevel << ATTR_LEVEL_SHIFT) |
      ((restrictions & RESTRICT_SUPERVISOR) === 0 ? RESTRICT_USER_PAGE : 0) |
      (isWrite || (walker.$leafLo & PAGE_DIRTY) !== 0 ? 0 : RESTRICT_CLEAN)
  }

  /** The tag for the page that the last walk found: global pages belong to no PCID. */
  private leafTag(tag: number): number {
    const global = (this.walker.$leafLo & PAGE_GLOBAL) !== 0 && (this.words[WORD_CONTROLS]! & CONTROL_PGE) !== 0
    return global ? KEY_VALID | KEY_GLOBAL : tag
  }

  /** The bits of an error code that say what the access was. */
  private accessCode(access: number, user: boolean): number {
    let code = user ? FAULT_USER : 0
    if (access === ACCESS_WRITE) code |= FAULT_WRITE
    if (access === ACCESS_EXEC) {
      const reporting = this.geometry.entryBytes === 8 ? CONTROL_NXE | CONTROL_SMEP : CONTROL_SMEP
      if ((this.words[WORD_CONTROLS]! & reporting) !== 0) code |= FAULT_FETCH
    }
    return code
  }

  /**
   * #PF. It drops what is cached for the address under the current PCID, global entries and the paging-cache entries
   * of its walk included, so that the fault does not come back once the tables allow the access (SDM vol. 3, 4.10.4.1).
   */
  private fault(code: number, cycles: number, hi: number, lo: number, mayWrite: boolean): number {
    this.errorCode = code
    this.cycles = cycles
    if (mayWrite) {
      const tag = this.words[WORD_TAG]!
      this.dropPage(hi, lo, tag, true)
      this.pagingCache.dropAddress(hi, lo, tag)
    }
    return PAGE_FAULT
  }

  private generalProtection(): number {
    this.errorCode = 0
    this.cycles = this.accessCycles
    return GENERAL_PROTECTION
  }

  private dropPage(hi: number, lo: number, tag: number, globals: boolean): void {
    this.l1i.dropPage(hi, lo, tag, globals)
    this.l1d.dropPage(hi, lo, tag, globals)
    this.stlb.dropPage(hi, lo, tag, globals)
  }

  private dropNonGlobal(tag: number | undefined): void {
    this.l1i.dropNonGlobal(tag)
    this.l1d.dropNonGlobal(tag)
    this.stlb.dropNonGlobal(tag)
  }

  private clearAll(): void {
    this.l1i.clear()
    this.l1d.clear()
    this.stlb.clear()
    this.pagingCache.clear()
  }
}

function globalTag(keyHi: number): number {
  return (keyHi & ~KEY_PCID_MASK) | KEY_GLOBAL
}

/** The part of a key that says whose entry it is. */
function tagOf(keyHi: number): number {
  return keyHi & (KEY_VALID | KEY_GLOBAL | KEY_PCID_MASK)
}

function sameTranslation(keyHi: number, cls: number, tag: number): boolean {
  return (keyHi & KEY_CLASS_MASK) >>> KEY_CLASS_SHIFT === cls && tagOf(keyHi) === tag
}
