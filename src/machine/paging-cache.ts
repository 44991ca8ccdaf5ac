// Paging-structure caches: copies of upper-level entries, so that a walk can start low in the
// tree (SDM vol. 3, 4.10.3). An entry says: addresses with these upper bits, under this PCID,
// continue in that table, with these restrictions collected on the way. That is why a freed
// table needs a flush even on CPUs that hold no translation from it.
//
// One small fully associative array per level (tlb-array.ts), true LRU. The level of an entry is
// the level of the table entry that it copies.

import * as geometry from './geometry.js'
import type { Geometry } from './geometry.js'
import type { MachineConfig } from './config.js'
import * as state from './mmu-state.js'
import { TlbArray } from './tlb-array.js'

// Bound to constants of this module: the compiler folds those, and loads imported ones each time.
const { arrayWords, ENTRY_ATTR, ENTRY_PFN, KEY_PCID_MASK, KEY_VALID, pagingCacheSizes, WORD_EMPTY_SET } = state
const { bitsFrom } = geometry

export class PagingCache {
  /** Levels with a cache, the lowest first: the order of a search for the longest prefix. */
  declare readonly levels: readonly number[]
  declare private readonly words: Int32Array
  /** By level; levels without a cache share one that is never filled. */
  declare private readonly arrays: readonly TlbArray[]
  declare private readonly sizes: readonly number[]
  declare private readonly shift: Int32Array
  declare private readonly hiMask: Int32Array

  constructor(words: Int32Array, offset: number, m: MachineConfig, g: Geometry) {
    this.words = words
    this.sizes = pagingCacheSizes(m, g)
    this.shift = Int32Array.from(g.levels, (shape) => shape.shift)
    this.hiMask = Int32Array.from(g.levels, (shape) => Math.max(1, 2 ** (g.vaBits - shape.shift - 32)) - 1)
    let at = offset
    this.arrays = this.sizes.map((size) => {
      if (size === 0) return new TlbArray(words, WORD_EMPTY_SET, { entries: 1, ways: 1 }, false)
      const config = { entries: size, ways: size }
      const array = new TlbArray(words, at, config, true)
      at += arrayWords(config)
      return array
    })
    this.levels = this.sizes.map((_, level) => level).filter((level) => this.sizes[level]! > 0).reverse()
  }

  /** Of a level among {@link levels}: where its entries are, and which upper address bits their keys have. */
  arrayOf(level: number): { array: TlbArray; hiMask: number } {
    return { array: this.arrays[level]!, hiMask: this.shift[level]! < 32 ? this.hiMask[level]! : 0 }
  }

  /** The entry of `level` for this address under `tag`; -1 when there is none. No side effects. */
  find(level: number, hi: number, lo: number, tag: number): number {
    const array = this.arrays[level]!
    return array.find(array.offset, bitsFrom(hi, lo, this.shift[level]!) | 0, this.upperKey(level, hi) | tag)
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
    const array = this.arrays[level]!
    array.touch(array.offset, at)
  }

  /** Caches an entry that is known to be absent; nothing happens at a level without a cache. */
  insert(level: number, hi: number, lo: number, tag: number, pfn: number, restrictions: number): void {
    if (this.sizes[level] === 0) return
    const array = this.arrays[level]!
    const keyLo = bitsFrom(hi, lo, this.shift[level]!) | 0
    array.insert(array.offset, keyLo, this.upperKey(level, hi) | tag, pfn, restrictions)
  }

  /** Drops the entries that a walk of this address would use. */
  dropAddress(hi: number, lo: number, tag: number): void {
    for (const level of this.levels) {
      const at = this.find(level, hi, lo, tag)
      const array = this.arrays[level]!
      if (at >= 0) array.removeAt(array.offset, at)
    }
  }

  /** Drops all entries of one PCID, whatever their address. */
  dropTag(tag: number): void {
    const mask = KEY_VALID | KEY_PCID_MASK
    for (const level of this.levels) this.arrays[level]!.removeMatching(mask, tag & mask)
  }

  clear(): void {
    for (const level of this.levels) this.arrays[level]!.clear()
  }

  /** Visits level and word index of every valid entry, the top level first, youngest first. */
  forEach(visit: (level: number, at: number) => void): void {
    for (const level of this.levels.toReversed()) this.arrays[level]!.forEach((at) => visit(level, at))
  }

  private upperKey(level: number, hi: number): number {
    const shift = this.shift[level]!
    return shift < 32 ? (hi >>> shift) & this.hiMask[level]! : 0
  }
}
