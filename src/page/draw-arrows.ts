// Interrupts on the timeline: an arrow from where one is sent to where it is handled, and a dashed one
// back with the acknowledgement. Where there are too many to be told apart, ticks on the lanes whose
// handlers they enter, darker where there are more.

import { barHeight, baseline, fillLane, laneTop, xOf } from './frame.js'
import type { Frame } from './frame.js'
import { countUpTo } from './lanes.js'
import { ARROW_ACK, ARROW_RESCHEDULE } from './links.js'
import type { Arrows } from './links.js'
import { mixed } from './pixels.js'
import { theme } from './theme.js'

/** More arrows than that are drawn as ticks. */
const ARROWS_MAX = 1500
const HEAD = 6

/** The arrows in view. */
export interface InView {
  first: number
  end: number
  /** Too many to be told apart: ticks have been painted instead. */
  isDense: boolean
}

/** `chosen`: the flush request whose arrows are always drawn, and drawn strongest; -1: none. */
export function drawArrows(frame: Frame, arrows: Arrows, { first, end, isDense }: InView, chosen: number): void {
  const { ctx } = frame
  ctx.save()
  ctx.beginPath()
  ctx.rect(frame.left, 0, frame.right - frame.left, frame.bottom)
  ctx.clip()
  for (let i = first; i < end; i++) {
    if (arrows.to[i] < frame.from) continue
    const isChosen = chosen >= 0 && arrows.request[i] === chosen
    if (isDense && !isChosen) continue
    ctx.globalAlpha = chosen >= 0 && !isChosen ? 0.25 : 1
    drawArrow(frame, arrows, i, isChosen)
  }
  ctx.restore()
}

/** The first arrow that ends at `cycle` or later. */
function firstReaching({ reach, length }: Arrows, cycle: number): number {
  let low = 0
  let high = length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (reach[middle] < cycle) low = middle + 1
    else high = middle
  }
  return low
}

function drawArrow(frame: Frame, arrows: Arrows, i: number, isChosen: boolean): void {
  const { ctx } = frame
  const kind = arrows.kind[i]
  const [fromCpu, toCpu] = [arrows.fromCpu[i], arrows.toCpu[i]]
  if (fromCpu === toCpu) return
  const isDown = toCpu > fromCpu
  const x1 = xOf(frame, arrows.from[i])
  const x2 = xOf(frame, arrows.to[i])
  const y1 = middleOf(frame, fromCpu)
  const y2 = isDown ? baseline(frame, toCpu) - barHeight(frame) - 1 : baseline(frame, toCpu) + 1
  const colours = theme()
  const colour = kind === ARROW_ACK ? colours.ack : kind === ARROW_RESCHEDULE ? colours.reschedule : colours.arrow
  ctx.strokeStyle = colour
  ctx.fillStyle = colour
  ctx.lineWidth = isChosen ? 2 : kind === ARROW_ACK ? 1 : 1.25
  ctx.setLineDash(kind === ARROW_ACK ? [3, 3] : [])
  ctx.beginPath()
  ctx.moveTo(x1, y1)
  ctx.lineTo(x2, y2)
  ctx.stroke()
  ctx.setLineDash([])
  ctx.beginPath()
  ctx.arc(x1, y1, kind === ARROW_ACK ? 2.5 : 2, 0, 2 * Math.PI)
  ctx.fill()
  drawHead(ctx, x1, y1, x2, y2)
}

function drawHead(ctx: CanvasRenderingContext2D, x1: number, y1: number, x2: number, y2: number): void {
  const angle = Math.atan2(y2 - y1, x2 - x1)
  ctx.beginPath()
  ctx.moveTo(x2, y2)
  for (const side of [-0.4, 0.4]) ctx.lineTo(x2 - HEAD * Math.cos(angle + side), y2 - HEAD * Math.sin(angle + side))
  ctx.closePath()
  ctx.fill()
}

function middleOf(frame: Frame, cpu: number): number {
  return baseline(frame, cpu) - barHeight(frame) * 0.4
}

/** Into the pixels of the frame, when there are too many arrows. */
export function paintTicks(frame: Frame, arrows: Arrows): InView {
  const first = firstReaching(arrows, frame.from)
  const end = countUpTo(arrows.from, frame.to)
  const isDense = end - first > ARROWS_MAX
  if (isDense) paintCounts(frame, countsOf(frame, arrows, first, end))
  return { first, end, isDense }
}

/** Interrupts by lane and pixel of the device. */
function countsOf({ pixels, from, to, cpus }: Frame, arrows: Arrows, first: number, end: number): Uint32Array {
  const { width } = pixels
  const counts = new Uint32Array(width * cpus)
  const scale = width / (to - from)
  for (let i = first; i < end; i++) {
    if (arrows.kind[i] === ARROW_ACK) continue
    const x = Math.floor((arrows.to[i] - from) * scale)
    if (x >= 0 && x < width) counts[arrows.toCpu[i] * width + x]++
  }
  return counts
}

const SHADES = 12

/** As dark as the count is among those in view. */
function paintCounts(frame: Frame, counts: Uint32Array): void {
  const { pixels: { width }, cpus } = frame
  const { arrow, lane } = theme()
  const shades = Array.from({ length: SHADES + 1 }, (_, count) =>
    mixed(arrow, lane, 0.12 + (0.88 * count) / SHADES))
  const most = counts.reduce((largest, count) => Math.max(largest, count), 1)
  for (let cpu = 0; cpu < cpus; cpu++) {
    const y = laneTop(frame, cpu)
    for (let x = 0; x < width; x++) {
      const count = counts[cpu * width + x]
      if (count > 0) fillLane(frame, shades[Math.ceil((count / most) * SHADES)], x, x + 1, y + 1, y + 5)
    }
  }
}
