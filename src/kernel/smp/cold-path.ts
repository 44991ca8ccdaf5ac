// What a program leaves of the kernel in the caches. An interrupt that comes while a CPU spins finds its stack, its
// per-CPU variables and its descriptor tables in the first level; one that comes after a walk over gigabytes finds
// them in the last-level cache or in memory, and waits for each of them. irqEntry and handler are the prices of the
// first; this is what the second costs more.
//
// How much is gone is the reload transient of D. Thiebaut and H. Stone, "Footprints in the Cache" (ACM TOCS, 1987), in
// its simplest form: of a path of `n` lines, a program that has touched `d` others since the path last ran has pushed
// out n * min(d, size) / size. `d` is counted in page walks, which the cores count anyway: each stands for one line of
// a page that was not in use, and never for more lines than there are pages. That is a lower bound for a program that
// uses more of its pages than a line.
//
// The path, counted in the disassembly of a kernel with its symbols (Debian's 6.1.176 for clouds, x86-64) for a call
// function interrupt out of user mode that flushes the TLB, as pairs of lines, because a processor fetches the other
// line of a pair of 128 bytes along (Intel's optimisation manual: the spatial prefetcher):
//
//   IDT, GDT, TSS                                                                    3
//   entry stack (176 bytes), task stack (168 of pt_regs and 170 of frames)           5
//   per-CPU: cpu_number, __preempt_count, current_task, irq_stat, runqueue's curr    5
//   task_struct: flags, kstack_offset, FPU state                                     3
//   apic, its driver, __per_cpu_offset                                               3
//   page-table lines of the pages among these that are mapped small (IDT; GDT, TSS
//   and entry stack; task stack): 3 of pte, 2 of pmd, 2 of pud, 1 of pgd             8
//                                                                                   27   of every interrupt
//   cpu_tlbstate, cpu_tlbstate_shared, __cpu_online_mask                             3   of the call and the flush
//
// Not among them are the four lines that the sender wrote (queue, record, request, mm): they come from its cache
// however warm the target is, and are in `handler` and lineTransfer.
//
// Simplified: only data. Programs here have no text of their own that could push the kernel's out of an L1I, and what
// an inclusive last level takes with it is left out. Lines are fetched one after the other, lie evenly over all sets,
// and are pushed out by this CPU's walks alone, not by those of its neighbours. System calls and faults
// find everything warm.

import { assert } from '../../base/assert.js'
import type { KernelCpu } from '../cpu.js'
import type { KernelState } from '../state.js'

export const INTERRUPT_PAIRS = 27
export const CALL_FUNCTION_PAIRS = 3

/** Cycles that the interrupt which begins on `cpu` now takes beyond a warm one. The next finds what this one left. */
export function coldPathCycles(k: KernelState, cpu: KernelCpu, isCall: boolean): number {
  const { privateLines, lastLevelLines, lastLevelRead, memoryRead } = k.costs
  if (privateLines === 0) return 0
  const walks = k.platform.walks(cpu.id)
  const pagesInUse = k.counters.pagesAllocated - k.counters.pagesFreed
  assert(pagesInUse >= 0, 'more pages freed than allocated')
  const touched = Math.min(walks - cpu.walksAtInterrupt, pagesInUse)
  cpu.walksAtInterrupt = walks
  const path = isCall ? INTERRUPT_PAIRS + CALL_FUNCTION_PAIRS : INTERRUPT_PAIRS
  const gone = pushedOut(path, touched, privateLines)
  const fromMemory = Math.min(gone, pushedOut(path, touched, lastLevelLines))
  k.counters.coldLines += gone
  return (gone - fromMemory) * lastLevelRead + fromMemory * memoryRead
}

/** How many of `path` lines are no longer in a cache of `size` after `touched` others. */
function pushedOut(path: number, touched: number, size: number): number {
  return touched >= size ? path : Math.floor(path * touched / size)
}
