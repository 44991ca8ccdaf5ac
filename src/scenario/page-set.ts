// The set of 4 KiB pages that a trace touches. A 2 MiB chunk of user address space is one bitmap
// of 512 bits, found by its chunk number, bits 46:21 of the address, which fits a small integer.
// Neighbouring accesses mostly stay in a chunk, so the last chunk of code and the last one of
// data are kept at hand and the Map is asked rarely.
//
// Addresses must be below 2^47; the decoders have checked that.

import type { U64 } from '../kernel/abi.js'

const PAGE_BITS = 12
const PAGE_BYTES = 1 << PAGE_BITS
const LO_MAX = 0xffff_ffff
/** Bits 47:32 of the last user address. */
const USER_HI_MAX = 0x7fff
const CHUNK_BITS = 21
const CHUNK_PAGES = 1 << (CHUNK_BITS - PAGE_BITS)
const CHUNK_WORDS = CHUNK_PAGES / 32
/** Chunk numbers above bit 31 of the address: hi << HI_SHIFT. */
const HI_SHIFT = 32 - CHUNK_BITS
const NO_CHUNK = -1

export class PageSet {
  private readonly baseOf = new Map<number, number>()
  private bits = new Int32Array(64 * CHUNK_WORDS)
  private usedWords = 0
  private codeChunk = NO_CHUNK
  private codeBase = 0
  private dataChunk = NO_CHUNK
  private dataBase = 0

  /** Adds the page of an instruction fetch. */
  addCode(hi: number, lo: number): void {
    const chunk = (hi << HI_SHIFT) | (lo >>> CHUNK_BITS)
    if (chunk !== this.codeChunk) {
      this.codeBase = this.find(chunk)
      this.codeChunk = chunk
    }
    this.bits[this.codeBase + ((lo >>> 17) & 15)]! |= 1 << (lo >>> PAGE_BITS)
  }

  /** Adds the page of a load or store. */
  addData(hi: number, lo: number): void {
    const chunk = (hi << HI_SHIFT) | (lo >>> CHUNK_BITS)
    if (chunk !== this.dataChunk) {
      this.dataBase = this.find(chunk)
      this.dataChunk = chunk
    }
    this.bits[this.dataBase + ((lo >>> 17) & 15)]! |= 1 << (lo >>> PAGE_BITS)
  }

  /**
   * Adds the pages behind the first one of an access that crosses a page boundary.
   * @returns false when the access ends outside the user range.
   */
  addRest(hi: number, lo: number, size: number, isCode: boolean): boolean {
    const first = lo >>> 0
    const last = first + size - 1
    if (hi === USER_HI_MAX && last > LO_MAX) return false
    for (let page = first - (first % PAGE_BYTES) + PAGE_BYTES; page <= last; page += PAGE_BYTES) {
      const pageHi = page > LO_MAX ? hi + 1 : hi
      if (isCode) this.addCode(pageHi, page | 0)
      else this.addData(pageHi, page | 0)
    }
    return true
  }

  /** The pages as sorted, coalesced ranges [start, end). */
  ranges(): { start: U64; end: U64 }[] {
    const chunks = [...this.baseOf.keys()].sort((a, b) => a - b)
    const ranges: { start: U64; end: U64 }[] = []
    let first = -1
    let next = -1
    for (const chunk of chunks) {
      const base = this.baseOf.get(chunk)!
      for (let index = 0; index < CHUNK_PAGES; index++) {
        if ((this.bits[base + (index >>> 5)]! & (1 << (index & 31))) === 0) continue
        // At most 35 bits: a page number is exact as a double, and this is not a hot loop.
        const page = chunk * CHUNK_PAGES + index
        if (page !== next) {
          if (first >= 0) ranges.push({ start: addressOf(first), end: addressOf(next) })
          first = page
        }
        next = page + 1
      }
    }
    if (first >= 0) ranges.push({ start: addressOf(first), end: addressOf(next) })
    return ranges
  }

  private find(chunk: number): number {
    const known = this.baseOf.get(chunk)
    if (known !== undefined) return known
    const base = this.usedWords
    this.usedWords += CHUNK_WORDS
    if (this.usedWords > this.bits.length) {
      const grown = new Int32Array(this.bits.length * 2)
      grown.set(this.bits)
      this.bits = grown
    }
    this.baseOf.set(chunk, base)
    return base
  }
}

function addressOf(page: number): U64 {
  const perHi = 2 ** (32 - PAGE_BITS)
  return { hi: Math.floor(page / perHi), lo: ((page % perHi) * 2 ** PAGE_BITS) >>> 0 }
}
