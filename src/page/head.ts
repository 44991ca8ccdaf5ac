// The head of the page and the legend: what was run, and what the colours and signs mean.

import { byId, el, svg } from './dom.js'
import { KINDS } from './lanes.js'
import type { Model } from './model.js'

export function showHead({ meta }: Model): void {
  byId('title').textContent = meta.title
  byId('question').textContent = meta.question
  byId('facts').append(...meta.facts.map(([name, value]) => el('div', '', el('dt', '', name), el('dd', '', value))))
}

/** Kinds that occur, then the signs. */
export function showLegend({ lanes }: Model): void {
  const seen = new Set<number>()
  for (const { kind } of lanes) for (const each of kind) seen.add(each)
  const kinds = KINDS.filter(({ id }) => seen.has(id)).map(({ id, name, doc }) => {
    const swatch = el('i', 'swatch')
    swatch.style.background = `var(--kind-${id})`
    const entry = el('span', '', swatch, name)
    entry.title = doc
    return entry
  })
  byId('legend').append(
    ...kinds,
    sign(arrow('var(--text)', ''), 'interrupt', 'from the CPU that sends it to the handler on the other'),
    sign(arrow('var(--ok)', '3 3'), 'acknowledgement', 'the handler has done its part, and says so'),
    sign(svg('path', { d: 'M9 2 h8 l-4 8 z', fill: 'var(--bad)' }), 'page fault', 'taken by this CPU'),
  )
}

function sign(drawing: SVGElement, name: string, doc: string): HTMLElement {
  const box = svg('svg', { viewBox: '0 0 26 12', class: 'sign', 'aria-hidden': 'true' }, drawing)
  const entry = el('span', '', box, name)
  entry.title = doc
  return entry
}

function arrow(colour: string, dash: string): SVGElement {
  return svg('g', { stroke: colour, fill: colour, 'stroke-width': 1.4 },
    svg('path', { d: 'M2 6 H20', 'stroke-dasharray': dash, fill: 'none' }),
    svg('path', { d: 'M24 6 l-7 -3 v6 z', stroke: 'none' }))
}
