// When memory is scarce (mm/page_alloc.c): watermarks, waking kswapd below `low`, reclaiming below
// `min` in the task that wants memory. Allocations themselves happen at one instant, in places that
// cannot wait; so whoever is about to allocate asks for room first.
//
//   free frames after it   what happens
//   low and more           nothing
//   min to low             kswapd is woken
//   below min              the task reclaims itself; if nothing helps, it gets no memory
//
// Watermarks hold only while something could be reclaimed: swap, pages of files, pages given up.
// Without any, everything up to the last frame is given out.
//
// Simplified: one zone, no reserves for atomic allocations; who is being killed may take the last frames.

import type { Geometry } from '../../machine/geometry.js'
import type { KernelEra } from '../config.js'
import type { KernelCpu } from '../cpu.js'
import type { KernelOp } from '../kernel-op.js'
import { LRU_ACTIVE_FILE, LRU_INACTIVE_FILE } from './lru.js'
import { shrinkDeferredSplits } from '../huge/split-huge.js'
import type { KernelState } from '../state.js'
import { takeUnflushed } from '../reclaim/unflushed.js'
import { doTryToFreePages, MAX_RECLAIM_RETRIES, reclaimablePages, scanControl, SWAP_CLUSTER_MAX,
} from '../reclaim/vmscan.js'

/** zone->watermark, frames. */
export interface Watermarks {
  min: number
  low: number
  high: number
}

/** init_per_zone_wmark_min() and setup_per_zone_wmarks() for so many frames that boot left free. */
export function watermarksOf(era: KernelEra, geometry: Geometry, frames: number): Watermarks {
  const pageKilobytes = 2 ** (geometry.pageShift - 10)
  const most = era === 'linux-4.6' ? 65_536 : 262_144
  const kilobytes = Math.min(most, Math.max(128, Math.floor(Math.sqrt(frames * pageKilobytes * 16))))
  const min = Math.floor(kilobytes / pageKilobytes)
  // 4.6 has steps of a quarter of min. watermark_scale_factor came with 4.6 too: a thousandth of memory, if more.
  const step = Math.max(Math.floor(min / 4), Math.floor(frames / 1000))
  return { min, low: min + step, high: min + 2 * step }
}

/** Is there anything that reclaim could free, now or after a while? */
export function canReclaim(k: KernelState): boolean {
  return k.swap.slots > 0 || k.lru.lists[LRU_INACTIVE_FILE].size + k.lru.lists[LRU_ACTIVE_FILE].size > 0
}

/** Are so many frames there for whoever wants them, without {@link makeRoom}? */
export function hasRoom(k: KernelState, frames: number): boolean {
  const free = k.frames.freeFrames - frames
  return k.unflushed.length === 0 && free >= k.watermarks.min && (free >= k.watermarks.low || !canReclaim(k))
}

/**
 * __alloc_pages_slowpath() for who wants `frames` now: may take long, with whatever the caller holds; never with the
 * lock of a table. False: there is no memory for it.
 */
export function* makeRoom(k: KernelState, cpu: KernelCpu, frames: number): KernelOp<boolean> {
  yield* takeUnflushed(k, cpu, frames)
  const { min, low } = k.watermarks
  // shrink_slab(): parts of huge pages that nobody maps.
  if (k.frames.freeFrames - frames < min && k.deferredSplits.size > 0) yield* shrinkDeferredSplits(k, cpu)
  if (k.frames.freeFrames - frames >= low || !canReclaim(k)) return true
  k.kswapd.wake(cpu)
  const task = cpu.current
  if (task.killedBy !== undefined || task === k.kswapd.task) return true
  let failures = 0
  while (k.frames.freeFrames - frames < min) {
    if (k.frames.freeFrames - frames + reclaimablePages(k) < min || failures > MAX_RECLAIM_RETRIES) return false
    k.counters.allocstall += 1
    const reclaimed = yield* doTryToFreePages(k, scanControl(k, cpu, SWAP_CLUSTER_MAX))
    failures = reclaimed > 0 ? 0 : failures + 1
    if (reclaimed > 0) k.kswapd.failures = 0
  }
  return true
}
