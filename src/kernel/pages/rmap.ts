// Reverse mappings: which entries of which address spaces map a user frame (mm/rmap.c). Every entry
// that is set to a user frame is added here, every one that is cleared is removed, together with the
// frame's mapcount. Reclaim, migration, write-back and truncation find their victims here.
//
// Simplified: Linux keeps trees of areas (anon_vma, i_mmap) and looks the entries up; here the
// entries themselves are listed, oldest first. A walk costs the same per entry; areas that could
// map the page and do not are never visited, so walks are cheaper than in Linux after many forks.

import { fail } from '../../base/assert.js'
import { lruAdd } from './lru.js'
import type { Mm } from '../mm/mm.js'
import type { KernelState } from '../state.js'

/** One leaf entry that maps a frame; a huge entry is listed with the first frame of its compound page. */
export interface RmapEntry {
  readonly mm: Mm
  /** Page number that the entry translates; of a huge entry its first. mremap changes it under the table's lock. */
  vpn: number
  /** Base pages that the entry maps. */
  readonly pages: number
}

export type Rmap = Map<number, RmapEntry[]>

/** page_add_rmap(): an entry of `mm` for `pages` base pages from `vpn` on maps frame `pfn` from now on. */
export function pageAddRmap(k: KernelState, mm: Mm, vpn: number, pfn: number, pages = 1): void {
  if (pages > 1) k.frames.entireMapcount[pfn] += 1
  else k.frames.mapcount[pfn] += 1
  if (k.frames.mapcount[pfn] === 1) lruAdd(k, pfn)
  const entries = k.rmap.get(pfn)
  if (entries === undefined) k.rmap.set(pfn, [{ mm, vpn, pages }])
  else entries.push({ mm, vpn, pages })
}

/**
 * page_remove_rmap(): the entry of `mm` at page `vpn` does not map frame `pfn` any more. A transparent huge page of
 * which only a part is mapped from now on is queued for a split.
 */
export function pageRemoveRmap(k: KernelState, mm: Mm, vpn: number, pfn: number, pages = 1): void {
  const entries = k.rmap.get(pfn)
  const index = entries === undefined ? -1 : entries.findIndex(isThisEntry(mm, vpn, pages))
  if (entries === undefined || index < 0) fail(`frame ${pfn} is not mapped at page ${vpn} of mm ${mm.ctxId}`)
  if (pages > 1) k.frames.entireMapcount[pfn] -= 1
  else k.frames.mapcount[pfn] -= 1
  if (entries.length === 1) k.rmap.delete(pfn)
  else entries.splice(index, 1)
  if (k.frames.isThp[k.frames.headOf(pfn)] === 1) deferSplit(k, k.frames.headOf(pfn), pfn, pages)
}

function isThisEntry(mm: Mm, vpn: number, pages: number): (entry: RmapEntry) => boolean {
  return entry => entry.vpn === vpn && entry.mm === mm && entry.pages === pages
}

/** deferred_split_folio(): the frames that nobody maps are given back when memory is short. */
function deferSplit(k: KernelState, head: number, pfn: number, pages: number): void {
  const { frames, deferredSplits } = k
  if (frames.entireMapcount[head] > 0 || deferredSplits.has(head)) return
  const isUnmapped = (frame: number): boolean => frames.mapcount[frame] === 0
  const all = Array.from({ length: 1 << frames.order[head] }, (_, i) => head + i)
  const isPartial = pages > 1 ? all.some(isUnmapped) : isUnmapped(pfn)
  if (!isPartial || all.every(isUnmapped)) return
  deferredSplits.add(head)
  k.counters.thpDeferredSplitPage += 1
}

/** The entry of `mm` that maps frame `pfn` went from page `from` to page `to` (move_ptes). */
export function rmapMoved(k: KernelState, mm: Mm, from: number, to: number, pfn: number): void {
  const moved = k.rmap.get(pfn)?.find(entry => entry.vpn === from && entry.mm === mm)
  if (moved === undefined) fail(`frame ${pfn} is not mapped at page ${from} of mm ${mm.ctxId}`)
  moved.vpn = to
}

/** The mapping is listed in the name of another address space from now on: both use the table that holds it. */
export function rmapHandOver(
  k: KernelState, pfn: number, from: { mm: Mm; vpn: number }, to: { mm: Mm; vpn: number },
): void {
  const entries = k.rmap.get(pfn)
  const index = entries?.findIndex(entry => entry.mm === from.mm && entry.vpn === from.vpn) ?? -1
  if (!(entries !== undefined && index >= 0)) {
    fail(`frame ${pfn} is not mapped at page ${from.vpn} of mm ${from.mm.ctxId}`)
  }
  entries[index] = { ...to, pages: entries[index].pages }
}

/** The entries that map frame `pfn` now: a copy, because whoever walks it changes them. */
export function rmapWalk(k: KernelState, pfn: number): readonly RmapEntry[] {
  return [...k.rmap.get(pfn) ?? []]
}

/** The same for all entries, of any size, that map a part of the block that starts at `head`. */
export function folioRmapWalk(k: KernelState, head: number): readonly RmapEntry[] {
  return Array.from({ length: 1 << k.frames.order[head] }, (_, i) => k.rmap.get(head + i) ?? []).flat()
}
