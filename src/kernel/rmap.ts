// Reverse mappings: which entries of which address spaces map a user frame (mm/rmap.c). Every entry
// that is set to a user frame is added here, every one that is cleared is removed, together with the
// frame's mapcount. Reclaim, migration, write-back and truncation find their victims here.
//
// Simplified: Linux keeps trees of areas (anon_vma, i_mmap) and looks the entries up; here the
// entries themselves are listed, oldest first. A walk costs the same per entry; areas that could
// map the page and do not are never visited, so walks are cheaper than in Linux after many forks.

import { assert } from '../base/assert.js'
import { lruAdd } from './lru.js'
import type { Mm } from './mm.js'
import type { KernelState } from './state.js'

/** One leaf entry that maps a frame (the first frame of a compound page). */
export interface RmapEntry {
  readonly mm: Mm
  /** Page number that the entry translates; of a huge entry its first. mremap changes it under the table's lock. */
  vpn: number
}

export type Rmap = Map<number, RmapEntry[]>

/** page_add_rmap(): an entry of `mm` for page `vpn` maps frame `pfn` from now on. */
export function pageAddRmap(k: KernelState, mm: Mm, vpn: number, pfn: number): void {
  k.frames.mapcount[pfn] += 1
  if (k.frames.mapcount[pfn] === 1) lruAdd(k, pfn)
  const entries = k.rmap.get(pfn)
  if (entries === undefined) k.rmap.set(pfn, [{ mm, vpn }])
  else entries.push({ mm, vpn })
}

/** page_remove_rmap(): the entry of `mm` for page `vpn` does not map frame `pfn` any more. */
export function pageRemoveRmap(k: KernelState, mm: Mm, vpn: number, pfn: number): void {
  const entries = k.rmap.get(pfn)
  const index = entries === undefined ? -1 : entries.findIndex(entry => entry.vpn === vpn && entry.mm === mm)
  assert(entries !== undefined && index >= 0, `frame ${pfn} is not mapped at page ${vpn} of mm ${mm.ctxId}`)
  k.frames.mapcount[pfn] -= 1
  if (entries.length === 1) k.rmap.delete(pfn)
  else entries.splice(index, 1)
}

/** The entry of `mm` that maps frame `pfn` went from page `from` to page `to` (move_ptes). */
export function rmapMoved(k: KernelState, mm: Mm, from: number, to: number, pfn: number): void {
  const moved = k.rmap.get(pfn)?.find(entry => entry.vpn === from && entry.mm === mm)
  assert(moved !== undefined, `frame ${pfn} is not mapped at page ${from} of mm ${mm.ctxId}`)
  moved.vpn = to
}

/** The entries that map frame `pfn` now: a copy, because whoever walks it changes them. */
export function rmapWalk(k: KernelState, pfn: number): readonly RmapEntry[] {
  return [...k.rmap.get(pfn) ?? []]
}
