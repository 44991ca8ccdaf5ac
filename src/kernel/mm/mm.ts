// struct mm_struct: one address space, its two reference counts and what the TLB code needs to
// know about it.
//
//   mmUsers   tasks that share the address space. At 0 the user mappings are torn down (exit_mmap).
//   mmCount   references to the structure; all users together hold one, every lazy CPU holds
//             another. At 0 the root table is freed (mmdrop).

import { assert, fail } from '../../base/assert.js'
import { EVENT } from '../../trace/events.js'
import type { CpuMask } from '../cpumask.js'
import type { KernelOp } from '../kernel-op.js'
import type { Ldt } from './ldt.js'
import { freeLdt } from './ldt.js'
import type { Lock } from '../locking/lock.js'
import type { RwSem } from '../locking/rwsem.js'
import type { SharedLine } from '../smp/cache-line.js'
import { freePgd } from './pgtable.js'
import type { KernelState } from '../state.js'
import { emit } from '../state.js'
import type { KernelCpu } from '../cpu.js'
import type { Task } from '../sched/task.js'
import type { Vma, VmaList } from './vma.js'

export interface Mm {
  /** context.ctx_id: unique, never reused. INIT_MM has 1. */
  readonly ctxId: number
  /** Row of the shared area table; reused after the mm is freed. -1 for INIT_MM. */
  readonly slot: number
  /** Frame of the root table. */
  readonly pgdPfn: number
  mmUsers: number
  mmCount: number
  readonly mmCpumask: CpuMask
  /** context.tlb_gen (6.x): bumped by every flush request. */
  tlbGen: number
  /** Generation of the last page that a batch unmapped and did not flush yet; 0: none (tlb_flush_batched, 6.x). */
  batchGen: number
  /** Cycle after which the next flush may trim stale bits of mmCpumask (6.x). */
  nextTrimCycle: number
  /** Pages that batches of reclaim have unmapped, and how many of them a flush of this mm has covered since. */
  batchPending: number
  batchFlushed: number
  readonly vmas: VmaList
  /** Areas of files that were taken from `vmas` and not unlinked from their files yet. */
  unlinking: Vma[]
  readonly mmapLock: RwSem
  /** Page-table locks by table frame, made on demand. */
  readonly pageTableLocks: Map<number, Lock>
  /** Empty tables for the day when a huge entry is split, by the table that holds the entry (pmd_huge_pte). */
  readonly depositedTables: Map<number, number[]>
  /** Address spaces that use or used one of its page tables (hugetlb.ts). */
  readonly sharesTablesWith: Set<Mm>
  /** Open gathers, for nesting (mm_tlb_flush_nested). */
  gathersPending: number
  /** User frames mapped (rss), base pages. */
  rssPages: number
  /** Entries that name swap slots (MM_SWAPENTS). */
  swapPages: number
  /** Page-table frames, the root included. */
  tablePages: number
  /** context.ldt. */
  ldt: Ldt | undefined
  /** Who changes the LDT. */
  readonly ldtLock: Lock
  isFreed: boolean
  /** Cache lines that CPUs fight for: of mmCount, of tlbGen and of mmCpumask. */
  readonly countLine: SharedLine
  readonly tlbGenLine: SharedLine
  readonly cpumaskLine: SharedLine
}

/** Can programs of `mm` see page tables of `other` change? */
export function seesTablesOf(mm: Mm | undefined, other: Mm): boolean {
  return mm !== undefined && (mm === other || other.sharesTablesWith.has(mm))
}

/** mmgrab(): one more reference to the structure. */
export function mmgrab(mm: Mm): void {
  if (mm.isFreed) fail(`mm ${mm.ctxId} grabbed after it was freed`)
  mm.mmCount += 1
}

/** mmgrab_lazy_tlb(): a kernel task borrows `mm`. No count where the policy keeps none. */
export function mmgrabLazy(k: KernelState, mm: Mm): void {
  if (k.policy.lazyReferences !== 'uncounted') mmgrab(mm)
}

/** mmdrop_lazy_tlb(): it gives `mm` back. */
export function mmdropLazy(k: KernelState, cpu: KernelCpu, mm: Mm): void {
  if (k.policy.lazyReferences !== 'uncounted') mmdrop(k, cpu, mm)
}

/** The current task, which has stopped using `mm`, goes on as its borrower, or as that of what the policy loads. */
export function* becomeBorrower(k: KernelState, cpu: KernelCpu, task: Task, mm: Mm): KernelOp {
  mmgrabLazy(k, mm)
  const borrowed = yield* k.policy.enterLazyTlb(k, cpu, mm)
  if (borrowed === mm) return
  mmgrabLazy(k, borrowed)
  task.activeMm = borrowed
  mmdropLazy(k, cpu, mm)
}

/** mmdrop() of the reference that all users together hold; lazy CPUs may have to let go first. */
export function* mmdropLast(k: KernelState, cpu: KernelCpu, mm: Mm): KernelOp {
  if (k.policy.cleanupLazyTlbs !== undefined && mm.mmCount === 1) yield* k.policy.cleanupLazyTlbs(k, cpu, mm)
  mmdrop(k, cpu, mm)
}

/** mmdrop(): frees the root table with the last reference. Runs on whichever task drops last. */
export function mmdrop(k: KernelState, cpu: KernelCpu, mm: Mm): void {
  if (mm.mmCount <= 0) fail(`mm ${mm.ctxId} dropped below zero`)
  mm.mmCount -= 1
  if (mm.mmCount > 0) return
  assert(mm !== k.initMm, 'init_mm dropped')
  if (mm.mmUsers !== 0) fail(`mm ${mm.ctxId} freed with users`)
  mm.isFreed = true
  k.policy.destroyContext?.(k, mm)
  freePgd(k, cpu, mm)
  if (mm.ldt !== undefined) freeLdt(k, cpu, mm.ldt)
  k.mms.delete(mm.ctxId)
  k.freeMmSlots.push(mm.slot)
  emit(k, cpu, EVENT.mmFree, mm.ctxId)
}
