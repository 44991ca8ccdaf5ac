// Page tables as the last look found them. The checks recount all tables again and again, and between two looks
// hardly any changes: a table whose bytes are those of the last look has its entries in the same slots.
//
// The bytes themselves are compared, nobody has to tell that a table was written. So whatever wrote it - the kernel,
// a walk that set A or D, a mistake - is seen at the next look.

import { Buffer } from 'node:buffer'
import { entriesAt } from '../machine/geometry.js'
import { firstKernelSlot } from '../kernel/mm/pgtable.js'
import type { KernelState } from '../kernel/state.js'

interface KnownTable {
  /** Its frame in simulated memory. */
  present: Buffer
  /** The slots in it that a root has for the kernel half. */
  kernelHalf: Buffer
  /** The same bytes at the last look. */
  seen: Buffer
  /** Entries that it had then; tables of another level may have more. */
  entries: number
  /** Slots of the entries that were not zero, ascending. */
  slots: number[]
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
  readonly #tableBytes: number
  /** First slot of a root that belongs to the kernel half. */
  readonly firstKernelSlot: number

  constructor(k: KernelState) {
    this.#k = k
    this.firstKernelSlot = firstKernelSlot(k)
    this.#tableBytes = 4 << k.mem.frameWordShift
  }

  /** Slots of the entries that are not zero now in the table of `level` in frame `pfn`, ascending. */
  slotsOf(pfn: number, level: number): readonly number[] {
    const { geometry, mem } = this.#k
    // Memory that does not exist reads as zero.
    if (pfn >>> 0 >= mem.frames) return NO_SLOTS
    const entries = entriesAt(geometry, level)
    const table = this.#tableAt(pfn)
    if (table.entries === entries && table.present.equals(table.seen)) return table.slots
    table.present.copy(table.seen)
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

  /** Have the roots in two frames the same kernel half? */
  haveSameKernelHalf(one: number, other: number): boolean {
    return this.#tableAt(one).kernelHalf.equals(this.#tableAt(other).kernelHalf)
  }

  #tableAt(pfn: number): KnownTable {
    let table = this.#tables.get(pfn)
    if (table === undefined) {
      const { mem: { words }, geometry } = this.#k
      const bytes = this.#tableBytes
      const present = Buffer.from(words.buffer as ArrayBuffer, words.byteOffset + pfn * bytes, bytes)
      table = {
        present,
        kernelHalf: present.subarray(
          this.firstKernelSlot * geometry.entryBytes, entriesAt(geometry, geometry.topLevel) * geometry.entryBytes),
        seen: Buffer.alloc(bytes),
        entries: 0,
        slots: NO_SLOTS,
      }
      this.#tables.set(pfn, table)
    }
    return table
  }
}
