// Physical memory that remembers every write of a page-table entry, whoever makes it: the kernel, a
// CPU's walker that sets A or D, the boot. Only the thread that runs the scheduler writes entries, so
// one such memory sees them all (docs/memory-order.md). Data of programs goes through storeWord and is
// not remembered.

import type { Geometry } from '../machine/geometry.js'
import { PhysMem } from '../machine/phys-mem.js'
import { WRITE_COLUMNS } from '../trace/observations.js'
import type { WriteColumn } from '../trace/observations.js'
import { GrowingRows } from './growing-rows.js'
import type { Rows } from './growing-rows.js'

/** What a write is filed under: set before every step. */
export interface Present {
  cycle: number
  cpu: number
}

export class RecordedMemory extends PhysMem {
  /** Cycle from which on nothing was remembered any more, because there were too many; Infinity: all was. */
  declare forgottenFrom: number
  declare private readonly present: Present
  declare private readonly rows: GrowingRows<WriteColumn>
  declare private readonly writesMax: number
  /** Frames with a remembered entry. */
  declare private readonly tables: Set<number>

  constructor(words: Int32Array, g: Geometry, present: Present, writesMax: number) {
    super(words, g)
    this.forgottenFrom = Infinity
    this.present = present
    this.rows = new GrowingRows<WriteColumn>(WRITE_COLUMNS)
    this.writesMax = writesMax
    this.tables = new Set()
  }

  override store(pfn: number, slot: number, lo: number, hi: number): void {
    super.store(pfn, slot, lo, hi)
    this.remember(pfn, slot, lo, hi)
  }

  override storeLo(pfn: number, slot: number, lo: number): void {
    super.storeLo(pfn, slot, lo)
    this.remember(pfn, slot, lo, this.loadHi(pfn, slot))
  }

  override zeroFrame(pfn: number): void {
    super.zeroFrame(pfn)
    if (!this.tables.delete(pfn)) return
    this.remember(pfn, -1, 0, 0)
    this.tables.delete(pfn)
  }

  writes(): Rows<WriteColumn> {
    return this.rows.finish()
  }

  private remember(pfn: number, slot: number, lo: number, hi: number): void {
    if (this.rows.length >= this.writesMax) {
      if (this.forgottenFrom === Infinity) this.forgottenFrom = this.present.cycle
      return
    }
    this.tables.add(pfn)
    this.rows.add(this.present.cycle, this.present.cpu, pfn, slot, lo, hi)
  }
}
