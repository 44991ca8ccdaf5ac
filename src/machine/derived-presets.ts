// Machines that differ from a column of presets.ts in a few prices: those of published figures whose processor
// is none of the six. Every price that is not named here is that of the column, with its origin.

import type { MachineConfig } from './config.js'
import type { Costs } from './costs.js'

export type CostOrigin = 'source' | 'derived' | 'assumed'

/** The columns of presets.ts. */
export type MachineName = 'ivb-laptop' | 'hsw-2s' | 'skl-2s' | '8s-120c' | 'milan' | 'zen5-vm'

export interface DerivedMachine {
  from: MachineName
  /** What it is, in a line. */
  what: string
  shape?: Partial<Pick<MachineConfig, 'sockets' | 'vendor' | 'invpcid' | 'icr' | 'geometry' | 'maxPhysAddrBits'>>
  /** Name of a TLB preset. */
  tlb?: string
  prices: { readonly [price in keyof Costs]?: readonly [value: number, origin: CostOrigin, note: string] }
}

/** The caches of a processor that its figure does not name. */
const UNKNOWN_CACHES: DerivedMachine['prices'] = {
  privateLines: [0, 'assumed', '0: caches are not modelled; the figure does not name the processor'],
  lastLevelLines: [0, 'assumed', '0: as privateLines'],
  lastLevelRead: [0, 'assumed', '0: as privateLines'],
  memoryRead: [0, 'assumed', '0: as privateLines'],
}

export const DERIVED_MACHINES: Readonly<Record<string, DerivedMachine>> = {
  'intel-2015': {
    from: 'hsw-2s',
    what: 'the "newer 64-bit Intel" of 2015 on which INVLPG and CR3 reloads were measured (INGO-B)',
    shape: { sockets: 1 },
    prices: {
      ...UNKNOWN_CACHES,
      frequencyGhz: [3, 'assumed', 'not stated; the numbers are cycles'],
      walkStep: [2, 'derived', 'INGO-B: re-access after a CR3 load costs nothing more with every page'],
      stlbHit: [7, 'assumed', 'never a hit in this measurement'],
      invlpg: [222, 'derived', 'INGO-B: slope of 225 less one step and one access'],
      fullFlush: [143, 'derived', 'INGO-B: 152 with one page less its refill'],
      fullFlushGlobal: [936, 'source', 'INGO-B, cache hot'],
      lineTransfer: [0, 'assumed', 'one CPU: never charged'],
      lineTransferRemote: [0, 'assumed', 'one CPU: never charged'],
    },
  },
  'amd-2015': {
    from: 'milan',
    what: 'the "old 64-bit AMD" of the same measurement (INGO-B)',
    shape: { sockets: 1, invpcid: false },
    tlb: 'k8',
    prices: {
      frequencyGhz: [2.5, 'assumed', 'not stated; the numbers are cycles'],
      walkStep: [2, 'derived', 'INGO-B: re-access after a CR3 load costs nothing more with every page'],
      stlbHit: [2, 'assumed', 'never a hit in this measurement'],
      invlpg: [90, 'derived', 'INGO-B: slope of 93 less one step and one access'],
      fullFlush: [105, 'derived', 'INGO-B: 114 with one page less its refill'],
      fullFlushGlobal: [589, 'source', 'INGO-B, cache hot'],
      lineTransfer: [0, 'assumed', 'one CPU: never charged'],
      lineTransferRemote: [0, 'assumed', 'one CPU: never charged'],
    },
  },
  'skl-guest': {
    from: 'skl-2s',
    what: 'a KVM guest on a Skylake laptop: PCID and lazy TLB (LUTO)',
    shape: { sockets: 1, icr: 'exit' },
    prices: {
      ...UNKNOWN_CACHES,
      stlbHit: [2, 'derived', 'LUTO: 1.8 less 1.22 us over 512 pages in a row; C&C measured 9 in a chain'],
      walkStep: [20, 'derived', 'LUTO: 6.2 less 1.8 us over 512 walks of one step'],
      contextSwitch: [1690, 'derived', 'LUTO: 1.22 us a switch less its calls'],
      ipiWire: [300, 'assumed', 'as kvm-guest'],
      idleExit: [17_700, 'assumed', 'the host wakes it: 7.7 us, as zen5-vm'],
    },
  },
  'kvm-guest': {
    from: 'skl-2s',
    what: 'a KVM guest on Intel with 2 pinned CPUs: four ways of sending an interrupt (KVM-IPIV)',
    shape: { sockets: 1, icr: 'exit' },
    prices: {
      ...UNKNOWN_CACHES,
      ipiWire: [300, 'assumed', 'delivery to a CPU that runs; with irqEntry 1100 of every bar'],
      idleExit: [17_700, 'assumed', 'the host wakes it: 7.7 us, as zen5-vm'],
    },
  },
  'power8-16s': {
    from: '8s-120c',
    what: '16 sockets of 12 POWER8 cores: a reference-counted lazy mm (PIGGIN). Page tables are those of x86',
    shape: { sockets: 16 },
    prices: {
      frequencyGhz: [3.5, 'assumed', 'not stated'],
      lineTransfer: [1750, 'derived', 'PIGGIN: 1 million switches a second, each with two writes of mm_count'],
      lineTransferRemote: [1750, 'derived', 'as lineTransfer: what was measured is a mean over 16 sockets'],
    },
  },
  'skl-2s-104': {
    from: 'skl-2s',
    what: 'two sockets of 26 Skylake cores, 104 threads: forms of mm_cpumask (LKP)',
    prices: {
      frequencyGhz: [2.1, 'assumed', 'Platinum 8170; the report names no model'],
      lineTransfer: [99, 'derived', 'C2C: 47 ns between cores of Cascade Lake, which has the same mesh'],
      lineTransferRemote: [281, 'derived', 'C2C: 134 ns between sockets of Cascade Lake'],
    },
  },
  'genoa-2s': {
    from: 'milan',
    what: 'two sockets of 96 Zen 4 cores (EPYC 9654): no mm_cpumask (DESNOYERS). Calls cost what they do on Milan',
    tlb: 'zen4',
    prices: {
      frequencyGhz: [2.4, 'source', 'specification sheet'],
      lineTransfer: [226, 'derived', 'C2C: Milan, 7 other cores at 23 ns and 40 at 107 ns; not measured on Genoa'],
      lineTransferRemote: [473, 'derived', 'C2C: 197 ns between sockets of Milan'],
    },
  },
  'multimax-1989': {
    from: '8s-120c',
    what: 'Encore Multimax, NS32332 CPUs on one bus: shootdowns of Mach (BLACK, from memory)',
    shape: { sockets: 1, geometry: 'i386', maxPhysAddrBits: 32, invpcid: false },
    tlb: 'ns32382',
    prices: {
      frequencyGhz: [0.015, 'assumed', 'NS32332 at 15 MHz [m:m]'],
      syscall: [600, 'assumed', '40 us'],
      vmaOperation: [1500, 'assumed', '100 us'],
      munmapExtra: [1500, 'assumed', '100 us'],
      pageFault: [6000, 'assumed', '400 us'],
      zeroPage: [2000, 'assumed', '4 KiB at 30 MB/s'],
      ptePerPage: [100, 'assumed', 'as measured machines'],
      freePage: [300, 'assumed', '20 us'],
      flushSetup: [4500, 'assumed', 'BLACK [m:m]: of the 430 us of a shootdown'],
      ipiPrepare: [500, 'assumed', 'of the 430 us'],
      ipiSend: [700, 'assumed', 'BLACK [m:m]: 55 us a processor with ackTransfer'],
      ipiWire: [150, 'assumed', 'a bus transaction'],
      ackTransfer: [125, 'assumed', 'with ipiSend'],
      irqEntry: [600, 'assumed', '40 us'],
      irqExit: [300, 'assumed', '20 us'],
      handler: [300, 'assumed', '20 us'],
      invlpg: [30, 'assumed', 'a write to the MMU'],
      fullFlush: [60, 'assumed', 'a write to the MMU'],
    },
  },
}
