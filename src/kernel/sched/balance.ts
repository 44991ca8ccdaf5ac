// Placing and moving tasks between CPUs (kernel/sched/fair.c). CPUs of a socket share a last-level cache.
//
//   wake-up          the CPU it ran on if that is idle, else an idle one of the same socket
//                    (select_idle_sibling), else where it ran
//   fork             the idlest CPU, those of the parent's socket first (find_idlest_cpu)
//   going idle       takes a waiting task from the longest queue (newidle_balance)
//   end of a slice   a CPU on which tasks wait gives one to an idle CPU (nohz_balancer_kick), or to
//                    one that has at least two fewer (load_balance)
//
// A task that ran less than a sixth of a slice ago (sysctl_sched_migration_cost, 0.5 ms) is still in
// its CPU's caches and is not moved.
//
// Simplified: tasks are counted, not loads over time; wake_affine() is left out, so a waker never
// draws a task into its own socket; the busy CPU pushes at the ends of its slices where in Linux
// the other one pulls at its ticks; avg_idle never keeps a CPU from looking for work.

import type { KernelCpu } from '../cpu.js'
import type { KernelState } from '../state.js'
import type { Task } from './task.js'

/** select_task_rq() of a wake-up. */
export function selectForWakeup(k: KernelState, task: Task): number {
  const prev = task.cpu
  if (task.migrationDisabled > 0) return prev
  if (!task.mayRunOn(prev)) return idlest(k, task)
  if (isFree(k.cpus[prev])) return prev
  return idleSibling(k, task, prev) ?? prev
}

/** select_task_rq() of a new task, and wherever a task must leave its CPU. */
export function idlest(k: KernelState, task: Task): number {
  if (task.mayRunOn(task.cpu) && isFree(k.cpus[task.cpu])) return task.cpu
  const { socket } = k.cpus[task.cpu]
  const free = task.cpus.filter(id => isFree(k.cpus[id]))
  const near = free.find(id => k.cpus[id].socket === socket) ?? free[0]
  if (near !== undefined) return near
  let best = task.mayRunOn(task.cpu) ? task.cpu : task.cpus[0]
  for (const id of task.cpus) if (runnable(k.cpus[id]) < runnable(k.cpus[best])) best = id
  return best
}

/** newidle_balance(): a task that waits elsewhere and may come to `cpu`, which has nothing to do. */
export function pullForIdle(k: KernelState, cpu: KernelCpu): Task | undefined {
  const sources = k.cpus.filter(from => from !== cpu && from.runQueue.length > 0)
    .sort((a, b) => distance(a, cpu) - distance(b, cpu) || b.runQueue.length - a.runQueue.length || a.id - b.id)
  for (const from of sources) {
    const task = from.runQueue.find(each => mayMove(k, each, from, cpu, cpu.now))
    if (task !== undefined) return task
  }
  return undefined
}

/** At the end of a slice of `cpu`: a task that waits there and the CPU that it should go to. */
export function pushForBalance(k: KernelState, cpu: KernelCpu): { task: Task; to: KernelCpu } | undefined {
  const own = runnable(cpu)
  const targets = k.cpus.filter(to => isFree(to) || own - runnable(to) >= 2)
    .sort((a, b) => runnable(a) - runnable(b) || distance(a, cpu) - distance(b, cpu) || a.id - b.id)
  for (const to of targets) {
    const task = cpu.runQueue.find(each => mayMove(k, each, cpu, to, cpu.now))
    if (task !== undefined) return { task, to }
  }
  return undefined
}

/** can_migrate_task(). */
function mayMove(k: KernelState, task: Task, from: KernelCpu, to: KernelCpu, now: number): boolean {
  if (task.migrationDisabled > 0 || !task.mayRunOn(to.id) || from.current === task) return false
  return now - task.lastRan >= k.config.kernel.timeSliceCycles / 6
}

/** select_idle_cpu(): an idle CPU of the same socket as `near`, from there on and around. */
function idleSibling(k: KernelState, task: Task, near: number): number | undefined {
  const { socket } = k.cpus[near]
  const after = task.cpus.filter(id => k.cpus[id].socket === socket && isFree(k.cpus[id]))
  return after.find(id => id > near) ?? after[0]
}

function isFree(cpu: KernelCpu): boolean {
  return cpu.running.isIdle && cpu.runQueue.length === 0
}

/** rq->nr_running. */
function runnable(cpu: KernelCpu): number {
  return cpu.runQueue.length + (cpu.running.isIdle ? 0 : 1)
}

function distance(a: KernelCpu, b: KernelCpu): number {
  return Math.abs(a.socket - b.socket)
}
