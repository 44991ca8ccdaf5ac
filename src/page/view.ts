// What the page shows at the moment, and who is told of a change: every part draws itself from one record
// (view-hash.ts), at most once a frame.

import type { View } from './view-hash.js'

export type { View } from './view-hash.js'

export type Part = (view: Readonly<View>, changed: ReadonlySet<keyof View>) => void

/** Shortest stretch that the timeline shows. */
const SHORTEST = 20

export class Views {
  readonly endCycle: number
  readonly now: View
  readonly #parts: Part[] = []
  #changed = new Set<keyof View>()
  #frame = 0

  constructor(start: View, endCycle: number) {
    this.now = start
    this.endCycle = endCycle
  }

  /** `part` is called in the next frame after anything has changed. */
  add(part: Part): void {
    this.#parts.push(part)
  }

  set(changes: Partial<View>): void {
    for (const key of Object.keys(changes) as (keyof View)[]) {
      const value = changes[key]
      if (value === undefined || value === this.now[key]) continue
      Object.assign(this.now, { [key]: value })
      this.#changed.add(key)
    }
    if (this.#changed.size > 0) this.#schedule()
  }

  /** Shows [from, to), moved and shortened so that it lies in the run. */
  show(from: number, to: number): void {
    const whole = this.endCycle
    const length = Math.min(whole, Math.max(SHORTEST, to - from))
    const start = Math.min(Math.max(0, from), whole - length)
    this.set({ from: start, to: start + length })
  }

  /** Moves as little as makes `cycle` visible. */
  reveal(cycle: number): void {
    const { from, to } = this.now
    const margin = (to - from) / 12
    if (cycle < from) this.show(cycle - margin, cycle - margin + to - from)
    else if (cycle > to) this.show(cycle + margin - (to - from), cycle + margin)
  }

  /** `factor` below 1 shows more detail; `around` stays where it is. */
  zoom(factor: number, around: number): void {
    const { from, to } = this.now
    const length = Math.min(this.endCycle, Math.max(SHORTEST, (to - from) * factor))
    const share = (around - from) / (to - from)
    this.show(around - share * length, around + (1 - share) * length)
  }

  pan(share: number): void {
    const { from, to } = this.now
    this.show(from + share * (to - from), to + share * (to - from))
  }

  /** Everything again, for a new size or theme. */
  redraw(): void {
    for (const key of Object.keys(this.now) as (keyof View)[]) this.#changed.add(key)
    this.#schedule()
  }

  /** Draws what is due, now. */
  flush(): void {
    const changed = this.#changed
    this.#changed = new Set()
    for (const part of this.#parts) part(this.now, changed)
  }

  #schedule(): void {
    if (this.#frame !== 0) return
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0
      this.flush()
    })
  }
}
