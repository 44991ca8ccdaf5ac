// Physical memory: one SharedArrayBuffer, read and written by (frame number, slot) or by
// (frame number, byte offset). A table entry of eight bytes is two words, low word first, as on
// a little-endian machine, so a dump of the buffer is an image that a real MMU accepts.
//
// Frames beyond installed memory read as zero and swallow stores, as an open bus would, unless
// the memory was made with a sparse area. Page numbers are unsigned 32-bit. Loads and stores are
// plain: which thread may do which of them, and when, is the engine's business.

import { assert, fail } from '../base/assert.js'
import type { Geometry } from './geometry.js'

/** A zeroed buffer. The host gives pages out when they are first touched: an untouched gigabyte costs nothing. */
export function allocatePhysicalMemory(bytes: number): SharedArrayBuffer {
  return new SharedArrayBuffer(bytes)
}

export class PhysMem {
  /** All installed memory, in 32-bit words. */
  declare readonly words: Int32Array
  /** The same, two words at a time: shared memory is filled element by element. */
  declare private readonly pairs: Float64Array
  /** Installed base pages. */
  declare readonly frames: number
  /** log2 of a frame's size in words. */
  declare readonly frameWordShift: number
  /** 1 when an entry is two words, else 0. */
  declare readonly entryWordShift: number
  /**
   * How often each installed frame was written to by way of this object, modulo 2^32: who has read a frame can tell
   * that it is as it was.
   */
  declare readonly versions: Uint32Array
  /** Words beyond installed memory by word number, when such memory exists. */
  declare readonly beyond: Map<number, number> | undefined

  constructor(words: Int32Array, g: Geometry, options: { sparseBeyond?: boolean } = {}) {
    this.words = words
    this.pairs = new Float64Array(words.buffer, words.byteOffset, words.length >> 1)
    this.frameWordShift = g.pageShift - 2
    this.entryWordShift = g.entryBytes === 8 ? 1 : 0
    this.frames = Math.floor(words.length / (1 << this.frameWordShift))
    this.versions = new Uint32Array(this.frames)
    this.beyond = options.sparseBeyond === true ? new Map() : undefined
    if (words.length > 2 ** 31) fail(`physical memory of ${words.length} words exceeds 8 GiB`)
  }

  /** Low word of entry `slot` of the table in frame `pfn`. */
  loadLo(pfn: number, slot: number): number {
    if (pfn >>> 0 < this.frames) return this.words[(pfn << this.frameWordShift) + (slot << this.entryWordShift)]!
    return this.loadBeyond(pfn, slot << this.entryWordShift)
  }

  /** High word of the entry; 0 for entries of four bytes. */
  loadHi(pfn: number, slot: number): number {
    if (this.entryWordShift === 0) return 0
    if (pfn >>> 0 < this.frames) return this.words[(pfn << this.frameWordShift) + (slot << 1) + 1]!
    return this.loadBeyond(pfn, (slot << 1) + 1)
  }

  /** Replaces an entry; `hi` is ignored for entries of four bytes. */
  store(pfn: number, slot: number, lo: number, hi: number): void {
    this.storeWord(pfn, slot << (this.entryWordShift + 2), lo)
    if (this.entryWordShift === 1) this.storeWord(pfn, (slot << 3) + 4, hi)
  }

  /** Replaces the low word of an entry: A and D bits live there. */
  storeLo(pfn: number, slot: number, lo: number): void {
    this.storeWord(pfn, slot << (this.entryWordShift + 2), lo)
  }

  /** The word at a byte offset that is a multiple of four. */
  loadWord(pfn: number, byteOffset: number): number {
    if (pfn >>> 0 < this.frames) return this.words[(pfn << this.frameWordShift) + (byteOffset >>> 2)]!
    return this.loadBeyond(pfn, byteOffset >>> 2)
  }

  storeWord(pfn: number, byteOffset: number, value: number): void {
    if (pfn >>> 0 < this.frames) {
      this.words[(pfn << this.frameWordShift) + (byteOffset >>> 2)] = value
      this.versions[pfn]! += 1
    } else {
      this.storeBeyond(pfn, byteOffset >>> 2, value)
    }
  }

  /** Only installed frames can be zeroed and copied. */
  zeroFrame(pfn: number): void {
    assert(pfn < this.frames, 'zeroFrame: beyond installed memory')
    const start = this.wordOf(pfn) / 2
    this.pairs.fill(0, start, start + (1 << (this.frameWordShift - 1)))
    this.versions[pfn]! += 1
  }

  /** Copies `count` whole frames; the two ranges do not overlap. */
  copyFrame(to: number, from: number, count = 1): void {
    assert(to + count <= this.frames && from + count <= this.frames, 'copyFrame: beyond installed memory')
    const start = this.wordOf(from)
    this.words.copyWithin(this.wordOf(to), start, start + count * (1 << this.frameWordShift))
    for (let frame = to; frame < to + count; frame++) this.versions[frame]! += 1
  }

  /** The words of a frame, copied. */
  readFrame(pfn: number): Int32Array {
    assert(pfn < this.frames, 'readFrame: beyond installed memory')
    const start = this.wordOf(pfn)
    return this.words.slice(start, start + (1 << this.frameWordShift))
  }

  /** Puts such words into a frame. */
  writeFrame(pfn: number, words: Int32Array): void {
    assert(pfn < this.frames, 'writeFrame: beyond installed memory')
    this.words.set(words, this.wordOf(pfn))
    this.versions[pfn]! += 1
  }

  private wordOf(pfn: number): number {
    return pfn * (1 << this.frameWordShift)
  }

  private loadBeyond(pfn: number, word: number): number {
    return this.beyond?.get(this.wordOf(pfn >>> 0) + word) ?? 0
  }

  private storeBeyond(pfn: number, word: number, value: number): void {
    this.beyond?.set(this.wordOf(pfn >>> 0) + word, value | 0)
  }
}
