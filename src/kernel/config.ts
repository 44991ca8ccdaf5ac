// What a run is configured with, in the words of the machine and of the kernel. The scenario
// layer fills it in from a file and presets; every field is set, so nothing below has defaults.

import type { MachineConfig } from '../machine/config.js'
import type { BugName } from './bugs.js'
import type { PerturbationConfig } from './perturbation.js'

export const KERNEL_ERAS = ['linux-4.6', 'linux-6.x'] as const
export type KernelEra = (typeof KERNEL_ERAS)[number]

export const THP_MODES = ['always', 'madvise', 'never'] as const
export type ThpMode = (typeof THP_MODES)[number]

/** How the set of CPUs that a flush of an mm considers is kept (tlb/mm-cpumask.ts). */
export const MASK_FORMS = ['eager', 'lazy', 'trimmed', 'per-cpu'] as const
export type MaskForm = (typeof MASK_FORMS)[number]

/** Address spaces that may exist at once; fork gives ENOMEM beyond. */
export const MM_SLOTS = 1024

/** /sys/kernel/mm/transparent_hugepage/khugepaged. */
export interface KhugepagedConfig {
  /** Between two scans. */
  scanSleepCycles: number
  /** Entries looked at in one scan. */
  pagesToScan: number
  /** Entries of a range that may be empty. */
  maxPtesNone: number
}

export interface KernelConfig {
  era: KernelEra
  /** Who is interrupted for a flush and what lazy CPUs do: a name of policies.ts that runs on this era. */
  policy: string
  /** tlb_single_page_flush_ceiling, pages. Linux: 33. */
  flushCeilingPages: number
  /** Pages of freed kernel buffers that may wait for their flush; undefined: as many as lazy_max_pages() says. */
  vmapLazyPages?: number
  /** Use PCID (6.x only; 4.6 never does). */
  pcid: boolean
  /** Page-table isolation: user mode runs under PCIDs of its own (6.x). */
  pti: boolean
  /** Does the initiator of a flush work while its targets do, or before they are interrupted (6.x before 5.13)? */
  remoteFlush: 'concurrent' | 'serial'
  /** When a CPU's bit in mm_cpumask is cleared; Linux 6.14 and later: trimmed. 4.6 is always eager. */
  mmCpumask: MaskForm
  /** Responders acknowledge a flush before they do it, unless page tables are freed (6.x; not in Linux). */
  earlyAck: boolean
  /** Reclaim flushes every page that it unmaps by itself, as before 4.3. Default: a batch at a time. */
  flushEachUnmap?: boolean
  /** Cycles a task may run while others wait on its CPU. */
  timeSliceCycles: number
  /** Idle CPUs poll need_resched instead of halting (idle=poll). */
  idlePoll: boolean
  /** Halted CPUs go to a deep state that loses what their TLBs hold (C6); they leave a borrowed mm first. */
  idleDeep: boolean
  /** Physical load offset of the kernel image, bytes, 2 MiB aligned. */
  physBase: number
  /** Size of the swap area, bytes; 0: none. */
  swapBytes: number
  /** transparent_hugepage/enabled: which anonymous areas get huge pages without asking. */
  thp: ThpMode
  /** Undefined: no khugepaged. */
  khugepaged: KhugepagedConfig | undefined
  /** Historical bugs that are put back in (bugs.ts). */
  bugs: readonly BugName[]
  /** CPUs walk mapped addresses on their own and fill TLBs and paging caches with them (speculation.ts). */
  speculation: boolean
}

/** Everything that decides a run, besides the programs. A run is a function of this and of the ProgramImage. */
export interface SimulationConfig {
  name: string
  machine: MachineConfig
  kernel: KernelConfig
  seed: number
  /** Other timing than the prices say (perturbation.ts); undefined: exactly what they say. */
  perturbation?: PerturbationConfig
}
