// A replay's records through WebAssembly (machine/access-runs), a few at a time, as they have to be in the
// memory that it sees. What it leaves alone is done by the loop that stays here (machine/replay-loop.ts).

import { assert } from '../base/assert.js'
import { AccessRuns } from '../machine/access-runs/access-runs.js'
import type { RunViews, WasmMemory } from '../machine/access-runs/access-runs.js'
import { RUN_POSITION } from '../machine/access-runs/plan-layout.js'
import { ACCESS_EXEC, ACCESS_READ, ACCESS_WRITE, TRANSLATED, type Mmu } from '../machine/mmu.js'
import type { ReplayLoop } from '../machine/replay-loop.js'

const RECORD_WORDS = 2
/** Access kinds of Mmu.translate by the kind of a record: fetch, load, store. */
const ACCESS_OF_KIND = [ACCESS_EXEC, ACCESS_READ, ACCESS_WRITE] as const

export class ReplayRuns {
  readonly #runs: AccessRuns
  readonly #run: Float64Array
  readonly #atHand: Int32Array
  readonly #mmu: Mmu
  readonly #loop: ReplayLoop
  readonly #pageBytes: number

  /** `atHand`: where records go, in the memory of `wasm` as all of `views`. `pageBytes`: of every page. */
  constructor(
    wasm: WasmMemory, views: RunViews, atHand: Int32Array, mmu: Mmu, loop: ReplayLoop, pageBytes: number,
  ) {
    this.#runs = new AccessRuns(wasm, views)
    this.#run = views.run
    this.#atHand = atHand
    this.#mmu = mmu
    this.#loop = loop
    this.#pageBytes = pageBytes
  }

  /** Translates records [from, to), as {@link ReplayLoop.run} does. */
  run(records: Int32Array, from: number, to: number): void {
    const most = this.#atHand.length / RECORD_WORDS
    for (let at = from; at < to; at += most) {
      const past = Math.min(at + most, to)
      this.#atHand.set(records.subarray(at * RECORD_WORDS, past * RECORD_WORDS))
      this.#runAtHand(past - at)
    }
  }

  #runAtHand(count: number): void {
    const run = this.#run
    run[RUN_POSITION] = 0
    for (;;) {
      this.#runs.replay(Infinity, 2 * count, this.#atHand.byteOffset)
      const position = run[RUN_POSITION]!
      if (position >= 2 * count) return
      const record = position >> 1
      if (position % 2 === 0) this.#loop.run(this.#atHand, record, record + 1)
      else this.#translateSecondPage(record)
      run[RUN_POSITION] = 2 * record + 2
    }
  }

  #translateSecondPage(record: number): void {
    const lo = ((this.#atHand[record * RECORD_WORDS]! & -this.#pageBytes) + this.#pageBytes) | 0
    const tagged = this.#atHand[record * RECORD_WORDS + 1]!
    const hi = (tagged & 0xffff) + (lo === 0 ? 1 : 0)
    const status = this.#mmu.translate(hi, lo, ACCESS_OF_KIND[tagged >>> 30]!, true, true)
    assert(status === TRANSLATED, 'replay: a page of the trace is not mapped')
  }
}
