// Kernel threads that take the address space of a process for a while (kthread_use_mm,
// use_mm in 4.6) and access its memory as copy_from_user does.
//
//            mm_users   mm_count                    task.mm   task.activeMm
//   useMm    +1 (pin)   +1, the borrowed one -1     M         M
//   unuseMm  -1         becomes the lazy reference  none      M
//
// Simplified: whoever asks a kernel thread to do this pins the mm in Linux; here useMm itself does,
// so that the process may exit meanwhile. Both eras turn interrupts off around the change, as 4.6
// did only after the fix was ported back (bug h09).

import { ACCESS_READ, ACCESS_WRITE, ERRNO } from '../abi.js'
import type { TouchInstruction } from '../abi.js'
import type { KernelCpu } from '../cpu.js'
import { handleMmFault } from './fault.js'
import { exitMmap } from './mmap.js'
import type { KernelOp } from '../kernel-op.js'
import { switchLdt } from './ldt.js'
import type { Mm } from './mm.js'
import { becomeBorrower, mmdropLast, mmdropLazy, mmgrab } from './mm.js'
import type { KernelState } from '../state.js'
import { emit, vpnHi, vpnLo } from '../state.js'
import type { Task } from '../sched/task.js'
import { hash32 } from '../../base/prng.js'
import { PAGE_FAULT, TRANSLATED } from '../../machine/mmu.js'
import { EVENT } from '../../trace/events.js'

/** kthread_use_mm(): 0, ESRCH when the process is gone, EBUSY when the thread has an mm already. */
export function* useMm(k: KernelState, cpu: KernelCpu, task: Task, mm: Mm | undefined): KernelOp<number> {
  if (task.mm !== undefined) return -ERRNO.EBUSY
  if (mm === undefined || mm.mmUsers === 0) return -ERRNO.ESRCH
  mm.mmUsers += 1
  mmgrab(mm)
  const borrowed = task.activeMm!
  const isAtomic = !k.bugs.has('h09-use-mm-with-interrupts-on')
  cpu.preemptCount += 1
  if (isAtomic) cpu.irqsOff += 1
  task.activeMm = mm
  task.mm = mm
  cpu.droppedMm = borrowed
  // task_lock() and what else stands between the two assignments and the switch.
  yield Math.max(1, k.costs.lock)
  yield* k.policy.switchMm(k, cpu, borrowed, mm, task)
  yield* switchLdt(k, cpu, borrowed, mm)
  if (isAtomic) cpu.irqsOff -= 1
  cpu.preemptCount -= 1
  cpu.droppedMm = undefined
  mmdropLazy(k, cpu, borrowed)
  return 0
}

/** kthread_unuse_mm(): the mm stays loaded, borrowed. EINVAL when the thread has none. */
export function* unuseMm(k: KernelState, cpu: KernelCpu, task: Task): KernelOp<number> {
  const { mm } = task
  if (mm === undefined) return -ERRNO.EINVAL
  cpu.irqsOff += 1
  task.mm = undefined
  // The thread's own reference becomes a borrower's; the users' one is there until the end.
  mm.mmCount -= 1
  mm.mmUsers -= 1
  const isLast = mm.mmUsers === 0
  yield* becomeBorrower(k, cpu, task, mm)
  yield Math.max(1, k.costs.lock)
  cpu.irqsOff -= 1
  if (!isLast) return 0
  yield* exitMmap(k, cpu, mm)
  yield* mmdropLast(k, cpu, mm)
  return 0
}

/** copy_from_user() and copy_to_user(), access by access, as a `touch` of a program. EFAULT where nothing is mapped. */
export function* touchUserMemory(
  k: KernelState, task: Task, instruction: TouchInstruction, base: number, pages: number,
): KernelOp<number> {
  const { mm } = task
  if (mm === undefined) return -ERRNO.EFAULT
  const { where, stride, pattern, seed } = instruction
  const pageBytes = k.geometry.pageBytes
  const length = where.bytes > 0 ? where.bytes : pages * pageBytes - where.offset
  const count = instruction.count > 0 ? instruction.count : Math.ceil(length / stride)
  const slots = Math.max(1, Math.floor(length / 8))
  for (let i = 0; i < count; i++) {
    const offset = pattern === 'random' ? (hash32(seed, i) % slots) * 8 : (i * stride) % length
    const vpn = base + Math.floor((where.offset + offset) / pageBytes)
    const done = yield* accessUserPage(k, task, mm, vpn, instruction.access === 'write')
    if (!done) return -ERRNO.EFAULT
  }
  return 0
}

/** One access with EFLAGS.AC set; a fault is handled on the spot. False: there is nothing to access. */
function* accessUserPage(k: KernelState, task: Task, mm: Mm, vpn: number, write: boolean): KernelOp<boolean> {
  for (;;) {
    const cpu = k.cpus[task.cpu]
    const mmu = k.platform.mmu(cpu.id)
    // The walk may set A and D, which programs of the mm can see.
    k.platform.beforeSharedWrite(cpu, mm)
    mmu.setAc(true)
    const status = mmu.translate(vpnHi(k, vpn), vpnLo(k, vpn), write ? ACCESS_WRITE : ACCESS_READ, false, true)
    mmu.setAc(false)
    yield Math.max(1, mmu.cycles)
    if (status === TRANSLATED) return true
    if (status !== PAGE_FAULT) return false
    emit(k, cpu, EVENT.pageFaultKernel, vpnHi(k, vpn), vpnLo(k, vpn), 0, 0, mmu.errorCode)
    k.counters.pageFaults += 1
    yield k.costs.pageFault
    const result = yield* handleMmFault(k, cpu, mm, vpn, { write, exec: false })
    if (result !== 'done') return false
  }
}

/** The mm of a process, by its place in the image; undefined when all its threads have exited. */
export function mmOfProcess(k: KernelState, process: number): Mm | undefined {
  const tgid = k.processTgids[process]
  return k.tasks.find(task => task.tgid === tgid && task.mm !== undefined)?.mm
}
