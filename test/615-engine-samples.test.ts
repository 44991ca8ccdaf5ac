// Samples of counters are the same with every engine, and a run with them is the run without.

import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ENGINES } from '../src/engine/scheduler-loop.js'
import { simulate } from '../src/engine/simulate.js'
import type { SimulateOptions } from '../src/engine/simulate.js'
import { loadScenario } from '../src/scenario/parse.js'
import { SAMPLED_COUNTERS } from '../src/trace/samples.js'
import { ROOT } from './support/cli.js'

async function run(options: SimulateOptions, name = 'policies/1-munmap-storm.yaml') {
  const { config, image } = await loadScenario(join(ROOT, 'scenarios', name), {}, () => {
    throw new Error('no traces')
  })
  return (await simulate(config, image, options)).result
}

test('all engines take the same samples', async () => {
  for (const name of ['policies/1-munmap-storm.yaml', 'tour/09-reclaim.yaml']) {
    const results = await Promise.all(ENGINES.map((engine) => run({ engine, samples: true }, name)))
    const [reference] = results
    expect(reference!.samples!.length).toBeGreaterThan(50)
    for (const { samples } of results) expect(samples).toEqual(reference!.samples)
  }
})

test('a run with samples has the trace and the counters of the run without', async () => {
  const [plain, sampled] = [await run({ engine: 'inline' }), await run({ engine: 'inline', samples: true })]
  expect(plain.samples).toBeUndefined()
  expect({ ...sampled, samples: undefined }).toEqual(plain)
})

test('samples count up, in the order of time, to the totals of the run, also of one that is cut short', async () => {
  for (const untilCycle of [Infinity, 400_000]) {
    const { samples, cpus, cycle } = await run({ engine: 'inline', samples: true, untilCycle })
    const last = new Map<number, number[]>()
    for (let i = 0; i < samples!.length; i++) {
      expect(samples!.cycle[i]).toBeGreaterThanOrEqual(samples!.cycle[Math.max(0, i - 1)]!)
      const values = samples!.values.map((column) => column[i]!)
      const before = last.get(samples!.cpu[i]!) ?? values.map(() => 0)
      expect(values.every((value, counter) => value >= before[counter]!)).toBe(true)
      last.set(samples!.cpu[i]!, values)
    }
    expect(samples!.cycle.at(-1)).toBe(cycle)
    cpus.forEach((counters, cpu) => expect(last.get(cpu)).toEqual(SAMPLED_COUNTERS.map((name) => counters[name])))
  }
})
