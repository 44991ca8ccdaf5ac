// I8 at the moment of the promise: a flush has just returned, or a call that took pages away. What
// was changed in the range before it began must not be in any TLB that programs of the mm use now.
// This is sharper than the look at every entry now and then (check-tlb.ts): locks that are still
// held and gathers that are still open are no excuse for what was to be flushed by this request.
//
// Changes that came later are none of its business: they have a flush of their own ahead. And I2 at
// the same kind of moment: a table has just been given back, and no paging cache may name it; I1 of
// a frame and the TLBs.

import { pagesPerEntry } from '../machine/geometry.js'
import type { TlbEntry } from '../machine/mmu.js'
import type { KernelCpu } from '../kernel/cpu.js'
import { hasRootOf, pcidHalves, rootOwnerOf, USER_PCID } from '../kernel/tlb/pti.js'
import type { KernelState } from '../kernel/state.js'
import { vpnOf } from '../kernel/state.js'
import { checkFreedFrames, checkFreedTables, describeTlbEntry } from './check-tlb.js'
import { compareTlbEntry, flushesBeforeUser, runsMm } from './tlb-verdict.js'
import type { CleanKernelRange, CleanRange, Watch } from './watch.js'
import { watchOf } from './watch.js'
import { violated } from './violation.js'

/** Checks what was promised since the last call. Every core must stand at the present cycle. */
export function checkPromises(k: KernelState, cycle?: number): void {
  const watch = watchOf(k)
  if (watch === undefined) return
  const ranges = watch.takeClean()
  for (const cpu of k.cpus) {
    for (const range of watch.takeDeferred(cpu)) checkRange(k, watch, cpu, range, cycle)
    for (const range of ranges) {
      if (!flushesBeforeUser(k, cpu) && runsMm(k, cpu, range.mm)) checkRange(k, watch, cpu, range, cycle)
      else if (hasRootOf(k, cpu, range.mm)) watch.defer(cpu, range)
    }
  }
  for (const range of watch.takeCleanKernel()) for (const cpu of k.cpus) checkKernelRange(k, watch, cpu, range, cycle)
  if (watch.takeFreedFrames()) for (const cpu of k.cpus) checkFreedFrames(k, cpu, cycle)
  if (watch.takeFreedTables().length > 0) for (const cpu of k.cpus) checkFreedTables(k, cpu, cycle)
}

function checkRange(
  k: KernelState, watch: Watch, cpu: KernelCpu, range: CleanRange, cycle: number | undefined,
): void {
  const mmu = k.platform.mmu(cpu.id)
  const pcids = pcidHalves(k, mmu.pcid & ~USER_PCID).filter((pcid) => !rootOwnerOf(k, cpu, pcid).isFlushedOnExit)
  mmu.forEachTlbEntry((entry) => {
    if (entry.global || !pcids.includes(entry.pcid)) return
    const vpn = vpnOf(k, entry.hi, entry.lo)
    if (vpn + pagesPerEntry(k.geometry, entry.pageLevel) <= range.start || vpn >= range.end) return
    checkEntry(k, watch, cpu, range, entry, vpn, cycle)
  })
}

/** Nobody may have a page of a kernel range that was flushed, whatever the CPU runs. */
function checkKernelRange(
  k: KernelState, watch: Watch, cpu: KernelCpu, range: CleanKernelRange, cycle: number | undefined,
): void {
  const mmu = k.platform.mmu(cpu.id)
  const { pcid } = mmu
  mmu.forEachTlbEntry((entry) => {
    // What is cached under other PCIDs is dropped before they are loaded (invalidateOther).
    if (!entry.global && entry.pcid !== pcid) return
    const vpn = vpnOf(k, entry.hi, entry.lo)
    if (range.start <= vpn && vpn < range.end) {
      checkEntry(k, watch, cpu, { ...range, mm: k.initMm }, entry, vpn, cycle)
    }
  })
}

function checkEntry(
  k: KernelState, watch: Watch, cpu: KernelCpu, range: CleanRange, entry: TlbEntry, vpn: number,
  cycle: number | undefined,
): void {
  const { mm, by, since, written } = range
  const found = compareTlbEntry(k, mm, entry, rootOwnerOf(k, cpu, entry.pcid).root)
  if (found === 'ok' || found === 'narrower') return
  if (k.policy.deferred !== undefined && k.policy.deferred(k, cpu, mm, vpn) !== '') return
  const changed = watch.lastWrite(found.table, found.slot)
  if (changed.cycle > since || changed.number > written) return
  violated(k, found.invariant, { cpu, mm, vpn, cycle },
    `${by} returned, and ${describeTlbEntry(entry)} is still there: ${found.what} since cycle ${changed.cycle}`)
}
