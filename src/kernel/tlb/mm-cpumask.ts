// Which CPUs a flush of an mm has to consider: four ways in which x86 has kept that set, or could.
// One trade-off: whatever a context switch does not write down, a flush has to find out.
//
//   form      a switch writes          a flush                                          in Linux
//   eager     the bit of both mms      interrupts the bits that are set                 until 6.13
//   lazy      the bit of the next mm,  interrupts stale bits too; their CPUs clear      209954cbc7d0 alone
//             unless it is set         them in the handler
//   trimmed   as lazy                  skips CPUs with another mm loaded, except once   since 6.14
//                                      a second, when it is as lazy                     (6db2526c1d69)
//   per-cpu   nothing shared           reads the loaded mm of every CPU                 proposed by M. Desnoyers,
//                                                                                       Dec 2024
//
// All four keep the rule of tlb-flush-6x.ts: a CPU on its way to an mm says so (SWITCHING, the bit) before it reads
// the generation; a flush makes a new generation before it looks for CPUs.
//
// `eager` clears the bit of the previous mm before the new root is loaded. In between, interrupts are off and no
// flush of that mm reaches the CPU; what it still caches is behind its generation, which is compared at the next load.
//
// Simplified: where lines have a price (costs.lineTransfer), `per-cpu` reads the states of CPUs one after the other;
// real hardware overlaps some of these misses, so its flushes are dear here. What a reclaim batch adds to its mask is
// read for free.

import { CpuMask } from '../cpumask.js'
import type { KernelCpu } from '../cpu.js'
import type { KernelOp } from '../kernel-op.js'
import type { Mm } from '../mm/mm.js'
import type { KernelState } from '../state.js'
import { trimPeriodCycles } from './flush-request.js'

/** A switch on `cpu` from `prev` (undefined: it was on its way already) to `next`, before the generation is read. */
export function* switchMask(k: KernelState, cpu: KernelCpu, prev: Mm | undefined, next: Mm): KernelOp {
  const form = k.config.kernel.mmCpumask
  if (form === 'per-cpu') {
    const forState = writeTlbState(k, cpu)
    if (forState > 0) yield forState
    return
  }
  if (form === 'eager' && prev !== undefined && prev !== k.initMm) {
    const forPrev = prev.cpumaskLine.write(k, cpu)
    if (forPrev > 0) yield forPrev
    prev.mmCpumask.clear(cpu.id)
  }
  if (next === k.initMm) return
  const forNext = form === 'eager' || !next.mmCpumask.has(cpu.id) ? next.cpumaskLine.write(k, cpu) : 0
  if (forNext > 0) yield forNext
  next.mmCpumask.set(cpu.id)
}

/** A CPU writes its cpu_tlbstate, of which flushes of the form `per-cpu` have copies. Cycles until it has the line. */
export function writeTlbState(k: KernelState, cpu: KernelCpu): number {
  return k.config.kernel.mmCpumask === 'per-cpu' ? cpu.tlbStateLine.write(k, cpu) : 0
}

/** Cycles until a flush of `mm` on `cpu` has the lines in which {@link cpumaskOf} stands. */
export function readMaskLines(k: KernelState, cpu: KernelCpu, mm: Mm): number {
  if (k.config.kernel.mmCpumask !== 'per-cpu') return mm.cpumaskLine.read(k, cpu)
  let cycles = 0
  for (const other of k.cpus) if (other !== cpu) cycles += other.tlbStateLine.read(k, cpu)
  return cycles
}

/**
 * mm_cpumask(): CPUs that may have `mm` loaded, those in the middle of a switch included. Do not change it. The price
 * of reading it is that of {@link readMaskLines}.
 */
export function cpumaskOf(k: KernelState, mm: Mm): CpuMask {
  if (k.config.kernel.mmCpumask !== 'per-cpu') return mm.mmCpumask
  const mask = new CpuMask(k.cpus.length)
  for (const { id, tlb6x: { loadedMm } } of k.cpus) if (loadedMm === mm || loadedMm === undefined) mask.set(id)
  return mask
}

/** Would a flush of `mm` consider this CPU, which is not in the middle of a switch? */
export function isInMask(k: KernelState, cpu: KernelCpu, mm: Mm): boolean {
  return k.config.kernel.mmCpumask === 'per-cpu' ? cpu.tlb6x.loadedMm === mm : mm.mmCpumask.has(cpu.id)
}

/** Does a flush of `mm` interrupt CPUs that are in the mask and have another mm loaded? should_trim_cpumask(). */
export function interruptsStale(k: KernelState, cpu: KernelCpu, mm: Mm): boolean {
  if (k.config.kernel.mmCpumask !== 'trimmed') return k.config.kernel.mmCpumask === 'lazy'
  if (cpu.now <= mm.nextTrimCycle) return false
  mm.nextTrimCycle = cpu.now + trimPeriodCycles(k)
  return true
}

/** In the handler of a flush of `mm`, which this CPU does not have: leaves the mask, where nothing else does that. */
export function* leaveMask(k: KernelState, cpu: KernelCpu, mm: Mm): KernelOp {
  const form = k.config.kernel.mmCpumask
  if (form !== 'lazy' && form !== 'trimmed') return
  const forLine = mm.mmCpumask.has(cpu.id) ? mm.cpumaskLine.write(k, cpu) : 0
  if (forLine > 0) yield forLine
  mm.mmCpumask.clear(cpu.id)
}
