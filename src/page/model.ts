// Everything that the parts of the page look up about the run: decoded once, when the page opens.

import { EVENT, EVENTS } from '../trace/events.js'
import type { TraceData } from '../trace/recorder.js'
import { MODE_IDLE, MODE_INTERRUPT, MODE_USER } from '../trace/observations.js'
import { lineFormatter } from '../trace/text-line.js'
import { stableOrder } from './format.js'
import type { RunMeta } from './format.js'
import { buildLanes, countUpTo, KIND_LAZY } from './lanes.js'
import type { Lane } from './lanes.js'
import { findArrows } from './links.js'
import type { Arrows } from './links.js'
import { findRequests } from './requests.js'
import type { Requests } from './requests.js'
import type { RunData } from './run-data.js'

export interface Model {
  readonly run: RunData
  readonly meta: RunMeta
  readonly trace: TraceData
  readonly lanes: readonly Lane[]
  readonly arrows: Arrows
  readonly requests: Requests
  /** Events of each CPU, in order. */
  readonly eventsOf: readonly Int32Array[]
  /** The canonical line of an event. */
  readonly line: (event: number) => string
  readonly commOf: (pid: number) => string
  /** What a stretch of a lane is, in a word or two. */
  readonly labelOf: (lane: Lane, stretch: number) => string
}

export function buildModel(run: RunData): Model {
  const { meta, trace } = run
  const lanes = buildLanes(run)
  const eventsOf = splitByCpu(trace, meta.cpus)
  const commOf = commFinder(run)
  return {
    run, meta, trace, eventsOf, commOf,
    lanes,
    arrows: findArrows(trace, lanes, meta.flightCycles),
    requests: findRequests(trace, meta.cpus),
    line: lineFormatter(trace),
    labelOf: (lane, stretch) => labelOf(trace, eventsOf[lane.cpu], commOf, lane, stretch),
  }
}

/** The last event at or before `cycle`; -1: none. */
export function lastEventAt({ trace }: Model, cycle: number): number {
  return countUpTo(trace.cycle, cycle, trace.length) - 1
}

/** The event of `cpu` nearest to `cycle`; -1: it has none. */
export function nearestEvent({ trace, eventsOf }: Model, cpu: number, cycle: number): number {
  const events = eventsOf[cpu]
  if (events === undefined || events.length === 0) return -1
  const next = firstAtOrAfter(trace, events, cycle)
  const before = next > 0 ? events[next - 1] : -1
  const after = next < events.length ? events[next] : -1
  if (before < 0 || after < 0) return Math.max(before, after)
  return cycle - trace.cycle[before] <= trace.cycle[after] - cycle ? before : after
}

/** Place in `events` of the first one at or after `cycle`. */
export function firstAtOrAfter(trace: TraceData, events: Int32Array, cycle: number): number {
  let low = 0
  let high = events.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (trace.cycle[events[middle]] < cycle) low = middle + 1
    else high = middle
  }
  return low
}

function splitByCpu(trace: TraceData, cpus: number): Int32Array[] {
  const order = stableOrder(trace.cpu)
  const lists: Int32Array[] = []
  let from = 0
  for (let cpu = 0; cpu < cpus; cpu++) {
    let to = from
    while (to < order.length && trace.cpu[order[to]] === cpu) to++
    lists.push(order.subarray(from, to))
    from = to
  }
  return lists
}

function commFinder({ meta, trace }: RunData): (pid: number) => string {
  const comms = new Map(meta.tasks.map(({ pid, comm }) => [pid, comm]))
  for (let i = 0; i < trace.length; i++) {
    if (i > 0 && trace.pid[i] === trace.pid[i - 1]) continue
    if (!comms.has(trace.pid[i])) comms.set(trace.pid[i], trace.strings[trace.comm[i]] ?? '')
  }
  comms.set(0, 'idle')
  return (pid) => comms.get(pid) ?? `pid ${pid}`
}

const HANDLERS = new Map<number, string>([
  [EVENT.callFunctionEntry, 'call function'], [EVENT.callFunctionSingleEntry, 'call function'],
  [EVENT.rescheduleEntry, 'reschedule'], [EVENT.localTimerEntry, 'timer'],
])
/** How far to look for what a task is doing, events of its CPU. */
const LOOK_BACK = 200

function labelOf(
  trace: TraceData, events: Int32Array, commOf: (pid: number) => string, lane: Lane, stretch: number,
): string {
  const pid = lane.pid[stretch]
  switch (lane.kind[stretch]) {
    case MODE_USER:
      return commOf(pid)
    case KIND_LAZY:
      return `lazy, mm ${lane.mm[stretch]}`
    case MODE_IDLE:
      return ''
    case MODE_INTERRUPT:
      return handlerAt(trace, events, lane.start[stretch])
    default:
      return doingIn(trace, events, lane.start[stretch], lane.start[stretch + 1] ?? Infinity, pid)
  }
}

function handlerAt(trace: TraceData, events: Int32Array, cycle: number): string {
  for (let i = firstAtOrAfter(trace, events, cycle); i < events.length && i >= 0; i++) {
    const name = HANDLERS.get(trace.kind[events[i]])
    if (name !== undefined) return name
    if (trace.cycle[events[i]] > cycle + 100_000) break
  }
  return 'interrupt'
}

/** What the task was doing for most of a stretch in the kernel. */
function doingIn(trace: TraceData, events: Int32Array, from: number, to: number, pid: number): string {
  const first = firstAtOrAfter(trace, events, from)
  const spent = new Map<string, number>()
  let doing = doingBefore(trace, events, first, pid)
  let since = from
  for (let i = first; i < events.length && i < first + LOOK_BACK && trace.cycle[events[i]] < to; i++) {
    const next = doingFrom(trace, events[i], pid)
    if (next === undefined) continue
    spent.set(doing, (spent.get(doing) ?? 0) + trace.cycle[events[i]] - since)
    doing = next
    since = trace.cycle[events[i]]
  }
  spent.set(doing, (spent.get(doing) ?? 0) + to - since)
  return [...spent].reduce((most, each) => (each[1] > most[1] ? each : most))[0]
}

function doingBefore(trace: TraceData, events: Int32Array, end: number, pid: number): string {
  for (let i = end - 1; i >= 0 && i > end - LOOK_BACK; i--) {
    const doing = doingFrom(trace, events[i], pid)
    if (doing !== undefined) return doing
  }
  return 'kernel'
}

/** What an event says about what its task does from then on; undefined: nothing. */
function doingFrom(trace: TraceData, event: number, pid: number): string | undefined {
  if (trace.pid[event] !== pid) return undefined
  switch (trace.kind[event]) {
    case EVENT.sysEnter:
      return trace.strings[trace.words[0][event]] ?? ''
    case EVENT.sysExit:
      return 'kernel'
    case EVENT.pageFaultUser:
    case EVENT.pageFaultKernel:
      return 'page fault'
    case EVENT.schedProcessExit:
      return 'exit'
    case EVENT.schedSwitch:
      return 'schedule'
    default:
      return undefined
  }
}

/** Name of an event. */
export function eventName(trace: TraceData, event: number): string {
  return EVENTS[trace.kind[event]].name
}
