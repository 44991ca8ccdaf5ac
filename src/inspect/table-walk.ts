// All entries of one mm's page tables, in address order, for dumps and checks: reads memory and
// nothing else. The walk for one address is machine/peek-walk.ts.

import { entryPfn, leafPfn, pmdLeaf, PAGE_PRESENT, PFN_HI_MASK } from '../machine/entry.js'
import { entriesAt, LEVEL_PTE, nextLevel } from '../machine/geometry.js'
import type { Mm } from '../kernel/mm/mm.js'
import type { KernelState } from '../kernel/state.js'
import type { KnownTables } from './known-tables.js'

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
 * another root table of the mm. `known`: for who looks at the same tables again and again.
 */
export function forEachEntry(
  k: KernelState, mm: Mm, range: SlotRange, visit: (entry: TableEntry) => boolean | void,
  { root = mm.pgdPfn, known }: { root?: number; known?: KnownTables } = {},
): void {
  const entry: TableEntry = {
    level: 0, depth: 0, table: 0, slot: 0, lo: 0, hi: 0, vpn: 0, pages: 0, isLeaf: false, pfn: 0,
  }
  const walk: TableWalk = { k, entry, visit, known }
  descend(walk, k.geometry.topLevel, 0, root, 0, range.from, range.to)
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

interface TableWalk {
  readonly k: KernelState
  readonly entry: TableEntry
  readonly visit: (entry: TableEntry) => boolean | void
  readonly known: KnownTables | undefined
}

/** Visits what the slots [from, to) of a table hold. */
function descend(
  walk: TableWalk, level: number, depth: number, table: number, firstVpn: number, from: number, to: number,
): void {
  if (walk.known === undefined) {
    for (let slot = from; slot < to; slot++) visitSlot(walk, level, depth, table, firstVpn, slot)
    return
  }
  for (const slot of walk.known.slotsOf(table, level)) {
    if (from <= slot && slot < to) visitSlot(walk, level, depth, table, firstVpn, slot)
  }
}

function visitSlot(
  walk: TableWalk, level: number, depth: number, table: number, firstVpn: number, slot: number,
): void {
  const { k, entry } = walk
  const lo = k.mem.loadLo(table, slot)
  const hi = k.mem.loadHi(table, slot)
  if (lo === 0 && hi === 0) return
  const g = k.geometry
  const shape = g.levels[level]!
  const isLeaf = level === LEVEL_PTE || (shape.leaf && pmdLeaf(lo)) || (lo & PAGE_PRESENT) === 0
  const pfn = isLeaf && level !== LEVEL_PTE
    ? leafPfn(lo, hi & PFN_HI_MASK, g.pageShift, shape.shift)
    : entryPfn(lo, hi & PFN_HI_MASK, g.pageShift)
  const pages = g.levels[level]!.pages
  const vpn = firstVpn + slot * pages
  entry.level = level
  entry.depth = depth
  entry.table = table
  entry.slot = slot
  entry.lo = lo
  entry.hi = hi
  entry.vpn = vpn
  entry.pages = pages
  entry.isLeaf = isLeaf
  entry.pfn = pfn
  if (walk.visit(entry) === false || isLeaf) return
  const child = nextLevel(g, level)
  descend(walk, child, depth + 1, pfn, vpn, 0, entriesAt(g, child))
}
