// sched_setaffinity() (kernel/sched/core.c): which CPUs a task may run on. A task that runs where it
// may not any more has to go; whoever asked waits until it has.
//
//   asleep             placed at its next wake-up
//   waits for a CPU    moved to another queue at once (move_queued_task)
//   runs               told to give way; its CPU moves it when its stack is free (affine_move_task)
//
// Simplified: Linux wakes the stopper thread of the CPU (migration/N), which preempts the task and
// moves it. Here the CPU itself moves it on the way to user mode, which is when the stopper would
// get to run without kernel preemption: one context switch cheaper, and no migration/N in the trace.

import type { KernelCpu } from '../cpu.js'
import { smpSendReschedule } from '../smp/ipi.js'
import type { KernelOp } from '../kernel-op.js'
import { moveQueued, schedule, sleepOn } from './sched.js'
import type { KernelState } from '../state.js'
import type { Task } from './task.js'

/** __set_cpus_allowed_ptr(): returns when `target` runs on none but `cpus`. */
export function* setCpusAllowed(k: KernelState, cpu: KernelCpu, target: Task, cpus: readonly number[]): KernelOp {
  target.cpus = cpus
  if (target.state !== 'R' || target.mayRunOn(target.cpu)) return
  const on = k.cpus[target.cpu]
  const self = cpu.current
  if (target === self) {
    yield* schedule(k, cpu)
    return
  }
  if (on.current !== target && on.switchingTo !== target) {
    if (target.migrationDisabled === 0) moveQueued(k, cpu, target)
    return
  }
  on.needResched = true
  on.retime()
  if (on !== cpu) smpSendReschedule(k, cpu, on)
  target.affinityWaiters.push(self)
  let here = cpu
  while (target.affinityWaiters.includes(self)) {
    here = yield* sleepOn(k, here, `${target.comm} to leave its CPU`, 'uninterruptible')
  }
}
