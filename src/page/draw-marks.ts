// Small signs on lanes: page faults, and what a search has found. Only as many as pixels have room for.

import { AXIS, barHeight, baseline, cycleAtX, laneTop, xOf } from './frame.js'
import type { Frame } from './frame.js'
import { countUpTo } from './lanes.js'
import { firstAtOrAfter } from './model.js'
import type { Model } from './model.js'
import { EVENT } from '../trace/events.js'
import { theme } from './theme.js'

/** With more events in view than that no page fault is drawn. */
const EVENTS_MAX = 3000

export function drawMarks(frame: Frame, model: Model, matches: ArrayLike<number>): void {
  const { trace } = model
  const inView = countUpTo(trace.cycle, frame.to, trace.length) - countUpTo(trace.cycle, frame.from, trace.length)
  if (inView <= EVENTS_MAX) for (let cpu = 0; cpu < frame.cpus; cpu++) drawFaults(frame, model, cpu)
  if (matches.length > 0) drawMatches(frame, model, matches)
}

/** A triangle over the bar where a page fault was taken. */
function drawFaults(frame: Frame, { trace, eventsOf }: Model, cpu: number): void {
  const events = eventsOf[cpu]
  const { ctx } = frame
  const y = baseline(frame, cpu) - barHeight(frame)
  ctx.fillStyle = theme().fault
  for (let i = firstAtOrAfter(trace, events, frame.from); i < events.length; i++) {
    if (trace.cycle[events[i]] > frame.to) return
    const kind = trace.kind[events[i]]
    if (kind !== EVENT.pageFaultUser && kind !== EVENT.pageFaultKernel) continue
    const x = xOf(frame, trace.cycle[events[i]])
    ctx.beginPath()
    ctx.moveTo(x - 3.5, y - 4)
    ctx.lineTo(x + 3.5, y - 4)
    ctx.lineTo(x, y + 2)
    ctx.fill()
  }
}

/** On the axis, one mark for every pixel that has a match; of few also on their lanes. */
function drawMatches(frame: Frame, { trace }: Model, matches: ArrayLike<number>): void {
  const { ctx, left, right } = frame
  ctx.fillStyle = theme().match
  const matchesUpTo = (cycle: number): number =>
    countUpTo(matches, countUpTo(trace.cycle, cycle, trace.length) - 1)
  const first = matchesUpTo(frame.from - 1)
  let before = first
  for (let x = left; x < right; x++) {
    const now = matchesUpTo(cycleAtX(frame, x + 1))
    if (now > before) ctx.fillRect(x, AXIS - 6, 2, 6)
    before = now
  }
  if (before - first > EVENTS_MAX) return
  for (let at = first; at < before; at++) {
    const event = matches[at]
    ctx.fillRect(xOf(frame, trace.cycle[event]) - 1, laneTop(frame, trace.cpu[event]) + 1, 2, 5)
  }
}
