// How random machines price what CPUs share: half of them as the prices say, the others with lines that CPUs fight
// for, in a guest whose interrupts exit, with noise, or with caches.

import fc from 'fast-check'
import type { MachineConfig } from '../../src/machine/config.js'
import { TEST_COSTS } from './machines.js'

type Pricing = Pick<MachineConfig, 'costs'> & Partial<Pick<MachineConfig, 'icr' | 'noisePercent'>>

export const randomPricing: fc.Arbitrary<Pricing> = fc.oneof(
  { weight: 1, arbitrary: fc.constant<Pricing>({ costs: TEST_COSTS }) },
  { weight: 1, arbitrary: fc.constantFrom<Pricing>(
    { costs: { ...TEST_COSTS, lineTransfer: 40, lineTransferRemote: 130 } },
    { costs: { ...TEST_COSTS, lineTransfer: 700, lineTransferRemote: 900 }, icr: 'exit' },
    { costs: TEST_COSTS, icr: 'virtualized', noisePercent: 5 },
    { costs: { ...TEST_COSTS, lineTransfer: 90, lineTransferRemote: 90 }, noisePercent: 40 },
    // Caches so small that what random programs touch pushes a kernel out of them.
    { costs: { ...TEST_COSTS, privateLines: 12, lastLevelLines: 48 } },
    { costs: { ...TEST_COSTS, privateLines: 3, lastLevelLines: 0 } },
  ) },
)
