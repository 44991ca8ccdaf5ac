// One set-associative array of four-word entries with true LRU per set: the building block of TLBs
// and of paging-structure caches. When a lookup happens and what a hit permits is decided above.
//
// The order of use is kept in one of two ways, which answer alike. *Moved*: the ways of a set are
// stored youngest first. So a hit in the first way is one compare and changes nothing, a hit
// further back moves the entry to the front, and the victim is the last way. Entries are found
// where programs look again soon: near the front. *Stamped*: entries stay where they are, and a
// stamp for each says when it was used; the victim has the smallest. That suits a second level,
// whose next hit may be in any way.
//
//   | sets of entries, four words each | a stamp for each entry, 0 when empty | clock | 0 to 3 spare |
//
// Valid entries are always in front of empty ones. The clock is the stamp given last; when stamps
// run out, every set is numbered anew in its order.

import type { TlbArrayConfig } from './config.js'
import * as state from './mmu-state.js'
import { fail } from '../base/assert.js'

// Bound to constants of this module: the compiler folds those, and loads imported ones each time.
const { ENTRY_ATTR, ENTRY_KEY_HI, ENTRY_PFN, ENTRY_WORDS, KEY_GLOBAL, KEY_PCID_MASK, STAMP_LAST, STAMP_ONE } = state

/** Moving more words than this is left to copyWithin: a call costs as much as a short loop. */
const LOOP_WORDS_MAX = 16 * ENTRY_WORDS
const ENTRY_PAIRS = ENTRY_WORDS / 2
const ENTRY_SHIFT = 2
/** Sets with more ways are always moved. */
const STAMPED_WAYS_MAX = STAMP_ONE

/** `start` below is the first word of a set, `at` the first word of an entry. */
export class TlbArray {
  declare readonly offset: number
  declare readonly sets: number
  declare readonly setWords: number
  /** Set number = page number & mask, or 0 when `sets` is no power of two: then {@link startOf} divides. */
  declare readonly mask: number
  declare private readonly words: Int32Array
  /**
   * The same memory, two words at a time, to move entries of a moved array. No pair there is a NaN, whose bits might
   * change on the way: bits 29 and 30 of its upper word, a key or an attribute, are 0.
   */
  declare private readonly pairs: Float64Array
  /** False: moved. */
  declare readonly isStamped: boolean
  /** Word of the first stamp, and of the clock. */
  declare readonly stamps: number
  declare readonly clock: number
  declare readonly ways: number
  /** `sets` when it is no power of two, else 0. */
  declare readonly divisor: number
  /** 2^32 modulo `sets`: the weight of the upper half of a page number. */
  declare private readonly upperWeight: number

  constructor(words: Int32Array, offset: number, config: TlbArrayConfig, stamped: boolean) {
    this.words = words
    this.pairs = new Float64Array(words.buffer, words.byteOffset, words.length >> 1)
    this.offset = offset
    this.sets = config.entries / config.ways
    if (!Number.isInteger(this.sets) || this.sets <= 0) fail(`TLB of ${config.entries} entries, ${config.ways} ways`)
    this.ways = config.ways
    this.setWords = config.ways * ENTRY_WORDS
    this.isStamped = stamped && config.ways <= STAMPED_WAYS_MAX
    this.stamps = offset + config.entries * ENTRY_WORDS
    this.clock = this.stamps + config.entries
    const isPowerOfTwo = (this.sets & (this.sets - 1)) === 0
    this.mask = isPowerOfTwo ? this.sets - 1 : 0
    this.divisor = isPowerOfTwo ? 0 : this.sets
    this.upperWeight = (2 ** 32 % this.sets) | 0
  }

  /** First word of the set for a page number. */
  startOf(pageHi: number, pageLo: number): number {
    if (this.divisor !== 0) return this.startByDivision(pageHi, pageLo)
    return (this.offset + (pageLo & this.mask) * this.setWords) | 0
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

  /** Makes the entry the youngest of its set. In a moved array it is now the one at `start`. */
  touch(start: number, at: number): void {
    if (this.isStamped) this.stamp(at)
    else this.moveToFront(start, at)
  }

  /** {@link touch} in a moved array. */
  moveToFront(start: number, at: number): void {
    const pairs = this.pairs
    const key = pairs[at >> 1]!
    const page = pairs[(at >> 1) + 1]!
    this.age(start, at)
    pairs[start >> 1] = key
    pairs[(start >> 1) + 1] = page
  }

  /** {@link touch} in a stamped array. */
  stamp(at: number): void {
    const words = this.words
    const clock = this.clock
    if (words[clock] === STAMP_LAST) this.numberAnew()
    words[this.stampOf(at)] = words[clock]! += STAMP_ONE
  }

  /** Adds a translation that is known to be absent, as the youngest of its set; the oldest falls out. */
  insert(start: number, keyLo: number, keyHi: number, pfn: number, attr: number): void {
    const words = this.words
    const at = this.isStamped ? this.oldest(start) : start
    if (this.isStamped) this.stamp(at)
    else this.age(start, (start + this.setWords - ENTRY_WORDS) | 0)
    words[at] = keyLo
    words[at + ENTRY_KEY_HI] = keyHi
    words[at + ENTRY_PFN] = pfn
    words[at + ENTRY_ATTR] = attr
  }

  /** {@link insert} in a moved array, of the entry at `from` in another array over the same words. */
  insertCopy(start: number, from: number): void {
    const pairs = this.pairs
    this.age(start, (start + this.setWords - ENTRY_WORDS) | 0)
    pairs[start >> 1] = pairs[from >> 1]!
    pairs[(start >> 1) + 1] = pairs[(from >> 1) + 1]!
  }

  /** Empties one way; what is behind it closes up. */
  removeAt(start: number, at: number): void {
    const words = this.words
    const last = start + this.setWords - ENTRY_WORDS
    words.copyWithin(at, at + ENTRY_WORDS, last + ENTRY_WORDS)
    words.fill(0, last, last + ENTRY_WORDS)
    words.copyWithin(this.stampOf(at), this.stampOf(at) + 1, this.stampOf(last) + 1)
    words[this.stampOf(last)] = 0
  }

  clear(): void {
    this.words.fill(0, this.offset, this.clock + 1)
  }

  /** Drops every entry whose second word, under `mask`, is `value`. Returns the second words that remain, or-ed. */
  removeMatching(mask: number, value: number): number {
    const words = this.words
    let remaining = 0
    for (let start = this.offset; start < this.stamps; start += this.setWords) {
      const end = start + this.setWords
      let to = start
      for (let at = start; at < end; at += ENTRY_WORDS) {
        const keyHi = words[at + ENTRY_KEY_HI]!
        if (keyHi === 0) break
        if ((keyHi & mask) === value) continue
        remaining |= keyHi
        if (to !== at) {
          words.copyWithin(to, at, at + ENTRY_WORDS)
          words[this.stampOf(to)] = words[this.stampOf(at)]!
        }
        to += ENTRY_WORDS
      }
      for (let at = to; at < end && words[at + ENTRY_KEY_HI] !== 0; at += ENTRY_WORDS) {
        words.fill(0, at, at + ENTRY_WORDS)
        words[this.stampOf(at)] = 0
      }
    }
    return remaining
  }

  /** Visits the word index of every valid entry, sets ascending, youngest first. */
  forEach(visit: (at: number) => void): void {
    const { words, setWords } = this
    for (let start = this.offset; start < this.stamps; start += setWords) {
      if (words[start + ENTRY_KEY_HI] === 0) continue
      const isAlone = setWords === ENTRY_WORDS || words[start + ENTRY_WORDS + ENTRY_KEY_HI] === 0
      if (isAlone) visit(start)
      else for (const at of this.youngestFirst(start)) visit(at)
    }
  }

  /** Word of the stamp of an entry. */
  private stampOf(at: number): number {
    return (this.stamps + ((at - this.offset) >> ENTRY_SHIFT)) | 0
  }

  private startByDivision(pageHi: number, pageLo: number): number {
    const sets = this.divisor
    const set = ((pageLo >>> 0) % sets + ((pageHi * this.upperWeight) % sets)) % sets
    return (this.offset + set * this.setWords) | 0
  }

  /**
   * The way of a stamped set that is empty, or was used longest ago. No branches, since none of them could be
   * predicted: the least of stamps with the way's number in their lower bits.
   */
  private oldest(start: number): number {
    const words = this.words
    const ways = this.ways
    const stamp = this.stampOf(start)
    let least = words[stamp]!
    let way = 1
    for (; way + 3 < ways; way = (way + 4) | 0) {
      const at = (stamp + way) | 0
      const ab = lesser(words[at]! | way, words[at + 1]! | (way + 1))
      const cd = lesser(words[at + 2]! | (way + 2), words[at + 3]! | (way + 3))
      least = lesser(least, lesser(ab, cd))
    }
    for (; way < ways; way = (way + 1) | 0) least = lesser(least, words[stamp + way]! | way)
    return (start + ((least & (STAMP_ONE - 1)) << ENTRY_SHIFT)) | 0
  }

  /** Stamps 1, 2, 3 and so on for the entries of every set, in their order. */
  private numberAnew(): void {
    const words = this.words
    for (let start = this.offset; start < this.stamps; start += this.setWords) {
      this.youngestFirst(start).reverse().forEach((at, rank) => {
        words[this.stampOf(at)] = (rank + 1) * STAMP_ONE
      })
    }
    words[this.clock] = this.ways * STAMP_ONE
  }

  /** The valid entries of a set. */
  private youngestFirst(start: number): number[] {
    const words = this.words
    const found: number[] = []
    for (let at = start; at < start + this.setWords && words[at + ENTRY_KEY_HI] !== 0; at += ENTRY_WORDS) found.push(at)
    return this.isStamped ? found.sort((a, b) => words[this.stampOf(b)]! - words[this.stampOf(a)]!) : found
  }

  /** Moves the entries [start, at) one way back, over the one at `at`. */
  private age(start: number, at: number): void {
    if (at - start > LOOP_WORDS_MAX) return this.ageMany(start, at)
    const pairs = this.pairs
    for (let to = at >> 1; to > start >> 1; to -= ENTRY_PAIRS) {
      pairs[to] = pairs[to - 2]!
      pairs[to + 1] = pairs[to - 1]!
    }
  }

  private ageMany(start: number, at: number): void {
    this.words.copyWithin(start + ENTRY_WORDS, start, at)
  }
}

/** Of two numbers from 0 to 2^31 - 1. */
function lesser(a: number, b: number): number {
  const difference = (a - b) | 0
  return (b + (difference & (difference >> 31))) | 0
}
