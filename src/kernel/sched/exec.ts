// execve() (fs/exec.c): a process gets a new, empty address space and a new program.
//
//   1. mm_alloc        the new mm; until here execve can fail and nothing has happened
//   2. de_thread       the other threads are killed; when they are gone this one is the leader
//   3. exec_mmap       with interrupts off: active_mm and mm are the new one, then its root is loaded.
//                      An interrupt in between would find an active mm that is not loaded
//   4. mmput           one user of the old mm fewer; the last one tears it down from here, with the
//                      new one loaded: the flush is that of a foreign mm
//
// Simplified: the new image has no areas of its own (no stack, no text), and no file is read.

import { EVENT } from '../../trace/events.js'
import { ERRNO } from '../abi.js'
import type { KernelCpu } from '../cpu.js'
import { mmput, mmRelease } from './exit.js'
import { newMm } from './fork.js'
import type { KernelOp } from '../kernel-op.js'
import { switchLdt } from '../mm/ldt.js'
import type { Mm } from '../mm/mm.js'
import { sleepOn } from './sched.js'
import { killGroup } from './signal.js'
import type { KernelState } from '../state.js'
import { emit } from '../state.js'
import type { Task } from './task.js'
import { REG_PROGRAM } from './task.js'
import { becomeLeader } from './thread-group.js'

/** execve(): 0 on the way into the new program, or a negative error number and nothing has changed. */
export function* execve(
  k: KernelState, cpu: KernelCpu, task: Task, oldMm: Mm, image: { comm: string; program: number },
): KernelOp<number> {
  yield k.costs.forkBase
  const mm = newMm(k, cpu)
  if (mm === undefined) return -ERRNO.ENOMEM
  k.platform.clearAreas(mm)
  const here = yield* deThread(k, cpu, task)
  if (here === undefined) {
    const now = k.cpus[task.cpu]
    yield* mmput(k, now, mm)
    return -ERRNO.EAGAIN
  }
  yield* execMmap(k, here, task, oldMm, mm)
  // Simplified: de_thread() changes the pid before the old mm is torn down; here the trace's event goes with it.
  const oldPid = task.pid
  becomeLeader(k, task)
  task.comm = image.comm
  task.commId = k.trace.intern(image.comm)
  startProgram(k, here, task, image.program)
  emit(k, here, EVENT.schedProcessExec, task.commId, oldPid)
  return 0
}

/** de_thread(): this is the only thread when it returns. Undefined: another thread was faster, or a signal came. */
function* deThread(k: KernelState, cpu: KernelCpu, task: Task): KernelOp<KernelCpu | undefined> {
  const { group } = task
  if (task.killedBy !== undefined || group.execTask !== undefined) return undefined
  if (group.threads.length === 1) return cpu
  group.execTask = task
  killGroup(k, cpu, group, 'exited', task)
  let here = cpu
  while (group.threads.length > 1 && task.killedBy === undefined) {
    here = yield* sleepOn(k, here, 'the other threads to exit', 'killable')
  }
  group.execTask = undefined
  return task.killedBy === undefined ? here : undefined
}

/** exec_mmap(). */
function* execMmap(k: KernelState, cpu: KernelCpu, task: Task, oldMm: Mm, mm: Mm): KernelOp {
  mmRelease(k, cpu, task)
  cpu.irqsOff += 1
  task.oldMm = oldMm
  task.activeMm = mm
  task.mm = mm
  yield* k.policy.switchMm(k, cpu, oldMm, mm, task)
  yield* switchLdt(k, cpu, oldMm, mm)
  cpu.irqsOff -= 1
  task.oldMm = undefined
  yield* mmput(k, cpu, oldMm)
}

/** start_thread(): the registers of a program that has not begun. */
function startProgram(k: KernelState, cpu: KernelCpu, task: Task, program: number): void {
  task.regs.fill(0)
  task.regs[REG_PROGRAM] = program
  task.position = 0
  k.platform.loadRegs(cpu, task)
}
