// Taking huge pages apart (mm/huge_memory.c). Two things have that name:
//
//   splitHugePmd    one huge entry becomes a table of base-page entries; the page stays one piece,
//                   and other address spaces may go on mapping it with one entry
//   splitFolio      the page itself becomes base pages; only when no huge entry maps it any more
//
// The table that a split needs was put aside when the huge entry was made (pgtable_trans_huge_deposit),
// so a split never runs out of memory. The huge entry is first made invalid: P goes, PS stays, so that
// software still sees a huge page there while no CPU can translate by it, and no address is ever
// reachable in both sizes:
//
//   P=1 PS=1   ->  P=0 PS=1  ->  flush of the whole range  ->  the table
//
// Simplified: while a page is split, Linux replaces its entries by migration entries and flushes
// each of them; here nothing of the entries changes, because every frame stays where it is. A
// split under memory pressure therefore sends fewer interrupts than in Linux.

import { fail } from '../../base/assert.js'
import { entryPfn, makeEntryHi, makeEntryLo, PAGE_FLAGS_LO, PAGE_PRESENT, PAGE_PROTNONE, PAGE_PSE, PFN_HI_MASK,
} from '../../machine/entry.js'
import type { KernelCpu } from '../cpu.js'
import { NOTHING } from '../kernel-op.js'
import type { KernelOp } from '../kernel-op.js'
import type { Lock } from '../locking/lock.js'
import type { Mm } from '../mm/mm.js'
import { lruAdd } from '../pages/lru.js'
import { lockPage, trylockPage, unlockPage } from '../locking/page-lock.js'
import { $slot, findTable, hugeLevel, pagesPerHugePage, setEntry, setTableEntry } from '../mm/pgtable.js'
import { pageTableLock } from '../locking/pt-lock.js'
import { pageAddRmap, pageRemoveRmap } from '../pages/rmap.js'
import type { KernelState } from '../state.js'
import { NO_FILE } from '../mm/vma.js'

/** pgtable_trans_huge_deposit(): keeps an empty table for the huge entry in table `pmdTable`. */
export function depositTable(mm: Mm, pmdTable: number, table: number): void {
  mm.tablePages += 1
  const tables = mm.depositedTables.get(pmdTable)
  if (tables === undefined) mm.depositedTables.set(pmdTable, [table])
  else tables.push(table)
}

/** pgtable_trans_huge_withdraw(): takes one of them; the caller hangs it in the tree or frees it. */
export function withdrawTable(mm: Mm, pmdTable: number): number {
  const tables = mm.depositedTables.get(pmdTable)
  if (tables === undefined) fail(`no table was put aside for the huge entries of table frame ${pmdTable}`)
  const table = tables.pop()
  if (table === undefined) fail(`the tables that were put aside for table frame ${pmdTable} are used up`)
  if (tables.length === 0) mm.depositedTables.delete(pmdTable)
  return table
}

/** The huge entry of one table moved to another (move_huge_pmd): its table goes along. */
export function moveDeposit(mm: Mm, from: number, to: number): void {
  if (from === to) return
  mm.tablePages -= 1
  depositTable(mm, to, withdrawTable(mm, from))
}

/** pte_free(): no CPU could ever walk the table, or all have heard that it left the tree; so it goes at once. */
export function freeDeposit(k: KernelState, cpu: KernelCpu, mm: Mm, pmdTable: number): void {
  const table = withdrawTable(mm, pmdTable)
  mm.tablePages -= 1
  k.observer?.tableFreed(cpu, mm, table)
  mm.pageTableLocks.delete(table)
  freeTableFrame(k, cpu, table)
}

/** The same of a table that was not put aside yet. */
export function freeTableFrame(k: KernelState, cpu: KernelCpu, table: number): void {
  k.counters.pagesFreed += 1
  k.frames.put(cpu.id, table)
}

/** Does a huge entry map `vpn`, also one that is being split? $slot says where it stands. */
export function findHugePmd(k: KernelState, mm: Mm, vpn: number): boolean {
  const level = hugeLevel(k.geometry)
  return findTable(k, mm, vpn, level) && k.geometry.levels[level].leaf
    && (k.mem.loadLo($slot.pfn, $slot.slot) & PAGE_PSE) !== 0
}

/** split_huge_pmd(): nothing happens when a table is there already. */
export function* splitHugePmd(k: KernelState, cpu: KernelCpu, mm: Mm, vpn: number): KernelOp {
  if (!findHugePmd(k, mm, vpn)) return
  const { pfn: table, slot } = $slot
  const lock = pageTableLock(mm, table)
  yield* lock.acquire(cpu, true)
  if (findHugePmd(k, mm, vpn)) {
    const head = entryPfn(k.mem.loadLo(table, slot), k.mem.loadHi(table, slot) & PFN_HI_MASK, k.geometry.pageShift)
    const isAtomic = k.config.kernel.era === 'linux-4.6' && !k.bugs.has('h05-mapcount-not-atomic-against-split')
    const isStillHuge = (): boolean => findHugePmd(k, mm, vpn)
    if (!isAtomic || (yield* lockPageUnder(k, cpu, lock, head, isStillHuge))) {
      yield* splitHugePmdLocked(k, cpu, mm, vpn, table, slot)
      if (isAtomic) unlockPage(k, cpu, head)
    }
  }
  lock.release(cpu, true)
}

/**
 * lock_page() for the holder of a page-table lock, who must not wait for it: lets go, waits, and takes both. False,
 * with the page unlocked, when the entry is not the same any more.
 */
export function* lockPageUnder(
  k: KernelState, cpu: KernelCpu, lock: Lock, head: number, isSame: () => boolean,
): KernelOp<boolean> {
  if (trylockPage(k, head)) return true
  k.frames.get(head)
  lock.release(cpu, true)
  yield* lockPage(k, cpu, head)
  yield* lock.acquire(cpu, true)
  const pages = 1 << k.frames.order[head]
  if (k.frames.put(cpu.id, head)) k.counters.pagesFreed += pages
  const same = isSame()
  if (!same) unlockPage(k, cpu, head)
  return same
}

/** vma_adjust_trans_huge(): no area begins or ends inside a huge entry. mmap_lock is held for writing. */
export function vmaAdjustTransHuge(k: KernelState, cpu: KernelCpu, mm: Mm, start: number, end: number): KernelOp {
  return cutsArea(k, mm, start) || cutsArea(k, mm, end) ? splitAtBorders(k, cpu, mm, start, end) : NOTHING
}

function* splitAtBorders(k: KernelState, cpu: KernelCpu, mm: Mm, start: number, end: number): KernelOp {
  if (cutsArea(k, mm, start)) yield* splitHugePmd(k, cpu, mm, start)
  if (cutsArea(k, mm, end)) yield* splitHugePmd(k, cpu, mm, end)
}

/** Is a border at `vpn` inside an area that has a transparent huge page there? */
function cutsArea(k: KernelState, mm: Mm, vpn: number): boolean {
  if (vpn % pagesPerHugePage(k.geometry) === 0) return false
  const vma = mm.vmas.find(vpn)
  return vma !== undefined && vma.vmStart !== vpn && !vma.huge && vma.file === NO_FILE && findHugePmd(k, mm, vpn)
}

/** __split_huge_pmd_locked(). */
function* splitHugePmdLocked(
  k: KernelState, cpu: KernelCpu, mm: Mm, vpn: number, table: number, slot: number,
): KernelOp {
  const unit = pagesPerHugePage(k.geometry)
  const start = vpn - (vpn % unit)
  const lo = k.mem.loadLo(table, slot)
  const hi = k.mem.loadHi(table, slot)
  const head = entryPfn(lo, hi & PFN_HI_MASK, k.geometry.pageShift)
  cpu.preemptCount += 1
  k.counters.thpSplitPmd += 1
  setEntry(k, cpu, mm, table, slot, lo & ~(PAGE_PRESENT | PAGE_PROTNONE), hi)
  yield k.costs.ptePerPage
  // pmdp_invalidate(): A and D cannot change any more after this.
  yield* k.policy.flushMmRange(k, cpu, mm, {
    start, end: start + unit, stridePages: 1, freedTables: true, hugetlb: false,
  })
  yield unit * k.costs.ptePerPage
  const child = withdrawTable(mm, table)
  fillTable(k, child, head, lo, hi, unit)
  transferMappings(k, mm, start, head, unit)
  setTableEntry(k, cpu, mm, table, slot, child, hugeLevel(k.geometry))
  cpu.preemptCount -= 1
}

/** Base-page entries that permit and remember what the huge one did. Nobody can reach the table yet. */
function fillTable(k: KernelState, table: number, head: number, lo: number, hi: number, unit: number): void {
  const shift = k.geometry.pageShift
  const flagsLo = lo & PAGE_FLAGS_LO & ~PAGE_PSE
  for (let i = 0; i < unit; i++) {
    k.mem.store(table, i, makeEntryLo(head + i, flagsLo, shift), makeEntryHi(head + i, hi & ~PFN_HI_MASK, shift))
  }
}

/** The one mapping of the whole becomes one of each part, with a reference each. */
function transferMappings(k: KernelState, mm: Mm, start: number, head: number, unit: number): void {
  const { frames } = k
  frames.refcount[head] += unit - 1
  for (let i = 0; i < unit; i++) {
    pageAddRmap(k, mm, start + i, head + i)
    frames.anonExclusive[head + i] = frames.anonExclusive[head]
  }
  pageRemoveRmap(k, mm, start, head, unit)
}

/** total_mapcount(): entries of any size that map the compound page. */
export function totalMapcount(k: KernelState, head: number): number {
  const { mapcount, entireMapcount, order } = k.frames
  let total = entireMapcount[head]
  for (let pfn = head; pfn < head + (1 << order[head]); pfn++) total += mapcount[pfn]
  return total
}

/** split_folio(): false when a huge entry maps it or somebody holds another reference. */
export function splitFolio(k: KernelState, cpu: KernelCpu, head: number): boolean {
  const { frames } = k
  if (frames.entireMapcount[head] > 0 || totalMapcount(k, head) !== frames.refcount[head]) return false
  k.deferredSplits.delete(head)
  k.counters.thpSplitPage += 1
  const end = head + (1 << frames.order[head])
  k.counters.pagesFreed += frames.splitBlock(cpu.id, head)
  for (let pfn = head; pfn < end; pfn++) if (frames.mapcount[pfn] > 0) lruAdd(k, pfn)
  return true
}

/** deferred_split_scan(): splits what is mapped only in part. Returns the frames that came free. */
export function* shrinkDeferredSplits(k: KernelState, cpu: KernelCpu): KernelOp<number> {
  const before = k.frames.freeFrames
  const queued = Array.from(k.deferredSplits)
  k.deferredSplits.clear()
  for (const head of queued) {
    // It may have gone, and its frames may be somebody else's, while others were split.
    if (k.frames.isThp[head] === 0 || k.frames.refcount[head] === 0 || k.frames.entireMapcount[head] > 0) continue
    if (totalMapcount(k, head) >= 1 << k.frames.order[head]) continue
    if (!splitFolio(k, cpu, head)) k.deferredSplits.add(head)
    else yield (1 << hugeOrder(k)) * k.costs.freePage
  }
  return Math.max(0, k.frames.freeFrames - before)
}

/** log2 of the base pages in a huge page (HPAGE_PMD_ORDER). */
export function hugeOrder(k: KernelState): number {
  return Math.log2(pagesPerHugePage(k.geometry))
}
