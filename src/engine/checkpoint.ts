// A core as it was at certain places, to be put back to: where its window began, and marks that the
// window leaves on its way, so that little has to be run again. Registers, clock and counters are
// copied when a checkpoint is taken. TLBs and paging caches are a hundred times as large, and most
// windows leave them alone: a window that is about to change them copies them first, in whatever
// thread it runs (mmu-state.ts, UNDO_*), and marks hold a copy only from then on.
//
//   taken      mark 0     mark 1     mark 2        the core
//     |----------|----------|----------|--------------|-----> cycle
//                                 ^ must not have acted at or after this cycle: back to mark 1
//
// Marks are a ring. What is older than its length is forgotten; the beginning of the window never is.

import { putBackWords, UNDO_ARMED, UNDO_KEPT, UNDO_OFF, WORD_UNDO } from '../machine/mmu-state.js'
import { CORE_LAST_START, MARKS } from './shared-state.js'
import type { SharedState } from './shared-state.js'

export class Checkpoint {
  /** What is in front of the MMU's words in the core's row. */
  readonly #row: Int32Array
  readonly #copy: Int32Array
  readonly #mmu: Int32Array
  readonly #undo: Int32Array
  /** Marks that are good: from the first to before the second of these two running numbers. */
  readonly #range: Int32Array
  readonly #markRows: Int32Array[] = []
  readonly #markLastStarts: Float64Array[] = []
  readonly #markMmus: Int32Array[] = []
  readonly #hasMmu: Int32Array

  constructor({ layout, buffer }: SharedState, id: number) {
    this.#mmu = layout.view(buffer, 'core', 'mmu', id)
    this.#undo = layout.view(buffer, 'undo', 'mmu', id)
    const first = layout.offsetOf('core', 'doubles', id)
    this.#row = new Int32Array(buffer, first, (this.#mmu.byteOffset - first) / Int32Array.BYTES_PER_ELEMENT)
    this.#copy = new Int32Array(this.#row.length)
    this.#range = layout.view(buffer, 'marks', 'range', id)
    this.#hasMmu = layout.view(buffer, 'marks', 'hasMmu', id)
    const rows = layout.view(buffer, 'marks', 'rows', id)
    const mmus = layout.view(buffer, 'marks', 'mmus', id)
    const rowDoubles = rows.length / MARKS
    for (let i = 0; i < MARKS; i++) {
      const row = rows.subarray(i * rowDoubles, (i + 1) * rowDoubles)
      this.#markLastStarts.push(row.subarray(CORE_LAST_START, CORE_LAST_START + 1))
      this.#markRows.push(new Int32Array(buffer, row.byteOffset, this.#row.length))
      this.#markMmus.push(mmus.subarray(i * this.#mmu.length, (i + 1) * this.#mmu.length))
    }
  }

  /** A window begins here. */
  take(): void {
    this.#copy.set(this.#row)
    this.#mmu[WORD_UNDO] = UNDO_ARMED
    this.#range[0] = 0
    this.#range[1] = 0
  }

  /** The window has come here. Called by the thread that runs it. */
  mark(): void {
    const range = this.#range
    const slot = range[1]! % MARKS
    if (range[1]! - range[0]! === MARKS) range[0]! += 1
    range[1]! += 1
    this.#markRows[slot]!.set(this.#row)
    this.#hasMmu[slot] = this.#mmu[WORD_UNDO] === UNDO_KEPT ? 1 : 0
    if (this.#hasMmu[slot] === 1) this.#markMmus[slot]!.set(this.#mmu)
  }

  /** To the last of these places at which no action had started at or after `limit`. */
  putBack(limit: number): void {
    const range = this.#range
    while (range[1]! > range[0]!) {
      const slot = (range[1]! - 1) % MARKS
      if (this.#markLastStarts[slot]![0]! < limit) {
        this.#row.set(this.#markRows[slot]!)
        if (this.#hasMmu[slot] === 1) this.#mmu.set(this.#markMmus[slot]!)
        else putBackWords(this.#mmu, this.#undo)
        return
      }
      range[1]! -= 1
    }
    this.#row.set(this.#copy)
    putBackWords(this.#mmu, this.#undo)
  }

  /** The core has gone on for good: what it changes now is not kept. */
  drop(): void {
    this.#mmu[WORD_UNDO] = UNDO_OFF
  }
}
