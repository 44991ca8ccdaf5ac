// The timeline: lanes, arrows, axis and cursor on one canvas, and what the mouse does on it.
//
//   wheel, pinch     zoom around the pointer       drag            move
//   shift and wheel  move                          shift and drag  zoom to what was drawn over
//   click            cursor, nearest event of the lane             double click   zoom in

import { drawArrows, paintTicks } from './draw-arrows.js'
import { drawAxis } from './axis.js'
import { drawLabels, paintLanes } from './draw-lanes.js'
import { el, grouped, microseconds } from './dom.js'
import { AXIS, baseline, cpuAtY, cycleAtX, GUTTER, laneTop, xOf } from './frame.js'
import type { Frame } from './frame.js'
import { KINDS, stretchAt, stretchEnd } from './lanes.js'
import { drawMarks } from './draw-marks.js'
import { nearestEvent } from './model.js'
import { Pixels } from './pixels.js'
import type { Model } from './model.js'
import { theme } from './theme.js'
import type { View, Views } from './view.js'

const LANE_MIN = 20
const LANE_MAX = 128
/** Events are chosen when the click is that near, pixels. */
const PICK_PIXELS = 10
/** The pointer moved less than that: a click, pixels. */
const CLICK_PIXELS = 3

export class Timeline {
  readonly canvas = el('canvas', 'timeline')
  readonly #tip = el('div', 'tip')
  readonly #model: Model
  readonly #views: Views
  readonly #box: HTMLElement
  #frame: Frame | undefined
  #matches: ArrayLike<number> = []

  constructor(box: HTMLElement, model: Model, views: Views) {
    this.#model = model
    this.#views = views
    this.#box = box
    this.canvas.setAttribute('role', 'img')
    this.canvas.setAttribute('aria-label', 'What every CPU does over time')
    this.#tip.hidden = true
    box.append(this.canvas, this.#tip)
    this.#listen()
    new ResizeObserver(() => views.redraw()).observe(box)
    views.add((view) => this.#draw(view))
  }

  /** Events that a search has found, ascending: marked on the axis. */
  showMatches(matches: ArrayLike<number>): void {
    this.#matches = matches
    this.#views.redraw()
  }

  #draw(view: Readonly<View>): void {
    if (this.#box.clientWidth <= GUTTER) return
    const started = performance.now()
    const frame = this.#newFrame(view)
    this.#frame = frame
    const { ctx } = frame
    const { meta, lanes, arrows, labelOf } = this.#model
    const labels = paintLanes(frame, lanes, meta.endCycle, view.cpu)
    const drawn = paintTicks(frame, arrows)
    frame.pixels.putTo(ctx, Math.round(frame.left * frame.scale), Math.round(frame.top * frame.scale))
    drawLabels(frame, labels, labelOf)
    drawAxis(frame, meta.frequencyGhz, view.cursor)
    drawMarks(frame, this.#model, this.#matches)
    drawArrows(frame, arrows, drawn, view.request)
    drawGutter(frame, view)
    drawCursor(frame, view, this.#model)
    ctx.restore()
    // For measurements: how long the last redraw took, milliseconds.
    this.#box.dataset['drawMs'] = (performance.now() - started).toFixed(2)
  }

  #newFrame(view: Readonly<View>): Frame {
    const { cpus } = this.#model.meta
    const width = this.#box.clientWidth
    const room = this.#box.clientHeight
    const laneHeight = Math.max(LANE_MIN, Math.min(LANE_MAX, Math.floor((room - AXIS - 4) / cpus)))
    const height = AXIS + laneHeight * cpus
    const scale = window.devicePixelRatio || 1
    const [pixelWidth, pixelHeight] = [Math.round(width * scale), Math.round(height * scale)]
    if (this.canvas.width !== pixelWidth || this.canvas.height !== pixelHeight) {
      this.canvas.width = pixelWidth
      this.canvas.height = pixelHeight
      this.canvas.style.width = `${width}px`
      this.canvas.style.height = `${height}px`
    }
    const ctx = this.canvas.getContext('2d')!
    ctx.save()
    ctx.setTransform(scale, 0, 0, scale, 0, 0)
    ctx.fillStyle = theme().background
    ctx.fillRect(0, 0, width, height)
    const right = width - 8
    const pixels = new Pixels(Math.round((right - GUTTER) * scale), Math.round((height - AXIS) * scale))
    return {
      ctx, pixels, scale, from: view.from, to: view.to, left: GUTTER, right, top: AXIS, bottom: height,
      laneHeight, cpus,
    }
  }

  #listen(): void {
    const { canvas } = this
    canvas.addEventListener('wheel', (event) => this.#wheel(event), { passive: false })
    canvas.addEventListener('pointerdown', (event) => this.#press(event))
    canvas.addEventListener('pointermove', (event) => this.#hover(event))
    canvas.addEventListener('pointerleave', () => { this.#tip.hidden = true })
    canvas.addEventListener('dblclick', (event) => {
      if (this.#frame !== undefined) this.#views.zoom(0.25, cycleAtX(this.#frame, event.offsetX))
    })
  }

  #wheel(event: WheelEvent): void {
    const frame = this.#frame
    if (frame === undefined) return
    event.preventDefault()
    const isSideways = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)
    if (isSideways) this.#views.pan((event.deltaX || event.deltaY) / (frame.right - frame.left))
    else this.#views.zoom(Math.exp(Math.max(-1, Math.min(1, event.deltaY / 240))), cycleAtX(frame, event.offsetX))
  }

  #press(event: PointerEvent): void {
    const frame = this.#frame
    if (frame === undefined || event.button !== 0) return
    const { canvas } = this
    const [startX, startY] = [event.offsetX, event.offsetY]
    const { from, to } = this.#views.now
    const isRange = event.shiftKey
    let moved = 0
    const move = (next: PointerEvent): void => {
      moved = Math.max(moved, Math.abs(next.offsetX - startX))
      if (moved <= CLICK_PIXELS || isRange) return
      const cycles = ((startX - next.offsetX) / (frame.right - frame.left)) * (to - from)
      this.#views.show(from + cycles, to + cycles)
    }
    const release = (last: PointerEvent): void => {
      canvas.removeEventListener('pointermove', move)
      if (moved <= CLICK_PIXELS) this.#click(startX, startY)
      else if (isRange) {
        const ends = [startX, last.offsetX].map((x) => cycleAtX(frame, x)).sort((a, b) => a - b)
        this.#views.show(ends[0], ends[1])
      }
    }
    canvas.setPointerCapture(event.pointerId)
    canvas.addEventListener('pointermove', move)
    canvas.addEventListener('pointerup', release, { once: true })
  }

  #click(x: number, y: number): void {
    const frame = this.#frame
    if (frame === undefined) return
    const cycle = Math.max(0, Math.min(this.#model.meta.endCycle, cycleAtX(frame, x)))
    const cpu = cpuAtY(frame, y)
    const near = cpu < 0 ? -1 : nearestEvent(this.#model, cpu, cycle)
    const isNear = near >= 0 && Math.abs(xOf(frame, this.#model.trace.cycle[near]) - x) <= PICK_PIXELS
    const cursor = isNear ? this.#model.trace.cycle[near] : Math.floor(cycle)
    const request = cpu < 0 ? -1 : this.#model.requests.at(cpu, cursor)
    this.#views.set({ cursor, cpu, event: isNear ? near : -1, request })
  }

  #hover(event: PointerEvent): void {
    const frame = this.#frame
    const cpu = frame === undefined ? -1 : cpuAtY(frame, event.offsetY)
    if (frame === undefined || cpu < 0 || event.offsetX < frame.left || event.buttons !== 0) {
      this.#tip.hidden = true
      return
    }
    this.#tip.replaceChildren(...this.#describe(cpu, cycleAtX(frame, event.offsetX)))
    this.#tip.hidden = false
    const isLeft = event.offsetX > frame.right - 260
    this.#tip.style.transform =
      `translate(${event.offsetX + (isLeft ? -252 : 14)}px, ${event.offsetY + 18 - this.#box.scrollTop}px)`
  }

  #describe(cpu: number, cycle: number): HTMLElement[] {
    const { lanes, meta, commOf, labelOf } = this.#model
    const lane = lanes[cpu]
    const at = stretchAt(lane, cycle)
    const kind = KINDS.find(({ id }) => id === lane.kind[at])!
    const length = stretchEnd(lane, at, meta.endCycle) - lane.start[at]
    const mm = lane.mm[at]
    const loaded = mm <= 1 ? 'init_mm' : `mm ${mm}${lane.lazy[at] === 1 ? ', lazily' : ''}`
    const label = labelOf(lane, at)
    const task = lane.pid[at] === 0 ? 'idle task' : `${commOf(lane.pid[at])}-${lane.pid[at]}`
    return [
      el('b', '', `cpu${cpu}  ${kind.name}${label === '' || label === commOf(lane.pid[at]) ? '' : `: ${label}`}`),
      el('div', '', task),
      el('div', '', `loaded: ${loaded}`),
      el('div', 'dim', `${grouped(length)} cycles, ${microseconds(length, meta.frequencyGhz)}`),
    ]
  }
}

function drawGutter(frame: Frame, view: Readonly<View>): void {
  const { ctx, left, cpus, bottom } = frame
  ctx.fillStyle = theme().background
  ctx.fillRect(0, 0, left, bottom)
  ctx.font = '600 13px system-ui, sans-serif'
  ctx.textBaseline = 'middle'
  for (let cpu = 0; cpu < cpus; cpu++) {
    ctx.fillStyle = cpu === view.cpu ? theme().cursor : theme().text
    ctx.fillText(`cpu${cpu}`, 10, (laneTop(frame, cpu) + baseline(frame, cpu)) / 2 + 3)
  }
}

function drawCursor(frame: Frame, view: Readonly<View>, { meta, trace }: Model): void {
  const x = Math.round(xOf(frame, view.cursor)) + 0.5
  if (x < frame.left || x > frame.right) return
  const { ctx } = frame
  ctx.strokeStyle = theme().cursor
  ctx.lineWidth = 1.5
  ctx.beginPath()
  ctx.moveTo(x, AXIS - 8)
  ctx.lineTo(x, frame.bottom)
  ctx.stroke()
  const text = grouped(view.cursor)
  ctx.font = '600 12px ui-monospace, monospace'
  const width = ctx.measureText(text).width + 10
  const left = Math.min(Math.max(frame.left, x - width / 2), frame.right - width)
  ctx.fillStyle = theme().cursor
  ctx.fillRect(left, 3, width, AXIS - 8)
  ctx.fillStyle = theme().background
  ctx.textBaseline = 'middle'
  ctx.fillText(text, left + 5, 3 + (AXIS - 8) / 2 + 0.5)
  if (view.event < 0 || meta.cpus === 0) return
  const cpu = trace.cpu[view.event]
  ctx.beginPath()
  ctx.arc(x, baseline(frame, cpu) - 4, 4.5, 0, 2 * Math.PI)
  ctx.fillStyle = theme().cursor
  ctx.fill()
}
