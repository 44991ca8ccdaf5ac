// Entries in words, as dumps and stories print them; also those that software alone understands.

import {
  describeEntry, entryNx, entryPresent,
  PAGE_ACCESSED, PAGE_DIRTY, PAGE_GLOBAL, PAGE_PCD, PAGE_PWT, PAGE_RW, PAGE_SAVED_DIRTY_HI,
  PAGE_USER,
} from '../machine/entry.js'
import type { KernelState } from '../kernel/state.js'
import { describeSwapEntry, isMigrationEntry, isSwapPte } from '../kernel/reclaim/swap-entry.js'

/** One entry: `pfn 0x00042  P W U A`, `none`, `swap slot 12`. */
export function describeAnyEntry(k: KernelState, lo: number, hi: number, level: number): string {
  return isSwapPte(lo, hi) ? describeSwapEntry(lo, hi) : describeEntry(lo, hi, level, k.geometry.pageShift)
}

/** What a leaf permits and remembers, without P: `W U A D NX`. */
export function leafWords(lo: number, hi: number): string {
  if (isSwapPte(lo, hi)) return isMigrationEntry(lo, hi) ? 'migrating' : 'swapped out'
  const isPresent = entryPresent(lo)
  const words: readonly (readonly [boolean, string])[] = [
    [(lo & PAGE_RW) !== 0, 'W'], [(lo & PAGE_USER) !== 0, 'U'], [(lo & PAGE_PWT) !== 0, 'PWT'],
    [(lo & PAGE_PCD) !== 0, 'PCD'], [(lo & PAGE_ACCESSED) !== 0, 'A'], [(lo & PAGE_DIRTY) !== 0, 'D'],
    [(lo & PAGE_GLOBAL) !== 0, isPresent ? 'G' : 'PROTNONE'], [(hi & PAGE_SAVED_DIRTY_HI) !== 0, 'saved-dirty'],
    [entryNx(hi), 'NX'],
  ]
  return words.filter(([isSet]) => isSet).map(([, word]) => word).join(' ')
}
