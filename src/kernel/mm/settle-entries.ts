// Who changes all entries of a range at one instant, with mmap_lock held for writing, takes no lock of
// a table. But others change entries with nothing else: reclaim, migration, write-back. They are
// waited for first, with whatever they have cleared and not flushed: an entry that is not present
// under a lock that is held says nothing about TLBs.

import type { KernelCpu } from '../cpu.js'
import type { KernelOp } from '../kernel-op.js'
import type { Lock } from '../locking/lock.js'
import type { Mm } from './mm.js'
import { $slot, findLeaf, hugeLevel, pagesPerEntry } from './pgtable.js'
import type { KernelState } from '../state.js'
import { flushAllBatchedPending } from '../reclaim/unmap-batch.js'

/** When this returns, no table of [start, end) is locked, and nothing is unmapped there whose flush is still due. */
export function* settleEntries(k: KernelState, cpu: KernelCpu, mm: Mm, start: number, end: number): KernelOp {
  for (;;) {
    yield* flushAllBatchedPending(k, cpu, mm)
    const lock = heldLock(k, mm, start, end)
    if (lock === undefined) return
    yield* lock.acquire(cpu, true)
    lock.release(cpu, true)
  }
}

/** The lock of some table with entries of the range, if one is held. */
function heldLock(k: KernelState, mm: Mm, start: number, end: number): Lock | undefined {
  const span = pagesPerEntry(k.geometry, hugeLevel(k.geometry))
  for (let vpn = start; vpn < end; vpn += span - vpn % span) {
    if (findLeaf(k, mm, vpn) < 0) continue
    const lock = mm.pageTableLocks.get($slot.pfn)
    if (lock?.isHeld === true) return lock
  }
  return undefined
}
