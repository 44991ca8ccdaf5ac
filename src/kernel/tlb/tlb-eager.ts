// No lazy TLB at all: a kernel task never borrows an address space. Whoever switches to one, and
// whoever loses its mm at exit, loads init_mm at once and leaves the mask of the old mm, so that no
// flush ever considers a CPU that does not run user code of the mm. The price is paid at every
// switch to the idle loop and back, which the lazy kernels get for nothing.
//
// From the source: what active_mm.rst gives as the reason for lazy TLBs (the switch that is saved).
// Our reading: everything else is 6.x, PCID slots and generations included.

import { switchMm, linux6x } from './tlb-flush-6x.js'
import type { KernelCpu } from '../cpu.js'
import type { KernelOp } from '../kernel-op.js'
import type { Mm } from '../mm/mm.js'
import type { KernelState } from '../state.js'
import type { TlbPolicy } from './tlb-policy.js'

export const eager: TlbPolicy = {
  ...linux6x,
  name: 'eager',
  source: 'Linux 6.18 arch/x86/mm/tlb.c without what Documentation/mm/active_mm.rst describes',
  withoutMaskForms: 'it leaves the mask of an mm whenever it loads another one',
  enterLazyTlb,
  switchMm: (k, cpu, _prev, next) => switchAndLeave(k, cpu, next),
}

function* enterLazyTlb(k: KernelState, cpu: KernelCpu): KernelOp<Mm> {
  yield* switchAndLeave(k, cpu, k.initMm)
  return k.initMm
}

/** After the load, so that a flush in between finds the CPU in the mask and the other mm loaded, or is not needed. */
function* switchAndLeave(k: KernelState, cpu: KernelCpu, next: Mm): KernelOp {
  const prev = cpu.tlb6x.loadedMm
  yield* switchMm(k, cpu, next)
  if (prev !== undefined && prev !== next) prev.mmCpumask.clear(cpu.id)
}
