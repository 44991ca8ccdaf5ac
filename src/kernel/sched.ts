// The scheduler: one queue per CPU, time slices, sleeping and waking, placement.
//
// Simplified: round robin without weights and without wake-up preemption; a woken task goes to an
// idle CPU it may run on, else to where it ran last. A task is preempted only on its way back to
// user mode (a kernel without CONFIG_PREEMPT). The slice is a one-shot timer (like HRTICK), armed
// only while others wait, so a lone task is never interrupted by ticks. 6.x hands the wake-up of an
// idle CPU over on its call-function list; here the waker queues the task itself and sends a
// reschedule interrupt, in both eras.

import { EVENT } from '../trace/events.js'
import { contextSwitch, finishTaskSwitch } from './context-switch.js'
import type { KernelCpu } from './cpu.js'
import { flushCallQueue, publishNextInterrupt, smpSendReschedule, wakePoller } from './ipi.js'
import type { KernelOp } from './kernel-op.js'
import { HALT } from './kernel-op.js'
import { scheduledNext } from './sched-script.js'
import type { KernelState } from './state.js'
import { emit } from './state.js'
import type { Task } from './task.js'

/** schedule(): gives the CPU to the next task. Returns the CPU on which the caller continues. */
export function* schedule(k: KernelState, cpu: KernelCpu): KernelOp<KernelCpu> {
  const prev = cpu.current
  cpu.irqsOff += 1
  const preemptCount = cpu.preemptCount
  cpu.preemptCount = 2
  cpu.needResched = false
  const next = scheduledNext(k, cpu, prev) ?? pickNext(cpu, prev)
  let here = cpu
  if (next === prev) {
    startSlice(k, cpu)
  } else {
    next.cpu = cpu.id
    cpu.switchingTo = next
    here = yield* contextSwitch(k, cpu, prev, next)
    afterSwitch(k, here)
    startSlice(k, here)
  }
  here.preemptCount = preemptCount
  here.irqsOff -= 1
  publishNextInterrupt(k, here)
  return here
}

/** pick_next_task(): the queue in turn; a runnable `prev` goes to its end. */
function pickNext(cpu: KernelCpu, prev: Task): Task {
  if (!prev.isIdle && prev.state === 'R' && mayStay(cpu, prev)) cpu.runQueue.push(prev)
  return cpu.runQueue.shift() ?? cpu.idleTask
}

/** ret_from_fork(): the first thing on a new task's stack. */
export function* retFromFork(k: KernelState, task: Task): KernelOp {
  const cpu = k.cpus[task.cpu]
  finishTaskSwitch(k, cpu)
  afterSwitch(k, cpu)
  startSlice(k, cpu)
  cpu.preemptCount = 0
  cpu.irqsOff -= 1
  publishNextInterrupt(k, cpu)
}

/** What the previous task of this CPU left to do, now that its stack is free: it may move, or be gone. */
function afterSwitch(k: KernelState, cpu: KernelCpu): void {
  const prev = cpu.previous
  cpu.previous = undefined
  if (prev === undefined || prev.isIdle) return
  // put_task_stack(): nobody returns to it.
  if (prev.state === 'Z') prev.kernelStack = []
  if (prev.state === 'R' && !mayStay(cpu, prev)) moveQueued(k, cpu, prev)
  for (const waiter of prev.affinityWaiters.splice(0)) wakeUp(k, cpu, waiter)
}

function mayStay(cpu: KernelCpu, task: Task): boolean {
  return task.migrationDisabled > 0 || task.mayRunOn(cpu.id)
}

/** move_queued_task(): `task`, which is runnable and on no stack, goes to a CPU that it may run on. */
export function moveQueued(k: KernelState, cpu: KernelCpu, task: Task): void {
  const from = k.cpus[task.cpu]
  const index = from.runQueue.indexOf(task)
  if (index >= 0) {
    from.runQueue.splice(index, 1)
    publishNextInterrupt(k, from)
  }
  const target = k.cpus[selectCpu(k, task)]
  emit(k, cpu, EVENT.schedMigrateTask, task.commId, task.pid, task.cpu, target.id)
  enqueue(k, cpu, target, task)
}

/** The idle task (do_idle): runs calls that came without an interrupt and what is runnable; else halts or polls. */
export function* idleLoop(k: KernelState, cpu: KernelCpu): KernelOp {
  cpu.preemptCount = 1
  for (;;) {
    if (cpu.callQueue.length > 0) {
      cpu.irqsOff += 1
      yield* flushCallQueue(k, cpu)
      cpu.irqsOff -= 1
    }
    while (cpu.runQueue.length > 0 || cpu.turnAt <= cpu.now) yield* schedule(k, cpu)
    cpu.needResched = false
    cpu.isPolling = k.config.kernel.idlePoll
    yield HALT
    cpu.isPolling = false
  }
}

/** What ends a sleep besides wakeUp(): any signal (state S), SIGKILL (state D) or nothing (state D). */
export type SleepMode = 'interruptible' | 'killable' | 'uninterruptible'

/**
 * Sleeps until wakeUp(); `reason` is for describeStall(). Returns the CPU it continues on. A task
 * that a fatal signal waits for does not go to sleep, unless nothing may wake it.
 */
export function* sleepOn(
  k: KernelState, cpu: KernelCpu, reason: string, mode: SleepMode = 'interruptible',
): KernelOp<KernelCpu> {
  const task = cpu.current
  if (task.killedBy !== undefined && mode !== 'uninterruptible') return cpu
  task.state = mode === 'interruptible' ? 'S' : 'D'
  task.isKillable = mode === 'killable'
  task.sleepingOn = reason
  const here = yield* schedule(k, cpu)
  task.sleepingOn = ''
  return here
}

/**
 * What programs call sleep: until some task names this one in `wake`, or for `cycles` on a timer of
 * this CPU, whichever comes first. A wake-up that came before ends it at once.
 */
export function* sleepUntilWoken(k: KernelState, cpu: KernelCpu, cycles = Infinity): KernelOp<KernelCpu> {
  const task = cpu.current
  const isAwake = task.wakePending || task.killedBy !== undefined
  task.wakePending = false
  if (isAwake) return cpu
  task.isWakeable = true
  const at = cpu.now + Math.max(1, cycles)
  if (at === Infinity) return yield* sleepOn(k, cpu, 'a wake-up')
  const index = cpu.timers.findIndex(timer => timer.at > at)
  cpu.timers.splice(index < 0 ? cpu.timers.length : index, 0, { at, task })
  return yield* sleepOn(k, cpu, `a timer at cycle ${at}`)
}

/** What programs call wake: ends the sleep of `task`, or its next one if it is not in one. */
export function wakeSleeper(k: KernelState, cpu: KernelCpu, task: Task): void {
  if (task.isWakeable) wakeUp(k, cpu, task)
  else task.wakePending = true
}

/** try_to_wake_up(): false when the task did not sleep. */
export function wakeUp(k: KernelState, cpu: KernelCpu, task: Task): boolean {
  if (!task.isAsleep) return false
  task.isWakeable = false
  // A sleep that is cut short leaves no timer behind.
  for (const owner of k.cpus) {
    const index = owner.timers.findIndex(timer => timer.task === task)
    if (index >= 0) {
      owner.timers.splice(index, 1)
      publishNextInterrupt(k, owner)
    }
  }
  task.state = 'R'
  // p->on_cpu: its stack is still in use there, so nobody else can run it (ttwu_queue_wakelist).
  const isOnCpu = k.cpus[task.cpu].current === task
  const target = k.cpus[isOnCpu ? task.cpu : selectCpu(k, task)]
  if (target.id !== task.cpu) emit(k, cpu, EVENT.schedMigrateTask, task.commId, task.pid, task.cpu, target.id)
  emit(k, cpu, EVENT.schedWakeup, task.commId, task.pid, target.id)
  enqueue(k, cpu, target, task)
  return true
}

/** wake_up_new_task(): puts a forked task on a queue. */
export function wakeUpNew(k: KernelState, cpu: KernelCpu, task: Task): void {
  const target = k.cpus[selectCpu(k, task)]
  task.cpu = target.id
  emit(k, cpu, EVENT.schedWakeupNew, task.commId, task.pid, target.id)
  enqueue(k, cpu, target, task)
}

/** Fires the sleep timers that are due on this CPU and ends its slice if that is over. */
export function runTimers(k: KernelState, cpu: KernelCpu): void {
  while (cpu.timers.length > 0 && cpu.timers[0].at <= cpu.now) {
    const timer = cpu.timers.shift()
    if (timer !== undefined) wakeUp(k, cpu, timer.task)
  }
  if (cpu.runQueue.length > 0 && cpu.sliceEnd <= cpu.now) cpu.needResched = true
  if (cpu.turnAt <= cpu.now) cpu.needResched = true
}

/** select_task_rq(): an idle CPU, the last one first; else the last one, else the shortest queue. */
function selectCpu(k: KernelState, task: Task): number {
  if (task.migrationDisabled > 0) return task.cpu
  const isFree = (id: number): boolean => k.cpus[id].running.isIdle && k.cpus[id].runQueue.length === 0
  if (task.mayRunOn(task.cpu) && isFree(task.cpu)) return task.cpu
  const free = task.cpus.find(isFree)
  if (free !== undefined) return free
  let best = task.mayRunOn(task.cpu) ? task.cpu : task.cpus[0]
  for (const id of task.cpus) if (k.cpus[id].runQueue.length < k.cpus[best].runQueue.length) best = id
  return best
}

function enqueue(k: KernelState, cpu: KernelCpu, target: KernelCpu, task: Task): void {
  task.cpu = target.id
  target.runQueue.push(task)
  if (target.running.isIdle) {
    // On its way to idle: the idle loop looks at the queue before it halts.
    if (target.switchingTo !== undefined) return
    target.needResched = true
    if (target !== cpu && !wakePoller(k, target, cpu.now + 1)) smpSendReschedule(k, cpu, target)
    return
  }
  // The slice of a task that ran alone may be over already: it ends in the next cycle then.
  if (target.runQueue.length === 1 && target.sliceEnd <= cpu.now) target.sliceEnd = cpu.now + 1
  publishNextInterrupt(k, target)
}

function startSlice(k: KernelState, cpu: KernelCpu): void {
  cpu.sliceEnd = cpu.now + k.config.kernel.timeSliceCycles
}
