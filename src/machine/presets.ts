// Machines to start from: six columns of prices, each with its TLBs, and for every price where
// it comes from. `source`: measured by somebody, the key is in docs/cost-model.md; `derived`:
// computed from such numbers, the note says how; `assumed`: ours, to be fitted and then frozen.
//
// Simplified, for every machine: 44 physical address bits where servers have 46 to 52 (frame
// numbers have 32 bits here); CPUs are cores (smt.ts); prices do not depend on load. Every target of an
// interrupt takes a command of its own, where x2APIC clusters of up to 16 CPUs would share one:
// ipiSend was fitted per target, whatever the measured machines wrote.

import type { MachineConfig } from './config.js'
import type { Costs } from './costs.js'
import { DERIVED_MACHINES } from './derived-presets.js'
import type { CostOrigin, DerivedMachine, MachineName } from './derived-presets.js'
import { TLB_PRESETS } from './tlb-presets.js'

export { TLB_PRESETS } from './tlb-presets.js'

export type { CostOrigin } from './derived-presets.js'

export interface CostSource {
  unit: 'cycles' | 'GHz' | 'lines'
  origin: CostOrigin
  note: string
}

export type MachinePreset = Omit<MachineConfig, 'preset'>

/** One price of all machines, in the order of `MACHINES`, and where it comes from. */
type CostRow = readonly [values: number | readonly number[], origin: CostOrigin, note: string]

const MACHINES: readonly MachineName[] = ['ivb-laptop', 'hsw-2s', 'skl-2s', '8s-120c', 'milan', 'zen5-vm']

const COSTS: Record<keyof Costs, CostRow> = {
  frequencyGhz: [[2.6, 2.4, 2.3, 2.4, 2.45, 2.6], 'source', 'HANSEN, LATR, LUTO; the rest from specification sheets'],
  access: [1, 'assumed', 'an access that hits is hidden by the pipeline: one cycle'],
  stlbHit: [[7, 9, 9, 9, 7, 8], 'source', 'PMU, C&C'],
  walkStep: [[11, 9, 9, 9, 9, 9], 'derived', 'HANSEN: 45 cycles a walk of about four steps; others assumed'],
  setAccessedDirty: [20, 'assumed', 'a locked read-modify-write of a cached line'],
  syscall: [[150, 150, 150, 150, 400, 290], 'assumed', 'entry and exit without page-table isolation'],
  pageFault: [[1200, 1200, 1200, 1200, 4000, 2000], 'assumed', 'from memory [m:m]: 0.5 us on bare metal'],
  zeroPage: [[300, 250, 200, 250, 600, 600], 'assumed', 'one 4 KiB page, cached'],
  copyPage: [[450, 375, 300, 375, 900, 900], 'derived', '1.5 times zeroPage: reads as well as writes'],
  pageRead: [[25000, 25000, 25000, 25000, 25000, 60000], 'assumed', 'one page from a fast disk, about 10 us'],
  pageWrite: [[25000, 25000, 25000, 25000, 25000, 60000], 'assumed', 'as pageRead'],
  swapRead: [[4000, 3600, 3500, 3600, 3700, 6000], 'assumed', 'zram: decompressing a page, about 1.5 us'],
  swapWrite: [[10400, 9600, 9200, 9600, 9800, 16000], 'assumed', 'zram: compressing a page, about 4 us'],
  ptePerPage: [[100, 100, 100, 100, 100, 210], 'assumed', 'half of what was measured in the guest'],
  freePage: [[200, 200, 200, 200, 600, 380], 'assumed', 'half of what was measured in the guest'],
  vmaOperation: [[400, 400, 400, 400, 1000, 800], 'assumed', 'half of what was derived for the guest'],
  munmapExtra: [[3000, 3000, 3000, 3000, 3000, 3500], 'assumed', 'scaled from the guest'],
  invlpg: [[249, 225, 200, 225, 110, 124], 'source', 'INGO-B: slope of 1 to 4 pages, Intel 225, AMD 93'],
  fullFlush: [[152, 152, 150, 152, 250, 730], 'source', 'INGO-B, cache hot'],
  fullFlushGlobal: [[936, 936, 900, 936, 600, 900], 'source', 'INGO-B, cache hot'],
  cr3NoFlush: [[110, 110, 110, 110, 180, 500], 'derived', 'RUSTOSDEV: 25 % below a flushing load'],
  flushSetup: [[700, 700, 700, 900, 700, 700], 'derived', 'HANSEN: 1276 less tracer 335 less one invlpg 225'],
  ipiPrepare: [300, 'assumed', 'call-function descriptors and the mask'],
  ipiSend: [[150, 300, 200, 600, 250, 20000], 'derived', 'fitted to LATR with ackTransfer: 0.28 us a target'],
  ipiWire: [[700, 900, 900, 1000, 900, 4000], 'derived', 'IPIBENCH: 1.24 us from call to handler'],
  ipiWireHop: [[0, 600, 600, 1500, 500, 0], 'derived', 'LATR: 2.7 us across two sockets, 6.6 across eight'],
  irqEntry: [[800, 800, 800, 800, 800, 2000], 'assumed', 'BARRELFISH [m:m]: about 800 cycles of trap'],
  irqExit: [[200, 200, 200, 200, 200, 500], 'assumed', 'end of interrupt and IRET'],
  handler: [[150, 150, 150, 150, 1400, 300], 'assumed', 'call-function queue and flush function'],
  ackTransfer: [[60, 100, 80, 100, 90, 150], 'derived', 'one cache line, fitted to LATR with ipiSend'],
  ackTransferRemote: [[60, 600, 400, 1100, 400, 150], 'derived', 'one cache line across sockets, fitted to LATR'],
  lineTransfer: [[0, 192, 0, 0, 460, 0], 'assumed', '0: lines are not modelled, the prices of calls contain them'],
  lineTransferRemote: [[0, 600, 0, 0, 765, 0], 'assumed', '0: as lineTransfer'],
  icrExitXapic: [4950, 'derived', 'KVM-IPIV: 6059 less wire and entry'],
  icrExitX2apic: [3250, 'derived', 'KVM-IPIV: 4338 less wire and entry'],
  icrVirtualXapic: [3600, 'derived', 'KVM-IPIV: 4713 less wire and entry'],
  icrVirtualX2apic: [2550, 'derived', 'KVM-IPIV: 3645 less wire and entry'],
  idleExit: [[2000, 2000, 2000, 2000, 2000, 20000], 'assumed', 'leaving C1, about 1 us; in a guest, the host wakes it'],
  idleExitDeep: [
    [208000, 319000, 306000, 211000, 245000, 260000], 'assumed',
    'leaving C6, from memory: intel_idle lists 80 to 133 us; others 100 us'],
  hypercall: [[1200, 1200, 1000, 1200, 900, 1500], 'assumed', 'from memory [m:l]: half a microsecond, exit and entry'],
  invlpgb: [100, 'assumed', 'published-costs [m:l]: hundreds of cycles at most, no published number'],
  tlbsync: [[1500, 1800, 1700, 1800, 1850, 2600], 'assumed', 'published-costs [m:l]: 0.5 to 1.5 us over one socket'],
  lazyStateSave: [[340, 320, 300, 320, 320, 340], 'assumed', 'LATR, from memory [m:m]: 132 ns'],
  lazyStateSweep: [[410, 380, 360, 380, 390, 410], 'assumed', 'LATR, from memory [m:m]: 158 ns'],
  contextSwitch: [[1000, 1000, 1000, 1000, 1000, 2000], 'assumed', 'LUTO: 1.2 us a switch with its system calls'],
  wakeUp: [[600, 600, 600, 800, 600, 1200], 'assumed', 'run-queue lock, enqueue, preemption check'],
  lock: [[40, 40, 40, 60, 40, 40], 'assumed', 'two locked operations on a line that is owned'],
  forkBase: [[20000, 20000, 20000, 20000, 20000, 40000], 'assumed', 'task and mm structures without the page tables'],
  ldtLoad: [100, 'assumed', 'a GDT write and LLDT, which is microcoded'],
  privateLines: [
    [4096, 4096, 16_384, 0, 0, 0], 'source', 'processor manuals: L2 of a core, 256 KiB; Skylake server 1 MiB'],
  lastLevelLines: [[49_152, 491_520, 630_784, 0, 0, 0], 'source', 'specification sheets: 3, 30 and 38.5 MB'],
  lastLevelRead: [[26, 47, 51, 0, 0, 0], 'derived', 'latency less the 4 cycles of L1'],
  memoryRead: [[164, 228, 203, 0, 0, 0], 'derived', 'latency less the 4 cycles of L1'],
  storeDrain: [200, 'assumed', 'a store that misses to memory, with others before it in the buffer'],
}

/** Caches of a machine that is not modelled with them. */
const NO_CACHES: Readonly<Record<'privateLines' | 'lastLevelLines' | 'lastLevelRead' | 'memoryRead',
  readonly [CostOrigin, string]>> = {
  privateLines: ['assumed', '0: caches are not modelled; no measurement of them was read for this machine'],
  lastLevelLines: ['assumed', '0: as privateLines'],
  lastLevelRead: ['assumed', '0: as privateLines'],
  memoryRead: ['assumed', '0: as privateLines'],
}

/** Where one machine knows better than the row. */
const OVERRIDES: Partial<Record<MachineName, Partial<Record<keyof Costs, readonly [CostOrigin, string]>>>> = {
  'ivb-laptop': {
    invlpg: ['derived', 'HANSEN: slope of the flush call over 1 to 33 pages on this machine'],
    ipiWireHop: ['assumed', 'one socket: never charged'],
    ackTransferRemote: ['assumed', 'one socket: never charged'],
    cr3NoFlush: ['assumed', 'as Haswell; the measured kernel used no PCID'],
    lastLevelRead: ['derived', '7CPU: L3 of Ivy Bridge 30 cycles, less the 4 of L1'],
    memoryRead: ['assumed', '7CPU, from memory [m:h]: 30 cycles and 53 ns, less the 4 cycles of L1'],
  },
  'hsw-2s': {
    lineTransfer: ['assumed', '80 ns'],
    lineTransferRemote: ['assumed', 'as ackTransferRemote'],
    lastLevelRead: [
      'derived', 'MOLKA [m:h]: E5-2680 v3, 21.2 ns less 1.6 of L1; ANANDTECH [v]: Broadwell-EP, 38 to 51 cycles'],
    memoryRead: ['derived', 'MOLKA [m:h]: 96.4 ns less 1.6 of L1; ANANDTECH [v]: Broadwell-EP, 95 ns'],
  },
  'skl-2s': {
    walkStep: ['derived', 'LUTO: 20 cycles a page and switch, two steps and more'],
    lastLevelRead: ['derived', 'ANANDTECH: L3 of a Xeon Platinum 8176 54 to 56 cycles, less the 4 of L1'],
    memoryRead: ['derived', 'ANANDTECH: memory of a Xeon Platinum 8176 89 to 91 ns, less the 4 cycles of L1'],
  },
  '8s-120c': NO_CACHES,
  'milan': {
    ...NO_CACHES,
    invlpg: ['assumed', 'between INGO-B (93, an old AMD) and the Zen 5 guest'],
    fullFlush: ['assumed', 'between INGO-B (127, an old AMD) and the Zen 5 guest'],
    fullFlushGlobal: ['source', 'INGO-B: 589 on an old AMD'],
    syscall: ['derived', 'INVLPGB: part of a loop of 3.2 us, mitigations on'],
    pageFault: ['derived', 'INVLPGB: part of a loop of 3.2 us, mitigations on'],
    zeroPage: ['derived', 'INVLPGB: part of a loop of 3.2 us'],
    freePage: ['derived', 'INVLPGB: part of a loop of 3.2 us'],
    vmaOperation: ['derived', 'INVLPGB: part of a loop of 3.2 us'],
    ipiSend: ['assumed', 'as skl-2s'],
    handler: ['derived', 'INVLPGB: 1.25 us a target and loop; lines of csd, request and acknowledgement'],
    lineTransfer: ['derived', 'INVLPGB: 1.3 million rounds a second at most, with 4 writes of mmap_lock in each'],
    lineTransferRemote: ['derived', 'INVLPGB: the fall from 36 to 72 threads'],
  },
  'zen5-vm': {
    ...NO_CACHES,
    syscall: ['source', 'our measurement: getppid'],
    pageFault: ['derived', 'our measurement: 3150 less zeroing and entry setting'],
    zeroPage: ['assumed', 'part of the measured fault'],
    ptePerPage: ['derived', 'our measurement: mprotect slope of the full flush, pages 34 to 64'],
    freePage: ['derived', 'our measurement: madvise slope 717 less 210 less 124'],
    vmaOperation: ['derived', 'our measurement: mprotect intercept 1790 less system call 290 less flushSetup 700'],
    munmapExtra: ['derived', 'our measurement: munmap less madvise, one page'],
    invlpg: ['derived', 'our measurement: slopes 334 less 210'],
    fullFlush: ['derived', 'our measurement: intercepts 2521 less 1790'],
    fullFlushGlobal: ['assumed', 'fullFlush and a quarter'],
    cr3NoFlush: ['derived', 'RUSTOSDEV ratio on the measured full flush'],
    ipiSend: ['derived', 'our measurement: 10 to 13 us a remote CPU, an exit to the host'],
    ipiWire: ['assumed', 'part of the measured 10 to 13 us'],
    ipiWireHop: ['assumed', 'one socket: never charged'],
    ackTransfer: ['assumed', 'part of the measured 10 to 13 us'],
    ackTransferRemote: ['assumed', 'one socket: never charged'],
  },
}

const COST_NAMES = Object.keys(COSTS) as (keyof Costs)[]

function costsOf(machine: MachineName): Costs {
  const column = MACHINES.indexOf(machine)
  const entries = COST_NAMES.map((name) => {
    const values = COSTS[name][0]
    return [name, typeof values === 'number' ? values : values[column]!] as const
  })
  return Object.fromEntries(entries) as unknown as Costs
}

interface MachineShape {
  sockets: number
  tlb: string
  vendor?: 'amd'
  maxPhysAddrBits?: number
}

const MEBIBYTE = 2 ** 20

function machineOf(name: MachineName, shape: MachineShape): MachinePreset {
  return {
    cpus: Math.max(4, shape.sockets),
    sockets: shape.sockets,
    geometry: 'x86-64',
    memoryBytes: 256 * MEBIBYTE,
    maxPhysAddrBits: shape.maxPhysAddrBits ?? 44,
    vendor: shape.vendor ?? 'intel',
    invpcid: shape.tlb !== 'ivybridge',
    // ipiSend was fitted to measurements per target: a write for each of them is what it stands for.
    apic: 'x2apic-physical',
    ipiShorthand: false,
    tlb: TLB_PRESETS[shape.tlb]!,
    costs: costsOf(name),
  }
}

const BASE_PRESETS: Record<MachineName, MachinePreset> = {
  /** Core i5-3320M: Linux 3.15's per-page flush measurements. */
  'ivb-laptop': machineOf('ivb-laptop', { sockets: 1, tlb: 'ivybridge', maxPhysAddrBits: 36 }),
  /** Two sockets of Haswell. */
  'hsw-2s': machineOf('hsw-2s', { sockets: 2, tlb: 'haswell' }),
  /** Skylake: the PCID measurements. */
  'skl-2s': machineOf('skl-2s', { sockets: 2, tlb: 'skylake' }),
  /** Eight sockets of 15 Ivy Bridge cores. */
  '8s-120c': machineOf('8s-120c', { sockets: 8, tlb: 'ivybridge' }),
  /** AMD Milan (Zen 3), the INVLPGB measurements. */
  'milan': machineOf('milan', { sockets: 2, tlb: 'zen3', vendor: 'amd' }),
  /** A guest on Zen 5 without interrupt virtualisation: an IPI costs an exit. */
  'zen5-vm': machineOf('zen5-vm', { sockets: 1, tlb: 'zen5', vendor: 'amd' }),
}

/** All machines: the columns above, and those that differ from one of them in a few prices. */
export const MACHINE_PRESETS: Record<string, MachinePreset> = {
  ...BASE_PRESETS,
  ...Object.fromEntries(Object.entries(DERIVED_MACHINES).map(([name, derived]) => [name, derivedPreset(derived)])),
}

/** For every preset and price: unit, origin and note, as reports print them. */
export const COST_SOURCES: Record<string, Record<keyof Costs, CostSource>> = Object.fromEntries([
  ...MACHINES.map((machine) => [machine, sourcesOf(machine)] as const),
  ...Object.entries(DERIVED_MACHINES).map(([name, derived]) => [name, derivedSources(derived)] as const),
])

/** What each machine is, in a line. */
export const MACHINE_NOTES: Readonly<Record<string, string>> = {
  'ivb-laptop': 'Core i5-3320M (Ivy Bridge), 2 cores: the per-page flush measurements of Linux 3.15 (HANSEN)',
  'hsw-2s': 'two sockets of Haswell: munmap against cores (LATR), concurrent flushes (AMIT-V3)',
  'skl-2s': 'two sockets of Skylake: the default machine',
  '8s-120c': 'eight sockets of 15 Ivy Bridge cores: munmap against cores (LATR)',
  'milan': 'AMD Milan (Zen 3), 36 cores, 72 threads: broadcast against interrupts (INVLPGB)',
  'zen5-vm': 'a KVM guest on Zen 5 without interrupt virtualisation, measured by us',
  ...Object.fromEntries(Object.entries(DERIVED_MACHINES).map(([name, { what }]) => [name, what])),
}

function derivedPreset({ from, shape, tlb, prices }: DerivedMachine): MachinePreset {
  const base = BASE_PRESETS[from]
  const changed = Object.entries(prices).map(([price, [value]]) => [price, value] as const)
  return {
    ...base, ...shape, cpus: Math.max(4, shape?.sockets ?? base.sockets),
    tlb: tlb === undefined ? base.tlb : TLB_PRESETS[tlb]!, costs: { ...base.costs, ...Object.fromEntries(changed) },
  }
}

function derivedSources({ from, prices }: DerivedMachine): Record<keyof Costs, CostSource> {
  const base = sourcesOf(from)
  return Object.fromEntries(COST_NAMES.map((name) => {
    const own = prices[name]
    return [name, own === undefined ? base[name] : { unit: base[name].unit, origin: own[1], note: own[2] }]
  })) as Record<keyof Costs, CostSource>
}

function sourcesOf(machine: MachineName): Record<keyof Costs, CostSource> {
  const entries = COST_NAMES.map((name) => {
    const [, rowOrigin, rowNote] = COSTS[name]
    const [origin, note] = OVERRIDES[machine]?.[name] ?? [rowOrigin, rowNote]
    const source: CostSource = { unit: unitOf(name), origin, note }
    return [name, source] as const
  })
  return Object.fromEntries(entries) as Record<keyof Costs, CostSource>
}

/** What a field of `Costs` is counted in. */
export function unitOf(name: keyof Costs): CostSource['unit'] {
  if (name === 'frequencyGhz') return 'GHz'
  return name === 'privateLines' || name === 'lastLevelLines' ? 'lines' : 'cycles'
}
