// Frames and tables that were unhooked and are kept, because the policy flushes later and some CPUs may
// still reach them (TlbPolicy.deferFree). What is kept belongs to nobody: it is not mapped, not free, and
// no page of its range may be mapped anew until every CPU of `waitFor` has flushed.

import { peekWalk } from '../machine/mmu.js'
import type { KernelCpu } from './cpu.js'
import type { KernelOp } from './kernel-op.js'
import type { Mm } from './mm.js'
import { putTable } from './pgtable.js'
import type { KernelState } from './state.js'
import { vpnHi, vpnLo } from './state.js'
import type { FlushTlbInfo } from './tlb-policy.js'

export interface DeferredFree {
  readonly mm: Mm
  /** The addresses that were freed, base pages. */
  readonly start: number
  readonly end: number
  /** The span of what was cleared, table entries included. */
  readonly clearedStart: number
  readonly clearedEnd: number
  /** The flush that is due, with its generation. */
  readonly info: FlushTlbInfo
  readonly pages: readonly number[]
  readonly tables: readonly number[]
  /** CPUs that have not flushed yet. */
  readonly waitFor: Set<number>
  /** Who noted it down is not through with it. */
  isOpen: boolean
}

/** What CPUs may still have of [start, end) goes first. To be called before an empty entry there is filled. */
export function* settleRange(k: KernelState, cpu: KernelCpu, mm: Mm, start: number, end: number): KernelOp {
  if (k.deferredFrees.length > 0 && k.policy.settle !== undefined) yield* k.policy.settle(k, cpu, mm, start, end)
}

/** Something of [start, end) that is kept. */
export function keptAt(k: KernelState, mm: Mm, start: number, end: number): DeferredFree | undefined {
  return k.deferredFrees.find(kept => kept.mm === mm && kept.start < end && start < kept.end)
}

/** May `cpu` still reach page `vpn`, which is not mapped, through an entry whose flush is due? */
export function isDueOn(k: KernelState, cpu: KernelCpu, mm: Mm, vpn: number): boolean {
  const isDue = k.deferredFrees.some(kept =>
    kept.mm === mm && kept.waitFor.has(cpu.id) && kept.clearedStart <= vpn && vpn < kept.clearedEnd)
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
    if (!k.frames.put(cpu.id, pfn)) continue
    k.counters.pagesFreed += pages
    freed += 1
  }
  for (const pfn of kept.tables) putTable(k, cpu, kept.mm, pfn)
  if (freed > 0) yield freed * k.costs.freePage
}
