// When reclaim has failed (mm/oom_kill.c): the process that holds most memory is killed, and whoever
// wanted memory waits for it to go and tries its access again.
//
//   points = resident pages + pages in swap + page tables
//
// Simplified: asked for only by faults of programs; a system call that gets no memory fails. Nobody's
// score is adjusted, and the reaper that frees a victim's memory before it has exited is left out.

import { EVENT } from '../../trace/events.js'
import type { KernelCpu } from '../cpu.js'
import { forceSignal } from '../sched/exit.js'
import type { KernelOp } from '../kernel-op.js'
import { sleepOn } from '../sched/sched.js'
import { killGroup } from '../sched/signal.js'
import type { KernelState } from '../state.js'
import { emit } from '../state.js'
import type { Task } from '../sched/task.js'

/** A fault at (hi, lo) found no memory. Returns to try again, or ends the task. */
export function* outOfMemory(k: KernelState, cpu: KernelCpu, hi: number, lo: number): KernelOp {
  const task = cpu.current
  const dying = k.tasks.some(other => other.killedBy !== undefined && other.mm !== undefined)
  if (dying && task.killedBy === undefined) {
    // oom_killer waits for its last victim before it chooses another.
    yield* scheduleTimeout(k, cpu)
    return
  }
  const victim = selectBadProcess(k) ?? task
  if (victim.tgid === task.tgid || task.killedBy !== undefined) {
    yield* forceSignal(k, cpu, 'SIGKILL', hi, lo)
    return
  }
  killProcess(k, cpu, victim)
  yield* scheduleTimeout(k, cpu)
}

/** select_bad_process(): of the process with most points; of equals 4.6 takes the oldest, 6.x the youngest. */
export function selectBadProcess(k: KernelState): Task | undefined {
  let chosen: Task | undefined
  let most = 0
  const seen = new Set<number>()
  for (const task of k.tasks) {
    if (task.isKernelThread || task.mm === undefined || seen.has(task.tgid)) continue
    seen.add(task.tgid)
    const { rssPages, swapPages, tablePages } = task.mm
    const points = rssPages + swapPages + tablePages
    if (chosen !== undefined && (k.config.kernel.era === 'linux-4.6' ? points <= most : points < most)) continue
    chosen = task
    most = points
  }
  return chosen
}

/** oom_kill_process(): every thread dies on its way back to user mode. */
function killProcess(k: KernelState, cpu: KernelCpu, victim: Task): void {
  emit(k, cpu, EVENT.oom, k.trace.intern(`killed ${victim.comm}`))
  k.counters.oomKills += 1
  killGroup(k, cpu, victim.group, 'SIGKILL')
}

/** schedule_timeout_killable(1): gives the victim the CPU. */
function* scheduleTimeout(k: KernelState, cpu: KernelCpu): KernelOp {
  const at = cpu.now + k.config.kernel.timeSliceCycles
  const index = cpu.timers.findIndex(timer => timer.at > at)
  cpu.timers.splice(index < 0 ? cpu.timers.length : index, 0, { at, task: cpu.current })
  cpu.current.isMidway = true
  yield* sleepOn(k, cpu, 'memory', 'killable')
}
