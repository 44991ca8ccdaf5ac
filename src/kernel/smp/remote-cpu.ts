// Reaching into another CPU without its kernel's help, as only hardware and hypervisors can: dropping
// what its TLB holds, and holding it up. Whatever is changed here takes effect at the present cycle
// of the CPU that does it, in the total order (cycle, cpu), as a write of shared memory does.
//
// Simplified: a CPU that waits (for a lock, for acknowledgements) or is halted loses no time to what
// holds it up; one that works in the kernel loses it after its present step.

import { INVPCID_ADDRESS } from '../../machine/mmu.js'
import type { Mmu } from '../../machine/mmu.js'
import type { KernelCpu } from '../cpu.js'
import type { KernelState } from '../state.js'
import { vpnHi, vpnLo } from '../state.js'

/** The MMU of `target`, to be changed by `cpu` at its present cycle. */
export function remoteMmu(k: KernelState, cpu: KernelCpu, target: KernelCpu): Mmu {
  if (target !== cpu) k.platform.beforeTlbWrite(cpu, target)
  return k.platform.mmu(target.id)
}

/** A kernel page goes, whatever PCID has it: with page-table isolation it is not global and every slot may. */
export function dropKernelPage(k: KernelState, mmu: Mmu, vpn: number): void {
  const hi = vpnHi(k, vpn)
  const lo = vpnLo(k, vpn)
  mmu.invlpg(hi, lo)
  if (!k.config.kernel.pti) return
  const pcids = new Set<number>()
  mmu.forEachTlbEntry(entry => pcids.add(entry.pcid))
  mmu.forEachPagingCacheEntry(entry => pcids.add(entry.pcid))
  for (const pcid of pcids) mmu.invpcid(INVPCID_ADDRESS, pcid, hi, lo)
}

/** `target` does nothing for `cycles`; returns how many it really loses (none while the host has it). */
export function holdUp(k: KernelState, cpu: KernelCpu, target: KernelCpu, cycles: number): number {
  if (target.inUserMode) {
    k.platform.beforeTlbWrite(cpu, target)
    k.platform.delayUser(target, cycles)
    return cycles
  }
  const frame = target.topFrame
  if (frame.waiting || frame.halted || target.vcpu.isPreempted) return 0
  frame.resumeAt = Math.max(frame.resumeAt, cpu.now) + cycles
  target.retime()
  return cycles
}

/** Halted in the idle loop, or away: a hypervisor need not interrupt it. */
export function isHalted(target: KernelCpu): boolean {
  return target.vcpu.isPreempted || (!target.inUserMode && target.topFrame.halted)
}
