// A virtual machine's host for random runs: most machines have none, some are overcommitted a little or much.

import fc from 'fast-check'
import type { HostConfig } from '../../src/machine/config.js'

export const randomHost: fc.Arbitrary<{ host?: HostConfig }> = fc.oneof(
  { weight: 3, arbitrary: fc.constant({}) },
  { weight: 1, arbitrary: fc.constantFrom(
    { runCycles: 500, awayCycles: 700 }, { runCycles: 4000, awayCycles: 1 }, { runCycles: 10_000, awayCycles: 20_000 },
  ).map(host => ({ host })) },
)
