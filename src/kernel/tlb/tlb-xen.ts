// A Xen paravirtual guest: the kernel asks the hypervisor to flush a set of virtual CPUs with one
// hypercall. Only the hypervisor interrupts, and only CPUs that run at the moment; no guest handler
// runs and the guest's events show no interrupt. kernel-behaviour.md 6.5; Linux arch/x86/xen/mmu_pv.c.
//
// From the source: one page is an MMUEXT_INVLPG_MULTI, anything else an MMUEXT_TLB_FLUSH_MULTI of the
// whole mask, lazy CPUs and the own one included, without looking at who needs it; such a guest
// has no PCID; the generations of the targets stay behind, at the price of a full flush later.
// Our reading: the hypervisor reaches its targets one after the other at the price of an IPI each and
// takes interrupt entry, handler, flush and exit from those that run, even with the guest's
// interrupts off.
//
// Simplified: all targets are flushed at the cycle at which the last one is reached, and switches of
// the root cost what they cost without a hypervisor, so a guest that switches much looks too good.

import type { CpuMask } from '../cpumask.js'
import type { KernelCpu } from '../cpu.js'
import { wireCycles } from '../smp/ipi.js'
import type { KernelOp } from '../kernel-op.js'
import { holdUp, isHalted, remoteMmu } from '../smp/remote-cpu.js'
import type { KernelState } from '../state.js'
import { vpnHi, vpnLo } from '../state.js'
import { linux6x } from './tlb-flush-6x.js'
import type { FlushTlbInfo, TlbPolicy } from './tlb-policy.js'

export const xen: TlbPolicy = {
  ...linux6x,
  name: 'xen',
  source: 'Linux 6.18 arch/x86/xen/mmu_pv.c, xen_flush_tlb_multi',
  usesPcid: false,
  withoutPti: 'the hypervisor separates guest user mode from the guest kernel itself',
  flushTlbMulti,
}

/** xen_flush_tlb_multi(): no tlb_flush record, no vmstat counter. */
function* flushTlbMulti(k: KernelState, cpu: KernelCpu, mask: CpuMask, info: FlushTlbInfo): KernelOp<number> {
  k.counters.shootdowns += 1
  yield k.costs.hypercall
  const targets = mask.toArray().filter(id => id !== cpu.id).map(id => k.cpus[id])
  const running = targets.filter(target => !isHalted(target))
  let wire = 0
  for (const target of running) {
    yield k.costs.ipiSend
    wire = Math.max(wire, wireCycles(k, cpu, target))
  }
  if (wire > 0) yield wire
  const onePage = info.end - info.start <= 1
  for (const target of targets) invalidate(k, cpu, target, onePage ? info.start : -1)
  const flush = onePage ? k.costs.invlpg : k.costs.fullFlush
  const handler = k.costs.irqEntry + k.costs.handler + flush + k.costs.irqExit
  for (const target of running) k.counters.responderCycles += holdUp(k, cpu, target, handler)
  if (mask.has(cpu.id)) {
    invalidate(k, cpu, cpu, onePage ? info.start : -1)
    yield flush
  }
  if (running.length > 0) yield k.costs.irqEntry + k.costs.handler + flush
  return running.length
}

function invalidate(k: KernelState, cpu: KernelCpu, target: KernelCpu, vpn: number): void {
  const mmu = remoteMmu(k, cpu, target)
  if (vpn < 0) mmu.flushNonGlobal()
  else mmu.invlpg(vpnHi(k, vpn), vpnLo(k, vpn))
}
