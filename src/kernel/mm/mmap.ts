// mmap, munmap and mprotect (mm/mmap.c, mm/mprotect.c); advice is in madvise-pages.ts. Each takes
// mmap_lock, changes areas, then tables through a gather. Results are 0 or an address, or a
// negative error number, as system calls return them.

import { makeEntryHi, makeEntryLo, entryPfn, PAGE_ACCESSED, PAGE_DIRTY, PAGE_GLOBAL, PAGE_NX_HI, PAGE_PCD,
  PAGE_PRESENT, PAGE_PSE, PAGE_PWT, PAGE_RW, PAGE_USER } from '../../machine/entry.js'
import { LEVEL_PTE } from '../../machine/geometry.js'
import { ERRNO, PROT_EXEC, PROT_READ, PROT_WRITE } from '../abi.js'
import type { KernelCpu } from '../cpu.js'
import { isWritableAtOnce } from './fault-file.js'
import { faultLocked } from './fault.js'
import { beginUnlink, checkMapping, mappedArea, unlinkFileAreas } from '../pages/file-areas.js'
import type { MappingRequest } from '../pages/file-areas.js'
import { keptAt, settleRange } from '../pages/deferred-free.js'
import { hugeAlignedAddress } from '../huge/huge-advice.js'
import { unitOf, unshareRange } from '../huge/hugetlb.js'
import type { KernelOp } from '../kernel-op.js'
import { khugepagedExit } from '../huge/khugepaged.js'
import { leafFlags, PAGE_SPECIAL, parksDirty, SAVED_DIRTY_HI } from './leaf.js'
import type { Mm } from './mm.js'
import { finishMmu, gatherEntry, gatherMmu } from './mmu-gather.js'
import type { MmuGather } from './mmu-gather.js'
import { cachePlace, fileMapped, filesUnmapped } from '../pages/page-cache.js'
import { forEachLeaf, pagesPerEntry, setEntry } from './pgtable.js'
import { vmaAdjustTransHuge } from '../huge/split-huge.js'
import type { KernelState } from '../state.js'
import { isSwapPte, isWritableMigrationEntry, SWP_MIGRATION_READ, SWP_MIGRATION_READ_EXCLUSIVE, swapValue,
  withMigrationType } from '../reclaim/swap-entry.js'
import { settleEntries } from './settle-entries.js'
import { makeVma, partOf } from './vma.js'
import type { Vma } from './vma.js'
import { freePgtables, zapRange } from './zap.js'

export interface MmapRequest extends MappingRequest {
  /** Wanted first page, or -1. */
  at: number
  /** Length in base pages. */
  pages: number
  fixed: boolean
  noReplace: boolean
  populate: boolean
  /** The area by which programs know the mapping, or -1. */
  area: number
}

/**
 * mmap(): 0 or a negative error number. Where the mapping is programs know by its area.
 *
 * Simplified: there is no pool of huge pages; a huge mapping needs as many free frames when it is
 * made, and takes them when it is touched.
 */
export function* mmap(k: KernelState, cpu: KernelCpu, mm: Mm, request: MmapRequest): KernelOp<number> {
  const unit = unitOf(k.geometry, request)
  const pages = Math.ceil(request.pages / unit) * unit
  const isFixed = request.fixed || request.noReplace
  if (pages <= 0 || (isFixed && request.at % unit !== 0)) return -ERRNO.EINVAL
  const refused = checkMapping(k, request)
  if (refused < 0) return refused
  // Heuristic overcommit refuses what could never fit.
  if (pages > k.frames.count) return -ERRNO.ENOMEM
  if (request.huge && pages > k.frames.freeFrames) return -ERRNO.ENOMEM
  if (!(yield* mm.mmapLock.acquireKillable(cpu, true))) return -ERRNO.EINTR
  yield k.costs.vmaOperation
  const wanted = chooseAddress(k, mm, request, pages, unit)
  const isCut = request.fixed && wanted >= 0 && splitsHugePage(k, mm, wanted, wanted + pages)
  const start = isCut ? -ERRNO.EINVAL : wanted
  if (start >= 0) {
    if (request.fixed) yield* unmapLocked(k, cpu, mm, start, start + pages)
    if (keptAt(k, mm, start, start + pages) !== undefined) yield* settleRange(k, cpu, mm, start, start + pages)
    const vma = makeVma(start, start + pages, mappedArea(k, request, pages, unit))
    fileMapped(k, vma, pages)
    mm.vmas.insert(vma)
  }
  mm.mmapLock.release(cpu, true)
  if (start < 0) return start
  if (request.populate) yield* populate(k, cpu, mm, start, start + pages, unit, request)
  if (request.area >= 0) {
    k.platform.beforeSharedWrite(cpu, mm)
    k.platform.setArea(mm, request.area, start, request.pages)
  }
  return 0
}

/** munmap(): everything in [start, end), whole huge pages only. */
export function* munmap(k: KernelState, cpu: KernelCpu, mm: Mm, start: number, end: number): KernelOp<number> {
  if (end <= start || end > k.layout.userEndVpn) return -ERRNO.EINVAL
  if (!(yield* mm.mmapLock.acquireKillable(cpu, true))) return -ERRNO.EINTR
  yield k.costs.vmaOperation + k.costs.munmapExtra
  if (splitsHugePage(k, mm, start, end)) {
    mm.mmapLock.release(cpu, true)
    return -ERRNO.EINVAL
  }
  yield* vmaAdjustTransHuge(k, cpu, mm, start, end)
  const removed = mm.vmas.remove(start, end)
  // 6.x lets other readers in once the areas are gone; 4.6 keeps writing to the end.
  const downgrade = k.config.kernel.era === 'linux-6.x'
  if (downgrade) mm.mmapLock.downgrade(cpu)
  if (removed.length > 0) yield* unmapRegion(k, cpu, mm, removed, true)
  mm.mmapLock.release(cpu, !downgrade)
  return 0
}

/**
 * mprotect(): new protection for [start, end). Works through the areas in order and stops at the
 * first hole (ENOMEM) or cut into a huge page (EINVAL); what came before it is changed.
 */
export function* mprotect(
  k: KernelState, cpu: KernelCpu, mm: Mm, start: number, end: number, prot: number,
): KernelOp<number> {
  if (end <= start) return 0
  const begin = cpu.now
  if (!(yield* mm.mmapLock.acquireKillable(cpu, true))) return -ERRNO.EINTR
  yield k.costs.vmaOperation
  const gather = gatherMmu(mm, false)
  const changed: Vma[] = []
  let result = 0
  let at = start
  for (const vma of clip(mm, start, end)) {
    if (vma.vmStart > at) break
    if (splitsHugePage(k, mm, vma.vmStart, vma.vmEnd)) {
      result = -ERRNO.EINVAL
      break
    }
    if (vma.prot !== prot) {
      yield* vmaAdjustTransHuge(k, cpu, mm, vma.vmStart, vma.vmEnd)
      mm.vmas.setProt(vma.vmStart, vma.vmEnd, prot)
      yield* changeProtection(k, cpu, gather, vma, prot)
      changed.push(vma)
    }
    at = vma.vmEnd
  }
  yield* finishMmu(k, cpu, gather)
  mm.mmapLock.release(cpu, true)
  // Where the rights were as wanted nothing was done, and what others have still to flush there is their business.
  for (const { vmStart, vmEnd } of changed) k.observer?.callReturned(cpu, mm, 'mprotect', vmStart, vmEnd, begin)
  return result === 0 && at < end ? -ERRNO.ENOMEM : result
}

/** exit_mmap(): every area and every table, nobody uses the mm any more. */
export function* exitMmap(k: KernelState, cpu: KernelCpu, mm: Mm): KernelOp {
  const end = k.layout.userEndVpn
  yield* khugepagedExit(k, cpu, mm)
  const gather = gatherMmu(mm, true)
  const removed = mm.vmas.remove(0, end)
  beginUnlink(mm, removed)
  for (const vma of removed) yield* zapRange(k, cpu, gather, vma.vmStart, vma.vmEnd)
  yield* unlinkFileAreas(k, cpu, gather, removed)
  if (removed.length > 0) {
    yield* freePgtables(k, cpu, gather, removed[0].vmStart, removed[removed.length - 1].vmEnd, 0, Infinity)
  }
  yield* finishMmu(k, cpu, gather)
  filesUnmapped(k, cpu, removed)
}

/** The parts of the areas of [start, end) that lie in it, as they are now. */
export function clip(mm: Mm, start: number, end: number): Vma[] {
  return mm.vmas.overlapping(start, end).map(vma => partOf(vma, start, end))
}

/** Huge areas can only be changed in whole huge pages. */
export function splitsHugePage(k: KernelState, mm: Mm, start: number, end: number): boolean {
  for (const vma of mm.vmas.overlapping(start, end)) {
    const unit = unitOf(k.geometry, vma)
    if (Math.max(start, vma.vmStart) % unit !== 0 || Math.min(end, vma.vmEnd) % unit !== 0) return true
  }
  return false
}

/** What is to be mapped there, for whoever knows: private anonymous memory may go on huge page borders. */
type Backing = Partial<Pick<MmapRequest, 'shared' | 'file' | 'device' | 'huge'>>

/** get_unmapped_area(): the first page, or a negative error number. */
export function chooseAddress(
  k: KernelState, mm: Mm, request: Pick<MmapRequest, 'at' | 'fixed' | 'noReplace'> & Backing, pages: number,
  unit: number,
): number {
  const lowest = Math.ceil(MMAP_MIN_ADDR / k.geometry.pageBytes)
  // A hint below mmap_min_addr is raised to it, a fixed address there is refused.
  const at = request.noReplace || request.fixed || request.at <= 0 ? request.at : Math.max(request.at, lowest)
  const fits = at >= 0 && at + pages <= k.layout.userEndVpn
  if (request.noReplace || request.fixed) {
    if (!fits) return -ERRNO.ENOMEM
    if (at < lowest) return -ERRNO.EPERM
    if (request.noReplace && mm.vmas.overlapping(at, at + pages).length > 0) return -ERRNO.EEXIST
    return at
  }
  if (fits && at > 0 && at % unit === 0 && mm.vmas.overlapping(at, at + pages).length === 0) return at
  const aligned = hugeAlignedAddress(k, mm, request, pages, lowest)
  if (aligned >= 0 && keptAt(k, mm, aligned, aligned + pages) === undefined) return aligned
  for (let top = k.layout.mmapBaseVpn; ;) {
    const start = mm.vmas.findGapTopDown(pages, top, lowest, unit)
    const kept = start < 0 ? undefined : keptAt(k, mm, start, start + pages)
    if (kept === undefined) return start < 0 ? -ERRNO.ENOMEM : start
    top = kept.start
  }
}

/** vm.mmap_min_addr, bytes: page 0 and its neighbours belong to nobody, so that null pointers fault. */
const MMAP_MIN_ADDR = 2 ** 16

/** do_munmap() for a call that keeps mmap_lock for writing (MAP_FIXED, mremap). */
export function* unmapLocked(k: KernelState, cpu: KernelCpu, mm: Mm, start: number, end: number): KernelOp {
  yield* vmaAdjustTransHuge(k, cpu, mm, start, end)
  const removed = mm.vmas.remove(start, end)
  if (removed.length > 0) yield* unmapRegion(k, cpu, mm, removed, false)
}

/** unmap_region(): areas that were taken from the list lose their entries and tables. */
export function* unmapRegion(
  k: KernelState, cpu: KernelCpu, mm: Mm, removed: readonly Vma[], isFree: boolean,
): KernelOp {
  const gather = gatherMmu(mm, false)
  gather.asked = { start: removed[0].vmStart, end: removed[removed.length - 1].vmEnd }
  // The frames of a driver are not the gather's to keep.
  if (isFree && !removed.some(vma => vma.device)) gather.deferrable = gather.asked
  beginUnlink(mm, removed)
  const floor = mm.vmas.endBelow(removed[0].vmStart)
  const ceiling = mm.vmas.startAbove(removed[removed.length - 1].vmEnd, Infinity)
  for (let i = 0; i < removed.length; i++) {
    gather.hugetlb ||= removed[i].huge
    yield* zapRange(k, cpu, gather, removed[i].vmStart, removed[i].vmEnd)
  }
  yield* unlinkFileAreas(k, cpu, gather, removed)
  for (let i = 0; i < removed.length; i++) {
    const next = i + 1 < removed.length ? removed[i + 1].vmStart : ceiling
    yield* freePgtables(k, cpu, gather, removed[i].vmStart, removed[i].vmEnd, floor, next)
  }
  yield* finishMmu(k, cpu, gather)
  filesUnmapped(k, cpu, removed)
}

/** mm_populate(): faults every page in, with mmap_lock held for reading. Whatever goes wrong stays unsaid. */
function* populate(
  k: KernelState, cpu: KernelCpu, mm: Mm, start: number, end: number, step: number, { prot, shared }: MmapRequest,
): KernelOp {
  // Shared pages are only read in: writes are for the program to make.
  const write = (prot & PROT_WRITE) !== 0 && !shared
  if ((prot & (PROT_READ | PROT_WRITE | PROT_EXEC)) === 0) return
  yield* mm.mmapLock.acquire(cpu, false)
  for (let vpn = start; vpn < end; vpn += step) {
    const result = yield* faultLocked(k, cpu, mm, vpn, { write, exec: false })
    if (result !== 'done') break
  }
  mm.mmapLock.release(cpu, false)
}

/**
 * change_protection() of one area: rewrites its entries and sees to the flush.
 *
 *   6.x    what needs a flush goes into the gather
 *   4.6    any present entry: the whole area is flushed at once
 *   huge   flushed in both eras, whether or not there is anything (flush_hugetlb_tlb_range)
 *
 * Simplified: all entries change at one instant and their price is paid afterwards. mmap_lock is
 * held for writing, so no fault and no other call can tell.
 */
function* changeProtection(k: KernelState, cpu: KernelCpu, gather: MmuGather, vma: Vma, prot: number): KernelOp {
  const { mm } = gather
  const is46 = k.config.kernel.era === 'linux-4.6'
  let present = 0
  yield* unshareRange(k, cpu, gather, vma.vmStart, vma.vmEnd)
  yield* settleEntries(k, cpu, mm, vma.vmStart, vma.vmEnd)
  forEachLeaf(k, mm, vma.vmStart, vma.vmEnd, (vpn, level, pfn, slot, lo, hi) => {
    if (isSwapPte(lo, hi)) {
      if (downgradeMigration(k, cpu, gather, { pfn, slot }, lo, hi)) present += 1
      return
    }
    const entry = modifiedEntry(k, { ...vma, prot }, level, lo, hi)
    present += 1
    if (entry.lo !== lo || entry.hi !== hi) setEntry(k, cpu, mm, pfn, slot, entry.lo, entry.hi)
    if (is46 || vma.huge || !needsFlush(lo, hi, entry.lo, entry.hi, level !== LEVEL_PTE)) return
    gatherEntry(gather, vpn, pagesPerEntry(k.geometry, level))
  })
  if (present > 0) yield present * k.costs.ptePerPage
  if (!vma.huge && (!is46 || present === 0)) return
  yield* k.policy.flushMmRange(k, cpu, mm, {
    start: vma.vmStart, end: vma.vmEnd, stridePages: unitOf(k.geometry, vma),
    freedTables: true, hugetlb: vma.huge,
  })
}

/** mprotect of an entry that is not present: a page that migrates comes back without write permission. */
function downgradeMigration(
  k: KernelState, cpu: KernelCpu, gather: MmuGather, at: { pfn: number; slot: number }, lo: number, hi: number,
): boolean {
  if (!isWritableMigrationEntry(lo, hi)) return false
  const isExclusive = k.config.kernel.era === 'linux-6.x' && cachePlace(k, swapValue(lo, hi)) === undefined
  const type = isExclusive ? SWP_MIGRATION_READ_EXCLUSIVE : SWP_MIGRATION_READ
  setEntry(k, cpu, gather.mm, at.pfn, at.slot, withMigrationType(lo, type), hi)
  return true
}

/**
 * pte_modify() and the write upgrades that need no fault: of shared pages whose first write is not waited for or has
 * been, and in 6.x of a private page that belongs to this mm alone (not of hugetlb). `vma` has the new protection.
 */
function modifiedEntry(
  k: KernelState, vma: Vma, level: number, lo: number, hi: number,
): { lo: number; hi: number } {
  const { prot } = vma
  const shift = k.geometry.pageShift
  const page = entryPfn(lo, hi, shift)
  const flags = leafFlags(k, prot, level, false)
  const isDirty = (lo & PAGE_DIRTY) !== 0 || (hi & SAVED_DIRTY_HI) !== 0
  const isExclusive = !vma.huge && k.frames.anonExclusive[page] === 1
  const mayWrite = (prot & PROT_WRITE) !== 0
    && (vma.shared ? isDirty || isWritableAtOnce(k, vma) : isExclusive && k.config.kernel.era === 'linux-6.x')
  let newLo = makeEntryLo(page, flags.lo | (lo & (PAGE_ACCESSED | PAGE_SPECIAL)), shift)
  let newHi = makeEntryHi(page, flags.hi, shift)
  if (mayWrite) newLo |= PAGE_RW
  const parks = parksDirty(k) && (newLo & PAGE_RW) === 0
  if (isDirty && parks) newHi |= SAVED_DIRTY_HI
  else if (isDirty) newLo |= PAGE_DIRTY
  return { lo: newLo, hi: newHi }
}

/**
 * pte_flags_need_flush() of 6.x; software bits do not matter, setting D does not either. Clearing A matters in huge
 * entries only.
 */
export function needsFlush(oldLo: number, oldHi: number, newLo: number, newHi: number, isHuge = false): boolean {
  if ((oldLo & PAGE_PRESENT) === 0) return false
  const addressHi = 0xf_ffff
  if (((oldLo ^ newLo) & ADDRESS_LO) !== 0 || ((oldHi ^ newHi) & addressHi) !== 0) return true
  const cleared = oldLo & ~newLo & (PAGE_DIRTY | PAGE_PRESENT | (isHuge ? PAGE_ACCESSED : 0))
  const differs = (oldLo ^ newLo) & (PAGE_RW | PAGE_USER | PAGE_PWT | PAGE_PCD | PAGE_PSE | PAGE_GLOBAL)
  return cleared !== 0 || differs !== 0 || ((oldHi ^ newHi) & PAGE_NX_HI) !== 0
}

/** Address bits of the low word. */
const ADDRESS_LO = ~0xfff
