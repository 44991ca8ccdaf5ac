// The next records of a trace, copied to where WebAssembly can read them (machine/access-runs). Which ones
// they are is written beside them, because the windows of a CPU run in several threads in turn.
//
// Not here: what records mean (kernel/abi.ts, TraceRecords).

import { int32 } from '../base/shared-layout.js'

const RECORD_WORDS = 2
const RECORD_BYTES = 8
const RECORDS = 2048

/** A row with records. `trace`: its number and one more, 0 at first; `from`: its record that is the first here. */
export const RECORD_FIELDS = { trace: int32(), from: int32(), words: int32(RECORDS * RECORD_WORDS) }

export type RecordViews = Readonly<Record<keyof typeof RECORD_FIELDS, Int32Array>>

export class RecordsAtHand {
  readonly #views: RecordViews

  constructor(views: RecordViews) {
    this.#views = views
  }

  /** Makes sure of record `record` of trace number `trace`; `words`: all of it. */
  fetch(trace: number, words: Int32Array, record: number): void {
    const { trace: known, from, words: atHand } = this.#views
    if (known[0] === trace + 1 && record >= from[0]! && record < this.past) return
    const start = record * RECORD_WORDS
    atHand.set(words.subarray(start, start + atHand.length))
    known[0] = trace + 1
    from[0] = record
  }

  /** The record behind those that are at hand. */
  get past(): number {
    return this.#views.from[0]! + RECORDS
  }

  /** Byte in the memory where record `record` is, or would be if so many were at hand. */
  placeOf(record: number): number {
    return this.#views.words.byteOffset + (record - this.#views.from[0]!) * RECORD_BYTES
  }
}
