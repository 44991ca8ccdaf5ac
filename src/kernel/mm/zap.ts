// Taking mappings away: clearing entries (zap_pte_range) and unhooking empty tables
// (free_pgtables). Everything lands in a gather, which flushes before it frees.
//
// Simplified: the entries of one table are cleared at one instant and their price is paid
// afterwards; Linux clears them one by one under the table's lock. No other CPU can tell,
// because whoever needs the lock waits for the same total time.

import { entryPfn, PAGE_PRESENT, PAGE_PSE } from '../../machine/entry.js'
import { LEVEL_PTE } from '../../machine/geometry.js'
import type { KernelCpu } from '../cpu.js'
import { isShared, sharedSpan, unsharePmd } from '../huge/hugetlb.js'
import { NOTHING } from '../kernel-op.js'
import type { KernelOp } from '../kernel-op.js'
import { PAGE_SPECIAL } from './leaf.js'
import type { Mm } from './mm.js'
import type { MmuGather } from './mmu-gather.js'
import { flushMmu, flushMmuTlbonly, gatherEntry, gatherPage, gatherTable } from './mmu-gather.js'
import { keepDirty } from '../pages/page-cache.js'
import { $slot, childLevel, findLeaf, hugeLevel, pagesPerEntry, setEntry } from './pgtable.js'
import { pageTableLock } from '../locking/pt-lock.js'
import { pageRemoveRmap } from '../pages/rmap.js'
import { freeDeposit, splitHugePmd } from '../huge/split-huge.js'
import type { KernelState } from '../state.js'
import { isMigrationEntry, isSwapPte, swapValue } from '../reclaim/swap-entry.js'
import { freeSwapAndCache } from '../reclaim/swap.js'
import { flushTlbBatchedPending } from '../reclaim/unmap-batch.js'

export { pageTableLock } from '../locking/pt-lock.js'

/** unmap_page_range(): clears every entry of [start, end); full gathers are flushed on the way. */
export function* zapRange(k: KernelState, cpu: KernelCpu, gather: MmuGather, start: number, end: number): KernelOp {
  const g = k.geometry
  let vpn = start
  while (vpn < end) {
    if (isShared(k, gather.mm, vpn) && (yield* unsharePmd(k, cpu, gather, vpn))) {
      vpn += sharedSpan(k) - (vpn % sharedSpan(k))
      continue
    }
    const level = findLeaf(k, gather.mm, vpn)
    const regionPages = pagesPerEntry(g, level < 0 || level === LEVEL_PTE ? hugeLevel(g) : level)
    const regionEnd = Math.min(end, Math.floor(vpn / regionPages) * regionPages + regionPages)
    if (level < 0) {
      vpn = regionEnd
      continue
    }
    const { pfn, slot } = $slot
    const isWhole = vpn % regionPages === 0 && vpn + regionPages <= end
    if (level !== LEVEL_PTE && !isWhole) {
      yield* splitHugePmd(k, cpu, gather.mm, vpn)
      continue
    }
    const lock = pageTableLock(gather.mm, pfn)
    yield* lock.acquire(cpu, true)
    // A huge page that another CPU has split meanwhile.
    if (level !== LEVEL_PTE && findLeaf(k, gather.mm, vpn) !== level) {
      lock.release(cpu, true)
      continue
    }
    cpu.preemptCount += 1
    yield* flushTlbBatchedPending(k, cpu, gather.mm)
    const entries = level === LEVEL_PTE ? regionEnd - vpn : 1
    const cleared = clearEntries(k, cpu, gather, level, pfn, slot, entries, vpn)
    if (cleared.count > 0) yield cleared.count * k.costs.ptePerPage
    // The flush comes before the lock is let go, so that nobody finds the entries empty and relies on it.
    if (cleared.full) yield* flushMmuTlbonly(k, cpu, gather)
    cpu.preemptCount -= 1
    lock.release(cpu, true)
    if (cleared.full) yield* flushMmu(k, cpu, gather)
    vpn = level === LEVEL_PTE ? vpn + cleared.visited : regionEnd
  }
}

/** free_pgd_range(): unhooks the tables of [start, end) that lie wholly between `floor` and `ceiling`. */
export function freePgtables(
  k: KernelState, cpu: KernelCpu, gather: MmuGather, start: number, end: number, floor: number, ceiling: number,
): KernelOp {
  const unhook = (): boolean =>
    unhookBelow(k, cpu, gather, k.geometry.topLevel, gather.mm.pgdPfn, start, end, floor, ceiling)
  return unhook() ? flushAndGoOn(k, cpu, gather, unhook) : NOTHING
}

/** What was unhooked is gone, so a gather that was full is simply filled again from the start. */
function* flushAndGoOn(k: KernelState, cpu: KernelCpu, gather: MmuGather, unhook: () => boolean): KernelOp {
  do yield* flushMmu(k, cpu, gather)
  while (unhook())
}

/** How far clearing got: entries looked at, entries cleared, and whether the gather is full. */
interface Cleared {
  visited: number
  count: number
  full: boolean
}

/** zap_pte_range(): stops behind the entry that made the gather full. */
function clearEntries(
  k: KernelState, cpu: KernelCpu, gather: MmuGather,
  level: number, pfn: number, firstSlot: number, entries: number, firstVpn: number,
): Cleared {
  const pages = pagesPerEntry(k.geometry, level)
  // tlb_remove_pmd_tlb_entry() of 4.6 extends the range by one base page: enough for INVLPG.
  const is46 = k.config.kernel.era === 'linux-4.6'
  let count = 0
  for (let i = 0; i < entries; i++) {
    const slot = firstSlot + i
    const lo = k.mem.loadLo(pfn, slot)
    const hi = k.mem.loadHi(pfn, slot)
    if (lo === 0 && hi === 0) continue
    setEntry(k, cpu, gather.mm, pfn, slot, 0, 0)
    count += 1
    if (isSwapPte(lo, hi)) {
      zapSwapEntry(k, cpu, gather.mm, lo, hi, pages)
      continue
    }
    const vpn = level === LEVEL_PTE ? firstVpn + i : Math.floor(firstVpn / pages) * pages
    gatherEntry(gather, vpn, is46 && pages > 1 && !gather.hugetlb ? 1 : pages)
    const page = entryPfn(lo, hi, k.geometry.pageShift)
    if (page === k.zeroPagePfn || (lo & PAGE_SPECIAL) !== 0) continue
    keepDirty(k, page, lo, hi)
    if (!k.sharedTables.has(pfn)) gather.mm.rssPages -= pages
    pageRemoveRmap(k, gather.mm, vpn, page, pages)
    if (pages > 1 && k.frames.isThp[page] === 1) freeDeposit(k, cpu, gather.mm, pfn)
    if (gatherPage(k, gather, page)) return { visited: i + 1, count, full: true }
  }
  return { visited: entries, count, full: false }
}

/** An entry that is not present: no TLB can have it. The page of a migration entry is its migrator's. */
function zapSwapEntry(k: KernelState, cpu: KernelCpu, mm: Mm, lo: number, hi: number, pages: number): void {
  if (isMigrationEntry(lo, hi)) {
    mm.rssPages -= pages
    return
  }
  mm.swapPages -= 1
  freeSwapAndCache(k, cpu, swapValue(lo, hi))
}

/** True: the gather is full, and there may be more. */
function unhookBelow(
  k: KernelState, cpu: KernelCpu, gather: MmuGather,
  level: number, tablePfn: number, start: number, end: number, floor: number, ceiling: number,
): boolean {
  const g = k.geometry
  const span = pagesPerEntry(g, level)
  const child = childLevel(g, level)
  for (let base = Math.floor(start / span) * span; base < end; base += span) {
    const slot = (base / span) % (1 << g.levels[level].bits)
    const lo = k.mem.loadLo(tablePfn, slot)
    if ((lo & PAGE_PRESENT) === 0 || (g.levels[level].leaf && (lo & PAGE_PSE) !== 0)) continue
    const table = entryPfn(lo, k.mem.loadHi(tablePfn, slot), g.pageShift)
    if (child !== LEVEL_PTE) {
      const from = Math.max(start, base)
      const to = Math.min(end, base + span)
      if (unhookBelow(k, cpu, gather, child, table, from, to, floor, ceiling)) return true
    }
    if (base < floor || base + span > ceiling) continue
    // i386 PAE keeps the tables below its latched root entries until the mm is freed.
    if (g.name === 'i386-pae' && level === g.topLevel && !k.bugs.has('h12-pae-top-entry-without-full-flush')) continue
    setEntry(k, cpu, gather.mm, tablePfn, slot, 0, 0)
    if (gatherTable(k, gather, table, level, base)) return true
  }
  return false
}
