// The programmatic way in: one call runs a configured simulation on the engine of your choice and
// gives events and counters. Every engine gives the same bytes.

import { availableParallelism } from 'node:os'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { EngineError } from '../base/errors.js'
import type { ProgramImage } from '../kernel/abi.js'
import type { SimulationConfig } from '../kernel/config.js'
import type { ChosenOrder } from './choices.js'
import { Cluster } from './cluster.js'
import type { RunSetup } from './protocol.js'
import { collectResult } from './result.js'
import type { RunResult } from './result.js'
import { openSimulation } from './scheduler-loop.js'
import type { EngineName } from './scheduler-loop.js'
import { allocateSharedState, openSharedState } from './shared-state.js'
import type { Simulation } from './simulation.js'
import { GRAIN_CYCLES, WORKER_WINDOW_CYCLES, WORKERS_AT_ONCE } from './threads.js'

export interface SimulateOptions {
  engine?: EngineName
  /** Record events. Default true. */
  trace?: boolean
  /** Record the counters of cores over time, at every entry into the kernel. Default false. */
  samples?: boolean
  /** Check the invariants after every step. */
  check?: boolean
  /** Also record what a report shows besides the trace: modes, table entries, TLBs. Changes nothing else. */
  record?: boolean
  /** Stop before the first step at or after this cycle. */
  untilCycle?: number
  /** The run rejects with EngineError after so many steps; not for the threads engine. */
  stepLimit?: number
  /** Decides the order of steps; the engine is then the reference engine. */
  order?: ChosenOrder
  /** Stops the run; it then rejects with EngineError. */
  signal?: AbortSignal
  /** Called every now and then with the cycle that the run has reached. */
  onProgress?: (cycle: number) => void
  /** Called with the simulation after every slice of steps that is not the last; not with the threads engine. */
  onSlice?: (simulation: Simulation) => void
  /** Worker threads that the CPUs share. Default: each has one of its own (cluster.ts says when it starts). */
  hostThreads?: number
  /** Threads to run on, for many runs in a row; the caller closes them. Without it a run has its own. */
  cluster?: Cluster
  /** For tests of the threads engine: windows of fewer cycles stay in the scheduler. 0: all are run by workers. */
  shortestWorkerWindow?: number
  /** For tests: cycles between two marks of a window. */
  grainCycles?: number
  /** For tests: random host delays in workers, milliseconds. */
  randomDelayMs?: number
  /** For tests of the threads engine: the worker of CPU 0 dies when it is asked for its n-th window. */
  dieAtWindow?: number
}

/** A run that has ended, with the memory it left behind. */
export interface FinishedRun {
  result: RunResult
  /** Simulated physical memory, in words. */
  memory: Int32Array
}

/** Steps between two looks at the host clock; a step may be a window of many thousand accesses. */
const STEPS_PER_SLICE = 64
const SLICE_MS = 20
const PROGRESS_MS = 100

type WorkerCounts = Pick<RunSetup, 'workers' | 'workersAtOnce' | 'parallel'>

/** A run that did not end within its `stepLimit`. */
export class StepLimitError extends EngineError {
  override name = 'StepLimitError'
}

/** Runs `image` on `config`. Rejects with UserError (the configuration is impossible) or EngineError. */
export async function simulate(
  config: SimulationConfig, image: ProgramImage, options: SimulateOptions = {},
): Promise<FinishedRun> {
  const setup = prepareRun(config, image, options)
  const engine = options.order === undefined ? options.engine ?? 'threads' : 'reference'
  const result = engine === 'threads' ? await runThreads(setup, options) : await runHere(setup, engine, options)
  return { result, memory: physicalMemory(setup) }
}

/** Runs here and keeps the simulation, for looking into it (dump, explain). */
export async function simulateHere(
  config: SimulationConfig, image: ProgramImage, options: SimulateOptions = {},
): Promise<FinishedRun & { simulation: Simulation }> {
  const setup = prepareRun(config, image, options)
  const { simulation, shared, recorder } =
    openSimulation(setup, options.engine === 'reference' ? 'reference' : 'inline')
  await runSlices(simulation, options)
  return { simulation, memory: physicalMemory(setup), result: collectResult(simulation, shared, recorder) }
}

/** In words: there are machines with more bytes than an array of bytes can have. */
function physicalMemory({ memory, config }: RunSetup): Int32Array {
  return new Int32Array(memory.buffer, 0, config.machine.memoryBytes / Int32Array.BYTES_PER_ELEMENT)
}

function prepareRun(config: SimulationConfig, image: ProgramImage, options: SimulateOptions): RunSetup {
  return {
    config,
    image,
    memory: allocateSharedState(config.machine, image),
    trace: options.trace ?? true,
    samples: options.samples ?? false,
    check: options.check ?? false,
    record: options.record ?? false,
    untilCycle: options.untilCycle ?? Infinity,
    ...workersFor(config, options),
    shortestWorkerWindow: options.shortestWorkerWindow ?? WORKER_WINDOW_CYCLES,
    grainCycles: options.grainCycles ?? GRAIN_CYCLES,
    randomDelayMs: options.randomDelayMs ?? 0,
    dieAtWindow: options.dieAtWindow ?? 0,
  }
}

/**
 * A worker a CPU unless fewer are wanted; at once as many windows as leave a host core for the scheduler, which runs
 * one itself. A kernel with a bug may let a core walk a table that was freed and is written as something else, which
 * nothing announces: its windows stay in one thread.
 */
function workersFor({ machine, kernel }: SimulationConfig, options: SimulateOptions): WorkerCounts {
  const workers = Math.max(1, Math.min(machine.cpus, options.hostThreads ?? machine.cpus))
  if (kernel.bugs.length > 0) return { workers, workersAtOnce: 0, parallel: 0 }
  if (options.shortestWorkerWindow === 0) return { workers, workersAtOnce: workers, parallel: workers }
  const parallel = Math.min(workers, availableParallelism() - 1)
  const workersAtOnce = parallel === 0 ? 0 : Math.min(workers, Math.max(parallel, WORKERS_AT_ONCE))
  return { workers, workersAtOnce, parallel }
}

async function runHere(setup: RunSetup, engine: 'reference' | 'inline', options: SimulateOptions): Promise<RunResult> {
  const { simulation, shared, recorder } = openSimulation(setup, engine, options.order)
  await runSlices(simulation, options)
  return collectResult(simulation, shared, recorder)
}

/** In slices of host time, so that the event loop can deliver signals and show progress. */
async function runSlices(simulation: Simulation, options: SimulateOptions): Promise<void> {
  for (;;) {
    const pauseAt = performance.now() + SLICE_MS
    while (performance.now() < pauseAt) if (simulation.run(STEPS_PER_SLICE) !== 'running') return
    options.onProgress?.(simulation.cycle)
    options.onSlice?.(simulation)
    await nextTurn()
    if (simulation.events >= (options.stepLimit ?? Infinity)) {
      throw new StepLimitError(`the run did not end within ${options.stepLimit} steps`)
    }
    if (options.signal?.aborted === true) throw new EngineError('the run was interrupted')
  }
}

async function runThreads(setup: RunSetup, options: SimulateOptions): Promise<RunResult> {
  const { onProgress } = options
  const shared = openSharedState(setup.config.machine, setup.image, setup.memory)
  const timer = onProgress === undefined ? undefined : setInterval(() => onProgress(shared.progress[0]), PROGRESS_MS)
  const cluster = options.cluster ?? new Cluster()
  try {
    return await cluster.run(setup, options.signal)
  } finally {
    clearInterval(timer)
    if (options.cluster === undefined) await cluster.close()
  }
}
