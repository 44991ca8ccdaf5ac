// Memory traces as valgrind's lackey prints them (--trace-mem=yes): one access a line,
//
//   I  04000fe0,3        instruction fetch of 3 bytes
//    L 1ffeffe7e8,8      load
//    S 1ffeffe7e0,8      store
//    M 0421c7cc,4        modify: a load record, then a store record
//
// between lines of valgrind's own (`==123== ...`), which are skipped. Bytes are parsed where
// they are: a line is neither a string nor an object unless it is wrong.

import { UserError } from '../base/errors.js'
import {
  RECORD_FETCH, RECORD_LOAD, RECORD_SIZE_MAX, RECORD_STORE, RECORD_WORDS, USER_ADDRESS_HI_MAX, type RecordStore,
} from './record-store.js'

const NEWLINE = 10
const RETURN = 13
const SPACE = 32
const COMMA = 44
const LETTER_I = 73
const LETTER_L = 76
const LETTER_S = 83
const LETTER_M = 77
const DIGIT_0 = 48

const ADDRESS_COLUMN = 3
const PAGE_BYTES = 4096
/** " M 0,1" and a newline: the fewest bytes that can become two records. */
const BYTES_PER_RECORD_MIN = 3
/** No line of a trace is this long, and a file without newlines must not be collected in memory. */
const LINE_BYTES_MAX = 1 << 20
const EXCERPT_CHARACTERS = 60

/** Value of a hexadecimal digit by its byte, or -1. */
const HEX_VALUE = new Int8Array(256).fill(-1)
for (let value = 0; value < 16; value++) {
  HEX_VALUE[value.toString(16).charCodeAt(0)] = value
  HEX_VALUE[value.toString(16).toUpperCase().charCodeAt(0)] = value
}

/** Lines that valgrind and lackey print between accesses. */
const NOISE = /^\s*$|^(?:==|--|\*\*)\d+(?:==|--|\*\*)|^SB [0-9a-f]+$/

/** Takes bytes in any portions. Errors carry line and column. */
export class LackeyDecoder {
  private readonly store: RecordStore
  /** The start of a line whose end has not arrived. */
  private rest: Uint8Array = new Uint8Array(0)
  private line = 0

  constructor(store: RecordStore) {
    this.store = store
  }

  push(chunk: Uint8Array): void {
    const bytes = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk])
    const end = bytes.lastIndexOf(NEWLINE) + 1
    this.store.reserve(Math.ceil(end / BYTES_PER_RECORD_MIN))
    this.parseLines(bytes, end)
    this.rest = bytes.subarray(end)
    if (this.rest.length > LINE_BYTES_MAX) throw this.wrong(this.rest, 0, 0, 'a line of more than 1 MiB')
  }

  finish(): void {
    if (this.rest.length > 0) this.push(Uint8Array.of(NEWLINE))
  }

  /** Parses bytes[0..end), whole lines. Every scan stops at the newline at the latest. */
  private parseLines(bytes: Uint8Array, end: number): void {
    const store = this.store
    const words = store.words
    const pages = store.pages
    let word = store.records * RECORD_WORDS
    let at = 0
    while (at < end) {
      const start = at
      this.line++
      const first = bytes[at]
      const letter = first === LETTER_I ? LETTER_I : bytes[at + 1]
      const isAccess = bytes[at + 2] === SPACE && (first === LETTER_I
        ? bytes[at + 1] === SPACE
        : first === SPACE && (letter === LETTER_L || letter === LETTER_S || letter === LETTER_M))
      if (!isAccess) {
        at = this.skipNoise(bytes, start)
        continue
      }

      at += ADDRESS_COLUMN
      let hi = 0
      let lo = 0
      let overflow = 0
      let digit = HEX_VALUE[bytes[at]!]!
      if (digit < 0) throw this.wrong(bytes, start, at, 'expected a hexadecimal address')
      do {
        overflow |= hi >>> 28
        hi = (hi << 4) | (lo >>> 28)
        lo = (lo << 4) | digit
        digit = HEX_VALUE[bytes[++at]!]!
      } while (digit >= 0)
      if (overflow !== 0 || hi >>> 0 > USER_ADDRESS_HI_MAX) this.outside(bytes, start)
      if (bytes[at] !== COMMA) throw this.wrong(bytes, start, at, 'expected a comma and a size behind the address')

      const sizeAt = ++at
      let size = 0
      let value = bytes[at]! - DIGIT_0
      while (value >= 0 && value <= 9) {
        size = size > RECORD_SIZE_MAX ? size : size * 10 + value
        value = bytes[++at]! - DIGIT_0
      }
      if (at === sizeAt) throw this.wrong(bytes, start, at, 'expected a size in bytes')
      if (size === 0 || size > RECORD_SIZE_MAX) {
        throw this.wrong(bytes, start, sizeAt, `the size must be 1 to ${RECORD_SIZE_MAX} bytes`)
      }
      if (bytes[at] === RETURN) at++
      if (bytes[at] !== NEWLINE) throw this.wrong(bytes, start, at, 'expected the end of the line behind the size')
      at++

      const isFetch = letter === LETTER_I
      if (isFetch) pages.addCode(hi, lo)
      else pages.addData(hi, lo)
      if ((lo & (PAGE_BYTES - 1)) + size > PAGE_BYTES) {
        if (!pages.addRest(hi, lo, size, isFetch)) this.outside(bytes, start)
      }
      const tagged = hi | (size << 16)
      words[word++] = lo
      if (letter === LETTER_M) {
        words[word++] = tagged | (RECORD_LOAD << 30)
        words[word++] = lo
      }
      const kind = isFetch ? RECORD_FETCH : letter === LETTER_L ? RECORD_LOAD : RECORD_STORE
      words[word++] = tagged | (kind << 30)
    }
    store.records = word / RECORD_WORDS
  }

  /** Where the line behind this one starts, if this one is noise. */
  private skipNoise(bytes: Uint8Array, start: number): number {
    const end = bytes.indexOf(NEWLINE, start)
    if (!NOISE.test(textOf(bytes, start))) throw this.wrong(bytes, start, start, 'not a lackey line')
    return end + 1
  }

  private outside(bytes: Uint8Array, start: number): never {
    throw this.wrong(bytes, start, start + ADDRESS_COLUMN,
      'the access is outside the user range, which ends at 0x0000800000000000')
  }

  private wrong(bytes: Uint8Array, start: number, at: number, message: string): UserError {
    const column = at - start
    const details = ['expected "I  ADDRESS,SIZE", " L ADDRESS,SIZE", " S ADDRESS,SIZE" or " M ADDRESS,SIZE"']
    const text = textOf(bytes, start).replace(/[^\x20-\x7e]/g, '?')
    if (column < EXCERPT_CHARACTERS) {
      details.unshift(`  ${text.slice(0, EXCERPT_CHARACTERS)}`, `  ${' '.repeat(column)}^`)
    }
    return new UserError(message, { file: this.store.file, line: Math.max(this.line, 1), column: column + 1 }, details)
  }
}

/** The line at `start` without its end. */
function textOf(bytes: Uint8Array, start: number): string {
  const newline = bytes.indexOf(NEWLINE, start)
  const end = newline < 0 ? Math.min(bytes.length, start + EXCERPT_CHARACTERS) : newline
  return Buffer.from(bytes.subarray(start, end)).toString('latin1').replace(/\r$/, '')
}
