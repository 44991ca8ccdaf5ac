// Page tables as the last look found them. The checks recount all tables again and again, and between two looks
// hardly any changes: a table that nobody has written to since the last look has its entries in the same slots.
//
// Nobody has to tell that a table was written: the memory itself counts the writes of every frame
// (PhysMem.versions), and the thread of the scheduler, which checks, is the only one that writes to it. So whatever
// wrote an entry - the kernel, a walk that set A or D, a program whose page a table should not be in - is seen at
// the next look.

import { entriesAt } from '../machine/geometry.js'
import { firstKernelSlot } from '../kernel/mm/pgtable.js'
import type { KernelState } from '../kernel/state.js'
import { allSlots, forEachEntry } from './table-walk.js'

interface KnownTable {
  /** Version of its frame at the last look; -1: none yet. */
  version: number
  /** Entries that it had then; tables of another level may have more. */
  entries: number
  /** Slots of the entries that were not zero, ascending. */
  slots: number[]
  /** The table whose kernel half was found to be the same, and the versions of both then. */
  twin: number
  ownVersion: number
  twinVersion: number
}

const NO_SLOTS: number[] = []

const tablesOf = new WeakMap<KernelState, KnownTables>()

/** What is known of the tables of a simulation that is checked. */
export function knownTablesOf(k: KernelState): KnownTables {
  let tables = tablesOf.get(k)
  if (tables === undefined) {
    tables = new KnownTables(k)
    tablesOf.set(k, tables)
  }
  return tables
}

export class KnownTables {
  readonly #k: KernelState
  /** By frame; no more than there are frames. */
  readonly #tables = new Map<number, KnownTable>()
  /** First slot of a root that belongs to the kernel half. */
  readonly firstKernelSlot: number
  /** The kernel's tables at the last look, the root first, and their versions then. */
  #kernelTables: number[] = []
  #kernelVersions: number[] = []

  constructor(k: KernelState) {
    this.#k = k
    this.firstKernelSlot = firstKernelSlot(k)
  }

  /** Slots of the entries that are not zero now in the table of `level` in frame `pfn`, ascending. */
  slotsOf(pfn: number, level: number): readonly number[] {
    const { geometry, mem } = this.#k
    // Memory that does not exist reads as zero.
    if (pfn >>> 0 >= mem.frames) return NO_SLOTS
    const entries = entriesAt(geometry, level)
    const table = this.#tableAt(pfn)
    const version = mem.versions[pfn]!
    if (table.entries === entries && table.version === version) return table.slots
    table.version = version
    table.entries = entries
    // A new list: somebody may be on his way through the old one.
    const slots: number[] = []
    const { words, entryWordShift } = mem
    const start = pfn << mem.frameWordShift
    const end = start + (entries << entryWordShift)
    // Most words are zero: the slot is worked out for the others.
    for (let at = start; at < end; at++) {
      if (words[at] === 0) continue
      const slot = (at - start) >> entryWordShift
      if (slots[slots.length - 1] !== slot) slots.push(slot)
    }
    table.slots = slots
    return slots
  }

  /**
   * Frames of the kernel's own tables, the root first, tables before what they hold. Which they are is written in
   * these tables alone: they are those of the last look while nobody has written to one of them.
   */
  kernelTables(): readonly number[] {
    const { mem: { versions }, initMm } = this.#k
    const tables = this.#kernelTables
    let isSame = tables[0] === initMm.pgdPfn
    for (let i = 0; i < tables.length && isSame; i++) isSame = versions[tables[i]!] === this.#kernelVersions[i]
    if (isSame) return tables
    const found = [initMm.pgdPfn]
    forEachEntry(this.#k, initMm, allSlots(this.#k), (entry) => {
      if (!entry.isLeaf) found.push(entry.pfn)
    }, { known: this })
    this.#kernelTables = found
    this.#kernelVersions = found.map((pfn) => versions[pfn]!)
    return found
  }

  /** Have the roots in two frames the same kernel half? */
  haveSameKernelHalf(one: number, other: number): boolean {
    const { mem, geometry } = this.#k
    const table = this.#tableAt(one)
    const ownVersion = mem.versions[one]!
    const twinVersion = mem.versions[other]!
    if (table.twin === other && table.ownVersion === ownVersion && table.twinVersion === twinVersion) return true
    const first = this.firstKernelSlot << mem.entryWordShift
    const end = entriesAt(geometry, geometry.topLevel) << mem.entryWordShift
    const { words } = mem
    for (let word = first; word < end; word++) {
      if (words[(one << mem.frameWordShift) + word] !== words[(other << mem.frameWordShift) + word]) return false
    }
    table.twin = other
    table.ownVersion = ownVersion
    table.twinVersion = twinVersion
    return true
  }

  #tableAt(pfn: number): KnownTable {
    let table = this.#tables.get(pfn)
    if (table === undefined) {
      table = { version: -1, entries: 0, slots: NO_SLOTS, twin: -1, ownVersion: -1, twinVersion: -1 }
      this.#tables.set(pfn, table)
    }
    return table
  }
}
