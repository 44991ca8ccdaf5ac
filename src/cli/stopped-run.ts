// A scenario run up to a cycle and kept, for looking into it (dump, explain).

import { InvalidArgumentError } from 'commander'
import { simulateHere } from '../engine/simulate.js'
import type { Simulation } from '../engine/simulation.js'
import type { ClockOf } from '../inspect/dump.js'
import { loadScenario } from '../scenario/parse.js'
import type { Scenario } from '../scenario/scenario.js'
import { loadTrace } from '../scenario/trace-file.js'
import { loadSchedule } from '../study/schedule-scenario.js'
import { EVENT_VOCABULARY } from '../trace/vocabulary.js'
import { interruptible } from './interrupt.js'
import { fullestMoment } from './fullest-moment.js'
import { Progress } from './progress.js'
import { grouped } from './text-table.js'

export interface StoppedRun {
  scenario: Scenario
  simulation: Simulation
  memory: Int32Array
  /** Where each core stands. */
  clockOf: ClockOf
  /** `stopped at cycle 4812`, or how the run ended before that. */
  headline: string
}

/** A cycle, the end of the run, or the last moment at which the most tasks are alive. */
export type StopAt = number | 'end' | 'fullest'

/** Help text of `--at`. */
export const AT_HELP = 'stop before the first step at or after this cycle, or at the "end" ' +
  '(default: the last moment at which the most tasks are alive)'

/** Runs the scenario in `file` until then and hands it to `look`. Ctrl-C stops it. */
export async function withStoppedRun(
  file: string, at: StopAt, look: (run: StoppedRun) => void,
): Promise<void> {
  const progress = new Progress()
  await interruptible(() => `while running ${file}: nothing was written`, async ({ signal }) => {
    try {
      const scenario = await openScenario(file, progress)
      const options = {
        signal,
        onProgress: (reached: number) => progress.update(() => `running ${file}: cycle ${grouped(reached)}`),
      }
      const stopAt = at === 'fullest' ? await fullestMoment(scenario, options) : at === 'end' ? undefined : at
      const { simulation, memory } = await simulateHere(scenario.config, scenario.image, {
        ...options, trace: false, untilCycle: stopAt ?? Infinity,
      })
      progress.done()
      look({
        scenario, simulation, memory,
        clockOf: (cpu) => simulation.platform.cores[cpu.id]!.clock,
        headline: headlineOf(simulation, stopAt),
      })
    } finally {
      progress.done()
    }
  })
}

/** Reads the scenario in `file` and the recorded traces that it names. */
export function openScenario(file: string, progress: Progress): Promise<Scenario> {
  return loadScenario(file, { events: EVENT_VOCABULARY, loadSchedule }, (path) => loadTrace(path, ({ records }) => {
    progress.update(() => `reading ${path}: ${grouped(records)} records`)
  }))
}

/** For commander: the value of `--at`. */
export function parseCycle(text: string): number | 'end' {
  if (text === 'end') return 'end'
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < 1 || !Number.isSafeInteger(value)) {
    throw new InvalidArgumentError('expected a whole number of cycles, 1 or more, or the word end')
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
