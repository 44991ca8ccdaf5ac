// The next records of the trace that a CPU replays, copied to where WebAssembly can read them. Which ones
// they are is written beside them, because the CPU's windows run in several threads in turn.

import { RECORDS_AT_HAND } from './shared-state.js'
import type { SharedState } from './shared-state.js'

const RECORD_WORDS = 2
const RECORD_BYTES = 8

export class RecordsAtHand {
  readonly #words: Int32Array
  /** Number of the trace and one more; its record that is the first here. */
  readonly #trace: Int32Array
  readonly #from: Int32Array

  constructor({ layout, buffer }: SharedState, id: number) {
    this.#words = layout.view(buffer, 'records', 'words', id)
    this.#trace = layout.view(buffer, 'records', 'trace', id)
    this.#from = layout.view(buffer, 'records', 'from', id)
  }

  /** Makes sure of record `record` of a trace; `words`: all of it. */
  fetch(trace: number, words: Int32Array, record: number): void {
    const from = this.#from[0]
    if (this.#trace[0] === trace + 1 && record >= from && record < from + RECORDS_AT_HAND) return
    const start = record * RECORD_WORDS
    this.#words.set(words.subarray(start, start + this.#words.length))
    this.#trace[0] = trace + 1
    this.#from[0] = record
  }

  /** The record behind those that are at hand. */
  get past(): number {
    return this.#from[0] + RECORDS_AT_HAND
  }

  /** Byte in the memory where record `record` is, or would be if so many were at hand. */
  placeOf(record: number): number {
    return this.#words.byteOffset + (record - this.#from[0]) * RECORD_BYTES
  }
}
