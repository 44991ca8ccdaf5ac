// The threads engine: windows as in windows.ts, but each CPU has a worker_thread of its own that
// runs the CPU's long windows in parallel with the others. Short ones are run by the scheduler
// itself, because waking a worker costs tens of microseconds; it is the same code on the same
// shared state, so who runs a window can never change a result.
//
//   scheduler                              worker of CPU c
//   write limit[c]                         wait on doorbell[c]
//   add doorbell[c], notify       ---->    read limit[c], run the window, write end[c]
//   run the short windows                  add arrivals, notify
//   wait on arrivals              <----    wait on doorbell[c]
//   read end[c], core rows

import { EngineError } from '../base/errors.js'
import type { KernelCpu } from '../kernel/cpu.js'
import type { Core } from './core.js'
import type { SharedState } from './shared-state.js'
import { WindowedUserSide } from './windows.js'

/** A limit that tells a worker to leave. */
export const LIMIT_SHUTDOWN = -1

/** Windows of fewer cycles are run by the scheduler. About 100 microseconds of host time. */
export const WORKER_WINDOW_CYCLES = 20_000

/** How long the scheduler waits for workers before it gives up, milliseconds. */
const ARRIVAL_TIMEOUT_MS = 60_000
const ARRIVAL_POLL_MS = 200

export interface WorkerLoopOptions {
  /** Sleep up to this long before and after windows, milliseconds: for tests that host timing does not matter. */
  randomDelayMs: number
  /** End the thread instead of running the n-th window: for tests that a run does not wait for the dead. */
  dieAtWindow: number
}

export class ThreadedUserSide extends WindowedUserSide {
  readonly #state: SharedState
  readonly #limits: readonly Float64Array[]
  readonly #doorbells: readonly Int32Array[]
  readonly #windowEnds: readonly Int32Array[]
  readonly #shortestWorkerWindow: number

  constructor(
    state: SharedState, cpus: number, kernelCpus: () => readonly KernelCpu[],
    shortestWorkerWindow: number = WORKER_WINDOW_CYCLES,
  ) {
    super(state, cpus, kernelCpus)
    const ids = Array.from({ length: cpus }, (_, id) => id)
    const { layout, buffer } = state
    this.#state = state
    this.#limits = ids.map(id => layout.view(buffer, 'window', 'limit', id))
    this.#doorbells = ids.map(id => layout.view(buffer, 'window', 'doorbell', id))
    this.#windowEnds = ids.map(id => layout.view(buffer, 'window', 'end', id))
    this.#shortestWorkerWindow = shortestWorkerWindow
  }

  protected override runWindows(ids: readonly number[]): void {
    const arrivals = this.#state.arrivals
    const before = Atomics.load(arrivals, 0)
    const remote: number[] = []
    const local: number[] = []
    for (const id of ids) {
      const limit = this.limitFor(id)
      if (limit - this.cores[id].clock < this.#shortestWorkerWindow) {
        local.push(id)
        continue
      }
      remote.push(id)
      this.#limits[id][0] = limit
      // Publishes the limit and the core row. Pairs with the load in serveWindows().
      Atomics.add(this.#doorbells[id], 0, 1)
      Atomics.notify(this.#doorbells[id], 0)
    }
    super.runWindows(local)
    this.#waitForArrivals(before, remote)
    for (const id of remote) this.ends[id] = this.#windowEnds[id][0]
  }

  #waitForArrivals(before: number, remote: readonly number[]): void {
    const { arrivals, abort } = this.#state
    for (let waitedMs = 0; ;) {
      // Pairs with the add in serveWindows(): after it the core rows are ours again.
      const now = Atomics.load(arrivals, 0)
      if (((now - before) | 0) >= remote.length) return
      if (Atomics.load(abort, 0) !== 0) throw new EngineError('the run was stopped')
      if (Atomics.wait(arrivals, 0, now, ARRIVAL_POLL_MS) !== 'timed-out') continue
      waitedMs += ARRIVAL_POLL_MS
      if (waitedMs < ARRIVAL_TIMEOUT_MS) continue
      const names = remote.map(id => `cpu${id} (window from cycle ${this.cores[id].clock})`).join(', ')
      throw new EngineError(`${remote.length - (now - before)} worker(s) did not finish a window; asked: ${names}`)
    }
  }
}

/** The life of a CPU's worker: windows until it is told to leave. Blocks its thread. */
export function serveWindows(state: SharedState, id: number, core: Core, options: WorkerLoopOptions): void {
  const { layout, buffer, arrivals } = state
  const limit = layout.view(buffer, 'window', 'limit', id)
  const doorbell = layout.view(buffer, 'window', 'doorbell', id)
  const end = layout.view(buffer, 'window', 'end', id)
  const idle = new Int32Array(new SharedArrayBuffer(4))
  let seen = 0
  let windows = 0
  for (;;) {
    Atomics.wait(doorbell, 0, seen)
    // Pairs with the add in runWindows().
    const rung = Atomics.load(doorbell, 0)
    if (rung === seen) continue
    seen = rung
    if (limit[0] === LIMIT_SHUTDOWN) return
    windows += 1
    if (windows === options.dieAtWindow) process.exit(1)
    hostDelay(idle, options)
    end[0] = core.run(limit[0], false, false)
    hostDelay(idle, options)
    // Publishes the core row and the end. Pairs with the load in #waitForArrivals().
    Atomics.add(arrivals, 0, 1)
    Atomics.notify(arrivals, 0)
  }
}

/** Lets every worker leave its loop. */
export function shutDownWorkers(state: SharedState, cpus: number): void {
  for (let id = 0; id < cpus; id++) {
    state.layout.view(state.buffer, 'window', 'limit', id)[0] = LIMIT_SHUTDOWN
    const doorbell = state.layout.view(state.buffer, 'window', 'doorbell', id)
    Atomics.add(doorbell, 0, 1)
    Atomics.notify(doorbell, 0)
  }
}

/** Host time only, and only in tests: the one place that may use Math.random. */
function hostDelay(idle: Int32Array, options: WorkerLoopOptions): void {
  if (options.randomDelayMs > 0) Atomics.wait(idle, 0, 0, Math.random() * options.randomDelayMs)
}
