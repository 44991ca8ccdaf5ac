// The threads of a run: one scheduler and one worker_thread per simulated CPU, each with a Comlink
// control channel. A cluster is started for a run, can serve more runs after it, and is taken down
// whatever happens. The only module that knows where worker files are.

import { Worker } from 'node:worker_threads'
import type { ResourceLimits } from 'node:worker_threads'
import { wrap } from 'comlink'
import type { Remote } from 'comlink'
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs'
import { AssertionError, InvariantViolation } from '../base/assert.js'
import { EngineError, UserError } from '../base/errors.js'
import type { CpuControl, RunSetup, SchedulerControl } from './protocol.js'
import type { RunResult } from './result.js'
import { openSharedState, stateLayout } from './shared-state.js'
import { shutDownWorkers } from './threads.js'

/** Workers always run from the build: Node 20 does not start TypeScript files. */
const WORKERS = import.meta.url.endsWith('.ts')
  ? new URL('../../dist/workers/', import.meta.url)
  : new URL('../../workers/', import.meta.url)

/** A CPU's thread allocates little after its boot: small heaps keep 64 of them affordable. Megabytes. */
const CPU_LIMITS: ResourceLimits = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 64, stackSizeMb: 2 }

interface Thread<Control> {
  readonly worker: Worker
  readonly control: Remote<Control>
}

export class Cluster {
  readonly #cpus: Thread<CpuControl>[] = []
  #scheduler: Thread<SchedulerControl> | undefined
  /** Ends the run that is under way; calls to a thread that died would never settle. */
  #fail: ((error: Error) => void) | undefined

  /** Runs a setup. Rejects with EngineError when a thread dies or `signal` aborts; the cluster is closed then. */
  async run(setup: RunSetup, signal?: AbortSignal): Promise<RunResult> {
    const { cpus } = setup.config.machine
    const shared = openSharedState(stateLayout(setup.config.machine, setup.image), setup.state)
    const interrupt = (): void => this.#fail?.(new EngineError('the run was interrupted'))
    const failure = new Promise<never>((_, reject) => {
      this.#fail = reject
    })
    // The race below may be over before a thread fails.
    failure.catch(() => undefined)
    if (signal?.aborted === true) interrupt()
    signal?.addEventListener('abort', interrupt)
    try {
      return await Promise.race([this.#drive(setup), failure])
    } catch (error) {
      Atomics.store(shared.abort, 0, 1)
      shutDownWorkers(shared, cpus)
      await this.close()
      throw revive(error)
    } finally {
      this.#fail = undefined
      signal?.removeEventListener('abort', interrupt)
    }
  }

  /** Ends all threads. */
  async close(): Promise<void> {
    this.#fail = undefined
    const workers = this.#cpus.splice(0).map(({ worker }) => worker)
    if (this.#scheduler !== undefined) workers.push(this.#scheduler.worker)
    this.#scheduler = undefined
    await Promise.all(workers.map(worker => worker.terminate()))
  }

  async #drive(setup: RunSetup): Promise<RunResult> {
    const { cpus } = setup.config.machine
    for (let id = this.#cpus.length; id < cpus; id++) {
      this.#cpus.push(this.#start<CpuControl>(`cpu${id}`, 'cpu.js', CPU_LIMITS))
    }
    const scheduler = this.#scheduler ?? this.#start<SchedulerControl>('the scheduler', 'scheduler.js', {})
    this.#scheduler = scheduler
    const controls = this.#cpus.slice(0, cpus).map(({ control }) => control)
    await Promise.all(controls.map((control, id) => control.boot(setup, id)))
    // Each CPU serves until the scheduler rings its doorbell for the last time.
    const [result] = await Promise.all([scheduler.control.run(setup), ...controls.map(control => control.serve())])
    return result
  }

  #start<Control>(name: string, file: string, resourceLimits: ResourceLimits): Thread<Control> {
    const worker = new Worker(new URL(file, WORKERS), { name, resourceLimits })
    worker.on('error', error => {
      this.#fail?.(new EngineError(`the thread of ${name} failed: ${error.message}`, { cause: error }))
    })
    worker.on('exit', code => this.#fail?.(new EngineError(`the thread of ${name} died (exit code ${code})`)))
    return { worker, control: wrap<Control>(nodeEndpoint(worker)) }
  }
}

/** Comlink sends errors as plain Errors: gives the known kinds their class back. */
function revive(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  if (error.name === 'UserError') return new UserError(error.message)
  if (error.name === 'EngineError') return new EngineError(error.message)
  if (error.name === 'InvariantViolation') return new InvariantViolation(error.message)
  if (error.name === 'AssertionError') return new AssertionError(error.message)
  return error
}
