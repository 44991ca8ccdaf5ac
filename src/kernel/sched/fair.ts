// The fair class (kernel/sched/fair.c): which task of a CPU's queue runs next and for how long, by
// weight. A task's virtual runtime grows by what it runs, divided by its weight; who has the least
// has the best claim.
//
//            4.6, CFS                                   6.x, EEVDF
//   runs     the least vruntime                         of those at or below the average vruntime
//                                                       (eligible) the earliest virtual deadline
//   slice    its share of a period of one slice each    one slice for everybody, deadline = vruntime
//                                                       + slice / weight
//   wakes    not further back than one slice behind     as far from the average as when it went to
//            the queue's least; preempts who is ahead   sleep (lag); preempts nobody before the end
//            of it by a third of a slice                of a slice (RUN_TO_PARITY)
//   is new   one slice behind the least                 at the average, half a slice to its deadline
//
// `kernel.timeSlice` is the slice: base_slice of 6.x, and what sched_latency gives each of two tasks in
// 4.6, so the other times of the kernel are fractions of it.
//
// Simplified: virtual times less than an eighth of a slice apart count as equal, and tasks of equal
// claim run in the order of the queue: without weights it is round robin. Group scheduling, buddies
// and delayed dequeue are left out.

import type { KernelCpu } from '../cpu.js'
import type { KernelState } from '../state.js'
import type { Task } from './task.js'

/** sched_prio_to_weight: by nice value from -20 on. A step of one is 10 % of a CPU between two tasks. */
const WEIGHTS = [
  88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916,
  9548, 7620, 6100, 4904, 3906, 3121, 2501, 1991, 1586, 1277,
  1024, 820, 655, 526, 423, 335, 272, 215, 172, 137,
  110, 87, 70, 56, 45, 36, 29, 23, 18, 15,
] as const
export const NICE_0_WEIGHT = 1024

export function weightOf(task: Task): number {
  return WEIGHTS[task.nice + 20]
}

/** calc_delta_fair(): what `cycles` of running are in virtual time. */
function virtualTime(cycles: number, task: Task): number {
  return cycles * NICE_0_WEIGHT / weightOf(task)
}

/** update_curr(): charges the running task for what it ran until `now`. */
export function updateCurr(k: KernelState, cpu: KernelCpu, now: number): void {
  const { current } = cpu
  if (current.isIdle || now <= current.execStart) return
  current.vruntime += virtualTime(now - current.execStart, current)
  current.execStart = now
  let least = current.vruntime
  for (const task of cpu.runQueue) least = Math.min(least, task.vruntime)
  cpu.minVruntime = Math.max(cpu.minVruntime, least)
  if (k.config.kernel.era === 'linux-4.6') return
  // update_deadline(): a slice that is used up is followed by the next.
  if (current.vruntime >= current.deadline) setDeadline(k, current)
}

/** dequeue_entity() of a task that goes to sleep or to another CPU: remembers how far it was from the average. */
export function leaveQueue(k: KernelState, cpu: KernelCpu, task: Task): void {
  const most = virtualTime(2 * k.config.kernel.timeSliceCycles, task)
  task.vlag = Math.max(-most, Math.min(most, averageVruntime(cpu, task) - task.vruntime))
}

export type JoinReason = 'wakeup' | 'migrate' | 'new'

/** place_entity(): where a task stands in the queue of `cpu` that it joins. It was on `task.cpu` before. */
export function joinQueue(k: KernelState, cpu: KernelCpu, task: Task, reason: JoinReason): void {
  const slice = k.config.kernel.timeSliceCycles
  if (k.config.kernel.era === 'linux-4.6') {
    const from = k.cpus[task.cpu]
    if (from !== cpu) task.vruntime += cpu.minVruntime - from.minVruntime
    if (reason === 'new') task.vruntime = cpu.minVruntime + virtualTime(slice, task)
    // GENTLE_FAIR_SLEEPERS: half of sched_latency at most.
    if (reason === 'wakeup') task.vruntime = Math.max(task.vruntime, cpu.minVruntime - slice)
    return
  }
  const load = loadOf(cpu)
  // Joining moves the average towards the task: what it had is kept after that.
  const lag = reason === 'new' || load === 0 ? 0 : task.vlag * (load + weightOf(task)) / load
  task.vruntime = averageVruntime(cpu) - lag
  setDeadline(k, task)
  if (reason === 'new') task.deadline -= virtualTime(slice, task) / 2
}

/** pick_next_entity() and pick_eevdf(): the place in the queue of the task that runs next; -1 when it is empty. */
export function pickNext(k: KernelState, cpu: KernelCpu): number {
  const queue = cpu.runQueue
  const near = k.config.kernel.timeSliceCycles / 8
  if (queue.length < 2) return queue.length - 1
  if (k.config.kernel.era === 'linux-4.6') return firstWithin(queue, task => task.vruntime, near)
  const limit = queue.reduce((sum, task) => sum + weightOf(task) * task.vruntime, 0)
    / queue.reduce((sum, task) => sum + weightOf(task), 0) + near
  return firstWithin(queue, task => task.vruntime <= limit ? task.deadline : Infinity, near)
}

/** sched_yield(): 4.6 passes over the task once, 6.x forfeits the rest of its slice. */
export function yieldTask(k: KernelState, task: Task): void {
  if (k.config.kernel.era === 'linux-4.6') return
  task.vruntime = Math.max(task.vruntime, task.deadline)
  setDeadline(k, task)
}

/** sched_slice(): how long the task that starts to run may do so while others wait. */
export function sliceCycles(k: KernelState, cpu: KernelCpu, task: Task): number {
  const slice = k.config.kernel.timeSliceCycles
  if (k.config.kernel.era !== 'linux-4.6' || cpu.runQueue.length === 0) return slice
  const weight = weightOf(task)
  let load = weight
  for (const other of cpu.runQueue) load += weightOf(other)
  const share = Math.floor(slice * (cpu.runQueue.length + 1) * weight / load)
  // sched_min_granularity is a quarter of it.
  return Math.max(1, Math.ceil(slice / 4), share)
}

/** check_preempt_wakeup(): must the running task of `cpu` give way to `woken`, which has joined the queue? */
export function preempts(k: KernelState, cpu: KernelCpu, woken: Task, now: number): boolean {
  if (k.config.kernel.era !== 'linux-4.6' || cpu.current.isIdle || cpu.switchingTo !== undefined) return false
  updateCurr(k, cpu, now)
  const granularity = virtualTime(k.config.kernel.timeSliceCycles / 3, woken)
  return cpu.current.vruntime - woken.vruntime > granularity
}

/** The weights of all that run on a CPU or wait for it. */
export function loadOf(cpu: KernelCpu): number {
  const { running } = cpu
  let load = running.isIdle ? 0 : weightOf(running)
  for (const task of cpu.runQueue) load += weightOf(task)
  return load
}

function setDeadline(k: KernelState, task: Task): void {
  task.deadline = task.vruntime + virtualTime(k.config.kernel.timeSliceCycles, task)
}

/** avg_vruntime() of those that run or wait, and of `extra`, if it is not among them any more. */
function averageVruntime(cpu: KernelCpu, extra?: Task): number {
  const { running } = cpu
  let load = 0
  let sum = 0
  const add = (task: Task): void => {
    load += weightOf(task)
    sum += weightOf(task) * task.vruntime
  }
  if (!running.isIdle) add(running)
  for (const task of cpu.runQueue) add(task)
  if (extra !== undefined && extra !== running && !cpu.runQueue.includes(extra)) add(extra)
  return load === 0 ? cpu.minVruntime : sum / load
}

/** The first in the queue whose value is not more than `near` above the least. */
function firstWithin(queue: readonly Task[], value: (task: Task) => number, near: number): number {
  let least = Infinity
  for (const task of queue) least = Math.min(least, value(task))
  return queue.findIndex(task => value(task) <= least + near)
}
