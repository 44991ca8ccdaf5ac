// Guarantees G1 and G2: every engine gives the bytes of the reference engine, twice, whatever the
// host does. The long version of these tests is `npm run fuzz`.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fingerprint } from './support/compare-runs.js'
import { randomRun } from './support/random-programs.js'

const RUNS = Number(process.env['FUZZ_RUNS'] ?? 200)
const SEED = Number(process.env['FUZZ_SEED'] ?? 1)

describe('random programs', () => {
  test(`the inline engine gives the bytes of the reference engine (${RUNS} programs)`, { timeout: 3_600_000 }, async () => {
    await fc.assert(fc.asyncProperty(randomRun, async run => {
      const reference = await fingerprint(run, { engine: 'reference' })
      const inline = await fingerprint(run, { engine: 'inline' })
      expect(inline).toEqual(reference)
    }), { numRuns: RUNS, seed: SEED })
  })
})
