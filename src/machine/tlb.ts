// Translation lookaside buffers: set-associative arrays of four-word entries, true LRU per set.
//
// The ways of a set are stored youngest first. A hit in the first way costs one compare; a hit
// further back moves the entry to the front; the victim is the last way; so LRU needs no clock.
// Each page-size class has its own page number and may have its own array. When a lookup happens
// and what a hit permits is decided in mmu.ts.

import type { TlbArrayConfig, TlbLevelConfig } from './config.js'
import { bitsFrom, type Geometry } from './geometry.js'
import {
  CLASS_BASE, CLASS_GIANT, classShapes, ENTRY_ATTR, ENTRY_KEY_HI, ENTRY_KEY_LO, ENTRY_PFN, ENTRY_WORDS,
  KEY_CLASS_MASK, KEY_CLASS_SHIFT, KEY_GLOBAL, KEY_PCID_MASK, KEY_VALID, LIVE_GLOBAL, WORD_EMPTY_SET, WORD_LIVE,
  type ClassShape,
} from './mmu-state.js'
import { assert } from '../base/assert.js'

export { classShapes, type ClassShape } from './mmu-state.js'

/** One array. `start` below is the first word of a set, `at` the first word of an entry. */
export class TlbArray {
  readonly offset: number
  readonly sets: number
  readonly setWords: number
  /** Set number = page number & mask, or 0 when `sets` is no power of two: then {@link startOf} divides. */
  readonly mask: number
  private readonly words: Int32Array
  /** 2^32 modulo `sets`: the weight of the upper half of a page number. */
  private readonly upperWeight: number

  constructor(words: Int32Array, offset: number, config: TlbArrayConfig) {
    this.words = words
    this.offset = offset
    this.sets = config.entries / config.ways
    assert(Number.isInteger(this.sets) && this.sets > 0, `TLB of ${config.entries} entries, ${config.ways} ways`)
    this.setWords = config.ways * ENTRY_WORDS
    this.mask = Number.isInteger(Math.log2(this.sets)) ? this.sets - 1 : 0
    this.upperWeight = 2 ** 32 % this.sets
  }

  /** First word of the set for a page number. */
  startOf(pageHi: number, pageLo: number): number {
    if (this.mask !== 0 || this.sets === 1) return this.offset + (pageLo & this.mask) * this.setWords
    const sets = this.sets
    const set = ((pageLo >>> 0) % sets + ((pageHi * this.upperWeight) % sets)) % sets
    return this.offset + set * this.setWords
  }

  /** The entry with this key, or its global twin, in the set at `start`; -1 when there is none. */
  find(start: number, keyLo: number, keyHi: number): number {
    const words = this.words
    const end = start + this.setWords
    for (let at = start; at < end; at += ENTRY_WORDS) {
      if (words[at] === keyLo) {
        const found = words[at + ENTRY_KEY_HI]!
        if (found === keyHi || found === globalKey(keyHi)) return at
      }
    }
    return -1
  }

  /** Makes the entry the youngest of its set. */
  moveToFront(start: number, at: number): void {
    const words = this.words
    const keyLo = words[at]!
    const keyHi = words[at + ENTRY_KEY_HI]!
    const pfn = words[at + ENTRY_PFN]!
    const attr = words[at + ENTRY_ATTR]!
    shiftBack(words, start, at)
    words[start] = keyLo
    words[start + ENTRY_KEY_HI] = keyHi
    words[start + ENTRY_PFN] = pfn
    words[start + ENTRY_ATTR] = attr
  }

  /** Puts a new youngest entry into the set; the oldest falls out. */
  insert(start: number, keyLo: number, keyHi: number, pfn: number, attr: number): void {
    const words = this.words
    shiftBack(words, start, start + this.setWords - ENTRY_WORDS)
    words[start] = keyLo
    words[start + ENTRY_KEY_HI] = keyHi
    words[start + ENTRY_PFN] = pfn
    words[start + ENTRY_ATTR] = attr
  }

  /** Empties one way; the older ones close up. */
  removeAt(start: number, at: number): void {
    const words = this.words
    const last = start + this.setWords - ENTRY_WORDS
    words.copyWithin(at, at + ENTRY_WORDS, last + ENTRY_WORDS)
    words.fill(0, last, last + ENTRY_WORDS)
  }

  clear(): void {
    this.words.fill(0, this.offset, this.offset + this.sets * this.setWords)
  }

  /** Drops every entry whose second word, under `mask`, is `value`. Returns the live bits of what remains. */
  removeMatching(mask: number, value: number): number {
    const words = this.words
    const end = this.offset + this.sets * this.setWords
    let live = 0
    for (let start = this.offset; start < end; start += this.setWords) {
      let to = start
      for (let at = start; at < start + this.setWords; at += ENTRY_WORDS) {
        const keyHi = words[at + ENTRY_KEY_HI]!
        if (keyHi === 0) break
        if ((keyHi & mask) === value) continue
        live |= liveBits(keyHi)
        if (to !== at) words.copyWithin(to, at, at + ENTRY_WORDS)
        to += ENTRY_WORDS
      }
      if (to < start + this.setWords) words.fill(0, to, start + this.setWords)
    }
    return live
  }
}

function shiftBack(words: Int32Array, start: number, at: number): void {
  for (let to = at + ENTRY_WORDS - 1; to >= start + ENTRY_WORDS; to--) words[to] = words[to - ENTRY_WORDS]!
}

function globalKey(keyHi: number): number {
  return (keyHi & ~KEY_PCID_MASK) | KEY_GLOBAL
}

function liveBits(keyHi: number): number {
  return (1 << ((keyHi & KEY_CLASS_MASK) >>> KEY_CLASS_SHIFT)) | ((keyHi & KEY_GLOBAL) === 0 ? 0 : LIVE_GLOBAL)
}

/** One TLB level: up to three size classes over its arrays. */
export class TlbLevel {
  /** The array that holds base pages, or an array that never hits. */
  readonly base: TlbArray
  /** Result of the last {@link find} that returned an entry: its array, the start of its set. */
  foundArray: TlbArray
  foundStart = 0
  private readonly words: Int32Array
  private readonly liveWord: number
  private readonly arrays: readonly TlbArray[]
  private readonly byClass: readonly (TlbArray | undefined)[]
  private readonly shapes: readonly (ClassShape | undefined)[]

  /** `ordinal`: which of the live words is this level's. */
  constructor(words: Int32Array, offset: number, config: TlbLevelConfig, g: Geometry, ordinal: number) {
    this.words = words
    this.liveWord = WORD_LIVE + ordinal
    let at = offset
    this.arrays = config.arrays.map((array) => {
      const made = new TlbArray(words, at, array)
      at += array.entries * ENTRY_WORDS
      return made
    })
    this.shapes = classShapes(g)
    this.byClass = [config.base, config.large, config.giant].map((index, cls) =>
      this.shapes[cls] === undefined ? undefined : this.arrays[index])
    const none = new TlbArray(words, WORD_EMPTY_SET, { entries: 1, ways: 1 })
    this.base = this.byClass[CLASS_BASE] ?? none
    this.foundArray = none
  }

  /** The entry that translates this address under `tag`, of any size; -1 when there is none. No side effects. */
  find(hi: number, lo: number, tag: number): number {
    const live = this.words[this.liveWord]!
    for (let cls = CLASS_BASE; cls <= CLASS_GIANT; cls++) {
      if ((live & (1 << cls)) === 0) continue
      const at = this.findIn(cls, hi, lo, tag)
      if (at >= 0) return at
    }
    return -1
  }

  private findIn(cls: number, hi: number, lo: number, tag: number): number {
    const array = this.byClass[cls]
    const shape = this.shapes[cls]
    if (array === undefined || shape === undefined) return -1
    const pageLo = bitsFrom(hi, lo, shape.shift) & shape.loMask
    const pageHi = (hi >>> shape.shift) & shape.hiMask
    const start = array.startOf(pageHi, pageLo)
    const at = array.find(start, pageLo, pageHi | (cls << KEY_CLASS_SHIFT) | tag)
    if (at >= 0) {
      this.foundArray = array
      this.foundStart = start
    }
    return at
  }

  /** Makes the entry that {@link find} just returned the youngest of its set. */
  touchFound(at: number): void {
    if (at !== this.foundStart) this.foundArray.moveToFront(this.foundStart, at)
  }

  /** Inserts a translation that is known to be absent; a size without an array is not kept. */
  fill(cls: number, hi: number, lo: number, tag: number, pfn: number, attr: number): void {
    const array = this.byClass[cls]
    const shape = this.shapes[cls]
    if (array === undefined || shape === undefined) return
    const pageLo = bitsFrom(hi, lo, shape.shift) & shape.loMask
    const pageHi = (hi >>> shape.shift) & shape.hiMask
    const keyHi = pageHi | (cls << KEY_CLASS_SHIFT) | tag
    array.insert(array.startOf(pageHi, pageLo), pageLo, keyHi, pfn, attr)
    this.words[this.liveWord] = this.words[this.liveWord]! | liveBits(keyHi)
  }

  /** Drops what translates this address, whatever its size: entries tagged `tag`, or global ones, or both. */
  dropPage(hi: number, lo: number, tag: number, globals: boolean): void {
    if (this.words[this.liveWord] === 0) return
    for (let cls = CLASS_BASE; cls <= CLASS_GIANT; cls++) {
      const array = this.byClass[cls]
      const shape = this.shapes[cls]
      if (array === undefined || shape === undefined) continue
      const pageLo = bitsFrom(hi, lo, shape.shift) & shape.loMask
      const pageHi = (hi >>> shape.shift) & shape.hiMask
      const start = array.startOf(pageHi, pageLo)
      const keyHi = pageHi | (cls << KEY_CLASS_SHIFT) | tag
      const last = start + array.setWords - ENTRY_WORDS
      for (let at = last; at >= start; at -= ENTRY_WORDS) {
        const found = this.words[at + ENTRY_KEY_HI]!
        if (this.words[at + ENTRY_KEY_LO] !== pageLo || found === 0) continue
        if (found === keyHi || (globals && found === globalKey(keyHi))) array.removeAt(start, at)
      }
    }
  }

  clear(): void {
    if (this.words[this.liveWord] === 0) return
    for (const array of this.arrays) array.clear()
    this.words[this.liveWord] = 0
  }

  /** Drops the entries that are not global: of the PCID in `tag`, or of all PCIDs when `tag` is undefined. */
  dropNonGlobal(tag: number | undefined): void {
    const live = this.words[this.liveWord]!
    if (live === 0) return
    if (tag === undefined && (live & LIVE_GLOBAL) === 0) {
      this.clear()
      return
    }
    const mask = tag === undefined ? KEY_VALID | KEY_GLOBAL : KEY_VALID | KEY_GLOBAL | KEY_PCID_MASK
    const value = tag === undefined ? KEY_VALID : tag
    let remaining = 0
    for (const array of this.arrays) remaining |= array.removeMatching(mask, value)
    this.words[this.liveWord] = remaining
  }

  /** Visits the word index of every valid entry, arrays in order, sets ascending, youngest first. */
  forEach(visit: (at: number) => void): void {
    for (const array of this.arrays) {
      const end = array.offset + array.sets * array.setWords
      for (let at = array.offset; at < end; at += ENTRY_WORDS) {
        if (this.words[at + ENTRY_KEY_HI] !== 0) visit(at)
      }
    }
  }
}
