// The ways into the kernel that are not system calls: page faults, general protection, interrupts.

import { EVENT, VECTOR_CALL_FUNCTION, VECTOR_CALL_FUNCTION_SINGLE, VECTOR_LOCAL_TIMER,
  VECTOR_RESCHEDULE } from '../trace/events.js'
import type { KernelCpu } from './cpu.js'
import { faultLocked } from './mm/fault.js'
import { forceSignal } from './sched/exit.js'
import { flushCallQueue, publishNextInterrupt } from './smp/ipi.js'
import { coldPathCycles } from './smp/cold-path.js'
import type { KernelOp } from './kernel-op.js'
import { outOfMemory } from './reclaim/oom.js'
import { entryCycles, exitCycles } from './tlb/pti.js'
import { runTimers } from './sched/sched.js'
import type { KernelState } from './state.js'
import { emit, vpnOf } from './state.js'
import type { Task } from './sched/task.js'
import { REG_PC } from './sched/task.js'

/** Error-code bits of #PF (SDM vol. 3, 4.7). */
const ERROR_WRITE = 1 << 1
const ERROR_RESERVED = 1 << 3
const ERROR_FETCH = 1 << 4

/** Programs have no text; the ip that events show is this base plus four bytes an instruction. */
const PROGRAM_TEXT = 0x400000

const ENTRY_EVENTS: Readonly<Record<number, readonly [entry: number, exit: number]>> = {
  [VECTOR_RESCHEDULE]: [EVENT.rescheduleEntry, EVENT.rescheduleExit],
  [VECTOR_CALL_FUNCTION]: [EVENT.callFunctionEntry, EVENT.callFunctionExit],
  [VECTOR_CALL_FUNCTION_SINGLE]: [EVENT.callFunctionSingleEntry, EVENT.callFunctionSingleExit],
  [VECTOR_LOCAL_TIMER]: [EVENT.localTimerEntry, EVENT.localTimerExit],
}

/** #PF in user mode: `cycles` is what the failed walk cost, (hi, lo) is CR2. */
export function* pageFault(
  k: KernelState, task: Task, hi: number, lo: number, errorCode: number, cycles: number,
): KernelOp {
  const cpu = k.cpus[task.cpu]
  yield cycles
  cpu.irqsOff += 1
  emit(k, cpu, EVENT.pageFaultUser, hi, lo, 0, PROGRAM_TEXT + 4 * task.regs[REG_PC], errorCode)
  cpu.irqsOff -= 1
  k.counters.pageFaults += 1
  yield k.costs.pageFault
  const { mm } = task
  if (mm === undefined || (errorCode & ERROR_RESERVED) !== 0) {
    yield* forceSignal(k, cpu, 'SIGSEGV', hi, lo)
    return
  }
  // Who is killed meanwhile goes back to user mode to die.
  if (!(yield* mm.mmapLock.acquireKillable(cpu, false))) return
  const result = yield* faultLocked(k, cpu, mm, vpnOf(k, hi, lo), {
    write: (errorCode & ERROR_WRITE) !== 0,
    exec: (errorCode & ERROR_FETCH) !== 0,
  })
  mm.mmapLock.release(cpu, false)
  if (result === 'done') return
  if (result === 'oom') yield* outOfMemory(k, cpu, hi, lo)
  else yield* forceSignal(k, cpu, result, hi, lo)
}

/** #GP: a non-canonical address. */
export function* generalProtection(k: KernelState, task: Task, hi: number, lo: number): KernelOp {
  yield k.costs.pageFault
  yield* forceSignal(k, k.cpus[task.cpu], 'SIGSEGV', hi, lo)
}

/**
 * One interrupt, from entry to exit, with interrupts off. `wasHalted`: the CPU has to wake up first; `isFromUser`: a
 * program was interrupted, and another root is loaded on both ways.
 */
export function* handleInterrupt(
  k: KernelState, cpu: KernelCpu, vector: number, wasHalted: boolean, isFromUser: boolean,
): KernelOp {
  const begin = cpu.now - cpu.vcpu.stolenCycles
  cpu.irqsOff += 1
  cpu.inInterrupt = true
  if (wasHalted) yield k.config.kernel.idleDeep ? k.costs.idleExitDeep : k.costs.idleExit
  const isCall = vector === VECTOR_CALL_FUNCTION || vector === VECTOR_CALL_FUNCTION_SINGLE
  yield k.costs.irqEntry + (isFromUser ? entryCycles(k) : 0) + coldPathCycles(k, cpu, isCall)
  const [entry, exit] = ENTRY_EVENTS[vector]
  emit(k, cpu, entry)
  if (isCall) yield* flushCallQueue(k, cpu)
  runTimers(k, cpu)
  if (cpu.tickAt <= cpu.now && k.policy.tick !== undefined) yield* k.policy.tick(k, cpu)
  emit(k, cpu, exit)
  yield k.costs.irqExit
  if (isCall) {
    k.counters.responderCycles += cpu.now - cpu.vcpu.stolenCycles - begin + (isFromUser ? exitCycles(k, cpu) : 0)
  }
  cpu.inInterrupt = false
  cpu.irqsOff -= 1
  if (cpu.needResched) cpu.spinsOn?.stopSpinning(cpu)
  publishNextInterrupt(k, cpu)
}
