// The local descriptor table of an address space (arch/x86/kernel/ldt.c): replaced by modify_ldt,
// loaded into a register of every CPU that runs the mm. What a CPU has loaded is per-mm state like
// CR3, and goes wrong in the same ways.
//
//   modifyLdt     new table; every CPU of the mask loads it; then the old one is freed
//   switchLdt     with every switch of address spaces: load it where it differs

import { ERRNO } from '../abi.js'
import type { KernelCpu } from '../cpu.js'
import { FRAME_KERNEL } from '../pages/frames.js'
import { smpCallMany } from '../smp/ipi.js'
import { NOTHING } from '../kernel-op.js'
import type { KernelOp } from '../kernel-op.js'
import type { Mm } from './mm.js'
import type { KernelState } from '../state.js'
import { cpumaskOf } from '../tlb/mm-cpumask.js'

/** struct ldt_struct. */
export interface Ldt {
  readonly entries: number
  /** First frame of its memory. */
  readonly pfn: number
  isFreed: boolean
}

/** LDT_ENTRY_SIZE. */
const ENTRY_BYTES = 8

/** modify_ldt(): 0, or ENOMEM. */
export function* modifyLdt(k: KernelState, cpu: KernelCpu, mm: Mm, entries: number): KernelOp<number> {
  yield* mm.ldtLock.acquire(cpu, true)
  const made = allocateLdt(k, cpu, entries)
  if (made === undefined) {
    mm.ldtLock.release(cpu, true)
    return -ERRNO.ENOMEM
  }
  yield k.costs.zeroPage * (1 << k.frames.order[made.pfn])
  const old = mm.ldt
  mm.ldt = made
  const targets = cpumaskOf(k, mm).toArray().filter(id => id !== cpu.id)
  yield* smpCallMany(k, cpu, targets, target => flushLdt(k, target, mm), {
    alwaysSend: k.config.kernel.era === 'linux-4.6', runLocal: () => flushLdt(k, cpu, mm),
  })
  if (old !== undefined) freeLdt(k, cpu, old)
  mm.ldtLock.release(cpu, true)
  return 0
}

/** After a switch from `prev` to `next`: loads the LDT where it differs from the one in the register. */
export function switchLdt(k: KernelState, cpu: KernelCpu, prev: Mm, next: Mm): KernelOp {
  return cpu.ldt === next.ldt ? NOTHING : loadOther(k, cpu, prev, next)
}

function* loadOther(k: KernelState, cpu: KernelCpu, prev: Mm, next: Mm): KernelOp {
  // The fix: a lazy CPU that left the mm got no interrupt when the LDT changed.
  if (prev === next && k.bugs.has('h07-lazy-ldt-not-reloaded')) return
  cpu.ldt = next.ldt
  yield k.costs.ldtLoad
}

/** ldt_dup_context(): a forked mm has a copy. False: out of memory. */
export function copyLdt(k: KernelState, cpu: KernelCpu, from: Mm, to: Mm): boolean {
  if (from.ldt === undefined) return true
  to.ldt = allocateLdt(k, cpu, from.ldt.entries)
  return to.ldt !== undefined
}

/** destroy_context_ldt(). */
export function freeLdt(k: KernelState, cpu: KernelCpu, ldt: Ldt): void {
  ldt.isFreed = true
  k.counters.pagesFreed += 1 << k.frames.order[ldt.pfn]
  k.frames.put(cpu.id, ldt.pfn)
}

/** flush_ldt(), in the interrupt of a CPU of the mask, interrupts off. */
function* flushLdt(k: KernelState, cpu: KernelCpu, mm: Mm): KernelOp {
  if (cpu.current.activeMm !== mm) return
  cpu.ldt = mm.ldt
  yield k.costs.ldtLoad
}

function allocateLdt(k: KernelState, cpu: KernelCpu, entries: number): Ldt | undefined {
  const pages = Math.ceil(entries * ENTRY_BYTES / k.geometry.pageBytes)
  const order = Math.ceil(Math.log2(pages))
  const pfn = k.frames.allocate(cpu.id, order, FRAME_KERNEL)
  if (pfn < 0) return undefined
  k.counters.pagesAllocated += 1 << order
  return { entries, pfn, isFreed: false }
}
