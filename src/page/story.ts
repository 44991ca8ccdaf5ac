// What is at the cursor: the chosen event in full, the flush request that it belongs to and who did
// what for it, and what every CPU is doing.

import { hex64 } from '../base/units.js'
import { flushReasonText, TLB_FLUSH_ON_TASK_SWITCH, TLB_REMOTE_WRONG_CPU } from '../trace/events.js'
import type { Responder, Shootdown } from '../trace/summary.js'
import { byId, el, grouped, microseconds } from './dom.js'
import { showRequest } from './keys.js'
import { KINDS, stretchAt } from './lanes.js'
import type { Model } from './model.js'
import { currentEvent } from './trace-list.js'
import { mmColour } from './theme.js'
import type { View, Views } from './view.js'

/** More CPUs than that are not listed. */
const CPUS_MAX = 16

export class Story {
  readonly #model: Model
  readonly #views: Views
  readonly #box = byId('story')

  constructor(model: Model, views: Views) {
    this.#model = model
    this.#views = views
    views.add((view, changed) => {
      if (changed.has('cursor') || changed.has('event') || changed.has('request')) this.#draw(view)
    })
  }

  #draw(view: Readonly<View>): void {
    const event = currentEvent(this.#model, view)
    const one = this.#model.requests.all[view.request]
    const line = this.#model.trace.length === 0 ? '' : this.#model.line(event).trimStart()
    this.#box.replaceChildren(
      el('p', 'mono event', line),
      el('div', 'story', ...(one === undefined ? [] : [this.#request(one)]), this.#cpus(view)),
    )
  }

  #request(one: Shootdown): HTMLElement {
    const { meta } = this.#model
    const { initiatorCpu, comm, pid, mm, pages, start, responders, skipped, local, cycles, startCycle } = one
    const what = pages < 0 ? 'everything' : `${grouped(pages)} ${pages === 1 ? 'page' : 'pages'} from `
      + hex64(start.hi, start.lo)
    const zoom = el('button', '', 'Show it (z)')
    zoom.addEventListener('click', () => showRequest(this.#model, this.#views))
    const row = (who: string, text: string): HTMLElement => el('tr', '', el('td', 'mono', who), el('td', '', text))
    const reason = (id: number): string => flushReasonText(id, meta.era)
    const rows = [
      ...responders.slice(0, CPUS_MAX).map((responder) => row(`cpu${initiatorCpu} → cpu${responder.cpu}`,
        `${responder.interrupted ? 'interrupt' : 'no interrupt, one was on its way'}: ${whatItDid(responder)}`
        + `${responder.reason === undefined ? '' : ` (${reason(responder.reason)})`}`
        + `${responder.ackCycle === undefined ? '' : `, ${grouped(responder.cycles)} cycles in the handler`}`)),
      ...skipped.slice(0, CPUS_MAX).map(({ cpu, why }) => row(`cpu${cpu}`, `no interrupt: skipped, ${why}`)),
      ...(local === undefined ? [] : [row(`cpu${initiatorCpu}`,
        `flushes ${local.pages < 0 ? 'everything' : grouped(local.pages)} itself (${reason(local.reason)})`)]),
    ]
    const hidden = responders.length + skipped.length - rows.length + (local === undefined ? 0 : 1)
    return el('div', 'card',
      el('h3', '', `Flush request of ${comm}-${pid} on cpu${initiatorCpu} at cycle ${grouped(startCycle)}`),
      el('p', '', `flushes ${what} of ${mm < 0 ? 'the kernel' : `mm ${mm}`}; `
        + (cycles === undefined ? 'not done when the run ended'
          : `done after ${grouped(cycles)} cycles, ${microseconds(cycles, meta.frequencyGhz)} `), zoom),
      el('table', '', ...rows),
      ...(hidden > 0 ? [el('p', 'dim', `and ${hidden} CPUs more`)] : []))
  }

  /** One row a CPU. */
  #cpus(view: Readonly<View>): HTMLElement {
    const { lanes, commOf, labelOf } = this.#model
    const rows = lanes.slice(0, CPUS_MAX).map((lane) => {
      const at = stretchAt(lane, view.cursor)
      const kind = KINDS.find(({ id }) => id === lane.kind[at])!
      const swatch = el('i', 'swatch')
      swatch.style.background = `var(--kind-${kind.id})`
      const loaded = el('i', 'swatch strip')
      loaded.style.background = mmColour(lane.mm[at])
      const pid = lane.pid[at]
      const label = labelOf(lane, at)
      const isSaid = label === '' || label === commOf(pid) || kind.name === 'lazy'
      const mm = lane.mm[at] <= 1 ? 'init_mm' : `mm ${lane.mm[at]}${lane.lazy[at] === 1 ? ', lazily' : ''}`
      return el('tr', '', el('td', 'mono', `cpu${lane.cpu}`),
        el('td', '', swatch, ` ${kind.name}${isSaid ? '' : `: ${label}`}`),
        el('td', '', pid === 0 ? 'idle' : `${commOf(pid)}-${pid}`),
        el('td', '', loaded, ` ${mm}`))
    })
    return el('div', 'card', el('h3', '', `CPUs at cycle ${grouped(view.cursor)}`), el('table', '',
      el('tr', '', el('th', '', 'CPU'), el('th', '', 'does'), el('th', '', 'task'), el('th', '', 'loaded')), ...rows))
  }
}

function whatItDid({ ackCycle, reason, pages }: Responder): string {
  if (ackCycle === undefined) return 'has not answered when the run ended'
  if (reason === undefined) return 'has nothing left to flush'
  if (reason === TLB_REMOTE_WRONG_CPU) return 'has another mm loaded, flushes nothing'
  if (reason === TLB_FLUSH_ON_TASK_SWITCH) return 'is lazy, leaves the mm'
  return pages < 0 ? 'flushes everything' : `flushes ${grouped(pages)} ${pages === 1 ? 'page' : 'pages'}`
}
