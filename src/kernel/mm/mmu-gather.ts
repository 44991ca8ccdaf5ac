// struct mmu_gather: the only way to take mappings away. One rule (Linux asm-generic/tlb.h):
//
//   1. unhook   clear the entries, remember frames and tables         (zap.ts)
//   2. flush    no CPU can reach them any more                        (flushMmuTlbonly)
//   3. free     give frames and tables back                           (flushMmu)
//
// A gather holds only so many frames and tables; when it is full it is flushed and freed midway
// and goes on empty.
//
// Simplified: Linux 6.x frees table pages only after an RCU grace period, because software walkers
// may still read them. Here they wait for the lockless walks that are under way (gup-fast.ts), and
// are freed with the pages when there is none: frames come back earlier than in Linux. The pages
// that hold the lists are not taken from memory, so a gather is never full early.

import { LEVEL_P4D } from '../../machine/geometry.js'
import type { Geometry } from '../../machine/geometry.js'
import type { KernelCpu } from '../cpu.js'
import { NOTHING } from '../kernel-op.js'
import type { KernelOp } from '../kernel-op.js'
import type { Mm } from './mm.js'
import { childLevel, freeTable, pagesPerEntry } from './pgtable.js'
import type { KernelState } from '../state.js'
import { freeSwapCache } from '../reclaim/swap.js'
import { FLUSH_ALL } from '../tlb/tlb-policy.js'

/** MMU_GATHER_BUNDLE: pages held in the structure itself. */
const BUNDLE_PAGES = 8
/** MAX_GATHER_BATCH_COUNT is chosen so that about this many pages are freed at once, with preemption off. */
const PAGES_AT_ONCE = 10_000

/** Base pages [start, end). */
export interface PageSpan {
  readonly start: number
  readonly end: number
}

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
  pages: number[]
  tables: number[]
  /** What each of the tables covered. */
  tableSpans: PageSpan[]
  /** The range of a call that only frees memory: the policy may flush it after the call has returned. */
  deferrable: PageSpan | undefined
  /** What tlb_finish_mmu() of 4.13 is told: all that the call is about, cleared or not. Undefined where it has none. */
  asked: PageSpan | undefined
}

/** tlb_gather_mmu() and, with `fullmm`, tlb_gather_mmu_fullmm(). */
export function gatherMmu(mm: Mm, fullmm: boolean): MmuGather {
  mm.gathersPending += 1
  return {
    mm, fullmm, start: Infinity, end: 0, freedTables: false, stridePages: 0, hugetlb: false, pages: [], tables: [],
    tableSpans: [], deferrable: undefined, asked: undefined,
  }
}

/**
 * Pages that a gather holds: the bundle, then MAX_GATHER_BATCH_COUNT batches of one page each
 * full of pointers. On x86-64: 8 + 19 * 510.
 */
export function gatherPagesMax(g: Geometry): number {
  const batchPages = pointersIn(g, pointerBytes(g) + 8)
  return BUNDLE_PAGES + Math.floor(PAGES_AT_ONCE / batchPages) * batchPages
}

/** MAX_TABLE_BATCH of 6.x: tables in the one page that lists them. On x86-64: 509. */
export function gatherTablesMax(g: Geometry): number {
  return pointersIn(g, 3 * pointerBytes(g))
}

/** tlb_remove_tlb_entry(): an entry of `pages` base pages at `vpn` was cleared. */
export function gatherEntry(gather: MmuGather, vpn: number, pages: number): void {
  extend(gather, vpn, vpn + pages)
  gather.stridePages = gather.stridePages === 0 ? pages : Math.min(gather.stridePages, pages)
}

/** __tlb_remove_page(): free `pfn` after the flush. True: the gather is full and must be flushed now. */
export function gatherPage(k: KernelState, gather: MmuGather, pfn: number): boolean {
  gather.pages.push(pfn)
  return gather.pages.length + tablesAmongPages(k, gather) >= gatherPagesMax(k.geometry)
}

/**
 * pte_free_tlb() and its siblings: the table that the entry of `level` at `vpn` named was unhooked.
 * The range grows by one page there, as in Linux: enough, because freed tables make responders
 * drop every cached upper-level entry. True: full, as in {@link gatherPage}.
 */
export function gatherTable(k: KernelState, gather: MmuGather, pfn: number, level: number, vpn: number): boolean {
  extend(gather, vpn, vpn + 1)
  gather.freedTables = true
  // There is no cleared bit for a level above p4d.
  if (childLevel(k.geometry, level) !== LEVEL_P4D) {
    const pages = pagesPerEntry(k.geometry, level)
    gather.stridePages = gather.stridePages === 0 ? pages : Math.min(gather.stridePages, pages)
  }
  gather.tables.push(pfn)
  gather.tableSpans.push({ start: vpn, end: vpn + pagesPerEntry(k.geometry, level) })
  const listed = tablesAmongPages(k, gather)
  if (listed > 0) return gather.pages.length + listed >= gatherPagesMax(k.geometry)
  return gather.tables.length >= gatherTablesMax(k.geometry)
}

/** tlb_flush_mmu_tlbonly(): flushes what was cleared so far; from here on it may be freed. */
export function flushMmuTlbonly(k: KernelState, cpu: KernelCpu, gather: MmuGather): KernelOp {
  // The range of a fullmm gather of 4.6 is never empty, so it flushes whether or not there was anything.
  const always = gather.fullmm && k.config.kernel.era === 'linux-4.6'
  if (gather.start >= gather.end && !gather.freedTables && !always) return NOTHING
  const range = {
    start: gather.fullmm ? 0 : gather.start,
    end: gather.fullmm ? FLUSH_ALL : gather.end,
    stridePages: Math.max(1, gather.stridePages),
    freedTables: gather.freedTables,
    hugetlb: gather.hugetlb,
  }
  gather.start = Infinity
  gather.end = 0
  gather.stridePages = 0
  gather.freedTables = false
  return k.policy.flushMmRange(k, cpu, gather.mm, range)
}

/** tlb_flush_mmu(): flushes what was cleared so far, then frees it. */
export function* flushMmu(k: KernelState, cpu: KernelCpu, gather: MmuGather): KernelOp {
  yield* flushMmuTlbonly(k, cpu, gather)
  const cycles = freeGathered(k, cpu, gather)
  if (cycles > 0) yield cycles
}

/** tlb_batch_pages_flush() and tlb_table_flush(): gives back what is flushed. Returns what that costs. */
function freeGathered(k: KernelState, cpu: KernelCpu, gather: MmuGather): number {
  let freed = 0
  const { pages: frames, tables } = gather
  gather.pages = []
  for (const pfn of frames) {
    const pages = 1 << k.frames.order[pfn]
    freeSwapCache(k, cpu, pfn)
    const head = k.frames.headOf(pfn)
    if (k.frames.put(cpu.id, pfn)) {
      k.deferredSplits.delete(head)
      k.counters.pagesFreed += pages
      freed += 1
    }
  }
  if (tables.length > 0) {
    gather.tables = []
    gather.tableSpans = []
    for (const pfn of tables) freeTable(k, cpu, gather.mm, pfn)
  }
  return freed * k.costs.freePage
}

/**
 * tlb_finish_mmu(): the last flush. With another gather of the same mm in parallel, what this one has found cleared may
 * be cleared by the other and not flushed: then it flushes all that it was asked for. As the fix was in 4.13: its
 * range; as it is since 5.2 (7a30df49f63a): everything, with tables.
 */
export function* finishMmu(k: KernelState, cpu: KernelCpu, gather: MmuGather): KernelOp {
  const nested = gather.mm.gathersPending > 1 && !k.bugs.has('h16-parallel-gather-not-flushed')
  if (nested && k.config.kernel.era === 'linux-6.x') {
    gather.fullmm = true
    gather.freedTables = true
  } else if (nested && gather.asked !== undefined) {
    extend(gather, gather.asked.start, gather.asked.end)
  }
  const isEmpty = gather.pages.length + gather.tables.length === 0
  const isDeferred = gather.deferrable !== undefined && !nested && !isEmpty && k.policy.deferFree !== undefined
    && (yield* k.policy.deferFree(k, cpu, gather))
  if (!isDeferred) {
    // What flushMmu does, without one more level for every step of the flush to go through.
    yield* flushMmuTlbonly(k, cpu, gather)
    const cycles = freeGathered(k, cpu, gather)
    if (cycles > 0) yield cycles
  }
  gather.mm.gathersPending -= 1
}

function extend(gather: MmuGather, start: number, end: number): void {
  gather.start = Math.min(gather.start, start)
  gather.end = Math.max(gather.end, end)
}

/** 4.6 lists tables with the pages; 6.x lists them apart. */
function tablesAmongPages(k: KernelState, gather: MmuGather): number {
  return k.config.kernel.era === 'linux-4.6' ? gather.tables.length : 0
}

function pointerBytes(g: Geometry): number {
  return g.canonical ? 8 : 4
}

/** Pointers in one page behind a header. */
function pointersIn(g: Geometry, headerBytes: number): number {
  return Math.floor((g.pageBytes - headerBytes) / pointerBytes(g))
}
