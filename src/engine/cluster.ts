// The threads of a run: one scheduler and a worker_thread for each simulated CPU (or fewer, with
// --host-threads), each with a Comlink control channel. The first few start with the run, while the
// scheduler is at work already; those of larger machines when the scheduler wants them. A cluster can
// serve more runs after the first, one at a time, and is taken down whatever happens. The only module
// that knows where worker files are.

import { MessageChannel, Worker } from 'node:worker_threads'
import type { MessagePort, ResourceLimits } from 'node:worker_threads'
import { transfer, wrap } from 'comlink'
import type { Remote } from 'comlink'
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs'
import { AssertionError, InvariantViolation } from '../base/assert.js'
import { EngineError, UserError } from '../base/errors.js'
import type { CpuControl, RunSetup, SchedulerControl } from './protocol.js'
import type { RunResult } from './result.js'
import { openSharedState } from './shared-state.js'
import { shutDownWorkers } from './worker-window.js'

/** Workers always run from the build: Node 20 does not start TypeScript files. */
const WORKERS = import.meta.url.endsWith('.ts')
  ? new URL('../../dist/workers/', import.meta.url)
  : new URL('../../workers/', import.meta.url)

/** A worker allocates little after its boot: small heaps keep 64 of them affordable. Megabytes. */
const CPU_LIMITS: ResourceLimits = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 64, stackSizeMb: 2 }

interface Thread<Control> {
  readonly worker: Worker
  readonly control: Remote<Control>
}

export class Cluster {
  readonly #workers = new Map<number, Thread<CpuControl>>()
  #scheduler: Thread<SchedulerControl> | undefined
  /** Says which workers the run that is under way wants. */
  #wanted: MessagePort | undefined
  /** Those that live. */
  readonly #threads = new Set<Worker>()
  /** Of a thread that died while there was no run. */
  #failure: Error | undefined
  /** Ends the run that is under way; calls to a thread that died would never settle. */
  #fail: ((error: Error) => void) | undefined

  /** Runs a setup. Rejects with EngineError when a thread dies or `signal` aborts; the cluster is closed then. */
  async run(setup: RunSetup, signal?: AbortSignal): Promise<RunResult> {
    if (this.#fail !== undefined) throw new EngineError('the threads are busy with another run')
    if (this.#failure !== undefined) throw this.#failure
    const shared = openSharedState(setup.config.machine, setup.image, setup.memory)
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
      shutDownWorkers(shared, setup.workers)
      await this.close()
      throw revive(error)
    } finally {
      this.#fail = undefined
      this.#wanted?.close()
      signal?.removeEventListener('abort', interrupt)
    }
  }

  /** Starts the scheduler's thread, which a run would do as well, but later. */
  warmUp(): void {
    this.#scheduler ??= this.#start<SchedulerControl>('the scheduler', 'scheduler.js', {})
  }

  /** Ends all threads. */
  async close(): Promise<void> {
    this.#fail = undefined
    const threads = [...this.#threads]
    this.#threads.clear()
    this.#workers.clear()
    this.#scheduler = undefined
    await Promise.all(threads.map(worker => worker.terminate()))
  }

  async #drive(setup: RunSetup): Promise<RunResult> {
    this.warmUp()
    const { control } = this.#scheduler!
    const begin = (worker: number): Promise<void> => this.#serve(setup, worker)
      .catch((error: unknown) => this.#fail?.(error as Error))
    const first = Array.from({ length: setup.workersAtOnce }, (_, worker) => begin(worker))
    // Tests that want every window in a worker want them from the first on; others do not wait.
    if (setup.shortestWorkerWindow === 0) await Promise.all(first)
    const { port1, port2 } = new MessageChannel()
    this.#wanted = port1
    port1.on('message', begin)
    return control.run(setup, transfer(port2, [port2]) as MessagePort)
  }

  /** Has a worker serve this run until the scheduler lets it go; it then waits for the next. */
  async #serve(setup: RunSetup, worker: number): Promise<void> {
    const thread = this.#workers.get(worker) ?? this.#start<CpuControl>(`cpu${worker}`, 'cpu.js', CPU_LIMITS)
    this.#workers.set(worker, thread)
    // Both at once: the request of another run must not come between them.
    const booted = thread.control.boot(setup, worker)
    thread.control.serve().catch((error: unknown) => this.#fail?.(error as Error))
    await booted
  }

  #start<Control>(name: string, file: string, resourceLimits: ResourceLimits): Thread<Control> {
    const worker = new Worker(new URL(file, WORKERS), { name, resourceLimits })
    const failed = (what: string, options?: ErrorOptions): void => {
      // A thread may fail before a run needs it, and is no concern of anybody once the cluster is closed.
      if (!this.#threads.delete(worker)) return
      const error = new EngineError(`the thread of ${name} ${what}`, options)
      if (this.#fail === undefined) this.#failure = error
      else this.#fail(error)
    }
    worker.on('error', error => failed(`failed: ${error.message}`, { cause: error }))
    worker.on('exit', code => failed(`died (exit code ${code})`))
    this.#threads.add(worker)
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
