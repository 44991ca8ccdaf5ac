// What an MMU holds, in words: its TLB and paging-cache entries as records, for dumps and checks.
// Reading them changes nothing.

import { entryPfn, PAGE_PRESENT } from './entry.js'
import type { Geometry } from './geometry.js'
import {
  ATTR_CACHE_INDEX_MASK, ATTR_CACHE_INDEX_SHIFT, ATTR_LEVEL_SHIFT, COUNTER_L1D_LOOKUPS, COUNTER_L1I_LOOKUPS,
  COUNTER_WALK_STEPS, ENTRY_ATTR, ENTRY_KEY_HI, ENTRY_KEY_LO, ENTRY_PFN,
  KEY_CLASS_MASK, KEY_CLASS_SHIFT, KEY_GLOBAL, KEY_PAGE_MASK, KEY_PCID_MASK, KEY_PCID_SHIFT, RESTRICT_CLEAN,
  RESTRICT_NX, RESTRICT_READ_ONLY, RESTRICT_SUPERVISOR, WORD_PAE_LATCH,
} from './mmu-state.js'
import { classShapes } from './tlb.js'

/** A TLB entry as a dump sees it. `hi`, `lo`: first address of the page. */
export interface TlbEntry {
  level: 'l1i' | 'l1d' | 'stlb'
  hi: number
  lo: number
  /** Level of the leaf: how large the page is. */
  pageLevel: number
  /** 0 for a global entry. */
  pcid: number
  global: boolean
  /** First base page. */
  pfn: number
  writable: boolean
  user: boolean
  nx: boolean
  dirty: boolean
  /** PAT, PCD and PWT of the leaf: which of the eight memory types of the PAT register (SDM vol. 3, 4.9.2). */
  cacheIndex: number
}

/** A paging-cache entry: addresses from (`hi`, `lo`) on, as many as one entry of `level` covers, continue in `pfn`. */
export interface PagingCacheEntry {
  level: number
  hi: number
  lo: number
  pcid: number
  pfn: number
}

/**
 * Two states that are certain (nobody will put the core back behind them) and have the same number hold the same
 * entries in the same order. An access that changes what is cached counts a lookup and, if it walks, steps; what else
 * changes it drops something (`drops`: TlbLevels). Whoever runs accesses elsewhere keeps the counters (access-runs/,
 * the workers of an engine) and drops nothing. Power on, which sets the counters back, comes before all states.
 */
export function contentsStamp(drops: number, counters: Float64Array): number {
  return drops + counters[COUNTER_L1I_LOOKUPS]! + counters[COUNTER_L1D_LOOKUPS]! + counters[COUNTER_WALK_STEPS]!
}

/** The TLB entry whose first word is `words[at]`. */
export function describeTlbEntry(g: Geometry, words: Int32Array, level: TlbEntry['level'], at: number): TlbEntry {
  const keyHi = words[at + ENTRY_KEY_HI]!
  const attr = words[at + ENTRY_ATTR]!
  const shape = classShapes(g)[(keyHi & KEY_CLASS_MASK) >>> KEY_CLASS_SHIFT]!
  const { hi, lo } = addressOf(g, shape.shift, keyHi & KEY_PAGE_MASK, words[at + ENTRY_KEY_LO]!)
  return {
    level,
    hi,
    lo,
    pageLevel: attr >>> ATTR_LEVEL_SHIFT,
    pcid: (keyHi & KEY_PCID_MASK) >>> KEY_PCID_SHIFT,
    global: (keyHi & KEY_GLOBAL) !== 0,
    pfn: words[at + ENTRY_PFN]! >>> 0,
    writable: (attr & RESTRICT_READ_ONLY) === 0,
    user: (attr & RESTRICT_SUPERVISOR) === 0,
    nx: (attr & RESTRICT_NX) !== 0,
    dirty: (attr & RESTRICT_CLEAN) === 0,
    cacheIndex: (attr >>> ATTR_CACHE_INDEX_SHIFT) & ATTR_CACHE_INDEX_MASK,
  }
}

/** The paging-cache entry of `level` whose first word is `words[at]`. */
export function describePagingCacheEntry(
  g: Geometry, words: Int32Array, level: number, at: number,
): PagingCacheEntry {
  const keyHi = words[at + ENTRY_KEY_HI]!
  return {
    level,
    ...addressOf(g, g.levels[level]!.shift, keyHi & KEY_PAGE_MASK, words[at + ENTRY_KEY_LO]!),
    pcid: (keyHi & KEY_PCID_MASK) >>> KEY_PCID_SHIFT,
    pfn: words[at + ENTRY_PFN]! >>> 0,
  }
}

/** PAE: the present top entries that were read with CR3; none in other geometries. */
export function describeLatch(g: Geometry, words: Int32Array): PagingCacheEntry[] {
  if (g.name !== 'i386-pae') return []
  const { shift } = g.levels[g.topLevel]!
  const latched: PagingCacheEntry[] = []
  for (let slot = 0; slot < 4; slot++) {
    const lo = words[WORD_PAE_LATCH + slot * 2]!
    if ((lo & PAGE_PRESENT) === 0) continue
    const pfn = entryPfn(lo, words[WORD_PAE_LATCH + slot * 2 + 1]!, g.pageShift)
    latched.push({ level: g.topLevel, hi: 0, lo: (slot << shift) >>> 0, pcid: 0, pfn })
  }
  return latched
}

/** Page number to address: shifted back, the sign bit repeated above the translated bits. Both halves unsigned. */
function addressOf(g: Geometry, shift: number, pageHi: number, pageLo: number): { hi: number; lo: number } {
  const lo = shift < 32 ? (pageLo << shift) >>> 0 : 0
  const hi = shift < 32 ? (pageHi << shift) | (pageLo >>> (32 - shift)) : pageLo << (shift - 32)
  const spare = g.canonical ? 64 - g.vaBits : 0
  return { hi: ((hi << spare) >> spare) >>> 0, lo }
}
