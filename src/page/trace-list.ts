// The trace as text beside the timeline. Only the lines in sight exist as elements, so a million of them
// scroll like a hundred; the height of the scrolled area is limited, because browsers limit it.

import { EVENTS } from '../trace/events.js'
import { byId, el, grouped } from './dom.js'
import { countUpTo } from './lanes.js'
import type { Model } from './model.js'
import { lastEventAt } from './model.js'
import type { View, Views } from './view.js'

const ROW = 22
/** Below what every browser can scroll. */
const HEIGHT_MAX = 8_000_000

export class TraceList {
  readonly #model: Model
  readonly #views: Views
  readonly #scroller = byId('trace')
  readonly #space = el('div', 'space')
  readonly #lines = el('div', 'lines')
  readonly #status = byId('trace-count')
  /** Of the last cycle: shorter ones are padded to as many. */
  readonly #digits: number
  /** Events that are listed, ascending; undefined: all. */
  #listed: Int32Array | undefined
  #needle = ''
  /** First listed line in sight, a fraction for smooth scrolling. */
  #top = 0
  /** The scroll position that the list has set itself. */
  #ownScroll = -1

  constructor(model: Model, views: Views) {
    this.#model = model
    this.#views = views
    this.#digits = Math.min(12, String(model.meta.endCycle).length)
    this.#scroller.append(this.#lines, this.#space)
    this.#scroller.addEventListener('scroll', () => this.#scrolled())
    this.#scroller.addEventListener('wheel', (event) => this.#wheel(event), { passive: false })
    this.#lines.addEventListener('click', (event) => this.#click(event))
    new ResizeObserver(() => this.#layOut()).observe(this.#scroller)
    views.add((view, changed) => this.#follow(view, changed))
    this.#layOut()
  }

  /** Lists these events only, with `needle` marked in them. */
  list(events: Int32Array | undefined, needle: string): void {
    this.#listed = events
    this.#needle = needle.toLowerCase()
    this.#layOut()
    this.#center(this.#views.now)
  }

  get #count(): number {
    return this.#listed?.length ?? this.#model.trace.length
  }

  get #rowsInSight(): number {
    return Math.max(1, Math.floor(this.#scroller.clientHeight / ROW))
  }

  get #topMax(): number {
    return Math.max(0, this.#count - this.#rowsInSight)
  }

  #eventAt(row: number): number {
    return this.#listed === undefined ? row : this.#listed[row]
  }

  #rowOf(event: number): number {
    return this.#listed === undefined ? event : Math.max(0, countUpTo(this.#listed, event) - 1)
  }

  #layOut(): void {
    this.#space.style.height = `${Math.min(HEIGHT_MAX, this.#count * ROW)}px`
    this.#status.textContent = this.#listed === undefined
      ? `${grouped(this.#count)} events` : `${grouped(this.#count)} of ${grouped(this.#model.trace.length)} events`
    this.#moveTo(this.#top)
  }

  #moveTo(top: number): void {
    this.#top = Math.max(0, Math.min(this.#topMax, top))
    const room = this.#scroller.scrollHeight - this.#scroller.clientHeight
    this.#ownScroll = this.#topMax === 0 ? 0 : Math.round((this.#top / this.#topMax) * room)
    this.#scroller.scrollTop = this.#ownScroll
    this.#draw()
  }

  #scrolled(): void {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller
    if (Math.abs(scrollTop - this.#ownScroll) <= 1) return
    this.#ownScroll = scrollTop
    this.#top = (scrollTop / Math.max(1, scrollHeight - clientHeight)) * this.#topMax
    this.#draw()
  }

  #wheel(event: WheelEvent): void {
    if (event.deltaY === 0) return
    event.preventDefault()
    const rows = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? event.deltaY : event.deltaY / ROW
    this.#moveTo(this.#top + rows)
  }

  #click(event: MouseEvent): void {
    const row = (event.target as Element).closest<HTMLElement>('[data-event]')
    if (row !== null) chooseEvent(this.#model, this.#views, Number(row.dataset['event']))
  }

  #follow(view: Readonly<View>, changed: ReadonlySet<keyof View>): void {
    if (changed.has('event') || changed.has('cursor')) this.#center(view)
    else if (changed.has('cpu')) this.#draw()
  }

  #center(view: Readonly<View>): void {
    const row = this.#rowOf(currentEvent(this.#model, view))
    const isInSight = row >= this.#top + 1 && row < this.#top + this.#rowsInSight - 1
    if (isInSight) this.#draw()
    else this.#moveTo(row - Math.floor(this.#rowsInSight / 2))
  }

  #draw(): void {
    const first = Math.floor(this.#top)
    const last = Math.min(this.#count, first + this.#rowsInSight + 2)
    const view = this.#views.now
    const current = currentEvent(this.#model, view)
    const rows: HTMLElement[] = []
    for (let row = first; row < last; row++) rows.push(this.#line(this.#eventAt(row), current, view.cpu))
    this.#lines.replaceChildren(...rows)
    this.#lines.style.transform = `translateY(${-(this.#top - first) * ROW}px)`
  }

  #line(event: number, current: number, cpu: number): HTMLElement {
    const { trace } = this.#model
    const text = this.#model.line(event)
    const name = EVENTS[trace.kind[event]].name
    const at = text.indexOf(`] `) + 2
    const nameAt = text.indexOf(` ${name}`, at) + 1
    const line = el('div', 'line')
    line.dataset['event'] = String(event)
    if (event === current) line.classList.add('current')
    if (cpu >= 0 && trace.cpu[event] === cpu) line.classList.add('same-cpu')
    line.append(
      el('span', 'cycle', ...this.#marked(text.slice(12 - this.#digits, 12))), ' ',
      el('span', 'cpu', ...this.#marked(text.slice(13, at - 1))), ' ',
      el('span', 'task', ...this.#marked(text.slice(at, nameAt))),
      el('span', `name group-${groupOf(name)}`, ...this.#marked(name)),
      ...this.#marked(text.slice(nameAt + name.length)),
    )
    return line
  }

  /** The text with what was searched for marked. */
  #marked(text: string): (Node | string)[] {
    if (this.#needle === '') return [text]
    const parts: (Node | string)[] = []
    let from = 0
    for (let at = text.toLowerCase().indexOf(this.#needle); at >= 0;
      at = text.toLowerCase().indexOf(this.#needle, from)) {
      parts.push(text.slice(from, at), el('mark', '', text.slice(at, at + this.#needle.length)))
      from = at + this.#needle.length
    }
    return [...parts, text.slice(from)]
  }
}

/** The chosen event, or the last one up to the cursor. */
export function currentEvent(model: Model, view: Readonly<View>): number {
  return view.event >= 0 ? view.event : Math.max(0, lastEventAt(model, view.cursor))
}

/** Makes an event the one that everything is about. */
export function chooseEvent(model: Model, views: Views, event: number): void {
  const { trace, requests } = model
  if (event < 0 || event >= trace.length) return
  const [cpu, cursor] = [trace.cpu[event], trace.cycle[event]]
  views.set({ event, cpu, cursor, request: requests.at(cpu, cursor) })
  views.reveal(cursor)
}

/** Events of one group have one colour. */
function groupOf(name: string): string {
  if (/^(tlb_flush|flush_)/.test(name)) return 'flush'
  if (/^(ipi_|csd_|call_function|reschedule|local_timer)/.test(name)) return 'ipi'
  if (/^(sched_|signal)/.test(name)) return 'sched'
  if (/(fault|oom|mismatch)/.test(name)) return 'fault'
  if (/^(enter_lazy|leave_mm|switch_mm|mm_free)/.test(name)) return 'mm'
  return 'other'
}
