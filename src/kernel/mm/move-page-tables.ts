// Entries on their way from one range of an address space to another (mm/mremap.c:
// move_page_tables). The pages stay where they are; what must be flushed is the old addresses.
//
// The life of a frame depends, while its entry is moved, on the locks of the two tables alone:
// whoever unmaps or truncates the new place waits for them. So the flush of the old place comes
// before either lock is let go (CVE-2018-18281; bug h04 is the kernel before that).
//
//            4.6                                6.x
//   step     at most 64 pages of one table      what two tables have in common
//   table    -                                  a whole pmd or pud table moves as one entry
//   flush    the step, when anything was there  the same; of a whole table everything
//   hugetlb  refused                            entry by entry, one flush at the end
//
// Simplified: the locks of reverse mappings are taken for every step. Linux leaves them out where
// walkers of a file come to the old area before the new one; here the areas of a file have no order.

import { entryPfn, PAGE_PRESENT, PAGE_PROTNONE, PAGE_PSE } from '../../machine/entry.js'
import { LEVEL_PTE, LEVEL_PUD } from '../../machine/geometry.js'
import type { Geometry } from '../../machine/geometry.js'
import type { KernelCpu } from '../cpu.js'
import { levelOf, ownTables, unitOf, unshareRange } from '../huge/hugetlb.js'
import type { KernelOp } from '../kernel-op.js'
import { PAGE_SPECIAL } from './leaf.js'
import type { Lock } from '../locking/lock.js'
import { migrationMoved } from '../pages/migration-entries.js'
import type { Mm } from './mm.js'
import { finishMmu, gatherMmu } from './mmu-gather.js'
import { fileOf } from '../pages/page-cache.js'
import { $slot, allocTable, findTable, forEachLeaf, hugeLevel, pagesPerEntry, setEntry } from './pgtable.js'
import { rmapMoved } from '../pages/rmap.js'
import { moveDeposit, splitHugePmd } from '../huge/split-huge.js'
import type { KernelState } from '../state.js'
import { isMigrationEntry, swapValue } from '../reclaim/swap-entry.js'
import { flushTlbBatchedPending } from '../reclaim/unmap-batch.js'
import type { Vma } from './vma.js'
import { pageTableLock } from './zap.js'

/** LATENCY_LIMIT of 4.6, pages. */
const LATENCY_LIMIT = 64

export interface PageTableMove {
  readonly mm: Mm
  /** The area that is moved: for its file and its page size. */
  readonly vma: Vma
  readonly from: number
  readonly to: number
  readonly pages: number
}

/** One step: `pages` from `old` to `new`. */
interface Step {
  old: number
  new: number
  pages: number
}

/** A slot of a table. */
interface EntryPlace {
  table: number
  slot: number
}

/** move_page_tables(): the pages that were moved; fewer than wanted when there was no memory for tables. */
export function* movePageTables(k: KernelState, cpu: KernelCpu, move: PageTableMove): KernelOp<number> {
  if (move.vma.huge) return yield* moveHugetlbPageTables(k, cpu, move)
  const back = realigned(k, move)
  const end = move.from + move.pages
  let old = move.from - back
  while (old < end) {
    const step: Step = { old, new: old - move.from + move.to, pages: end - old }
    const isMoved = k.config.kernel.era === 'linux-4.6'
      ? yield* moveTableWise(k, cpu, move, step, LATENCY_LIMIT) : yield* moveStep(k, cpu, move, step)
    if (!isMoved) break
    old += step.pages
  }
  // One flush at the end, with no lock held: the bug.
  if (k.bugs.has('h04-mremap-flush-after-unlock') && old > move.from) {
    yield* flushMoved(k, cpu, move.mm, move.from, Math.min(old, end))
  }
  return Math.max(0, Math.min(old, end) - move.from)
}

/** Moves the largest thing that it can: shortens `step` to it. False: no memory. */
function* moveStep(k: KernelState, cpu: KernelCpu, move: PageTableMove, step: Step): KernelOp<boolean> {
  const { pages } = step
  for (const level of subtreeLevels(k.geometry)) {
    const span = pagesPerEntry(k.geometry, level)
    step.pages = extentOf(step, pages, span)
    if (!findTable(k, move.mm, step.old, level)) return true
    const old = { table: $slot.pfn, slot: $slot.slot }
    const lo = k.mem.loadLo(old.table, old.slot)
    if (lo === 0) return true
    if (step.pages < span || (lo & PAGE_PRESENT) === 0) continue
    if (!allocTable(k, cpu, move.mm, step.new, level)) return false
    const to = { table: $slot.pfn, slot: $slot.slot }
    if (k.mem.loadLo(to.table, to.slot) !== 0) continue
    yield* moveEntry(k, cpu, move, step, old, to)
    return true
  }
  step.pages = pages
  return yield* moveTableWise(k, cpu, move, step, Infinity)
}

/** The rest of what the step's two page tables have in common, entry by entry. False: no memory. */
function* moveTableWise(
  k: KernelState, cpu: KernelCpu, move: PageTableMove, step: Step, most: number,
): KernelOp<boolean> {
  const level = hugeLevel(k.geometry)
  const span = pagesPerEntry(k.geometry, level)
  const { pages } = step
  step.pages = Math.min(pages, span - step.old % span)
  if (!findTable(k, move.mm, step.old, level)) return true
  const old = { table: $slot.pfn, slot: $slot.slot }
  const lo = k.mem.loadLo(old.table, old.slot)
  if (lo === 0) return true
  step.pages = extentOf(step, pages, span)
  if ((lo & PAGE_PSE) !== 0 && k.geometry.levels[level].leaf) {
    if (step.pages === span) {
      if (!allocTable(k, cpu, move.mm, step.new, level)) return false
      const to = { table: $slot.pfn, slot: $slot.slot }
      if (k.mem.loadLo(to.table, to.slot) === 0) {
        yield* moveEntry(k, cpu, move, step, old, to)
        return true
      }
    }
    yield* splitHugePmd(k, cpu, move.mm, step.old)
  }
  step.pages = Math.min(step.pages, most)
  if (!allocTable(k, cpu, move.mm, step.new, LEVEL_PTE)) return false
  yield* movePtes(k, cpu, move, step)
  return true
}

/** move_ptes(): both tables exist. */
function* movePtes(k: KernelState, cpu: KernelCpu, { mm, vma }: PageTableMove, step: Step): KernelOp {
  const rmapLock = fileOf(k, vma)?.rmapLock
  if (rmapLock !== undefined) yield* rmapLock.acquire(cpu, true)
  if (findTable(k, mm, step.old, LEVEL_PTE)) {
    const old = { table: $slot.pfn, slot: $slot.slot }
    findTable(k, mm, step.new, LEVEL_PTE)
    const to = { table: $slot.pfn, slot: $slot.slot }
    const locks = yield* lockTables(cpu, mm, old.table, to.table)
    yield* flushTlbBatchedPending(k, cpu, mm)
    let count = 0
    let isFlushed = false
    for (let i = 0; i < step.pages; i++) {
      const lo = k.mem.loadLo(old.table, old.slot + i)
      const hi = k.mem.loadHi(old.table, old.slot + i)
      if (lo === 0 && hi === 0) continue
      count += 1
      isFlushed ||= (lo & (PAGE_PRESENT | PAGE_PROTNONE)) !== 0
      moveRmap(k, mm, step.old + i, step.new + i, lo, hi)
      setEntry(k, cpu, mm, old.table, old.slot + i, 0, 0)
      setEntry(k, cpu, mm, to.table, to.slot + i, lo, hi)
    }
    if (count > 0) yield count * k.costs.ptePerPage
    if (isFlushed && !k.bugs.has('h04-mremap-flush-after-unlock')) {
      yield* flushMoved(k, cpu, mm, step.old, step.old + step.pages)
    }
    unlockTables(cpu, locks)
  }
  rmapLock?.release(cpu, true)
}

/** move_normal_pmd(), move_normal_pud() and move_huge_pmd(): one entry, and everything below it with it. */
function* moveEntry(
  k: KernelState, cpu: KernelCpu, { mm, vma }: PageTableMove, step: Step, old: EntryPlace, to: EntryPlace,
): KernelOp {
  const rmapLock = fileOf(k, vma)?.rmapLock
  if (rmapLock !== undefined) yield* rmapLock.acquire(cpu, true)
  const locks = yield* lockTables(cpu, mm, old.table, to.table)
  const lo = k.mem.loadLo(old.table, old.slot)
  const hi = k.mem.loadHi(old.table, old.slot)
  forEachLeaf(k, mm, step.old, step.old + step.pages, (vpn, _level, _table, _slot, leafLo, leafHi) =>
    moveRmap(k, mm, vpn, vpn - step.old + step.new, leafLo, leafHi))
  setEntry(k, cpu, mm, old.table, old.slot, 0, 0)
  setEntry(k, cpu, mm, to.table, to.slot, lo, hi)
  if ((lo & PAGE_PSE) === 0) k.counters.pageTablesMoved += 1
  else moveDeposit(mm, old.table, to.table)
  yield k.costs.ptePerPage
  if (!k.bugs.has('h04-mremap-flush-after-unlock')) {
    yield* flushMoved(k, cpu, mm, step.old, step.old + step.pages)
  }
  unlockTables(cpu, locks)
  rmapLock?.release(cpu, true)
}

/** move_hugetlb_page_tables(): i_mmap_rwsem is held until the one flush at the end is over. */
function* moveHugetlbPageTables(k: KernelState, cpu: KernelCpu, move: PageTableMove): KernelOp<number> {
  const { mm, vma, from, to, pages } = move
  const rmapLock = fileOf(k, vma)?.rmapLock
  const level = levelOf(k.geometry, vma)
  const unit = unitOf(k.geometry, vma)
  yield* leaveSharedTables(k, cpu, move)
  if (rmapLock !== undefined) yield* rmapLock.acquire(cpu, true)
  let done = 0
  for (; done < pages; done += unit) {
    if (!findTable(k, mm, from + done, level)) continue
    const old = { table: $slot.pfn, slot: $slot.slot }
    const lo = k.mem.loadLo(old.table, old.slot)
    const hi = k.mem.loadHi(old.table, old.slot)
    if (lo === 0 && hi === 0) continue
    if (!allocTable(k, cpu, mm, to + done, level)) break
    const target = { table: $slot.pfn, slot: $slot.slot }
    const locks = yield* lockTables(cpu, mm, target.table, old.table)
    moveRmap(k, mm, from + done, to + done, lo, hi)
    setEntry(k, cpu, mm, old.table, old.slot, 0, 0)
    setEntry(k, cpu, mm, target.table, target.slot, lo, hi)
    yield k.costs.ptePerPage
    unlockTables(cpu, locks)
  }
  yield* k.policy.flushMmRange(k, cpu, mm, {
    start: from, end: from + pages, stridePages: unit, freedTables: true, hugetlb: true,
  })
  rmapLock?.release(cpu, true)
  return Math.min(done, pages)
}

/**
 * huge_pmd_unshare() of the old place: such pages are faulted in again at the new one. A table that only this mm uses
 * is an ordinary one from now on, whose pages are his.
 */
function* leaveSharedTables(k: KernelState, cpu: KernelCpu, { mm, from, pages }: PageTableMove): KernelOp {
  const gather = gatherMmu(mm, false)
  yield* unshareRange(k, cpu, gather, from, from + pages)
  yield* finishMmu(k, cpu, gather)
  ownTables(k, mm, from, from + pages)
}

/** flush_tlb_range() of the old place: as if tables were freed, so that lazy CPUs hear of it too. */
function* flushMoved(k: KernelState, cpu: KernelCpu, mm: Mm, start: number, end: number): KernelOp {
  yield* k.policy.flushMmRange(k, cpu, mm, { start, end, stridePages: 1, freedTables: true, hugetlb: false })
}

/** Levels whose entries move with the tables that they name, the highest first: pud and pmd, where they have tables. */
function subtreeLevels(g: Geometry): readonly number[] {
  const lowest = hugeLevel(g)
  const hasPud = !g.levels[LEVEL_PUD].folded && LEVEL_PUD !== lowest && LEVEL_PUD !== g.topLevel
  return hasPud ? [LEVEL_PUD, lowest] : [lowest]
}

/** get_extent(): up to the next boundary of `span` pages on either side. */
function extentOf(step: Step, pages: number, span: number): number {
  return Math.min(pages, span - step.old % span, span - step.new % span)
}

/**
 * try_realign_addr() of 6.x: where nothing else lies below the two areas, and the move reaches the next table, it
 * starts at the boundary of the table, so that the table moves whole. Pages to go back.
 */
function realigned(k: KernelState, { mm, from, to, pages }: PageTableMove): number {
  if (k.config.kernel.era === 'linux-4.6') return 0
  const span = pagesPerEntry(k.geometry, hugeLevel(k.geometry))
  const back = from % span
  if (back === 0 || back !== to % span || pages < span - back) return 0
  const isFree = [from, to].every(start =>
    mm.vmas.find(start)?.vmStart === start && mm.vmas.overlapping(start - back, start).length === 0)
  return isFree ? back : 0
}

function* lockTables(cpu: KernelCpu, mm: Mm, first: number, second: number): KernelOp<readonly Lock[]> {
  const locks = first === second ? [pageTableLock(mm, first)] : [pageTableLock(mm, first), pageTableLock(mm, second)]
  for (const lock of locks) {
    yield* lock.acquire(cpu, true)
    cpu.preemptCount += 1
  }
  return locks
}

function unlockTables(cpu: KernelCpu, locks: readonly Lock[]): void {
  for (const lock of [...locks].reverse()) {
    cpu.preemptCount -= 1
    lock.release(cpu, true)
  }
}

function moveRmap(k: KernelState, mm: Mm, from: number, to: number, lo: number, hi: number): void {
  if (isMigrationEntry(lo, hi)) migrationMoved(k, mm, from, to, swapValue(lo, hi))
  if ((lo & (PAGE_PRESENT | PAGE_PROTNONE)) === 0 || (lo & PAGE_SPECIAL) !== 0) return
  const pfn = entryPfn(lo, hi, k.geometry.pageShift)
  if (pfn !== k.zeroPagePfn) rmapMoved(k, mm, from, to, pfn)
}
