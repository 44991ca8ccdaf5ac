// The two charts: how long shootdowns took, and what they took from every CPU. Drawn as SVG from rows of
// numbers, so that they print sharply and follow the theme.

import { byId, el, grouped, microseconds, percent, svg } from './dom.js'
import { showRequest } from './keys.js'
import type { Model } from './model.js'
import { binsOf, quantile } from './requests.js'
import type { Bin } from './requests.js'
import type { Views } from './view.js'

const WIDTH = 460
const HEIGHT = 190
const LEFT = 40
const BOTTOM = 34
const BINS = 24
/** More CPUs than that are summed up. */
const CPUS_MAX = 32

export function showHistogram(model: Model, views: Views): void {
  const { requests, meta } = model
  const box = byId('histogram')
  const values = requests.latencies
  if (values.length === 0) {
    box.append(el('p', 'dim', 'No shootdown that concerned another CPU came to its end.'))
    return
  }
  const bins = binsOf(values, BINS)
  const drawing = drawBins(bins)
  drawing.addEventListener('click', (event) => {
    const request = Number((event.target as Element).getAttribute('data-request') ?? -1)
    if (request < 0) return
    const { startCycle, initiatorCpu } = requests.all[request]
    views.set({ request, cpu: initiatorCpu, cursor: startCycle, event: -1 })
    showRequest(model, views)
  })
  const [low, middle, high] = [0.5, 0.99, 1].map((share) => quantile(values, share))
  const cell = (name: string, cycles: number): HTMLElement => el('tr', '', el('td', 'dim', name),
    el('td', 'number', grouped(cycles)), el('td', 'number dim', microseconds(cycles, meta.frequencyGhz)))
  box.append(
    drawing,
    el('p', 'dim', `${grouped(values.length)} requests that other CPUs answered, cycles from begin to end; `
      + `${grouped(requests.localLatencies.length)} more stayed on their own CPU. Click a bar to see one.`),
    el('table', '', cell('median', low), cell('99 %', middle), cell('longest', high)),
  )
}

function drawBins(bins: readonly Bin[]): SVGElement {
  const most = Math.max(...bins.map(({ count }) => count))
  const step = (WIDTH - LEFT - 4) / bins.length
  const room = HEIGHT - BOTTOM - 12
  const bars = bins.map(({ count, from, to, request }, i) => {
    const height = count === 0 ? 0 : Math.max(2, (count / most) * room)
    const bar = svg('rect', {
      x: LEFT + i * step + 0.5, y: HEIGHT - BOTTOM - height, width: Math.max(1, step - 1.5), height,
      class: 'bar-fill', 'data-request': request,
    }, svg('title', {}))
    bar.firstChild!.textContent = `${grouped(from)} to ${grouped(to)} cycles: ${grouped(count)}`
    return bar
  })
  const every = Math.ceil(bins.length / 5)
  const labels = bins.flatMap(({ from }, i) =>
    i % every === 0 ? [text(LEFT + i * step, HEIGHT - 18, grouped(from))] : [])
  return svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: 'chart', role: 'img', 'aria-label': 'Histogram' },
    svg('line', { x1: LEFT, x2: WIDTH, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM, class: 'rule' }),
    text(LEFT - 6, 18, grouped(most), 'end'), text(LEFT - 6, HEIGHT - BOTTOM, '0', 'end'),
    ...bars, ...labels, text(WIDTH, HEIGHT - 3, 'cycles', 'end'))
}

function text(x: number, y: number, words: string, anchor = 'start'): SVGElement {
  const made = svg('text', { x, y, 'text-anchor': anchor, class: 'chart-text' })
  made.textContent = words
  return made
}

/** One row a CPU: cycles in handlers for others, and cycles of its own requests. */
export function showStolen({ requests, meta }: Model): void {
  const { stolen } = requests
  const most = Math.max(1, ...stolen.map(({ responder, initiator }) => Math.max(responder, initiator)))
  const rows = stolen.slice(0, CPUS_MAX).map(({ responder, initiator, answered, made }, cpu) => el('tr', '',
    el('td', '', `cpu${cpu}`),
    el('td', 'bars', bar(responder / most, 'responder'), bar(initiator / most, 'initiator')),
    el('td', 'number', grouped(responder), el('br'), grouped(initiator)),
    el('td', 'number dim', `${grouped(answered)} ×`, el('br'), `${grouped(made)} ×`),
    el('td', 'number dim', percent(responder, meta.endCycle), el('br'), percent(initiator, meta.endCycle)),
  ))
  byId('stolen').append(
    el('p', 'legend', el('span', '', el('i', 'swatch responder'), 'in handlers for other CPUs'),
      el('span', '', el('i', 'swatch initiator'), 'own requests, from begin to end')),
    el('table', 'stolen', el('tr', '', el('th', '', 'CPU'), el('th'), el('th', 'number', 'cycles'),
      el('th', 'number', 'how often'), el('th', 'number', 'of the run')), ...rows),
    ...(stolen.length > CPUS_MAX ? [el('p', 'dim', `and ${stolen.length - CPUS_MAX} CPUs more`)] : []),
  )
}

function bar(share: number, name: string): HTMLElement {
  const made = el('i', name)
  made.style.width = `${Math.max(share > 0 ? 1 : 0, share * 100)}%`
  return made
}
