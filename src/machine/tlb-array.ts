// One set-associative array of four-word entries with true LRU per set: the building block of TLBs
// and of paging-structure caches. When a lookup happens and what a hit permits is decided above.
//
//   | entries, set by set, ways side by side | one stamp per entry | clock | hints |
//
// A stamp is the clock at the time the entry became the youngest; an empty way has stamp 0, so
// the way with the smallest stamp is the victim. In a `youngestFirst` array the youngest entry of
// a set is moved to the set's first way: then most hits are settled by looking there, and they
// change nothing. Hints exist in large fully associative arrays: by a hash of the key, where the
// entry was last seen. They save a scan and decide nothing.

import type { TlbArrayConfig } from './config.js'
import {
  ENTRY_ATTR, ENTRY_KEY_HI, ENTRY_PFN, ENTRY_WORDS, hintCount, KEY_GLOBAL, KEY_PCID_MASK,
} from './mmu-state.js'
import { assert } from '../base/assert.js'

/** The clock is renumbered before it could pass this. */
const CLOCK_MAX = 2 ** 31 - 1

/** `start` below is the first word of a set, `at` the first word of an entry. */
export class TlbArray {
  readonly offset: number
  readonly sets: number
  readonly setWords: number
  /** Set number = page number & mask, or 0 when `sets` is no power of two: then {@link startOf} divides. */
  readonly mask: number
  private readonly words: Int32Array
  private readonly ways: number
  private readonly youngestFirst: boolean
  /** 2^32 modulo `sets`: the weight of the upper half of a page number. */
  private readonly upperWeight: number
  private readonly end: number
  private readonly stamps: number
  private readonly clock: number
  private readonly hints: number
  /** Number of hints less one; 0 when there are none. */
  private readonly hintMask: number

  constructor(words: Int32Array, offset: number, config: TlbArrayConfig, youngestFirst = true) {
    this.words = words
    this.offset = offset
    this.ways = config.ways
    this.youngestFirst = youngestFirst
    this.sets = config.entries / config.ways
    assert(Number.isInteger(this.sets) && this.sets > 0, `TLB of ${config.entries} entries, ${config.ways} ways`)
    this.setWords = config.ways * ENTRY_WORDS
    this.mask = Number.isInteger(Math.log2(this.sets)) ? this.sets - 1 : 0
    this.upperWeight = 2 ** 32 % this.sets
    this.end = offset + config.entries * ENTRY_WORDS
    this.stamps = this.end
    this.clock = this.stamps + config.entries
    this.hints = this.clock + 1
    const hints = hintCount(config)
    this.hintMask = hints > 0 ? hints - 1 : 0
  }

  /** First word of the set for a page number. */
  startOf(pageHi: number, pageLo: number): number {
    if (this.mask !== 0 || this.sets === 1) return this.offset + (pageLo & this.mask) * this.setWords
    const sets = this.sets
    const set = ((pageLo >>> 0) % sets + ((pageHi * this.upperWeight) % sets)) % sets
    return this.offset + set * this.setWords
  }

  /** The entry with this key, or its global twin, in the set at `start`; -1 when there is none. No side effects. */
  find(start: number, keyLo: number, keyHi: number): number {
    const words = this.words
    const globalHi = (keyHi & ~KEY_PCID_MASK) | KEY_GLOBAL
    if (this.hintMask !== 0) {
      const at = start + words[this.hintOf(keyLo)]!
      if (words[at] === keyLo) {
        const found = words[at + ENTRY_KEY_HI]!
        if (found === keyHi || found === globalHi) return at
      }
    }
    const end = start + this.setWords
    for (let at = start; at < end; at += ENTRY_WORDS) {
      if (words[at] === keyLo) {
        const found = words[at + ENTRY_KEY_HI]!
        if (found === keyHi || found === globalHi) return at
      }
    }
    return -1
  }

  /** Makes the entry the youngest of its set. It may move. */
  touch(start: number, at: number): void {
    const words = this.words
    if (!this.youngestFirst) {
      words[this.stampOf(at)] = this.tick()
      return
    }
    if (at === start) return
    const keyLo = words[at]!
    const keyHi = words[at + ENTRY_KEY_HI]!
    const pfn = words[at + ENTRY_PFN]!
    const attr = words[at + ENTRY_ATTR]!
    const now = this.tick()
    this.moveEntry(at, start)
    this.put(start, keyLo, keyHi, pfn, attr, now)
  }

  /** Adds a translation that is known to be absent, as the youngest of its set; the oldest falls out. */
  insert(start: number, keyLo: number, keyHi: number, pfn: number, attr: number): void {
    const now = this.tick()
    if (this.youngestFirst && this.ways > 1 && this.words[this.stampOf(start)] !== 0) {
      this.moveEntry(this.oldest(start + ENTRY_WORDS, start + this.setWords), start)
      this.put(start, keyLo, keyHi, pfn, attr, now)
    } else {
      const at = this.youngestFirst ? start : this.oldest(start, start + this.setWords)
      this.put(at, keyLo, keyHi, pfn, attr, now)
    }
  }

  /** Empties one way. */
  removeAt(at: number): void {
    this.words[at + ENTRY_KEY_HI] = 0
    this.words[this.stampOf(at)] = 0
  }

  clear(): void {
    this.words.fill(0, this.offset, this.hints + (this.hintMask === 0 ? 0 : this.hintMask + 1))
  }

  /** Drops every entry whose second word, under `mask`, is `value`. Returns the second words that remain, or-ed. */
  removeMatching(mask: number, value: number): number {
    const words = this.words
    let remaining = 0
    for (let at = this.offset; at < this.end; at += ENTRY_WORDS) {
      const keyHi = words[at + ENTRY_KEY_HI]!
      if (keyHi === 0) continue
      if ((keyHi & mask) === value) this.removeAt(at)
      else remaining |= keyHi
    }
    return remaining
  }

  /** Visits the word index of every valid entry, sets ascending, youngest first. For dumps: it allocates. */
  forEach(visit: (at: number) => void): void {
    for (let start = this.offset; start < this.end; start += this.setWords) {
      for (const at of this.byAge(start)) {
        if (this.words[at + ENTRY_KEY_HI] !== 0) visit(at)
      }
    }
  }

  private stampOf(at: number): number {
    return this.stamps + ((at - this.offset) >> 2)
  }

  private hintOf(keyLo: number): number {
    return this.hints + ((keyLo ^ (keyLo >>> 9)) & this.hintMask)
  }

  /** The way with the smallest stamp among those in [from, end). */
  private oldest(from: number, end: number): number {
    const words = this.words
    const first = this.stampOf(from)
    const last = this.stampOf(end)
    let best = first
    let bestStamp = words[first]!
    for (let stamp = first + 1; stamp < last; stamp++) {
      const other = words[stamp]!
      if (other < bestStamp) {
        best = stamp
        bestStamp = other
      }
    }
    return this.offset + (best - this.stamps) * ENTRY_WORDS
  }

  private put(at: number, keyLo: number, keyHi: number, pfn: number, attr: number, stamp: number): void {
    const words = this.words
    words[at] = keyLo
    words[at + ENTRY_KEY_HI] = keyHi
    words[at + ENTRY_PFN] = pfn
    words[at + ENTRY_ATTR] = attr
    words[this.stampOf(at)] = stamp
    if (this.hintMask !== 0) words[this.hintOf(keyLo)] = at - this.offset
  }

  private moveEntry(to: number, from: number): void {
    const words = this.words
    words[to] = words[from]!
    words[to + ENTRY_KEY_HI] = words[from + ENTRY_KEY_HI]!
    words[to + ENTRY_PFN] = words[from + ENTRY_PFN]!
    words[to + ENTRY_ATTR] = words[from + ENTRY_ATTR]!
    words[this.stampOf(to)] = words[this.stampOf(from)]!
    if (this.hintMask !== 0) words[this.hintOf(words[to]!)] = to - this.offset
  }

  private tick(): number {
    const now = this.words[this.clock]! + 1
    if (now === CLOCK_MAX) return this.renumber()
    this.words[this.clock] = now
    return now
  }

  /** Replaces all stamps by small ones in the same order; returns the next clock. Once in two thousand million ticks. */
  private renumber(): number {
    for (let start = this.offset; start < this.end; start += this.setWords) {
      this.byAge(start).forEach((at, age) => {
        if (this.words[this.stampOf(at)] !== 0) this.words[this.stampOf(at)] = this.ways - age
      })
    }
    this.words[this.clock] = this.ways + 1
    return this.ways + 1
  }

  /** The ways of a set, youngest first, empty ones last. */
  private byAge(start: number): number[] {
    const ways = Array.from({ length: this.ways }, (_, way) => start + way * ENTRY_WORDS)
    return ways.sort((a, b) => this.words[this.stampOf(b)]! - this.words[this.stampOf(a)]!)
  }
}
