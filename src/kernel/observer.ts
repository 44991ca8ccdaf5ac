// What checks want to be told of at the moment it happens (inspect/watch.ts): facts that no look at
// the state can show afterwards, such as the order of a clear and a flush. A run without checks has
// no observer and pays one comparison at each of these places. An observer changes nothing; it may
// throw, which ends the run.

import type { KernelCpu } from './cpu.js'
import type { Mm } from './mm/mm.js'
import type { FlushTlbInfo } from './tlb/tlb-policy.js'

/** Whose story is to be told. */
export interface ChainSubject {
  cpu: number
  mm: Mm | undefined
  /** Base page number. */
  vpn: number | undefined
}

export interface KernelObserver {
  /** What led to the present state of a page or a CPU, one line an event, oldest first. */
  storyOf(subject: ChainSubject): string[]
  /** Slot `slot` of table frame `table` of `mm` is about to become (hi, lo). */
  entryWritten(cpu: KernelCpu, mm: Mm, table: number, slot: number, lo: number, hi: number): void
  /** A table of `mm` goes back to the allocator. */
  tableFreed(cpu: KernelCpu, mm: Mm, table: number): void
  /** A flush request starts; it has its generation. */
  flushBegun(cpu: KernelCpu, info: FlushTlbInfo): void
  /** It returns to who asked for it, `begin` being the cycle at which it started. */
  flushEnded(cpu: KernelCpu, info: FlushTlbInfo, begin: number): void
  /** Kernel pages [start, end) were flushed on every CPU; the request started at cycle `begin`. */
  kernelRangeFlushed(cpu: KernelCpu, start: number, end: number, begin: number): void
  /** A batch of reclaim was flushed, `begin` being when the flush started: pages that were unmapped. */
  batchFlushed(cpu: KernelCpu, pages: ReadonlyMap<Mm, ReadonlySet<number>>, begin: number): void
  /** A switch to `next` has told other CPUs that it is under way (LOADED_MM_SWITCHING). */
  switchBegun(cpu: KernelCpu, next: Mm): void
  /** CR3 was loaded for `next`; `flushed` says whether the slot was emptied (bit 63 clear). */
  slotLoaded(cpu: KernelCpu, next: Mm, asid: number, flushed: boolean): void
  /** A flush brings slot `asid` up to generation `tlbGen`; `all` when it dropped everything. */
  slotAdvanced(cpu: KernelCpu, mm: Mm, asid: number, info: FlushTlbInfo, tlbGen: number, all: boolean): void
  /** A system call that took something away in [start, end) returns to its program; it started at cycle `begin`. */
  callReturned(cpu: KernelCpu, mm: Mm, name: string, start: number, end: number, begin: number): void
  /** A software walker with interrupts off reads a table. */
  walkerReads(cpu: KernelCpu, mm: Mm, table: number): void
}
