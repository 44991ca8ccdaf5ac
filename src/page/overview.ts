// The whole run in a strip above the timeline: how the cycles of all CPUs divide over the kinds, and
// which part the timeline shows. Dragging in it moves that part.

import { byId, el } from './dom.js'
import { KIND_COUNT, sharesOf } from './lanes.js'
import type { Model } from './model.js'
import { theme } from './theme.js'
import type { View, Views } from './view.js'

const STACKED = [0, 1, 2, 3, 6, 4, 5] as const

export class Overview {
  readonly #model: Model
  readonly #views: Views
  readonly #canvas = el('canvas', 'overview')
  readonly #box = byId('overview')
  /** The strip without the part in view, for one width and theme. */
  #strip: { key: string; image: HTMLCanvasElement } | undefined

  constructor(model: Model, views: Views) {
    this.#model = model
    this.#views = views
    this.#box.append(this.#canvas)
    this.#canvas.addEventListener('pointerdown', (event) => this.#press(event))
    new ResizeObserver(() => views.redraw()).observe(this.#box)
    views.add((view) => this.#draw(view))
  }

  #press(event: PointerEvent): void {
    this.#canvas.setPointerCapture(event.pointerId)
    const move = (next: PointerEvent): void => {
      const { from, to } = this.#views.now
      const center = (next.offsetX / this.#canvas.clientWidth) * this.#model.meta.endCycle
      this.#views.show(center - (to - from) / 2, center + (to - from) / 2)
    }
    move(event)
    this.#canvas.addEventListener('pointermove', move)
    this.#canvas.addEventListener('pointerup', () => this.#canvas.removeEventListener('pointermove', move),
      { once: true })
  }

  #draw(view: Readonly<View>): void {
    const scale = window.devicePixelRatio || 1
    const [width, height] = [this.#box.clientWidth, this.#box.clientHeight]
    // Not on paper.
    if (width === 0 || height === 0) return
    this.#canvas.width = Math.round(width * scale)
    this.#canvas.height = Math.round(height * scale)
    const ctx = this.#canvas.getContext('2d')!
    ctx.drawImage(this.#stripFor(width, height, scale), 0, 0)
    ctx.scale(scale, scale)
    const { endCycle } = this.#model.meta
    const [x1, x2] = [view.from, view.to].map((cycle) => (cycle / endCycle) * width)
    ctx.fillStyle = theme().background
    ctx.globalAlpha = 0.72
    ctx.fillRect(0, 0, x1, height)
    ctx.fillRect(x2, 0, width - x2, height)
    ctx.globalAlpha = 1
    ctx.strokeStyle = theme().text
    ctx.lineWidth = 1.5
    ctx.strokeRect(x1 + 0.75, 0.75, Math.max(2, x2 - x1 - 1.5), height - 1.5)
    ctx.fillStyle = theme().cursor
    ctx.fillRect((view.cursor / endCycle) * width - 0.75, 0, 1.5, height)
  }

  #stripFor(width: number, height: number, scale: number): HTMLCanvasElement {
    const key = `${width} ${height} ${scale} ${theme().name}`
    if (this.#strip?.key === key) return this.#strip.image
    const image = el('canvas')
    image.width = Math.round(width * scale)
    image.height = Math.round(height * scale)
    const ctx = image.getContext('2d')!
    ctx.scale(scale, scale)
    const { lanes, meta } = this.#model
    const shares = new Float64Array(KIND_COUNT)
    const all = new Float64Array(KIND_COUNT)
    for (let x = 0; x < width; x++) {
      all.fill(0)
      const [from, to] = [x, x + 1].map((each) => (each / width) * meta.endCycle)
      for (const lane of lanes) {
        sharesOf(lane, from, to, shares)
        for (let kind = 0; kind < KIND_COUNT; kind++) all[kind] += shares[kind]
      }
      let y = height
      for (const kind of STACKED) {
        const part = (all[kind] / ((to - from) * lanes.length)) * height
        ctx.fillStyle = theme().kinds[kind]
        ctx.fillRect(x, y - part, 1, part)
        y -= part
      }
    }
    this.#strip = { key, image }
    return image
  }
}
