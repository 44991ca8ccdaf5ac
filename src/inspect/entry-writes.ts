// The last writes of page-table entries: all of them for the story that a violation tells, and of each entry the
// moment at which it last became or ceased to be what a TLB may hold.
//
// Every page fault and every munmap of a run with checks writes some. So records of writes that are forgotten are used
// again, and moments are changed where they are: what is kept that long would be dear garbage.

import type { Mm } from '../kernel/mm/mm.js'

/** A write of a page-table entry. */
export interface EntryWrite {
  cycle: number
  cpu: number
  pid: number
  comm: string
  mm: Mm
  level: number
  /** First base page that the entry covers, and how many. */
  vpn: number
  pages: number
  oldLo: number
  oldHi: number
  lo: number
  hi: number
}

/** When an entry was written: the cycle, and the how-manieth write of all, for what happens in one cycle. */
export interface Moment {
  cycle: number
  number: number
}

/** Writes of entries that are kept at least, for the story; at most twice as many. */
const WRITES_KEPT = 4096
/** More entries than any table has. */
const SLOTS = 4096
/** Never written. */
const AT_BOOT: Readonly<Moment> = { cycle: 0, number: -1 }

/** A number for the entry in `slot` of the table in frame `table`. */
export function placeOf(table: number, slot: number): number {
  return table * SLOTS + slot
}

export class EntryWrites {
  /** For records that are not filled in yet. */
  readonly #noMm: Mm
  /** The first {@link #kept} of them are the last writes, oldest first; the others are free. */
  readonly #writes: EntryWrite[] = []
  #kept = 0
  /** By place. */
  readonly #lastChange = new Map<number, Moment>()
  /** Changes that TLBs may have missed, so far. */
  changes = 0

  constructor(noMm: Mm) {
    this.#noMm = noMm
  }

  /** The record of one more write, to be filled in. */
  next(): EntryWrite {
    const writes = this.#writes
    if (this.#kept === 2 * WRITES_KEPT) {
      writes.push(...writes.splice(0, WRITES_KEPT))
      this.#kept = WRITES_KEPT
    }
    if (this.#kept === writes.length) {
      writes.push({
        cycle: 0, cpu: 0, pid: 0, comm: '', mm: this.#noMm, level: 0, vpn: 0, pages: 0,
        oldLo: 0, oldHi: 0, lo: 0, hi: 0,
      })
    }
    return writes[this.#kept++]!
  }

  /** Writes of entries that cover page `vpn` of `mm`, oldest first. */
  of(mm: Mm, vpn: number): EntryWrite[] {
    return this.#writes.slice(0, this.#kept)
      .filter(each => each.mm === mm && each.vpn <= vpn && vpn < each.vpn + each.pages)
  }

  /** The entry has become or ceased to be what a TLB may hold. */
  noteChange(table: number, slot: number, cycle: number): void {
    const number = ++this.changes
    const place = placeOf(table, slot)
    const moment = this.#lastChange.get(place)
    if (moment === undefined) {
      this.#lastChange.set(place, { cycle, number })
      return
    }
    moment.cycle = cycle
    moment.number = number
  }

  /** When it last did. Valid until it does so again. */
  lastChange(table: number, slot: number): Readonly<Moment> {
    return this.#lastChange.get(placeOf(table, slot)) ?? AT_BOOT
  }
}
