// mremap(2) (mm/mremap.c): an area shrinks, grows where it is, or moves. Moving is a copy of the
// area, its entries carried over, and an unmap of what is left of the old one.
//
//            shrink                      grow                         MREMAP_FIXED
//   4.6      unmap, mmap_lock writing    in place if the next pages   unmap the destination, then look
//   6.x      unmap, downgraded           are free, else move          whether the move is possible
//
// In 6.x what is wrong is found before the destination is lost, and a move that resizes nothing may
// take several areas along.

import { ERRNO } from '../abi.js'
import type { KernelCpu } from '../cpu.js'
import { settleRange } from '../pages/deferred-free.js'
import { linkChildArea } from '../pages/file-areas.js'
import { unitOf } from '../huge/hugetlb.js'
import type { KernelOp } from '../kernel-op.js'
import type { Mm } from './mm.js'
import { chooseAddress, splitsHugePage, unmapLocked, unmapRegion } from './mmap.js'
import { movePageTables } from './move-page-tables.js'
import { vmaAdjustTransHuge } from '../huge/split-huge.js'
import type { KernelState } from '../state.js'
import type { Vma } from './vma.js'
import { makeVma, partOf } from './vma.js'

export interface MremapRequest {
  /** What is to be changed: first page and length. */
  start: number
  pages: number
  newPages: number
  mayMove: boolean
  /** MREMAP_FIXED: the new first page; -1 without. */
  at: number
}

/** mremap(): the first page of the result, or a negative error number. */
export function* mremap(k: KernelState, cpu: KernelCpu, mm: Mm, request: MremapRequest): KernelOp<number> {
  const refused = checkParameters(k, request)
  if (refused < 0) return refused
  yield* mm.mmapLock.acquire(cpu, true)
  yield k.costs.vmaOperation
  const { at, pages, newPages } = request
  const is46 = k.config.kernel.era === 'linux-4.6'
  if (at < 0 && newPages <= pages) return yield* shrinkAndUnlock(k, cpu, mm, inHugePages(k, mm, request))
  const result = at < 0 ? yield* expand(k, cpu, mm, inHugePages(k, mm, request))
    : is46 || pages !== newPages ? yield* mremapTo(k, cpu, mm, request) : yield* remapMove(k, cpu, mm, request)
  mm.mmapLock.release(cpu, true)
  return result
}

/** check_mremap_params(). */
function checkParameters(k: KernelState, { start, pages, newPages, at, mayMove }: MremapRequest): number {
  const { userEndVpn } = k.layout
  if (pages <= 0 || newPages <= 0) return -ERRNO.EINVAL
  if (at < 0) return newPages > userEndVpn && k.config.kernel.era === 'linux-6.x' ? -ERRNO.EINVAL : 0
  const overlaps = start + pages > at && at + newPages > start
  return !mayMove || at + newPages > userEndVpn || overlaps ? -ERRNO.EINVAL : 0
}

/** A length that stays or gets less, in place. Lets go of mmap_lock. */
function* shrinkAndUnlock(k: KernelState, cpu: KernelCpu, mm: Mm, request: MremapRequest): KernelOp<number> {
  const is46 = k.config.kernel.era === 'linux-4.6'
  // 4.6 does not even look whether there is an area.
  const refused = is46 ? 0 : checkArea(k, mm, request)
  const { start, pages, newPages } = request
  const splits = splitsHugePage(k, mm, start + newPages, start + pages)
  if (refused < 0 || newPages === pages || splits) {
    mm.mmapLock.release(cpu, true)
    return refused < 0 ? refused : splits && newPages !== pages ? -ERRNO.EINVAL : start
  }
  yield k.costs.munmapExtra
  yield* vmaAdjustTransHuge(k, cpu, mm, start + newPages, start + pages)
  const removed = mm.vmas.remove(start + newPages, start + pages)
  if (!is46) mm.mmapLock.downgrade(cpu)
  if (removed.length > 0) yield* unmapRegion(k, cpu, mm, removed, false)
  mm.mmapLock.release(cpu, is46)
  return start
}

/** A greater length without a wanted address: in place where the pages behind are free, else somewhere else. */
function* expand(k: KernelState, cpu: KernelCpu, mm: Mm, request: MremapRequest): KernelOp<number> {
  const refused = checkArea(k, mm, request)
  if (refused < 0) return refused
  const { start, pages, newPages, mayMove } = request
  const vma = mm.vmas.find(start)!
  const end = start + newPages
  const isAtEnd = vma.vmEnd === start + pages
  if (isAtEnd && end <= k.layout.userEndVpn && mm.vmas.overlapping(vma.vmEnd, end).length === 0) {
    yield* settleRange(k, cpu, mm, start + pages, end)
    yield* linkChildArea(k, cpu, mm, stretched(vma, start + pages, end))
    return start
  }
  if (!mayMove) return -ERRNO.ENOMEM
  const { shared, file, device, huge } = vma
  const anywhere = { at: -1, fixed: false, noReplace: false, shared, file, device, huge }
  const to = chooseAddress(k, mm, anywhere, newPages, 1)
  return to < 0 ? to : yield* moveVma(k, cpu, mm, request, to)
}

/** mremap_to(): MREMAP_FIXED. */
function* mremapTo(k: KernelState, cpu: KernelCpu, mm: Mm, asked: MremapRequest): KernelOp<number> {
  const is46 = k.config.kernel.era === 'linux-4.6'
  const request = inHugePages(k, mm, asked)
  const early = is46 ? 0 : checkArea(k, mm, request)
  if (early < 0) return early
  const { start, newPages, at } = request
  if (splitsHugePage(k, mm, at, at + newPages)) return -ERRNO.EINVAL
  yield k.costs.munmapExtra
  yield* unmapLocked(k, cpu, mm, at, at + newPages)
  if (request.pages > newPages) {
    if (splitsHugePage(k, mm, start + newPages, start + request.pages)) return -ERRNO.EINVAL
    yield* unmapLocked(k, cpu, mm, start + newPages, start + request.pages)
  }
  const pages = Math.min(request.pages, newPages)
  const late = is46 ? checkArea(k, mm, { ...request, pages }) : 0
  if (late < 0) return late
  const to = chooseAddress(k, mm, { at, fixed: true, noReplace: false }, newPages, 1)
  return to < 0 ? to : yield* moveVma(k, cpu, mm, { ...request, pages }, to)
}

/** remap_move() of 6.x: every area in the range moves, with the gaps between them. */
function* remapMove(k: KernelState, cpu: KernelCpu, mm: Mm, request: MremapRequest): KernelOp<number> {
  const { start, pages, at } = request
  const areas = mm.vmas.overlapping(start, start + pages).map(vma => partOf(vma, start, start + pages))
  if (areas.length === 0 || areas[0].vmStart > start) return -ERRNO.EFAULT
  for (const vma of areas) {
    const length = vma.vmEnd - vma.vmStart
    const moved = yield* mremapTo(k, cpu, mm, {
      ...request, start: vma.vmStart, pages: length, newPages: length, at: at + vma.vmStart - start,
    })
    if (moved < 0) return moved
  }
  return at
}

/** check_prep_vma() of 6.x, vma_to_resize() of 4.6: 0, or a negative error number. */
function checkArea(k: KernelState, mm: Mm, request: MremapRequest): number {
  const { start, pages, newPages, at } = request
  const is46 = k.config.kernel.era === 'linux-4.6'
  const vma = mm.vmas.find(start)
  if (vma === undefined) return -ERRNO.EFAULT
  const unit = unitOf(k.geometry, vma)
  if (vma.huge && (is46 || newPages > pages)) return -ERRNO.EINVAL
  if (start % unit !== 0 || (at >= 0 && at % unit !== 0)) return -ERRNO.EINVAL
  if (newPages <= pages && at < 0) return 0
  if (Math.min(pages, newPages) > vma.vmEnd - start) return -ERRNO.EFAULT
  if (newPages <= pages) return 0
  if (pages > vma.vmEnd - start || vma.device) return -ERRNO.EFAULT
  return newPages - pages > k.frames.count ? -ERRNO.ENOMEM : 0
}

/** align_hugetlb() of 6.x: lengths of huge areas are rounded up. */
function inHugePages(k: KernelState, mm: Mm, request: MremapRequest): MremapRequest {
  const vma = mm.vmas.find(request.start)
  if (k.config.kernel.era === 'linux-4.6' || vma?.huge !== true) return request
  const unit = unitOf(k.geometry, vma)
  return {
    ...request, pages: Math.ceil(request.pages / unit) * unit, newPages: Math.ceil(request.newPages / unit) * unit,
  }
}

/** move_vma(): the area is copied, its entries follow, the old one goes. */
function* moveVma(k: KernelState, cpu: KernelCpu, mm: Mm, request: MremapRequest, to: number): KernelOp<number> {
  const { start, pages, newPages } = request
  yield* settleRange(k, cpu, mm, to, to + newPages)
  const vma = partOf(mm.vmas.find(start)!, start, start + pages)
  yield* linkChildArea(k, cpu, mm, makeVma(to, to + newPages, vma))
  const moved = yield* movePageTables(k, cpu, { mm, vma, from: start, to, pages })
  if (moved < pages) {
    // The old tables are still there, so the way back needs no memory.
    yield* movePageTables(k, cpu, { mm, vma, from: to, to: start, pages: moved })
    yield* unmapLocked(k, cpu, mm, to, to + newPages)
    return -ERRNO.ENOMEM
  }
  yield* unmapLocked(k, cpu, mm, start, start + pages)
  k.counters.mremapMoves += 1
  return to
}

/** What an area becomes between its old end and a new one. */
function stretched(vma: Vma, from: number, to: number): Vma {
  return partOf(makeVma(vma.vmStart, to, vma), from, to)
}
