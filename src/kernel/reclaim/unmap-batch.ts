// Flushes that reclaim puts off (struct tlbflush_unmap_batch): entries are cleared, the CPUs that may
// still have them are noted, and one flush serves up to 32 pages. Until then a CPU may still read
// the pages, and write to those that it has cached as dirty; so nothing is freed, and nothing that
// was writable is written out, before that flush.
//
//   batchUnmap             an entry was cleared under its table's lock
//   flushBatch             before pages are freed                       (try_to_unmap_flush)
//   flushBatchIfWritable   before a page is written to a device         (try_to_unmap_flush_dirty)
//
// Others find an entry that is not present and must not conclude that no CPU uses it: whoever
// relies on that calls flushTlbBatchedPending first, under the lock of the table.

import { CpuMask } from '../cpumask.js'
import type { KernelCpu } from '../cpu.js'
import { NOTHING } from '../kernel-op.js'
import type { KernelOp } from '../kernel-op.js'
import type { Mm } from '../mm/mm.js'
import type { KernelState } from '../state.js'
import { cpumaskOf } from '../tlb/mm-cpumask.js'
import { FLUSH_ALL } from '../tlb/tlb-policy.js'

/** current->tlb_ubc. */
export interface UnmapBatch {
  /** CPUs that the flush must reach. */
  mask: CpuMask
  /** A page of it may still be written to through some TLB. */
  isWritable: boolean
  /** Pages that were unmapped, by address space. */
  readonly pages: Map<Mm, Set<number>>
  /** Of a read-only batch (unflushed.ts): its frames, with the file of each (NO_FILE: none). */
  readonly frames: Map<number, number>
  /** tlb_ubc_luf: pages that nobody could write to, where the policy keeps them unflushed. */
  readOnly: UnmapBatch | undefined
}

export function makeUnmapBatch(k: KernelState): UnmapBatch {
  return {
    mask: new CpuMask(k.cpus.length), isWritable: false, pages: new Map(), frames: new Map(), readOnly: undefined,
  }
}

/** should_defer_flush(): only where other CPUs would have to be interrupted. */
export function shouldDefer(k: KernelState, cpu: KernelCpu, mm: Mm): boolean {
  return k.config.kernel.flushEachUnmap !== true && cpumaskOf(k, mm).anyBut(cpu.id)
}

/** set_tlb_ubc_flush_pending(): page `vpn` of `mm` was unmapped; `dirty`: its entry had D. */
export function batchUnmap(
  k: KernelState, cpu: KernelCpu, batch: UnmapBatch, mm: Mm, vpn: number, dirty: boolean,
): void {
  k.policy.batchAdd(k, cpu, batch.mask, mm)
  mm.batchPending += 1
  batch.isWritable ||= dirty
  const pages = batch.pages.get(mm)
  if (pages === undefined) batch.pages.set(mm, new Set([vpn]))
  else pages.add(vpn)
  k.openBatches.add(batch)
}

/** fold_batch(): what `from` has becomes part of `to`. */
export function mergeBatch(k: KernelState, from: UnmapBatch, to: UnmapBatch): void {
  to.mask.or(from.mask)
  to.isWritable ||= from.isWritable
  for (const [mm, pages] of from.pages) to.pages.set(mm, new Set([...to.pages.get(mm) ?? [], ...pages]))
  for (const [pfn, file] of from.frames) to.frames.set(pfn, file)
  k.openBatches.delete(from)
  if (to.pages.size > 0) k.openBatches.add(to)
}

/** try_to_unmap_flush(). */
export function* flushBatch(k: KernelState, cpu: KernelCpu, batch: UnmapBatch): KernelOp {
  if (batch.pages.size === 0) return
  k.counters.batchedFlushes += 1
  const begin = cpu.now
  yield* k.policy.flushBatch(k, cpu, batch.mask, [...batch.pages.keys()])
  k.observer?.batchFlushed(cpu, batch.pages, begin)
  k.openBatches.delete(batch)
  batch.mask = new CpuMask(k.cpus.length)
  batch.isWritable = false
  batch.pages.clear()
}

/** try_to_unmap_flush_dirty(). */
export function* flushBatchIfWritable(k: KernelState, cpu: KernelCpu, batch: UnmapBatch): KernelOp {
  if (batch.isWritable) yield* flushBatch(k, cpu, batch)
}

/**
 * flush_tlb_batched_pending(): flushes the whole mm when some batch has unmapped pages of it since the last time.
 * Nobody notes that the batch itself was flushed meanwhile, so this flush may be one too many, as in Linux.
 */
export function flushTlbBatchedPending(k: KernelState, cpu: KernelCpu, mm: Mm): KernelOp {
  const isPending = mm.batchPending !== mm.batchFlushed && !k.bugs.has('h03-batched-flush-not-seen')
  return isPending ? flushPending(k, cpu, mm) : NOTHING
}

function* flushPending(k: KernelState, cpu: KernelCpu, mm: Mm): KernelOp {
  const pending = mm.batchPending
  k.counters.batchedPendingFlushes += 1
  yield* k.policy.flushMmRange(k, cpu, mm, {
    start: 0, end: FLUSH_ALL, stridePages: 1, freedTables: true, hugetlb: false,
  })
  mm.batchFlushed = pending
}

/** The same for who holds mmap_lock for writing and no table's lock, and changes all entries at one instant next. */
export function* flushAllBatchedPending(k: KernelState, cpu: KernelCpu, mm: Mm): KernelOp {
  while (mm.batchPending !== mm.batchFlushed && !k.bugs.has('h03-batched-flush-not-seen')) {
    yield* flushTlbBatchedPending(k, cpu, mm)
  }
}

/** Why `cpu` may still have page `vpn` of `mm`, in words; empty: no batch says so. */
export function batchedReason(k: KernelState, cpu: KernelCpu, mm: Mm, vpn: number): string {
  for (const { mask, pages } of k.openBatches) {
    if (mask.has(cpu.id) && pages.get(mm)?.has(vpn) === true) return 'reclaim has unmapped the page and flushes later'
  }
  return ''
}
