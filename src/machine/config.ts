// A simulated machine: how many CPUs, which page-table geometry, how much memory, which TLBs
// and what everything costs. Presets are in presets.ts; the meaning of prices in costs.ts.

import type { Costs } from './costs.js'

export const GEOMETRY_NAMES = ['x86-64', 'x86-64-la57', 'i386', 'i386-pae', 'granule-16k'] as const
export type GeometryName = (typeof GEOMETRY_NAMES)[number]

/** Modes of the local APIC, by the destinations that one interrupt command can have. */
export const APIC_MODES = ['x2apic-cluster', 'x2apic-physical', 'xapic-flat'] as const
export type ApicMode = (typeof APIC_MODES)[number]

/** What a write of the interrupt command register is: to hardware, an exit to the host below, or virtualised. */
export const ICR_MODES = ['native', 'exit', 'virtualized'] as const
export type IcrMode = (typeof ICR_MODES)[number]

/** One set-associative array. `sets = entries / ways` need not be a power of two. */
export interface TlbArrayConfig {
  entries: number
  ways: number
}

/**
 * One TLB level. Every page size is cached in the array named for it; sizes that name the same
 * array share it (each indexed by its own page number); a size without an array is not cached
 * at this level.
 */
export interface TlbLevelConfig {
  arrays: readonly TlbArrayConfig[]
  /** Index into `arrays` for 4 KiB (base) pages, or -1. */
  base: number
  /** For 2 MiB (or 4 MiB) pages, or -1. */
  large: number
  /** For 1 GiB pages, or -1. */
  giant: number
}

export interface TlbConfig {
  l1i: TlbLevelConfig
  l1d: TlbLevelConfig
  stlb: TlbLevelConfig
  /** Fully associative paging-structure caches, entries by the level of the entry that is cached; 0 disables. */
  pagingCache: { pgd: number; p4d: number; pud: number; pmd: number }
}

/** How the host of a virtual machine shares its CPUs out: a virtual CPU runs, then it is away, in turns. */
export interface HostConfig {
  /** Mean length of a turn, cycles; at least 1. */
  runCycles: number
  /** Mean time until the next one, cycles; at least 1. */
  awayCycles: number
}

export interface MachineConfig {
  preset: string
  cpus: number
  /** CPUs are numbered socket by socket: socket = floor(cpu / (cpus / sockets)). */
  sockets: number
  geometry: GeometryName
  /** Physical memory, bytes; a multiple of 4 MiB, at most 8 GiB. */
  memoryBytes: number
  /** MAXPHYADDR: bits at and above it are reserved in entries. 32..44. */
  maxPhysAddrBits: number
  vendor: 'intel' | 'amd'
  /** It has the INVPCID instruction (Haswell and later, Zen 3 and later). */
  invpcid: boolean
  /** How many CPUs one write of the interrupt command register can reach (kernel/smp/apic.ts). */
  apic: ApicMode
  /** An interrupt for everybody else is one write with the shorthand "all but self". */
  ipiShorthand: boolean
  /** Of a guest: who sends its interrupts. Default: native, and ipiSend is the price whatever is below. */
  icr?: IcrMode
  /** Sigma of log-normal noise on what kernels do, percent (kernel/noise.ts). Default: everything takes its price. */
  noisePercent?: number
  tlb: TlbConfig
  costs: Costs
  /** An overcommitted host below; without it every CPU runs all the time. */
  host?: HostConfig
}
