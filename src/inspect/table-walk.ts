// All entries of one mm's page tables, in address order, for dumps and checks: reads memory and
// nothing else. The walk for one address is machine/peek-walk.ts.

import { entryPfn, leafPfn, pmdLeaf, PAGE_PRESENT, PFN_HI_MASK } from '../machine/entry.js'
import { entriesAt, LEVEL_PTE, nextLevel, pagesPerEntry } from '../machine/geometry.js'
import type { Mm } from '../kernel/mm/mm.js'
import type { KernelState } from '../kernel/state.js'

/** One non-empty entry. The record is reused for the next one. */
export interface TableEntry {
  level: number
  /** How many tables lie above this one. */
  depth: number
  /** Frame of the table that holds the entry, and the entry's slot in it. */
  table: number
  slot: number
  lo: number
  hi: number
  /** First base page that the entry covers, and how many. */
  vpn: number
  pages: number
  /** It maps a page, or keeps the frame of one that programs may not touch (PROT_NONE). */
  isLeaf: boolean
  /** Frame of the page or of the next table. */
  pfn: number
}

export interface SlotRange {
  /** Root slots [from, to). */
  from: number
  to: number
}

/**
 * Visits every entry of the given root slots and below that is not zero, tables before what they hold. `visit` returns
 * false to leave out what lies below the entry. Page numbers are as translated: see {@link signExtendVpn}. `root`:
 * another root table of the mm.
 */
export function forEachEntry(
  k: KernelState, mm: Mm, range: SlotRange, visit: (entry: TableEntry) => boolean | void, root = mm.pgdPfn,
): void {
  const entry: TableEntry = {
    level: 0, depth: 0, table: 0, slot: 0, lo: 0, hi: 0, vpn: 0, pages: 0, isLeaf: false, pfn: 0,
  }
  descend(k, entry, k.geometry.topLevel, 0, root, 0, range, visit)
}

/** Slots of a whole root table. */
export function allSlots(k: KernelState): SlotRange {
  return { from: 0, to: entriesAt(k.geometry, k.geometry.topLevel) }
}

/**
 * The page number as an address shows it: on 64-bit machines the bits above the translated ones repeat the highest of
 * them. Exact, because page numbers have at most 52 bits.
 */
export function signExtendVpn(k: KernelState, vpn: number): number {
  const { canonical, vaBits, pageShift } = k.geometry
  const half = 2 ** (vaBits - 1 - pageShift)
  return canonical && vpn >= half ? vpn + 2 ** (64 - pageShift) - 2 * half : vpn
}

function descend(
  k: KernelState, entry: TableEntry, level: number, depth: number, table: number, firstVpn: number, range: SlotRange,
  visit: (entry: TableEntry) => boolean | void,
): void {
  const g = k.geometry
  const pages = pagesPerEntry(g, level)
  const shape = g.levels[level]!
  for (let slot = range.from; slot < range.to; slot++) {
    const lo = k.mem.loadLo(table, slot)
    const hi = k.mem.loadHi(table, slot)
    if (lo === 0 && hi === 0) continue
    const isLeaf = level === LEVEL_PTE || (shape.leaf && pmdLeaf(lo)) || (lo & PAGE_PRESENT) === 0
    const pfn = isLeaf && level !== LEVEL_PTE
      ? leafPfn(lo, hi & PFN_HI_MASK, g.pageShift, shape.shift)
      : entryPfn(lo, hi & PFN_HI_MASK, g.pageShift)
    const vpn = firstVpn + slot * pages
    Object.assign(entry, { level, depth, table, slot, lo, hi, vpn, pages, isLeaf, pfn })
    if (visit(entry) === false || isLeaf) continue
    const child = nextLevel(g, level)
    descend(k, entry, child, depth + 1, pfn, vpn, { from: 0, to: entriesAt(g, child) }, visit)
  }
}
