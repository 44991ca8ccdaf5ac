// A core as it was at a certain place, to be put back to. Registers, clock and counters are copied
// when the checkpoint is taken. TLBs and paging caches are a hundred times as large, and most
// windows leave them alone: a window that is about to change them copies them first, in whatever
// thread it runs (mmu-state.ts, UNDO_*).

import { putBackWords, UNDO_ARMED, UNDO_OFF, WORD_UNDO } from '../machine/mmu-state.js'
import type { SharedState } from './shared-state.js'

export class Checkpoint {
  /** What is in front of the MMU's words in the core's row. */
  readonly #row: Int32Array
  readonly #copy: Int32Array
  readonly #mmu: Int32Array
  readonly #undo: Int32Array

  constructor({ layout, buffer }: SharedState, id: number) {
    this.#mmu = layout.view(buffer, 'core', 'mmu', id)
    this.#undo = layout.view(buffer, 'undo', 'mmu', id)
    const first = layout.offsetOf('core', 'doubles', id)
    this.#row = new Int32Array(buffer, first, (this.#mmu.byteOffset - first) / Int32Array.BYTES_PER_ELEMENT)
    this.#copy = new Int32Array(this.#row.length)
  }

  take(): void {
    this.#copy.set(this.#row)
    this.#mmu[WORD_UNDO] = UNDO_ARMED
  }

  putBack(): void {
    this.#row.set(this.#copy)
    putBackWords(this.#mmu, this.#undo)
  }

  /** The core has gone on for good: what it changes now is not kept. */
  drop(): void {
    this.#mmu[WORD_UNDO] = UNDO_OFF
  }
}
