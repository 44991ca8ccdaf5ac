// System calls by which tasks make, end, wait for and wake each other, and mark the trace.

import { EVENT } from '../../trace/events.js'
import { ERRNO } from '../abi.js'
import { setCpusAllowed } from '../sched/affinity.js'
import { execve } from '../sched/exec.js'
import { doExit } from '../sched/exit.js'
import { updateCurr } from '../sched/fair.js'
import { cloneThread, fork, vfork } from '../sched/fork.js'
import type { ChildSpec } from '../sched/fork.js'
import { publishNextInterrupt } from '../smp/ipi.js'
import type { KernelOp } from '../kernel-op.js'
import { schedule, sleepOn, sleepUntilWoken, wakeSleeper, wakeUp } from '../sched/sched.js'
import { killGroup, sendSigkill } from '../sched/signal.js'
import type { KernelState } from '../state.js'
import { emit } from '../state.js'
import type { CallTable } from './syscall-call.js'
import { mmOf } from './syscall-call.js'
import type { Task } from '../sched/task.js'
import { reapChildren } from '../sched/thread-group.js'

export const TASK_CALLS: CallTable = {
  *fork(k, { cpu, task, instruction }) {
    return yield* fork(k, cpu, task, mmOf(task, 'fork'), childOf(instruction, task))
  },

  *clone(k, { cpu, task, instruction }) {
    return yield* cloneThread(k, cpu, task, mmOf(task, 'clone'), childOf(instruction, task))
  },

  *vfork(k, { cpu, task, instruction }) {
    return yield* vfork(k, cpu, task, mmOf(task, 'vfork'), childOf(instruction, task))
  },

  *execve(k, { cpu, task, instruction }) {
    return yield* execve(k, cpu, task, mmOf(task, 'execve'), instruction)
  },

  *exitGroup(k, { cpu, task }) {
    killGroup(k, cpu, task.group, 'exited', task)
    // A signal that came first says how the process ended.
    yield* doExit(k, cpu, task.killedBy ?? 'exited')
    return 0
  },

  *kill(k, { cpu, instruction }) {
    const target = findTask(k, instruction.comm)
    if (target === undefined) return -ERRNO.ESRCH
    yield k.costs.wakeUp
    sendSigkill(k, cpu, target)
    return 0
  },

  *wait(k, { task }) {
    const { group } = task
    while (group.liveChildren > 0 && task.killedBy === undefined) {
      group.waiters.push(task)
      yield* sleepOn(k, k.cpus[task.cpu], 'its children')
      const index = group.waiters.indexOf(task)
      if (index >= 0) group.waiters.splice(index, 1)
    }
    if (group.liveChildren > 0) return -ERRNO.EINTR
    reapChildren(k, group)
    return 0
  },

  *setaffinity(k, { cpu, task, instruction }) {
    const target = instruction.comm === '' ? task : findTask(k, instruction.comm)
    if (target === undefined) return -ERRNO.ESRCH
    const cpus = instruction.cpus.filter(id => id < k.cpus.length).sort((a, b) => a - b)
    if (cpus.length === 0) return -ERRNO.EINVAL
    yield k.costs.wakeUp
    yield* setCpusAllowed(k, cpu, target, cpus)
    return 0
  },

  *nice(k, { task, instruction }) {
    const target = instruction.comm === '' ? task : findTask(k, instruction.comm)
    if (target === undefined) return -ERRNO.ESRCH
    yield k.costs.wakeUp
    // reweight_task(): what it ran so far counts with its old weight.
    const on = k.cpus[target.cpu]
    if (on.current === target) updateCurr(k, on, k.cpus[task.cpu].now)
    target.nice = instruction.value
    return 0
  },

  *irqsOff(k, { cpu, instruction }) {
    cpu.irqsOff += 1
    yield instruction.cycles
    cpu.irqsOff -= 1
    publishNextInterrupt(k, cpu)
    // STI: what has arrived meanwhile is taken before the next instruction.
    yield 1
    return 0
  },

  *sleep(k, { cpu, instruction }) {
    yield* sleepUntilWoken(k, cpu, instruction.cycles > 0 ? instruction.cycles : Infinity)
    return 0
  },

  *wake(k, { cpu, instruction }) {
    const target = findTask(k, instruction.comm)
    if (target === undefined) return -ERRNO.ESRCH
    yield k.costs.wakeUp
    wakeSleeper(k, cpu, target)
    return 0
  },

  *barrier(k, { task, instruction }) {
    return yield* arriveAtBarrier(k, task, instruction.barrier)
  },

  *signal(k, { cpu, instruction }) {
    k.platform.beforeFlagWrite(cpu)
    k.platform.raiseFlag(instruction.flag)
    return 0
  },

  *mark(k, { cpu, instruction }) {
    emit(k, cpu, EVENT.tracingMarkWrite, k.trace.intern(instruction.text))
    return 0
  },

  *yield(k, { cpu }) {
    yield* schedule(k, cpu, true)
    return 0
  },
}

/** What a child runs and where: without CPUs of its own on those of its parent. */
function childOf(
  { comm, program, cpus }: { comm: string; program: number; cpus?: readonly number[] }, parent: Task,
): ChildSpec {
  const own = cpus !== undefined && cpus.length > 0
  return { comm, program, cpus: own ? [...cpus].sort((a, b) => a - b) : parent.cpus }
}

/** The first task of this name that has not exited. */
function findTask(k: KernelState, comm: string): Task | undefined {
  return k.tasks.find(task => task.comm === comm && task.state !== 'Z')
}

/** The last to arrive wakes the others and goes on. A task that is killed while it waits has arrived all the same. */
function* arriveAtBarrier(k: KernelState, task: Task, index: number): KernelOp<number> {
  const barrier = k.barriers[index]
  const cpu = k.cpus[task.cpu]
  barrier.arrived.push(task)
  if (barrier.arrived.length >= barrier.tasks) {
    for (const other of barrier.arrived.splice(0)) {
      if (other === task) continue
      yield k.costs.wakeUp
      wakeUp(k, cpu, other)
    }
    return 0
  }
  while (barrier.arrived.includes(task) && task.killedBy === undefined) {
    yield* sleepOn(k, k.cpus[task.cpu], `barrier ${barrier.name}`)
  }
  return 0
}
