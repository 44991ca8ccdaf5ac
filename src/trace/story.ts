// The story of one event, from the trace alone: what led to it (cause.ts), what it led to, the flush
// request it belongs to, the operation of the kernel around both, and who waited or worked for how long.
//
//   operation  sys_enter ......................................................... sys_exit
//   request          flush_begin  send ............................... flush_done
//   waiting                             |<- for acknowledgements ->|
//   responder                     entry .. flush .. ack .. exit
//   left out                      (lazy)                                    flush on return

import { causeOf, causesOf } from './cause.js'
import { EVENT, EVENTS, TLB_FLUSH_ON_TASK_SWITCH } from './events.js'
import type { EventName } from './events.js'
import { eventAt } from './recorder.js'
import type { TraceData } from './recorder.js'
import { summarizeShootdowns } from './summary.js'
import type { Shootdown } from './summary.js'

/** Somebody who waited, or was kept from its work, because of what the story is about. */
export interface Delay {
  cpu: number
  comm: string
  pid: number
  what: 'waited for acknowledgements' | 'handled an interrupt' | 'waited for a CPU' | 'slept'
  startCycle: number
  cycles: number
}

/** A CPU that a request left out, and the flush with which it caught up; undefined when it never did. */
export interface CaughtUp {
  cpu: number
  why: string
  flushCycle: number | undefined
}

/** A system call, a page fault or an exit: what a task asked the kernel for. */
export interface Operation {
  name: string
  comm: string
  pid: number
  cpu: number
  startCycle: number
  /** Undefined when the trace ends before, or does not say when it ended. */
  endCycle: number | undefined
  /** The flush requests it made. */
  requests: Shootdown[]
}

export interface Story {
  index: number
  /** Records, the most remote cause first. */
  causes: number[]
  /** Records that have this one as their cause; at most `EFFECTS_MAX`. */
  effects: number[]
  hasMoreEffects: boolean
  request: Shootdown | undefined
  caughtUp: CaughtUp[]
  operation: Operation | undefined
  delays: Delay[]
}

export const EFFECTS_MAX = 12
/** How far ahead effects are looked for, records: all of a shootdown of hundreds of CPUs. */
const EFFECT_RECORDS = 1000

/** Which of several events of one cycle a person means: the first of these that is there. */
const TELLING: readonly EventName[] = [
  'flush_begin', 'signal', 'oom', 'load_mismatch', 'page_fault_user', 'page_fault_kernel', 'tlb_flush',
  'ipi_send_cpumask', 'ipi_send_cpu', 'flush_done', 'leave_mm', 'switch_mm', 'sched_switch', 'page_map', 'sys_enter',
  'sched_process_exit', 'sched_wakeup', 'flush_ack', 'flush_skip', 'sys_exit',
]

/** What a caller may ask for besides the cycle. */
export interface EventChoice {
  cpu?: number
  name?: string
}

/** Records at the last cycle at or before `cycle` that fit, the most telling one first. Empty when there are none. */
export function recordsAt(data: TraceData, cycle: number, choice: EventChoice = {}): number[] {
  const fits = (index: number): boolean => (choice.cpu === undefined || data.cpu[index] === choice.cpu)
    && (choice.name === undefined || EVENTS[data.kind[index]!]?.name === choice.name)
  let last = firstAfter(data, cycle) - 1
  while (last >= 0 && !fits(last)) last--
  const found: number[] = []
  for (let i = last; i >= 0 && data.cycle[i] === data.cycle[last]; i--) if (fits(i)) found.unshift(i)
  const rank = (index: number): number => {
    const at = TELLING.indexOf(EVENTS[data.kind[index]!]!.name)
    return at < 0 ? TELLING.length : at
  }
  return found.sort((a, b) => rank(a) - rank(b) || a - b)
}

/** Everything about record `index`. */
export function storyOf(data: TraceData, index: number): Story {
  const causes = causesOf(data, index)
  const shootdowns = summarizeShootdowns(data)
  const request = requestOf(data, [...causes, index], shootdowns)
  const operation = operationOf(data, [...causes, index], shootdowns)
  const effects = effectsOf(data, index)
  return {
    index, causes, request, operation,
    effects: effects.slice(0, EFFECTS_MAX),
    hasMoreEffects: effects.length > EFFECTS_MAX,
    caughtUp: request === undefined ? [] : caughtUpOf(data, request),
    delays: [...(request === undefined ? [] : requestDelays(data, request)), ...taskDelays(data, index)],
  }
}

/** The first record after `cycle`; records are in the order of their cycles. */
function firstAfter(data: TraceData, cycle: number): number {
  let [low, high] = [0, data.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (data.cycle[middle]! <= cycle) low = middle + 1
    else high = middle
  }
  return low
}

function effectsOf(data: TraceData, index: number): number[] {
  const effects: number[] = []
  const end = Math.min(data.length, index + EFFECT_RECORDS)
  for (let i = index + 1; i < end; i++) if (causeOf(data, i, index) === index) effects.push(i)
  return effects
}

/** The request of the last flush_begin in a chain: requests are listed in the order in which they began. */
function requestOf(data: TraceData, chain: readonly number[], all: readonly Shootdown[]): Shootdown | undefined {
  const begin = chain.findLast(index => data.kind[index] === EVENT.flushBegin)
  if (begin === undefined) return undefined
  let number = 0
  for (let i = 0; i < begin; i++) if (data.kind[i] === EVENT.flushBegin) number++
  return all[number]
}

/** The first system call, fault or exit in a chain. */
function operationOf(data: TraceData, chain: readonly number[], all: readonly Shootdown[]): Operation | undefined {
  const start = chain.find(index => OPERATIONS.has(data.kind[index]!))
  if (start === undefined) return undefined
  const { cpu, pid, comm, cycle } = eventAt(data, start)
  const endCycle = endOfOperation(data, start)
  const until = endCycle ?? Infinity
  return {
    name: operationName(data, start), cpu, pid, comm, startCycle: cycle, endCycle,
    requests: all.filter(one => one.pid === pid && one.startCycle >= cycle && one.startCycle <= until),
  }
}

const OPERATIONS = new Set<number>([
  EVENT.sysEnter, EVENT.pageFaultUser, EVENT.pageFaultKernel, EVENT.schedProcessExit,
])

function operationName(data: TraceData, index: number): string {
  const event = eventAt(data, index)
  if (event.name === 'sys_enter') return event.fields.name
  return event.name === 'sched_process_exit' ? 'exit' : 'page fault'
}

/** A call ends at its return, an exit when the task is switched away for good, a fault with its page. */
function endOfOperation(data: TraceData, start: number): number | undefined {
  const pid = data.pid[start]
  for (let i = start + 1; i < data.length; i++) {
    if (data.pid[i] !== pid) continue
    const kind = data.kind[i]
    switch (data.kind[start]) {
      case EVENT.sysEnter:
        if (kind === EVENT.sysExit || kind === EVENT.schedProcessExit) return data.cycle[i]
        break
      case EVENT.schedProcessExit:
        if (kind === EVENT.schedSwitch) return data.cycle[i]
        break
      default:
        if (kind === EVENT.pageMap || kind === EVENT.signal) return data.cycle[i]
        // A fault whose page was there already maps nothing: the next thing the task does is another story.
        if (OPERATIONS.has(kind!)) return undefined
    }
  }
  return undefined
}

function requestDelays(data: TraceData, request: Shootdown): Delay[] {
  const { initiatorCpu: cpu, comm, pid, responders, startCycle, endCycle } = request
  const delays: Delay[] = []
  const waitsFrom = responders.length === 0 || endCycle === undefined ? undefined : lastOwnRecord(data, request)
  if (waitsFrom !== undefined && endCycle! > waitsFrom) {
    delays.push({ cpu, comm, pid, what: 'waited for acknowledgements', startCycle: waitsFrom,
      cycles: endCycle! - waitsFrom })
  }
  for (const { cpu: target, startCycle: from, cycles } of responders) {
    if (from === undefined || cycles === 0) continue
    const entry = indexAt(data, target, from, startCycle)
    if (entry === undefined) continue
    const { comm: who, pid: whose } = eventAt(data, entry)
    delays.push({ cpu: target, comm: who, pid: whose, what: 'handled an interrupt', startCycle: from, cycles })
  }
  return delays
}

/** The cycle of the initiator's last record inside its request that is its own and not of a handler. */
function lastOwnRecord(data: TraceData, { initiatorCpu, startCycle, endCycle }: Shootdown): number | undefined {
  let last: number | undefined
  let inHandler = false
  for (let i = firstAfter(data, startCycle - 1); i < data.length && data.cycle[i]! <= endCycle!; i++) {
    if (data.cpu[i] !== initiatorCpu) continue
    if (data.kind[i] === EVENT.flushDone) break
    const name: string = EVENTS[data.kind[i]!]!.name
    if (name.endsWith('_entry')) inHandler = true
    if (!inHandler) last = data.cycle[i]
    if (name.endsWith('_exit')) inHandler = false
  }
  return last
}

/** A record of this CPU at this cycle, from a cycle on. */
function indexAt(data: TraceData, cpu: number, cycle: number, from: number): number | undefined {
  for (let i = firstAfter(data, Math.max(from, cycle) - 1); i < data.length && data.cycle[i]! <= cycle; i++) {
    if (data.cpu[i] === cpu) return i
  }
  return undefined
}

function caughtUpOf(data: TraceData, { skipped, startCycle }: Shootdown): CaughtUp[] {
  return skipped.map(({ cpu, why }) => {
    for (let i = firstAfter(data, startCycle); i < data.length; i++) {
      const isCatchingUp = data.cpu[i] === cpu && data.kind[i] === EVENT.tlbFlush
        && data.words[1]![i] === TLB_FLUSH_ON_TASK_SWITCH && data.words[0]![i] !== 0
      if (isCatchingUp) return { cpu, why, flushCycle: data.cycle[i] }
    }
    return { cpu, why, flushCycle: undefined }
  })
}

/** Of a switch: how long the task that comes had waited; of a wake-up: how long it had slept and will wait. */
function taskDelays(data: TraceData, index: number): Delay[] {
  const event = eventAt(data, index)
  if (event.name === 'sched_switch' && event.fields.nextPid !== 0) return waitOf(data, index, event.fields.nextPid)
  if (event.name !== 'sched_wakeup') return []
  const { pid } = event.fields
  const slept = lastSwitchAway(data, index, pid)
  const came = firstSwitchTo(data, index, pid)
  return [
    ...(slept === undefined ? [] : [delayOfTask(data, slept, pid, event.fields.comm, 'slept', event.cycle)]),
    ...(came === undefined ? [] : waitOf(data, came, pid)),
  ]
}

function waitOf(data: TraceData, switchIndex: number, pid: number): Delay[] {
  const event = eventAt(data, switchIndex)
  if (event.name !== 'sched_switch') return []
  for (let i = switchIndex - 1; i >= 0; i--) {
    const other = eventAt(data, i)
    const isWoken = (other.name === 'sched_wakeup' || other.name === 'sched_wakeup_new') && other.fields.pid === pid
    if (!isWoken && !(other.name === 'sched_switch' && other.pid === pid)) continue
    return [{ cpu: event.cpu, comm: event.fields.nextComm, pid, what: 'waited for a CPU', startCycle: other.cycle,
      cycles: event.cycle - other.cycle }]
  }
  return []
}

function lastSwitchAway(data: TraceData, index: number, pid: number): number | undefined {
  for (let i = index - 1; i >= 0; i--) if (data.kind[i] === EVENT.schedSwitch && data.pid[i] === pid) return i
  return undefined
}

function firstSwitchTo(data: TraceData, index: number, pid: number): number | undefined {
  for (let i = index + 1; i < data.length; i++) {
    if (data.kind[i] === EVENT.schedSwitch && data.words[2]![i] === pid) return i
  }
  return undefined
}

function delayOfTask(
  data: TraceData, from: number, pid: number, comm: string, what: Delay['what'], until: number,
): Delay {
  const startCycle = data.cycle[from]!
  return { cpu: data.cpu[from]!, comm, pid, what, startCycle, cycles: until - startCycle }
}
