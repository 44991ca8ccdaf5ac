// Fatal signals (kernel/signal.c): every thread of a process is told to die. A thread in user mode is
// interrupted, one that sleeps is woken if its sleep may be cut short; each dies on its way back to
// user mode, never in the middle of what it does in the kernel: it keeps no lock and has no flush
// under way by then.

import { EVENT } from '../../trace/events.js'
import type { KernelCpu } from '../cpu.js'
import { smpSendReschedule } from '../smp/ipi.js'
import { wakeUp } from './sched.js'
import type { KernelState } from '../state.js'
import { emit } from '../state.js'
import type { Task, TaskOutcome } from './task.js'
import type { ThreadGroup } from './thread-group.js'

const SIGKILL = 9

/** zap_other_threads(), and complete_signal() of a fatal signal: all threads of `group` but `except` must die. */
export function killGroup(
  k: KernelState, cpu: KernelCpu, group: ThreadGroup, outcome: TaskOutcome, except?: Task,
): void {
  for (const task of group.threads) {
    if (task === except || task.outcome !== 'running' || task.killedBy !== undefined) continue
    task.killedBy = outcome
    signalWakeUp(k, cpu, task)
  }
}

/** kill(SIGKILL). Kernel threads ignore all signals. */
export function sendSigkill(k: KernelState, cpu: KernelCpu, target: Task): void {
  emit(k, cpu, EVENT.signalGenerate, SIGKILL, target.commId, target.pid)
  if (!target.isKernelThread) killGroup(k, cpu, target.group, 'SIGKILL')
}

/** signal_wake_up(): a sleep in state D goes on unless it is killable. */
function signalWakeUp(k: KernelState, cpu: KernelCpu, task: Task): void {
  if (task.isAsleep) {
    if (task.state === 'S' || task.isKillable) wakeUp(k, cpu, task)
    return
  }
  // kick_process()
  const target = k.cpus[task.cpu]
  if (target.current === task && target !== cpu) smpSendReschedule(k, cpu, target)
}
