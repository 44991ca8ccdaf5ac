// Situations in which an engine once disagreed with the reference, one test each.

import { describe, expect, test } from 'vitest'
import type { ProgramImage } from '../src/kernel/abi.js'
import type { SimulationConfig } from '../src/kernel/config.js'
import { simulate } from '../src/engine/simulate.js'
import { fingerprint } from './support/compare-runs.js'
import { TEST_COSTS, testConfig } from './support/machines.js'
import { area, compute, fork, image, load, mmap, program, signal, sleep, spin, store, touch, wait, repeat,
  barrier } from './support/programs.js'

async function enginesAgree(config: SimulationConfig, programs: ProgramImage): Promise<void> {
  const run = { config, image: programs }
  const reference = await fingerprint(run, { engine: 'reference' })
  expect(await fingerprint(run, { engine: 'inline' })).toEqual(reference)
}

describe('putting a core back', () => {
  test('a second interrupt in one kernel step, earlier than the first, still puts the core back', async () => {
    // A dying thread group: waking the sleeper moves the slice of CPU 1, then its running thread is kicked.
    await enginesAgree(testConfig({}, { timeSliceCycles: 10_000_000 }), image([{ threads: [
      { comm: 'victim', cpus: [0], program: program('victim', spin(0), compute(30_000), touch(area(1), 'read')) },
      { comm: 'sleeper', cpus: [1], program: program('sleeper', sleep(0)) },
      { comm: 'runner', cpus: [1], program: program('runner', signal(0), compute(400_000)) },
    ] }]))
  })

  test('a core that passed several commits is put back behind each of them in turn', async () => {
    const worker = (flag: number) => program(`w${flag}`, spin(0), repeat(200, touch(area(0), 'read', { count: 97 }),
      store(area(0, flag, 1), BigInt(flag)), compute(301 * flag)))
    await enginesAgree(testConfig({ cpus: 8 }), image([{ threads: [
      { comm: 'mapper', cpus: [0], program: program('mapper', mmap(0, 40), touch(area(0), 'write'), signal(0)) },
      ...Array.from({ length: 7 }, (_, i) => ({ comm: `w${i + 1}`, cpus: [i + 1], program: worker(i + 1) })),
    ] }]))
  })
})

test('a machine with more memory than WebAssembly can see gives the same events and counts', async () => {
  const programs = image([{ threads: [
    { comm: 'a', cpus: [0], program: program('a', mmap(0, 64), touch(area(0), 'write'), signal(0),
      repeat(50, touch(area(0), 'read', { count: 500 }), touch(area(0, 3, 1), 'write', { count: 9 }))) },
    { comm: 'b', cpus: [1], program: program('b', spin(0), touch(area(0), 'read', { count: 20_000 })) },
  ] }])
  const resultWith = async (memoryBytes: number, engine: 'reference' | 'inline'): Promise<unknown> => {
    const { result } = await simulate(testConfig({ memoryBytes }), programs, { engine })
    const { cycle, counters, cpus, tasks } = result
    return { cycle, counters, cpus, tasks }
  }
  const large = 6 * 2 ** 30
  const reference = await resultWith(large, 'reference')
  expect(await resultWith(large, 'inline')).toEqual(reference)
  expect(await resultWith(64 * 2 ** 20, 'inline')).toEqual(await resultWith(64 * 2 ** 20, 'reference'))
})

describe('faults that meet', () => {
  test('a read during another thread\'s copy-on-write sees the old data, not the zero page', async () => {
    const rounds = 40
    const writer = program('writer', mmap(0, 4), store(area(0), 7n), signal(0), barrier(0),
      repeat(rounds, fork(0, 'child', [2]), store(area(0), 7n), wait()))
    const reader = program('reader', spin(0), barrier(0), repeat(rounds * 400, load(area(0), 7n)))
    // A far CPU acknowledges late, so the near reader faults while the entry is still empty.
    const far = program('far', spin(0), repeat(rounds, compute(20_000)))
    const programs = image([{ threads: [
      { comm: 'writer', cpus: [0], program: writer }, { comm: 'reader', cpus: [1], program: reader },
      { comm: 'far', cpus: [3], program: far },
    ] }], { barriers: [2], children: [program('child', compute(5000))] })
    const config = testConfig({ cpus: 4, sockets: 2, costs: { ...TEST_COSTS, ipiWireHop: 5000 } })
    const { result } = await simulate(config, programs, { engine: 'inline', check: true })
    expect(result.counters.cowCopies).toBeGreaterThan(rounds / 2)
    expect(result.failures).toEqual([])
    await enginesAgree(config, programs)
  })
})
