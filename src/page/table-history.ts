// Page tables at any cycle, from the writes that a run has recorded: memory words as they were then, so
// that a walk reads what the hardware would have read. A table is the writes of its frame; a frame that
// was zeroed starts anew.

import { entryPfn, entryPresent, leafPfn, PFN_HI_MASK, pmdLeaf } from '../machine/entry.js'
import { geometryOf, indexAt, LEVEL_PTE, nextLevel, pagesPerEntry } from '../machine/geometry.js'
import type { Geometry } from '../machine/geometry.js'
import { countUpTo } from './lanes.js'
import type { RunData } from './run-data.js'

/** An entry as it was at a cycle. */
export interface EntryThen {
  lo: number
  hi: number
  /** The write that made it so; -1: nobody has written it since its frame was zeroed. */
  write: number
}

/** One step of a walk. */
export interface WalkStep extends EntryThen {
  level: number
  table: number
  slot: number
}

export interface WalkThen {
  steps: WalkStep[]
  /** A page, an entry that is not present, or nothing at all. */
  end: 'page' | 'not present' | 'none'
  /** Frame of the page that the address is in, for `page`. */
  pfn: number
}

/** A non-empty entry that names no table. */
export interface LeafThen extends WalkStep {
  /** First base page, and how many. */
  vpn: number
  pages: number
}

export class TableHistory {
  readonly geometry: Geometry
  readonly #run: RunData
  /** Writes by frame and slot, ascending; those of slot -1 are under -1. */
  readonly #tables = new Map<number, Map<number, number[]>>()

  constructor(run: RunData) {
    this.#run = run
    this.geometry = geometryOf(run.meta.geometry.name)
    const { length, pfn, slot } = run.writes
    for (let i = 0; i < length; i++) {
      let table = this.#tables.get(pfn[i])
      if (table === undefined) {
        table = new Map()
        this.#tables.set(pfn[i], table)
      }
      const writes = table.get(slot[i])
      if (writes === undefined) table.set(slot[i], [i])
      else writes.push(i)
    }
  }

  /** Entry `slot` of the table in frame `table`. */
  entryAt(table: number, slot: number, cycle: number): EntryThen {
    const write = this.#lastWrite(table, slot, cycle)
    const zeroed = this.#lastWrite(table, -1, cycle)
    if (write < 0 || write < zeroed) return { lo: 0, hi: 0, write: -1 }
    return { lo: this.#run.writes.lo[write], hi: this.#run.writes.hi[write], write }
  }

  /** All writes of an entry, zeroed frames included, ascending. */
  writesOf(table: number, slot: number): number[] {
    const slots = this.#tables.get(table)
    return [...(slots?.get(slot) ?? []), ...(slots?.get(-1) ?? [])].sort((a, b) => a - b)
  }

  /** What a walk of (hi, lo) from frame `root` would have read. */
  walk(root: number, hi: number, lo: number, cycle: number): WalkThen {
    const steps: WalkStep[] = []
    const g = this.geometry
    let table = root
    for (let level = g.topLevel; ; level = nextLevel(g, level)) {
      const slot = indexAt(g, level, hi, lo)
      const entry = this.entryAt(table, slot, cycle)
      steps.push({ level, table, slot, ...entry })
      if (!entryPresent(entry.lo)) {
        return { steps, end: entry.lo === 0 && entry.hi === 0 ? 'none' : 'not present', pfn: 0 }
      }
      if (this.#isLeaf(level, entry.lo)) return { steps, end: 'page', pfn: this.#pageOf(level, entry) }
      table = entryPfn(entry.lo, entry.hi & PFN_HI_MASK, g.pageShift)
    }
  }

  /** Everything but tables that user slots of `root` lead to, by address; at most `limit`. */
  leaves(root: number, cycle: number, limit: number): LeafThen[] {
    const found: LeafThen[] = []
    this.#collect(root, this.geometry.topLevel, 0, cycle, limit, this.#run.meta.geometry.firstKernelSlot, found)
    return found
  }

  #collect(
    table: number, level: number, firstVpn: number, cycle: number, limit: number, slots: number, found: LeafThen[],
  ): void {
    const g = this.geometry
    const pages = pagesPerEntry(g, level)
    const written = [...(this.#tables.get(table)?.keys() ?? [])].filter((slot) => slot >= 0 && slot < slots)
    for (const slot of written.sort((a, b) => a - b)) {
      if (found.length >= limit) return
      const entry = this.entryAt(table, slot, cycle)
      if (entry.lo === 0 && entry.hi === 0) continue
      const vpn = firstVpn + slot * pages
      if (!entryPresent(entry.lo) || this.#isLeaf(level, entry.lo)) {
        found.push({ level, table, slot, vpn, pages, ...entry })
        continue
      }
      const child = entryPfn(entry.lo, entry.hi & PFN_HI_MASK, g.pageShift)
      this.#collect(child, nextLevel(g, level), vpn, cycle, limit, Infinity, found)
    }
  }

  #isLeaf(level: number, lo: number): boolean {
    return level === LEVEL_PTE || (this.geometry.levels[level].leaf && pmdLeaf(lo))
  }

  #pageOf(level: number, { lo, hi }: EntryThen): number {
    const { pageShift, levels } = this.geometry
    return level === LEVEL_PTE ? entryPfn(lo, hi & PFN_HI_MASK, pageShift)
      : leafPfn(lo, hi & PFN_HI_MASK, pageShift, levels[level].shift)
  }

  #lastWrite(table: number, slot: number, cycle: number): number {
    const writes = this.#tables.get(table)?.get(slot)
    if (writes === undefined) return -1
    let low = 0
    let high = writes.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#run.writes.cycle[writes[middle]] <= cycle) low = middle + 1
      else high = middle
    }
    return low === 0 ? -1 : writes[low - 1]
  }
}

/** What TLBs held at the last look up to a cycle. */
export class HeldHistory {
  readonly #run: RunData

  constructor(run: RunData) {
    this.#run = run
  }

  /** Cycle of the last look up to `cycle`; -1: there was none. */
  lookBefore(cycle: number): number {
    const look = countUpTo(this.#run.lookCycles, cycle) - 1
    return look < 0 ? -1 : this.#run.lookCycles[look]
  }

  /** Rows of `held` that were seen at that look, of address space `mm`. */
  rowsAt(cycle: number, mm: number): number[] {
    const look = countUpTo(this.#run.lookCycles, cycle) - 1
    const { held } = this.#run
    const rows: number[] = []
    for (let row = 0; row < held.length; row++) {
      if (held.from[row] <= look && held.to[row] >= look && held.mm[row] === mm) rows.push(row)
    }
    return rows
  }
}
