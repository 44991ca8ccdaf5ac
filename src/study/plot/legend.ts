// What the colours, dashes and markers of a plot mean: entries in rows below it.

import { PAPER } from './palette.js'
import type { Look } from './palette.js'
import { element, escapeText, marker } from './svg.js'

export interface LegendEntry {
  kind: 'line' | 'marker' | 'band' | 'bar'
  name: string
  look: Look
  /** Of a line: with small markers. */
  hasMarks?: boolean
}

const ROW = 18
const SAMPLE = 30
/** Pixels that a character of 12 pixel text takes, on the safe side. */
const CHARACTER = 6.6
const GAP = 20

/** Pixels that the entries need in `width`. */
export function legendHeight(entries: readonly LegendEntry[], width: number): number {
  return entries.length === 0 ? 0 : rowsOf(entries, width).length * ROW + 6
}

/** The entries, from (left, top). */
export function drawLegend(entries: readonly LegendEntry[], left: number, top: number, width: number): string {
  return rowsOf(entries, width).flatMap((row, at) => {
    let x = left
    return row.map((entry) => {
      const y = top + at * ROW + ROW / 2
      const drawn = drawEntry(entry, x, y)
      x += widthOf(entry)
      return drawn
    })
  }).join('\n')
}

function rowsOf(entries: readonly LegendEntry[], width: number): LegendEntry[][] {
  const rows: LegendEntry[][] = []
  let used = Infinity
  for (const entry of entries) {
    if (used + widthOf(entry) > width + GAP) {
      rows.push([])
      used = 0
    }
    rows[rows.length - 1]!.push(entry)
    used += widthOf(entry)
  }
  return rows
}

function widthOf({ name }: LegendEntry): number {
  return SAMPLE + name.length * CHARACTER + GAP
}

function drawEntry({ kind, name, look, hasMarks }: LegendEntry, x: number, y: number): string {
  const middle = x + (SAMPLE - 8) / 2
  const parts: string[] = []
  if (kind === 'band' || kind === 'bar') {
    parts.push(element('rect', {
      x, y: y - 5, width: SAMPLE - 8, height: 10, fill: look.colour, 'fill-opacity': kind === 'band' ? 0.15 : undefined,
    }))
  }
  if (kind === 'line') {
    parts.push(element('line', {
      x1: x, x2: x + SAMPLE - 8, y1: y, y2: y, stroke: look.colour, 'stroke-width': 2, 'stroke-dasharray': look.dash,
    }))
  }
  if (kind === 'marker') parts.push(marker(look.marker, middle, y, 8, look.colour, PAPER))
  if (kind === 'line' && hasMarks === true) parts.push(marker(look.marker, middle, y, 5, look.colour, look.colour))
  parts.push(element('text', { x: x + SAMPLE - 2, y: y + 4 }, escapeText(name)))
  return parts.join('')
}
