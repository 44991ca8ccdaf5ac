// A KVM guest that is told which of its CPUs the host has taken away (paravirtual TLB flush). A CPU
// that is away cannot use a translation, so it needs no interrupt, which nobody would answer for a
// whole turn of the host: the guest leaves it a note, and the host flushes it before it runs again.
// kernel-behaviour.md 6.5; Linux arch/x86/kernel/kvm.c, kvm_flush_tlb_multi(), and record_steal_time()
// of the host.
//
//   initiator                            host, about to run the target again
//   preempted is set?                    exchange preempted with 0
//   compare-and-swap: add FLUSH_TLB      FLUSH_TLB was in it: flush everything of the guest
//   done: leave the target out
//   failed: it runs again, interrupt it
//
// From the source: the steps above, for every CPU of the mask, lazy or not, whatever the range; the
// rest of the mask is flushed as without a hypervisor. The host's flush tells the guest nothing: the
// generation of the slot stays behind, at the price of a needless full flush later. Tables are freed
// after RCU, because a target that is left out may be in the middle of a lockless walk.
// Our reading: reading a target's record is free while its line is shared, the compare-and-swap costs
// the transfer of one line. Without an overcommitted host (machine.host) nobody is ever preempted, and
// this is linux-6.x.

import { CpuMask } from '../cpumask.js'
import type { KernelCpu } from '../cpu.js'
import { ackCycles } from '../smp/ipi.js'
import type { KernelOp } from '../kernel-op.js'
import type { KernelState } from '../state.js'
import { emit } from '../state.js'
import { EVENT } from '../../trace/events.js'
import { checkCpu as checkCpu6x, flushTlbMulti as flushTlbMulti6x, linux6x, ownerOf as ownerOfSlot,
} from './tlb-flush-6x.js'
import type { FlushTlbInfo, PcidOwner, ReportViolation, TlbPolicy } from './tlb-policy.js'

export const kvmPv: TlbPolicy = {
  ...linux6x,
  name: 'kvm-pv',
  source: 'Linux 6.18 arch/x86/kernel/kvm.c, kvm_flush_tlb_multi',
  flushTlbMulti,
  ownerOf,
  checkCpu,
}

/** kvm_flush_tlb_multi(). */
function* flushTlbMulti(k: KernelState, cpu: KernelCpu, mask: CpuMask, info: FlushTlbInfo): KernelOp<number> {
  const running = new CpuMask(k.cpus.length)
  running.or(mask)
  for (const id of mask.toArray()) {
    const target = k.cpus[id]
    if (id === cpu.id || !target.vcpu.isPreempted) continue
    yield Math.max(1, ackCycles(k, cpu, target))
    // The compare-and-swap fails when the host has given the CPU back meanwhile.
    if (!target.vcpu.isPreempted) continue
    target.vcpu.flushOnEntry = true
    target.retime()
    running.clear(id)
    k.counters.hostFlushes += 1
    emit(k, cpu, EVENT.flushSkip, id, k.trace.intern('preempted'))
  }
  return yield* flushTlbMulti6x(k, cpu, running, info)
}

/** Whatever a preempted CPU has cached is gone before it runs, once the host was asked. */
function ownerOf(k: KernelState, cpu: KernelCpu, pcid: number): PcidOwner {
  const owner = ownerOfSlot(k, cpu, pcid)
  if (owner.mm === undefined || !cpu.vcpu.flushOnEntry) return owner
  return { mm: owner.mm, behind: 'the host flushes before the CPU runs again' }
}

/** The rule of the flag: only while the host is certain to look at it. */
function checkCpu(k: KernelState, cpu: KernelCpu, report: ReportViolation): void {
  if (cpu.vcpu.flushOnEntry && !cpu.vcpu.isPreempted) {
    report('I8', cpu.current.mm, 'a flush was left to the host, which does not look before the CPU goes on')
  }
  checkCpu6x(k, cpu, report)
}
