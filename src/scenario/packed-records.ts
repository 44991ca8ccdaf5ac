// Packed traces: 8-byte little-endian records, in the layout that record-store.ts draws. Bytes
// are copied to their place and then checked there, word by word; nothing is converted.
//
// Simplified: the copy is the conversion only on a little-endian host, which is every host that
// the simulator is tested on.

import { UserError } from '../base/errors.js'
import { hex64 } from '../base/units.js'
import {
  RECORD_BYTES, RECORD_FETCH, RECORD_SIZE_MAX, RECORD_WORDS, USER_ADDRESS_HI_MAX, type RecordStore,
} from './record-store.js'

const KIND_SHIFT = 30
const KIND_UNUSED = 3
const SIZE_SHIFT = 16
const ADDRESS_HI_MASK = 0xffff
const PAGE_BYTES = 4096
/** A file whose first records are wrong is not a trace; one that goes wrong later is a damaged trace. */
const FIRST_RECORDS = 64

/** Takes bytes in any portions. Errors name the record, counted from one. */
export class PackedDecoder {
  private readonly store: RecordStore
  /** All bytes so far; the last `bytes % 8` of them are the start of a record still to come. */
  private bytes = 0

  constructor(store: RecordStore) {
    this.store = store
  }

  push(chunk: Uint8Array): void {
    const store = this.store
    const total = this.bytes + chunk.length
    store.reserve(Math.ceil(total / RECORD_BYTES) - store.records)
    new Uint8Array(store.words.buffer).set(chunk, this.bytes)
    this.bytes = total
    const records = Math.floor(total / RECORD_BYTES)
    this.check(store.words, store.records, records)
    store.records = records
  }

  finish(): void {
    const rest = this.bytes % RECORD_BYTES
    if (rest === 0) return
    throw new UserError(
      `${this.store.file}: the trace is truncated: ${rest} bytes behind record ${this.store.records}`,
      undefined, [`packed records are ${RECORD_BYTES} bytes each; the length is ${this.bytes} bytes`])
  }

  /** Checks records [from, to) and notes their pages. */
  private check(words: Int32Array, from: number, to: number): void {
    const pages = this.store.pages
    for (let record = from; record < to; record++) {
      const lo = words[record * RECORD_WORDS]!
      const tagged = words[record * RECORD_WORDS + 1]!
      const size = (tagged >>> SIZE_SHIFT) & RECORD_SIZE_MAX
      const kind = tagged >>> KIND_SHIFT
      const hi = tagged & ADDRESS_HI_MASK
      if (kind === KIND_UNUSED || size === 0 || hi > USER_ADDRESS_HI_MAX) this.reject(record, kind, size, hi, lo)
      if (kind === RECORD_FETCH) pages.addCode(hi, lo)
      else pages.addData(hi, lo)
      if ((lo & (PAGE_BYTES - 1)) + size > PAGE_BYTES) {
        if (!pages.addRest(hi, lo, size, kind === RECORD_FETCH)) this.reject(record, kind, size, hi, lo)
      }
    }
  }

  private reject(record: number, kind: number, size: number, hi: number, lo: number): never {
    const address = hex64(hi, lo)
    let wrong: string
    if (kind === KIND_UNUSED) wrong = 'access type 3; expected 0 (fetch), 1 (load) or 2 (store)'
    else if (size === 0) wrong = `size 0 at address ${address}; expected 1 to ${RECORD_SIZE_MAX} bytes`
    else wrong = `address ${address}, ${size} bytes, is outside the user range, which ends at 0x0000800000000000`
    const isTrace = record >= FIRST_RECORDS
    throw new UserError(
      `${this.store.file}: ${isTrace ? '' : 'not a memory trace, or a damaged one: '}record ${record + 1}: ${wrong}`,
      undefined, isTrace ? [] : ['expected valgrind lackey text or packed 8-byte records, plain, gzip or xz'])
  }
}
