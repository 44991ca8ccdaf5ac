// Paging-structure caches: copies of upper-level entries, so that a walk can start low in the
// tree (SDM vol. 3, 4.10.3). An entry says: addresses with these upper bits, under this PCID,
// continue in that table, with these restrictions collected on the way. That is why a freed
// table needs a flush even on CPUs that hold no translation from it.
//
// One small fully associative array per level, true LRU, youngest first, in the entry format of
// mmu-state.ts. The level of an entry is the level of the table entry that it copies.

import { bitsFrom, type Geometry } from './geometry.js'
import type { MachineConfig } from './config.js'
import {
  ENTRY_ATTR, ENTRY_KEY_HI, ENTRY_PFN, ENTRY_WORDS, KEY_PCID_MASK, pagingCacheSizes,
} from './mmu-state.js'

export class PagingCache {
  /** Levels with a cache, the lowest first: the order of a search for the longest prefix. */
  readonly levels: readonly number[]
  private readonly words: Int32Array
  private readonly start: Int32Array
  private readonly end: Int32Array
  private readonly shift: Int32Array
  private readonly hiMask: Int32Array

  constructor(words: Int32Array, offset: number, m: MachineConfig, g: Geometry) {
    this.words = words
    const sizes = pagingCacheSizes(m, g)
    this.start = new Int32Array(sizes.length)
    this.end = new Int32Array(sizes.length)
    this.shift = Int32Array.from(g.levels, (shape) => shape.shift)
    this.hiMask = Int32Array.from(g.levels, (shape) => Math.max(1, 2 ** (g.vaBits - shape.shift - 32)) - 1)
    let at = offset
    sizes.forEach((size, level) => {
      this.start[level] = at
      at += size * ENTRY_WORDS
      this.end[level] = at
    })
    this.levels = sizes.map((_, level) => level).filter((level) => sizes[level]! > 0).reverse()
  }

  /** The entry of `level` for this address under `tag`; -1 when there is none. No side effects. */
  find(level: number, hi: number, lo: number, tag: number): number {
    const words = this.words
    const shift = this.shift[level]!
    const keyLo = bitsFrom(hi, lo, shift) | 0
    const keyHi = ((shift < 32 ? hi >>> shift : 0) & this.hiMask[level]!) | tag
    const end = this.end[level]!
    for (let at = this.start[level]!; at < end; at += ENTRY_WORDS) {
      if (words[at] === keyLo && words[at + ENTRY_KEY_HI] === keyHi) return at
    }
    return -1
  }

  /** Frame of the table where the walk continues. */
  nextTable(at: number): number {
    return this.words[at + ENTRY_PFN]!
  }

  restrictions(at: number): number {
    return this.words[at + ENTRY_ATTR]!
  }

  /** Makes the entry the youngest of its level. */
  touch(level: number, at: number): void {
    const words = this.words
    const start = this.start[level]!
    if (at === start) return
    const keyLo = words[at]!
    const keyHi = words[at + ENTRY_KEY_HI]!
    const pfn = words[at + ENTRY_PFN]!
    const attr = words[at + ENTRY_ATTR]!
    words.copyWithin(start + ENTRY_WORDS, start, at)
    words[start] = keyLo
    words[start + ENTRY_KEY_HI] = keyHi
    words[start + ENTRY_PFN] = pfn
    words[start + ENTRY_ATTR] = attr
  }

  /** Caches an entry that is known to be absent. */
  insert(level: number, hi: number, lo: number, tag: number, pfn: number, restrictions: number): void {
    const start = this.start[level]!
    const end = this.end[level]!
    if (start === end) return
    const words = this.words
    const shift = this.shift[level]!
    words.copyWithin(start + ENTRY_WORDS, start, end - ENTRY_WORDS)
    words[start] = bitsFrom(hi, lo, shift)
    words[start + ENTRY_KEY_HI] = ((shift < 32 ? hi >>> shift : 0) & this.hiMask[level]!) | tag
    words[start + ENTRY_PFN] = pfn
    words[start + ENTRY_ATTR] = restrictions
  }

  /** Drops the entries that a walk of this address would use. */
  dropAddress(hi: number, lo: number, tag: number): void {
    for (const level of this.levels) {
      const at = this.find(level, hi, lo, tag)
      if (at >= 0) this.removeAt(at, this.end[level]!)
    }
  }

  /** Drops all entries of one PCID, whatever their address. */
  dropTag(tag: number): void {
    const words = this.words
    for (const level of this.levels) {
      let to = this.start[level]!
      const end = this.end[level]!
      for (let at = to; at < end; at += ENTRY_WORDS) {
        const keyHi = words[at + ENTRY_KEY_HI]!
        if (keyHi === 0) break
        if ((keyHi & KEY_PCID_MASK) === (tag & KEY_PCID_MASK)) continue
        if (to !== at) words.copyWithin(to, at, at + ENTRY_WORDS)
        to += ENTRY_WORDS
      }
      words.fill(0, to, end)
    }
  }

  clear(): void {
    for (const level of this.levels) this.words.fill(0, this.start[level]!, this.end[level]!)
  }

  /** Visits level and word index of every valid entry, the top level first, youngest first. */
  forEach(visit: (level: number, at: number) => void): void {
    for (const level of this.levels.toReversed()) {
      for (let at = this.start[level]!; at < this.end[level]!; at += ENTRY_WORDS) {
        if (this.words[at + ENTRY_KEY_HI] !== 0) visit(level, at)
      }
    }
  }

  private removeAt(at: number, end: number): void {
    this.words.copyWithin(at, at + ENTRY_WORDS, end)
    this.words.fill(0, end - ENTRY_WORDS, end)
  }
}
