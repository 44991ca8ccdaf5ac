// hugetlb: huge pages that programs ask for, of the pmd or of the pud level, and page tables that
// several address spaces share (mm/hugetlb.c: huge_pmd_share, huge_pmd_unshare).
//
// Where a shared hugetlb area covers a whole range of a pmd table (1 GiB), all areas that map the
// same part of the file there with the same rights use one pmd table. Whoever takes his range away
// or changes its rights leaves the table to the others first:
//
//   share      the pud entry of the new one names the table of another       refcount of the table +1
//   unshare    clear the own pud entry, flush 1 GiB as if the table were     refcount of the table -1
//              freed, before i_mmap_rwsem is let go: the others may free
//              the pages, and one day the table, without a flush here
//
// Simplified: mprotect flushes once for every shared table and once for the area; Linux once for all.
//
// Nobody counts the pages behind such tables as his: neither rss nor reverse mappings grow with
// the number of address spaces.

import { LEVEL_PMD, LEVEL_PUD } from '../../machine/geometry.js'
import type { Geometry } from '../../machine/geometry.js'
import { entryPfn, PAGE_PRESENT, PAGE_PSE, PAGE_PROTNONE, PFN_HI_MASK } from '../../machine/entry.js'
import { removeTableSyncOne } from './collapse.js'
import type { KernelCpu } from '../cpu.js'
import type { KernelOp } from '../kernel-op.js'
import type { Mm } from '../mm/mm.js'
import { flushMmuTlbonly, gatherEntry } from '../mm/mmu-gather.js'
import type { MmuGather } from '../mm/mmu-gather.js'
import { areasOf, fileOf } from '../pages/page-cache.js'
import { $slot, allocTable, findTable, hugeLevel, pagesPerEntry, setEntry, setTableEntry } from '../mm/pgtable.js'
import { pageTableLock } from '../locking/pt-lock.js'
import { rmapHandOver } from '../pages/rmap.js'
import type { KernelState } from '../state.js'
import { pgoffAt } from '../mm/vma.js'
import type { Vma } from '../mm/vma.js'

/** An address space that uses a shared table, and the first page that the table translates there. */
interface Sharer {
  readonly mm: Mm
  readonly base: number
}

/** A pmd table of a range that may be shared, by table frame. */
export interface SharedTable {
  /** Index of the file. */
  readonly file: number
  readonly sharers: Sharer[]
}

/** The level whose entries map the pages of this area. */
export function levelOf(g: Geometry, { giant }: { giant: boolean }): number {
  return giant && !g.levels[LEVEL_PUD].folded && g.levels[LEVEL_PUD].leaf ? LEVEL_PUD : hugeLevel(g)
}

/** Base pages in a page of this area. */
export function unitOf(g: Geometry, area: { huge: boolean; giant: boolean }): number {
  return area.huge ? pagesPerEntry(g, levelOf(g, area)) : 1
}

/** vma_shareable(): x86-64 only; the area covers the whole pud entry around `vpn`. */
function isShareable(k: KernelState, vma: Vma, vpn: number): boolean {
  if (!k.geometry.name.startsWith('x86-64') || !vma.huge || vma.giant || !vma.shared) return false
  const span = pagesPerEntry(k.geometry, LEVEL_PUD)
  const base = vpn - (vpn % span)
  return base >= vma.vmStart && base + span <= vma.vmEnd
}

/** huge_pte_alloc(): the table for `vpn` in $slot, a shared one where there is one. False: out of memory. */
export function hugePteAlloc(k: KernelState, cpu: KernelCpu, mm: Mm, vma: Vma, vpn: number): boolean {
  const level = levelOf(k.geometry, vma)
  if (!isShareable(k, vma, vpn)) return allocTable(k, cpu, mm, vpn, level)
  if (findTable(k, mm, vpn, LEVEL_PMD)) return true
  if (!allocTable(k, cpu, mm, vpn, LEVEL_PUD)) return false
  const pud = { table: $slot.pfn, slot: $slot.slot }
  const span = pagesPerEntry(k.geometry, LEVEL_PUD)
  const sharer = { mm, base: vpn - (vpn % span) }
  const found = findSharedTable(k, mm, vma, vpn)
  if (found >= 0) {
    share(k, sharer, found)
    setTableEntry(k, cpu, mm, pud.table, pud.slot, found, LEVEL_PUD)
    return findTable(k, mm, vpn, LEVEL_PMD)
  }
  if (!allocTable(k, cpu, mm, vpn, LEVEL_PMD)) return false
  k.sharedTables.set($slot.pfn, { file: vma.file, sharers: [sharer] })
  return true
}

/** page_table_shareable() over all areas of the file: the table of one that maps the same part of it; -1: none. */
function findSharedTable(k: KernelState, mm: Mm, vma: Vma, vpn: number): number {
  const file = fileOf(k, vma)
  const span = pagesPerEntry(k.geometry, LEVEL_PUD)
  if (file === undefined) return -1
  for (const other of areasOf(k, file)) {
    const at = other.vma.vmStart + pgoffAt(vma, vpn) - other.vma.pgoff
    const isSame = other.mm === mm && at === vpn
    if (isSame || other.vma.prot !== vma.prot || at % span !== vpn % span || !isShareable(k, other.vma, at)) continue
    if (findTable(k, other.mm, at, LEVEL_PMD) && k.sharedTables.has($slot.pfn)) return $slot.pfn
  }
  return -1
}

function share(k: KernelState, sharer: Sharer, table: number): void {
  const { sharers } = k.sharedTables.get(table)!
  const lock = pageTableLock(sharers[0].mm, table)
  for (const { mm } of sharers) {
    mm.sharesTablesWith.add(sharer.mm)
    sharer.mm.sharesTablesWith.add(mm)
  }
  sharers.push(sharer)
  sharer.mm.pageTableLocks.set(table, lock)
  sharer.mm.tablePages += 1
  k.frames.get(table)
  k.counters.hugePmdShares += 1
}

/** Is `vpn` of this address space translated by a table that others use too? $slot is the entry in it. */
export function isShared(k: KernelState, mm: Mm, vpn: number): boolean {
  // There are such tables on x86-64 only.
  if (k.sharedTables.size === 0) return false
  return findTable(k, mm, vpn, LEVEL_PMD) && (k.sharedTables.get($slot.pfn)?.sharers.length ?? 0) > 1
}

/** Base pages from the start of the range that one shared table translates. */
export function sharedSpan(k: KernelState): number {
  return pagesPerEntry(k.geometry, LEVEL_PUD)
}

/**
 * huge_pmd_unshare() of the whole range around `vpn`, and the flush that belongs to it, under i_mmap_rwsem. 6.x also
 * waits for walkers without locks: the table may become somebody's own (6.16). False: meanwhile all others have left.
 */
export function* unsharePmd(k: KernelState, cpu: KernelCpu, gather: MmuGather, vpn: number): KernelOp<boolean> {
  const { mm } = gather
  findTable(k, mm, vpn, LEVEL_PMD)
  const { file } = k.sharedTables.get($slot.pfn)!
  const { rmapLock } = k.pageCache.files[file]
  yield* rmapLock.acquire(cpu, true)
  const isStillShared = isShared(k, mm, vpn)
  if (isStillShared) {
    const table = $slot.pfn
    const span = pagesPerEntry(k.geometry, LEVEL_PUD)
    const unit = pagesPerEntry(k.geometry, LEVEL_PMD)
    const base = vpn - (vpn % span)
    findTable(k, mm, vpn, LEVEL_PUD)
    setEntry(k, cpu, mm, $slot.pfn, $slot.slot, 0, 0)
    yield k.costs.ptePerPage
    if (!k.bugs.has('h11-hugetlb-unshare-without-flush')) {
      gatherEntry(gather, base, unit)
      gatherEntry(gather, base + span - unit, unit)
      gather.freedTables = true
      gather.hugetlb = true
    }
    yield* removeTableSyncOne(k, cpu)
    if (!k.bugs.has('h11-hugetlb-unshare-without-flush')) yield* flushMmuTlbonly(k, cpu, gather)
    leaveTable(k, cpu, { mm, base }, table)
  }
  rmapLock.release(cpu, true)
  return isStillShared
}

/** The same for every shared table of [start, end), of whose pages not the rights change, but whose users do. */
export function* unshareRange(k: KernelState, cpu: KernelCpu, gather: MmuGather, start: number, end: number): KernelOp {
  if (k.sharedTables.size === 0) return
  const span = sharedSpan(k)
  for (let vpn = start; vpn < end; vpn += span - (vpn % span)) {
    if (isShared(k, gather.mm, vpn)) yield* unsharePmd(k, cpu, gather, vpn)
  }
}

/** Tables of [start, end) that nobody else uses and nobody else is going to: their pages are this mm's. */
export function ownTables(k: KernelState, mm: Mm, start: number, end: number): void {
  if (k.sharedTables.size === 0) return
  const span = sharedSpan(k)
  for (let vpn = start; vpn < end; vpn += span - (vpn % span)) {
    if (!findTable(k, mm, vpn, LEVEL_PMD) || !k.sharedTables.delete($slot.pfn)) continue
    mm.rssPages += pagesPerEntry(k.geometry, LEVEL_PMD) * leavesOf(k, $slot.pfn).length
  }
}

/** Slots of a pmd table that map pages. */
function leavesOf(k: KernelState, table: number): number[] {
  const slots = Array.from({ length: 2 ** k.geometry.levels[LEVEL_PMD].bits }, (_, slot) => slot)
  return slots.filter((slot) => {
    const lo = k.mem.loadLo(table, slot)
    return (lo & PAGE_PSE) !== 0 && (lo & (PAGE_PRESENT | PAGE_PROTNONE)) !== 0
  })
}

/** The others go on with the table; what is listed as mapped here is theirs from now on. */
function leaveTable(k: KernelState, cpu: KernelCpu, { mm, base }: Sharer, table: number): void {
  const shared = k.sharedTables.get(table)!
  const index = shared.sharers.findIndex(each => each.mm === mm && each.base === base)
  const [own] = shared.sharers.splice(index, 1)
  mm.tablePages -= 1
  if (!shared.sharers.some(each => each.mm === mm)) mm.pageTableLocks.delete(table)
  k.frames.put(cpu.id, table)
  k.counters.hugePmdUnshares += 1
  if (index > 0) return
  const heir = shared.sharers[0]
  const unit = pagesPerEntry(k.geometry, LEVEL_PMD)
  for (const slot of leavesOf(k, table)) {
    const page = entryPfn(k.mem.loadLo(table, slot), k.mem.loadHi(table, slot) & PFN_HI_MASK, k.geometry.pageShift)
    rmapHandOver(k, page, { mm, vpn: own.base + slot * unit }, { mm: heir.mm, vpn: heir.base + slot * unit })
  }
}

/** In whose name a page behind table `table` is listed, and at which page number. */
export function listedOwner(k: KernelState, mm: Mm, vpn: number, table: number): { mm: Mm; vpn: number } {
  const shared = k.sharedTables.get(table)
  if (shared === undefined) return { mm, vpn }
  const span = sharedSpan(k)
  const own = shared.sharers.find(each => each.mm === mm && each.base === vpn - (vpn % span))!
  return { mm: shared.sharers[0].mm, vpn: vpn - own.base + shared.sharers[0].base }
}
