// Translation lookaside buffers: one level, up to three page-size classes over its arrays. Each
// class has its own page number and may have an array of its own (tlb-array.ts). When a lookup
// happens and what a hit permits is decided in mmu.ts.

import type { TlbLevelConfig } from './config.js'
import * as geometry from './geometry.js'
import type { Geometry } from './geometry.js'
import * as state from './mmu-state.js'
import type { ClassShape } from './mmu-state.js'
import { TlbArray } from './tlb-array.js'

export { classShapes, type ClassShape } from './mmu-state.js'
export { TlbArray } from './tlb-array.js'

// Bound to constants of this module: the compiler folds those, and loads imported ones each time.
const {
  arrayWords, CLASS_BASE, CLASS_GIANT, CLASS_LARGE, classShapes, ENTRY_KEY_HI, ENTRY_KEY_LO, ENTRY_WORDS,
  KEY_CLASS_SHIFT, KEY_GLOBAL, KEY_PCID_MASK, KEY_VALID, LIVE_GLOBAL, WORD_EMPTY_SET, WORD_LIVE,
} = state
const { bitsFrom } = geometry

/** Stands for a class that the geometry or the level lacks: no entry is ever in its array. */
const NO_CLASS: ClassShape = { shift: 31, loMask: 0, hiMask: 0, insideMask: 0, level: 0 }
const LIVE_BASE = 1 << CLASS_BASE
/** From the bit of a key to LIVE_GLOBAL. */
const LIVE_GLOBAL_SHIFT = Math.log2(KEY_GLOBAL / LIVE_GLOBAL)
const LIVE_LARGER = (1 << CLASS_LARGE) | (1 << CLASS_GIANT)

export class TlbLevel {
  /** The array that holds base pages, or an array that never hits. */
  declare readonly base: TlbArray
  /** False when base pages have no array here. */
  declare readonly hasBase: boolean
  /** Result of the last {@link find} that returned an entry: its array, the start of its set. */
  declare private $foundArray: TlbArray
  private $foundStart = 0
  declare private readonly words: Int32Array
  declare private readonly liveWord: number
  declare private readonly arrays: readonly TlbArray[]
  declare private readonly byClass: readonly TlbArray[]
  declare private readonly isCached: readonly boolean[]
  declare private readonly shapes: readonly ClassShape[]
  declare private readonly baseShift: number
  declare private readonly baseLoMask: number
  declare private readonly baseHiMask: number

  /** `ordinal`: which of the live words is this level's: 0 and 1 first level, 2 second. */
  constructor(words: Int32Array, offset: number, config: TlbLevelConfig, g: Geometry, ordinal: number) {
    this.words = words
    this.liveWord = WORD_LIVE + ordinal
    let at = offset
    this.arrays = config.arrays.map((array) => {
      const made = new TlbArray(words, at, array, ordinal === 2)
      at += arrayWords(array)
      return made
    })
    const none = new TlbArray(words, WORD_EMPTY_SET, { entries: 1, ways: 1 }, false)
    const shapes = classShapes(g)
    const indices = [config.base, config.large, config.giant]
    this.isCached = indices.map((index, cls) => shapes[cls] !== undefined && this.arrays[index] !== undefined)
    this.shapes = indices.map((_, cls) => shapes[cls] ?? NO_CLASS)
    this.byClass = indices.map((index, cls) => (this.isCached[cls] ? this.arrays[index]! : none))
    this.base = this.byClass[CLASS_BASE]!
    this.hasBase = this.isCached[CLASS_BASE]!
    this.baseShift = this.shapes[CLASS_BASE]!.shift
    this.baseLoMask = this.shapes[CLASS_BASE]!.loMask | 0
    this.baseHiMask = this.shapes[CLASS_BASE]!.hiMask | 0
    this.$foundArray = none
  }

  /** The array for pages of class `cls`; undefined when the level keeps none. */
  arrayOf(cls: number): TlbArray | undefined {
    return this.isCached[cls] ? this.byClass[cls] : undefined
  }

  /** True when no larger page is in this level. */
  onlyBasePages(): boolean {
    return (this.words[this.liveWord]! & LIVE_LARGER) === 0
  }

  /** The entry that translates this address under `tag`, of any size; -1 when there is none. No side effects. */
  find(hi: number, lo: number, tag: number): number {
    const live = this.words[this.liveWord]!
    if ((live & (1 << CLASS_BASE)) !== 0) {
      const shift = this.baseShift
      const pageLo = ((lo >>> shift) | (hi << (32 - shift))) & this.baseLoMask
      const pageHi = (hi >>> shift) & this.baseHiMask
      const array = this.base
      const start = array.startOf(pageHi, pageLo)
      const at = array.find(start, pageLo, pageHi | tag)
      if (at >= 0) {
        this.$foundArray = array
        this.$foundStart = start
        return at
      }
    }
    return (live & LIVE_LARGER) === 0 ? -1 : this.findLarger(hi, lo, tag, live)
  }

  /** Makes the entry that {@link find} just returned the youngest of its set. */
  touchFound(at: number): void {
    this.$foundArray.touch(this.$foundStart, at)
  }

  /** Inserts a translation that is known to be absent; a size without an array is not kept. */
  fill(cls: number, hi: number, lo: number, tag: number, pfn: number, attr: number): void {
    if (cls !== CLASS_BASE) {
      this.fillLarger(cls, hi, lo, tag, pfn, attr)
    } else if (this.hasBase === true) {
      const shift = this.baseShift
      const pageLo = ((lo >>> shift) | (hi << (32 - shift))) & this.baseLoMask
      const pageHi = (hi >>> shift) & this.baseHiMask
      const base = this.base
      base.insert(base.startOf(pageHi, pageLo), pageLo, pageHi | tag, pfn, attr)
      this.noteBase(tag)
    }
  }

  /** What must follow an insertion into {@link base}. */
  noteBase(keyHi: number): void {
    this.words[this.liveWord]! |= LIVE_BASE | ((keyHi & KEY_GLOBAL) >> LIVE_GLOBAL_SHIFT)
  }

  /** Drops what translates this address, whatever its size: entries tagged `tag`, and global ones if asked. */
  dropPage(hi: number, lo: number, tag: number, globals: boolean): void {
    const words = this.words
    if (words[this.liveWord] === 0) return
    for (let cls = CLASS_BASE; cls <= CLASS_GIANT; cls++) {
      if (!this.isCached[cls]) continue
      const array = this.byClass[cls]!
      const shape = this.shapes[cls]!
      const pageLo = bitsFrom(hi, lo, shape.shift) & shape.loMask
      const pageHi = (hi >>> shape.shift) & shape.hiMask
      const keyHi = pageHi | (cls << KEY_CLASS_SHIFT) | tag
      const globalHi = (keyHi & ~KEY_PCID_MASK) | KEY_GLOBAL
      const start = array.startOf(pageHi, pageLo)
      // From the back: what follows a removed entry closes up.
      for (let at = start + array.setWords - ENTRY_WORDS; at >= start; at -= ENTRY_WORDS) {
        if (words[at + ENTRY_KEY_LO] !== pageLo) continue
        const found = words[at + ENTRY_KEY_HI]!
        if (found === keyHi || (globals && found === globalHi)) array.removeAt(start, at)
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
    // Which classes remain is not known exactly any more; a bit too many costs a lookup and decides nothing.
    this.words[this.liveWord] = remaining === 0 ? 0 : live & ((remaining & KEY_GLOBAL) === 0 ? ~LIVE_GLOBAL : -1)
  }

  /** Visits the word index of every valid entry, arrays in order, sets ascending, youngest first. */
  forEach(visit: (at: number) => void): void {
    if (this.words[this.liveWord] === 0) return
    for (const array of this.arrays) array.forEach(visit)
  }

  private fillLarger(cls: number, hi: number, lo: number, tag: number, pfn: number, attr: number): void {
    if (!this.isCached[cls]) return
    const array = this.byClass[cls]!
    const shape = this.shapes[cls]!
    const pageLo = bitsFrom(hi, lo, shape.shift) & shape.loMask
    const pageHi = (hi >>> shape.shift) & shape.hiMask
    const keyHi = pageHi | (cls << KEY_CLASS_SHIFT) | tag
    array.insert(array.startOf(pageHi, pageLo), pageLo, keyHi, pfn, attr)
    this.words[this.liveWord]! |= (1 << cls) | ((tag & KEY_GLOBAL) === 0 ? 0 : LIVE_GLOBAL)
  }

  private findLarger(hi: number, lo: number, tag: number, live: number): number {
    for (let cls = CLASS_LARGE; cls <= CLASS_GIANT; cls++) {
      if ((live & (1 << cls)) === 0) continue
      const array = this.byClass[cls]!
      const shape = this.shapes[cls]!
      const pageLo = bitsFrom(hi, lo, shape.shift) & shape.loMask
      const pageHi = (hi >>> shape.shift) & shape.hiMask
      const start = array.startOf(pageHi, pageLo)
      const at = array.find(start, pageLo, pageHi | (cls << KEY_CLASS_SHIFT) | tag)
      if (at >= 0) {
        this.$foundArray = array
        this.$foundStart = start
        return at
      }
    }
    return -1
  }
}
