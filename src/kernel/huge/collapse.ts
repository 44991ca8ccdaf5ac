// Collapse: a full range of base pages becomes one huge page (mm/khugepaged.c: collapse_huge_page).
// The reverse of a split, and dearer, because the contents move. The order, under mmap_lock and the
// lock of the huge entry:
//
//   1. clear the entry that names the table      no new walk finds the base pages
//   2. flush the range, as a freed table         no CPU translates by them, no paging cache names the table
//   3. interrupt every CPU (6.1)                 no lockless walker, who has interrupts off, is still in the table:
//                                                the flush alone does not say so where no interrupt is sent for it
//   4. look at the pages; put the table back if they will not do
//   5. copy, give the old pages back, put the table aside for a later split
//   6. set the huge entry
//
// Simplified: reverse mappings are no tree of areas here, so there is no anon_vma lock to hold; who
// finds a base page by them meanwhile finds no entry. Pages in swap are not read in: the range is
// left alone (max_ptes_swap=0).

import { entryPfn, PAGE_ACCESSED, PAGE_PRESENT, PAGE_PSE, PAGE_RW, PFN_HI_MASK } from '../../machine/entry.js'
import { LEVEL_PTE } from '../../machine/geometry.js'
import { ERRNO } from '../abi.js'
import type { KernelCpu } from '../cpu.js'
import { settleRange } from '../pages/deferred-free.js'
import { allocateThp, freeThp, mapHugePmd, rangeFits } from './huge-memory.js'
import { smpCallMany } from '../smp/ipi.js'
import type { KernelOp } from '../kernel-op.js'
import type { Mm } from '../mm/mm.js'
import { cachePlace } from '../pages/page-cache.js'
import { $slot, findTable, hugeLevel, pagesPerHugePage, setEntry, setTableEntry } from '../mm/pgtable.js'
import { pageTableLock } from '../locking/pt-lock.js'
import { pageRemoveRmap } from '../pages/rmap.js'
import { totalMapcount } from './split-huge.js'
import type { KernelState } from '../state.js'
import { freeSwapCache } from '../reclaim/swap.js'
import { NO_FILE } from '../mm/vma.js'
import type { Vma } from '../mm/vma.js'

/** SCAN_*: why a range was not collapsed. */
export type CollapseResult =
  'succeeded' | 'mapped' | 'no table' | 'no memory' | 'no area' | 'too many empty' | 'pinned' | 'unsuitable' | 'cold'

export interface CollapseOptions {
  /** Entries that may be empty or map the zero page (max_ptes_none). */
  maxEmpty: number
  /** khugepaged wants a page that was used lately, and in 4.6 one that may be written. */
  isBackground: boolean
}

/** Where the huge entry stands, and the table that it names. */
interface Place {
  start: number
  pmdTable: number
  slot: number
  table: number
}

/** collapse_huge_page() of the aligned range at `start`. No lock is held. */
export function* collapseHugePage(
  k: KernelState, cpu: KernelCpu, mm: Mm, start: number, options: CollapseOptions,
): KernelOp<CollapseResult> {
  const huge = allocateThp(k, cpu)
  if (huge < 0) {
    k.counters.thpCollapseAllocFailed += 1
    return 'no memory'
  }
  k.counters.thpCollapseAlloc += 1
  yield* mm.mmapLock.acquire(cpu, true)
  const vma = mm.mmUsers > 0 ? collapsibleArea(k, mm, start) : undefined
  const place = vma === undefined ? undefined : findPlace(k, mm, start)
  let result: CollapseResult = vma === undefined ? 'no area' : 'no table'
  if (vma !== undefined && place !== undefined) result = yield* collapseLocked(k, cpu, mm, vma, place, huge, options)
  mm.mmapLock.release(cpu, true)
  if (result !== 'succeeded') freeThp(k, cpu, huge)
  return result
}

/** hugepage_vma_revalidate(): the area that may have a huge page at `start`. */
export function collapsibleArea(k: KernelState, mm: Mm, start: number): Vma | undefined {
  const vma = mm.vmas.find(start)
  if (vma === undefined || vma.huge || vma.shared || vma.file !== NO_FILE || vma.thp === 'nohugepage') return undefined
  return rangeFits(k, vma, start) ? vma : undefined
}

/** hpage_collapse_scan_pmd(): would a collapse work? mmap_lock is held. */
export function scanRange(k: KernelState, mm: Mm, start: number, options: CollapseOptions): CollapseResult {
  const level = hugeLevel(k.geometry)
  if (findTable(k, mm, start, level) && (k.mem.loadLo($slot.pfn, $slot.slot) & PAGE_PSE) !== 0) return 'mapped'
  const place = findPlace(k, mm, start)
  return place === undefined ? 'no table' : judgePages(k, place.table, options)
}

function findPlace(k: KernelState, mm: Mm, start: number): Place | undefined {
  const level = hugeLevel(k.geometry)
  if (!findTable(k, mm, start, level)) return undefined
  const { pfn: pmdTable, slot } = $slot
  if (!findTable(k, mm, start, LEVEL_PTE)) return undefined
  return { start, pmdTable, slot, table: $slot.pfn }
}

function* collapseLocked(
  k: KernelState, cpu: KernelCpu, mm: Mm, vma: Vma, place: Place, huge: number, options: CollapseOptions,
): KernelOp<CollapseResult> {
  const { start, pmdTable, slot, table } = place
  const unit = pagesPerHugePage(k.geometry)
  const pmdLock = pageTableLock(mm, pmdTable)
  const ptl = pageTableLock(mm, table)
  yield* pmdLock.acquire(cpu, true)
  setEntry(k, cpu, mm, pmdTable, slot, 0, 0)
  yield k.costs.ptePerPage
  // pmdp_collapse_flush().
  yield* k.policy.flushMmRange(k, cpu, mm, {
    start, end: start + unit, stridePages: 1, freedTables: true, hugetlb: false,
  })
  pmdLock.release(cpu, true)
  yield* removeTableSyncOne(k, cpu)
  yield* ptl.acquire(cpu, true)
  yield unit * k.costs.ptePerPage
  const result = judgePages(k, table, options)
  let copied = 0
  if (result === 'succeeded') {
    // The lock is kept, so that reclaim finds the entries as they are, or gone.
    copied = copyPages(k, huge, table, unit)
    yield copied * k.costs.copyPage + (unit - copied) * k.costs.zeroPage
    dropBasePages(k, cpu, mm, start, table, unit)
  }
  ptl.release(cpu, true)
  yield* pmdLock.acquire(cpu, true)
  if (result === 'succeeded') {
    yield unit * k.costs.ptePerPage + copied * k.costs.freePage
    yield* settleRange(k, cpu, mm, start, start + unit)
    // The table goes from the tree to those put aside.
    mm.tablePages -= 1
    mapHugePmd(k, cpu, mm, vma, { start, table: pmdTable, slot }, huge, table)
    mm.rssPages += unit
  } else {
    setTableEntry(k, cpu, mm, pmdTable, slot, table, hugeLevel(k.geometry))
  }
  pmdLock.release(cpu, true)
  return result
}

/**
 * tlb_remove_table_sync_one() of 6.1 and later: every CPU answers an interrupt, so none is inside a stretch with
 * interrupts off that began before. 4.6 relies on the interrupts of the flush.
 */
export function* removeTableSyncOne(k: KernelState, cpu: KernelCpu): KernelOp {
  if (k.config.kernel.era === 'linux-4.6' || k.bugs.has('h15-collapse-without-sync-ipi')) return
  const others = k.cpus.map(each => each.id).filter(id => id !== cpu.id)
  yield* smpCallMany(k, cpu, others, answer, { alwaysSend: false })
}

/** tlb_remove_table_smp_sync(): that it runs is all that counts. */
function* answer(): KernelOp {
  // Nothing to do.
}

/** __collapse_huge_page_isolate(): are these pages that may move? */
function judgePages(k: KernelState, table: number, options: CollapseOptions): CollapseResult {
  const unit = pagesPerHugePage(k.geometry)
  const is46 = k.config.kernel.era === 'linux-4.6'
  let empty = 0
  let isUsed = false
  let isWritable = false
  for (let i = 0; i < unit; i++) {
    const lo = k.mem.loadLo(table, i)
    const hi = k.mem.loadHi(table, i)
    const pfn = entryPfn(lo, hi & PFN_HI_MASK, k.geometry.pageShift)
    if ((lo === 0 && hi === 0) || ((lo & PAGE_PRESENT) !== 0 && pfn === k.zeroPagePfn)) {
      empty += 1
      continue
    }
    const verdict = judgePage(k, lo, pfn, is46)
    if (verdict !== 'succeeded') return verdict
    isUsed ||= (lo & PAGE_ACCESSED) !== 0
    isWritable ||= (lo & PAGE_RW) !== 0
  }
  if (empty > options.maxEmpty || empty === unit) return 'too many empty'
  if (is46 && !isWritable) return 'unsuitable'
  return isUsed || !options.isBackground ? 'succeeded' : 'cold'
}

function judgePage(k: KernelState, lo: number, pfn: number, is46: boolean): CollapseResult {
  if ((lo & PAGE_PRESENT) === 0 || cachePlace(k, pfn) !== undefined) return 'unsuitable'
  const head = k.frames.headOf(pfn)
  if (is46 && k.frames.order[pfn] > 0) return 'unsuitable'
  // Shared by fork: 4.6 wants one reference in all, 6.x as many as there are mappings.
  const expected = is46 ? 1 : totalMapcount(k, head)
  return k.frames.refcount[head] === expected ? 'succeeded' : 'pinned'
}

/** __collapse_huge_page_copy(): returns how many pages were copied; the others are zeroes. */
function copyPages(k: KernelState, huge: number, table: number, unit: number): number {
  let copied = 0
  for (let i = 0; i < unit; i++) {
    const lo = k.mem.loadLo(table, i)
    const pfn = entryPfn(lo, k.mem.loadHi(table, i) & PFN_HI_MASK, k.geometry.pageShift)
    if ((lo & PAGE_PRESENT) === 0 || pfn === k.zeroPagePfn) {
      k.mem.zeroFrame(huge + i)
    } else {
      k.mem.copyFrame(huge + i, pfn)
      copied += 1
    }
  }
  return copied
}

/** Clears the entries of the table, which nobody can reach, and gives their pages back. */
function dropBasePages(k: KernelState, cpu: KernelCpu, mm: Mm, start: number, table: number, unit: number): void {
  for (let i = 0; i < unit; i++) {
    const lo = k.mem.loadLo(table, i)
    const pfn = entryPfn(lo, k.mem.loadHi(table, i) & PFN_HI_MASK, k.geometry.pageShift)
    k.mem.store(table, i, 0, 0)
    if ((lo & PAGE_PRESENT) === 0 || pfn === k.zeroPagePfn) continue
    mm.rssPages -= 1
    pageRemoveRmap(k, mm, start + i, pfn)
    freeSwapCache(k, cpu, pfn)
    const pages = 1 << k.frames.order[pfn]
    const head = k.frames.headOf(pfn)
    if (!k.frames.put(cpu.id, pfn)) continue
    k.deferredSplits.delete(head)
    k.counters.pagesFreed += pages
  }
}

/** madvise(MADV_COLLAPSE) of 6.1 and later: every huge page that lies wholly in [start, end), at once. */
export function* madviseCollapse(
  k: KernelState, cpu: KernelCpu, mm: Mm, start: number, end: number,
): KernelOp<number> {
  if (end <= start) return 0
  if (k.config.kernel.era === 'linux-4.6') return -ERRNO.EINVAL
  const unit = pagesPerHugePage(k.geometry)
  const options = { maxEmpty: unit, isBackground: false }
  let last: CollapseResult = 'succeeded'
  for (let at = Math.ceil(start / unit) * unit; at + unit <= end; at += unit) {
    yield* mm.mmapLock.acquire(cpu, false)
    yield k.costs.vmaOperation
    const scanned = collapsibleArea(k, mm, at) === undefined ? 'no area' : scanRange(k, mm, at, options)
    mm.mmapLock.release(cpu, false)
    const result = scanned === 'succeeded' ? yield* collapseHugePage(k, cpu, mm, at, options) : scanned
    if (result !== 'succeeded' && result !== 'mapped') last = result
    if (result === 'no area' || result === 'no memory') break
  }
  return last === 'succeeded' ? 0 : -collapseErrno(last)
}

/** madvise_collapse_errno(). */
function collapseErrno(result: CollapseResult): number {
  if (result === 'no memory') return ERRNO.ENOMEM
  return result === 'pinned' ? ERRNO.EAGAIN : ERRNO.EINVAL
}
