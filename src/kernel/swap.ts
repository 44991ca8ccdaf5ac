// The swap area: slots with reference counts (swap_map), what is stored in them, and the swap cache,
// which says where a page of a slot is in memory while it is being written or read, or stayed there.
//
// Slot 0 holds the header, as on a real device, so no entry for a page is ever zero.

import { assert } from '../base/assert.js'
import type { KernelState } from './state.js'

export interface SwapArea {
  /** Slots for pages are 1 to slots - 1; 0: there is no swap. */
  readonly slots: number
  /** Entries that name the slot, by slot (swap_map). The swap cache is counted apart (SWAP_HAS_CACHE). */
  readonly counts: Int32Array
  /** Frame that holds the page of a slot, and the other way round. */
  readonly cache: Map<number, number>
  readonly slotOf: Map<number, number>
  /** What was written to the device, by slot. */
  readonly storage: Map<number, Int32Array>
  /** Slots of which neither an entry nor the cache knows. */
  freeSlots: number
  /** Where the search for a free slot begins (lowest_bit). */
  lowestFree: number
}

/** swapon() of a device with room for `pages` pages, its header included. */
export function makeSwapArea(pages: number): SwapArea {
  return {
    slots: pages, counts: new Int32Array(pages), cache: new Map(), slotOf: new Map(), storage: new Map(),
    freeSlots: Math.max(0, pages - 1), lowestFree: 1,
  }
}

/** swap_duplicate(): one more entry names the slot. */
export function swapDuplicate(k: KernelState, slot: number): void {
  const { counts } = k.swap
  assert(counts[slot] > 0, `swap slot ${slot} duplicated but free`)
  counts[slot] += 1
}

/** swap_free(): an entry that named the slot is gone. True when it was the last. */
export function swapFree(k: KernelState, slot: number): boolean {
  const { counts, cache } = k.swap
  assert(counts[slot] > 0, `swap slot ${slot} freed twice`)
  counts[slot] -= 1
  if (counts[slot] > 0) return false
  if (!cache.has(slot)) giveBack(k.swap, slot)
  return true
}

/** The slot is free again. */
function giveBack(swap: SwapArea, slot: number): void {
  swap.storage.delete(slot)
  swap.freeSlots += 1
  swap.lowestFree = Math.min(swap.lowestFree, slot)
}
