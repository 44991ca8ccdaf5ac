// What happens to a file whoever maps it: write-back (fsync) and truncation. Both find the entries
// through the file, in other address spaces too, without their mmap_lock; i_mmap_rwsem keeps areas
// and page tables from going meanwhile.

import { entryPfn, PAGE_DIRTY, PAGE_PRESENT, PAGE_PROTNONE, PAGE_RW } from '../../machine/entry.js'
import { LEVEL_PTE } from '../../machine/geometry.js'
import type { KernelCpu } from '../cpu.js'
import type { KernelOp } from '../kernel-op.js'
import { SAVED_DIRTY_HI } from '../mm/leaf.js'
import { finishMmu, gatherMmu } from '../mm/mmu-gather.js'
import type { MappedFile } from './page-cache.js'
import { areasOf, dropPagesFrom, filePages, writePage } from './page-cache.js'
import { lockPage, unlockPage } from '../locking/page-lock.js'
import { $slot, findLeaf, setEntry } from '../mm/pgtable.js'
import type { RmapEntry } from './rmap.js'
import { rmapWalk } from './rmap.js'
import type { KernelState } from '../state.js'
import { pageTableLock, zapRange } from '../mm/zap.js'

/**
 * fsync(): every dirty page is made clean in all its mappings, then written. A page that is written to after its entry
 * was cleaned faults, and is dirty again.
 */
export function* syncFile(k: KernelState, cpu: KernelCpu, file: MappedFile): KernelOp {
  const pages = [...file.dirty].sort((a, b) => a - b)
  for (const page of pages) {
    // Against reclaim, which takes clean pages: until it is written, the page only looks like one.
    const pfn = yield* lockCachedPage(k, cpu, file, page)
    if (pfn < 0) continue
    // Clean from here on: whoever makes an entry writable after this marks the page again.
    file.dirty.delete(page)
    yield* file.rmapLock.acquire(cpu, false)
    for (const entry of rmapWalk(k, pfn)) yield* cleanEntry(k, cpu, entry, pfn)
    file.rmapLock.release(cpu, false)
    if (file.pages.get(page) === pfn) yield* writePage(k, file, page, pfn)
    unlockPage(k, cpu, pfn)
  }
}

/** filemap_lock_folio() of a dirty page: its frame, or -1 when it is clean or gone by now. */
function* lockCachedPage(k: KernelState, cpu: KernelCpu, file: MappedFile, page: number): KernelOp<number> {
  for (;;) {
    const pfn = file.pages.get(page)
    if (pfn === undefined || !file.dirty.has(page)) return -1
    yield* lockPage(k, cpu, pfn)
    if (file.pages.get(page) === pfn && file.dirty.has(page)) return pfn
    unlockPage(k, cpu, pfn)
  }
}

/** ftruncate(): the length changes, then mappings behind the end go everywhere, then the pages. */
export function* truncateFile(k: KernelState, cpu: KernelCpu, file: MappedFile, bytes: number): KernelOp {
  yield k.costs.vmaOperation
  const isShorter = bytes < file.bytes
  file.bytes = bytes
  if (!isShorter) return
  zeroTail(k, file)
  const first = filePages(k, file)
  yield* unmapMappingRange(k, cpu, file, first)
  const dropped = dropPagesFrom(k, cpu, file, first)
  if (dropped > 0) yield dropped * k.costs.freePage
}

/** unmap_mapping_range(): takes the entries of all pages from `first` on away, private copies too. */
export function* unmapMappingRange(k: KernelState, cpu: KernelCpu, file: MappedFile, first: number): KernelOp {
  yield* file.rmapLock.acquire(cpu, false)
  for (const { mm, vma } of areasOf(k, file)) {
    const start = Math.max(vma.vmStart, vma.vmStart + first * file.unit - vma.pgoff)
    if (start >= vma.vmEnd) continue
    const gather = gatherMmu(mm, false)
    gather.hugetlb = vma.huge
    gather.asked = { start, end: vma.vmEnd }
    yield* zapRange(k, cpu, gather, start, vma.vmEnd)
    yield* finishMmu(k, cpu, gather)
  }
  file.rmapLock.release(cpu, false)
}

/** page_vma_mkclean_one(): clears a writable or dirty entry, flushes it everywhere, puts it back clean. */
function* cleanEntry(k: KernelState, cpu: KernelCpu, { mm, vpn }: RmapEntry, pfn: number): KernelOp {
  if (findLeaf(k, mm, vpn) !== LEVEL_PTE) return
  const { pfn: table, slot } = $slot
  const lock = pageTableLock(mm, table)
  yield* lock.acquire(cpu, true)
  cpu.preemptCount += 1
  // Under the lock: the entry may be gone. i_mmap_rwsem keeps its table.
  const lo = k.mem.loadLo(table, slot)
  const hi = k.mem.loadHi(table, slot)
  const isMapped = (lo & (PAGE_PRESENT | PAGE_PROTNONE)) !== 0 && entryPfn(lo, hi, k.geometry.pageShift) === pfn
  if (isMapped && ((lo & (PAGE_RW | PAGE_DIRTY)) !== 0 || (hi & SAVED_DIRTY_HI) !== 0)) {
    setEntry(k, cpu, mm, table, slot, 0, 0)
    yield k.costs.ptePerPage
    yield* k.policy.flushPage(k, cpu, mm, vpn)
    setEntry(k, cpu, mm, table, slot, lo & ~(PAGE_RW | PAGE_DIRTY), hi & ~SAVED_DIRTY_HI)
  }
  cpu.preemptCount -= 1
  lock.release(cpu, true)
}

/** What lies behind the end in the last page reads as zeroes if the file grows again. */
function zeroTail(k: KernelState, file: MappedFile): void {
  const pageBytes = 2 ** k.geometry.pageShift
  const tail = file.bytes % pageBytes
  if (tail === 0) return
  const page = Math.floor(file.bytes / pageBytes)
  const pfn = file.pages.get(page)
  if (pfn !== undefined) {
    for (let at = Math.ceil(tail / 4) * 4; at < pageBytes; at += 4) k.mem.storeWord(pfn, at, 0)
    file.dirty.add(page)
  }
  file.storage.get(page)?.fill(0, Math.ceil(tail / 4))
}
