// A comparison of two traces in one sentence: what there is more or less of, what happens earlier or
// later than before, what has other numbers. `3 IPIs fewer, 1 switch earlier`.
//
// One interrupt less is also one queued request, one handler and one acknowledgement less; such
// companions are told only when nothing else is.

import { changedFields, labelOf } from './diff.js'
import type { EventDifference, KindDifference, TraceDifference } from './diff.js'
import { moveOf } from './diff-moves.js'
import type { Moves } from './diff-moves.js'
import type { TraceData } from './recorder.js'

/** Parts of the sentence; the rest is counted. */
const MAX_PARTS = 6

/** What events are called, one and many, the most telling first. */
const NOUNS: readonly (readonly [kind: string, one: string, many: string])[] = [
  ['ipi_send_cpu', 'IPI', 'IPIs'],
  ['ipi_send_cpumask', 'IPI to many', 'IPIs to many'],
  ['tlb_flush', 'flush', 'flushes'],
  ['flush_begin', 'flush request', 'flush requests'],
  ['flush_skip', 'CPU left out', 'CPUs left out'],
  ['sched_switch', 'switch', 'switches'],
  ['page_fault_user', 'page fault', 'page faults'],
  ['page_fault_kernel', 'kernel page fault', 'kernel page faults'],
  ['leave_mm', 'mm left', 'mms left'],
  ['enter_lazy_tlb', 'lazy stretch', 'lazy stretches'],
  ['sched_wakeup', 'wake-up', 'wake-ups'],
  ['sched_migrate_task', 'migration', 'migrations'],
  ['signal', 'signal', 'signals'],
  ['load_mismatch', 'wrong load', 'wrong loads'],
  ['oom', 'failed allocation', 'failed allocations'],
  ['sys_enter', 'system call', 'system calls'],
  ['mm_free', 'mm freed', 'mms freed'],
  ['page_map', 'page mapped', 'pages mapped'],
]
/** They follow from others. */
const COMPANIONS = /^(csd_queue|call_function|reschedule|local_timer|flush_ack|flush_done|switch_mm|sys_exit|page_map)/

/** So many events of a label, and what about them. */
interface Part {
  label: string
  count: number
  what: string
}

/** The sentence, without a full stop; empty for equal traces. */
export function diffSummary(a: TraceData, b: TraceData, difference: TraceDifference, moves: Moves): string {
  if (difference.isEqual) return ''
  const byLabel = new Map<string, EventDifference[]>(difference.kinds.map(({ label }) => [label, []]))
  for (const one of difference.differences) {
    byLabel.get(one.a >= 0 ? labelOf(a, one.a) : labelOf(b, one.b))?.push(one)
  }
  const all = difference.kinds.flatMap(kind => partsOf(a, b, kind, byLabel.get(kind.label) ?? [], moves))
  const main = all.filter(({ label }) => !COMPANIONS.test(label))
  const told = sentences((main.length > 0 ? main : all).toSorted((x, y) => rank(x.label) - rank(y.label)))
  if (told.length === 0) return onlyTimes(difference)
  const rest = told.length > MAX_PARTS ? [`${told.length - MAX_PARTS + 1} more kinds of differences`] : []
  return [...told.slice(0, rest.length > 0 ? MAX_PARTS - 1 : MAX_PARTS), ...rest].join(', ')
}

/** `1 flush (remote shootdown) fewer`; where several labels share their noun and what happened, `4 flushes fewer`. */
function sentences(parts: readonly Part[]): string[] {
  const groups = new Map<string, Part[]>()
  for (const part of parts) {
    const key = `${split(part.label)[0]} ${part.what}`
    groups.set(key, [...groups.get(key) ?? [], part])
  }
  return [...groups.values()].map((group) => {
    const [first] = group
    const label = group.length > 1 ? split(first!.label)[0] : first!.label
    return `${named(label, group.reduce((sum, { count }) => sum + count, 0))} ${first!.what}`
  })
}

/** `3 ... fewer`, `1 ... earlier`, `2 ... with other pages`. */
function partsOf(
  a: TraceData, b: TraceData, kind: KindDifference, own: readonly EventDifference[], moves: Moves,
): Part[] {
  const { label } = kind
  const parts: Part[] = []
  const add = (count: number, what: string): void => {
    if (count > 0) parts.push({ label, count, what })
  }
  add(kind.countA - kind.countB, 'fewer')
  add(kind.countB - kind.countA, 'more')
  const moved = own.filter(one => one.kind === 'removed').map(one => moveOf(moves, one)).filter(move => move !== '')
  for (const way of new Set(moved)) add(moved.filter(each => each === way).length, way)
  add(Math.min(kind.removed, kind.inserted) - moved.length, 'replaced by others')
  const changed = own.filter(one => one.kind === 'changed')
  if (changed.length > 0) add(changed.length, `with other ${fieldList(a, b, changed)}`)
  return parts
}

function fieldList(a: TraceData, b: TraceData, changed: readonly EventDifference[]): string {
  return [...new Set(changed.flatMap(one => changedFields(a, b, one.a, one.b)))].join(' and ')
}

function onlyTimes({ kinds }: TraceDifference): string {
  const count = kinds.reduce((sum, { shifted }) => sum + shifted, 0)
  if (count === 0) return ''
  const largest = kinds.reduce(
    (most, { largestShift }) => (Math.abs(largestShift) > Math.abs(most) ? largestShift : most), 0)
  return `the same events, ${count} of them at other times (up to ${Math.abs(largest)} cycles `
    + `${largest > 0 ? 'later' : 'earlier'})`
}

/** `1 flush (remote shootdown)`, `3 IPIs`. */
function named(label: string, count: number): string {
  const [kind, detail = ''] = split(label)
  const noun = NOUNS.find(([name]) => name === kind)
  const word = noun === undefined ? `${kind} ${count === 1 ? 'event' : 'events'}` : noun[count === 1 ? 1 : 2]
  return `${count} ${word}${detail}`
}

function rank(label: string): number {
  const at = NOUNS.findIndex(([name]) => name === split(label)[0])
  return at < 0 ? NOUNS.length : at
}

/** `tlb_flush (remote shootdown)` in two. */
function split(label: string): [string, string?] {
  const at = label.indexOf(' ')
  return at < 0 ? [label] : [label.slice(0, at), label.slice(at)]
}
