// The three TLBs of one CPU, side by side in the words of its MMU: what is done to all of them at
// once. Which of them an access looks up, and when, is decided in mmu.ts.

import type { TlbConfig } from './config.js'
import type { Geometry } from './geometry.js'
import { ENTRY_ATTR, ENTRY_PFN, tlbLevelWords } from './mmu-state.js'
import { TlbLevel } from './tlb.js'

export type TlbLevelName = 'l1i' | 'l1d' | 'stlb'

export class TlbLevels {
  declare readonly l1i: TlbLevel
  declare readonly l1d: TlbLevel
  declare readonly stlb: TlbLevel
  /** How often entries were to be dropped. Who drops what paging caches hold drops something here as well. */
  drops = 0
  /** First word behind them. */
  declare readonly end: number
  declare private readonly words: Int32Array

  constructor(words: Int32Array, offset: number, config: TlbConfig, g: Geometry) {
    this.words = words
    const l1d = offset + tlbLevelWords(config.l1i)
    const stlb = l1d + tlbLevelWords(config.l1d)
    this.l1i = new TlbLevel(words, offset, config.l1i, g, 0)
    this.l1d = new TlbLevel(words, l1d, config.l1d, g, 1)
    this.stlb = new TlbLevel(words, stlb, config.stlb, g, 2)
    this.end = stlb + tlbLevelWords(config.stlb)
  }

  /** Base pages have an array in every level, and that of the STLB is stamped (tlb-array.ts). */
  get keepBasePages(): boolean {
    return this.l1i.hasBase && this.l1d.hasBase && this.stlb.hasBase && this.stlb.base.isStamped
  }

  /** Gives the entry at `at` another frame and other attributes; its place in the order of use stays. */
  renew(at: number, pfn: number, attr: number): void {
    this.words[at + ENTRY_PFN] = pfn
    this.words[at + ENTRY_ATTR] = attr
  }

  /** Drops what translates this address, whatever its size: entries tagged `tag`, and global ones if asked. */
  dropPage(hi: number, lo: number, tag: number, globals: boolean): void {
    this.drops += 1
    this.l1i.dropPage(hi, lo, tag, globals)
    this.l1d.dropPage(hi, lo, tag, globals)
    this.stlb.dropPage(hi, lo, tag, globals)
  }

  /** Drops the entries that are not global: of the PCID in `tag`, or of all PCIDs when `tag` is undefined. */
  dropNonGlobal(tag: number | undefined): void {
    this.drops += 1
    this.l1i.dropNonGlobal(tag)
    this.l1d.dropNonGlobal(tag)
    this.stlb.dropNonGlobal(tag)
  }

  clear(): void {
    this.drops += 1
    this.l1i.clear()
    this.l1d.clear()
    this.stlb.clear()
  }

  /** Visits every valid entry: sets ascending, youngest first. */
  forEach(visit: (level: TlbLevelName, at: number) => void): void {
    this.l1i.forEach((at) => visit('l1i', at))
    this.l1d.forEach((at) => visit('l1d', at))
    this.stlb.forEach((at) => visit('stlb', at))
  }
}
