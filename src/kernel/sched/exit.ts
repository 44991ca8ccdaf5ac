// Ending tasks (kernel/exit.c): a task gives back its address space, tells its process and its parent,
// and switches away for ever. Fatal signals end all threads of a process that way.

import { EVENT } from '../../trace/events.js'
import type { KernelCpu } from '../cpu.js'
import type { KernelOp } from '../kernel-op.js'
import { stopKhugepaged } from '../huge/khugepaged.js'
import { exitMmap } from '../mm/mmap.js'
import type { Mm } from '../mm/mm.js'
import { becomeBorrower, mmdropLast } from '../mm/mm.js'
import { schedule, wakeUp } from './sched.js'
import { killGroup } from './signal.js'
import type { KernelState } from '../state.js'
import { emit } from '../state.js'
import type { Task, TaskOutcome } from './task.js'
import { leaveGroup } from './thread-group.js'

/** do_exit(): never returns; the last thing is a switch to another task. */
export function* doExit(k: KernelState, cpu: KernelCpu, outcome: TaskOutcome): KernelOp {
  const task = cpu.current
  task.outcome = outcome
  task.group.live -= 1
  emit(k, cpu, EVENT.schedProcessExit, task.group.live === 0 ? 1 : 0)
  yield k.costs.forkBase
  if (task.mm !== undefined) yield* exitMm(k, cpu, task, task.mm)
  if (!task.isKernelThread && --k.liveTasks === 0) stopKhugepaged(k, cpu)
  exitNotify(k, cpu, task)
  task.state = 'Z'
  yield* schedule(k, cpu)
}

/** A fatal signal of the running task's own making: the thread group dies; this task at once. */
export function* forceSignal(
  k: KernelState, cpu: KernelCpu, name: TaskOutcome, hi: number, lo: number,
): KernelOp {
  const task = cpu.current
  if (task.killedBy !== undefined) {
    // Another thread of the group was faster: this one is dying already.
    yield* doExit(k, cpu, task.killedBy)
    return
  }
  emit(k, cpu, EVENT.signal, k.trace.intern(name), hi, lo)
  if (name === 'SIGSEGV') k.counters.sigsegv += 1
  if (name === 'SIGBUS') k.counters.sigbus += 1
  if (name === 'SIGKILL') k.counters.oomKills += 1
  killGroup(k, cpu, task.group, name, task)
  yield* doExit(k, cpu, name)
}

/** mm_release(): the task is about to give its address space up; a parent in vfork() goes on. */
export function mmRelease(k: KernelState, cpu: KernelCpu, task: Task): void {
  const parent = task.vforkParent
  task.vforkParent = undefined
  if (parent !== undefined) wakeUp(k, cpu, parent)
}

/** mmput(): one user fewer. The last one tears the mappings down, here and now. */
export function* mmput(k: KernelState, cpu: KernelCpu, mm: Mm): KernelOp {
  mm.mmUsers -= 1
  if (mm.mmUsers > 0) return
  yield* exitMmap(k, cpu, mm)
  yield* mmdropLast(k, cpu, mm)
}

/** exit_mm(): the task becomes a kernel thread that borrows its old mm until it is switched away. */
function* exitMm(k: KernelState, cpu: KernelCpu, task: Task, mm: Mm): KernelOp {
  mmRelease(k, cpu, task)
  cpu.irqsOff += 1
  task.mm = undefined
  mm.mmUsers -= 1
  const isLast = mm.mmUsers === 0
  yield* becomeBorrower(k, cpu, task, mm)
  cpu.irqsOff -= 1
  if (!isLast) return
  yield* exitMmap(k, cpu, mm)
  yield* mmdropLast(k, cpu, mm)
}

/** exit_notify(): who waits for this thread to be gone, or for the whole process. */
function exitNotify(k: KernelState, cpu: KernelCpu, task: Task): void {
  const { group } = task
  const { parent } = group
  const isDead = leaveGroup(k, task)
  if (group.execTask !== undefined && group.threads.length === 1) wakeUp(k, cpu, group.execTask)
  if (!isDead || parent === undefined || parent.liveChildren > 0) return
  for (const waiter of parent.waiters.splice(0)) wakeUp(k, cpu, waiter)
}
