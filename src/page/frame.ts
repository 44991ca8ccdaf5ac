// One drawing of the timeline: the canvas, what it shows, and where a cycle and a CPU are on it.
//
//   left            right
//   |  axis           |      top
//   cpu0 ███▂▂███▁▁▁▁▁
//   cpu1 ▁▁▁▁████▂▂▂▂▂      one lane: bars, and below them a strip for the loaded address space

import type { Pixels } from './pixels.js'

export interface Frame {
  readonly ctx: CanvasRenderingContext2D
  /** The lanes from (left, top) on in pixels of the device, `scale` of them for one of the page. */
  readonly pixels: Pixels
  readonly scale: number
  readonly from: number
  readonly to: number
  readonly left: number
  readonly right: number
  readonly top: number
  readonly bottom: number
  readonly laneHeight: number
  readonly cpus: number
}

export const GUTTER = 64
export const AXIS = 26
const STRIP = 4
/** Free space above the bars of a lane, and between its strip and the next lane. */
const GAP = 5

export function xOf({ from, to, left, right }: Frame, cycle: number): number {
  return left + ((cycle - from) / (to - from)) * (right - left)
}

export function cycleAtX({ from, to, left, right }: Frame, x: number): number {
  return from + ((x - left) / (right - left)) * (to - from)
}

export function laneTop({ top, laneHeight }: Frame, cpu: number): number {
  return top + cpu * laneHeight
}

/** Where bars stand. */
export function baseline(frame: Frame, cpu: number): number {
  return laneTop(frame, cpu) + frame.laneHeight - STRIP - GAP
}

/** Height of a bar of height 1. */
export function barHeight({ laneHeight }: Frame): number {
  return laneHeight - STRIP - 2 * GAP
}

export function stripHeight(): number {
  return STRIP
}

/** The CPU whose lane is at `y`; -1: none. */
export function cpuAtY({ top, laneHeight, cpus }: Frame, y: number): number {
  const cpu = Math.floor((y - top) / laneHeight)
  return y < top || cpu >= cpus ? -1 : cpu
}

/** Fills a rectangle of the lanes: `x` from the left end in pixels of the device, `y` as on the page. */
export function fillLane(
  { pixels, scale, top }: Frame, colour: number, x1: number, x2: number, y1: number, y2: number,
): void {
  pixels.fill(colour, x1, Math.round((y1 - top) * scale), x2, Math.round((y2 - top) * scale))
}
