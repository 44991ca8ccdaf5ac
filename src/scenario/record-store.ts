// Records as they come out of a decoder: a growing Int32Array over a SharedArrayBuffer, two
// words a record, and the set of pages that they touch. The array is allocated ahead of need
// (untouched host memory costs nothing) and doubled when it is full, so that a decoder writes
// words in place and no record is ever an object.
//
//   word 0  31..................0    virtual address, bits 31:0
//   word 1  31..30  29....16  15.......0
//           kind    size      virtual address, bits 47:32
//
// Not here: any file format (packed-records.ts, lackey-text.ts).

import { assert } from '../base/assert.js'
import { UserError } from '../base/errors.js'
import type { TraceRecords } from '../kernel/abi.js'
import { PageSet } from './page-set.js'

export const RECORD_BYTES = 8
export const RECORD_WORDS = 2
/** Kinds of a record, bits 31:30 of word 1. Kind 3 is not used. */
export const RECORD_FETCH = 0
export const RECORD_LOAD = 1
export const RECORD_STORE = 2
/** Largest size that fits in bits 29:16 of word 1, bytes. */
export const RECORD_SIZE_MAX = 0x3fff
/** User addresses end here: bits 47:32 of the last one (SDM vol. 1, 3.3.7.1: bit 47 set is the kernel's half). */
export const USER_ADDRESS_HI_MAX = 0x7fff
/** 4 GiB of records: keeps every word index a small integer. */
export const RECORDS_MAX = 1 << 29

const FIRST_CAPACITY_RECORDS = 1 << 16

/** Where decoders put records. `words` changes identity in `reserve()`: read it again afterwards. */
export class RecordStore {
  readonly file: string
  words: Int32Array
  records = 0
  readonly pages = new PageSet()

  /** @param expectedRecords a guess, 0 if there is none; a good one avoids copies. */
  constructor(file: string, expectedRecords: number) {
    this.file = file
    const capacity = Math.max(FIRST_CAPACITY_RECORDS, Math.min(expectedRecords, RECORDS_MAX))
    this.words = new Int32Array(new SharedArrayBuffer(capacity * RECORD_BYTES))
  }

  /** Makes room for `more` records behind those that are there. */
  reserve(more: number): void {
    const needed = this.records + more
    if (needed * RECORD_WORDS <= this.words.length) return
    if (needed > RECORDS_MAX) throw new UserError(`${this.file}: the trace has more than ${RECORDS_MAX} records`)
    const capacity = Math.min(RECORDS_MAX, Math.max(needed, this.words.length))
    const grown = new Int32Array(new SharedArrayBuffer(capacity * RECORD_BYTES))
    grown.set(this.words.subarray(0, this.records * RECORD_WORDS))
    this.words = grown
  }

  /** The finished trace. */
  finish(): TraceRecords {
    assert(this.records > 0, 'a trace without records is a user error, to be reported by the caller')
    return {
      file: this.file,
      words: new Int32Array(this.words.buffer, 0, this.records * RECORD_WORDS),
      records: this.records,
      ranges: this.pages.ranges(),
    }
  }
}
