// The host under a virtual machine. It has fewer CPUs than its guests want, so it takes a virtual CPU
// away when its turn is over and gives it back later. A virtual CPU that was taken away executes
// nothing, in user mode or in the kernel, with interrupts off or holding a lock; interrupts for it
// wait. Everybody who waits for it waits for the host.
//
//   runs ----- awayAt -----> preempted (awayAt Infinity) ----- turn over -----> runs
//     ^                        guests may leave it a flush: flushOnEntry         |  host flushes, if asked
//     +--------------------------------------------------------------------------+
//
// The one rule of flushOnEntry: it is set only while isPreempted is, and the host looks at it in the
// step in which it clears isPreempted. In between nothing can be missed. A halted CPU is not preempted:
// the host may wake it without a look.
//
// When turns end is a function of seed, CPU and the number of the turn: half to one and a half times
// the configured length.
//
// Simplified: halted CPUs use none of their turn and run at once when they are woken, idle loops that
// poll count as halted, and an interrupt never makes the host give a CPU back early. Taking a CPU away
// costs nothing besides the time, and its caches stay as they were.

import { hash32 } from '../../base/prng.js'
import { EVENT } from '../../trace/events.js'
import type { KernelCpu } from '../cpu.js'
import type { KernelOp } from '../kernel-op.js'
import type { KernelState } from '../state.js'
import { emit } from '../state.js'

/** What the host knows of a virtual CPU, and what it shares with the guest (struct kvm_steal_time). */
export interface VirtualCpu {
  /** Cycle at which the host takes it away; Infinity: never, or it is away. */
  awayAt: number
  /** Turns that it has had. */
  turns: number
  /** KVM_VCPU_PREEMPTED: it is away. */
  isPreempted: boolean
  /** KVM_VCPU_FLUSH_TLB: the host flushes everything before it runs again. */
  flushOnEntry: boolean
  /** Cycles that it was away. */
  stolenCycles: number
}

export function newVirtualCpu(): VirtualCpu {
  return { awayAt: Infinity, turns: 0, isPreempted: false, flushOnEntry: false, stolenCycles: 0 }
}

/** A new turn begins at `cycle`. The first ones are short and long, so that CPUs are not taken away together. */
export function startTurn(k: KernelState, cpu: KernelCpu, cycle: number): void {
  const { host } = k.config.machine
  if (host === undefined) return
  const { vcpu } = cpu
  const turn = vcpu.turns++
  const random = hash32(hash32(k.config.seed, 2 * turn), cpu.id)
  vcpu.awayAt = cycle + (turn === 0 ? 1 + random % (host.runCycles + host.awayCycles) : spread(host.runCycles, random))
}

/** The CPU is woken at `cycle` after it was halted: a turn that would be over begins anew. */
export function wakeTurn(k: KernelState, cpu: KernelCpu, cycle: number): void {
  if (cpu.vcpu.awayAt <= cycle) startTurn(k, cpu, cycle)
}

/** The time in which the host has taken the CPU away: a frame on top of whatever it was doing. */
export function* preempted(k: KernelState, cpu: KernelCpu): KernelOp {
  const { vcpu } = cpu
  const random = hash32(hash32(k.config.seed, 2 * vcpu.turns + 1), cpu.id)
  const cycles = spread(k.config.machine.host?.awayCycles ?? 0, random)
  vcpu.isPreempted = true
  vcpu.awayAt = Infinity
  vcpu.stolenCycles += cycles
  k.counters.vcpuPreemptions += 1
  k.counters.stolenCycles += cycles
  emit(k, cpu, EVENT.vcpuPreempt)
  yield cycles
  // record_steal_time(): one exchange takes the flag and says that the CPU runs.
  const flush = vcpu.flushOnEntry
  vcpu.isPreempted = false
  vcpu.flushOnEntry = false
  if (flush) k.platform.mmu(cpu.id).flushGlobal()
  emit(k, cpu, EVENT.vcpuResume, cycles, flush ? 1 : 0)
  if (flush) yield k.costs.fullFlushGlobal
  startTurn(k, cpu, cpu.now)
}

/** From half of `mean` to one and a half of it, at least a cycle. */
function spread(mean: number, random: number): number {
  return Math.max(1, Math.floor(mean / 2) + random % Math.max(1, mean))
}
