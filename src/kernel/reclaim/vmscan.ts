// Reclaim (mm/vmscan.c): takes pages from the old ends of the lists, gives those that were used a
// second chance, unmaps the others, writes what is dirty and frees the rest.
//
//   list       page seen                              goes to
//   active     executable page of a file, used        active
//              anything else                          inactive, A cleared
//   inactive   used (check_references)                active, or once more round the inactive list
//              not used                               unmapped, written if dirty, freed
//
// One TLB flush serves up to 32 pages (unmap-batch.ts). A dirty page is flushed before its write
// starts, so a batch of anonymous pages that programs wrote to is rarely larger than one.
//
// Simplified: how much of each list is scanned follows from its size, the priority and swappiness 60
// alone, not from how often pages came back; a round stops as soon as enough was freed. Dirty pages
// of files are written by whoever reclaims them, since nobody else would.

import { ERRNO } from '../abi.js'
import type { KernelCpu } from '../cpu.js'
import type { KernelOp } from '../kernel-op.js'
import { clearPageDirty, isActive, isFileLru, isLazyfree, isolate, isPageDirty, LRU_ACTIVE_ANON, LRU_ACTIVE_FILE,
  LRU_INACTIVE_ANON, LRU_INACTIVE_FILE, putback, setPageDirty, setReferenced,
  testClearReferenced } from '../pages/lru.js'
import { cachePlace, dropPage, writePage } from '../pages/page-cache.js'
import { trylockPage, unlockPage } from '../locking/page-lock.js'
import type { KernelState } from '../state.js'
import { addToSwap, deleteFromSwapCache, freeSwapOf, swapCacheSlot, swapWritePage } from './swap.js'
import type { UnmapBatch } from './unmap-batch.js'
import { flushOrKeep } from './unflushed.js'
import { flushBatchIfWritable, makeUnmapBatch } from './unmap-batch.js'
import { pageReferenced, tryToUnmap } from '../pages/unmap.js'

/** SWAP_CLUSTER_MAX: pages that are taken from a list at a time, and what a direct reclaimer wants. */
export const SWAP_CLUSTER_MAX = 32
/** DEF_PRIORITY: the first round looks at 1/4096 of each list, each further one at twice as much. */
export const DEF_PRIORITY = 12
/** MAX_RECLAIM_RETRIES: rounds without any progress after which nothing more is tried. */
export const MAX_RECLAIM_RETRIES = 16
/** vm.swappiness of 200. */
const SWAPPINESS = 60

/** struct scan_control. */
export interface ScanControl {
  /** Where the reclaimer runs; kswapd may be moved between two batches. */
  cpu: KernelCpu
  readonly nrToReclaim: number
  nrReclaimed: number
  nrScanned: number
  priority: number
  /** MADV_PAGEOUT: used or not. */
  readonly ignoreReferences: boolean
  readonly batch: UnmapBatch
  /** cond_resched() of who may be switched away; returns where it goes on. */
  readonly relax: ((cpu: KernelCpu) => KernelOp<KernelCpu>) | undefined
}

export function scanControl(
  k: KernelState, cpu: KernelCpu, nrToReclaim: number,
  options: { ignoreReferences?: boolean; relax?: (cpu: KernelCpu) => KernelOp<KernelCpu> } = {},
): ScanControl {
  return {
    cpu, nrToReclaim, nrReclaimed: 0, nrScanned: 0, priority: DEF_PRIORITY,
    ignoreReferences: options.ignoreReferences ?? false, batch: makeUnmapBatch(k), relax: options.relax,
  }
}

/** do_try_to_free_pages(): harder and harder until enough was freed. */
export function* doTryToFreePages(k: KernelState, sc: ScanControl): KernelOp<number> {
  for (sc.priority = DEF_PRIORITY; sc.priority >= 0; sc.priority--) {
    yield* shrinkNode(k, sc)
    if (sc.nrReclaimed >= sc.nrToReclaim) break
  }
  return sc.nrReclaimed
}

/** memory.reclaim: in the caller's context, in rounds of a quarter of what is left. EAGAIN when it gets stuck. */
export function* memoryReclaim(k: KernelState, cpu: KernelCpu, pages: number): KernelOp<number> {
  let reclaimed = 0
  let retries = MAX_RECLAIM_RETRIES
  while (reclaimed < pages) {
    const wanted = Math.max(Math.floor((pages - reclaimed) / 4), SWAP_CLUSTER_MAX)
    const got = yield* doTryToFreePages(k, scanControl(k, cpu, wanted))
    if (got === 0 && retries-- === 0) return -ERRNO.EAGAIN
    reclaimed += got
  }
  return 0
}

/** zone_reclaimable_pages(). */
export function reclaimablePages(k: KernelState): number {
  const { lists } = k.lru
  const files = lists[LRU_INACTIVE_FILE].size + lists[LRU_ACTIVE_FILE].size
  return k.swap.freeSlots > 0 ? files + lists[LRU_INACTIVE_ANON].size + lists[LRU_ACTIVE_ANON].size : files
}

/** shrink_lruvec(): one round at the present priority. */
export function* shrinkNode(k: KernelState, sc: ScanControl): KernelOp {
  const left = scanCounts(k, sc.priority)
  while (left[LRU_INACTIVE_ANON] > 0 || left[LRU_INACTIVE_FILE] > 0 || left[LRU_ACTIVE_FILE] > 0) {
    for (let list = 0; list < left.length; list++) {
      const count = Math.min(left[list], SWAP_CLUSTER_MAX)
      if (count === 0) continue
      left[list] -= count
      yield* shrinkList(k, sc, list, count)
      if (sc.relax !== undefined) sc.cpu = yield* sc.relax(sc.cpu)
    }
    if (sc.nrReclaimed >= sc.nrToReclaim) break
  }
  if (k.swap.freeSlots > 0 && isInactiveLow(k, LRU_INACTIVE_ANON)) {
    yield* shrinkActiveList(k, sc, LRU_ACTIVE_ANON, SWAP_CLUSTER_MAX)
  }
}

/** shrink_folio_list() of pages that are isolated: frees those that can be freed, puts the others back. */
export function* shrinkPageList(k: KernelState, sc: ScanControl, pages: readonly number[]): KernelOp {
  const freed: number[] = []
  const kept: { pfn: number; active: boolean }[] = []
  for (const pfn of pages) {
    sc.nrScanned += 1
    k.counters.pgscan += 1
    const verdict = trylockPage(k, pfn) ? yield* shrinkPage(k, sc, pfn) : 'keep'
    if (verdict === 'free') freed.push(pfn)
    else kept.push({ pfn, active: verdict === 'activate' })
  }
  const unflushed = yield* flushOrKeep(k, sc.cpu, sc.batch, freed)
  for (const pfn of freed) if (!unflushed.has(pfn)) putFrame(k, sc.cpu, pfn)
  sc.nrReclaimed += freed.length
  k.counters.pgsteal += freed.length
  if (freed.length > 0) yield freed.length * k.costs.freePage
  for (const { pfn, active } of kept) {
    if (active) k.counters.pgactivate += 1
    putbackAndPut(k, sc.cpu, pfn, active)
  }
}

type Verdict = 'free' | 'keep' | 'activate'

/** get_scan_count(). */
function scanCounts(k: KernelState, priority: number): number[] {
  const sizes = k.lru.lists.map(list => Math.floor(list.size / 2 ** priority))
  const hasManyFiles = sizes[LRU_INACTIVE_FILE] > 0 && !isInactiveLow(k, LRU_INACTIVE_FILE)
  if (k.swap.freeSlots === 0 || hasManyFiles) {
    return [0, 0, sizes[LRU_INACTIVE_FILE], sizes[LRU_ACTIVE_FILE]]
  }
  if (priority === 0) return sizes
  const parts = [SWAPPINESS, SWAPPINESS, 200 - SWAPPINESS, 200 - SWAPPINESS]
  return sizes.map((size, list) => Math.floor((size * parts[list]) / 201))
}

/** inactive_is_low(): there are more active pages than inactive ones (of less than a gigabyte). */
function isInactiveLow(k: KernelState, inactive: number): boolean {
  const { lists } = k.lru
  const pages = lists[inactive].size + lists[inactive + 1].size
  const gigabytes = Math.floor((pages * 2 ** k.geometry.pageShift) / 2 ** 30)
  const ratio = gigabytes > 0 ? Math.floor(Math.sqrt(10 * gigabytes)) : 1
  return lists[inactive].size * ratio < lists[inactive + 1].size
}

function* shrinkList(k: KernelState, sc: ScanControl, list: number, count: number): KernelOp {
  if (list === LRU_ACTIVE_ANON || list === LRU_ACTIVE_FILE) {
    if (isInactiveLow(k, list - 1)) yield* shrinkActiveList(k, sc, list, count)
    return
  }
  yield* shrinkPageList(k, sc, isolateOldest(k, list, count))
}

/** shrink_active_list(). */
function* shrinkActiveList(k: KernelState, sc: ScanControl, list: number, count: number): KernelOp {
  for (const pfn of isolateOldest(k, list, count)) {
    sc.nrScanned += 1
    const { count: used, isExecutable } = yield* pageReferenced(k, sc.cpu, pfn)
    const staysActive = used > 0 && isExecutable && isFileLru(k, pfn)
    if (!staysActive) k.counters.pgdeactivate += 1
    putbackAndPut(k, sc.cpu, pfn, staysActive)
  }
}

/** isolate_lru_folios(). */
function isolateOldest(k: KernelState, list: number, count: number): number[] {
  const pages: number[] = []
  for (const pfn of k.lru.lists[list]) {
    if (pages.length === count) break
    pages.push(pfn)
  }
  for (const pfn of pages) isolate(k, pfn)
  return pages
}

/** One page, which is locked and isolated; unlocks it. */
function* shrinkPage(k: KernelState, sc: ScanControl, pfn: number): KernelOp<Verdict> {
  const verdict = yield* judgePage(k, sc, pfn)
  // Whoever dropped the last mapping meanwhile left the swap cache to us, because the page was locked.
  if (verdict !== 'free' && k.frames.mapcount[pfn] === 0) freeSwapOf(k, sc.cpu, pfn)
  unlockPage(k, sc.cpu, pfn)
  return verdict
}

function* judgePage(k: KernelState, sc: ScanControl, pfn: number): KernelOp<Verdict> {
  const seen = sc.ignoreReferences ? 'reclaim' : yield* checkReferences(k, sc.cpu, pfn)
  if (seen === 'activate' || seen === 'keep') return seen
  const isAnonymous = cachePlace(k, pfn) === undefined
  const is46 = k.config.kernel.era === 'linux-4.6'
  if (isAnonymous && k.frames.mapcount[pfn] > 0 && swapCacheSlot(k, pfn) === undefined) {
    // A page that was given up needs no slot, except in 4.6, which finds that out only afterwards.
    if (!isLazyfree(k, pfn) || is46) {
      if (!addToSwap(k, pfn)) return 'activate'
      if (!isLazyfree(k, pfn)) setPageDirty(k, pfn)
    }
  }
  if (k.frames.mapcount[pfn] > 0 && !(yield* tryToUnmap(k, sc.cpu, pfn, sc.batch))) return 'activate'
  if (isDirty(k, pfn)) {
    if (seen === 'reclaim clean') return 'keep'
    yield* pageout(k, sc, pfn)
    if (isDirty(k, pfn)) return 'keep'
  }
  return removeMapping(k, sc.cpu, pfn) ? 'free' : 'keep'
}

/** folio_check_references(). */
function* checkReferences(
  k: KernelState, cpu: KernelCpu, pfn: number,
): KernelOp<'reclaim' | 'reclaim clean' | 'keep' | 'activate'> {
  const { count, isExecutable } = yield* pageReferenced(k, cpu, pfn)
  const wasReferenced = testClearReferenced(k, pfn)
  const isFile = cachePlace(k, pfn) !== undefined
  if (count > 0) {
    // Anonymous pages start on the active list in 4.6: one that was used goes straight back.
    if (!isFile && k.config.kernel.era === 'linux-4.6') return 'activate'
    setReferenced(k, pfn)
    return wasReferenced || count > 1 || (isExecutable && isFile) ? 'activate' : 'keep'
  }
  return wasReferenced && isFile ? 'reclaim clean' : 'reclaim'
}

function isDirty(k: KernelState, pfn: number): boolean {
  const place = cachePlace(k, pfn)
  if (place !== undefined) return place.file.dirty.has(place.page)
  return isPageDirty(k, pfn)
}

/** pageout(): nobody can write to the page from here on until it is mapped again. */
function* pageout(k: KernelState, sc: ScanControl, pfn: number): KernelOp {
  yield* flushBatchIfWritable(k, sc.cpu, sc.batch)
  const place = cachePlace(k, pfn)
  if (place !== undefined) {
    yield* writePage(k, place.file, place.page, pfn)
    return
  }
  if (swapCacheSlot(k, pfn) === undefined) return
  clearPageDirty(k, pfn)
  yield* swapWritePage(k, pfn)
}

/** __remove_mapping(): false when somebody else has a reference or has dirtied the page. */
function removeMapping(k: KernelState, cpu: KernelCpu, pfn: number): boolean {
  const place = cachePlace(k, pfn)
  const isInSwap = swapCacheSlot(k, pfn) !== undefined
  const expected = 1 + (place !== undefined || isInSwap ? 1 : 0)
  if (k.frames.refcount[pfn] !== expected || isDirty(k, pfn)) return false
  if (place !== undefined) {
    dropPage(k, cpu, place.file, place.page, pfn)
    return true
  }
  if (isLazyfree(k, pfn)) k.counters.pglazyfreed += 1
  if (isInSwap) {
    deleteFromSwapCache(k, pfn)
    k.frames.put(cpu.id, pfn)
  }
  return true
}

/** The list it belongs on, without the reclaimer's reference. */
export function putbackAndPut(k: KernelState, cpu: KernelCpu, pfn: number, active: boolean): void {
  if (!isActive(k, pfn)) putback(k, pfn, active)
  putFrame(k, cpu, pfn)
}

function putFrame(k: KernelState, cpu: KernelCpu, pfn: number): void {
  if (k.frames.put(cpu.id, pfn)) k.counters.pagesFreed += 1
}
