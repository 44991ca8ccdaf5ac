// Transparent huge pages in page faults (mm/huge_memory.c): the first touch of an aligned range of
// an anonymous area maps a whole huge page if there is one; a write to a shared one is copied whole
// (4.6) or split and copied page by page (6.x). Where it does not work out, base pages are mapped.
//
//   fault       entry of the huge level    what happens
//   any         empty, area allows it      a huge page, or 'fallback'
//   write       huge, read-only            reuse by the sole owner, else copy or split ('fallback')
//   any         huge, P clear, PS set      being split: waits for the lock and lets the CPU try again
//
// Simplified: there is no huge zero page: a read fault maps a huge page of its own, as with
// use_zero_page=0. Memory that is only read is charged earlier than in Linux.

import { entryPfn, PAGE_ACCESSED, PAGE_DIRTY, PAGE_PRESENT, PAGE_PROTNONE, PAGE_PSE, PAGE_RW, PFN_HI_MASK,
} from '../../machine/entry.js'
import { EVENT } from '../../trace/events.js'
import type { KernelCpu } from '../cpu.js'
import { settleRange } from '../pages/deferred-free.js'
import { FRAME_USER } from '../pages/frames.js'
import type { KernelOp } from '../kernel-op.js'
import { leafFlags, SAVED_DIRTY_HI, storeLeaf } from '../mm/leaf.js'
import type { Mm } from '../mm/mm.js'
import { unlockPage } from '../locking/page-lock.js'
import { $slot, allocTable, allocTableFrame, findTable, hugeLevel, pagesPerHugePage, setEntry } from '../mm/pgtable.js'
import { pageTableLock } from '../locking/pt-lock.js'
import { pageAddRmap, pageRemoveRmap } from '../pages/rmap.js'
import { depositTable, findHugePmd, freeTableFrame, hugeOrder, lockPageUnder, splitHugePmd } from './split-huge.js'
import type { KernelState } from '../state.js'
import { emit, vpnHi, vpnLo } from '../state.js'
import { NO_FILE } from '../mm/vma.js'
import type { Vma } from '../mm/vma.js'

/** `fallback`: the base page is to be handled; `oom`: there was no memory for a page table. */
export type HugeFaultResult = 'done' | 'fallback' | 'oom'

/** Where a huge entry stands. */
interface HugeSlot {
  /** First base page of the range. */
  start: number
  table: number
  slot: number
}

/** thp_vma_allowable_order(): may this area have transparent huge pages at all? */
export function mayHaveThp(k: KernelState, vma: Vma): boolean {
  const { thp } = k.config.kernel
  if (thp === 'never' || vma.huge || vma.shared || vma.file !== NO_FILE || vma.thp === 'nohugepage') return false
  return thp === 'always' || vma.thp === 'hugepage'
}

/** Does the aligned range around `vpn` lie in the area? */
export function rangeFits(k: KernelState, vma: Vma, vpn: number): boolean {
  const unit = pagesPerHugePage(k.geometry)
  const start = vpn - (vpn % unit)
  return start >= vma.vmStart && start + unit <= vma.vmEnd
}

/** Is it for {@link handleHugeFault}: may there be a huge page at `vpn`, or is there one? */
export function isHugeFault(k: KernelState, mm: Mm, vma: Vma, vpn: number): boolean {
  return !vma.huge && ((mayHaveThp(k, vma) && rangeFits(k, vma, vpn)) || findHugePmd(k, mm, vpn))
}

/** The part of __handle_mm_fault() above the base-page level. mmap_lock is held for reading. */
export function* handleHugeFault(
  k: KernelState, cpu: KernelCpu, mm: Mm, vma: Vma, vpn: number, write: boolean,
): KernelOp<HugeFaultResult> {
  const level = hugeLevel(k.geometry)
  const isCandidate = mayHaveThp(k, vma) && rangeFits(k, vma, vpn)
  const start = vpn - (vpn % pagesPerHugePage(k.geometry))
  if (isCandidate) yield* settleRange(k, cpu, mm, start, start + pagesPerHugePage(k.geometry))
  if (isCandidate && !allocTable(k, cpu, mm, start, level)) return 'oom'
  if (!isCandidate && !findTable(k, mm, start, level)) return 'fallback'
  const at = { start, table: $slot.pfn, slot: $slot.slot }
  const lo = k.mem.loadLo(at.table, at.slot)
  const isEmpty = lo === 0 && k.mem.loadHi(at.table, at.slot) === 0
  if (isEmpty) return isCandidate ? yield* doHugePmdAnonymousPage(k, cpu, mm, vma, at) : 'fallback'
  if (!k.geometry.levels[level].leaf || (lo & PAGE_PSE) === 0) return 'fallback'
  if (write && (lo & PAGE_RW) === 0) return yield* doHugePmdWpPage(k, cpu, mm, vma, at)
  yield* waitForSplit(cpu, mm, at, lo)
  k.counters.spuriousFaults += 1
  return 'done'
}

/** An entry that is being split is P=0: the lock is let go when the table is there. */
function* waitForSplit(cpu: KernelCpu, mm: Mm, at: HugeSlot, lo: number): KernelOp {
  if ((lo & (PAGE_PRESENT | PAGE_PROTNONE)) !== 0) return
  const lock = pageTableLock(mm, at.table)
  yield* lock.acquire(cpu, true)
  lock.release(cpu, true)
}

/** do_huge_pmd_anonymous_page(): a zeroed huge page, writable at once where the area is. */
function* doHugePmdAnonymousPage(
  k: KernelState, cpu: KernelCpu, mm: Mm, vma: Vma, at: HugeSlot,
): KernelOp<HugeFaultResult> {
  const pages = pagesPerHugePage(k.geometry)
  const pfn = allocateThp(k, cpu)
  if (pfn < 0) {
    k.counters.thpFaultFallback += 1
    return 'fallback'
  }
  const deposit = allocTableFrame(k, cpu)
  if (deposit < 0) {
    freeThp(k, cpu, pfn)
    return 'oom'
  }
  for (let i = 0; i < pages; i++) k.mem.zeroFrame(pfn + i)
  yield pages * k.costs.zeroPage
  const lock = pageTableLock(mm, at.table)
  yield* lock.acquire(cpu, true)
  yield* settleRange(k, cpu, mm, at.start, at.start + pages)
  if (isEmptySlot(k, at)) {
    mapHugePmd(k, cpu, mm, vma, at, pfn, deposit)
    mm.rssPages += pages
    k.counters.thpFaultAlloc += 1
  } else {
    // Another thread was faster; its page stays.
    freeThp(k, cpu, pfn)
    freeTableFrame(k, cpu, deposit)
  }
  lock.release(cpu, true)
  return 'done'
}

/** set_huge_pmd of a new page: dirty and writable where the area permits writes, whoever faulted. */
export function mapHugePmd(
  k: KernelState, cpu: KernelCpu, mm: Mm, vma: Vma, at: HugeSlot, pfn: number, deposit: number,
): void {
  depositTable(mm, at.table, deposit)
  storeLeaf(k, cpu, mm, at.table, at.slot, pfn, leafFlags(k, vma.prot, hugeLevel(k.geometry), true))
  pageAddRmap(k, mm, at.start, pfn, pagesPerHugePage(k.geometry))
  k.frames.anonExclusive[pfn] = 1
  emit(k, cpu, EVENT.pageMap, vpnHi(k, at.start), vpnLo(k, at.start), pfn, k.frames.order[pfn])
}

/** do_huge_pmd_wp_page(). */
function* doHugePmdWpPage(
  k: KernelState, cpu: KernelCpu, mm: Mm, vma: Vma, at: HugeSlot,
): KernelOp<HugeFaultResult> {
  const is46 = k.config.kernel.era === 'linux-4.6'
  const lock = pageTableLock(mm, at.table)
  yield* lock.acquire(cpu, true)
  const lo = k.mem.loadLo(at.table, at.slot)
  const hi = k.mem.loadHi(at.table, at.slot)
  const isStillReadOnly = (lo & PAGE_PRESENT) !== 0 && (lo & PAGE_PSE) !== 0 && (lo & PAGE_RW) === 0
  if (!isStillReadOnly) {
    k.counters.spuriousFaults += 1
    lock.release(cpu, true)
    return 'done'
  }
  const page = entryPfn(lo, hi & PFN_HI_MASK, k.geometry.pageShift)
  const isLocked = is46 && !k.bugs.has('h05-mapcount-not-atomic-against-split')
  const isSame = (): boolean => k.mem.loadLo(at.table, at.slot) === lo && k.mem.loadHi(at.table, at.slot) === hi
  if (isLocked && !(yield* lockPageUnder(k, cpu, lock, page, isSame))) {
    lock.release(cpu, true)
    return 'done'
  }
  const canReuse = is46 ? (yield* transHugeMapcountSlow(k, page)) === 1 : mayReuseHuge(k, page)
  if (isLocked) unlockPage(k, cpu, page)
  if (canReuse && isSame()) {
    setEntry(k, cpu, mm, at.table, at.slot, lo | PAGE_RW | PAGE_DIRTY | PAGE_ACCESSED, hi & ~SAVED_DIRTY_HI)
    k.frames.anonExclusive[page] = 1
    k.counters.cowReuses += 1
    lock.release(cpu, true)
    yield k.costs.ptePerPage
    return 'done'
  }
  lock.release(cpu, true)
  const copy = is46 && mayHaveThp(k, vma) ? allocateThp(k, cpu) : -1
  if (copy >= 0) return yield* copyHugePage(k, cpu, mm, vma, at, { page, lo, hi }, copy)
  if (is46) k.counters.thpFaultFallback += 1
  yield* splitHugePmd(k, cpu, mm, at.start)
  return 'fallback'
}

/** 4.6: the huge page is copied whole; old entry cleared, flushed everywhere, then the new one set. */
function* copyHugePage(
  k: KernelState, cpu: KernelCpu, mm: Mm, vma: Vma, at: HugeSlot, old: { page: number; lo: number; hi: number },
  copy: number,
): KernelOp<HugeFaultResult> {
  const pages = pagesPerHugePage(k.geometry)
  // The reference keeps the page while it is read without the lock.
  k.frames.get(old.page)
  k.mem.copyFrame(copy, old.page, pages)
  yield pages * k.costs.copyPage
  const lock = pageTableLock(mm, at.table)
  yield* lock.acquire(cpu, true)
  putThp(k, cpu, old.page)
  if (k.mem.loadLo(at.table, at.slot) !== old.lo || k.mem.loadHi(at.table, at.slot) !== old.hi) {
    freeThp(k, cpu, copy)
    lock.release(cpu, true)
    return 'done'
  }
  cpu.preemptCount += 1
  setEntry(k, cpu, mm, at.table, at.slot, 0, 0)
  yield k.costs.ptePerPage
  yield* k.policy.flushMmRange(k, cpu, mm, {
    start: at.start, end: at.start + pages, stridePages: 1, freedTables: true, hugetlb: false,
  })
  storeLeaf(k, cpu, mm, at.table, at.slot, copy, leafFlags(k, vma.prot, hugeLevel(k.geometry), true))
  pageAddRmap(k, mm, at.start, copy, pages)
  k.frames.anonExclusive[copy] = 1
  k.counters.cowCopies += 1
  k.counters.thpFaultAlloc += 1
  emit(k, cpu, EVENT.pageMap, vpnHi(k, at.start), vpnLo(k, at.start), copy, k.frames.order[copy])
  pageRemoveRmap(k, mm, at.start, old.page, pages)
  putThp(k, cpu, old.page)
  cpu.preemptCount -= 1
  lock.release(cpu, true)
  return 'done'
}

/** 6.x: may a huge entry become writable without a copy? Yes when nobody else refers to the page. */
function mayReuseHuge(k: KernelState, page: number): boolean {
  return k.frames.anonExclusive[page] === 1 || k.frames.refcount[page] === 1
}

/** page_trans_huge_mapcount(): how many times the most shared part of the page is mapped. */
export function transHugeMapcount(k: KernelState, head: number): number {
  return partMapcount(k, head) + k.frames.entireMapcount[head]
}

/**
 * The same as 4.6 does it in a write fault: it reads one struct page after the other, then the count of huge entries.
 * A split that moves the one to the others meanwhile would be seen half: so both hold the page lock.
 */
function* transHugeMapcountSlow(k: KernelState, head: number): KernelOp<number> {
  const most = partMapcount(k, head)
  yield Math.max(1, (1 << k.frames.order[head]) * k.costs.walkStep)
  return most + k.frames.entireMapcount[head]
}

function partMapcount(k: KernelState, head: number): number {
  const { mapcount, order } = k.frames
  let most = 0
  for (let pfn = head; pfn < head + (1 << order[head]); pfn++) most = Math.max(most, mapcount[pfn])
  return most
}

/** alloc_hugepage_vma(): the first frame, or -1. */
export function allocateThp(k: KernelState, cpu: KernelCpu): number {
  const pfn = k.frames.allocate(cpu.id, hugeOrder(k), FRAME_USER)
  if (pfn < 0) return -1
  k.frames.isThp[pfn] = 1
  k.counters.pagesAllocated += pagesPerHugePage(k.geometry)
  return pfn
}

/** Of a page that was never mapped. */
export function freeThp(k: KernelState, cpu: KernelCpu, pfn: number): void {
  k.frames.put(cpu.id, pfn)
  k.counters.pagesFreed += pagesPerHugePage(k.geometry)
}

function putThp(k: KernelState, cpu: KernelCpu, pfn: number): void {
  if (!k.frames.put(cpu.id, pfn)) return
  k.deferredSplits.delete(pfn)
  k.counters.pagesFreed += pagesPerHugePage(k.geometry)
}

function isEmptySlot(k: KernelState, at: HugeSlot): boolean {
  return k.mem.loadLo(at.table, at.slot) === 0 && k.mem.loadHi(at.table, at.slot) === 0
}
