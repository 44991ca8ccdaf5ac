// Virtual time on the kernel's side: when a CPU in the kernel does its next step, and doing it.
// The engine calls these in the total order (cycle, cpu); nothing here looks at a host clock.
//
//   user mode --fault, syscall, interrupt--> frames on the kernel stack --empty--> user mode

import { fail } from '../base/assert.js'
import type { KernelCpu } from './cpu.js'
import { doExit } from './sched/exit.js'
import { preempted, startTurn } from './smp/host.js'
import { nextInterruptCycle, publishNextInterrupt, takeInterrupt } from './smp/ipi.js'
import { HALT, newFrame, NOTHING, SWITCH_STACKS, WAIT } from './kernel-op.js'
import type { KernelFrame, KernelOp } from './kernel-op.js'
import { afterKernelRoot, beforeUserRoot, loadKernelRoot, loadUserRoot } from './tlb/pti.js'
import { schedule } from './sched/sched.js'
import { speculate } from './tlb/speculation.js'
import type { KernelState } from './state.js'
import { drainDue } from './smp/store-buffer.js'
import { handleInterrupt } from './traps.js'

/**
 * Generator.prototype.next, found once: each generator function has a prototype of its own, so that looking for `next`
 * in the operation of a frame would cost as much as a short step.
 */
const resume: (this: KernelOp<unknown>) => IteratorResult<number, unknown> = NOTHING.next

/** When this CPU, which is in the kernel, does its next step; Infinity when it only waits. */
export function nextKernelCycle(cpu: KernelCpu): number {
  const frame = cpu.topFrame
  const own = frame.waiting || frame.halted ? Infinity : frame.resumeAt
  return Math.max(Math.min(own, interruptCycle(cpu, frame), hostCycle(cpu, frame)), cpu.now, cpu.heldUntil)
}

/** The step of a CPU in the kernel at `cycle`: takes a due interrupt, or continues its top frame. */
export function advanceKernel(k: KernelState, cpu: KernelCpu, cycle: number): void {
  beforeStep(k, cpu, cycle)
  if (cycle < cpu.now) fail(`cpu${cpu.id} would go back from cycle ${cpu.now} to ${cycle}`)
  cpu.now = cycle
  const frame = cpu.topFrame
  if (hostCycle(cpu, frame) <= cycle) pushStolen(k, cpu)
  else if (interruptCycle(cpu, frame) <= cycle) pushInterrupt(k, cpu)
  run(k, cpu)
}

/** A CPU in user mode enters the kernel at `cycle` to run `op`. */
export function enterKernel(k: KernelState, cpu: KernelCpu, cycle: number, op: KernelOp): void {
  beforeStep(k, cpu, cycle)
  leaveUser(cpu, cycle)
  if (k.config.kernel.pti) loadKernelRoot(k, cpu)
  cpu.stack.push(newFrame(k.config.kernel.pti ? afterKernelRoot(k, cpu, op) : op, cycle))
  run(k, cpu)
}

/** A CPU in user mode takes the interrupt that is due at `cycle`, or the host takes the CPU. */
export function interruptUser(k: KernelState, cpu: KernelCpu, cycle: number): void {
  beforeStep(k, cpu, cycle)
  leaveUser(cpu, cycle)
  if (cpu.vcpu.awayAt <= cycle) pushStolen(k, cpu)
  else pushInterrupt(k, cpu)
  run(k, cpu)
}

/** The next step at `cycle` only begins or ends a turn of the host: the guest does nothing in it. */
export function isHostStep(cpu: KernelCpu, cycle: number): boolean {
  return cpu.vcpu.awayAt <= cycle || (!cpu.inUserMode && cpu.topFrame.isStolen)
}

/** The next step at `cycle` wakes khugepaged for a scan, and nobody else. */
export function wakesKhugepaged(k: KernelState, cpu: KernelCpu, cycle: number): boolean {
  if (cpu.timers.length === 0) return false
  const timer = cpu.timers[0]
  return timer.at <= cycle && timer.task === k.khugepaged.task
}

/** No interrupt comes to this CPU, but for the timer of khugepaged. */
export function hasNothingAhead(k: KernelState, cpu: KernelCpu): boolean {
  const timer = cpu.timers.find(({ task }) => task !== k.khugepaged.task)
  return timer === undefined && nextInterruptCycle(cpu, false) === Infinity
}

/** A CPU in the kernel waits for other CPUs or is idle, whether the host lets it or not. */
export function waitsForOthers(k: KernelState, cpu: KernelCpu): boolean {
  const own = cpu.stack.findLast(frame => !frame.isStolen)
  const isWaiting = own === undefined || own.waiting || own.halted
  return isWaiting && (cpu.irqsOff > 0 || hasNothingAhead(k, cpu))
}

/** What a CPU is doing and what it waits for, for stall reports. */
export function describeCpu(cpu: KernelCpu): string {
  const task = cpu.isIdle ? 'idle' : `${cpu.current.comm}-${cpu.current.pid}`
  if (cpu.inUserMode) return `cpu${cpu.id}: ${task} in user mode`
  const away = cpu.vcpu.isPreempted ? ', taken away by the host' : ''
  if (cpu.waitingFor === '' && away !== '') return `cpu${cpu.id} cycle ${cpu.now}: ${task}${away}`
  const waiting = (cpu.waitingFor === '' ? 'in the kernel' : `waits for ${cpu.waitingFor}`) + away
  return `cpu${cpu.id} cycle ${cpu.now}: ${task} ${cpu.isIdle ? '' : waiting}`.trimEnd()
}

/** What happens between steps: stores leave buffers, hardware speculates. */
function beforeStep(k: KernelState, cpu: KernelCpu, cycle: number): void {
  drainDue(k, cpu, cycle)
  if (k.config.kernel.speculation) speculate(k)
}

/** When the CPU, which is in the kernel with `frame` on top, takes its next interrupt. */
function interruptCycle(cpu: KernelCpu, frame: KernelFrame): number {
  return cpu.irqsOff > 0 || frame.isStolen ? Infinity : cpu.nextInterrupt
}

/** When the host takes the CPU away, interrupts on or off. It leaves halted ones alone. */
function hostCycle(cpu: KernelCpu, frame: KernelFrame): number {
  return frame.halted ? Infinity : cpu.vcpu.awayAt
}

function leaveUser(cpu: KernelCpu, cycle: number): void {
  if (!cpu.inUserMode || cpu.stack.length > 0) fail(`cpu${cpu.id} is not in user mode`)
  cpu.inUserMode = false
  cpu.now = cycle
  cpu.retime()
}

function pushStolen(k: KernelState, cpu: KernelCpu): void {
  const below = cpu.lastFrame
  const frame = newFrame(preempted(k, cpu), cpu.now, cpu.now)
  frame.isStolen = true
  frame.stretchesBelow = below !== undefined && !below.waiting
  cpu.stack.push(frame)
}

function pushInterrupt(k: KernelState, cpu: KernelCpu): void {
  const below = cpu.lastFrame
  if (below?.halted === true && cpu.vcpu.awayAt <= cpu.now) startTurn(k, cpu, cpu.now)
  const wasHalted = below !== undefined && below.halted && !k.config.kernel.idlePoll
  const vector = takeInterrupt(cpu, cpu.now)
  const isFromUser = below === undefined
  if (isFromUser && k.config.kernel.pti) loadKernelRoot(k, cpu)
  const frame = newFrame(handleInterrupt(k, cpu, vector, wasHalted, isFromUser), cpu.now, cpu.now)
  frame.stretchesBelow = below !== undefined && !below.waiting && !below.halted
  cpu.stack.push(frame)
}

/** Continues the top frame until time has to pass. */
function run(k: KernelState, cpu: KernelCpu): void {
  for (;;) {
    const frame = cpu.topFrame
    const result = resume.call(frame.op)
    if (result.done === true) {
      if (finishFrame(k, cpu, frame)) return
      continue
    }
    const value = result.value
    if (value > 0) {
      if (!Number.isInteger(value)) fail(`a price of ${value} cycles is not whole`)
      // The turns of a host are its own.
      frame.resumeAt = cpu.now + (frame.isStolen ? value : stepCycles(k, cpu, value))
      return
    }
    switch (value) {
      case 0:
        continue
      case WAIT:
        frame.waiting = true
        frame.resumeAt = Infinity
        return
      case HALT:
        frame.halted = true
        return
      case SWITCH_STACKS:
        switchStacks(k, cpu)
        continue
      default:
        fail(`unknown step ${value}`)
    }
  }
}

/** What a step of so many cycles takes: the same, without noise and perturbation. */
function stepCycles(k: KernelState, cpu: KernelCpu, cycles: number): number {
  const taken = k.noise === undefined ? cycles : k.noise.cycles(cpu.id, cycles)
  return k.perturber === undefined ? taken : k.perturber.step(cpu.id, taken)
}

/** True when time passes before the next step (or the CPU went to user mode). */
function finishFrame(k: KernelState, cpu: KernelCpu, frame: KernelFrame): boolean {
  cpu.stack.pop()
  const below = cpu.lastFrame
  if (frame.isStolen) publishNextInterrupt(k, cpu)
  if (below === undefined) return frame.isStolen ? enterUserMode(k, cpu) : returnToUser(k, cpu)
  if (frame.interruptedAt < 0) {
    below.resumeAt = cpu.now
    return false
  }
  if (below.halted) {
    below.halted = false
    below.resumeAt = cpu.now
  } else if (frame.stretchesBelow) {
    below.resumeAt = Math.max(cpu.now, below.resumeAt + cpu.now - frame.interruptedAt)
  }
  return true
}

/** exit_to_user_mode_loop(): need_resched, then fatal signals, then the program. */
function returnToUser(k: KernelState, cpu: KernelCpu): boolean {
  const task = cpu.current
  if (task.isKernelThread) fail(`${task.comm} has no user mode`)
  task.isMidway = false
  if (cpu.isLeavingKernel) return switchToUserRoot(k, cpu)
  // A task that was waited for on a CPU that it may not run on any more goes now.
  if (cpu.needResched || !task.mayRunOn(cpu.id)) {
    cpu.stack.push(newFrame(schedule(k, cpu), cpu.now))
    return false
  }
  if (task.killedBy !== undefined && task.outcome === 'running') {
    cpu.stack.push(newFrame(doExit(k, cpu, task.killedBy), cpu.now))
    return false
  }
  return k.config.kernel.pti ? switchToUserRoot(k, cpu) : enterUserMode(k, cpu)
}

/** The price of the other root first; nothing is looked at on the way. */
function switchToUserRoot(k: KernelState, cpu: KernelCpu): boolean {
  if (!cpu.isLeavingKernel) {
    cpu.isLeavingKernel = true
    cpu.stack.push(newFrame(beforeUserRoot(k, cpu), cpu.now))
    return false
  }
  cpu.isLeavingKernel = false
  loadUserRoot(k, cpu)
  return enterUserMode(k, cpu)
}

function enterUserMode(k: KernelState, cpu: KernelCpu): boolean {
  // A slice may be over before it has begun, with another root to load on the way: it is for one action at least.
  if (cpu.isFreshSlice && cpu.sliceEnd <= cpu.now) {
    cpu.sliceEnd = cpu.now + 1
    publishNextInterrupt(k, cpu)
  }
  cpu.isFreshSlice = false
  cpu.inUserMode = true
  k.platform.enterUser(cpu)
  return true
}

/** switch_to(): the kernel stack and the registers of the next task. */
function switchStacks(k: KernelState, cpu: KernelCpu): void {
  const next = cpu.switchingTo
  if (next === undefined) fail(`cpu${cpu.id} switches to nothing`)
  const prev = cpu.current
  prev.kernelStack = cpu.stack
  k.platform.saveRegs(cpu, prev)
  cpu.stack = next.kernelStack
  cpu.current = next
  cpu.previous = prev
  cpu.switchingTo = undefined
  k.platform.loadRegs(cpu, next)
}
