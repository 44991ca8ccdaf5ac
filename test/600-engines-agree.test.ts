// Guarantees G1 and G2: every engine gives the bytes of the reference engine, twice, whatever the
// host does. The long version of these tests is `npm run fuzz`.

import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { Cluster } from '../src/engine/cluster.js'
import { fingerprint } from './support/compare-runs.js'
import { randomRun, randomRunOfAnyPolicy } from './support/random-programs.js'

const RUNS = Number(process.env['FUZZ_RUNS'] ?? 200)
const SEED = Number(process.env['FUZZ_SEED'] ?? 1)
const TIMEOUT = { timeout: 3_600_000 }

/** Hands every window to a worker, however short, and marks it every few accesses. */
const ALL_IN_WORKERS = { engine: 'threads', shortestWorkerWindow: 0, grainCycles: 97 } as const

const cluster = new Cluster()
/** Serves runs with two workers. */
const shared = new Cluster()
afterAll(() => Promise.all([cluster.close(), shared.close()]))

describe(`${RUNS} random programs`, () => {
  test('the inline engine gives the bytes of the reference engine', TIMEOUT, async () => {
    await fc.assert(fc.asyncProperty(randomRun, async run => {
      const reference = await fingerprint(run, { engine: 'reference' })
      expect(await fingerprint(run, { engine: 'inline' })).toEqual(reference)
    }), { numRuns: RUNS, seed: SEED })
  })

  test('the threads engine gives the bytes of the reference engine, every window in a worker', TIMEOUT, async () => {
    await fc.assert(fc.asyncProperty(randomRun, async run => {
      const reference = await fingerprint(run, { engine: 'reference' })
      const threads = await fingerprint(run, { ...ALL_IN_WORKERS, cluster })
      expect(threads).toEqual(reference)
    }), { numRuns: RUNS, seed: SEED + 1 })
  })

  test('two workers for all CPUs, and windows in the scheduler too, give the same bytes', TIMEOUT, async () => {
    await fc.assert(fc.asyncProperty(randomRun, fc.constantFrom(0, 200, 1000), async (run, shortestWorkerWindow) => {
      const reference = await fingerprint(run, { engine: 'reference' })
      const threads = await fingerprint(run, {
        ...ALL_IN_WORKERS, cluster: shared, hostThreads: 2, shortestWorkerWindow, grainCycles: 50,
      })
      expect(threads).toEqual(reference)
    }), { numRuns: RUNS, seed: SEED + 4 })
  })

  test('under every shootdown policy', TIMEOUT, async () => {
    await fc.assert(fc.asyncProperty(randomRunOfAnyPolicy, async run => {
      const reference = await fingerprint(run, { engine: 'reference' })
      expect(await fingerprint(run, { engine: 'inline' })).toEqual(reference)
      const threads = await fingerprint(run, { ...ALL_IN_WORKERS, cluster })
      expect(threads).toEqual(reference)
    }), { numRuns: Math.ceil(RUNS / 5), seed: SEED + 3 })
  })

  test('random host delays inside workers change nothing', TIMEOUT, async () => {
    await fc.assert(fc.asyncProperty(randomRun, async run => {
      const inline = await fingerprint(run, { engine: 'inline' })
      const delayed = await fingerprint(run, { ...ALL_IN_WORKERS, cluster, randomDelayMs: 0.5 })
      expect(delayed).toEqual(inline)
    }), { numRuns: Math.ceil(RUNS / 10), seed: SEED + 2 })
  })
})
