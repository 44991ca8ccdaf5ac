// The kernel's state in one record, and what it needs from the engine below it. Functions of the
// kernel take this record as their first argument `k`. There are no threads in here: whoever
// holds the record is the only one who runs the kernel.

import type { Geometry } from '../machine/geometry.js'
import type { Mmu } from '../machine/mmu.js'
import type { PhysMem } from '../machine/phys-mem.js'
import type { Costs } from '../machine/costs.js'
import { packFlags } from '../trace/flags.js'
import type { TraceRecorder } from '../trace/recorder.js'
import type { ProgramImage, SourceLine } from './abi.js'
import type { BugName } from './bugs.js'
import type { SimulationConfig } from './config.js'
import type { KernelCounter } from './counters.js'
import type { KernelCpu } from './cpu.js'
import type { DeferredFree } from './pages/deferred-free.js'
import type { Frames } from './pages/frames.js'
import type { SharedTable } from './huge/hugetlb.js'
import type { Khugepaged } from './huge/khugepaged.js'
import type { KernelLayout } from './mm/layout.js'
import type { MailboxWords } from './smp/mailbox.js'
import type { Migration } from './pages/migration-entries.js'
import type { Mm } from './mm/mm.js'
import type { KernelObserver } from './observer.js'
import type { PageCache } from './pages/page-cache.js'
import type { Kswapd } from './reclaim/kswapd.js'
import type { Lru } from './pages/lru.js'
import type { Watermarks } from './pages/page-alloc.js'
import type { PageLocks } from './locking/page-lock.js'
import type { Noise } from './noise.js'
import type { Perturber } from './perturbation.js'
import type { Rmap } from './pages/rmap.js'
import type { ScheduleState } from './sched/sched-script.js'
import type { BufferedStore } from './smp/store-buffer.js'
import type { SwapArea } from './reclaim/swap.js'
import type { Task } from './sched/task.js'
import type { TlbPolicy } from './tlb/tlb-policy.js'
import type { Vmalloc } from './mm/vmalloc.js'
import type { Unflushed } from './reclaim/unflushed.js'
import type { UnmapBatch } from './reclaim/unmap-batch.js'

/** What the kernel asks of the CPU cores and of the engine that orders them. */
export interface Platform {
  readonly mem: PhysMem
  mmu(cpu: number): Mmu
  /** Page walks that the core of a CPU has completed so far. */
  walks(cpu: number): number
  /**
   * Page tables, areas or flags that programs of `mm` can see are about to change at the present
   * cycle of `cpu`: every core that runs `mm` in user mode must stand exactly there.
   */
  beforeSharedWrite(cpu: KernelCpu, mm: Mm): void
  /** The TLB or the clock of `target` is about to be changed from `cpu`: its core must stand exactly there. */
  beforeTlbWrite(cpu: KernelCpu, target: KernelCpu): void
  /** `target`, which is in user mode and stands, does nothing for `cycles`. */
  delayUser(target: KernelCpu, cycles: number): void
  /** The same for cores that poll flags. */
  beforeFlagWrite(cpu: KernelCpu): void
  /** The next interrupt of `target` comes at `cycle` (Infinity: none known). */
  interruptAt(target: KernelCpu, cycle: number): void
  /** Takes the registers of a core into the task, or gives them to the core. */
  saveRegs(cpu: KernelCpu, task: Task): void
  loadRegs(cpu: KernelCpu, task: Task): void
  /** The running task continues its program in user mode at the CPU's present cycle. */
  enterUser(cpu: KernelCpu): void
  /** Defines an area of an address space: first page and length in base pages (0: undefined). */
  setArea(mm: Mm, area: number, startVpn: number, pages: number): void
  areaStart(mm: Mm, area: number): number
  areaPages(mm: Mm, area: number): number
  copyAreas(from: Mm, to: Mm): void
  clearAreas(mm: Mm): void
  raiseFlag(flag: number): void
  isFlagRaised(flag: number): boolean
  /** Where a CPU's mailbox lies in shared memory. */
  mailbox(cpu: number): MailboxWords
}

/** A fact inside a program that did not hold: a load with another value, a call with another result. */
export interface ProgramFailure {
  source: SourceLine
  text: string
}

/** A barrier between tasks. */
export interface Barrier {
  name: string
  tasks: number
  arrived: Task[]
}

export interface KernelState {
  readonly config: SimulationConfig
  readonly costs: Costs
  readonly geometry: Geometry
  readonly layout: KernelLayout
  readonly image: ProgramImage
  readonly platform: Platform
  readonly mem: PhysMem
  readonly frames: Frames
  readonly trace: TraceRecorder
  readonly counters: Record<KernelCounter, number>
  readonly policy: TlbPolicy
  readonly initMm: Mm
  /** swapper_pg_dir: pages per huge page, first kernel slot and the like are in pgtable.ts. */
  readonly cpus: KernelCpu[]
  /** Those whose next step must be looked up again (KernelCpu.retime). */
  readonly retimed: KernelCpu[]
  readonly tasks: Task[]
  readonly mms: Map<number, Mm>
  readonly freeMmSlots: number[]
  /** Who maps which user frame. */
  readonly rmap: Rmap
  /** Files and the frames that hold their pages. */
  readonly pageCache: PageCache
  /** Frames that are locked, and pages that are not in memory. */
  readonly pageLocks: PageLocks
  readonly swap: SwapArea
  /** Pages on their way to other frames. */
  readonly migration: Migration
  /** Kernel buffers. */
  readonly vmalloc: Vmalloc
  /** What reclaim looks at, when, and who does it in the background. */
  readonly lru: Lru
  readonly watermarks: Watermarks
  readonly kswapd: Kswapd
  /** Batches of reclaimers that are not flushed yet. */
  readonly openBatches: Set<UnmapBatch>
  /** Transparent huge pages of which only a part is mapped (the deferred split queue), by first frame. */
  readonly deferredSplits: Set<number>
  readonly khugepaged: Khugepaged
  /** Page tables of hugetlb ranges that several address spaces may use, by frame. */
  readonly sharedTables: Map<number, SharedTable>
  readonly barriers: Barrier[]
  /** Set when the image says who runs where and when. */
  schedule: ScheduleState | undefined
  /** The shared page of zeroes. */
  zeroPagePfn: number
  nextPid: number
  nextCtxId: number
  /** User tasks that have not exited. */
  liveTasks: number
  /** nr_threads: tasks that have not been released, kernel threads and zombies included, idle tasks not. */
  threads: number
  readonly bugs: ReadonlySet<BugName>
  /** Stores that other CPUs do not see yet; empty without bugs. */
  readonly storeBuffer: BufferedStore[]
  readonly speculation: { steps: number }
  /** Frames that reclaim freed and has not flushed. */
  readonly unflushed: Unflushed[]
  /** Frames and tables that the policy keeps until it has flushed. */
  readonly deferredFrees: DeferredFree[]
  /** Undefined: everything takes what it costs. */
  readonly perturber: Perturber | undefined
  readonly noise: Noise | undefined
  /** Freed page tables that a lockless walker may still read, and the CPUs that they wait for. */
  readonly rcuTables: { readonly pfn: number; readonly waitFor: Set<number> }[]
  /** Thread group of each process of the image. */
  readonly processTgids: number[]
  /** Set while checks are on. */
  observer: KernelObserver | undefined
  /** Expectations inside programs that did not hold, in words. */
  readonly failures: ProgramFailure[]
}

/** Records an event of `cpu` at its present cycle, with the flags and task that it has now. */
export function emit(
  k: KernelState, cpu: KernelCpu, kind: number, a = 0, b = 0, c = 0, d = 0, e = 0, f = 0,
): void {
  if (!k.trace.enabled) return
  const flags = packFlags(cpu.irqsOff > 0, cpu.needResched, cpu.inInterrupt, cpu.preemptCount)
  const task = cpu.current
  k.trace.record(kind, cpu.now, cpu.id, task.pid, task.commId, flags, a, b, c, d, e, f)
}

/** Upper half of the address of page `vpn`. */
export function vpnHi(k: KernelState, vpn: number): number {
  return Math.floor(vpn / k.geometry.pagesPerHi) | 0
}

/** Lower half of the address of page `vpn`. */
export function vpnLo(k: KernelState, vpn: number): number {
  return (vpn % k.geometry.pagesPerHi) << k.geometry.pageShift
}

/** Page number of the address (hi, lo). */
export function vpnOf(k: KernelState, hi: number, lo: number): number {
  return (hi >>> 0) * k.geometry.pagesPerHi + ((lo >>> 0) >>> k.geometry.pageShift)
}
