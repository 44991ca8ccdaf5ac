// LUF, lazy unmap flush: pages that reclaim took out of address spaces in which nobody could write to
// them need no flush until somebody uses their frames again. Until then a CPU may still read them through
// an old entry, and reads what it would find anyhow: the contents of a frame that lies unused do not change.
// B. Park, "LUF (Lazy Unmap Flush) reducing tlb numbers over 90%", linux-mm, v12 of February 2025.
//
//   unmapped by reclaim     every entry was read-only and clean: the page goes to the read-only batch
//   freed                   with that batch: the frames are kept in k.unflushed, unflushed
//   frames are wanted       the unflushed ones come last: flush the batch, then give them out
//   something is mapped     in an area that permits writes: flush what is pending of the mm, or of the
//                           file, first; nobody may read an old frame while a new one is written to
//
// mprotect, munmap, mremap and truncation flush an mm with pages unmapped behind their backs in any case
// (flushTlbBatchedPending), so they need nothing here.
//
// From the source: all of the above, and that pages of hugetlb and large pages are left out; unflushed
// frames are touched only when the others fall to the min watermark. Our reading: the flush for an area
// that permits writes comes before the mapping, not at the end of the fault; pages that were given up
// (MADV_FREE) are left out, because they may come back empty.
//
// Simplified: of reclaim alone, where LUF also serves migration. Unflushed frames are no part of the
// buddy lists: they are flushed and freed all together.

import type { KernelCpu } from '../cpu.js'
import { NOTHING } from '../kernel-op.js'
import type { KernelOp } from '../kernel-op.js'
import type { Mm } from '../mm/mm.js'
import type { KernelState } from '../state.js'
import type { UnmapBatch } from './unmap-batch.js'
import { flushBatch, makeUnmapBatch, mergeBatch } from './unmap-batch.js'
import { NO_FILE } from '../mm/vma.js'

/** Frames that are free but for a flush. */
export interface Unflushed {
  /** Open until it is flushed. */
  readonly batch: UnmapBatch
  readonly frames: readonly number[]
  /** Files whose pages they held, by index. */
  readonly files: ReadonlySet<number>
  /** Some CPU is at it: nothing may be added. */
  isFlushing: boolean
}

/**
 * try_to_unmap_flush() behind a round of reclaim that has `freed` these pages: flushes, except for what is
 * kept. Returns the frames that are.
 */
export function* flushOrKeep(
  k: KernelState, cpu: KernelCpu, batch: UnmapBatch, freed: readonly number[],
): KernelOp<ReadonlySet<number>> {
  const { readOnly } = batch
  batch.readOnly = undefined
  const kept = new Set<number>()
  if (readOnly !== undefined) {
    // A page that stays in use after all cannot wait; nor need one whose CPUs are flushed now in any case.
    const isFreed = [...readOnly.frames.keys()].every(pfn => freed.includes(pfn))
    const isCovered = batch.pages.size > 0 && readOnly.mask.toArray().every(id => batch.mask.has(id))
    if (!isFreed || isCovered) {
      mergeBatch(k, readOnly, batch)
    } else {
      for (const pfn of readOnly.frames.keys()) kept.add(pfn)
      const files = new Set(readOnly.frames.values())
      k.unflushed.push({ batch: readOnly, frames: [...kept], files, isFlushing: false })
      k.frames.keptFree += kept.size
      k.counters.unflushedFrames += kept.size
    }
  }
  yield* flushBatch(k, cpu, batch)
  return kept
}

/** Somebody wants `frames`: when what else is free would fall below the min watermark, the kept ones are flushed. */
export function takeUnflushed(k: KernelState, cpu: KernelCpu, frames: number): KernelOp {
  if (k.unflushed.length === 0 || k.frames.freeFrames - k.frames.keptFree - frames >= k.watermarks.min) return NOTHING
  return flushAndFree(k, cpu, [...k.unflushed])
}

/** luf_flush_vma(): `mm` or whoever shares `file` is about to get something that can be written to. */
export function* settleUnflushed(k: KernelState, cpu: KernelCpu, mm: Mm, file: number): KernelOp {
  yield* flushAndFree(k, cpu, k.unflushed.filter(({ batch, files }) =>
    batch.pages.has(mm) || (file !== NO_FILE && files.has(file))))
}

/** One flush for all that nobody is flushing yet. What another CPU has begun is flushed here too; the first frees. */
function* flushAndFree(k: KernelState, cpu: KernelCpu, wanted: readonly Unflushed[]): KernelOp {
  const idle = wanted.filter(one => !one.isFlushing)
  for (const one of [...wanted.filter(each => each.isFlushing), ...(idle.length > 0 ? [foldAll(k, idle)] : [])]) {
    one.isFlushing = true
    yield* flushBatch(k, cpu, one.batch)
    const index = k.unflushed.indexOf(one)
    if (index < 0) continue
    k.unflushed.splice(index, 1)
    k.frames.keptFree -= one.frames.length
    for (const pfn of one.frames) if (k.frames.put(cpu.id, pfn)) k.counters.pagesFreed += 1
    yield one.frames.length * k.costs.freePage
  }
}

/** fold_batch(): in place of `parts`. */
function foldAll(k: KernelState, parts: readonly Unflushed[]): Unflushed {
  const batch = makeUnmapBatch(k)
  for (const part of parts) {
    mergeBatch(k, part.batch, batch)
    k.unflushed.splice(k.unflushed.indexOf(part), 1)
  }
  const whole: Unflushed = {
    batch, frames: parts.flatMap(({ frames }) => frames), files: new Set(parts.flatMap(({ files }) => [...files])),
    isFlushing: false,
  }
  k.unflushed.push(whole)
  return whole
}
