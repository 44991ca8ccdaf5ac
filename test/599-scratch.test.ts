// scratch
import fc from 'fast-check'
import { test } from 'vitest'
import { checkEverything } from '../src/inspect/check.js'
import { steppedRun } from './support/checked-run.js'
import { randomRun } from './support/random-programs.js'

test('scratch', () => {
  let steps = 0
  const n = Number(process.env.RUNS ?? 60)
  fc.assert(fc.property(randomRun, (run) => {
    const { simulation, finish } = steppedRun(run.config, run.image, (s) => {
      steps++
      if (steps % Number(process.env.EVERY ?? 7) === 0) checkEverything(s.kernel, s.cycle)
    })
    try { finish() } catch (e) { (e as Error).message += ` [${run.config.kernel.era} ${run.config.machine.geometry} pcid ${run.config.kernel.pcid} cpus ${run.config.machine.cpus}]`; throw e }
    checkEverything(simulation.kernel, simulation.cycle)
  }), { numRuns: n, seed: Number(process.env.SEED ?? 1), endOnFailure: true })
  console.log('steps', steps)
}, 600000)
