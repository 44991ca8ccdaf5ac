// A walk for people and checkers: no TLB, no caches, no accessed bits, no permissions, with the
// predicates that a kernel would use on the way (Linux's follow_pte style). It tells which test
// stopped it. The walk that hardware does is in walker.ts.

import {
  cacheIndex, entryNx, entryPfn, entryPresent, entryUser, entryWritable, leafPfn, p4dBad, PAGE_FLAGS_LO, pgdBad,
  pgdNone, pmdBad, pmdLeaf, pteNone, pudBad, PFN_HI_MASK,
} from './entry.js'
import {
  bitsFrom, indexAt, LEVEL_P4D, LEVEL_PGD, LEVEL_PMD, LEVEL_PTE, lowestNameSharing, nextLevel, type Geometry,
} from './geometry.js'
import type { PhysMem } from './phys-mem.js'

/** One entry that the walk read: `pfn` is the frame of the table that holds it. */
export interface PeekStep {
  level: number
  pfn: number
  slot: number
  lo: number
  hi: number
}

/**
 * Why the walk ended. `ok`: a present base page. `huge`: a leaf above the pte level; its translation is filled in.
 * `none`: an empty entry. `bad`: an entry that a kernel does not write for a table. `notpresent`: P is clear but the
 * entry is not empty (swap, PROT_NONE; the frame is filled in), at any level.
 */
export type PeekReason = 'ok' | 'none' | 'bad' | 'huge' | 'notpresent'

export interface PeekResult {
  steps: PeekStep[]
  reason: PeekReason
  /** Level of the entry that ended the walk. */
  leafLevel: number
  /** Base page of the address for `ok` and `huge`, the frame kept in the entry for `notpresent`, else 0. */
  pfn: number
  /** Permissions collected over all levels; meaningful for `ok` and `huge`. */
  writable: boolean
  user: boolean
  nx: boolean
  /** PAT, PCD and PWT of the leaf (SDM vol. 3, 4.9.2) for `ok` and `huge`, else 0. */
  cacheIndex: number
}

function isNone(name: number, fiveLevels: boolean, lo: number, hi: number): boolean {
  return name === LEVEL_PGD && fiveLevels ? pgdNone(lo, hi) : pteNone(lo, hi)
}

/** The `bad` test of the lowest name that shares the table (spec: folding). */
function isBad(g: Geometry, level: number, lo: number, hi: number): boolean {
  // The latched top entries of PAE hold no W, U, A or D.
  if (g.name === 'i386-pae' && level === g.topLevel) return (lo & PAGE_FLAGS_LO & 0x1e6) !== 0
  switch (lowestNameSharing(g, level)) {
    case LEVEL_PGD: return pgdBad(lo, hi)
    case LEVEL_P4D: return p4dBad(lo, hi)
    case LEVEL_PMD: return pmdBad(lo, hi)
    default: return pudBad(lo, hi)
  }
}

/** Walks the tables under `rootPfn` for an address, whatever is cached anywhere. */
export function peekWalk(g: Geometry, mem: PhysMem, rootPfn: number, hi: number, lo: number): PeekResult {
  const result: PeekResult = {
    steps: [], reason: 'none', leafLevel: g.topLevel, pfn: 0, writable: true, user: true, nx: false,
    cacheIndex: 0,
  }
  let table = rootPfn
  for (let level = g.topLevel; ; level = nextLevel(g, level)) {
    const shape = g.levels[level]!
    const slot = indexAt(g, level, hi, lo)
    const entryLo = mem.loadLo(table, slot)
    const entryHi = mem.loadHi(table, slot)
    const topOfPae = g.name === 'i386-pae' && level === g.topLevel
    result.steps.push({ level, pfn: table, slot, lo: entryLo, hi: entryHi })
    result.leafLevel = level
    if (isNone(level, g.name === 'x86-64-la57', entryLo, entryHi)) return result
    if (!topOfPae) {
      result.writable &&= entryWritable(entryLo)
      result.user &&= entryUser(entryLo)
      result.nx ||= entryNx(entryHi)
    }
    const pfn = entryPfn(entryLo, entryHi & PFN_HI_MASK, g.pageShift)
    if (!entryPresent(entryLo)) return ended(result, 'notpresent', pfn, 0)
    if (level === LEVEL_PTE) return ended(result, 'ok', pfn, cacheIndex(entryLo, false))
    if (shape.leaf && pmdLeaf(entryLo)) {
      const first = leafPfn(entryLo, entryHi & PFN_HI_MASK, g.pageShift, shape.shift)
      const inside = bitsFrom(hi, lo, g.pageShift) & ((1 << (shape.shift - g.pageShift)) - 1)
      return ended(result, 'huge', (first | inside) >>> 0, cacheIndex(entryLo, true))
    }
    if (isBad(g, level, entryLo, entryHi)) return ended(result, 'bad', 0, 0)
    table = pfn
  }
}

function ended(result: PeekResult, reason: PeekReason, pfn: number, index: number): PeekResult {
  result.reason = reason
  result.pfn = pfn
  result.cacheIndex = index
  return result
}
