// The threads engine: windows as in windows.ts, but long ones are run by workers, in parallel with
// each other and with the scheduler, which runs one itself meanwhile. Short ones are never handed
// over, because waking a worker costs tens of microseconds; it is the same code on the same shared
// state, so who runs a window, and when, can never change a result.
//
// While a worker runs the window of a CPU the scheduler goes on with everything else:
//
//   * It commits steps that lie before the place that the window has reached by now. Nothing that
//     the window is still to do can come before them.
//   * Before anything is written that the core can see, and before its interrupts change, it holds
//     the core: it has the window end at the next grain and waits for it (hold).
//   * CPUs of other address spaces never wait for each other, except that none runs ahead for ever.
//   * When the window of a CPU ends with an event, those that see the same tables are told to end
//     once they have passed it, since going on is for nothing.

import { EngineError } from '../base/errors.js'
import type { KernelCpu } from '../kernel/cpu.js'
import { seesTablesOf } from '../kernel/mm/mm.js'
import { nextKernelCycle } from '../kernel/timeline.js'
import { END_LIMIT, END_NONE } from './core.js'
import type { RunSetup } from './protocol.js'
import { MARKS } from './shared-state.js'
import type { SharedState } from './shared-state.js'
import { END_RUNNING, WindowedUserSide } from './windows.js'
import { isStillTime, WorkerWindow } from './worker-window.js'

/** Windows that are expected to have fewer cycles are run by the scheduler: some 25 microseconds of hits. */
export const WORKER_WINDOW_CYCLES = 20_000

/** Cycles between two looks of a window at the rest of the world; it also leaves a mark there. */
export const GRAIN_CYCLES = 2048
/** So many times longer where nobody else sees the tables. */
const PRIVATE_GRAINS = 16
/** How far a CPU runs ahead of those that see its tables, in grains: as far as its marks reach. */
const AHEAD_GRAINS = MARKS - 2
/** How far it runs ahead of all others. */
const PRIVATE_AHEAD_CYCLES = 2 ** 23

/**
 * So many workers start with the run, or as many as can run at once: each costs tens of milliseconds of a host's core,
 * beside the run, and megabytes.
 */
export const WORKERS_AT_ONCE = 8
/** Further ones start one after the other when they are wanted, with so much host time between them. */
const WORKER_START_MS = 500
/** Cycles of a window here between two looks for work for free workers. */
const FEED_CYCLES = 32_768

/** How long the scheduler waits for workers before it gives up, milliseconds. */
const ANSWER_TIMEOUT_MS = 60_000
const ANSWER_POLL_MS = 200
/** How long the scheduler looks at a worker before it sleeps, milliseconds. */
const AWAKE_MS = 0.1

type WindowOptions =
  'config' | 'image' | 'workers' | 'workersAtOnce' | 'parallel' | 'shortestWorkerWindow' | 'grainCycles'

export type ThreadOptions = Pick<RunSetup, WindowOptions> & {
  /** A worker would be of use that has not been started yet. */
  startWorker: (worker: number) => void
}

export class ThreadedUserSide extends WindowedUserSide {
  readonly #state: SharedState
  readonly #options: ThreadOptions
  readonly #windows: readonly WorkerWindow[]
  readonly #isStarted: boolean[]
  /** Workers that were started after the run had begun. */
  #startedLate = 0
  readonly #begunMs = performance.now()
  /** Workers that run a window. */
  readonly #running: WorkerWindow[] = []
  /** CPUs whose windows are next here, unless a worker takes them. */
  #waiting: number[] = []
  /** The CPU whose window a worker had last: that worker may still be awake. */
  #last = -1
  /** Where the present stretch of user mode of each CPU began, and how long the last ones were. */
  readonly #since: Float64Array
  readonly #stretch: Float64Array

  constructor(state: SharedState, kernelCpus: () => readonly KernelCpu[], options: ThreadOptions) {
    super(state, options, kernelCpus)
    const { cpus } = options.config.machine
    this.#state = state
    this.#options = options
    this.#windows = Array.from({ length: options.workers }, (_, worker) => new WorkerWindow(state, worker))
    this.#isStarted = this.#windows.map((_, worker) => worker < options.workersAtOnce)
    this.#since = new Float64Array(cpus)
    this.#stretch = new Float64Array(cpus)
  }

  override isRunningAhead(cpu: KernelCpu): boolean {
    return this.ends[cpu.id] === END_RUNNING
  }

  override cycleOf(cpu: KernelCpu): number {
    return this.isRunningAhead(cpu) ? this.#windowOf(cpu.id).reached : super.cycleOf(cpu)
  }

  override reached(cpu: KernelCpu): boolean {
    if (!this.isRunningAhead(cpu)) return super.reached(cpu)
    this.#collect()
    if (this.isRunningAhead(cpu) && !this.runAheadNow()) this.#waitFor(this.#windowOf(cpu.id), this.#nextOther(cpu))
    return false
  }

  override beforeCommit(cpu: KernelCpu): void {
    // One short stretch does not mean that the next is short.
    this.#stretch[cpu.id] = Math.max(this.cores[cpu.id].clock - this.#since[cpu.id], 0.75 * this.#stretch[cpu.id])
    super.beforeCommit(cpu)
  }

  override committed(cpu: KernelCpu): void {
    this.#since[cpu.id] = this.cores[cpu.id].clock
    super.committed(cpu)
  }

  protected override runWindows(ids: readonly number[]): void {
    if (this.#options.parallel === 0) return super.runWindows(ids)
    if (this.#last >= 0) this.#goOn(this.kernelCpus()[this.#last])
    const local = ids.filter(id => this.ends[id] !== END_RUNNING && !this.#handOver(id))
    if (this.#running.length === 0) return super.runWindows(local)
    this.#waiting = local
    while (this.#waiting.length > 0) this.#runHere(this.#waiting.shift()!)
  }

  /** A window that turns out to be long is cut, so that a worker can go on with it. */
  protected override limitFor(id: number): number {
    const { parallel, shortestWorkerWindow } = this.#options
    const limit = super.limitFor(id)
    return parallel === 0 ? limit : Math.min(limit, this.cores[id].clock + Math.max(1, shortestWorkerWindow))
  }

  protected override hold(id: number, cycle: number): void {
    if (this.ends[id] !== END_RUNNING) return
    const window = this.#windowOf(id)
    window.stopPast(cycle)
    while (this.ends[id] === END_RUNNING) this.#waitFor(window, Infinity)
  }

  #windowOf(id: number): WorkerWindow {
    return this.#windows[id % this.#options.workers]
  }

  /** Gives the window of a CPU to its worker, if that is worth while. */
  #handOver(id: number): boolean {
    const { shortestWorkerWindow, parallel, grainCycles } = this.#options
    const core = this.cores[id]
    const { clock } = core
    if (this.#running.length >= parallel) return false
    if (core.instruction.op === 'spin' || this.#isShort(id, shortestWorkerWindow)) return false
    const window = this.#windowOf(id)
    if (!window.isReady) {
      this.#start(id % this.#options.workers)
      return false
    }
    if (this.#running.includes(window)) return false
    const limit = this.#reachOf(id)
    if (limit - clock < Math.max(1, shortestWorkerWindow)) return false
    const isPrivate = this.#slowestSharing(this.kernelCpus()[id]) === Infinity
    this.ends[id] = END_RUNNING
    this.#running.push(window)
    this.#last = id
    window.ask(id, clock, limit, isPrivate ? PRIVATE_GRAINS * grainCycles : grainCycles)
    return true
  }

  /** Is a window of a CPU likely to have fewer cycles? What is found out soonest goes first: most windows are short. */
  #isShort(id: number, cycles: number): boolean {
    const { clock } = this.cores[id]
    const past = clock + cycles
    if (this.bounds[id] < past || Math.max(this.#stretch[id], clock - this.#since[id]) < cycles) return true
    if (this.eventFor(id) < past || this.#firstEventFor(this.kernelCpus()[id]) < past) return true
    const program = this.programs[id]
    program.look()
    return program.cycles < cycles
  }

  /** How far the window of a CPU may reach while windows of others are run at the same time. */
  #reachOf(id: number): number {
    const shared = this.#slowestSharing(this.kernelCpus()[id])
    const reach = shared === Infinity
      ? this.#slowest() + PRIVATE_AHEAD_CYCLES : shared + AHEAD_GRAINS * this.#options.grainCycles
    return Math.min(reach, this.bounds[id])
  }

  #start(worker: number): void {
    if (this.#isStarted[worker]) return
    if (performance.now() - this.#begunMs < (this.#startedLate + 1) * WORKER_START_MS) return
    this.#isStarted[worker] = true
    this.#startedLate += 1
    this.#options.startWorker(worker)
  }

  /** Runs a window here, in grains, while workers run others. */
  #runHere(id: number): void {
    const { grainCycles } = this.#options
    const cpu = this.kernelCpus()[id]
    const core = this.cores[id]
    let limit = Math.max(this.limitFor(id), this.#reachOf(id))
    const isPrivate = this.#slowestSharing(cpu) === Infinity
    const grain = isPrivate ? PRIVATE_GRAINS * grainCycles : grainCycles
    let end = END_NONE
    let fedAt = core.clock
    for (;;) {
      // Past an event that it could see it would go for nothing.
      const event = this.#firstEventFor(cpu)
      end = core.run(Math.max(core.clock + 1, Math.min(limit, core.clock + grain, event + 1)), false, false)
      this.#collect()
      if (end !== END_LIMIT || event < core.clock) break
      if (core.clock >= limit) limit = this.#reachOf(id)
      if (core.clock >= limit) break
      if (core.clock - fedAt >= FEED_CYCLES) {
        fedAt = core.clock
        this.#feed(id)
      }
      this.checkpoints[id].mark()
    }
    this.ends[id] = end
    this.#tellSharing(cpu)
  }

  /** Gives a worker that is free something to do while the core of CPU `here` runs in this thread. */
  #feed(here: number): void {
    if (this.#running.length >= this.#options.parallel) return
    const waiting = this.#waiting.findIndex(id => this.#handOver(id))
    if (waiting >= 0) {
      this.#waiting.splice(waiting, 1)
      return
    }
    // Those that have come to a horizon may go on: should they have gone too far, they are put back as ever.
    for (const cpu of this.kernelCpus()) if (cpu.id !== here && this.#goOn(cpu)) return
  }

  /** Has a worker go on with the window of a CPU that has come to its limit. */
  #goOn(cpu: KernelCpu): boolean {
    if (!cpu.inUserMode || this.ends[cpu.id] !== END_LIMIT || !this.#windowOf(cpu.id).isReady) return false
    this.bounds[cpu.id] = this.boundOf(cpu)
    return this.#handOver(cpu.id)
  }

  /** Takes back the windows that are answered. */
  #collect(): void {
    for (let i = this.#running.length - 1; i >= 0; i--) {
      const window = this.#running[i]
      if (!window.isAnswered) continue
      this.#running.splice(i, 1)
      const cpu = this.kernelCpus()[window.id]
      this.ends[window.id] = window.end
      cpu.retime()
      this.#tellSharing(cpu)
    }
  }

  /** The window of `cpu` has ended with an event: others that see its tables need not go on past it. */
  #tellSharing(cpu: KernelCpu): void {
    if (this.ends[cpu.id] === END_LIMIT) return
    for (const window of this.#running) if (this.#sees(window, cpu)) window.stopPast(this.cores[cpu.id].clock)
  }

  #sees(window: WorkerWindow, cpu: KernelCpu): boolean {
    return seesEachOther(this.kernelCpus()[window.id], cpu)
  }

  /** The first event that is known of CPUs that see the tables of `cpu`. */
  #firstEventFor(cpu: KernelCpu): number {
    let first = Infinity
    for (const other of this.kernelCpus()) {
      const end = this.ends[other.id]
      if (other === cpu || !other.inUserMode || end === END_RUNNING || end === END_NONE || end === END_LIMIT) continue
      if (seesEachOther(other, cpu)) first = Math.min(first, this.cores[other.id].clock)
    }
    return first
  }

  /** How far the slowest of the CPUs is that run user code on tables that `cpu` sees. */
  #slowestSharing(cpu: KernelCpu): number {
    let slowest = Infinity
    for (const other of this.kernelCpus()) {
      if (other === cpu || !other.inUserMode || !seesEachOther(other, cpu)) continue
      slowest = Math.min(slowest, this.cycleOf(other))
    }
    return slowest
  }

  /** How far the slowest CPU is that is in user mode. */
  #slowest(): number {
    let slowest = Infinity
    for (const cpu of this.kernelCpus()) if (cpu.inUserMode) slowest = Math.min(slowest, this.cycleOf(cpu))
    return slowest
  }

  /** When somebody else than `cpu` does something next. */
  #nextOther(cpu: KernelCpu): number {
    let next = Infinity
    for (const other of this.kernelCpus()) {
      if (other !== cpu) next = Math.min(next, other.inUserMode ? this.cycleOf(other) : nextKernelCycle(other))
    }
    return next
  }

  /** Until the window is answered, or has passed `cycle`, or something else has come to an end. */
  #waitFor(window: WorkerWindow, cycle: number): void {
    const { calls, abort } = this.#state
    const before = this.#running.length
    const sleepAt = performance.now() + AWAKE_MS
    for (let looks = 1; isStillTime(looks, sleepAt); looks++) {
      if (window.isAnswered || window.reached > cycle) return this.#collect()
    }
    for (let waitedMs = 0; ;) {
      const seen = Atomics.load(calls, 0)
      window.callPast(cycle)
      if (window.reached > cycle) return
      this.#collect()
      if (this.#running.length < before) return
      if (Atomics.load(abort, 0) !== 0) throw new EngineError('the run was stopped')
      if (Atomics.wait(calls, 0, seen, ANSWER_POLL_MS) !== 'timed-out') continue
      waitedMs += ANSWER_POLL_MS
      if (waitedMs >= ANSWER_TIMEOUT_MS) {
        throw new EngineError(`the worker of cpu${window.id} is stuck in a window, at cycle ${window.reached}`)
      }
    }
  }
}

function seesEachOther(a: KernelCpu, b: KernelCpu): boolean {
  const { mm } = a.current
  const other = b.current.mm
  return mm !== undefined && other !== undefined && (seesTablesOf(mm, other) || seesTablesOf(other, mm))
}
