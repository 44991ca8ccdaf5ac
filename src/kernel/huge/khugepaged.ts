// khugepaged: a kernel task that now and then looks at so many entries of areas that may have huge
// pages, and collapses what it can (mm/khugepaged.c). It runs only where a scenario asks for it.
//
// Simplified: Linux scans once when the first address space may have huge pages, then in
// intervals; here the first scan comes after the first interval. It visits address spaces in the
// order of their age and remembers where it stopped by page number.

import { collapseHugePage, collapsibleArea, scanRange } from './collapse.js'
import type { KernelCpu } from '../cpu.js'
import { mayHaveThp } from './huge-memory.js'
import type { KernelOp } from '../kernel-op.js'
import type { Mm } from '../mm/mm.js'
import { pagesPerHugePage } from '../mm/pgtable.js'
import { sleepUntilWoken, wakeUp } from '../sched/sched.js'
import type { KernelState } from '../state.js'
import type { Task } from '../sched/task.js'

/** khugepaged_scan: the task and how far it got. */
export interface Khugepaged {
  task: Task | undefined
  /** The address space it works on: exit waits until it lets go of its lock. */
  mm: Mm | undefined
  /** ctxId of the address space and first page to be looked at next. */
  ctxId: number
  vpn: number
}

/** The main function of the task. Ends when no user task is left. */
export function* khugepagedMain(k: KernelState, task: Task): KernelOp {
  const { khugepaged: options } = k.config.kernel
  if (options === undefined) return
  while (k.liveTasks > 0) {
    yield* sleepUntilWoken(k, k.cpus[task.cpu], options.scanSleepCycles)
    if (k.liveTasks > 0) yield* khugepagedDoScan(k, k.cpus[task.cpu], options.pagesToScan, options.maxPtesNone)
  }
}

/** The last user task has exited. */
export function stopKhugepaged(k: KernelState, cpu: KernelCpu): void {
  const { task } = k.khugepaged
  if (task !== undefined) wakeUp(k, cpu, task)
}

/** __khugepaged_exit(): whoever tears the address space down waits for a collapse that is under way. */
export function* khugepagedExit(k: KernelState, cpu: KernelCpu, mm: Mm): KernelOp {
  if (k.khugepaged.mm !== mm) return
  yield* mm.mmapLock.acquire(cpu, true)
  mm.mmapLock.release(cpu, true)
}

/** khugepaged_do_scan(): `pages` entries, from where the last scan stopped. */
function* khugepagedDoScan(k: KernelState, cpu: KernelCpu, pages: number, maxPtesNone: number): KernelOp {
  const state = k.khugepaged
  const unit = pagesPerHugePage(k.geometry)
  for (let left = pages; left > 0; left -= unit) {
    const next = nextRange(k)
    if (next === undefined) {
      // A full scan: the next one begins with the first address space.
      state.ctxId = 0
      state.vpn = 0
      return
    }
    state.ctxId = next.mm.ctxId
    state.vpn = next.start + unit
    state.mm = next.mm
    yield* khugepagedScanRange(k, cpu, next.mm, next.start, maxPtesNone)
    state.mm = undefined
  }
}

function* khugepagedScanRange(
  k: KernelState, cpu: KernelCpu, mm: Mm, start: number, maxPtesNone: number,
): KernelOp {
  const options = { maxEmpty: maxPtesNone, isBackground: true }
  yield* mm.mmapLock.acquire(cpu, false)
  yield pagesPerHugePage(k.geometry) * k.costs.access
  const vma = mm.mmUsers > 0 ? collapsibleArea(k, mm, start) : undefined
  const result = vma === undefined || !mayHaveThp(k, vma) ? 'no area' : scanRange(k, mm, start, options)
  mm.mmapLock.release(cpu, false)
  if (result === 'succeeded') yield* collapseHugePage(k, cpu, mm, start, options)
}

/** The next aligned range, from where the last scan stopped, that lies in an area that may have huge pages. */
function nextRange(k: KernelState): { mm: Mm; start: number } | undefined {
  const { ctxId, vpn } = k.khugepaged
  const unit = pagesPerHugePage(k.geometry)
  const mms = [...k.mms.values()].filter(mm => mm.ctxId >= ctxId && mm !== k.initMm && mm.mmUsers > 0)
  for (const mm of mms.toSorted((a, b) => a.ctxId - b.ctxId)) {
    const from = mm.ctxId === ctxId ? vpn : 0
    for (const vma of mm.vmas.areas) {
      const start = Math.ceil(Math.max(from, vma.vmStart) / unit) * unit
      if (mayHaveThp(k, vma) && start + unit <= vma.vmEnd) return { mm, start }
    }
  }
  return undefined
}
