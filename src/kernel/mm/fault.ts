// Page faults: find the area, judge the access, then demand-zero, copy-on-write, or nothing
// (mm/memory.c, arch/x86/mm/fault.c). A list of early returns; the caller turns the result into a
// signal.
//
// Simplified: 6.x takes a per-VMA lock for most faults; here every fault takes mmap_lock for
// reading. Faults run in parallel either way; they wait only while a writer is at work.

import { entryPfn, PAGE_ACCESSED, PAGE_DIRTY, PAGE_NX_HI, PAGE_PRESENT, PAGE_RW,
  pteProtnone } from '../../machine/entry.js'
import { LEVEL_PTE } from '../../machine/geometry.js'
import { EVENT } from '../../trace/events.js'
import { PROT_EXEC, PROT_READ, PROT_WRITE } from '../abi.js'
import type { KernelCpu } from '../cpu.js'
import { settleRange } from '../pages/deferred-free.js'
import { doFileFault, doSharedWrite } from './fault-file.js'
import { doSwapPage } from './fault-swap.js'
import { FRAME_USER } from '../pages/frames.js'
import { handleHugeFault, isHugeFault, transHugeMapcount } from '../huge/huge-memory.js'
import { hugePteAlloc, levelOf } from '../huge/hugetlb.js'
import type { KernelOp } from '../kernel-op.js'
import { leafFlags, SAVED_DIRTY_HI, storeLeaf } from './leaf.js'
import type { Mm } from './mm.js'
import { cachePlace } from '../pages/page-cache.js'
import { hasRoom, makeRoom } from '../pages/page-alloc.js'
import { isPageLocked } from '../locking/page-lock.js'
import { $slot, allocTable, findTable, pagesPerEntry, setEntry } from './pgtable.js'
import { doNumaPage } from './numa.js'
import { folioRmapWalk, pageAddRmap, pageRemoveRmap } from '../pages/rmap.js'
import { findHugePmd, shrinkDeferredSplits, totalMapcount } from '../huge/split-huge.js'
import type { KernelState } from '../state.js'
import { emit, vpnHi, vpnLo } from '../state.js'
import { isSwapPte } from '../reclaim/swap-entry.js'
import { freeSwapCache, freeSwapOf, swapCacheSlot } from '../reclaim/swap.js'
import type { Vma } from './vma.js'
import { NO_FILE } from './vma.js'
import { pageTableLock } from './zap.js'

export type FaultResult = 'done' | 'SIGSEGV' | 'SIGBUS' | 'oom'

export interface FaultAccess {
  write: boolean
  exec: boolean
}

/** handle_mm_fault() under mmap_lock, for the kernel itself. */
export function* handleMmFault(
  k: KernelState, cpu: KernelCpu, mm: Mm, vpn: number, access: FaultAccess,
): KernelOp<FaultResult> {
  yield* mm.mmapLock.acquire(cpu, false)
  const result = yield* faultLocked(k, cpu, mm, vpn, access)
  mm.mmapLock.release(cpu, false)
  return result
}

/** The same with mmap_lock held by the caller. */
export function* faultLocked(
  k: KernelState, cpu: KernelCpu, mm: Mm, vpn: number, access: FaultAccess,
): KernelOp<FaultResult> {
  const vma = mm.vmas.find(vpn)
  if (vma === undefined) return 'SIGSEGV'
  if (access.write && (vma.prot & PROT_WRITE) === 0) return 'SIGSEGV'
  if (access.exec && (vma.prot & PROT_EXEC) === 0) return 'SIGSEGV'
  if (!access.write && !access.exec && (vma.prot & (PROT_READ | PROT_WRITE | PROT_EXEC)) === 0) return 'SIGSEGV'
  const begin = cpu.now
  if (isHugeFault(k, mm, vma, vpn)) {
    const result = yield* handleHugeFault(k, cpu, mm, vma, vpn, access.write)
    if (result === 'oom') return outOfMemory(k, cpu, 'page table')
    if (result === 'done') return 'done'
  }
  const level = vma.huge ? levelOf(k.geometry, vma) : LEVEL_PTE
  const pages = pagesPerEntry(k.geometry, level)
  const pageVpn = Math.floor(vpn / pages) * pages
  const forTables = k.geometry.levels.length
  const isReady = findTable(k, mm, pageVpn, level) || hasRoom(k, forTables) || (yield* makeRoom(k, cpu, forTables))
  yield* settleRange(k, cpu, mm, pageVpn, pageVpn + pages)
  // If that took time, another thread may have mapped a huge page here: the program looks again.
  if (cpu.now > begin && !vma.huge && findHugePmd(k, mm, vpn)) return 'done'
  if (!isReady || !allocFor(k, cpu, mm, vma, pageVpn, level)) return outOfMemory(k, cpu, 'page table')
  const { pfn: table, slot } = $slot
  const lo = k.mem.loadLo(table, slot)
  const hi = k.mem.loadHi(table, slot)
  if (isSwapPte(lo, hi)) {
    const result = yield* doSwapPage(k, cpu, mm, vma, { vpn: pageVpn, level, table, slot }, access)
    return result === 'shared' ? yield* doWpPage(k, cpu, mm, pageVpn, level, table, slot) : result
  }
  if (pteProtnone(lo)) return yield* doNumaPage(k, cpu, mm, vma, { vpn: pageVpn, level, table, slot })
  if (lo === 0 && hi === 0) {
    if (vma.file !== NO_FILE) {
      return yield* doFileFault(k, cpu, mm, vma, { vpn: pageVpn, level, table, slot }, access)
    }
    return yield* doAnonymousPage(k, cpu, mm, vma, pageVpn, level, table, slot, access)
  }
  if (access.write && (lo & PAGE_RW) === 0 && vma.shared) {
    return yield* doSharedWrite(k, cpu, mm, vma, { vpn: pageVpn, level, table, slot })
  }
  if (access.write && (lo & PAGE_RW) === 0) return yield* doWpPage(k, cpu, mm, pageVpn, level, table, slot)
  k.counters.spuriousFaults += 1
  return 'done'
}

/** The tables down to `level`; those of hugetlb areas may be shared. False: out of memory. */
function allocFor(k: KernelState, cpu: KernelCpu, mm: Mm, vma: Vma, vpn: number, level: number): boolean {
  return vma.huge ? hugePteAlloc(k, cpu, mm, vma, vpn) : allocTable(k, cpu, mm, vpn, level)
}

/** do_anonymous_page(): the zero page for a read, a zeroed page for a write. */
function* doAnonymousPage(
  k: KernelState, cpu: KernelCpu, mm: Mm, vma: Vma, vpn: number, level: number, table: number, slot: number,
  access: FaultAccess,
): KernelOp<FaultResult> {
  const lock = pageTableLock(mm, table)
  if (!access.write && level === LEVEL_PTE) {
    yield* lock.acquire(cpu, true)
    yield* settleRange(k, cpu, mm, vpn, vpn + 1)
    // Under the lock: the entry may be empty only for the moment, in the middle of a copy-on-write.
    if (isEmpty(k, table, slot)) {
      storeLeaf(k, cpu, mm, table, slot, k.zeroPagePfn, leafFlags(k, vma.prot, level, false))
      k.counters.zeroPageFaults += 1
    }
    lock.release(cpu, true)
    yield k.costs.ptePerPage
    return 'done'
  }
  const pages = pagesPerEntry(k.geometry, level)
  const isRoom = level !== LEVEL_PTE || hasRoom(k, pages) || (yield* makeRoom(k, cpu, pages))
  let pfn = isRoom ? allocateUserPage(k, cpu, pages) : -1
  if (pfn < 0 && isRoom) pfn = yield* splitAndAllocate(k, cpu, pages)
  if (pfn < 0) return level === LEVEL_PTE ? outOfMemory(k, cpu, 'anonymous page') : 'SIGBUS'
  zeroPages(k, pfn, pages)
  yield pages * k.costs.zeroPage
  yield* lock.acquire(cpu, true)
  yield* settleRange(k, cpu, mm, vpn, vpn + pages)
  if (isEmpty(k, table, slot)) {
    storeLeaf(k, cpu, mm, table, slot, pfn, leafFlags(k, vma.prot, level, access.write))
    pageAddRmap(k, mm, vpn, pfn, pages)
    k.frames.anonExclusive[pfn] = 1
    mm.rssPages += pages
    k.counters.demandZero += 1
    emit(k, cpu, EVENT.pageMap, vpnHi(k, vpn), vpnLo(k, vpn), pfn, k.frames.order[pfn])
  } else {
    // Another thread was faster; its page stays.
    freeUserPage(k, cpu, pfn)
  }
  lock.release(cpu, true)
  return 'done'
}

/** do_wp_page(): reuse by the sole owner, else copy. Old entry cleared, flushed everywhere, then the new one set. */
function* doWpPage(
  k: KernelState, cpu: KernelCpu, mm: Mm, vpn: number, level: number, table: number, slot: number,
): KernelOp<FaultResult> {
  const g = k.geometry
  const pages = pagesPerEntry(g, level)
  const lock = pageTableLock(mm, table)
  yield* lock.acquire(cpu, true)
  const oldLo = k.mem.loadLo(table, slot)
  const oldHi = k.mem.loadHi(table, slot)
  const isStillReadOnly = (oldLo & PAGE_PRESENT) !== 0 && (oldLo & PAGE_RW) === 0
  const old = entryPfn(oldLo, oldHi, g.pageShift)
  if (!isStillReadOnly) {
    k.counters.spuriousFaults += 1
    lock.release(cpu, true)
    return 'done'
  }
  if (old !== k.zeroPagePfn && mayReuse(k, cpu, mm, old)) {
    setEntry(k, cpu, mm, table, slot, oldLo | PAGE_RW | PAGE_DIRTY | PAGE_ACCESSED, oldHi & ~SAVED_DIRTY_HI)
    k.frames.anonExclusive[old] = 1
    k.counters.cowReuses += 1
    lock.release(cpu, true)
    yield k.costs.ptePerPage
    return 'done'
  }
  lock.release(cpu, true)
  const isRoom = level !== LEVEL_PTE || hasRoom(k, pages) || (yield* makeRoom(k, cpu, pages))
  // Making room may have taken the page itself.
  if (k.mem.loadLo(table, slot) !== oldLo || k.mem.loadHi(table, slot) !== oldHi) return 'done'
  let copy = isRoom ? allocateUserPage(k, cpu, pages) : -1
  if (copy < 0 && isRoom) copy = yield* splitAndAllocate(k, cpu, pages)
  if (copy < 0) return level === LEVEL_PTE ? outOfMemory(k, cpu, 'copy-on-write page') : 'SIGBUS'
  if (old === k.zeroPagePfn) zeroPages(k, copy, pages)
  else k.mem.copyFrame(copy, old, pages)
  yield pages * (old === k.zeroPagePfn ? k.costs.zeroPage : k.costs.copyPage)
  yield* lock.acquire(cpu, true)
  cpu.preemptCount += 1
  if (k.mem.loadLo(table, slot) === oldLo && k.mem.loadHi(table, slot) === oldHi) {
    setEntry(k, cpu, mm, table, slot, 0, 0)
    yield k.costs.ptePerPage
    yield* k.policy.flushPage(k, cpu, mm, vpn)
    const exec = (oldHi & PAGE_NX_HI) === 0 && g.entryBytes === 8 ? PROT_EXEC : 0
    const flags = leafFlags(k, PROT_READ | PROT_WRITE | exec, level, true)
    storeLeaf(k, cpu, mm, table, slot, copy, flags)
    pageAddRmap(k, mm, vpn, copy, pages)
    k.frames.anonExclusive[copy] = 1
    k.counters.cowCopies += 1
    emit(k, cpu, EVENT.pageMap, vpnHi(k, vpn), vpnLo(k, vpn), copy, k.frames.order[copy])
    if (old === k.zeroPagePfn) {
      mm.rssPages += pages
    } else {
      pageRemoveRmap(k, mm, vpn, old, pages)
      freeSwapCache(k, cpu, old)
      freeUserPage(k, cpu, old)
    }
  } else {
    freeUserPage(k, cpu, copy)
  }
  cpu.preemptCount -= 1
  lock.release(cpu, true)
  return 'done'
}

/**
 * May the only mapping of a page become writable without a copy? 4.6 counts mappings (reuse_swap_page); 6.x
 * counts references (wp_can_reuse_anon_folio), so a page that another mm's gather or reclaim still holds is copied. The
 * swap cache gives the page up if no entry names its slot.
 */
function mayReuse(k: KernelState, cpu: KernelCpu, mm: Mm, pfn: number): boolean {
  if (cachePlace(k, pfn) !== undefined) return false
  if (k.frames.isThp[k.frames.headOf(pfn)] === 1) return mayReusePart(k, mm, pfn)
  if (k.frames.mapcount[pfn] + k.frames.entireMapcount[pfn] !== 1) return false
  const is46 = k.config.kernel.era === 'linux-4.6'
  if (swapCacheSlot(k, pfn) !== undefined) {
    const isHeld = isPageLocked(k, pfn) || (!is46 && k.frames.refcount[pfn] > 2)
    if (isHeld || !freeSwapOf(k, cpu, pfn)) return false
  }
  return is46 || k.frames.refcount[pfn] === 1
}

/**
 * The same of a part of a transparent huge page. 4.6: if no part of it is mapped twice. 6.x: if the part was not
 * shared since it was written last, or all mappings and references of the whole are this mm's
 * (__wp_can_reuse_large_anon_folio).
 */
function mayReusePart(k: KernelState, mm: Mm, pfn: number): boolean {
  const head = k.frames.headOf(pfn)
  if (k.config.kernel.era === 'linux-4.6') return transHugeMapcount(k, head) === 1
  if (k.frames.anonExclusive[pfn] === 1) return true
  const mappings = totalMapcount(k, head)
  return mappings > 1 && mappings === k.frames.refcount[head] && folioRmapWalk(k, head).every(entry => entry.mm === mm)
}

/** The last resort when there was no page: huge pages of which only a part is mapped are split. */
function* splitAndAllocate(k: KernelState, cpu: KernelCpu, pages: number): KernelOp<number> {
  if (k.deferredSplits.size === 0 || (yield* shrinkDeferredSplits(k, cpu)) === 0) return -1
  return allocateUserPage(k, cpu, pages)
}

function allocateUserPage(k: KernelState, cpu: KernelCpu, pages: number): number {
  const pfn = k.frames.allocate(cpu.id, Math.log2(pages), FRAME_USER)
  if (pfn >= 0) k.counters.pagesAllocated += pages
  return pfn
}

function freeUserPage(k: KernelState, cpu: KernelCpu, pfn: number): void {
  const pages = 1 << k.frames.order[pfn]
  const head = k.frames.headOf(pfn)
  if (!k.frames.put(cpu.id, pfn)) return
  k.deferredSplits.delete(head)
  k.counters.pagesFreed += pages
}

function zeroPages(k: KernelState, pfn: number, pages: number): void {
  // Frames that were never used are zero, and a gigabyte is much to write.
  for (let i = 0; i < pages; i++) if (!k.frames.isPristine(pfn + i)) k.mem.zeroFrame(pfn + i)
}

function isEmpty(k: KernelState, table: number, slot: number): boolean {
  return k.mem.loadLo(table, slot) === 0 && k.mem.loadHi(table, slot) === 0
}

function outOfMemory(k: KernelState, cpu: KernelCpu, what: string): FaultResult {
  emit(k, cpu, EVENT.oom, k.trace.intern(what))
  return 'oom'
}
