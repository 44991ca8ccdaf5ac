// Searching the lines of the trace, in slices of a few milliseconds so that the page stays alive: a
// million lines take a second or two. Every word has to be in a line, in any order.

import { byId, grouped } from './dom.js'
import { countUpTo } from './lanes.js'
import type { Model } from './model.js'
import { chooseEvent, currentEvent } from './trace-list.js'
import type { TraceList } from './trace-list.js'
import type { Timeline } from './timeline.js'
import type { Views } from './view.js'

const SLICE_MS = 8
const LINES_PER_LOOK = 512

export class Search {
  readonly #model: Model
  readonly #views: Views
  readonly #list: TraceList
  readonly #timeline: Timeline
  readonly #input = byId<HTMLInputElement>('search')
  readonly #only = byId<HTMLInputElement>('search-only')
  readonly #status = byId('search-status')
  #found: Int32Array = new Int32Array(0)
  /** Of the search under way: a newer one ends it. */
  #run = 0

  constructor(model: Model, views: Views, list: TraceList, timeline: Timeline) {
    this.#model = model
    this.#views = views
    this.#list = list
    this.#timeline = timeline
    this.#input.addEventListener('input', () => { void this.#start() })
    this.#only.addEventListener('change', () => this.#show())
    this.#input.addEventListener('keydown', (event) => {
      if (event.key === 'Enter') this.step(event.shiftKey ? -1 : 1)
      if (event.key === 'Escape') this.clear()
    })
    byId('search-next').addEventListener('click', () => this.step(1))
    byId('search-previous').addEventListener('click', () => this.step(-1))
  }

  focus(): void {
    this.#input.focus()
    this.#input.select()
  }

  clear(): void {
    this.#input.value = ''
    this.#input.blur()
    void this.#start()
  }

  /** Goes to the next match after, or the last one before, the present event. */
  step(direction: 1 | -1): void {
    const count = this.#found.length
    if (count === 0) return
    const upTo = countUpTo(this.#found, currentEvent(this.#model, this.#views.now))
    const isOnMatch = upTo > 0 && this.#found[upTo - 1] === currentEvent(this.#model, this.#views.now)
    const at = direction === 1 ? upTo : upTo - (isOnMatch ? 2 : 1)
    chooseEvent(this.#model, this.#views, this.#found[(at + count) % count])
    this.#say((at + count) % count)
  }

  async #start(): Promise<void> {
    const run = ++this.#run
    const words = this.#input.value.toLowerCase().split(/\s+/).filter((word) => word !== '')
    const found: number[] = []
    const { trace, line } = this.#model
    let pauseAt = performance.now() + SLICE_MS
    for (let event = 0; words.length > 0 && event < trace.length; event++) {
      const text = line(event).toLowerCase()
      if (words.every((word) => text.includes(word))) found.push(event)
      if (event % LINES_PER_LOOK !== 0 || performance.now() < pauseAt) continue
      this.#status.textContent = `${Math.floor((event / trace.length) * 100)} %`
      await new Promise((resume) => { setTimeout(resume) })
      if (run !== this.#run) return
      pauseAt = performance.now() + SLICE_MS
    }
    this.#found = Int32Array.from(found)
    this.#show()
  }

  #show(): void {
    const isSearching = this.#input.value.trim() !== ''
    const isOnly = this.#only.checked && isSearching
    this.#list.list(isOnly ? this.#found : undefined, isSearching ? this.#input.value.trim() : '')
    this.#timeline.showMatches(this.#found)
    this.#say(-1)
  }

  #say(at: number): void {
    const count = this.#found.length
    this.#status.textContent = this.#input.value.trim() === '' ? ''
      : count === 0 ? 'nothing found' : at >= 0 ? `${grouped(at + 1)} of ${grouped(count)}` : `${grouped(count)} found`
  }
}
