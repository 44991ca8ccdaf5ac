// A scenario run up to a cycle and kept, for looking into it (dump, explain).

import { InvalidArgumentError } from 'commander'
import { simulateHere } from '../engine/simulate.js'
import type { Simulation } from '../engine/simulation.js'
import type { ClockOf } from '../inspect/dump.js'
import { loadScenario } from '../scenario/parse.js'
import type { Scenario } from '../scenario/scenario.js'
import { loadTrace } from '../scenario/trace-file.js'
import { interruptible } from './interrupt.js'
import { Progress } from './progress.js'
import { grouped } from './text-table.js'

export interface StoppedRun {
  scenario: Scenario
  simulation: Simulation
  memory: SharedArrayBuffer
  /** Where each core stands. */
  clockOf: ClockOf
  /** `stopped at cycle 4812`, or how the run ended before that. */
  headline: string
}

/** Runs the scenario in `file` until `cycle`, or to its end, and hands it to `look`. Ctrl-C stops it. */
export async function withStoppedRun(
  file: string, cycle: number | undefined, look: (run: StoppedRun) => void,
): Promise<void> {
  const progress = new Progress()
  await interruptible(() => `while running ${file}: nothing was written`, async ({ signal }) => {
    try {
      const scenario = await loadScenario(file, {}, (path) => loadTrace(path, ({ records }) => {
        progress.update(() => `reading ${path}: ${grouped(records)} records`)
      }))
      const { simulation, memory } = await simulateHere(scenario.config, scenario.image, {
        trace: false,
        untilCycle: cycle ?? Infinity,
        signal,
        onProgress: (reached) => progress.update(() => `running ${file}: cycle ${grouped(reached)}`),
      })
      progress.done()
      look({
        scenario, simulation, memory,
        clockOf: (cpu) => simulation.platform.cores[cpu.id]!.clock,
        headline: headlineOf(simulation, cycle),
      })
    } finally {
      progress.done()
    }
  })
}

/** For commander: the value of `--at`. */
export function parseCycle(text: string): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < 1 || !Number.isSafeInteger(value)) {
    throw new InvalidArgumentError('expected a whole number of cycles, 1 or more')
  }
  return value
}

function headlineOf(simulation: Simulation, cycle: number | undefined): string {
  switch (simulation.end) {
    case 'until':
      return `stopped before cycle ${cycle}; the last step was at cycle ${simulation.cycle}`
    case 'stalled':
      return `nothing moves any more since cycle ${simulation.cycle}`
    default:
      return `the run was over at cycle ${simulation.cycle}` + (cycle === undefined ? '' : `, before cycle ${cycle}`)
  }
}
