// context_switch() and finish_task_switch(): who owns which address space when a CPU goes from
// one task to the next (kernel/sched/core.c, active_mm.rst).
//
//   user -> user      switch the root (unless both share the mm)
//   user -> kernel    the kernel task borrows prev's mm: mmCount + 1, lazy TLB (or init_mm: the policy says)
//   kernel -> kernel  the borrowed mm moves on: 6.x moves the reference, 4.6 counts up and down
//   kernel -> user    the borrowed mm is given back: mmCount - 1, after the new root is loaded

import { fail } from '../../base/assert.js'
import { EVENT } from '../../trace/events.js'
import type { KernelCpu } from '../cpu.js'
import type { KernelOp } from '../kernel-op.js'
import { SWITCH_STACKS } from '../kernel-op.js'
import { switchLdt } from '../mm/ldt.js'
import { mmdropLazy, mmgrabLazy } from '../mm/mm.js'
import type { KernelState } from '../state.js'
import { emit } from '../state.js'
import type { Task } from './task.js'

/**
 * Goes to `next`, which is `cpu.switchingTo`, interrupts off. Returns on the CPU where `prev` is
 * resumed, much later, after `resumed` has seen to what is to be done there.
 */
export function* contextSwitch(
  k: KernelState, cpu: KernelCpu, prev: Task, next: Task, resumed: (here: KernelCpu) => void,
): KernelOp<KernelCpu> {
  if (k.trace.enabled) emit(k, cpu, EVENT.schedSwitch, k.trace.intern(prev.state), nameOf(k, next), next.pid)
  k.counters.contextSwitches += 1
  yield k.costs.contextSwitch
  const prevActive = prev.activeMm
  if (prevActive === undefined) fail(`${prev.comm} runs without an active mm`)
  const counts = k.policy.lazyReferences
  // The line of the count that mmgrabLazy is about to write; nothing may wait once tasks have changed owners.
  if (next.mm === undefined && (counts === 'counted' || (counts !== 'uncounted' && prev.mm !== undefined))) {
    const forCount = prevActive.countLine.write(k, cpu)
    if (forCount > 0) yield forCount
  }
  if (next.mm === undefined) {
    const borrowed = yield* k.policy.enterLazyTlb(k, cpu, prevActive)
    next.activeMm = borrowed
    if (prev.mm !== undefined) {
      mmgrabLazy(k, borrowed)
    } else if (k.policy.lazyReferences !== 'counted' && borrowed === prevActive) {
      prev.activeMm = undefined
    } else {
      mmgrabLazy(k, borrowed)
      prev.activeMm = undefined
      cpu.droppedMm = prevActive
    }
  } else {
    yield* k.policy.switchMm(k, cpu, prevActive, next.mm, next)
    yield* switchLdt(k, cpu, prevActive, next.mm)
    next.activeMm = next.mm
    if (prev.mm === undefined) {
      prev.activeMm = undefined
      cpu.droppedMm = prevActive
    }
  }
  yield SWITCH_STACKS
  // On the stack of a task that was resumed: possibly another CPU than before.
  const here = k.cpus[prev.cpu]
  finishTaskSwitch(k, here)
  resumed(here)
  return here
}

/** finish_task_switch(), on the new task's stack: drops the mm that its predecessor had borrowed. */
export function finishTaskSwitch(k: KernelState, cpu: KernelCpu): void {
  const dropped = cpu.droppedMm
  cpu.droppedMm = undefined
  if (dropped === undefined) return
  if (k.policy.lazyReferences !== 'uncounted') dropped.countLine.write(k, cpu)
  mmdropLazy(k, cpu, dropped)
}

function nameOf(k: KernelState, task: Task): number {
  return task.isIdle ? k.trace.intern(`swapper/${task.cpu}`) : task.commId
}
