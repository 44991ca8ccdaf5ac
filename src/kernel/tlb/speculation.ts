// Speculation: out-of-order hardware may walk any address that the loaded root maps, at any moment,
// also in the kernel and while the CPU is lazy, and keep what it found in its TLB and paging caches
// (kernel-behaviour.md 1.8). Programs of this simulator only access what they say, so stale entries
// can be too few to show a bug. With `kernel.speculation` a CPU that is in the kernel now and then
// walks a page of an area of the address space that it has loaded.
//
// Which CPU and which page is a function of the seed and of how many steps kernels have done, which
// is the same in every engine. Nothing is charged. Misses that it causes are counted, as hardware
// counters do.
//
// Simplified: speculative walks never set A bits, so they find only pages that were used before.
// CPUs in user mode do not speculate: their accesses fill enough.

import { hash32 } from '../../base/prng.js'
import { ACCESS_READ } from '../abi.js'
import type { KernelState } from '../state.js'
import { vpnHi, vpnLo } from '../state.js'

/** One step in so many has a walk. */
const STEPS_PER_WALK = 3

/** To be called before every step of a kernel. */
export function speculate(k: KernelState): void {
  const step = k.speculation.steps++
  const { seed } = k.config
  if (hash32(seed, 4 * step) % STEPS_PER_WALK !== 0) return
  const cpu = k.cpus[hash32(seed, 4 * step + 1) % k.cpus.length]
  if (cpu.inUserMode || cpu.vcpu.isPreempted) return
  const { mm } = k.policy.loadedRoot(k, cpu)
  const { areas } = mm.vmas
  const mmu = k.platform.mmu(cpu.id)
  if (mmu.rootPfn !== mm.pgdPfn || areas.length === 0) return
  const area = areas[hash32(seed, 4 * step + 2) % areas.length]
  const vpn = area.vmStart + hash32(seed, 4 * step + 3) % (area.vmEnd - area.vmStart)
  mmu.translate(vpnHi(k, vpn), vpnLo(k, vpn), ACCESS_READ, true, false)
}
