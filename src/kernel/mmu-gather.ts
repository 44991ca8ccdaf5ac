// struct mmu_gather: the only way to take mappings away. One rule (Linux asm-generic/tlb.h):
//
//   1. unhook   clear the entries, remember frames and tables         (zap.ts)
//   2. flush    no CPU can reach them any more                        (flushMmu)
//   3. free     give frames and tables back                           (flushMmu)
//
// Simplified: Linux frees table pages only after an RCU grace period, because software walkers
// may still read them. There are no software walkers here, so they are freed with the pages.

import { LEVEL_PMD } from '../machine/geometry.js'
import type { KernelCpu } from './cpu.js'
import type { KernelOp } from './kernel-op.js'
import type { Mm } from './mm.js'
import { freeTable, pagesPerEntry } from './pgtable.js'
import type { KernelState } from './state.js'
import { FLUSH_ALL } from './tlb-policy.js'

/** MMU_GATHER_BUNDLE: pages held in the structure itself. */
const BUNDLE_PAGES = 8
/** Pages in one further batch page, and how many of those there may be. */
const BATCH_PAGES = 510
const BATCHES_MAX = 19
const GATHER_PAGES_MAX = BUNDLE_PAGES + BATCHES_MAX * BATCH_PAGES

export interface MmuGather {
  readonly mm: Mm
  /** The whole address space goes (exit_mmap). */
  fullmm: boolean
  /** Span of cleared entries in base pages; empty while start >= end. */
  start: number
  end: number
  freedTables: boolean
  /** Base pages of the smallest cleared level (tlb_get_unmap_size); 0 while nothing is cleared. */
  stridePages: number
  hugetlb: boolean
  /** Frames and tables to free after the flush. */
  readonly pages: number[]
  readonly tables: number[]
}

/** tlb_gather_mmu() and, with `fullmm`, tlb_gather_mmu_fullmm(). */
export function gatherMmu(mm: Mm, fullmm: boolean): MmuGather {
  mm.gathersPending += 1
  return {
    mm, fullmm, start: Infinity, end: 0, freedTables: false, stridePages: 0, hugetlb: false, pages: [], tables: [],
  }
}

/** tlb_remove_tlb_entry(): an entry of `pages` base pages at `vpn` was cleared. */
export function gatherEntry(gather: MmuGather, vpn: number, pages: number): void {
  extend(gather, vpn, vpn + pages)
  gather.stridePages = gather.stridePages === 0 ? pages : Math.min(gather.stridePages, pages)
}

/** __tlb_remove_page(): free `pfn` after the flush. True: the gather is full and must be flushed now. */
export function gatherPage(gather: MmuGather, pfn: number): boolean {
  gather.pages.push(pfn)
  return gather.pages.length >= GATHER_PAGES_MAX
}

/**
 * pte_free_tlb() and its siblings: a table was unhooked whose region starts at `vpn`. The range
 * grows by one page there, as in Linux: enough, because freed tables make responders drop every
 * cached upper-level entry.
 */
export function gatherTable(k: KernelState, gather: MmuGather, pfn: number, vpn: number): void {
  extend(gather, vpn, vpn + 1)
  gather.freedTables = true
  const pages = pagesPerEntry(k.geometry, LEVEL_PMD)
  gather.stridePages = gather.stridePages === 0 ? pages : Math.min(gather.stridePages, pages)
  gather.tables.push(pfn)
}

/** tlb_flush_mmu(): flush what was cleared so far, then free it. */
export function* flushMmu(k: KernelState, cpu: KernelCpu, gather: MmuGather): KernelOp {
  if (gather.start < gather.end || gather.fullmm) {
    yield* k.policy.flushMmRange(k, cpu, gather.mm, {
      start: gather.fullmm ? 0 : gather.start,
      end: gather.fullmm ? FLUSH_ALL : gather.end,
      stridePages: Math.max(1, gather.stridePages),
      freedTables: gather.freedTables || gather.fullmm,
      hugetlb: gather.hugetlb,
    })
    gather.start = Infinity
    gather.end = 0
    gather.stridePages = 0
    gather.freedTables = false
  }
  let freed = 0
  for (const pfn of gather.pages.splice(0)) {
    k.frames.mapcount[pfn] -= 1
    const pages = 1 << k.frames.order[pfn]
    if (k.frames.put(cpu.id, pfn)) {
      k.counters.pagesFreed += pages
      freed += 1
    }
  }
  for (const pfn of gather.tables.splice(0)) freeTable(k, cpu, gather.mm, pfn)
  if (freed > 0) yield freed * k.costs.freePage
}

/** tlb_finish_mmu(): the last flush. Another gather of the same mm in parallel forces a full one (6.x). */
export function* finishMmu(k: KernelState, cpu: KernelCpu, gather: MmuGather): KernelOp {
  const nested = gather.mm.gathersPending > 1 && k.config.kernel.era === 'linux-6.x'
  if (nested) {
    gather.fullmm = true
    gather.freedTables = true
  }
  yield* flushMmu(k, cpu, gather)
  gather.mm.gathersPending -= 1
}

function extend(gather: MmuGather, start: number, end: number): void {
  gather.start = Math.min(gather.start, start)
  gather.end = Math.max(gather.end, end)
}
