// What the TLBs and paging caches of a CPU hold, as records for the checks. Several checks look at them in one
// step, and most CPUs that are looked at have done nothing since the last look: they wait. They are read again only
// when they may have changed, which Mmu.contentsStamp tells.
//
// To be asked only about a CPU whose core stands at the present cycle, or that is in the kernel: the stamp says
// nothing about what a core did ahead of time and may have to take back.

import type { Mmu, PagingCacheEntry, TlbEntry } from '../machine/mmu.js'
import type { KernelCpu } from '../kernel/cpu.js'
import type { KernelState } from '../kernel/state.js'

export interface HeldEntries {
  /** L1I, L1D, STLB; sets ascending, youngest first. */
  readonly tlb: readonly TlbEntry[]
  /** The top level first, youngest first. */
  readonly upper: readonly PagingCacheEntry[]
}

interface StampedEntries extends HeldEntries {
  readonly stamp: number
}

/** By CPU. */
const lastRead = new WeakMap<KernelState, StampedEntries[]>()

/** What `cpu` holds now. Nobody may change it. */
export function heldEntries(k: KernelState, cpu: KernelCpu): HeldEntries {
  const mmu = k.platform.mmu(cpu.id)
  let byCpu = lastRead.get(k)
  if (byCpu === undefined) lastRead.set(k, byCpu = [])
  const known = byCpu[cpu.id]
  return known?.stamp === mmu.contentsStamp ? known : (byCpu[cpu.id] = readEntries(mmu))
}

function readEntries(mmu: Mmu): StampedEntries {
  const tlb: TlbEntry[] = []
  const upper: PagingCacheEntry[] = []
  mmu.forEachTlbEntry((entry) => tlb.push(entry))
  mmu.forEachPagingCacheEntry((entry) => upper.push(entry))
  return { stamp: mmu.contentsStamp, tlb, upper }
}
