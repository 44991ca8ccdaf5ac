// A run that is stopped, or in which nothing can move any more, looks the same from every engine.

import { afterAll, describe, expect, test } from 'vitest'
import { Cluster } from '../src/engine/cluster.js'
import { simulate } from '../src/engine/simulate.js'
import { fingerprint } from './support/compare-runs.js'
import { testConfig } from './support/machines.js'
import { area, barrier, compute, image, mmap, munmap, program, repeat, signal, sleep, spin, touch,
} from './support/programs.js'

const cluster = new Cluster()
afterAll(() => cluster.close())

const worker = (name: string, index: number) => program(name, repeat(50,
  mmap(index, 6), touch(area(index), 'write', { count: 300 }), munmap(area(index, 1, 3)), munmap(area(index))))
const busy = image([{ threads: [
  { comm: 'a', cpus: [0], program: worker('a', 0) }, { comm: 'b', cpus: [1], program: worker('b', 1) },
] }])

describe('stopping before a cycle', () => {
  for (const untilCycle of [1, 999, 5_000, 20_001, 33_333]) {
    test(`${untilCycle}: every engine has done the same accesses and events`, async () => {
      const run = { config: testConfig(), image: busy }
      const reference = await fingerprint(run, { engine: 'reference', untilCycle })
      expect(reference).toMatchObject({ end: 'until', cycle: untilCycle })
      expect(await fingerprint(run, { engine: 'inline', untilCycle })).toEqual(reference)
      const options = { engine: 'threads', cluster, untilCycle, shortestWorkerWindow: 0 } as const
      expect(await fingerprint(run, options)).toEqual(reference)
    })
  }
})

describe('a stall', () => {
  test('programs that poll a flag which nobody can raise any more end the run, and it says so', async () => {
    const run = { config: testConfig(), image: image([{ threads: [
      { comm: 'a', cpus: [0], program: program('a', mmap(0, 4), touch(area(0), 'write'), spin(0)) },
      { comm: 'b', cpus: [1], program: program('b', signal(1), sleep(0)) },
    ] }]) }
    const reference = await fingerprint(run, { engine: 'reference' })
    expect(reference.end).toBe('stalled')
    expect(await fingerprint(run, { engine: 'inline' })).toEqual(reference)
    expect(await fingerprint(run, { engine: 'threads', cluster })).toEqual(reference)
    const { result } = await simulate(run.config, run.image, { engine: 'inline' })
    expect(result.stall.join('\n')).toBe('cpu0: a-1 polls flag flag0\nb-2 sleeps, waiting for a wake-up')
  })

  test('a barrier whose other members are gone names who waits', async () => {
    const run = { config: testConfig(), image: image([{ threads: [
      { comm: 'a', cpus: [0], program: program('a', barrier(0)) },
      { comm: 'b', cpus: [1], program: program('b') },
    ] }], { barriers: [2] }) }
    const reference = await fingerprint(run, { engine: 'reference' })
    expect(await fingerprint(run, { engine: 'inline' })).toEqual(reference)
    const { result } = await simulate(run.config, run.image, { engine: 'inline' })
    expect(result.stall).toEqual(['a-1 sleeps, waiting for barrier barrier0'])
  })

  // What goes on for ever by itself: scans of khugepaged, turns of the host, both.
  const scans = { khugepaged: { scanSleepCycles: 20_000, pagesToScan: 4096, maxPtesNone: 511 } }
  const turns = { host: { runCycles: 7000, awayCycles: 5000 } }
  test.each([
    ['khugepaged', {}, scans], ['the host', turns, {}], ['both', turns, scans],
  ])('is one whatever %s goes on doing', async (_what, machine, kernel) => {
    const waiting = image([{ threads: [
      { comm: 'a', cpus: [0], program: program('a', mmap(0, 4), touch(area(0), 'write'), compute(30_000), spin(0)) },
      { comm: 'b', cpus: [1], program: program('b', signal(1), compute(50_000), barrier(0)) },
      { comm: 'c', cpus: [2], program: program('c', compute(45_000), spin(2)) },
      { comm: 'd', cpus: [3], program: program('d', mmap(1, 4), touch(area(1), 'read', { count: 9000 }), spin(3)) },
    ] }], { barriers: [2] })
    const run = { config: testConfig({ cpus: 4, ...machine }, kernel), image: waiting }
    const reference = await fingerprint(run, { engine: 'reference' })
    expect(reference.end).toBe('stalled')
    expect(await fingerprint(run, { engine: 'inline' })).toEqual(reference)
    for (const shortestWorkerWindow of [0, 500]) {
      expect(await fingerprint(run, { engine: 'threads', cluster, shortestWorkerWindow })).toEqual(reference)
    }
  })
})

describe('threads', () => {
  test('256 CPUs on two workers do what they do one action at a time', async () => {
    const cpus = 256
    const run = { config: testConfig({ cpus }), image: image([{ threads: Array.from({ length: cpus }, (_, cpu) => (
      { comm: `t${cpu}`, cpus: [cpu], program: program(`t${cpu}`, ...(cpu === 0 ? [mmap(0, 8), signal(0)] : [spin(0)]),
        touch(area(0), cpu % 5 === 0 ? 'write' : 'read', { count: 40 })) })) }]) }
    const reference = await fingerprint(run, { engine: 'reference' })
    expect(JSON.parse(reference.cpus)).toHaveLength(cpus)
    const options = { engine: 'threads', hostThreads: 2, shortestWorkerWindow: 0, grainCycles: 100 } as const
    expect(await fingerprint(run, options)).toEqual(reference)
  })

  test('a cluster runs one simulation at a time, and says so', async () => {
    const run = { config: testConfig(), image: busy }
    const first = simulate(run.config, run.image, { cluster })
    await expect(simulate(run.config, run.image, { cluster })).rejects.toThrow('busy with another run')
    expect((await first).result.end).toBe('finished')
  })

  test('a cluster serves machines of different sizes one after the other', async () => {
    for (const cpus of [1, 3, 2]) {
      const run = { config: testConfig({ cpus }), image: image([{ threads: [
        { comm: 'a', program: worker('a', 0) }, { comm: 'b', program: worker('b', 1) },
      ] }]) }
      const inline = await fingerprint(run, { engine: 'inline' })
      expect(await fingerprint(run, { engine: 'threads', cluster, shortestWorkerWindow: 0 })).toEqual(inline)
    }
  })
})
