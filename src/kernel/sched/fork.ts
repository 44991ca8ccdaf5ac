// Making tasks: a new mm (mm_alloc), fork with copy-on-write (dup_mmap), threads (clone) and children
// that borrow the address space until they have one of their own (vfork). Ending them: exit.ts.

import { entryPfn, PAGE_ACCESSED, PAGE_DIRTY, PAGE_RW } from '../../machine/entry.js'
import { LEVEL_PTE } from '../../machine/geometry.js'
import { EVENT } from '../../trace/events.js'
import { ERRNO } from '../abi.js'
import { CpuMask } from '../cpumask.js'
import type { KernelCpu } from '../cpu.js'
import { linkChildArea, needsCopy } from '../pages/file-areas.js'
import { hugePteAlloc } from '../huge/hugetlb.js'
import { newFrame } from '../kernel-op.js'
import type { KernelOp } from '../kernel-op.js'
import { PAGE_SPECIAL, parksDirty, SAVED_DIRTY_HI } from '../mm/leaf.js'
import { copyLdt } from '../mm/ldt.js'
import { Lock } from '../locking/lock.js'
import { RwSem } from '../locking/rwsem.js'
import { trimPeriodCycles } from '../tlb/flush-request.js'
import { exitMmap } from '../mm/mmap.js'
import { migrationStarts } from '../pages/migration-entries.js'
import type { Mm } from '../mm/mm.js'
import { mmdrop } from '../mm/mm.js'
import {
  $slot, allocPgd, allocTable, allocTableFrame, forEachLeaf, freePgd, pagesPerEntry, pagesPerHugePage, preallocatePmds,
  setEntry,
} from '../mm/pgtable.js'
import { makeRoom } from '../pages/page-alloc.js'
import { retFromFork, sleepOn, wakeUpNew } from './sched.js'
import { pageAddRmap } from '../pages/rmap.js'
import { rootOrder } from '../tlb/pti.js'
import { depositTable, freeTableFrame } from '../huge/split-huge.js'
import { SharedLine } from '../smp/cache-line.js'
import type { KernelState } from '../state.js'
import { emit } from '../state.js'
import { clearSwapExclusive, isMigrationEntry, isSwapPte, SWP_MIGRATION_READ, swapValue,
  withMigrationType } from '../reclaim/swap-entry.js'
import { swapDuplicate } from '../reclaim/swap.js'
import { Task } from './task.js'
import { maxThreads } from './thread-group.js'
import type { ThreadGroup } from './thread-group.js'
import { FLUSH_ALL } from '../tlb/tlb-policy.js'
import { VmaList } from '../mm/vma.js'
import type { Vma } from '../mm/vma.js'

/** mm_alloc(): an empty address space with one user; undefined: out of memory or of mm slots. */
export function newMm(k: KernelState, cpu: KernelCpu): Mm | undefined {
  const slot = k.freeMmSlots.pop()
  if (slot === undefined) return undefined
  const pgdPfn = allocPgd(k, cpu)
  const mm = pgdPfn < 0 ? undefined : makeMm(k, () => k, slot, k.nextCtxId++, pgdPfn)
  if (mm !== undefined) mm.tablePages = 1 << rootOrder(k)
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
export function makeMm(k: Pick<KernelState, 'costs' | 'config'>, kernel: () => KernelState,
  slot: number, ctxId: number, pgdPfn: number): Mm {
  return {
    ctxId, slot, pgdPfn, mmUsers: 1, mmCount: 1, mmCpumask: new CpuMask(k.config.machine.cpus), tlbGen: 0, batchGen: 0,
    batchPending: 0, batchFlushed: 0,
    nextTrimCycle: 0, vmas: new VmaList(), unlinking: [],
    mmapLock: new RwSem(`mmap_lock of mm ${ctxId}`, k.costs.lock, kernel), pageTableLocks: new Map(),
    depositedTables: new Map(), sharesTablesWith: new Set(), gathersPending: 0, rssPages: 0, swapPages: 0,
    tablePages: 1, isFreed: false,
    countLine: new SharedLine(), tlbGenLine: new SharedLine(), cpumaskLine: new SharedLine(),
    ldt: undefined, ldtLock: new Lock(`LDT lock of mm ${ctxId}`, k.costs.lock),
  }
}

/** A task that will start its program from the beginning when it is first scheduled. */
export function newTask(k: KernelState, options: {
  comm: string; mm: Mm | undefined; cpus: readonly number[]; program: number
  /** The process of a new thread, or that of the parent of a new process. */
  group?: ThreadGroup; parent?: ThreadGroup
  /** Runs in kernel mode instead of a program in user mode. */
  kernelMain?: (task: Task) => KernelOp
}): Task {
  const task = new Task({ ...options, pid: k.nextPid++, isIdle: false })
  task.commId = k.trace.intern(task.comm)
  if (task.mm === undefined) task.activeMm = undefined
  task.kernelStack = [newFrame(retFromFork(k, task), 0)]
  if (options.kernelMain !== undefined) task.kernelStack.unshift(newFrame(options.kernelMain(task), 0))
  k.tasks.push(task)
  k.threads += 1
  if (!task.isKernelThread) k.liveTasks += 1
  return task
}

/** What a new task runs, and where. */
export interface ChildSpec {
  comm: string
  program: number
  cpus: readonly number[]
}

/**
 * fork(): a child with a copy-on-write copy of the address space. Its pid, or a negative error number: EAGAIN when
 * there are as many tasks as may be, ENOMEM without memory, EINTR when the caller was killed meanwhile.
 */
export function* fork(
  k: KernelState, cpu: KernelCpu, parent: Task, parentMm: Mm, child: ChildSpec,
): KernelOp<number> {
  yield k.costs.forkBase
  if (k.threads >= maxThreads(k)) return -ERRNO.EAGAIN
  yield* makeRoom(k, cpu, k.geometry.levels.length)
  const mm = newMm(k, cpu)
  if (mm === undefined) return -ERRNO.ENOMEM
  const copied = copyLdt(k, cpu, parentMm, mm) && (yield* dupMmap(k, cpu, parentMm, mm))
  if (!copied || parent.killedBy !== undefined) {
    mm.mmUsers = 0
    yield* exitMmap(k, cpu, mm)
    mmdrop(k, cpu, mm)
    return parent.killedBy === undefined ? -ERRNO.ENOMEM : -ERRNO.EINTR
  }
  k.platform.copyAreas(parentMm, mm)
  return startChild(k, cpu, parent, { ...child, mm, parent: parent.group }).pid
}

/** clone(CLONE_VM | CLONE_THREAD): one more thread of the process. */
export function* cloneThread(
  k: KernelState, cpu: KernelCpu, parent: Task, mm: Mm, child: ChildSpec,
): KernelOp<number> {
  const task = yield* startSharing(k, cpu, parent, { ...child, mm, group: parent.group })
  return typeof task === 'number' ? task : task.pid
}

/** vfork(): a process in the address space of its parent, which sleeps until mmRelease() of the child (exit.ts). */
export function* vfork(
  k: KernelState, cpu: KernelCpu, parent: Task, mm: Mm, child: ChildSpec,
): KernelOp<number> {
  const task = yield* startSharing(k, cpu, parent, { ...child, mm, parent: parent.group })
  if (typeof task === 'number') return task
  task.vforkParent = parent
  const { pid } = task
  let here = cpu
  while (task.vforkParent === parent && parent.killedBy === undefined) {
    here = yield* sleepOn(k, here, `${task.comm} to exec or exit`, 'killable')
  }
  if (task.vforkParent === parent) task.vforkParent = undefined
  return pid
}

/** CLONE_VM: a task that uses the address space of its parent, or the error. */
function* startSharing(
  k: KernelState, cpu: KernelCpu, parent: Task, options: Parameters<typeof newTask>[1] & { mm: Mm },
): KernelOp<Task | number> {
  yield k.costs.forkBase
  if (k.threads >= maxThreads(k)) return -ERRNO.EAGAIN
  // A thread that came after the signal would outlive its process.
  if (parent.killedBy !== undefined) return -ERRNO.EINTR
  options.mm.mmUsers += 1
  return startChild(k, cpu, parent, options)
}

function startChild(k: KernelState, cpu: KernelCpu, parent: Task, options: Parameters<typeof newTask>[1]): Task {
  const task = newTask(k, options)
  task.cpu = parent.cpu
  emit(k, cpu, EVENT.schedProcessFork, task.commId, task.pid)
  wakeUpNew(k, cpu, task)
  return task
}

/** dup_mmap(): areas and present entries, write-protected on both sides; one flush of the parent at the end. */
function* dupMmap(k: KernelState, cpu: KernelCpu, from: Mm, to: Mm): KernelOp<boolean> {
  if (!(yield* from.mmapLock.acquireKillable(cpu, true))) return false
  let entries = 0
  let isComplete = true
  for (const vma of from.vmas.areas) {
    yield* linkChildArea(k, cpu, to, vma)
    if (!needsCopy(k, from, vma)) continue
    if (!(yield* makeRoom(k, cpu, tablesFor(k, from, vma)))) isComplete = false
    forEachLeaf(k, from, vma.vmStart, vma.vmEnd, (vpn, level, pfn, slot, lo, hi) => {
      if (!isComplete) return
      const isThp = level !== LEVEL_PTE && !vma.huge
      const deposit = isThp ? allocTableFrame(k, cpu) : -1
      if ((isThp && deposit < 0) || !allocFor(k, cpu, to, vma, vpn, level)) {
        if (deposit >= 0) freeTableFrame(k, cpu, deposit)
        isComplete = false
        return
      }
      if (isThp) depositTable(to, $slot.pfn, deposit)
      // The child shares the table: there is nothing to copy.
      if ($slot.pfn === pfn) return
      entries += 1
      const target = { pfn: $slot.pfn, slot: $slot.slot }
      if (isSwapPte(lo, hi)) {
        copyNonpresent(k, cpu, from, to, vma, vpn, { pfn, slot, level }, target, lo, hi)
        return
      }
      const protectedEntry = vma.shared ? { lo: lo & ~PAGE_DIRTY, hi } : writeProtect(k, lo, hi)
      const isChanged = !vma.shared && protectedEntry.lo !== lo
      if (isChanged) setEntry(k, cpu, from, pfn, slot, protectedEntry.lo, protectedEntry.hi)
      const page = entryPfn(lo, hi, k.geometry.pageShift)
      if (page !== k.zeroPagePfn && (lo & PAGE_SPECIAL) === 0) {
        k.frames.get(page)
        pageAddRmap(k, to, vpn, page, pagesPerEntry(k.geometry, level))
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
  k: KernelState, cpu: KernelCpu, from: Mm, to: Mm, vma: Vma, vpn: number,
  source: { pfn: number; slot: number; level: number }, target: { pfn: number; slot: number }, lo: number, hi: number,
): void {
  let shared = lo
  if (isMigrationEntry(lo, hi)) {
    to.rssPages += pagesPerEntry(k.geometry, source.level)
    if (!vma.shared) shared = withMigrationType(lo, SWP_MIGRATION_READ)
    migrationStarts(k, to, vpn, swapValue(lo, hi))
  } else {
    swapDuplicate(k, swapValue(lo, hi))
    to.swapPages += 1
    shared = clearSwapExclusive(lo)
  }
  if (shared !== lo) setEntry(k, cpu, from, source.pfn, source.slot, shared, hi)
  setEntry(k, cpu, to, target.pfn, target.slot, shared, hi)
}

/** How many tables the copy of an area may need. */
function tablesFor(k: KernelState, from: Mm, { vmStart, vmEnd }: Vma): number {
  const upper = k.geometry.levels.length
  return Math.min(from.tablePages, upper + Math.ceil((vmEnd - vmStart) / pagesPerHugePage(k.geometry)))
}

/** The table for the child's copy of an entry. */
function allocFor(k: KernelState, cpu: KernelCpu, to: Mm, vma: Vma, vpn: number, level: number): boolean {
  return vma.huge ? hugePteAlloc(k, cpu, to, vma, vpn) : allocTable(k, cpu, to, vpn, level)
}

/** pte_wrprotect(). */
function writeProtect(k: KernelState, lo: number, hi: number): { lo: number; hi: number } {
  if ((lo & PAGE_RW) === 0) return { lo, hi }
  const parks = parksDirty(k) && (lo & PAGE_DIRTY) !== 0
  return parks ? { lo: lo & ~(PAGE_RW | PAGE_DIRTY), hi: hi | SAVED_DIRTY_HI } : { lo: lo & ~PAGE_RW, hi }
}
