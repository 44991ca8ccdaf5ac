// Bars as SVG: one group for each category, its series side by side or stacked, published values as hollow
// markers over them and tolerances as brackets.

import { drawAxes, svgDocument } from './chart.js'
import type { Frame } from './chart.js'
import { drawLegend, legendHeight } from './legend.js'
import type { LegendEntry } from './legend.js'
import { FAINT_INK, INK, lookOf, PAPER } from './palette.js'
import { scaleFor, valueText } from './scale.js'
import type { Axis, Scale } from './scale.js'
import { element, escapeText, marker, pathOf } from './svg.js'

export interface BarSeries {
  name: string
  /** One value for each category; undefined: no bar. */
  values: readonly (number | undefined)[]
  look?: number
}

/** A value from elsewhere over each category, with the range that is accepted. */
export interface BarMarks {
  name: string
  values: readonly (number | undefined)[]
  ranges?: readonly (readonly [low: number, high: number] | undefined)[]
  look?: number
}

export interface BarChart {
  title: string
  y: Axis
  categories: readonly string[]
  series: readonly BarSeries[]
  /** One on top of the other, in the order of `series`. */
  stacked?: boolean
  marks?: readonly BarMarks[]
  width?: number
  height?: number
}

const MARGIN = { left: 72, right: 18, top: 34, bottom: 40 }
const LABEL_CHARACTER = 6.6

export function barsSvg(chart: BarChart): string {
  const width = chart.width ?? 680
  const inner = width - MARGIN.left - MARGIN.right
  const entries = entriesOf(chart)
  const slot = inner / Math.max(1, chart.categories.length)
  const isTight = chart.categories.some(({ length }) => length * LABEL_CHARACTER > slot - 4)
  const labelHeight = isTight ? Math.max(...chart.categories.map(({ length }) => length)) * LABEL_CHARACTER * 0.5 : 0
  const height = (chart.height ?? 380) + labelHeight
  const frame: Frame = {
    left: MARGIN.left, right: width - MARGIN.right, top: MARGIN.top,
    bottom: height - MARGIN.bottom - labelHeight - legendHeight(entries, inner),
  }
  const y = scaleFor(chart.y, heightsOf(chart), frame.bottom, frame.top)
  const body = [drawAxes(undefined, chart.y, undefined, y, frame)]
  for (const [at, category] of chart.categories.entries()) {
    const left = frame.left + at * slot
    body.push(categoryLabel(category, left + slot / 2, frame.bottom, isTight))
    body.push(chart.stacked === true ? drawStack(chart, at, left, slot, y) : drawGroup(chart, at, left, slot, y))
    body.push(drawMarks(chart, at, left + slot / 2, slot, y))
  }
  // Over the edges of bars.
  body.push(element('line', { x1: frame.left, x2: frame.right, y1: frame.bottom, y2: frame.bottom, stroke: INK }))
  body.push(drawLegend(entries, frame.left, height - legendHeight(entries, inner), inner))
  return svgDocument(chart.title, width, height, body.join('\n'))
}

function entriesOf({ series, marks = [] }: BarChart): LegendEntry[] {
  return [
    ...series.map(({ name, look }, at): LegendEntry => ({ kind: 'bar', name, look: lookOf(look ?? at) })),
    ...marks.map(({ name, look }, at): LegendEntry => (
      { kind: 'marker', name, look: lookOf(look ?? series.length + at) })),
  ]
}

function heightsOf({ series, stacked, categories, marks = [] }: BarChart): number[] {
  const own = stacked === true
    ? categories.map((_, at) => series.reduce((sum, { values }) => sum + (values[at] ?? 0), 0))
    : series.flatMap(({ values }) => values.map(value => value ?? 0))
  return [...own, ...marks.flatMap(({ values, ranges = [] }) => [
    ...values.map(value => value ?? 0), ...ranges.flatMap(range => range ?? [])])]
}

function categoryLabel(text: string, x: number, bottom: number, isTight: boolean): string {
  return element('text', {
    x, y: bottom + 16, 'text-anchor': isTight ? 'end' : 'middle', fill: FAINT_INK,
    transform: isTight ? `rotate(-30 ${x.toFixed(2)} ${(bottom + 16).toFixed(2)})` : undefined,
  }, escapeText(text))
}

function drawGroup({ series, categories }: BarChart, at: number, left: number, slot: number, y: Scale): string {
  const wide = slot * 0.8 / Math.max(1, series.length)
  return series.map(({ name, values, look }, n) => {
    const value = values[at]
    if (value === undefined) return ''
    return bar(left + slot * 0.1 + n * wide, wide, y.at(value), y.at(Math.max(y.min, 0)), lookOf(look ?? n).colour,
      `${categories[at]}, ${name}: ${valueText(value)}`)
  }).join('\n')
}

function drawStack({ series, categories }: BarChart, at: number, left: number, slot: number, y: Scale): string {
  let below = 0
  return series.map(({ name, values, look }, n) => {
    const value = values[at] ?? 0
    if (value === 0) return ''
    below += value
    return bar(left + slot * 0.2, slot * 0.6, y.at(below), y.at(below - value), lookOf(look ?? n).colour,
      `${categories[at]}, ${name}: ${valueText(value)}`)
  }).join('\n')
}

function bar(x: number, width: number, yOne: number, yOther: number, fill: string, tip: string): string {
  return element('rect', {
    x, y: Math.min(yOne, yOther), width, height: Math.abs(yOther - yOne), fill, stroke: PAPER, 'stroke-width': 0.5,
  }, element('title', {}, escapeText(tip)))
}

function drawMarks({ marks = [], series }: BarChart, at: number, x: number, slot: number, y: Scale): string {
  return marks.map(({ name, values, ranges, look }, n) => {
    const { colour, marker: shape } = lookOf(look ?? series.length + n)
    const range = ranges?.[at]
    const half = Math.min(8, slot / 6)
    const stroke = (d: string): string => element('path', { d, stroke: INK, fill: 'none' })
    const bracket = range === undefined ? ''
      : range.map(end => stroke(pathOf([[x - half, y.at(end)], [x + half, y.at(end)]]))).join('')
        + stroke(pathOf([[x, y.at(range[0])], [x, y.at(range[1])]]))
    const value = values[at]
    return bracket + (value === undefined ? ''
      : marker(shape, x, y.at(value), 9, colour, PAPER, `${name}: ${valueText(value)}`))
  }).join('\n')
}
