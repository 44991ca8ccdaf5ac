// Advice about pages (mm/madvise.c): DONTNEED drops them at once, FREE gives up what they hold, COLD makes them the
// next that reclaim takes, PAGEOUT reclaims them now. The last three change entries under the lock of their table
// and flush the changed span at the end.
//
//            entry          page                                    4.6
//   FREE     clears A, D    lost when reclaim finds it clean        without swap: as DONTNEED
//   COLD     clears A       to the inactive list                    EINVAL (came with 5.4)
//   PAGEOUT  clears A       unmapped, written, freed if possible    EINVAL
//
// Simplified: a huge page is left alone; Linux splits one that is advised in part.

import { entryPfn, PAGE_ACCESSED, PAGE_DIRTY, ptePresent } from '../../machine/entry.js'
import { LEVEL_PTE } from '../../machine/geometry.js'
import { ERRNO } from '../abi.js'
import type { KernelCpu } from '../cpu.js'
import type { KernelOp } from '../kernel-op.js'
import { unitOf } from '../huge/hugetlb.js'
import { PAGE_SPECIAL, SAVED_DIRTY_HI } from './leaf.js'
import { clearPageDirty, deactivate, isolate, isPageDirty, markLazyfree, testClearReferenced } from '../pages/lru.js'
import type { Mm } from './mm.js'
import { clip } from './mmap.js'
import type { MmuGather } from './mmu-gather.js'
import { finishMmu, gatherEntry, gatherMmu } from './mmu-gather.js'
import { isPageLocked } from '../locking/page-lock.js'
import { $slot, findLeaf, pagesPerHugePage, setEntry } from './pgtable.js'
import type { KernelState } from '../state.js'
import { isMigrationEntry, isSwapPte, swapValue } from '../reclaim/swap-entry.js'
import { freeSwapAndCache, freeSwapOf, swapCacheSlot } from '../reclaim/swap.js'
import { flushTlbBatchedPending } from '../reclaim/unmap-batch.js'
import { NO_FILE } from './vma.js'
import type { Vma } from './vma.js'
import { scanControl, shrinkPageList } from '../reclaim/vmscan.js'
import { pageTableLock, zapRange } from './zap.js'

/** An entry that is not empty, under the lock of its table. */
interface Advised {
  readonly vpn: number
  readonly table: number
  readonly slot: number
  readonly lo: number
  readonly hi: number
}

/** What is done to one area of the range. */
type Work = (gather: MmuGather, vma: Vma) => KernelOp
type Visit = (k: KernelState, cpu: KernelCpu, gather: MmuGather, entry: Advised) => void

/** MADV_DONTNEED: drops the pages, keeps areas and tables. */
export function* madviseDontneed(
  k: KernelState, cpu: KernelCpu, mm: Mm, start: number, end: number,
): KernelOp<number> {
  // What is left of a huge area after trimming is what is dropped.
  const isAllowed = (vma: Vma): boolean => !vma.device && (!vma.huge || trimToHugePages(k, vma))
  return yield* advise(k, cpu, mm, start, end, isAllowed, function* (gather, vma) {
    if (k.config.kernel.era !== 'linux-4.6') gather.deferrable = { start, end }
    gather.hugetlb ||= vma.huge
    yield* zapRange(k, cpu, gather, vma.vmStart, vma.vmEnd)
  })
}

/** DONTNEED of a huge area: 4.6 refuses it; 6.x wants an aligned start and leaves a partial page at the end. */
function trimToHugePages(k: KernelState, vma: Vma): boolean {
  const unit = unitOf(k.geometry, vma)
  if (k.config.kernel.era === 'linux-4.6' || vma.vmStart % unit !== 0) return false
  vma.vmEnd -= vma.vmEnd % unit
  return true
}

/** MADV_FREE. */
export function* madviseFree(
  k: KernelState, cpu: KernelCpu, mm: Mm, start: number, end: number,
): KernelOp<number> {
  const is46 = k.config.kernel.era === 'linux-4.6'
  if (is46 && k.swap.freeSlots === 0) return yield* madviseDontneed(k, cpu, mm, start, end)
  const isAllowed = (vma: Vma): boolean => vma.file === NO_FILE && !vma.huge && !vma.shared && !vma.device
  return yield* advise(k, cpu, mm, start, end, isAllowed, (gather, vma) => walkTables(k, cpu, gather, vma, freeEntry))
}

/** MADV_COLD. */
export function* madviseCold(
  k: KernelState, cpu: KernelCpu, mm: Mm, start: number, end: number,
): KernelOp<number> {
  if (k.config.kernel.era === 'linux-4.6') return -ERRNO.EINVAL
  const visit: Visit = (_k, _cpu, gather, entry) => {
    const pfn = ageEntry(k, cpu, gather, entry)
    if (pfn >= 0) deactivate(k, pfn)
  }
  return yield* advise(k, cpu, mm, start, end, isOnLists, (gather, vma) => walkTables(k, cpu, gather, vma, visit))
}

/** MADV_PAGEOUT. */
export function* madvisePageout(
  k: KernelState, cpu: KernelCpu, mm: Mm, start: number, end: number,
): KernelOp<number> {
  if (k.config.kernel.era === 'linux-4.6') return -ERRNO.EINVAL
  const pages: number[] = []
  const visit: Visit = (_k, _cpu, gather, entry) => {
    const pfn = ageEntry(k, cpu, gather, entry)
    if (pfn >= 0 && isolate(k, pfn)) pages.push(pfn)
  }
  const afterTable = function* (): KernelOp {
    const isolated = pages.splice(0)
    const sc = scanControl(k, cpu, isolated.length, { ignoreReferences: true })
    if (isolated.length > 0) yield* shrinkPageList(k, sc, isolated)
  }
  return yield* advise(k, cpu, mm, start, end, isOnLists,
    (gather, vma) => walkTables(k, cpu, gather, vma, visit, afterTable))
}

/**
 * Does the same to every area. A hole is ENOMEM, after the areas on both sides of it had their turn; an area that is
 * not allowed ends it with EINVAL. 6.x has one gather for the call, 4.6 one for each area.
 */
function* advise(
  k: KernelState, cpu: KernelCpu, mm: Mm, start: number, end: number, isAllowed: (vma: Vma) => boolean, work: Work,
): KernelOp<number> {
  if (end <= start) return 0
  yield* mm.mmapLock.acquire(cpu, false)
  yield k.costs.vmaOperation
  const isEach = k.config.kernel.era === 'linux-4.6'
  let result = mm.vmas.covers(start, end) ? 0 : -ERRNO.ENOMEM
  let gather = gatherMmu(mm, false)
  for (const vma of clip(mm, start, end)) {
    if (!isAllowed(vma)) {
      result = -ERRNO.EINVAL
      break
    }
    if (isEach) gather.asked = { start: vma.vmStart, end: vma.vmEnd }
    yield* work(gather, vma)
    if (!isEach) continue
    yield* finishMmu(k, cpu, gather)
    gather = gatherMmu(mm, false)
  }
  yield* finishMmu(k, cpu, gather)
  mm.mmapLock.release(cpu, false)
  return result
}

function* walkTables(
  k: KernelState, cpu: KernelCpu, gather: MmuGather, { vmStart, vmEnd }: Vma, visit: Visit, afterTable?: () => KernelOp,
): KernelOp {
  const { mm } = gather
  const regionPages = pagesPerHugePage(k.geometry)
  for (let vpn = vmStart; vpn < vmEnd;) {
    const regionEnd = Math.min(vmEnd, Math.floor(vpn / regionPages) * regionPages + regionPages)
    if (findLeaf(k, mm, vpn) === LEVEL_PTE) {
      const { pfn: table, slot: first } = $slot
      const lock = pageTableLock(mm, table)
      yield* lock.acquire(cpu, true)
      cpu.preemptCount += 1
      yield* flushTlbBatchedPending(k, cpu, mm)
      let entries = 0
      for (let i = 0; vpn + i < regionEnd; i++) {
        const slot = first + i
        const lo = k.mem.loadLo(table, slot)
        const hi = k.mem.loadHi(table, slot)
        if (lo === 0 && hi === 0) continue
        visit(k, cpu, gather, { vpn: vpn + i, table, slot, lo, hi })
        entries += 1
      }
      if (entries > 0) yield entries * k.costs.ptePerPage
      cpu.preemptCount -= 1
      lock.release(cpu, true)
      if (afterTable !== undefined) yield* afterTable()
    }
    vpn = regionEnd
  }
}

/** madvise_free_pte_range(), one entry. */
function freeEntry(k: KernelState, cpu: KernelCpu, gather: MmuGather, entry: Advised): void {
  const { mm } = gather
  const { table, slot, lo, hi } = entry
  if (isSwapPte(lo, hi)) {
    if (isMigrationEntry(lo, hi)) return
    setEntry(k, cpu, mm, table, slot, 0, 0)
    mm.swapPages -= 1
    freeSwapAndCache(k, cpu, swapValue(lo, hi))
    return
  }
  const pfn = pageOf(k, entry)
  if (pfn < 0 || !giveUpDirt(k, cpu, pfn)) return
  changeFlags(k, cpu, gather, entry, PAGE_ACCESSED | PAGE_DIRTY, SAVED_DIRTY_HI)
  markLazyfree(k, pfn)
}

/** What the page and its slot know of being dirty goes; false where others depend on it. */
function giveUpDirt(k: KernelState, cpu: KernelCpu, pfn: number): boolean {
  const hasSlot = swapCacheSlot(k, pfn) !== undefined
  if (!hasSlot && !isPageDirty(k, pfn)) return true
  if (isPageLocked(k, pfn) || k.frames.mapcount[pfn] !== 1) return false
  if (hasSlot && !freeSwapOf(k, cpu, pfn)) return false
  clearPageDirty(k, pfn)
  return true
}

/** madvise_cold_or_pageout_pte_range(), one entry: clears A. The frame of a page that is this mm's alone, else -1. */
function ageEntry(k: KernelState, cpu: KernelCpu, gather: MmuGather, entry: Advised): number {
  const pfn = pageOf(k, entry)
  if (pfn < 0 || k.frames.mapcount[pfn] !== 1) return -1
  changeFlags(k, cpu, gather, entry, PAGE_ACCESSED, 0)
  testClearReferenced(k, pfn)
  return pfn
}

/** Takes flags away; what had any of them is flushed. */
function changeFlags(
  k: KernelState, cpu: KernelCpu, gather: MmuGather, { vpn, table, slot, lo, hi }: Advised,
  maskLo: number, maskHi: number,
): void {
  if ((lo & maskLo) === 0 && (hi & maskHi) === 0) return
  setEntry(k, cpu, gather.mm, table, slot, lo & ~maskLo, hi & ~maskHi)
  gatherEntry(gather, vpn, 1)
}

/** vm_normal_folio() of a base page; -1: there is none. */
function pageOf(k: KernelState, { lo, hi }: Advised): number {
  const pfn = entryPfn(lo, hi, k.geometry.pageShift)
  if (!ptePresent(lo) || (lo & PAGE_SPECIAL) !== 0 || pfn === k.zeroPagePfn) return -1
  return k.frames.order[pfn] > 0 ? -1 : pfn
}

/** can_madv_lru_vma(). */
function isOnLists(vma: Vma): boolean {
  return !vma.huge && !vma.device
}
