// hugetlb: pages of 1 GiB, and pmd tables that several address spaces share: who joins, who leaves,
// and the flush and the interrupts of leaving.

import { describe, expect, test } from 'vitest'
import { simulateHere } from '../src/engine/simulate.js'
import { PROT_READ, PROT_WRITE } from '../src/kernel/abi.js'
import type { KernelEra } from '../src/kernel/config.js'
import { FRAME_USER } from '../src/kernel/pages/frames.js'
import { LEVEL_PUD } from '../src/machine/geometry.js'
import { peekWalk } from '../src/machine/mmu.js'
import { formatTextTrace } from '../src/trace/text.js'
import { testConfig } from './support/machines.js'
import { area, compute, fork, image, load, mmap, mprotect, munmap, program, signal, spin, store, touch,
  wait } from './support/programs.js'
import type { Step } from './support/programs.js'
import { onCpu, sequence } from './support/sequence.js'
import { BEGIN, END } from './support/two-cpus.js'

const GIB_PAGES = 262_144
const ERAS: readonly KernelEra[] = ['linux-4.6', 'linux-6.x']
const at = (lo: number) => ({ at: { hi: 0, lo }, fixed: true })
const config = (era: KernelEra) => testConfig({ cpus: 2, memoryBytes: 2 ** 31 }, { era })

/** A page whose tables stay, and a shared gigabyte of 2 MiB pages of which two are used. */
const ring: Step[] = [mmap(1, 1, at(0x3fff_f000)), store(area(1), 1n),
  mmap(0, GIB_PAGES, { ...at(0x4000_0000), huge: true, shared: true }), store(area(0), 7n), store(area(0, 512, 1), 8n)]

function family(parent: Step[], child: Step[]) {
  return image([{ threads: [{ comm: 'main', cpus: [0], program: program('main', ...ring, ...parent) }] }],
    { children: [program('child', ...child)] })
}

async function run(era: KernelEra, parent: Step[], child: Step[], engine: 'inline' | 'reference' = 'inline') {
  const { result, simulation } = await simulateHere(config(era), family(parent, child), { engine, check: true })
  expect(result.failures).toEqual([])
  expect(simulation.kernel.frames.use.filter(use => use === FRAME_USER).length).toBe(0)
  expect(simulation.kernel.sharedTables.size).toBe(0)
  return result
}

for (const era of ERAS) {
  const is46 = era === 'linux-4.6'

  describe(`${era}: a shared page table`, () => {
    const joined: Step[] = [load(area(0), 7n), load(area(0, 512, 1), 8n), signal(1), spin(2), load(area(0), 9n)]

    test('is joined by the child, who needs no fault for what the parent mapped', async () => {
      const steps = [fork(0, 'child', [1]), spin(1), store(area(0), 9n), signal(2), wait()]
      const { counters } = await run(era, steps, joined)
      expect([counters.hugePmdShares, counters.fileFaults]).toEqual([1, 2])
    })

    test('is left by munmap with a flush of the gigabyte; the other goes on with it', async () => {
      const steps = [fork(0, 'child', [1]), spin(1), store(area(0), 9n), BEGIN, munmap(area(0)), END, signal(2), wait()]
      const lines = await sequence(config(era), family(steps, joined))
      // 6.16: walkers without locks must have left before the table can become somebody's own.
      expect(onCpu(lines, 0)).toEqual(is46 ? ['flush(3,-1)'] : ['QUEUE 1', 'SEND 1', 'flush(3,-1)'])
      expect((await run(era, steps, joined)).counters.hugePmdUnshares).toBe(1)
    })

    test('is left by mprotect, whose new rights are not those of the other', async () => {
      const steps = [fork(0, 'child', [1]), spin(1), mprotect(area(0), PROT_READ), load(area(0), 7n), signal(2), wait(),
        load(area(0), 9n), mprotect(area(0), PROT_READ | PROT_WRITE), store(area(0), 1n)]
      const { counters, tasks } = await run(era, steps,
        [load(area(0), 7n), signal(1), spin(2), store(area(0), 9n), load(area(0), 9n)])
      expect([counters.hugePmdUnshares, tasks.map(task => task.outcome)]).toEqual([1, ['exited', 'exited']])
    })

    test('is given back by the last who leaves it, whoever that is', async () => {
      await run(era, [fork(0, 'child', [1]), spin(1)], [
        touch(area(0), 'write', { count: 3, stride: 2 ** 21 }), signal(1), compute(200_000), load(area(0, 512, 1))])
      await run(era, [fork(0, 'child', [1]), spin(1), wait()], [load(area(0), 7n), signal(1)])
    })

    test('shows what one process does to it to the other at the same cycle in every engine', async () => {
      const parent = [fork(0, 'child', [1]), spin(1),
        touch(area(0), 'write', { count: 60, stride: 2 ** 21 + 64 }), compute(500),
        touch(area(0), 'read', { count: 100 })]
      const child = [signal(1), touch(area(0), 'read', { count: 60, stride: 2 ** 21 }),
        touch(area(0), 'write', { count: 60, stride: 2 ** 21 })]
      const texts = []
      for (const engine of ['inline', 'reference'] as const) {
        const { trace, counters } = await run(era, parent, child, engine)
        const header = { scenario: 'x', era, cpus: 2, seed: 1, frequencyGhz: 1 }
        texts.push(formatTextTrace(trace, header) + JSON.stringify(counters))
      }
      expect(texts[0]).toBe(texts[1])
    })
  })

  describe(`${era}: a page of 1 GiB`, () => {
    const giant: Step[] = [mmap(1, 1, at(0x3fff_f000)), store(area(1), 1n),
      mmap(0, GIB_PAGES, { ...at(0x4000_0000), huge: true, giant: true }), store(area(0), 7n),
      store(area(0, 262_143, 1), 8n)]
    const alone = (...steps: Step[]) =>
      image([{ threads: [{ comm: 'main', cpus: [0], program: program('main', ...giant, ...steps) }] }])

    test('is one entry of the pud level', async () => {
      const { result, simulation } = await simulateHere(config(era), alone(load(area(0), 7n), compute(100_000)),
        { check: true, untilCycle: 52_500_000 })
      const mm = simulation.kernel.tasks[0]!.mm!
      expect(peekWalk(simulation.kernel.geometry, simulation.kernel.mem, mm.pgdPfn, 0, 0x7fff_f000))
        .toMatchObject({ reason: 'huge', leafLevel: LEVEL_PUD })
      expect([mm.rssPages, result.counters.demandZero]).toEqual([GIB_PAGES + 1, 2])
    })

    test('is flushed as one unit in 6.x and fully in 4.6, and cannot be cut', async () => {
      const steps = [BEGIN, mprotect(area(0), PROT_READ), munmap(area(0)), END]
      const lines = await sequence(config(era), alone(...steps))
      expect(onCpu(lines, 0)).toEqual(is46 ? ['flush(3,-1)', 'flush(3,-1)'] : ['flush(3,1)', 'flush(3,1)'])
      const cut = { ...munmap(area(0, 0, 512)), expectError: 'EINVAL' as const }
      const { result } = await simulateHere(config(era), alone(cut, load(area(0), 7n)), { check: true })
      expect(result.failures).toEqual([])
    })
  })
}
