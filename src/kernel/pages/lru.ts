// Lists of user pages in the order in which reclaim looks at them (struct lruvec), and the flags of a
// page that only reclaim needs. Two lists each for anonymous pages and for pages of files: pages
// come onto the inactive one and are moved to the active one when they are used again.
//
//   new anonymous page     6.x: inactive   4.6: active
//   new page of a file     inactive
//   lazyfree page          6.x: inactive, among those of files   4.6: stays anonymous
//
// Simplified: new pages are on their list at once; Linux collects them per CPU first. Huge pages,
// shared anonymous memory and drivers' memory are on no list and are never reclaimed; nothing is
// locked in memory. No shadows of evicted pages are kept, so a page that comes back is a new one.

import { FRAME_USER } from './frames.js'
import { cachePlace } from './page-cache.js'
import type { KernelState } from '../state.js'

export const LRU_INACTIVE_ANON = 0
export const LRU_ACTIVE_ANON = 1
export const LRU_INACTIVE_FILE = 2
export const LRU_ACTIVE_FILE = 3
/** The active lists. */
const LRU_ACTIVE = 1
const LRU_FILE = 2

/** PG_referenced: used once since it was looked at. */
const PG_REFERENCED = 1
/** The page was given up with MADV_FREE (no PG_swapbacked). */
const PG_LAZYFREE = 2
/** PG_dirty of an anonymous page: its slot, if it has one, holds something else. */
const PG_DIRTY = 4

export interface Lru {
  /** Frames by list, oldest first: a set keeps the order of insertion. */
  readonly lists: readonly Set<number>[]
  /** By frame: 0 for no list, else 1 + its number. */
  readonly on: Uint8Array
  /** PG_*, by frame. */
  readonly flags: Uint8Array
}

export function makeLru(frames: number): Lru {
  return {
    lists: [new Set(), new Set(), new Set(), new Set()], on: new Uint8Array(frames), flags: new Uint8Array(frames),
  }
}

/** folio_add_lru() when a page is mapped for the first time. */
export function lruAdd(k: KernelState, pfn: number): void {
  if (k.frames.use[pfn] !== FRAME_USER || k.frames.order[pfn] > 0 || k.lru.on[pfn] !== 0) return
  const place = cachePlace(k, pfn)
  if (place !== undefined && place.file.kind !== 'file') return
  add(k, pfn, place !== undefined ? LRU_INACTIVE_FILE
    : k.config.kernel.era === 'linux-4.6' ? LRU_ACTIVE_ANON : LRU_INACTIVE_ANON)
}

/** isolate_lru_page(): the caller keeps a reference until putback. False when it is on no list. */
export function isolate(k: KernelState, pfn: number): boolean {
  if (!remove(k, pfn)) return false
  k.frames.get(pfn)
  return true
}

/** putback_lru_page(), without the reference. */
export function putback(k: KernelState, pfn: number, active: boolean): void {
  add(k, pfn, (isFileLru(k, pfn) ? LRU_FILE : 0) | (active ? LRU_ACTIVE : 0))
}

/** folio_migrate_flags(): the page is in another frame, which is on no list yet. */
export function lruMove(k: KernelState, from: number, to: number): void {
  k.lru.flags[to] = k.lru.flags[from]
}

/** The page was freed. */
export function lruForget(k: KernelState, pfn: number): void {
  remove(k, pfn)
  k.lru.flags[pfn] = 0
}

/** folio_deactivate(): to the young end of the inactive list. */
export function deactivate(k: KernelState, pfn: number): void {
  if (!remove(k, pfn)) return
  k.lru.flags[pfn] &= ~PG_REFERENCED
  putback(k, pfn, false)
}

/**
 * folio_mark_lazyfree(): from here on its content is lost when reclaim finds it clean. 4.6 has no mark (reclaim takes
 * every clean page without a slot for one) and moves only active pages.
 */
export function markLazyfree(k: KernelState, pfn: number): void {
  const moves = k.config.kernel.era !== 'linux-4.6' || isActive(k, pfn)
  if (k.lru.on[pfn] === 0) return
  k.lru.flags[pfn] |= PG_LAZYFREE
  k.counters.pglazyfree += 1
  if (moves) deactivate(k, pfn)
}

export function isActive(k: KernelState, pfn: number): boolean {
  return k.lru.on[pfn] > 0 && ((k.lru.on[pfn] - 1) & LRU_ACTIVE) !== 0
}

/** folio_is_file_lru(): a page of a file, or one that was given up. */
export function isFileLru(k: KernelState, pfn: number): boolean {
  const isGivenUp = (k.lru.flags[pfn] & PG_LAZYFREE) !== 0 && k.config.kernel.era !== 'linux-4.6'
  return isGivenUp || cachePlace(k, pfn) !== undefined
}

export function isLazyfree(k: KernelState, pfn: number): boolean {
  return (k.lru.flags[pfn] & PG_LAZYFREE) !== 0
}

/** folio_set_swapbacked(): it was written to again. */
export function clearLazyfree(k: KernelState, pfn: number): void {
  k.lru.flags[pfn] &= ~PG_LAZYFREE
}

export function isPageDirty(k: KernelState, pfn: number): boolean {
  return (k.lru.flags[pfn] & PG_DIRTY) !== 0
}

export function setPageDirty(k: KernelState, pfn: number): void {
  k.lru.flags[pfn] |= PG_DIRTY
}

export function clearPageDirty(k: KernelState, pfn: number): void {
  k.lru.flags[pfn] &= ~PG_DIRTY
}

export function setReferenced(k: KernelState, pfn: number): void {
  k.lru.flags[pfn] |= PG_REFERENCED
}

/** TestClearPageReferenced(). */
export function testClearReferenced(k: KernelState, pfn: number): boolean {
  const was = (k.lru.flags[pfn] & PG_REFERENCED) !== 0
  k.lru.flags[pfn] &= ~PG_REFERENCED
  return was
}

/** A page that came back by a fault while reclaim had it isolated is on a list already: it moves to this one. */
function add(k: KernelState, pfn: number, list: number): void {
  remove(k, pfn)
  k.lru.lists[list].add(pfn)
  k.lru.on[pfn] = list + 1
}

function remove(k: KernelState, pfn: number): boolean {
  const on = k.lru.on[pfn]
  if (on === 0) return false
  k.lru.lists[on - 1].delete(pfn)
  k.lru.on[pfn] = 0
  return true
}
