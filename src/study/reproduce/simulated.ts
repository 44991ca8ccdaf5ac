// Running a generated scenario and taking times from its trace. A scenario is a plain object with the keys of
// docs/scenario-reference.md; it goes through the same parser as a file, so a mistake in a study is found there.

import { AsyncLocalStorage } from 'node:async_hooks'
import { simulate } from '../../engine/simulate.js'
import type { RunResult } from '../../engine/result.js'
import type { SimulationConfig } from '../../kernel/config.js'
import { UserError } from '../../base/errors.js'
import { parseScenario } from '../../scenario/parse.js'
import { eventsOf } from '../../trace/recorder.js'
import type { TraceEvent } from '../../trace/events.js'
import { summarizeShootdowns } from '../../trace/summary.js'
import type { Shootdown } from '../../trace/summary.js'

export type Operation = Readonly<Record<string, unknown>> | string

export interface ScenarioObject {
  machine: string | Readonly<Record<string, unknown>>
  cpus?: number
  kernel?: string | Readonly<Record<string, unknown>>
  files?: readonly unknown[]
  processes: readonly unknown[]
  kernelThreads?: readonly unknown[]
  seed?: number
}

/** A run that has ended well. */
export class SimulatedRun {
  readonly result: RunResult
  readonly config: SimulationConfig

  constructor(result: RunResult, config: SimulationConfig) {
    this.result = result
    this.config = config
  }

  /** Cycles of every flush request, in the order of their beginning. */
  get shootdowns(): Shootdown[] {
    return summarizeShootdowns(this.result.trace)
  }

  /** Cycles of every call of that name, from the instruction that enters the kernel to the one behind it. */
  calls(name: string, comm?: string): number[] {
    const open = new Map<number, number>()
    const cycles: number[] = []
    for (const event of this.events()) {
      if (comm !== undefined && event.comm !== comm) continue
      if (event.name === 'sys_enter' && event.fields.name === name) open.set(event.pid, event.cycle)
      if (event.name !== 'sys_exit' || event.fields.name !== name) continue
      const begin = open.get(event.pid)
      if (begin !== undefined) cycles.push(event.cycle - begin + this.config.machine.costs.syscall)
    }
    return cycles
  }

  /** Cycle of every `mark` with that text, by task. */
  marks(text: string, comm?: string): number[] {
    return [...this.events()].filter(event => event.name === 'tracing_mark_write' && event.fields.text === text
      && (comm === undefined || event.comm === comm)).map(({ cycle }) => cycle)
  }

  events(): Iterable<TraceEvent> {
    return eventsOf(this.result.trace)
  }

  toMicroseconds(cycles: number): number {
    return cycles / (this.config.machine.costs.frequencyGhz * 1000)
  }
}

/** Noise on what kernels do (kernel/noise.ts), and the seed that it is drawn from. */
export interface RunNoise {
  seed: number
  percent: number
}

/**
 * What runs of the current measurement are subject to. A target says what it runs; whether that is noisy is asked from
 * outside, of all its runs alike.
 */
const currentNoise = new AsyncLocalStorage<RunNoise>()

/** Does `measure` with noise in every scenario that it runs. */
export function underNoise<T>(noise: RunNoise, measure: () => Promise<T>): Promise<T> {
  return currentNoise.run(noise, measure)
}

export interface RunOptions {
  trace?: boolean
  perturbation?: SimulationConfig['perturbation']
  /** Some tasks go on for ever, until others kill them. */
  areKilled?: boolean
}

/** Runs it inline. Throws when a task did not end well, so that no number comes from a run that went wrong. */
export async function runScenario(
  scenario: ScenarioObject, options: RunOptions = {},
): Promise<SimulatedRun> {
  const parsed = await parseScenario(JSON.stringify(scenario), 'reproduction', {}, () => {
    throw new UserError('a reproduction replays no trace')
  })
  const noise = currentNoise.getStore()
  const plain = options.perturbation === undefined ? parsed.config
    : { ...parsed.config, perturbation: options.perturbation }
  const config = noise === undefined ? plain
    : { ...plain, seed: noise.seed, machine: { ...plain.machine, noisePercent: noise.percent } }
  const { result } = await simulate(config, parsed.image, { engine: 'inline', trace: options.trace ?? true })
  const wrong = result.tasks.find(({ outcome }) => (
    outcome !== 'exited' && !(options.areKilled === true && outcome === 'SIGKILL')))
  if (result.end !== 'finished' || result.failures.length > 0 || wrong !== undefined) {
    const why = result.failures[0]?.text ?? (wrong === undefined ? result.end : `${wrong.comm}: ${wrong.outcome}`)
    throw new UserError(`a run of a reproduction went wrong: ${why}`)
  }
  return new SimulatedRun(result, config)
}

/** `times` copies of what `make` gives for each n from 0. */
export function times<T>(count: number, make: (n: number) => readonly T[]): T[] {
  return Array.from({ length: count }, (_, n) => make(n)).flat()
}
