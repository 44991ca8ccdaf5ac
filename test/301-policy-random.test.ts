// Random programs under every shootdown policy, with the invariants checked after every step. A small
// number here; `POLICY_RUNS=1000 npx vitest run test/301` is the long version.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { simulate } from '../src/engine/simulate.js'
import { POLICY_NAMES } from '../src/kernel/policies.js'
import { STEPS_MAX } from './support/compare-runs.js'
import { randomRunOf } from './support/random-programs.js'

const RUNS = Number(process.env['POLICY_RUNS'] ?? 6)
const SEED = Number(process.env['FUZZ_SEED'] ?? 1)

describe(`${RUNS} random programs under each policy keep every invariant`, () => {
  for (const [index, policy] of POLICY_NAMES.entries()) {
    test(policy, { timeout: 3_600_000 }, async () => {
      await fc.assert(fc.asyncProperty(randomRunOf(fc.constant(policy)), async (run) => {
        const { result } = await simulate(run.config, run.image, {
          engine: 'inline', check: true, trace: false, stepLimit: STEPS_MAX,
        })
        expect(result.stall).toEqual([])
        expect(result.end).toBe('finished')
      }), { numRuns: RUNS, seed: SEED + index, endOnFailure: true })
    })
  }
})
