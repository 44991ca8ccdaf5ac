// A core as it was at certain places, to be put back to: where its window began, and marks that the
// window leaves on its way, so that little has to be run again. Registers, clock and counters are
// copied each time. TLBs and paging caches are a hundred times as large, and most accesses leave them
// alone: the MMU itself copies them, to its undo words, before it changes them for the first time
// after a place (mmu-state.ts, UNDO_*), in whatever thread it runs. The next mark moves that copy away.
//
//   taken      mark 0     mark 1     mark 2        the core
//     |----------|----------|----------|--------------|-----> cycle
//     version 0             | version 1                       of TLBs and paging caches: changed after mark 1
//                                 ^ must not have acted at or after this cycle: back to mark 1
//
// Marks and versions are rings. What is older than their length is forgotten; the beginning of the
// window, which has version 0, never is.

import { UNDO_ARMED, UNDO_KEPT, UNDO_OFF, WORD_UNDO } from '../machine/mmu-state.js'
import { CORE_ACCESSES, CORE_LAST_START, MARKS, MMU_VERSIONS } from './shared-state.js'
import type { SharedState } from './shared-state.js'

// Words of `state`: marks that are good, from the first to before the second of these running numbers; the
// version of the core as it stands, up to changes that the undo words know.
const FIRST = 0
const PAST = 1
const VERSION = 2

/** A version is not begun after fewer accesses than take some ten times as long as copying the words. */
const ACCESSES_PER_VERSION = 1000

export class Checkpoint {
  /** What is in front of the MMU's words in the core's row. */
  readonly #row: Int32Array
  readonly #copy: Int32Array
  readonly #mmu: Int32Array
  readonly #undo: Int32Array
  readonly #state: Int32Array
  readonly #markRows: Int32Array[] = []
  readonly #markLastStarts: Float64Array[] = []
  readonly #markVersions: Int32Array
  readonly #versions: Int32Array[] = []
  readonly #doubles: Float64Array
  /** Accesses of the core when this thread began a version last. */
  #accesses = 0

  constructor({ layout, buffer }: SharedState, id: number) {
    this.#mmu = layout.view(buffer, 'core', 'mmu', id)
    this.#undo = layout.view(buffer, 'undo', 'mmu', id)
    this.#doubles = layout.view(buffer, 'core', 'doubles', id)
    const first = layout.offsetOf('core', 'doubles', id)
    this.#row = new Int32Array(buffer, first, (this.#mmu.byteOffset - first) / Int32Array.BYTES_PER_ELEMENT)
    this.#copy = new Int32Array(this.#row.length)
    this.#state = layout.view(buffer, 'marks', 'state', id)
    this.#markVersions = layout.view(buffer, 'marks', 'versions', id)
    const rows = layout.view(buffer, 'marks', 'rows', id)
    const mmus = layout.view(buffer, 'marks', 'mmus', id)
    const rowDoubles = rows.length / MARKS
    for (let i = 0; i < MARKS; i++) {
      const row = rows.subarray(i * rowDoubles, (i + 1) * rowDoubles)
      this.#markLastStarts.push(row.subarray(CORE_LAST_START, CORE_LAST_START + 1))
      this.#markRows.push(new Int32Array(buffer, row.byteOffset, this.#row.length))
    }
    for (let i = 0; i < MMU_VERSIONS; i++) {
      this.#versions.push(mmus.subarray(i * this.#mmu.length, (i + 1) * this.#mmu.length))
    }
  }

  /** A window begins here. */
  take(): void {
    this.#copy.set(this.#row)
    this.#mmu[WORD_UNDO] = UNDO_ARMED
    this.#state.fill(0)
  }

  /** The window has come here. Called by the thread that runs it. A mark that would be dear is left out. */
  mark(): void {
    const state = this.#state
    if (this.#mmu[WORD_UNDO] === UNDO_KEPT) {
      const accesses = this.#doubles[CORE_ACCESSES]
      if (accesses - this.#accesses < ACCESSES_PER_VERSION && accesses >= this.#accesses) return
      this.#accesses = accesses
      this.#nextVersion()
    }
    const slot = state[PAST] % MARKS
    if (state[PAST] - state[FIRST] === MARKS) state[FIRST] += 1
    state[PAST] += 1
    this.#markRows[slot].set(this.#row)
    this.#markVersions[slot] = state[VERSION]
  }

  /** To the last of these places at which no action had started at or after `limit`. */
  putBack(limit: number): void {
    const state = this.#state
    for (; state[PAST] > state[FIRST]; state[PAST] -= 1) {
      const slot = (state[PAST] - 1) % MARKS
      if (this.#markLastStarts[slot][0] >= limit) continue
      this.#row.set(this.#markRows[slot])
      this.#putBackMmu(this.#markVersions[slot])
      return
    }
    this.#row.set(this.#copy)
    this.#putBackMmu(0)
  }

  /** The core has gone on for good: what it changes now is not kept. */
  drop(): void {
    this.#mmu[WORD_UNDO] = UNDO_OFF
  }

  /** The undo words are of the present version: they go to its place, and a new one begins. */
  #nextVersion(): void {
    const state = this.#state
    this.#versions[placeOf(state[VERSION])].set(this.#undo)
    state[VERSION] += 1
    this.#mmu[WORD_UNDO] = UNDO_ARMED
    // Its place will be that of an older one, whose marks are of no use from now on.
    const oldest = state[VERSION] - (MMU_VERSIONS - 1)
    while (state[FIRST] < state[PAST] && this.#markVersions[state[FIRST] % MARKS] <= oldest) state[FIRST] += 1
  }

  #putBackMmu(version: number): void {
    const state = this.#state
    if (version !== state[VERSION]) {
      this.#mmu.set(this.#versions[placeOf(version)])
      this.#mmu[WORD_UNDO] = UNDO_ARMED
      state[VERSION] = version
    } else if (this.#mmu[WORD_UNDO] === UNDO_KEPT) {
      this.#mmu.set(this.#undo)
      // What was kept stays good.
      this.#mmu[WORD_UNDO] = UNDO_KEPT
    }
  }
}

/** Version 0 has a place for itself. */
function placeOf(version: number): number {
  return version === 0 ? 0 : 1 + (version - 1) % (MMU_VERSIONS - 1)
}
