// A schedule that is given: which task runs on which CPU from which cycle on, as a real scheduler's
// trace said. It takes the place of the choice that schedule() makes; everything else of a switch
// (lazy TLB, slots, flushes, interrupts, prices) is as always. Between their turns tasks are parked: they
// are on no run queue, and asleep or preempted as the trace says. A task without any turn has idle time.
//
//   turn      cycle 5000: task 3, whose predecessor went to sleep
//   exits     the task on this CPU ends on its way back to user mode
//   end       every task that is left ends, on the CPU where it was last
//
// A turn may begin late: a task leaves a CPU only on its way to user mode, and it cannot run on two
// CPUs. It never begins early, unless the task before it is gone.

import { EVENT } from '../../trace/events.js'
import type { ScheduleTurn } from '../abi.js'
import type { KernelCpu } from '../cpu.js'
import { publishNextInterrupt } from '../smp/ipi.js'
import type { KernelState } from '../state.js'
import { emit } from '../state.js'
import type { Task } from './task.js'

/** A wanted task that still runs elsewhere, or sleeps in the kernel, is looked for again after so many cycles. */
const RETRY_CYCLES = 2000

export interface ScheduleState {
  readonly turns: readonly (readonly ScheduleTurn[])[]
  readonly endCycle: number
  /** Index of each CPU's present turn; -1 before the first. */
  readonly position: number[]
  /** Tasks that wait for a turn, in order of parking. */
  readonly parked: Set<Task>
  /** Names of tasks that have turns. */
  readonly scheduled: ReadonlySet<string>
  /** Tasks that have had a turn. */
  readonly started: Set<Task>
  readonly tasks: ReadonlyMap<string, Task>
}

/** Parks every task that has turns and arms the first turn of every CPU. Undefined: the image has no schedule. */
export function startSchedule(k: KernelState): ScheduleState | undefined {
  const { schedule } = k.image
  if (schedule === undefined) return undefined
  const scheduled = new Set(schedule.turns.flatMap(turns => turns.map(turn => turn.task)))
  const parked = new Set<Task>()
  for (const cpu of k.cpus) {
    for (const task of cpu.runQueue.splice(0)) {
      if (scheduled.has(task.comm)) parked.add(task)
      else cpu.runQueue.push(task)
    }
  }
  const turns = k.cpus.map(cpu => schedule.turns[cpu.id] ?? [])
  for (const cpu of k.cpus) {
    cpu.turnAt = turns[cpu.id][0]?.cycle ?? schedule.endCycle
    publishNextInterrupt(k, cpu)
  }
  return {
    turns, endCycle: schedule.endCycle, position: k.cpus.map(() => -1), parked, scheduled, started: new Set(),
    tasks: new Map(k.tasks.map(task => [task.comm, task])),
  }
}

/** Whose turn it is on this CPU. Undefined: the schedule is over here, and what is left ends. */
export function scheduledNext(k: KernelState, cpu: KernelCpu, prev: Task): Task | undefined {
  const script = k.schedule
  if (script === undefined) return undefined
  if (cpu.now >= script.endCycle) return endSchedule(script, cpu, prev)
  // Woken in the kernel, after a lock or a page: parked like the others.
  for (const task of cpu.runQueue.splice(0)) park(script, cpu, task)
  const turn = presentTurn(script, cpu, prev)
  const next = turn === undefined || turn.task === '' ? cpu.idleTask : script.tasks.get(turn.task) ?? cpu.idleTask
  if (next === prev && prev.state === 'R') {
    // Out of user mode it goes on to its end.
    if (turn?.exits === true && !prev.isKernelThread) prev.killedBy ??= 'exited'
    return prev
  }
  if (!prev.isIdle && prev.state === 'R') {
    park(script, cpu, prev)
    if (turn?.before === prev.comm && turn.beforeSleeps) prev.state = 'S'
  }
  if (next.isIdle) return cpu.runQueue.shift() ?? next
  if (!script.parked.has(next)) {
    if (next.state !== 'Z') cpu.turnAt = Math.min(cpu.turnAt, cpu.now + RETRY_CYCLES)
    return cpu.runQueue.shift() ?? cpu.idleTask
  }
  return takeParked(k, script, cpu, next)
}

/** A task without any turn (kswapd, a child that nobody captured) stays on its queue and has the idle time. */
function park(script: ScheduleState, cpu: KernelCpu, task: Task): void {
  if (script.scheduled.has(task.comm)) script.parked.add(task)
  else cpu.runQueue.push(task)
}

/** Moves on to the turn that is due, and arms the one after it. */
function presentTurn(script: ScheduleState, cpu: KernelCpu, prev: Task): ScheduleTurn | undefined {
  const turns = script.turns[cpu.id]
  let at = script.position[cpu.id]
  while (at + 1 < turns.length && turns[at + 1].cycle <= cpu.now) at += 1
  // The dead have no turn.
  while (prev.state === 'Z' && at >= 0 && at + 1 < turns.length && turns[at].task === prev.comm) at += 1
  script.position[cpu.id] = at
  cpu.turnAt = turns[at + 1]?.cycle ?? script.endCycle
  return turns[at]
}

function takeParked(k: KernelState, script: ScheduleState, cpu: KernelCpu, task: Task): Task {
  script.parked.delete(task)
  const isNew = !script.started.has(task)
  script.started.add(task)
  if (task.cpu !== cpu.id && !isNew) emit(k, cpu, EVENT.schedMigrateTask, task.commId, task.pid, task.cpu, cpu.id)
  if (task.state === 'S') {
    task.state = 'R'
    emit(k, cpu, EVENT.schedWakeup, task.commId, task.pid, cpu.id)
  }
  return task
}

/** User tasks that were here last run to their end; kernel threads stay parked. */
function endSchedule(script: ScheduleState, cpu: KernelCpu, prev: Task): undefined {
  cpu.turnAt = Infinity
  if (prev.isKernelThread && !prev.isIdle && prev.state === 'R') {
    // Not runnable any more: nobody would ever end it.
    prev.state = 'S'
    script.parked.add(prev)
  } else if (!prev.isIdle && prev.state === 'R') {
    prev.killedBy ??= 'exited'
  }
  for (const task of script.parked) {
    if (task.cpu !== cpu.id || task.isKernelThread) continue
    script.parked.delete(task)
    task.state = 'R'
    task.killedBy ??= 'exited'
    cpu.runQueue.push(task)
  }
}
