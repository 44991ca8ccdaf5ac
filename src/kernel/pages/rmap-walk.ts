// The entries that map a page, one after the other, each with the lock of its table held
// (page_vma_mapped_walk). Whoever walks has no mmap_lock: while he waits for the lock of a table,
// the entry may be cleared, mremap may carry it elsewhere, and the table may be freed.

import { LEVEL_PTE } from '../../machine/geometry.js'
import type { KernelCpu } from '../cpu.js'
import type { KernelOp } from '../kernel-op.js'
import type { Lock } from '../locking/lock.js'
import { $slot, findLeaf } from '../mm/pgtable.js'
import type { RmapEntry } from './rmap.js'
import type { KernelState } from '../state.js'
import { pageTableLock } from '../mm/zap.js'

/** An entry, with the lock of its table held. */
export interface LockedEntry {
  readonly lock: Lock
  readonly table: number
  readonly slot: number
  readonly lo: number
  readonly hi: number
}

/** Locks an entry of a base page. Undefined, with nothing locked, when it is not what the caller wants (any more). */
export function* lockEntry(
  k: KernelState, cpu: KernelCpu, entry: RmapEntry, isWanted: (lo: number, hi: number) => boolean,
): KernelOp<LockedEntry | undefined> {
  const { mm } = entry
  for (;;) {
    const { vpn } = entry
    if (mm.isFreed || findLeaf(k, mm, vpn) !== LEVEL_PTE) return undefined
    const { pfn: table, slot } = $slot
    const lock = pageTableLock(mm, table)
    yield* lock.acquire(cpu, true)
    const isThere = entry.vpn === vpn && !mm.isFreed && findLeaf(k, mm, vpn) === LEVEL_PTE
      && $slot.pfn === table && mm.pageTableLocks.get(table) === lock
    const lo = isThere ? k.mem.loadLo(table, slot) : 0
    const hi = isThere ? k.mem.loadHi(table, slot) : 0
    if (isThere && isWanted(lo, hi)) return { lock, table, slot, lo, hi }
    lock.release(cpu, true)
    if (isThere) return undefined
  }
}
