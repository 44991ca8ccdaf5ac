// Faults at entries that are neither empty nor present (mm/memory.c: do_swap_page): the page is on
// its way to another frame and is waited for, or it is in swap and comes back.

import { assert } from '../base/assert.js'
import type { KernelCpu } from './cpu.js'
import type { FaultResult } from './fault.js'
import type { FaultSlot } from './fault-file.js'
import type { KernelOp } from './kernel-op.js'
import type { Mm } from './mm.js'
import { waitOnPageLocked } from './page-lock.js'
import type { KernelState } from './state.js'
import { isMigrationEntry, isSwapPte, swapValue } from './swap-entry.js'
import { pageTableLock } from './zap.js'

/** do_swap_page(). */
export function* doSwapPage(k: KernelState, cpu: KernelCpu, mm: Mm, at: FaultSlot): KernelOp<FaultResult> {
  const lo = k.mem.loadLo(at.table, at.slot)
  const hi = k.mem.loadHi(at.table, at.slot)
  if (!isSwapPte(lo, hi)) return 'done'
  assert(isMigrationEntry(lo, hi), 'an entry of a swap slot, but there is no swap')
  yield* migrationEntryWait(k, cpu, mm, at)
  return 'done'
}

/** migration_entry_wait(): until whoever migrates the page unlocks it; then the access is tried again. */
function* migrationEntryWait(k: KernelState, cpu: KernelCpu, mm: Mm, at: FaultSlot): KernelOp {
  const lock = pageTableLock(mm, at.table)
  yield* lock.acquire(cpu, true)
  const lo = k.mem.loadLo(at.table, at.slot)
  const hi = k.mem.loadHi(at.table, at.slot)
  lock.release(cpu, true)
  yield k.costs.ptePerPage
  if (isMigrationEntry(lo, hi)) yield* waitOnPageLocked(k, cpu, swapValue(lo, hi))
}
