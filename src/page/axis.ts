// The axis of a timeline: round numbers of cycles, with microseconds at the right end, and grid lines.

import { grouped, microseconds } from './dom.js'
import { AXIS, xOf } from './frame.js'
import type { Frame } from './frame.js'
import { theme } from './theme.js'

const TICK_PIXELS = 110

/** No number stands where that of the cursor is going to be. */
export function drawAxis(frame: Frame, frequencyGhz: number, cursor: number): void {
  const { ctx, from, to, left, right, bottom } = frame
  const step = roundStep(((to - from) / (right - left)) * TICK_PIXELS)
  ctx.font = '12px ui-monospace, monospace'
  ctx.textBaseline = 'middle'
  ctx.textAlign = 'center'
  for (let cycle = Math.ceil(from / step) * step; cycle <= to; cycle += step) {
    const x = Math.round(xOf(frame, cycle)) + 0.5
    ctx.strokeStyle = theme().dim
    ctx.globalAlpha = 0.22
    ctx.lineWidth = 1
    ctx.beginPath()
    ctx.moveTo(x, AXIS - 6)
    ctx.lineTo(x, bottom)
    ctx.stroke()
    ctx.globalAlpha = 1
    const text = grouped(cycle)
    const half = ctx.measureText(text).width / 2
    const isCovered = Math.abs(x - xOf(frame, cursor)) < 2 * half + 4
    if (x - half < left || x + half > right - 80 || isCovered) continue
    ctx.fillStyle = theme().dim
    ctx.fillText(text, x, AXIS / 2)
  }
  ctx.textAlign = 'right'
  ctx.fillStyle = theme().text
  ctx.fillText(`${microseconds(to - from, frequencyGhz)}`, right - 2, AXIS / 2)
  ctx.textAlign = 'left'
}

/** The next of 1, 2, 5, 10, 20, ... */
export function roundStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, least)))
  const digit = least / power
  return Math.max(1, power * (digit <= 1 ? 1 : digit <= 2 ? 2 : digit <= 5 ? 5 : 10))
}
