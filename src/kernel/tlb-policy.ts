// What a kernel must decide about TLBs, as one interface: when to switch roots, when to be lazy,
// and whom to interrupt for a flush. An era or a rival scheme is one module that implements it;
// policies.ts lists them. Correctness is the same for all: after flushMmRange returns, no CPU that
// runs user code of the mm can use a translation older than the request.

import type { KernelCpu } from './cpu.js'
import type { KernelOp } from './kernel-op.js'
import type { Mm } from './mm.js'
import type { KernelState } from './state.js'
import type { Task } from './task.js'

/** End of a range that means the whole address space (TLB_FLUSH_ALL). */
export const FLUSH_ALL = Infinity

/** struct flush_tlb_info. Pages are base pages, the range is half-open. */
export interface FlushTlbInfo {
  /** Undefined for batched flushes of many address spaces. */
  mm: Mm | undefined
  start: number
  /** FLUSH_ALL for everything. */
  end: number
  /** Base pages per step: 1, or a large page when only large leaves were changed. */
  stridePages: number
  /** Page tables go too, so lazy CPUs must not keep using them. */
  freedTables: boolean
  newTlbGen: number
  initiator: KernelCpu
  trimCpumask: boolean
}

export interface FlushRange {
  start: number
  end: number
  stridePages: number
  freedTables: boolean
  /** 4.6 always flushes such areas fully. */
  hugetlb: boolean
}

export interface TlbPolicy {
  readonly name: string
  /** Where it is from: kernel version and file, or paper. */
  readonly source: string
  /** Kernel thread to kernel thread moves the lazy reference without touching mmCount. */
  readonly transfersLazyReference: boolean
  /** Prepares a CPU at boot. */
  initCpu(k: KernelState, cpu: KernelCpu): void
  enterLazyTlb(k: KernelState, cpu: KernelCpu, mm: Mm): void
  /** switch_mm_irqs_off(): `next` is about to run `task`. Interrupts are off. */
  switchMm(k: KernelState, cpu: KernelCpu, prev: Mm, next: Mm, task: Task): KernelOp
  leaveMm(k: KernelState, cpu: KernelCpu): KernelOp
  /** flush_tlb_mm_range() and, for the whole range, flush_tlb_mm(). */
  flushMmRange(k: KernelState, cpu: KernelCpu, mm: Mm, range: FlushRange): KernelOp
  /** flush_tlb_page(). */
  flushPage(k: KernelState, cpu: KernelCpu, mm: Mm, vpn: number): KernelOp
  /** Executes a request on a responder, interrupts off. */
  flushFunc(k: KernelState, cpu: KernelCpu, info: FlushTlbInfo): KernelOp
  /** The root and PCID that the CPU must have loaded, for invariant I12. */
  loadedRoot(k: KernelState, cpu: KernelCpu): { mm: Mm; pcid: number }
  /** May this CPU still hold translations of mm that were replaced and not yet flushed? For dumps and checks. */
  mayBeStale(k: KernelState, cpu: KernelCpu, mm: Mm): boolean
}
