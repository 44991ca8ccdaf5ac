// I8 at the moment of the promise: a flush has just returned, or a call that took pages away. What
// was changed in the range before it began must not be in any TLB that programs of the mm use now.
// This is sharper than the look at every entry now and then (check-tlb.ts): locks that are still
// held and gathers that are still open are no excuse for what was to be flushed by this request.
//
// Changes that came later are none of its business: they have a flush of their own ahead. And I2 at
// the same kind of moment: a table has just been given back, and no paging cache may name it; I1 of
// a frame and the TLBs.

import type { TlbEntry } from '../machine/mmu.js'
import type { KernelCpu } from '../kernel/cpu.js'
import { hasRootOf, pcidHalves, rootOwnerOf, USER_PCID } from '../kernel/tlb/pti.js'
import type { KernelState } from '../kernel/state.js'
import { vpnOf } from '../kernel/state.js'
import { checkFreedFrames, checkFreedTables, describeTlbEntry } from './check-tlb.js'
import { compareTlbEntry, flushesBeforeUser, runsMm } from './tlb-verdict.js'
import { heldEntries } from './held-entries.js'
import type { CleanKernelRange, CleanRange, Watch } from './watch.js'
import { isPutOff, watchOf } from './watch.js'
import { violated } from './violation.js'

/** Checks what was promised since the last call. Every core must stand at the present cycle. */
export function checkPromises(k: KernelState, cycle?: number): void {
  const watch = watchOf(k)
  if (watch === undefined) return
  const ranges = watch.takeClean()
  for (const cpu of k.cpus) {
    for (const range of watch.takeDeferred(cpu)) checkRange(k, watch, cpu, heldEntries(k, cpu).tlb, range, cycle)
    for (const range of ranges) {
      const isDue = !isPutOff(cpu, range) && !flushesBeforeUser(k, cpu) && runsMm(k, cpu, range.mm)
      if (isDue) checkRange(k, watch, cpu, heldEntries(k, cpu).tlb, range, cycle)
      else if (hasRootOf(k, cpu, range.mm)) watch.defer(cpu, range)
    }
  }
  for (const range of watch.takeCleanKernel()) for (const cpu of k.cpus) {
    checkKernelRange(k, watch, cpu, heldEntries(k, cpu).tlb, range, cycle)
  }
  if (watch.takeFreedFrames()) for (const cpu of k.cpus) checkFreedFrames(k, cpu, heldEntries(k, cpu).tlb, cycle)
  if (watch.takeFreedTables().length > 0) for (const cpu of k.cpus) checkFreedTables(k, cpu, cycle)
}

function checkRange(
  k: KernelState, watch: Watch, cpu: KernelCpu, entries: readonly TlbEntry[], range: CleanRange,
  cycle: number | undefined,
): void {
  if (entries.length === 0) return
  const { pcid } = k.platform.mmu(cpu.id)
  const pcids = pcidHalves(k, pcid & ~USER_PCID).filter((half) => !rootOwnerOf(k, cpu, half).isFlushedOnExit)
  for (const entry of entries) {
    if (entry.global || !pcids.includes(entry.pcid)) continue
    const vpn = vpnOf(k, entry.hi, entry.lo)
    if (vpn + k.geometry.levels[entry.pageLevel]!.pages <= range.start || vpn >= range.end) continue
    checkEntry(k, watch, cpu, range, entry, vpn, cycle)
  }
}

/** Nobody may have a page of a kernel range that was flushed, whatever the CPU runs. */
function checkKernelRange(
  k: KernelState, watch: Watch, cpu: KernelCpu, entries: readonly TlbEntry[], range: CleanKernelRange,
  cycle: number | undefined,
): void {
  const { pcid } = k.platform.mmu(cpu.id)
  for (const entry of entries) {
    // What is cached under other PCIDs is dropped before they are loaded (invalidateOther).
    if (!entry.global && entry.pcid !== pcid) continue
    const vpn = vpnOf(k, entry.hi, entry.lo)
    if (range.start <= vpn && vpn < range.end) {
      checkEntry(k, watch, cpu, { ...range, mm: k.initMm, waitFor: undefined }, entry, vpn, cycle)
    }
  }
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
