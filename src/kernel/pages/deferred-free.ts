// Frames and tables that were unhooked and are kept, because the policy flushes later and some CPUs may
// still reach them (TlbPolicy.deferFree). What is kept belongs to nobody: it is not mapped, not free, and
// no page of its range may be mapped anew until every CPU of `waitFor` has flushed.

import { peekWalk } from '../../machine/mmu.js'
import { PROT_WRITE } from '../abi.js'
import type { KernelCpu } from '../cpu.js'
import { NOTHING } from '../kernel-op.js'
import type { KernelOp } from '../kernel-op.js'
import type { Mm } from '../mm/mm.js'
import type { PageSpan } from '../mm/mmu-gather.js'
import { putTable } from '../mm/pgtable.js'
import type { KernelState } from '../state.js'
import { vpnHi, vpnLo } from '../state.js'
import { freeSwapCache } from '../reclaim/swap.js'
import type { FlushTlbInfo } from '../tlb/tlb-policy.js'
import { settleUnflushed } from '../reclaim/unflushed.js'
import { NO_FILE } from '../mm/vma.js'

export interface DeferredFree {
  readonly mm: Mm
  /** The addresses that were freed. */
  readonly freed: PageSpan
  /** The span of all that was cleared, entries of tables included. */
  readonly cleared: PageSpan
  /** What the tables covered: paging caches may still lead there. */
  readonly tableSpans: readonly PageSpan[]
  /** The flush that is due, with its generation. */
  readonly info: FlushTlbInfo
  readonly pages: readonly number[]
  readonly tables: readonly number[]
  /** CPUs that have not flushed yet. */
  readonly waitFor: Set<number>
  /** Who noted it down is not through with it. */
  isOpen: boolean
}

/**
 * What CPUs may still have of [start, end) goes first. To be called before an entry there is filled, of a page or of a
 * table, in the same step and with what keeps others from clearing it again.
 */
export function settleRange(k: KernelState, cpu: KernelCpu, mm: Mm, start: number, end: number): KernelOp {
  const isNothingKept = k.unflushed.length === 0 && k.deferredFrees.length === 0
  return isNothingKept ? NOTHING : settleKept(k, cpu, mm, start, end)
}

function* settleKept(k: KernelState, cpu: KernelCpu, mm: Mm, start: number, end: number): KernelOp {
  const vma = k.unflushed.length > 0 ? mm.vmas.find(start) : undefined
  if (vma !== undefined && (vma.prot & PROT_WRITE) !== 0) {
    yield* settleUnflushed(k, cpu, mm, vma.shared ? vma.file : NO_FILE)
  }
  while (k.deferredFrees.length > 0 && k.policy.settle !== undefined) {
    const kept = k.deferredFrees.find(each => each.mm === mm && each.waitFor.size > 0
      && [each.freed, ...each.tableSpans].some(span => overlaps(span, start, end)))
    if (kept === undefined) return
    yield* k.policy.settle(k, cpu, kept)
  }
}

/** Addresses of [start, end) that are kept. */
export function keptAt(k: KernelState, mm: Mm, start: number, end: number): PageSpan | undefined {
  return k.deferredFrees.find(kept => kept.mm === mm && overlaps(kept.freed, start, end))?.freed
}

function overlaps(span: PageSpan, start: number, end: number): boolean {
  return span.start < end && start < span.end
}

/** May `cpu` still reach page `vpn`, which is not mapped, through an entry whose flush is due? */
export function isDueOn(k: KernelState, cpu: KernelCpu, mm: Mm, vpn: number): boolean {
  const isDue = k.deferredFrees.some(kept =>
    kept.mm === mm && kept.waitFor.has(cpu.id) && kept.cleared.start <= vpn && vpn < kept.cleared.end)
  if (!isDue) return false
  const { reason } = peekWalk(k.geometry, k.mem, mm.pgdPfn, vpnHi(k, vpn), vpnLo(k, vpn))
  return reason !== 'ok' && reason !== 'huge'
}

/** Gives everything back, if no CPU can reach it any more. */
export function* giveBack(k: KernelState, cpu: KernelCpu, kept: DeferredFree): KernelOp {
  if (kept.isOpen || kept.waitFor.size > 0) return
  const index = k.deferredFrees.indexOf(kept)
  if (index < 0) return
  k.deferredFrees.splice(index, 1)
  let freed = 0
  for (const pfn of kept.pages) {
    const pages = 1 << k.frames.order[pfn]
    freeSwapCache(k, cpu, pfn)
    if (!k.frames.put(cpu.id, pfn)) continue
    k.counters.pagesFreed += pages
    freed += 1
  }
  for (const pfn of kept.tables) putTable(k, cpu, kept.mm, pfn)
  if (freed > 0) yield freed * k.costs.freePage
}
