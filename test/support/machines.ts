// A complete small machine for tests; a test overrides only what it is about.

import type { KernelConfig, SimulationConfig } from '../../src/kernel/config.js'
import type { MachineConfig } from '../../src/machine/config.js'
import type { Costs } from '../../src/machine/costs.js'

/** Round numbers, so that cycles in traces can be added up by hand. */
export const TEST_COSTS: Costs = {
  frequencyGhz: 2, access: 1, stlbHit: 7, walkStep: 10, setAccessedDirty: 20, syscall: 100, pageFault: 500,
  zeroPage: 200, copyPage: 300, pageRead: 1000, pageWrite: 1000,
  swapRead: 400, swapWrite: 800,
  ptePerPage: 20, freePage: 30, vmaOperation: 100, munmapExtra: 200, invlpg: 100,
  fullFlush: 150, fullFlushGlobal: 500, cr3NoFlush: 50, flushSetup: 100, ipiPrepare: 50, ipiSend: 60, ipiWire: 400,
  ipiWireHop: 300, irqEntry: 200, irqExit: 100, handler: 50, ackTransfer: 30, ackTransferRemote: 90, 
  lineTransfer: 0, lineTransferRemote: 0, icrExitXapic: 800, icrExitX2apic: 700, icrVirtualXapic: 300,
  icrVirtualX2apic: 200, idleExit: 600,
  idleExitDeep: 5000,
  hypercall: 500, invlpgb: 60, tlbsync: 300, lazyStateSave: 80, lazyStateSweep: 90,
  contextSwitch: 300, wakeUp: 150, lock: 20, forkBase: 1000,
  ldtLoad: 80, storeDrain: 150, privateLines: 0, lastLevelLines: 0, lastLevelRead: 40, memoryRead: 200,
}

export function testMachine(overrides: Partial<MachineConfig> = {}): MachineConfig {
  const oneArray = (entries: number, ways: number) => (
    { arrays: [{ entries, ways }], base: 0, large: 0, giant: 0 })
  return {
    preset: 'test', cpus: 2, sockets: 1, geometry: 'x86-64', memoryBytes: 64 * 2 ** 20, maxPhysAddrBits: 40,
    vendor: 'intel', invpcid: true, apic: 'x2apic-physical', ipiShorthand: false,
    tlb: {
      l1i: oneArray(16, 4), l1d: oneArray(16, 4), stlb: oneArray(96, 12),
      pagingCache: { pgd: 2, p4d: 4, pud: 8, pmd: 32 },
    },
    costs: TEST_COSTS,
    ...overrides,
  }
}

export function testConfig(
  machine: Partial<MachineConfig> = {}, kernel: Partial<KernelConfig> = {},
): SimulationConfig {
  const era = kernel.era ?? 'linux-6.x'
  return {
    name: 'test',
    machine: testMachine(machine),
    kernel: {
      era, policy: era, flushCeilingPages: 33, pcid: era === 'linux-6.x',
      pti: false, earlyAck: false, mmCpumask: era === 'linux-4.6' ? 'eager' : 'trimmed',
      remoteFlush: era === 'linux-4.6' ? 'serial' : 'concurrent',
      timeSliceCycles: 20_000, idlePoll: false, idleDeep: false, physBase: 0, swapBytes: 0, thp: 'never',
      khugepaged: undefined, bugs: [], speculation: false,
      ...kernel,
    },
    seed: 1,
  }
}
