// One run for programs: an object that is awaited for the result and iterated for the events.
//
//   const run = simulate(scenario, { signal })
//   for await (const event of run) ...          every event in the total order, while the run goes on
//   const { counters, shootdowns, ok } = await run
//
// Leaving the loop early does not stop the run: where it stopped would depend on the host, and so would
// the counters. `untilCycle` stops it at a cycle, `signal` stops it without a result.

import { setImmediate as nextTurn } from 'node:timers/promises'
import { UserError } from '../base/errors.js'
import type { CoreCounter, CounterName } from '../kernel/counters.js'
import type { EngineName } from '../engine/scheduler-loop.js'
import { simulate as runSimulation } from '../engine/simulate.js'
import type { SimulationEnd, Simulation } from '../engine/simulation.js'
import type { RunResult, TaskResult } from '../engine/result.js'
import type { ExpectationResult } from '../scenario/expect.js'
import type { Scenario } from '../scenario/scenario.js'
import { verdictOf } from '../study/verdict.js'
import type { PlacedFailure } from '../study/verdict.js'
import type { TraceEvent } from '../trace/events.js'
import { eventAt } from '../trace/recorder.js'
import type { TraceData } from '../trace/recorder.js'
import { summarizeShootdowns } from '../trace/summary.js'
import type { Shootdown } from '../trace/summary.js'
import type { TraceHeader } from '../trace/text.js'

/** Events decoded at a time. */
const BATCH_EVENTS = 1024

/** Options of {@link simulate}. */
export interface RunOptions {
  /** Stops the run; it rejects with the reason of the signal, and so do loops over its events. */
  signal?: AbortSignal
  /** All give the same answer. `inline` (the default) runs here; with `threads` the events come at the end. */
  engine?: EngineName
  /** Stop before the first step at or after this cycle. */
  untilCycle?: number
  /** Check the invariants after every step. Slow. */
  check?: boolean
  /** Record events. Default true; without them only counters, tasks and memory are known. */
  trace?: boolean
  /** Called now and then with the cycle that the run has reached. */
  onProgress?: (cycle: number) => void
}

/** How a run ended. */
export interface SimulationResult {
  scenario: Scenario
  /** Nothing failed, nothing is stuck, every expectation holds. */
  ok: boolean
  /** `finished`, `until` (stopped at `untilCycle`) or `stalled`. */
  end: SimulationEnd
  /** Where it ended, cycles. */
  cycle: number
  /** The same in microseconds of the simulated machine. */
  microseconds: number
  /** Totals over all CPUs. */
  counters: Readonly<Record<CounterName, number>>
  /** What each CPU's core counted. */
  cpus: readonly Readonly<Record<CoreCounter, number>>[]
  tasks: readonly TaskResult[]
  /** One record per flush request, with everything that other CPUs did for it. */
  shootdowns: readonly Shootdown[]
  /** Undefined when the run was stopped before its end: then they mean nothing yet. */
  expectations: readonly ExpectationResult[] | undefined
  /** `load ... expect` and the like inside programs that did not hold. */
  failures: readonly PlacedFailure[]
  /** Set when nothing could move any more: who waits for what. */
  stall: readonly string[]
  /** The events as columns; for the writers (`formatTextTrace` ...) and for {@link eventsOf}. */
  trace: TraceData
  /** What the writers of traces want to know about the run. */
  header: TraceHeader
  /** Simulated physical memory as the run left it; copied when it is first asked for. */
  readonly memory: SharedArrayBuffer
}

/**
 * Starts a run. It goes on whether or not somebody awaits it or iterates over it.
 * Rejects with UserError (the configuration is impossible), EngineError (the host failed), the reason of `signal`, or
 * InvariantViolation (with `check`).
 */
export function simulate(scenario: Scenario, options: RunOptions = {}): Run {
  return new Run(scenario, options)
}

/** A run that was started: a promise of its result, and an async iterable of its events. */
export class Run implements PromiseLike<SimulationResult>, AsyncIterable<TraceEvent> {
  readonly scenario: Scenario
  readonly #result: Promise<SimulationResult>
  readonly #isTracing: boolean
  /** While it runs here; its trace is the one to read from. */
  #simulation: Simulation | undefined
  #trace: TraceData | undefined
  #hasEnded = false
  /** Loops that wait for more events. */
  #waiting: (() => void)[] = []

  /** Use {@link simulate}. */
  constructor(scenario: Scenario, options: RunOptions) {
    this.scenario = scenario
    this.#isTracing = options.trace ?? true
    this.#result = this.#run(options)
    // Who only iterates hears of a failure there; nobody else has to.
    this.#result.catch(() => undefined)
  }

  // oxlint-disable-next-line unicorn/no-thenable -- a run is made to be awaited
  then<A = SimulationResult, B = never>(
    onFulfilled?: ((result: SimulationResult) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#result.then(onFulfilled, onRejected)
  }

  catch<B = never>(onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null): Promise<SimulationResult | B> {
    return this.#result.catch(onRejected)
  }

  finally(onFinally?: (() => void) | null): Promise<SimulationResult> {
    return this.#result.finally(onFinally)
  }

  /** Every event from the first one, in the total order (cycle, cpu). Each loop starts at the beginning. */
  async* [Symbol.asyncIterator](): AsyncGenerator<TraceEvent, void, undefined> {
    if (!this.#isTracing) throw new UserError('this run records no events', undefined, ['expected trace: true'])
    for (let index = 0; ;) {
      // Decoded in one go: the columns may be others when the consumer comes back.
      const events = this.#eventsFrom(index)
      index += events.length
      yield* events
      if (events.length > 0) continue
      if (this.#hasEnded) break
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
    // Nothing more will come; if that is because the run failed, the loop fails too.
    await this.#result
  }

  /** A batch of the events that are certain, from this one on. */
  #eventsFrom(index: number): TraceEvent[] {
    const events: TraceEvent[] = []
    const running = this.#trace === undefined ? this.#simulation : undefined
    const data = this.#trace ?? running?.trace.since(index, BATCH_EVENTS)
    if (data === undefined) return events
    // Of a run that goes on only what comes is there.
    const first = running === undefined ? 0 : index
    const certainBefore = running?.cycle ?? Infinity
    for (let i = index - first; i < data.length && events.length < BATCH_EVENTS; i++) {
      if (data.cycle[i]! >= certainBefore) break
      events.push(eventAt(data, i, first + i))
    }
    return events
  }

  async #run(options: RunOptions): Promise<SimulationResult> {
    const { config, image } = this.scenario
    const { signal, engine = 'inline', ...rest } = options
    try {
      // The caller gets its object before the work begins.
      await nextTurn()
      signal?.throwIfAborted()
      const { result, memory } = await runSimulation(config, image, {
        ...rest, engine, ...(signal === undefined ? {} : { signal }),
        onSlice: (simulation) => {
          this.#simulation = simulation
          this.#tell()
        },
      })
      this.#trace = result.trace
      return resultOf(this.scenario, result, memory)
    } catch (error) {
      throw signal?.aborted === true ? signal.reason : error
    } finally {
      this.#simulation = undefined
      this.#hasEnded = true
      this.#tell()
    }
  }

  #tell(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}

function resultOf(scenario: Scenario, result: RunResult, memory: Int32Array): SimulationResult {
  const { name, config: { kernel, machine, seed } } = scenario
  const { cpus, costs: { frequencyGhz } } = machine
  const { end, cycle, counters, cpus: cores, tasks, stall, trace } = result
  let shootdowns: readonly Shootdown[] | undefined
  let ownMemory: SharedArrayBuffer | undefined
  return {
    scenario, ...verdictOf(scenario, result), end, cycle, counters, cpus: cores, tasks, stall, trace,
    microseconds: cycle / (frequencyGhz * 1000),
    get shootdowns() {
      return shootdowns ??= summarizeShootdowns(trace)
    },
    header: { scenario: name, era: kernel.era, cpus, seed, frequencyGhz },
    get memory() {
      return ownMemory ??= (memory.buffer as SharedArrayBuffer).slice(0, memory.byteLength)
    },
  }
}
