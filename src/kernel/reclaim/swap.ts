// The swap area: slots with reference counts (swap_map), what is stored in them, and the swap cache,
// which says where a page of a slot is in memory while it is being written or read, or stayed there.
//
//   entries name the slot   in the cache
//   yes                     no             the page is on the device only
//   yes                     yes            on its way out or in, or read in and still shared
//   no                      yes            about to be written, or mapped again everywhere
//   no                      no             the slot is free
//
// Slot 0 holds the header, as on a real device, so no entry for a page is ever zero. The cache owns
// one reference of its page. It changes only under the page's lock.
//
// Simplified: one area, compressed memory or the like (zram): a page is written and read by the CPU
// that wants it at a fixed price, without a queue, without readahead and without taking memory
// itself. Slots are given out lowest first, without clusters per CPU.

import { fail } from '../../base/assert.js'
import type { KernelCpu } from '../cpu.js'
import type { KernelOp } from '../kernel-op.js'
import { isPageLocked } from '../locking/page-lock.js'
import { setPageDirty } from '../pages/lru.js'
import type { KernelState } from '../state.js'

export interface SwapArea {
  /** Slots for pages are 1 to slots - 1; 0: there is no swap. */
  readonly slots: number
  /** Entries that name the slot, by slot (swap_map). The swap cache is counted apart (SWAP_HAS_CACHE). */
  readonly counts: Int32Array
  /** Frame that holds the page of a slot, and the other way round. */
  readonly cache: Map<number, number>
  readonly slotOf: Map<number, number>
  /** Frames into which a slot is read past the cache (swapcache_prepare). */
  readonly reading: Map<number, number>
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
    slots: pages, counts: new Int32Array(pages), cache: new Map(), slotOf: new Map(), reading: new Map(),
    storage: new Map(), freeSlots: Math.max(0, pages - 1), lowestFree: 1,
  }
}

/** add_to_swap(): gives an anonymous page, which is locked, a slot and puts it into the cache. False: swap is full. */
export function addToSwap(k: KernelState, pfn: number): boolean {
  const { swap } = k
  if (swap.freeSlots === 0) return false
  let slot = swap.lowestFree
  while (!isFree(swap, slot)) slot++
  if (slot >= swap.slots) fail(`${swap.freeSlots} swap slots are free, but none was found`)
  swap.lowestFree = slot + 1
  swap.freeSlots -= 1
  addToSwapCache(k, slot, pfn)
  return true
}

/** add_to_swap_cache(). */
export function addToSwapCache(k: KernelState, slot: number, pfn: number): void {
  k.frames.get(pfn)
  k.swap.cache.set(slot, pfn)
  k.swap.slotOf.set(pfn, slot)
}

/** delete_from_swap_cache(): the caller drops the cache's reference. */
export function deleteFromSwapCache(k: KernelState, pfn: number): void {
  const { swap } = k
  const slot = swap.slotOf.get(pfn)
  if (slot === undefined) fail(`frame ${pfn} is not in the swap cache`)
  swap.slotOf.delete(pfn)
  swap.cache.delete(slot)
  giveBackIfFree(swap, slot)
}

/** The page is in another frame now (migrate_page_move_mapping); the cache's reference goes with it. */
export function moveSwapCache(k: KernelState, from: number, to: number): void {
  const { cache, slotOf } = k.swap
  const slot = slotOf.get(from)
  if (slot === undefined) return
  slotOf.delete(from)
  slotOf.set(to, slot)
  cache.set(slot, to)
}

/** The slot of a page that is in the cache (page_swap_entry); undefined: it is not. */
export function swapCacheSlot(k: KernelState, pfn: number): number | undefined {
  return k.swap.slotOf.get(pfn)
}

/**
 * folio_free_swap(), try_to_free_swap() of 4.6: takes a page, which is locked, out of the cache when no entry names
 * its slot any more. It is dirty then, because the device has nothing of it.
 */
export function freeSwapOf(k: KernelState, cpu: KernelCpu, pfn: number): boolean {
  const slot = k.swap.slotOf.get(pfn)
  if (slot === undefined || k.swap.counts[slot] > 0) return false
  deleteFromSwapCache(k, pfn)
  setPageDirty(k, pfn)
  putFrame(k, cpu, pfn)
  return true
}

/** free_swap_cache(): the last mapping of the page goes. Whoever has it locked sees to it otherwise. */
export function freeSwapCache(k: KernelState, cpu: KernelCpu, pfn: number): void {
  if (k.swap.slotOf.has(pfn) && k.frames.mapcount[pfn] === 0 && !isPageLocked(k, pfn)) freeSwapOf(k, cpu, pfn)
}

/** swap_duplicate(): one more entry names the slot. */
export function swapDuplicate(k: KernelState, slot: number): void {
  const { counts } = k.swap
  if (counts[slot] <= 0 && !k.swap.cache.has(slot)) fail(`swap slot ${slot} duplicated but free`)
  counts[slot] += 1
}

/** swap_free(): an entry that named the slot is gone. */
export function swapFree(k: KernelState, slot: number): void {
  const { counts } = k.swap
  if (counts[slot] <= 0) fail(`swap slot ${slot} freed twice`)
  counts[slot] -= 1
  giveBackIfFree(k.swap, slot)
}

/** free_swap_and_cache(): the same by whoever gives the page up; a page that is only in the cache goes too. */
export function freeSwapAndCache(k: KernelState, cpu: KernelCpu, slot: number): void {
  swapFree(k, slot)
  const pfn = k.swap.cache.get(slot)
  if (pfn !== undefined) freeSwapCache(k, cpu, pfn)
}

/** swap_writepage() of a page that is locked and that nobody can write to. */
export function* swapWritePage(k: KernelState, pfn: number): KernelOp {
  const slot = k.swap.slotOf.get(pfn)
  if (slot === undefined) fail(`frame ${pfn} is written to swap without a slot`)
  k.swap.storage.set(slot, k.mem.readFrame(pfn))
  k.counters.pswpout += 1
  yield Math.max(1, k.costs.swapWrite)
}

/** swap_readpage() into a frame that is locked. */
export function* swapReadPage(k: KernelState, slot: number, pfn: number): KernelOp {
  const stored = k.swap.storage.get(slot)
  if (stored === undefined) fail(`swap slot ${slot} was never written`)
  k.mem.writeFrame(pfn, stored)
  k.counters.pswpin += 1
  yield Math.max(1, k.costs.swapRead)
}

/** A frame is being filled from the slot past the cache, or is not any more. */
export function beginReading(k: KernelState, slot: number, pfn: number): void {
  k.swap.reading.set(slot, pfn)
}

export function endReading(k: KernelState, slot: number): void {
  k.swap.reading.delete(slot)
  giveBackIfFree(k.swap, slot)
}

function isFree(swap: SwapArea, slot: number): boolean {
  return swap.counts[slot] === 0 && !swap.cache.has(slot) && !swap.reading.has(slot)
}

function giveBackIfFree(swap: SwapArea, slot: number): void {
  if (!isFree(swap, slot)) return
  swap.storage.delete(slot)
  swap.freeSlots += 1
  swap.lowestFree = Math.min(swap.lowestFree, slot)
}

function putFrame(k: KernelState, cpu: KernelCpu, pfn: number): void {
  const pages = 1 << k.frames.order[pfn]
  if (k.frames.put(cpu.id, pfn)) k.counters.pagesFreed += pages
}
