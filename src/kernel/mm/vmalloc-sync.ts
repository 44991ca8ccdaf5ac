// How the roots of all address spaces learn of a new kernel table below the swapper directory.
// What lies below an entry of the root is shared by all; only a new entry of the root must be told.
//
//   4.6               nobody is told: the first access through an older root faults, and the fault
//                     copies the entry (vmalloc_fault)
//   6.x, 64 bit       the entries are there since boot (preallocate_vmalloc_pages)
//   6.x, i386         vmalloc copies them to every root (arch_sync_kernel_mappings); a CPU that
//                     comes in between faults as in 4.6
//   PAE               the one root entry of the kernel's half is there from the start

import { PAGE_PRESENT } from '../../machine/entry.js'
import { indexAt } from '../../machine/geometry.js'
import type { KernelCpu } from '../cpu.js'
import type { KernelOp } from '../kernel-op.js'
import type { Mm } from './mm.js'
import { pagesPerEntry, setEntry } from './pgtable.js'
import type { KernelState } from '../state.js'
import { vpnHi, vpnLo } from '../state.js'

/** Do roots miss slots of vmalloc space until they are used? */
export function syncsAtFault(k: KernelState): boolean {
  return k.config.kernel.era === 'linux-4.6' || k.geometry.name === 'i386'
}

/** arch_sync_kernel_mappings(): every root gets the entries for [start, end). */
export function* syncKernelMappings(k: KernelState, cpu: KernelCpu, start: number, end: number): KernelOp {
  if (k.config.kernel.era === 'linux-4.6' || k.geometry.name !== 'i386') return
  const span = pagesPerEntry(k.geometry, k.geometry.topLevel)
  let copied = 0
  for (const mm of k.mms.values()) {
    for (let vpn = start; vpn < end; vpn += span - vpn % span) if (copyRootEntry(k, cpu, mm, vpn)) copied += 1
  }
  if (copied > 0) yield copied * k.costs.ptePerPage
}

/** vmalloc_fault(): true when the loaded root lacked the entry for `vpn` and has it now. */
export function vmallocFault(k: KernelState, cpu: KernelCpu, vpn: number): boolean {
  const isCopied = syncsAtFault(k) && copyRootEntry(k, cpu, k.policy.loadedRoot(k, cpu).mm, vpn)
  if (isCopied) k.counters.vmallocFaults += 1
  return isCopied
}

/** False when the swapper directory has no entry, or the root has it already. */
function copyRootEntry(k: KernelState, cpu: KernelCpu, mm: Mm, vpn: number): boolean {
  const slot = indexAt(k.geometry, k.geometry.topLevel, vpnHi(k, vpn), vpnLo(k, vpn))
  const lo = k.mem.loadLo(k.initMm.pgdPfn, slot)
  if ((lo & PAGE_PRESENT) === 0 || (k.mem.loadLo(mm.pgdPfn, slot) & PAGE_PRESENT) !== 0) return false
  setEntry(k, cpu, mm, mm.pgdPfn, slot, lo, k.mem.loadHi(k.initMm.pgdPfn, slot))
  return true
}
