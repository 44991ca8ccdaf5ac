// A plot of y against x as SVG: lines, markers, tolerance bands, vertical rules. Whoever has points to show uses
// this: reproductions of published figures, sweeps, sensitivity. Bars are in bars.ts.
//
//   band     shaded area between two values, drawn first
//   line     our own results: solid or dashed, small filled markers
//   marker   somebody else's results: hollow, no line

import { drawLegend, legendHeight } from './legend.js'
import type { LegendEntry } from './legend.js'
import { FAINT_INK, GRID, INK, lookOf, PAPER } from './palette.js'
import type { MarkerShape } from './palette.js'
import { scaleFor, valueText } from './scale.js'
import type { Axis, Scale } from './scale.js'
import { element, escapeText, marker, pathOf } from './svg.js'

export type Point = readonly [x: number, y: number]

interface Named {
  /** What the legend says; empty: nothing. */
  name: string
  /** Which look of the palette; series that belong together share one. Default: the next that is free. */
  look?: number
}

export interface LineSeries extends Named {
  kind: 'line'
  points: readonly Point[]
  /** Small markers at the points. Default: true. */
  marks?: boolean
  /** Default: the dash of the look. */
  dashed?: boolean
}

export interface MarkerSeries extends Named {
  kind: 'marker'
  points: readonly Point[]
  shape?: MarkerShape
}

export interface BandSeries extends Named {
  kind: 'band'
  points: readonly (readonly [x: number, low: number, high: number])[]
}

export type Series = LineSeries | MarkerSeries | BandSeries

export interface Chart {
  title: string
  x: Axis
  y: Axis
  series: readonly Series[]
  /** Vertical lines with a label: a ceiling, the border of a socket. */
  rules?: readonly { at: number; label: string }[]
  width?: number
  height?: number
}

export interface Frame {
  left: number
  right: number
  top: number
  bottom: number
}

export const FONT = 'font-family="system-ui, sans-serif"'
const DEFAULT_WIDTH = 680
const DEFAULT_HEIGHT = 400
/** Pixels of a character of a label, and between two labels. */
const LABEL_CHARACTER = 6.6
const LABEL_GAP = 6
const MARGIN = { left: 72, right: 18, top: 34, bottom: 46 }

/** The whole picture, ready for a file or for a page. */
export function chartSvg(chart: Chart): string {
  const width = chart.width ?? DEFAULT_WIDTH
  const height = chart.height ?? DEFAULT_HEIGHT
  const looks = looksOf(chart.series)
  // What has no name belongs to something that has one.
  const entries = chart.series.map((one, at): LegendEntry => legendEntry(one, looks[at]!))
    .filter(({ name }) => name !== '')
  const frame: Frame = {
    left: MARGIN.left, right: width - MARGIN.right, top: MARGIN.top,
    bottom: height - MARGIN.bottom - legendHeight(entries, width - MARGIN.left - MARGIN.right),
  }
  const xs = [...chart.series.flatMap(xValues), ...(chart.rules ?? []).map(({ at }) => at)]
  const x = scaleFor(endingWithData(chart.x, xs), xs, frame.left, frame.right)
  const y = scaleFor(chart.y, chart.series.flatMap(yValues), frame.bottom, frame.top)
  const body = [
    drawAxes(chart.x, chart.y, x, y, frame),
    ...drawRules(chart, x, frame),
    ...inDrawingOrder(chart.series).map(({ one, at }) => drawSeries(one, looks[at]!, x, y, chart)),
    drawLegend(entries, frame.left, height - legendHeight(entries, width - MARGIN.left - MARGIN.right),
      width - MARGIN.left - MARGIN.right),
  ]
  return svgDocument(chart.title, width, height, body.join('\n'))
}

/** Along x nothing is gained by room up to the next round number. */
function endingWithData(axis: Axis, xs: readonly number[]): Axis {
  const most = xs.reduce((a, b) => Math.max(a, b), -Infinity)
  return axis.max !== undefined || (axis.scale ?? 'linear') !== 'linear' || !(most > 0) ? axis : { ...axis, max: most }
}

/** The outermost element, with the title for readers and for screen readers. */
export function svgDocument(title: string, width: number, height: number, body: string): string {
  const open = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" `
    + `height="${height}" role="img" ${FONT} font-size="12" fill="${INK}">`
  return [
    open, element('title', {}, escapeText(title)), element('rect', { width, height, fill: PAPER }),
    element('text', { x: width / 2, y: 20, 'text-anchor': 'middle', 'font-size': 14, 'font-weight': 'bold' },
      escapeText(title)),
    body, '</svg>', '',
  ].join('\n')
}

/** Grid, labels at the ticks and the names of both axes. */
export function drawAxes(xAxis: Axis | undefined, yAxis: Axis, x: Scale | undefined, y: Scale, frame: Frame): string {
  const middle = (frame.top + frame.bottom) / 2
  const parts: string[] = []
  for (const value of y.ticks) {
    parts.push(element('line', { x1: frame.left, x2: frame.right, y1: y.at(value), y2: y.at(value), stroke: GRID }))
    parts.push(element('text', { x: frame.left - 6, y: y.at(value) + 4, 'text-anchor': 'end', fill: FAINT_INK },
      valueText(value)))
  }
  let free = -Infinity
  for (const value of x?.ticks ?? []) {
    const at = x!.at(value)
    parts.push(element('line', { x1: at, x2: at, y1: frame.top, y2: frame.bottom, stroke: GRID }))
    // A label that would run into the one before is left out; its line is there.
    const half = valueText(value).length * LABEL_CHARACTER / 2
    if (at - half < free) continue
    free = at + half + LABEL_GAP
    parts.push(element('text', { x: at, y: frame.bottom + 16, 'text-anchor': 'middle', fill: FAINT_INK },
      valueText(value)))
  }
  parts.push(element('path', {
    d: pathOf([[frame.left, frame.top], [frame.left, frame.bottom], [frame.right, frame.bottom]]),
    fill: 'none', stroke: INK,
  }))
  if (xAxis !== undefined) {
    parts.push(element('text', { x: (frame.left + frame.right) / 2, y: frame.bottom + 34, 'text-anchor': 'middle' },
      escapeText(xAxis.label)))
  }
  parts.push(element('text', {
    x: 16, y: middle, 'text-anchor': 'middle', transform: `rotate(-90 16 ${middle})`,
  }, escapeText(yAxis.label)))
  return parts.join('\n')
}

function drawRules(chart: Chart, x: Scale, frame: Frame): string[] {
  return (chart.rules ?? []).map(({ at, label }) => {
    const px = x.at(at)
    const line = { x1: px, x2: px, y1: frame.top, y2: frame.bottom, stroke: FAINT_INK, 'stroke-dasharray': '3 3' }
    const text = { x: px + 4, y: frame.top + 12, fill: FAINT_INK, 'font-size': 11 }
    return element('line', line) + element('text', text, escapeText(label))
  })
}

/** Bands below lines below markers. */
function inDrawingOrder(series: readonly Series[]): { one: Series; at: number }[] {
  const depth = { band: 0, line: 1, marker: 2 }
  return series.map((one, at) => ({ one, at })).sort((a, b) => depth[a.one.kind] - depth[b.one.kind] || a.at - b.at)
}

function drawSeries(one: Series, index: number, x: Scale, y: Scale, chart: Chart): string {
  const look = lookOf(index)
  if (one.kind === 'band') {
    const upper = one.points.map(([px, , high]): Point => [x.at(px), y.at(high)])
    const lower = one.points.map(([px, low]): Point => [x.at(px), y.at(low)]).reverse()
    return upper.length === 0 ? ''
      : element('path', { d: `${pathOf([...upper, ...lower])}Z`, fill: look.colour, 'fill-opacity': 0.15 })
  }
  const tip = ([px, py]: Point): string => `${one.name}: ${valueText(px)}, ${valueText(py)} (${chart.y.label})`
  if (one.kind === 'marker') {
    return one.points.map(point => (
      marker(one.shape ?? look.marker, x.at(point[0]), y.at(point[1]), 8, look.colour, PAPER, tip(point)))).join('\n')
  }
  const dash = one.dashed === undefined ? look.dash : one.dashed ? '6 4' : ''
  const path = one.points.length === 0 ? '' : element('path', {
    d: pathOf(one.points.map(([px, py]): Point => [x.at(px), y.at(py)])), fill: 'none', stroke: look.colour,
    'stroke-width': 2, 'stroke-dasharray': dash,
  })
  if (one.marks === false) return path
  return [path, ...one.points.map(point => (
    marker(look.marker, x.at(point[0]), y.at(point[1]), 5, look.colour, look.colour, tip(point))))].join('\n')
}

function legendEntry(one: Series, index: number): LegendEntry {
  const look = lookOf(index)
  if (one.kind === 'band') return { kind: 'band', name: one.name, look }
  if (one.kind === 'marker') {
    return { kind: 'marker', name: one.name, look: { ...look, marker: one.shape ?? look.marker } }
  }
  const dash = one.dashed === undefined ? look.dash : one.dashed ? '6 4' : ''
  return { kind: 'line', name: one.name, look: { ...look, dash }, hasMarks: one.marks !== false }
}

function looksOf(series: readonly Series[]): number[] {
  let next = 0
  return series.map(({ look }) => look ?? next++)
}

function xValues(one: Series): number[] {
  return one.points.map(([x]) => x)
}

function yValues(one: Series): number[] {
  return one.kind === 'band' ? one.points.flatMap(([, low, high]) => [low, high]) : one.points.map(([, y]) => y)
}
