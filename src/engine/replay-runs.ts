// A replay's records through WebAssembly (machine/access-runs). What it leaves alone is done by the loop
// that stays here (machine/replay-loop.ts).

import type { AccessRuns } from '../machine/access-runs/access-runs.js'
import { RUN_POSITION } from '../machine/access-runs/plan-layout.js'
import type { ReplayLoop } from '../machine/replay-loop.js'
import type { RecordsAtHand } from './records-at-hand.js'

export class ReplayRuns {
  readonly #runs: AccessRuns
  readonly #run: Float64Array
  readonly #atHand: RecordsAtHand
  readonly #loop: ReplayLoop
  /** The trace of the last call, and a number that it alone has. */
  #records: Int32Array | undefined
  #trace = 0

  /** `run`: the doubles that `runs` brings forward. `loop` is over the same MMU. */
  constructor(runs: AccessRuns, run: Float64Array, atHand: RecordsAtHand, loop: ReplayLoop) {
    this.#runs = runs
    this.#run = run
    this.#atHand = atHand
    this.#loop = loop
  }

  /** Translates records [from, to), as {@link ReplayLoop.run} does. */
  run(records: Int32Array, from: number, to: number): void {
    if (records !== this.#records) {
      this.#records = records
      this.#trace += 1
    }
    const run = this.#run
    const atHand = this.#atHand
    run[RUN_POSITION] = 2 * from
    while (run[RUN_POSITION] < 2 * to) {
      atHand.fetch(this.#trace, records, Math.floor(run[RUN_POSITION] / 2))
      const past = 2 * Math.min(to, atHand.past)
      this.#runs.replay(Infinity, past, atHand.placeOf(0))
      const position = run[RUN_POSITION]
      if (position >= past) continue
      const record = Math.floor(position / 2)
      if (position % 2 === 0) this.#loop.run(records, record, record + 1)
      else this.#loop.runSecondPage(records, record)
      run[RUN_POSITION] = 2 * record + 2
    }
  }
}
