// MMU_LAZY_TLB_SHOOTDOWN: lazy references are not counted, so that switching to and from a kernel
// task touches no shared counter. Whoever drops the last reference to an mm interrupts every CPU of
// its mask; a CPU whose kernel task still borrows the mm goes to init_mm. kernel-behaviour.md 4.10.
//
// From the source: the three rules above, and that the mask must cover every CPU that may be lazy.
// Our reading: on x86 a flush clears the bit of a CPU that has another mm loaded, so here it does
// so only when the CPU does not borrow the mm either (executeFlush in tlb-flush-6x.ts). The rest is 6.x.

import type { KernelCpu } from '../cpu.js'
import { smpCallMany } from '../smp/ipi.js'
import type { KernelOp } from '../kernel-op.js'
import type { Mm } from '../mm/mm.js'
import type { KernelState } from '../state.js'
import { leaveToInit, linux6x } from './tlb-flush-6x.js'
import type { TlbPolicy } from './tlb-policy.js'

export const shootLazies: TlbPolicy = {
  ...linux6x,
  name: 'shoot-lazies',
  source: 'Linux 6.18 kernel/fork.c, MMU_LAZY_TLB_SHOOTDOWN (64-bit server PowerPC)',
  lazyReferences: 'uncounted',
  withoutMaskForms: 'the mask must have every CPU that borrows the mm',
  cleanupLazyTlbs,
}

/** cleanup_lazy_tlbs(): on the CPUs of the mask, this one included. */
function* cleanupLazyTlbs(k: KernelState, cpu: KernelCpu, mm: Mm): KernelOp {
  const targets = mm.mmCpumask.toArray().filter(id => id !== cpu.id)
  yield* smpCallMany(k, cpu, targets, target => shootLazyTlb(k, target, mm), {
    alwaysSend: false, runLocal: () => shootLazyTlb(k, cpu, mm),
  })
}

/** do_shoot_lazy_tlb(). */
function* shootLazyTlb(k: KernelState, cpu: KernelCpu, mm: Mm): KernelOp {
  if (cpu.current.activeMm !== mm) return
  cpu.current.activeMm = k.initMm
  if (cpu.tlb6x.loadedMm === mm) yield* leaveToInit(k, cpu)
}
