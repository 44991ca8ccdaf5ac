// What interrupts find cold after a program has walked over memory: to the line and the cycle.

import { describe, expect, test } from 'vitest'
import { CALL_FUNCTION_PAIRS, INTERRUPT_PAIRS } from '../src/kernel/smp/cold-path.js'
import { MACHINE_PRESETS } from '../src/machine/presets.js'
import { runScenario } from '../src/study/reproduce/simulated.js'
import type { Operation, SimulatedRun } from '../src/study/reproduce/simulated.js'

const PATH = INTERRUPT_PAIRS + CALL_FUNCTION_PAIRS
const LAST_LEVEL_READ = 40
const MEMORY_READ = 200

/**
 * A victim on CPU 1 touches `pages` pages, `rounds` times, and is interrupted `flushes` times by munmaps of pages that
 * it never saw.
 */
async function interrupted(
  { pages, rounds = 1, flushes = 1, privateLines, lastLevelLines = 0, tlb }: {
    pages: number; rounds?: number; flushes?: number; privateLines: number; lastLevelLines?: number; tlb?: object
  },
): Promise<SimulatedRun> {
  const victim: Operation[] = [
    { mmap: { name: 'own', pages } }, { repeat: { times: rounds, do: [{ write: 'own' }] } },
    { signal: 'ready' }, { spin: 'done' },
  ]
  const culprit: Operation[] = [
    ...Array.from({ length: flushes }, (_, n) => ({ mmap: { name: `a${n}`, pages: 1 } })),
    ...Array.from({ length: flushes }, (_, n) => ({ write: `a${n}` })), { spin: 'ready' },
    ...Array.from({ length: flushes }, (_, n) => ({ munmap: `a${n}` })), { signal: 'done' },
    // Who exits last interrupts the other CPU, which has borrowed the address space: let that be the victim's again.
    { compute: '1ms' },
  ]
  return runScenario({
    machine: {
      preset: 'skl-2s', cpus: 2, sockets: 1, ...(tlb === undefined ? {} : { tlb }),
      costs: { privateLines, lastLevelLines, lastLevelRead: LAST_LEVEL_READ, memoryRead: MEMORY_READ },
    },
    processes: [{ name: 'p', threads: [
      { name: 'culprit', cpu: 0, program: culprit }, { name: 'victim', cpu: 1, program: victim },
    ] }],
  })
}

/** Lines fetched, and what the victim lost beyond what it loses where nothing is cold. */
async function cold(options: Parameters<typeof interrupted>[0]): Promise<{ lines: number; cycles: number }> {
  const [run, warm] = [await interrupted(options), await interrupted({ ...options, privateLines: 0 })]
  expect(run.result.counters.callFunctionIpis).toBe((options.flushes ?? 1) + 1)
  return {
    lines: run.result.counters.coldLines,
    cycles: run.result.counters.responderCycles - warm.result.counters.responderCycles,
  }
}

describe('an interrupt', () => {
  test('waits for the share of its path that the walks since have pushed out, from the next cache', async () => {
    // Each page is walked once when its fault is over.
    expect(await cold({ pages: 32, privateLines: 64, lastLevelLines: 100_000 }))
      .toEqual({ lines: PATH / 2, cycles: PATH / 2 * LAST_LEVEL_READ })
  })

  test('waits for memory where the last level has lost the line too', async () => {
    expect(await cold({ pages: 200, privateLines: 64, lastLevelLines: 400 }))
      .toEqual({ lines: PATH, cycles: PATH / 2 * LAST_LEVEL_READ + PATH / 2 * MEMORY_READ })
    expect(await cold({ pages: 200, privateLines: 64, lastLevelLines: 100 }))
      .toEqual({ lines: PATH, cycles: PATH * MEMORY_READ })
  })

  test('finds warm what the one before it has fetched', async () => {
    const once = await cold({ pages: 128, privateLines: 64, lastLevelLines: 256 })
    expect(await cold({ pages: 128, flushes: 5, privateLines: 64, lastLevelLines: 256 })).toEqual(once)
  })

  test('pages that come again are not more lines than pages: with a tiny TLB every access walks', async () => {
    const tlb = { l1d: '4/4', stlb: '4/4' }
    const run = await interrupted({ pages: 16, rounds: 100, privateLines: 4096, tlb })
    expect(run.result.cpus[1]!.stlbMisses).toBeGreaterThan(1500)
    // 1600 walks of 17 pages and their tables: fewer than 64 lines, so not one of 30 in 4096 is gone.
    expect(run.result.counters.coldLines).toBe(0)
  })

  test('of other kinds runs the call function\'s lines not', async () => {
    const { result } = await runScenario({
      machine: { preset: 'skl-2s', cpus: 2, sockets: 1, costs: { privateLines: 64, lastLevelLines: 100_000 } },
      processes: [
        { name: 'ping', cpu: 0, program: [{ compute: '1ms' }, { wake: 'pong' }] },
        { name: 'pong', cpu: 1, program: [{ mmap: { name: 'b', pages: 256 } }, { write: 'b' }, { sleep: 'forever' }] },
      ],
    })
    expect(result.counters.rescheduleIpis).toBe(1)
    expect(result.counters.callFunctionIpis).toBe(0)
    expect(result.counters.coldLines).toBe(INTERRUPT_PAIRS)
  })
})

describe('machines', () => {
  test('have all four numbers of their caches or none', () => {
    for (const [name, { costs }] of Object.entries(MACHINE_PRESETS)) {
      const { privateLines, lastLevelLines, lastLevelRead, memoryRead } = costs
      const known = [privateLines, lastLevelLines, lastLevelRead, memoryRead].filter(value => value > 0).length
      expect([0, 4], name).toContain(known)
      if (known === 0) continue
      expect(lastLevelLines, name).toBeGreaterThan(privateLines)
      expect(memoryRead, name).toBeGreaterThan(lastLevelRead)
    }
  })
})
