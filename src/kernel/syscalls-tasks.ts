// System calls by which tasks make, wait for and wake each other, and mark the trace.

import { EVENT } from '../trace/events.js'
import { ERRNO } from './abi.js'
import { fork } from './fork.js'
import type { KernelOp } from './kernel-op.js'
import { schedule, sleepOn, sleepUntilWoken, wakeSleeper, wakeUp } from './sched.js'
import type { KernelState } from './state.js'
import { emit } from './state.js'
import type { CallTable } from './syscall-call.js'
import { mmOf } from './syscall-call.js'
import type { Task } from './task.js'

export const TASK_CALLS: CallTable = {
  *fork(k, { cpu, task, instruction }) {
    return yield* fork(k, cpu, task, mmOf(task, 'fork'), {
      comm: instruction.comm, program: instruction.program, cpus: allowedCpus(instruction.cpus, task.cpus),
    })
  },

  *wait(k, { task }) {
    while (task.liveChildren > 0 && task.killedBy === undefined) {
      task.isWaitingForChildren = true
      yield* sleepOn(k, k.cpus[task.cpu], 'its children')
      task.isWaitingForChildren = false
    }
    return 0
  },

  *sleep(k, { cpu, instruction }) {
    yield* sleepUntilWoken(k, cpu, instruction.cycles > 0 ? instruction.cycles : Infinity)
    return 0
  },

  *wake(k, { cpu, instruction }) {
    const target = k.tasks.find(other => other.comm === instruction.comm && other.state !== 'Z')
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
    yield* schedule(k, cpu)
    return 0
  },
}

/** sched_setaffinity() of a child: none given means those of the parent. */
function allowedCpus(wanted: readonly number[] | undefined, parents: readonly number[]): readonly number[] {
  return wanted === undefined || wanted.length === 0 ? parents : [...wanted].sort((a, b) => a - b)
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
