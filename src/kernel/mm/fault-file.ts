// Faults in areas that map a file, shared anonymous memory or a device (mm/memory.c: do_fault): a
// read maps the page of the cache, a write to a private area copies it, a write to a shared area
// makes it writable and, in files, dirty (page_mkwrite).

import { PAGE_ACCESSED, PAGE_DIRTY, PAGE_RW, ptePresent } from '../../machine/entry.js'
import { LEVEL_PTE } from '../../machine/geometry.js'
import { EVENT } from '../../trace/events.js'
import { PROT_WRITE } from '../abi.js'
import type { KernelCpu } from '../cpu.js'
import type { FaultAccess, FaultResult } from './fault.js'
import { settleRange } from '../pages/deferred-free.js'
import { FRAME_USER } from '../pages/frames.js'
import { listedOwner } from '../huge/hugetlb.js'
import type { KernelOp } from '../kernel-op.js'
import { leafFlags, PAGE_SPECIAL, SAVED_DIRTY_HI, storeLeaf } from './leaf.js'
import type { Mm } from './mm.js'
import { makeRoom } from '../pages/page-alloc.js'
import type { MappedFile } from '../pages/page-cache.js'
import { fileOf, findOrReadPage, isCachedAs } from '../pages/page-cache.js'
import { isPageLocked, waitOnPageLocked } from '../locking/page-lock.js'
import { pagesPerEntry, setEntry } from './pgtable.js'
import { pageAddRmap } from '../pages/rmap.js'
import type { KernelState } from '../state.js'
import { emit, vpnHi, vpnLo } from '../state.js'
import { pgoffAt } from './vma.js'
import type { Vma } from './vma.js'
import { pageTableLock } from './zap.js'

/** Where the entry to be filled stands. */
export interface FaultSlot {
  vpn: number
  level: number
  table: number
  slot: number
}

/** do_fault(): the entry is empty and the area maps something. */
export function* doFileFault(
  k: KernelState, cpu: KernelCpu, mm: Mm, vma: Vma, at: FaultSlot, access: FaultAccess,
): KernelOp<FaultResult> {
  const file = fileOf(k, vma)
  if (file === undefined) return 'SIGBUS'
  const page = Math.floor(pgoffAt(vma, at.vpn) / file.unit)
  if (file.unit === 1 && !file.pages.has(page) && !(yield* makeRoom(k, cpu, 1))) return outOfMemory(k, cpu, file)
  const pfn = yield* findOrReadPage(k, cpu, file, page)
  if (pfn === -2) return 'SIGBUS'
  if (pfn < 0) return outOfMemory(k, cpu, file)
  // lock_page(): whoever moves the page finishes first.
  if (isPageLocked(k, pfn)) {
    yield* waitOnPageLocked(k, cpu, pfn)
    return 'done'
  }
  if (access.write && !vma.shared) return yield* doCowFault(k, cpu, mm, vma, at, file, page, pfn)
  const lock = pageTableLock(mm, at.table)
  yield* lock.acquire(cpu, true)
  yield* settleRange(k, cpu, mm, at.vpn, at.vpn + pagesPerEntry(k.geometry, at.level))
  if (isStillEmpty(k, at) && isCachedAs(k, file, page, pfn) && !isPageLocked(k, pfn)) {
    storeLeaf(k, cpu, mm, at.table, at.slot, pfn, fileLeafFlags(k, vma, file, at.level, access.write))
    if (access.write) file.dirty.add(page)
    addMapping(k, cpu, mm, at, pfn, file)
    k.counters.fileFaults += 1
  }
  lock.release(cpu, true)
  yield k.costs.ptePerPage
  return 'done'
}

/**
 * A write to a present entry of a shared area that does not permit it: do_wp_page() of shared pages. The page stays
 * where it is, so nothing is flushed; a CPU that still has the old entry faults once more.
 */
export function* doSharedWrite(
  k: KernelState, cpu: KernelCpu, mm: Mm, vma: Vma, at: FaultSlot,
): KernelOp<FaultResult> {
  const lock = pageTableLock(mm, at.table)
  yield* lock.acquire(cpu, true)
  const lo = k.mem.loadLo(at.table, at.slot)
  const hi = k.mem.loadHi(at.table, at.slot)
  if (ptePresent(lo) && (lo & PAGE_RW) === 0) {
    const file = fileOf(k, vma)
    if (file !== undefined) file.dirty.add(Math.floor(pgoffAt(vma, at.vpn) / file.unit))
    setEntry(k, cpu, mm, at.table, at.slot, lo | PAGE_RW | PAGE_DIRTY | PAGE_ACCESSED, hi & ~SAVED_DIRTY_HI)
    k.counters.sharedWriteFaults += 1
  } else {
    k.counters.spuriousFaults += 1
  }
  lock.release(cpu, true)
  yield k.costs.ptePerPage
  return 'done'
}

/** May a shared area's entry permit writes before anybody has written (no vma_wants_writenotify)? */
export function isWritableAtOnce(k: KernelState, vma: Vma): boolean {
  return vma.shared && (vma.prot & PROT_WRITE) !== 0 && fileOf(k, vma)?.kind !== 'file'
}

/** do_cow_fault(): a private copy at the first write, without ever mapping the page of the cache. */
function* doCowFault(
  k: KernelState, cpu: KernelCpu, mm: Mm, vma: Vma, at: FaultSlot, file: MappedFile, page: number, pfn: number,
): KernelOp<FaultResult> {
  const pages = pagesPerEntry(k.geometry, at.level)
  const isRoom = at.level !== LEVEL_PTE || (yield* makeRoom(k, cpu, pages))
  // Making room may have taken the page.
  if (!isCachedAs(k, file, page, pfn)) return 'done'
  const copy = isRoom ? k.frames.allocate(cpu.id, Math.log2(pages), FRAME_USER) : -1
  if (copy < 0) return outOfMemory(k, cpu, file)
  k.counters.pagesAllocated += pages
  k.mem.copyFrame(copy, pfn, pages)
  yield pages * k.costs.copyPage
  const lock = pageTableLock(mm, at.table)
  yield* lock.acquire(cpu, true)
  yield* settleRange(k, cpu, mm, at.vpn, at.vpn + pages)
  if (isStillEmpty(k, at) && isCachedAs(k, file, page, pfn)) {
    storeLeaf(k, cpu, mm, at.table, at.slot, copy, leafFlags(k, vma.prot, at.level, true))
    addMapping(k, cpu, mm, at, copy, undefined)
    k.frames.anonExclusive[copy] = 1
    k.counters.cowCopies += 1
  } else if (k.frames.put(cpu.id, copy)) {
    k.counters.pagesFreed += pages
  }
  lock.release(cpu, true)
  return 'done'
}

/** Entry flags of a page of the cache: writable at once only where nobody wants to know of the first write. */
function fileLeafFlags(
  k: KernelState, vma: Vma, file: MappedFile, level: number, write: boolean,
): { lo: number; hi: number } {
  const flags = leafFlags(k, vma.prot, level, vma.shared && (write || file.kind === 'hugetlb'))
  if (isWritableAtOnce(k, vma)) flags.lo |= PAGE_RW
  if (file.kind === 'device') flags.lo |= PAGE_SPECIAL
  return flags
}

function addMapping(
  k: KernelState, cpu: KernelCpu, mm: Mm, at: FaultSlot, pfn: number, file: MappedFile | undefined,
): void {
  emit(k, cpu, EVENT.pageMap, vpnHi(k, at.vpn), vpnLo(k, at.vpn), pfn, k.frames.order[pfn])
  if (file?.kind === 'device') return
  // Of an anonymous copy the allocation's reference is the mapping's; a page of the cache gets another.
  if (file !== undefined) k.frames.get(pfn)
  const pages = pagesPerEntry(k.geometry, at.level)
  const owner = listedOwner(k, mm, at.vpn, at.table)
  pageAddRmap(k, owner.mm, owner.vpn, pfn, pages)
  if (!k.sharedTables.has(at.table)) mm.rssPages += pages
}

function isStillEmpty(k: KernelState, at: FaultSlot): boolean {
  return k.mem.loadLo(at.table, at.slot) === 0 && k.mem.loadHi(at.table, at.slot) === 0
}

function outOfMemory(k: KernelState, cpu: KernelCpu, file: MappedFile): FaultResult {
  if (file.kind === 'hugetlb') return 'SIGBUS'
  emit(k, cpu, EVENT.oom, k.trace.intern('page cache'))
  return 'oom'
}
