// What a kernel must decide about TLBs, as one interface: when to switch roots, when to be lazy,
// and whom to interrupt for a flush. An era or a rival scheme is one module that implements it;
// policies.ts lists them. Correctness is the same for all: after flushMmRange returns, no CPU that
// runs user code of the mm can use a translation older than the request. What only one policy
// knows (its rows, what excuses a stale entry) is asked through the interface, never by its name.

import type { KernelEra } from '../config.js'
import type { KernelCpu } from '../cpu.js'
import type { CpuMask } from '../cpumask.js'
import type { DeferredFree } from '../pages/deferred-free.js'
import type { KernelOp } from '../kernel-op.js'
import type { Mm } from '../mm/mm.js'
import type { MmuGather } from '../mm/mmu-gather.js'
import type { KernelState } from '../state.js'
import type { Task } from '../sched/task.js'

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

/** Which mms have an ASID that is the same on every CPU. */
export interface GlobalAsids {
  /** 0: none. */
  of(mm: Mm): number
  /** It has one, but some CPUs may still have the mm loaded under an ASID of their own. */
  inTransition(mm: Mm): boolean
}

/** Whose translations a CPU caches under a PCID, and whether they may be used as they are. */
export interface PcidOwner {
  /** Undefined when nobody can reach them any more. */
  mm: Mm | undefined
  /** Why nothing of it is used before it is flushed, in words; empty when it can be used right now. */
  behind: string
}

/** Tells that a rule of the policy's own state is broken: the invariant's number, the mm it is about, what is wrong. */
export type ReportViolation = (invariant: string, mm: Mm | undefined, text: string) => never

/**
 * What a lazy CPU's reference to the mm that it borrows costs: counted up and down at every switch (4.6); counted, but
 * moved from kernel thread to kernel thread (6.x); not counted, so that lazy CPUs must let go before an mm is freed.
 */
export type LazyReferences = 'counted' | 'moved' | 'uncounted'

export interface TlbPolicy {
  readonly name: string
  /** Where it is from: kernel version and file, or paper. */
  readonly source: string
  /** Whose rules the rest of the kernel follows with it. The first is the default. */
  readonly eras: readonly KernelEra[]
  readonly lazyReferences: LazyReferences
  /** It can use PCIDs where the hardware has them. */
  readonly usesPcid: boolean
  /** Set when it knows nothing of page-table isolation: why. */
  readonly withoutPti?: string
  /** Set when it works with the form `trimmed` of mm_cpumask only (mm-cpumask.ts): why. */
  readonly withoutMaskForms?: string
  /**
   * Set when taking pages away may return while CPUs that run the mm still have them: why that is safe. Their frames
   * are then kept, and whatever does not give frames back is as synchronous as ever.
   */
  readonly defersFrees?: string
  /** Why `cpu` may still hold page `vpn` of `mm` in spite of flushes that returned; empty when it may not. */
  deferred?(k: KernelState, cpu: KernelCpu, mm: Mm, vpn: number): string
  /**
   * tlb_finish_mmu() of a call that only frees (munmap, DONTNEED): takes frames and tables of `gather` into
   * k.deferredFrees and returns before all CPUs have flushed. False: it is to be done as usual.
   */
  deferFree?(k: KernelState, cpu: KernelCpu, gather: MmuGather): KernelOp<boolean>
  /** The addresses of what is kept are to be used again: every CPU that it waits for has flushed when this returns. */
  settle?(k: KernelState, cpu: KernelCpu, kept: DeferredFree): KernelOp
  /** scheduler_tick(), interrupts off: `cpu.tickAt` has come. Sets the next one, Infinity for none. */
  tick?(k: KernelState, cpu: KernelCpu): KernelOp
  /** Reclaim frees pages that nobody could write to without a flush, until their frames are used again. */
  readonly keepsUnflushed?: boolean
  /** Prepares a CPU at boot. */
  initCpu(k: KernelState, cpu: KernelCpu): void
  /** A kernel task runs next (or a task loses its mm): returns the mm that it borrows, usually `mm`. Interrupts off. */
  enterLazyTlb(k: KernelState, cpu: KernelCpu, mm: Mm): KernelOp<Mm>
  /** switch_mm_irqs_off(): `next` is about to run `task`. Interrupts are off. */
  switchMm(k: KernelState, cpu: KernelCpu, prev: Mm, next: Mm, task: Task): KernelOp
  leaveMm(k: KernelState, cpu: KernelCpu): KernelOp
  /** cleanup_lazy_tlbs(): the last reference to `mm` is about to be dropped and lazy CPUs were not counted. */
  cleanupLazyTlbs?(k: KernelState, cpu: KernelCpu, mm: Mm): KernelOp
  /** destroy_context(): the mm is gone. */
  destroyContext?(k: KernelState, mm: Mm): void
  /** flush_tlb_mm_range() and, for the whole range, flush_tlb_mm(). */
  flushMmRange(k: KernelState, cpu: KernelCpu, mm: Mm, range: FlushRange): KernelOp
  /** flush_tlb_page(). */
  flushPage(k: KernelState, cpu: KernelCpu, mm: Mm, vpn: number): KernelOp
  /** native_flush_tlb_multi(), a pv op: has `info` executed by the CPUs of `mask` that need it. Returns the targets. */
  flushTlbMulti(k: KernelState, cpu: KernelCpu, mask: CpuMask, info: FlushTlbInfo): KernelOp<number>
  /**
   * arch_tlbbatch_add_pending(): an entry of `mm` was cleared under its table's lock and the flush is put off until
   * flushBatch(). Adds the CPUs that it must reach to `mask`.
   */
  batchAdd(k: KernelState, cpu: KernelCpu, mask: CpuMask, mm: Mm): void
  /** arch_tlbbatch_flush(): everything that was added to `mask`; `mms` are the address spaces it was added for. */
  flushBatch(k: KernelState, cpu: KernelCpu, mask: CpuMask, mms: readonly Mm[]): KernelOp
  /** flush_tlb_kernel_range() on every CPU: kernel pages [start, end), FLUSH_ALL for everything. */
  flushKernelRange(k: KernelState, cpu: KernelCpu, start: number, end: number): KernelOp
  /** flush_tlb_all(): everything on every CPU, global entries included. */
  flushAll(k: KernelState, cpu: KernelCpu): KernelOp
  /** Executes a request on a responder, interrupts off. */
  flushFunc(k: KernelState, cpu: KernelCpu, info: FlushTlbInfo): KernelOp
  /** The root and PCID that the CPU must have loaded, for invariant I12. */
  loadedRoot(k: KernelState, cpu: KernelCpu): { mm: Mm; pcid: number }
  /** ASIDs that are the same on every CPU, for hardware that invalidates by broadcast. */
  readonly globalAsids?: GlobalAsids
  /** Responders wait in their interrupt handler until the initiator releases them (an exception to I27). */
  readonly holdsResponders?: boolean
  /** Who owns what this CPU caches under `pcid` (as hardware numbers them). For dumps and checks. */
  ownerOf(k: KernelState, cpu: KernelCpu, pcid: number): PcidOwner
  /** The rules of this CPU's rows (I3, I7, I12, I15 to I17 of kernel-behaviour.md section 8). Changes nothing. */
  checkCpu(k: KernelState, cpu: KernelCpu, report: ReportViolation): void
  /** The same for what is dearer: this CPU's bits in the masks of all mms (I7). */
  checkMasks?(k: KernelState, cpu: KernelCpu, report: ReportViolation): void
}
