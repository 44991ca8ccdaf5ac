// Making and ending tasks: a new mm (mm_alloc), fork with copy-on-write (dup_mmap), exit.

import { entryPfn, PAGE_ACCESSED, PAGE_DIRTY, PAGE_RW } from '../machine/entry.js'
import { EVENT } from '../trace/events.js'
import { ERRNO } from './abi.js'
import { CpuMask } from './cpumask.js'
import type { KernelCpu } from './cpu.js'
import { linkChildArea, needsCopy } from './file-areas.js'
import { newFrame } from './kernel-op.js'
import type { KernelOp } from './kernel-op.js'
import { PAGE_SPECIAL, parksDirty, SAVED_DIRTY_HI } from './leaf.js'
import { copyLdt } from './ldt.js'
import { Lock } from './lock.js'
import { trimPeriodCycles } from './flush-request.js'
import { exitMmap } from './mmap.js'
import type { Mm } from './mm.js'
import { mmdrop, mmdropLast, mmdropLazy, mmgrabLazy } from './mm.js'
import {
  $slot, allocPgd, allocTable, forEachLeaf, freePgd, pagesPerEntry, preallocatePmds, setEntry,
} from './pgtable.js'
import { retFromFork, schedule, wakeUp, wakeUpNew } from './sched.js'
import { smpSendReschedule } from './ipi.js'
import { pageAddRmap } from './rmap.js'
import type { KernelState } from './state.js'
import { emit } from './state.js'
import { clearSwapExclusive, isMigrationEntry, isSwapPte, SWP_MIGRATION_READ, swapValue,
  withMigrationType } from './swap-entry.js'
import { swapDuplicate } from './swap.js'
import { Task } from './task.js'
import type { TaskOutcome } from './task.js'
import { FLUSH_ALL } from './tlb-policy.js'
import { VmaList } from './vma.js'
import type { Vma } from './vma.js'

/** mm_alloc(): an empty address space with one user; undefined: out of memory or of mm slots. */
export function newMm(k: KernelState, cpu: KernelCpu): Mm | undefined {
  const slot = k.freeMmSlots.pop()
  if (slot === undefined) return undefined
  const pgdPfn = allocPgd(k, cpu)
  const mm = pgdPfn < 0 ? undefined : makeMm(k, slot, k.nextCtxId++, pgdPfn)
  if (mm !== undefined) mm.nextTrimCycle = cpu.now + trimPeriodCycles(k)
  if (mm === undefined || !preallocatePmds(k, cpu, mm)) {
    if (mm !== undefined) freePgd(k, cpu, mm)
    k.freeMmSlots.push(slot)
    return undefined
  }
  k.mms.set(mm.ctxId, mm)
  return mm
}

/** The structure alone. */
export function makeMm(k: { costs: KernelState['costs']; config: KernelState['config'] },
  slot: number, ctxId: number, pgdPfn: number): Mm {
  return {
    ctxId, slot, pgdPfn, mmUsers: 1, mmCount: 1, mmCpumask: new CpuMask(k.config.machine.cpus), tlbGen: 0, batchGen: 0,
    nextTrimCycle: 0, vmas: new VmaList(), unlinking: [], mmapLock: new Lock(`mmap_lock of mm ${ctxId}`, k.costs.lock),
    pageTableLocks: new Map(), gathersPending: 0, rssPages: 0, swapPages: 0, tablePages: 1, isFreed: false,
    ldt: undefined, ldtLock: new Lock(`LDT lock of mm ${ctxId}`, k.costs.lock),
  }
}

/** A task that will start its program from the beginning when it is first scheduled. */
export function newTask(k: KernelState, options: {
  comm: string; tgid?: number; mm: Mm | undefined; cpus: readonly number[]; program: number; parent?: Task
  /** Runs in kernel mode instead of a program in user mode. */
  kernelMain?: (task: Task) => KernelOp
}): Task {
  const pid = k.nextPid++
  const task = new Task({
    pid, tgid: options.tgid ?? pid, comm: options.comm, mm: options.mm, isIdle: false, cpus: options.cpus,
    program: options.program,
  })
  task.commId = k.trace.intern(task.comm)
  if (task.mm === undefined) task.activeMm = undefined
  task.parent = options.parent
  if (options.parent !== undefined) options.parent.liveChildren += 1
  task.kernelStack = [newFrame(retFromFork(k, task), 0)]
  if (options.kernelMain !== undefined) task.kernelStack.unshift(newFrame(options.kernelMain(task), 0))
  k.tasks.push(task)
  if (!task.isKernelThread) k.liveTasks += 1
  return task
}

/** fork(): a child with a copy-on-write copy of the address space. Its pid, or a negative error number. */
export function* fork(
  k: KernelState, cpu: KernelCpu, parent: Task, parentMm: Mm,
  child: { comm: string; program: number; cpus: readonly number[] },
): KernelOp<number> {
  yield k.costs.forkBase
  const mm = newMm(k, cpu)
  if (mm === undefined) return -ERRNO.ENOMEM
  const copied = copyLdt(k, cpu, parentMm, mm) && (yield* dupMmap(k, cpu, parentMm, mm))
  if (!copied) {
    mm.mmUsers = 0
    yield* exitMmap(k, cpu, mm)
    mmdrop(k, cpu, mm)
    return -ERRNO.ENOMEM
  }
  k.platform.copyAreas(parentMm, mm)
  const task = newTask(k, { ...child, mm, parent })
  task.cpu = parent.cpu
  emit(k, cpu, EVENT.schedProcessFork, task.commId, task.pid)
  wakeUpNew(k, cpu, task)
  return task.pid
}

/** do_exit(): never returns; the last thing is a switch to another task. */
export function* doExit(k: KernelState, cpu: KernelCpu, outcome: TaskOutcome): KernelOp {
  const task = cpu.current
  task.outcome = outcome
  const isGroupDead = !k.tasks.some(other => other !== task && other.tgid === task.tgid && other.state !== 'Z')
  emit(k, cpu, EVENT.schedProcessExit, isGroupDead ? 1 : 0)
  yield k.costs.forkBase
  if (task.mm !== undefined) yield* exitMm(k, cpu, task, task.mm)
  if (!task.isKernelThread) k.liveTasks -= 1
  const { parent } = task
  if (parent !== undefined) {
    parent.liveChildren -= 1
    if (parent.isWaitingForChildren && parent.liveChildren === 0) wakeUp(k, cpu, parent)
  }
  task.state = 'Z'
  yield* schedule(k, cpu)
}

/** A fatal signal: the thread group dies; this task at once, the others on their way back to user mode. */
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
  for (const other of k.tasks) {
    if (other === task || other.tgid !== task.tgid || other.outcome !== 'running') continue
    other.killedBy = name
    if (wakeUp(k, cpu, other)) continue
    const target = k.cpus[other.cpu]
    if (target.current === other && target !== cpu) smpSendReschedule(k, cpu, target)
  }
  yield* doExit(k, cpu, name)
}

/** exit_mm(): the task becomes a kernel thread that borrows its old mm until it is switched away. */
function* exitMm(k: KernelState, cpu: KernelCpu, task: Task, mm: Mm): KernelOp {
  cpu.irqsOff += 1
  mmgrabLazy(k, mm)
  task.mm = undefined
  mm.mmUsers -= 1
  const isLast = mm.mmUsers === 0
  const borrowed = yield* k.policy.enterLazyTlb(k, cpu, mm)
  if (borrowed !== mm) {
    mmgrabLazy(k, borrowed)
    task.activeMm = borrowed
    mmdropLazy(k, cpu, mm)
  }
  cpu.irqsOff -= 1
  if (!isLast) return
  yield* exitMmap(k, cpu, mm)
  yield* mmdropLast(k, cpu, mm)
}

/** dup_mmap(): areas and present entries, write-protected on both sides; one flush of the parent at the end. */
function* dupMmap(k: KernelState, cpu: KernelCpu, from: Mm, to: Mm): KernelOp<boolean> {
  yield* from.mmapLock.acquire(cpu, true)
  let entries = 0
  let isComplete = true
  for (const vma of from.vmas.areas) {
    yield* linkChildArea(k, cpu, to, vma)
    if (!needsCopy(k, from, vma)) continue
    forEachLeaf(k, from, vma.vmStart, vma.vmEnd, (vpn, level, pfn, slot, lo, hi) => {
      if (!isComplete) return
      if (!allocTable(k, cpu, to, vpn, level)) {
        isComplete = false
        return
      }
      entries += 1
      const target = { pfn: $slot.pfn, slot: $slot.slot }
      if (isSwapPte(lo, hi)) {
        copyNonpresent(k, cpu, from, to, vma, { pfn, slot, level }, target, lo, hi)
        return
      }
      const protectedEntry = vma.shared ? { lo: lo & ~PAGE_DIRTY, hi } : writeProtect(k, lo, hi)
      const isChanged = !vma.shared && protectedEntry.lo !== lo
      if (isChanged) setEntry(k, cpu, from, pfn, slot, protectedEntry.lo, protectedEntry.hi)
      const page = entryPfn(lo, hi, k.geometry.pageShift)
      if (page !== k.zeroPagePfn && (lo & PAGE_SPECIAL) === 0) {
        k.frames.get(page)
        pageAddRmap(k, to, vpn, page)
        k.frames.anonExclusive[page] = 0
        to.rssPages += pagesPerEntry(k.geometry, level)
      }
      setEntry(k, cpu, to, target.pfn, target.slot, protectedEntry.lo & ~PAGE_ACCESSED, protectedEntry.hi)
    })
  }
  if (entries > 0) yield entries * k.costs.ptePerPage
  yield* k.policy.flushMmRange(k, cpu, from, {
    start: 0, end: FLUSH_ALL, stridePages: 1, freedTables: true, hugetlb: false,
  })
  from.mmapLock.release(cpu, true)
  return isComplete
}

/**
 * copy_nonpresent_pte(): one more entry for the slot; a page that migrates comes back read-only on both sides of a
 * private area.
 */
function copyNonpresent(
  k: KernelState, cpu: KernelCpu, from: Mm, to: Mm, vma: Vma, source: { pfn: number; slot: number; level: number },
  target: { pfn: number; slot: number }, lo: number, hi: number,
): void {
  let shared = lo
  if (isMigrationEntry(lo, hi)) {
    to.rssPages += pagesPerEntry(k.geometry, source.level)
    if (!vma.shared) shared = withMigrationType(lo, SWP_MIGRATION_READ)
  } else {
    swapDuplicate(k, swapValue(lo, hi))
    to.swapPages += 1
    shared = clearSwapExclusive(lo)
  }
  if (shared !== lo) setEntry(k, cpu, from, source.pfn, source.slot, shared, hi)
  setEntry(k, cpu, to, target.pfn, target.slot, shared, hi)
}

/** pte_wrprotect(). */
function writeProtect(k: KernelState, lo: number, hi: number): { lo: number; hi: number } {
  if ((lo & PAGE_RW) === 0) return { lo, hi }
  const parks = parksDirty(k) && (lo & PAGE_DIRTY) !== 0
  return parks ? { lo: lo & ~(PAGE_RW | PAGE_DIRTY), hi: hi | SAVED_DIRTY_HI } : { lo: lo & ~PAGE_RW, hi }
}
