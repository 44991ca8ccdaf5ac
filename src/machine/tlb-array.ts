// One set-associative array of four-word entries with true LRU per set: the building block of TLBs
// and of paging-structure caches. When a lookup happens and what a hit permits is decided above.
//
// The ways of a set are stored youngest first. So a hit in the first way is one compare and
// changes nothing, a hit further back moves the entry to the front, the victim is the last way,
// and LRU needs no clock. Entries are found where programs look again soon: near the front.

import type { TlbArrayConfig } from './config.js'
import * as state from './mmu-state.js'
import { assert } from '../base/assert.js'

// Bound to constants of this module: the compiler folds those, and loads imported ones each time.
const { ENTRY_ATTR, ENTRY_KEY_HI, ENTRY_PFN, ENTRY_WORDS, KEY_GLOBAL, KEY_PCID_MASK } = state

/** Moving more words than this is left to copyWithin: a call costs as much as a short loop. */
const LOOP_WORDS_MAX = 16 * ENTRY_WORDS

/** `start` below is the first word of a set, `at` the first word of an entry. */
export class TlbArray {
  readonly offset: number
  readonly sets: number
  readonly setWords: number
  /** Set number = page number & mask, or 0 when `sets` is no power of two: then {@link startOf} divides. */
  readonly mask: number
  private readonly words: Int32Array
  private readonly isMasked: boolean
  /** 2^32 modulo `sets`: the weight of the upper half of a page number. */
  private readonly upperWeight: number

  constructor(words: Int32Array, offset: number, config: TlbArrayConfig) {
    this.words = words
    this.offset = offset
    this.sets = config.entries / config.ways
    assert(Number.isInteger(this.sets) && this.sets > 0, `TLB of ${config.entries} entries, ${config.ways} ways`)
    this.setWords = config.ways * ENTRY_WORDS
    this.isMasked = Number.isInteger(Math.log2(this.sets))
    this.mask = this.isMasked ? this.sets - 1 : 0
    this.upperWeight = 2 ** 32 % this.sets
  }

  /** First word of the set for a page number. */
  startOf(pageHi: number, pageLo: number): number {
    if (this.isMasked) return this.offset + (pageLo & this.mask) * this.setWords
    const sets = this.sets
    const set = ((pageLo >>> 0) % sets + ((pageHi * this.upperWeight) % sets)) % sets
    return this.offset + set * this.setWords
  }

  /** The entry with this key, or its global twin, in the set at `start`; -1 when there is none. No side effects. */
  find(start: number, keyLo: number, keyHi: number): number {
    const words = this.words
    const end = start + this.setWords
    for (let at = start; at < end; at += ENTRY_WORDS) {
      if (words[at] === keyLo) {
        const found = words[at + ENTRY_KEY_HI]!
        if (found === keyHi || found === ((keyHi & ~KEY_PCID_MASK) | KEY_GLOBAL)) return at
      }
    }
    return -1
  }

  /** Moves the entry to the first way: it is the youngest now. */
  touch(start: number, at: number): void {
    if (at === start) return
    const words = this.words
    const keyLo = words[at]!
    const keyHi = words[at + ENTRY_KEY_HI]!
    const pfn = words[at + ENTRY_PFN]!
    const attr = words[at + ENTRY_ATTR]!
    this.age(start, at)
    words[start] = keyLo
    words[start + ENTRY_KEY_HI] = keyHi
    words[start + ENTRY_PFN] = pfn
    words[start + ENTRY_ATTR] = attr
  }

  /** Adds a translation that is known to be absent, as the youngest of its set; the oldest falls out. */
  insert(start: number, keyLo: number, keyHi: number, pfn: number, attr: number): void {
    const words = this.words
    this.age(start, start + this.setWords - ENTRY_WORDS)
    words[start] = keyLo
    words[start + ENTRY_KEY_HI] = keyHi
    words[start + ENTRY_PFN] = pfn
    words[start + ENTRY_ATTR] = attr
  }

  /** Empties one way; the older ones close up. */
  removeAt(start: number, at: number): void {
    const end = start + this.setWords
    this.words.copyWithin(at, at + ENTRY_WORDS, end)
    this.words.fill(0, end - ENTRY_WORDS, end)
  }

  clear(): void {
    this.words.fill(0, this.offset, this.offset + this.sets * this.setWords)
  }

  /** Drops every entry whose second word, under `mask`, is `value`. Returns the second words that remain, or-ed. */
  removeMatching(mask: number, value: number): number {
    const words = this.words
    const end = this.offset + this.sets * this.setWords
    let remaining = 0
    for (let start = this.offset; start < end; start += this.setWords) {
      let to = start
      for (let at = start; at < start + this.setWords; at += ENTRY_WORDS) {
        const keyHi = words[at + ENTRY_KEY_HI]!
        if (keyHi === 0) break
        if ((keyHi & mask) === value) continue
        remaining |= keyHi
        if (to !== at) words.copyWithin(to, at, at + ENTRY_WORDS)
        to += ENTRY_WORDS
      }
      for (let at = to; at < start + this.setWords && words[at + ENTRY_KEY_HI] !== 0; at += ENTRY_WORDS) {
        words.fill(0, at, at + ENTRY_WORDS)
      }
    }
    return remaining
  }

  /** Visits the word index of every valid entry, sets ascending, youngest first. */
  forEach(visit: (at: number) => void): void {
    const end = this.offset + this.sets * this.setWords
    for (let at = this.offset; at < end; at += ENTRY_WORDS) {
      if (this.words[at + ENTRY_KEY_HI] !== 0) visit(at)
    }
  }

  /** Moves the entries [start, at) one way back, over the one at `at`. */
  private age(start: number, at: number): void {
    const words = this.words
    if (at - start > LOOP_WORDS_MAX) {
      words.copyWithin(start + ENTRY_WORDS, start, at)
      return
    }
    // An entry at a time is faster than a word at a time.
    for (let to = at; to > start; to -= ENTRY_WORDS) {
      const from = to - ENTRY_WORDS
      words[to] = words[from]!
      words[to + ENTRY_KEY_HI] = words[from + ENTRY_KEY_HI]!
      words[to + ENTRY_PFN] = words[from + ENTRY_PFN]!
      words[to + ENTRY_ATTR] = words[from + ENTRY_ATTR]!
    }
  }
}
