// Boots a run in worker_threads: one scheduler and one worker per simulated CPU, each with a
// Comlink control channel, and takes them down again whatever happens. The only module that knows
// where worker files are.

import { Worker } from 'node:worker_threads'
import type { ResourceLimits } from 'node:worker_threads'
import { wrap } from 'comlink'
import type { Remote } from 'comlink'
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs'
import { AssertionError } from '../base/assert.js'
import { EngineError, UserError } from '../base/errors.js'
import type { CpuControl, RunSetup, SchedulerControl } from './protocol.js'
import type { RunResult } from './result.js'
import { shutDownWorkers } from './threads.js'
import { openSharedState, stateLayout } from './shared-state.js'

/** Workers always run from the build: Node 20 does not start TypeScript files. */
const WORKERS = import.meta.url.endsWith('.ts')
  ? new URL('../../dist/workers/', import.meta.url)
  : new URL('../../workers/', import.meta.url)

/** A CPU's thread allocates nothing after its boot: small heaps keep 64 of them affordable. Megabytes. */
const CPU_LIMITS: ResourceLimits = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 64, stackSizeMb: 2 }

interface Thread {
  readonly name: string
  readonly worker: Worker
}

/** Runs a setup on threads. Rejects with EngineError when a thread dies or `signal` aborts. */
export async function runCluster(setup: RunSetup, signal?: AbortSignal): Promise<RunResult> {
  const { cpus } = setup.config.machine
  const threads: Thread[] = []
  const shared = openSharedState(stateLayout(setup.config.machine, setup.image), setup.state)
  let isOver = false
  let onAbort: (() => void) | undefined
  // One promise for every way in which threads can fail: calls to a dead worker never settle.
  const failure = new Promise<never>((_, reject) => {
    onAbort = () => reject(new EngineError('the run was interrupted'))
    if (signal?.aborted === true) onAbort()
    signal?.addEventListener('abort', onAbort)
    const start = (name: string, file: string, resourceLimits: ResourceLimits): Worker => {
      const worker = new Worker(new URL(file, WORKERS), { name, resourceLimits })
      worker.on('error', error => {
        if (!isOver) reject(new EngineError(`the thread of ${name} failed: ${error.message}`, { cause: error }))
      })
      worker.on('exit', code => {
        if (!isOver) reject(new EngineError(`the thread of ${name} died (exit code ${code})`))
      })
      threads.push({ name, worker })
      return worker
    }
    for (let id = 0; id < cpus; id++) start(`cpu${id}`, 'cpu.js', CPU_LIMITS)
    start('the scheduler', 'scheduler.js', {})
  })
  try {
    return await Promise.race([drive(setup, threads), failure])
  } finally {
    isOver = true
    if (onAbort !== undefined) signal?.removeEventListener('abort', onAbort)
    Atomics.store(shared.abort, 0, 1)
    shutDownWorkers(shared, cpus)
    await Promise.all(threads.map(({ worker }) => worker.terminate()))
  }
}

async function drive(setup: RunSetup, threads: readonly Thread[]): Promise<RunResult> {
  const { cpus } = setup.config.machine
  const controls = threads.slice(0, cpus).map(({ worker }) => wrap<CpuControl>(nodeEndpoint(worker)))
  await Promise.all(controls.map((control, id) => control.boot(setup, id)))
  // Each serves until the scheduler rings its doorbell for the last time.
  const served = controls.map(control => control.serve())
  const scheduler: Remote<SchedulerControl> = wrap<SchedulerControl>(nodeEndpoint(threads[cpus].worker))
  try {
    const [result] = await Promise.all([scheduler.run(setup), ...served])
    return result
  } catch (error) {
    throw revive(error)
  }
}

/** Comlink sends errors as plain Errors: gives the known kinds their class back. */
function revive(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  if (error.name === 'UserError') return new UserError(error.message)
  if (error.name === 'EngineError') return new EngineError(error.message)
  if (error.name === 'AssertionError') return new AssertionError(error.message)
  return error
}
