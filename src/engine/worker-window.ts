// A worker's window: the words through which the scheduler asks a worker to run the window of a CPU,
// follows it, ends it early, and gets it back. Which access orders which: docs/memory-order.md.
//
//   scheduler                               worker
//   limit, cpu, grain, stop, call           wait on the doorbell
//   add doorbell, notify          ---->     at every grain: mark, store progress, look at stop and call
//   look at progress              <----
//   lower stop                    ---->     ends at the next grain
//   look at answered              <----     end, answered; add calls, notify
//
// Between the doorbell and the answer the core's row is the worker's.

import type { SharedState } from './shared-state.js'

/** A limit that tells a worker to leave. */
export const LIMIT_SHUTDOWN = -1

/** Looks between two looks at the clock, which costs as much as several. */
const LOOKS_PER_TIME = 64

/** More cycles than a window can have; the greatest value of the words that count from its beginning. */
const NEVER = 2 ** 31 - 1

export class WorkerWindow {
  /** CPU whose window it is, and where it began; the scheduler's own knowledge. */
  id = -1
  #start = 0
  /** The doorbell that the worker is answering. */
  #rung = 0
  readonly #limit: Float64Array
  readonly #cpu: Int32Array
  readonly #grain: Int32Array
  readonly #doorbell: Int32Array
  readonly #stopAfter: Int32Array
  readonly #callAfter: Int32Array
  readonly #isReady: Int32Array
  readonly #progress: Int32Array
  readonly #end: Int32Array
  readonly #answered: Int32Array
  readonly #calls: Int32Array
  readonly #asks: Int32Array

  constructor({ layout, buffer, calls, asks }: SharedState, worker: number) {
    const row = layout.row(buffer, 'window', worker)
    this.#limit = row.limit
    this.#cpu = row.cpu
    this.#grain = row.grain
    this.#doorbell = row.doorbell
    this.#stopAfter = row.stopAfter
    this.#callAfter = row.callAfter
    this.#isReady = row.isReady
    this.#progress = row.progress
    this.#end = row.end
    this.#answered = row.answered
    this.#calls = calls
    this.#asks = asks
  }

  // The scheduler's side.

  get isReady(): boolean {
    return Atomics.load(this.#isReady, 0) === 1
  }

  /** Has the window of CPU `id` run from `start`, where its core stands, to `limit`. */
  ask(id: number, start: number, limit: number, grain: number): void {
    this.id = id
    this.#start = start
    this.#limit[0] = limit
    this.#cpu[0] = id
    this.#grain[0] = grain
    Atomics.store(this.#stopAfter, 0, NEVER)
    Atomics.store(this.#callAfter, 0, NEVER)
    Atomics.store(this.#progress, 0, 0)
    // A worker that is looking at its own doorbell makes room for this one.
    Atomics.add(this.#asks, 0, 1)
    // Publishes all of that, the core's row and the tables. Pairs with the load in waitForWork().
    Atomics.add(this.#doorbell, 0, 1)
    Atomics.notify(this.#doorbell, 0)
  }

  /** The worker has given the core back. */
  get isAnswered(): boolean {
    // Pairs with the store in answer(): after it the core's row is ours again.
    return Atomics.load(this.#answered, 0) === Atomics.load(this.#doorbell, 0)
  }

  /** END_* of a window that is answered. */
  get end(): number {
    return this.#end[0]!
  }

  /** No action of the window that is still to come starts before this cycle. */
  get reached(): number {
    return this.#start + Atomics.load(this.#progress, 0)
  }

  /** The window may end once it has passed `cycle`. */
  stopPast(cycle: number): void {
    const after = sinceStart(cycle, this.#start)
    if (after < Atomics.load(this.#stopAfter, 0)) Atomics.store(this.#stopAfter, 0, after)
  }

  /** The scheduler is to be called once the window has passed `cycle`. */
  callPast(cycle: number): void {
    Atomics.store(this.#callAfter, 0, sinceStart(cycle, this.#start))
  }

  shutDown(): void {
    this.#limit[0] = LIMIT_SHUTDOWN
    Atomics.add(this.#doorbell, 0, 1)
    Atomics.notify(this.#doorbell, 0)
  }

  // The worker's side.

  serve(): void {
    Atomics.store(this.#isReady, 0, 1)
  }

  /**
   * Waits for the next window; false: there is none any more. It does not sleep for so many milliseconds, unless
   * another worker is asked meanwhile. Counted in looks it would be awake ten times as long before its code is
   * compiled, on a core that the compiler could use.
   */
  waitForWork(awakeMs: number): boolean {
    const seen = this.#rung
    const asks = Atomics.load(this.#asks, 0)
    const sleepAt = performance.now() + awakeMs
    let looks = 0
    // Pairs with the add in ask().
    while ((this.#rung = Atomics.load(this.#doorbell, 0)) === seen) {
      looks += 1
      if (Atomics.load(this.#asks, 0) === asks && isStillTime(looks, sleepAt)) continue
      Atomics.wait(this.#doorbell, 0, seen)
    }
    this.id = this.#cpu[0]!
    return this.#limit[0] !== LIMIT_SHUTDOWN
  }

  get limit(): number {
    return this.#limit[0]!
  }

  get grain(): number {
    return this.#grain[0]!
  }

  /** The window has come so far; true: it is to end. */
  pass(cycles: number): boolean {
    const now = Math.min(cycles, NEVER)
    Atomics.store(this.#progress, 0, now)
    if (now > Atomics.load(this.#callAfter, 0)) this.#call()
    return now > Atomics.load(this.#stopAfter, 0)
  }

  answer(end: number): void {
    this.#end[0] = end
    // Publishes the core's row, its marks and the end. Pairs with the load in isAnswered.
    Atomics.store(this.#answered, 0, this.#rung)
    this.#call()
  }

  #call(): void {
    Atomics.add(this.#calls, 0, 1)
    Atomics.notify(this.#calls, 0)
  }
}

function sinceStart(cycle: number, start: number): number {
  return Math.max(0, Math.min(NEVER, cycle - start))
}

/** Whether somebody who has looked so often need not sleep yet. */
export function isStillTime(looks: number, sleepAtMs: number): boolean {
  return looks % LOOKS_PER_TIME !== 0 || performance.now() < sleepAtMs
}

/** Lets every worker leave its loop, and those that are still to come. */
export function shutDownWorkers(state: SharedState, workers: number): void {
  for (let worker = 0; worker < workers; worker++) new WorkerWindow(state, worker).shutDown()
}
