// The scheduler: one queue per CPU, sleeping and waking, the idle task. Who of a queue runs next and
// for how long is in fair.ts, on which CPU a task is queued in balance.ts.
//
// Simplified: a task is preempted only on its way back to user mode (a kernel without
// CONFIG_PREEMPT). The slice is a one-shot timer (like HRTICK), armed only while others wait, so a
// lone task is never interrupted by ticks. 6.x hands the wake-up of an idle CPU over on its
// call-function list; here the waker queues the task itself and sends a reschedule interrupt, in
// both eras.

import { EVENT } from '../../trace/events.js'
import { idlest, pullForIdle, pushForBalance, selectForWakeup } from './balance.js'
import { contextSwitch, finishTaskSwitch } from './context-switch.js'
import type { KernelCpu } from '../cpu.js'
import { joinQueue, leaveQueue, pickNext, preempts, sliceCycles, updateCurr, yieldTask } from './fair.js'
import type { JoinReason } from './fair.js'
import { flushCallQueue, publishNextInterrupt, smpSendReschedule, wakePoller } from '../smp/ipi.js'
import type { KernelOp } from '../kernel-op.js'
import { HALT } from '../kernel-op.js'
import { scheduledNext } from './sched-script.js'
import type { KernelState } from '../state.js'
import { emit } from '../state.js'
import type { Task } from './task.js'

/**
 * schedule(): gives the CPU to the next task. Returns the CPU on which the caller continues. `yields`: the task wants
 * others to run.
 */
export function schedule(k: KernelState, cpu: KernelCpu, yields = false): KernelOp<KernelCpu> {
  const prev = cpu.current
  cpu.irqsOff += 1
  const preemptCount = cpu.preemptCount
  cpu.preemptCount = 2
  cpu.needResched = false
  if (prev.isAsleep) for (const lock of prev.writerOf) lock.ownerLeavesCpu(cpu)
  const next = scheduledNext(k, cpu, prev) ?? pickNextTask(k, cpu, prev, yields)
  if (next === prev) {
    scheduled(k, cpu, preemptCount)
    return goOn(cpu)
  }
  next.cpu = cpu.id
  next.execStart = cpu.now
  cpu.switchingTo = next
  return contextSwitch(k, cpu, prev, next, (here) => {
    afterSwitch(k, here)
    scheduled(k, here, preemptCount)
  })
}

/** The end of schedule(), on the CPU on which its caller goes on. */
function scheduled(k: KernelState, cpu: KernelCpu, preemptCount: number): void {
  startSlice(k, cpu)
  cpu.preemptCount = preemptCount
  cpu.irqsOff -= 1
  publishNextInterrupt(k, cpu)
}

/** put_prev_task() and pick_next_task(): with nothing to do here it looks for work elsewhere. */
function pickNextTask(k: KernelState, cpu: KernelCpu, prev: Task, yields: boolean): Task {
  const { runQueue } = cpu
  updateCurr(k, cpu, cpu.now)
  prev.lastRan = cpu.now
  const mayGoOn = !prev.isIdle && prev.state === 'R' && mayStay(cpu, prev)
  if (!mayGoOn && !prev.isIdle) leaveQueue(k, cpu, prev)
  if (yields) yieldTask(k, prev)
  const isSkipped = yields && k.config.kernel.era === 'linux-4.6' && runQueue.length > 0
  if (mayGoOn && !isSkipped) runQueue.push(prev)
  if (runQueue.length === 0 && k.schedule === undefined) {
    const pulled = pullForIdle(k, cpu)
    if (pulled !== undefined) migrate(k, cpu, pulled, cpu)
  }
  const index = pickNext(k, cpu)
  const next = index < 0 ? cpu.idleTask : runQueue.splice(index, 1)[0]
  if (isSkipped && mayGoOn) runQueue.push(prev)
  return next
}

/** ret_from_fork(): the first thing on a new task's stack. */
export function* retFromFork(k: KernelState, task: Task): KernelOp {
  const cpu = k.cpus[task.cpu]
  finishTaskSwitch(k, cpu)
  afterSwitch(k, cpu)
  scheduled(k, cpu, 0)
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
  const target = k.cpus[idlest(k, task)]
  migrate(k, cpu, task, target)
  kick(k, cpu, target, task)
}

/** set_task_cpu() of a runnable task: from the queue it waits in, if it is in one, to that of `target`. */
function migrate(k: KernelState, cpu: KernelCpu, task: Task, target: KernelCpu): void {
  const from = k.cpus[task.cpu]
  const index = from.runQueue.indexOf(task)
  if (index >= 0) {
    leaveQueue(k, from, task)
    from.runQueue.splice(index, 1)
    from.retime()
    publishNextInterrupt(k, from)
  }
  emit(k, cpu, EVENT.schedMigrateTask, task.commId, task.pid, task.cpu, target.id)
  join(k, target, task, 'migrate')
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
    if (k.config.kernel.idleDeep && !cpu.isPolling) yield* enterDeepIdle(k, cpu)
    yield HALT
    cpu.isPolling = false
  }
}

/** intel_idle() of a state with CPUIDLE_FLAG_TLB_FLUSHED: nothing must need this CPU's TLB while it is off. */
function* enterDeepIdle(k: KernelState, cpu: KernelCpu): KernelOp {
  cpu.irqsOff += 1
  yield* k.policy.leaveMm(k, cpu)
  k.platform.mmu(cpu.id).flushGlobal()
  cpu.irqsOff -= 1
}

/** What ends a sleep besides wakeUp(): any signal (state S), SIGKILL (state D) or nothing (state D). */
export type SleepMode = 'interruptible' | 'killable' | 'uninterruptible'

/**
 * Sleeps until wakeUp(); `reason` is for describeStall(). Returns the CPU it continues on. A task
 * that a fatal signal waits for does not go to sleep, unless nothing may wake it.
 */
export function sleepOn(
  k: KernelState, cpu: KernelCpu, reason: string, mode: SleepMode = 'interruptible',
): KernelOp<KernelCpu> {
  const task = cpu.current
  if (task.killedBy !== undefined && mode !== 'uninterruptible') return goOn(cpu)
  task.state = mode === 'interruptible' ? 'S' : 'D'
  task.isKillable = mode === 'killable'
  task.sleepingOn = reason
  return schedule(k, cpu)
}

/** Without anything else running meanwhile. */
function* goOn(cpu: KernelCpu): KernelOp<KernelCpu> {
  return cpu
}

/**
 * What programs call sleep: until some task names this one in `wake`, or for `cycles` on a timer of
 * this CPU, whichever comes first. A wake-up that came before ends it at once.
 */
export function* sleepUntilWoken(k: KernelState, cpu: KernelCpu, cycles = Infinity): KernelOp<KernelCpu> {
  const task = cpu.current
  task.isMidway = false
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
    const index = owner.timers.length === 0 ? -1 : owner.timers.findIndex(timer => timer.task === task)
    if (index >= 0) {
      owner.timers.splice(index, 1)
      owner.retime()
      publishNextInterrupt(k, owner)
    }
  }
  task.state = 'R'
  task.sleepingOn = ''
  // p->on_cpu: its stack is still in use there, so nobody else can run it (ttwu_queue_wakelist).
  const isOnCpu = k.cpus[task.cpu].current === task
  const target = k.cpus[isOnCpu ? task.cpu : selectForWakeup(k, task)]
  if (target.id !== task.cpu) emit(k, cpu, EVENT.schedMigrateTask, task.commId, task.pid, task.cpu, target.id)
  emit(k, cpu, EVENT.schedWakeup, task.commId, task.pid, target.id)
  join(k, target, task, 'wakeup')
  kick(k, cpu, target, task)
  return true
}

/** wake_up_new_task(): puts a forked task on a queue. */
export function wakeUpNew(k: KernelState, cpu: KernelCpu, task: Task): void {
  const target = k.cpus[idlest(k, task)]
  task.cpu = target.id
  emit(k, cpu, EVENT.schedWakeupNew, task.commId, task.pid, target.id)
  join(k, target, task, 'new')
  kick(k, cpu, target, task)
}

/** Fires the sleep timers that are due on this CPU and ends its slice if that is over. */
export function runTimers(k: KernelState, cpu: KernelCpu): void {
  while (cpu.timers.length > 0 && cpu.timers[0].at <= cpu.now) {
    const timer = cpu.timers.shift()
    if (timer !== undefined) wakeUp(k, cpu, timer.task)
  }
  if (cpu.turnAt <= cpu.now) cpu.needResched = true
  if (cpu.runQueue.length === 0 || cpu.sliceEnd > cpu.now) return
  cpu.needResched = true
  // A given schedule (sched-script.ts) says itself who runs where.
  const push = cpu.isIdle || k.schedule !== undefined ? undefined : pushForBalance(k, cpu)
  if (push === undefined) return
  migrate(k, cpu, push.task, push.to)
  kick(k, cpu, push.to, push.task)
}

/** activate_task(): `task` waits in the queue of `target`. */
function join(k: KernelState, target: KernelCpu, task: Task, reason: JoinReason): void {
  joinQueue(k, target, task, reason)
  task.cpu = target.id
  target.runQueue.push(task)
  target.retime()
}

/** check_preempt_curr(): `target` must hear that `task` has joined its queue. */
function kick(k: KernelState, cpu: KernelCpu, target: KernelCpu, task: Task): void {
  const { running } = target
  target.retime()
  if (running.isIdle) {
    // On its way to idle: the idle loop looks at the queue before it halts.
    if (target.switchingTo !== undefined) return
    target.needResched = true
    if (target !== cpu && !wakePoller(k, target, cpu.now + 1)) smpSendReschedule(k, cpu, target)
    return
  }
  if (!target.needResched && preempts(k, target, task, cpu.now)) {
    target.needResched = true
    if (target !== cpu) smpSendReschedule(k, cpu, target)
  }
  // The slice of a task that ran alone may be over already, or be shorter now: it ends in the next cycle then.
  if (target.switchingTo === undefined) {
    const end = target.sliceStart + sliceCycles(k, target, running)
    const isArmed = target.runQueue.length > 1 && target.sliceEnd <= cpu.now
    if (!isArmed) target.sliceEnd = Math.max(end, cpu.now + 1)
  }
  publishNextInterrupt(k, target)
}

function startSlice(k: KernelState, cpu: KernelCpu): void {
  cpu.sliceStart = cpu.now
  cpu.isFreshSlice = true
  cpu.sliceEnd = cpu.now + sliceCycles(k, cpu, cpu.current)
}
