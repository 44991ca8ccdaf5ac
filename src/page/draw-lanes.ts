// The bars of the timeline. A stretch that is wide enough is a bar of its kind's colour and height;
// where several share a pixel, that pixel is the mixture: each kind as high as its share of the cycles.
// So a redraw costs a few operations a pixel, whether there are a hundred stretches or a million.

import { barHeight, baseline, cycleAtX, fillLane, laneTop, stripHeight, xOf } from './frame.js'
import type { Frame } from './frame.js'
import { KIND_COUNT, sharesOf, stretchAt, stretchEnd } from './lanes.js'
import type { Lane } from './lanes.js'
import { colourWord, mixed } from './pixels.js'
import { KIND_HEIGHTS, mmColour, theme } from './theme.js'

/** Says what a wide bar is; '' when there is nothing to say. */
export type LabelOf = (lane: Lane, stretch: number) => string

const LABEL_MIN = 40
const LABEL_PADDING = 5
const LABEL_HEIGHT = 16
/** How strong the strip of an address space is that is only borrowed. */
const BORROWED = 0.45

/** A label to be, in pixels of the page. */
interface Label {
  x: number
  width: number
  lane: Lane
  stretch: number
}

/** Colours as words, once a drawing. */
interface Paint {
  kinds: readonly number[]
  labels: Label[]
}

/** Into the pixels of the frame. `chosen`: the CPU whose lane is marked; -1: none. Gives the labels of wide bars. */
export function paintLanes(frame: Frame, lanes: readonly Lane[], endCycle: number, chosen: number): Label[] {
  const { pixels } = frame
  const paint: Paint = { kinds: theme().kinds.map(colourWord), labels: [] }
  for (const lane of lanes) {
    const isMarked = lane.cpu === chosen || lane.cpu % 2 === 0
    const y = laneTop(frame, lane.cpu)
    fillLane(frame, colourWord(isMarked ? theme().lane : theme().background), 0, pixels.width, y, y + frame.laneHeight)
    drawLane(frame, lane, endCycle, paint)
  }
  return paint.labels
}

/** Onto the canvas, over the bars. */
export function drawLabels(frame: Frame, labels: readonly Label[], labelOf: LabelOf): void {
  for (const label of labels) drawLabel(frame, label, labelOf(label.lane, label.stretch))
}

const shares = new Float64Array(KIND_COUNT)

function drawLane(frame: Frame, lane: Lane, endCycle: number, paint: Paint): void {
  const { scale, left, pixels: { width } } = frame
  let x = 0
  let stretch = stretchAt(lane, frame.from)
  while (x < width && stretch < lane.length) {
    const end = Math.min(width, Math.round((xOf(frame, stretchEnd(lane, stretch, endCycle)) - left) * scale))
    if (end - x >= 1 || stretch === lane.length - 1) {
      drawStretch(frame, lane, stretch, x, Math.max(end, x), paint)
      x = Math.max(end, x)
      stretch += 1
      continue
    }
    drawMixture(frame, lane, x, paint)
    x += 1
    stretch = Math.max(stretch + 1, stretchAt(lane, cycleAtX(frame, left + x / scale)))
  }
}

function drawStretch(frame: Frame, lane: Lane, stretch: number, x: number, end: number, paint: Paint): void {
  const kind = lane.kind[stretch]
  const base = baseline(frame, lane.cpu)
  fillLane(frame, paint.kinds[kind], x, end, base - KIND_HEIGHTS[kind] * barHeight(frame), base)
  drawStrip(frame, lane, stretch, x, end)
  const width = (end - x) / frame.scale
  if (width >= LABEL_MIN) paint.labels.push({ x: frame.left + x / frame.scale, width, lane, stretch })
}

/** From the bottom: idle kinds, then user, then the kernel's. */
const STACKED = [4, 6, 5, 0, 1, 2, 3] as const

function drawMixture(frame: Frame, lane: Lane, x: number, paint: Paint): void {
  const [from, to] = [x, x + 1].map((each) => cycleAtX(frame, frame.left + each / frame.scale))
  sharesOf(lane, from, to, shares)
  const full = barHeight(frame) / (to - from)
  let y = baseline(frame, lane.cpu)
  for (const kind of STACKED) {
    if (shares[kind] <= 0) continue
    const height = shares[kind] * full * KIND_HEIGHTS[kind]
    fillLane(frame, paint.kinds[kind], x, x + 1, y - height, y)
    y -= height
  }
  drawStrip(frame, lane, stretchAt(lane, from), x, x + 1)
}

function drawStrip(frame: Frame, lane: Lane, stretch: number, x: number, end: number): void {
  if (lane.mm[stretch] <= 1) return
  const colour = mmColour(lane.mm[stretch])
  const word = lane.lazy[stretch] === 1 ? mixed(colour, theme().background, BORROWED) : colourWord(colour)
  const y = baseline(frame, lane.cpu) + 1
  fillLane(frame, word, x, end, y, y + stripHeight())
}

function drawLabel(frame: Frame, { x, width, lane, stretch }: Label, text: string): void {
  const { ctx } = frame
  const room = width - 2 * LABEL_PADDING
  if (text === '' || room < 20) return
  const kind = lane.kind[stretch]
  const height = KIND_HEIGHTS[kind] * barHeight(frame)
  const isInside = KIND_HEIGHTS[kind] >= 0.5
  // Above a low bar there must be room for it.
  if (!isInside && barHeight(frame) - height < LABEL_HEIGHT) return
  ctx.save()
  ctx.beginPath()
  ctx.rect(x + LABEL_PADDING, baseline(frame, lane.cpu) - barHeight(frame), room, barHeight(frame))
  ctx.clip()
  ctx.font = '500 12.5px system-ui, sans-serif'
  ctx.textBaseline = 'middle'
  ctx.fillStyle = isInside ? theme().inks[kind] : theme().dim
  ctx.fillText(text, x + LABEL_PADDING, baseline(frame, lane.cpu) - (isInside ? height / 2 : height + 9))
  ctx.restore()
}
