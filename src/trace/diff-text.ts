// The comparison of two traces as text for people: one sentence that says it all, the first difference in
// its context with its cause and what every CPU was doing, what is missing or new by operation, counts
// by kind of event, and costs.

import { tableLines } from '../base/table.js'
import type { Column } from '../base/table.js'
import { causesOf } from './cause.js'
import { changedFields } from './diff.js'
import type { CostDifference, EventDifference, KindDifference, TraceDifference } from './diff.js'
import { findMoves } from './diff-moves.js'
import type { Moves } from './diff-moves.js'
import { diffSummary } from './diff-summary.js'
import type { TraceEvent } from './events.js'
import { describeMoment, momentAt } from './moment.js'
import { eventAt } from './recorder.js'
import type { TraceData } from './recorder.js'
import { lineFormatter } from './text.js'
import type { TextTrace } from './text-parse.js'

/** Lines of context before the first difference. */
const CONTEXT_LINES = 4

/** What the two traces are called. */
export interface TraceNames {
  a: string
  b: string
}

/** What differs about the runs themselves: another era, seed, number of CPUs. */
export function headerDifferences(a: TextTrace, b: TextTrace, names: TraceNames = { a: 'A', b: 'B' }): string[] {
  const keys = ['scenario', 'era', 'cpus', 'seed', 'frequencyGhz'] as const
  return keys.filter(key => a.header[key] !== b.header[key])
    .map(key => `${key}: ${a.header[key]} in ${names.a}, ${b.header[key]} in ${names.b}`)
}

/** `3 IPIs fewer, 1 switch earlier`; empty for equal traces. */
export function summaryText(a: TextTrace, b: TextTrace, difference: TraceDifference): string {
  return diffSummary(a.data, b.data, difference, findMoves(a.data, b.data, difference.differences))
}

/** The whole text of a comparison that found differences, without the summary. */
export function diffText(
  a: TextTrace, b: TextTrace, difference: TraceDifference, limit: number, names: TraceNames = { a: 'A', b: 'B' },
): string {
  if (difference.firstRecord === undefined) return ''
  return [
    firstDifference(a, b, difference.firstRecord, names),
    listing(a.data, b.data, difference.differences, limit, names),
    kindTable(difference.kinds, names),
    costTable('Cost of operations, cycles', difference.operations, names),
    costTable('Time in interrupt handlers, cycles', difference.cpus, names),
  ].filter(text => text !== '').join('\n')
}

function firstDifference(a: TextTrace, b: TextTrace, record: number, names: TraceNames): string {
  const [lineA, lineB] = [lineFormatter(a.data), lineFormatter(b.data)]
  const [side, line] = record < a.data.length ? [a, lineA] as const : [b, lineB] as const
  const lines = [`First difference, cycle ${side.data.cycle[record]} on cpu${side.data.cpu[record]}`
    + ` (- ${names.a}, + ${names.b})`]
  for (let i = Math.max(0, record - CONTEXT_LINES); i < record; i++) lines.push(`    ${lineA(i)}`)
  lines.push(record < a.data.length ? `  - ${lineA(record)}` : '  - (the trace ends)')
  lines.push(record < b.data.length ? `  + ${lineB(record)}` : '  + (the trace ends)')
  const because = causesOf(side.data, record)
  if (because.length > 0) lines.push('What led to it', ...because.map(index => `    ${line(index)}`))
  lines.push('What every CPU was doing')
  for (const moment of momentAt(side.data, record, side.header.cpus)) lines.push(`    ${describeMoment(moment)}`)
  return `${lines.join('\n')}\n`
}

function listing(
  a: TraceData, b: TraceData, differences: readonly EventDifference[], limit: number, names: TraceNames,
): string {
  if (differences.length === 0) return 'Every event has its counterpart; only times differ.\n'
  const [lineA, lineB] = [lineFormatter(a), lineFormatter(b)]
  const moves = findMoves(a, b, differences)
  const lines = [`Differences besides time: ${differences.length} (- ${names.a}, + ${names.b})`]
  let heading = ''
  for (const one of differences.slice(0, limit)) {
    const next = one.a >= 0 ? operationOf(a, one.a) : operationOf(b, one.b)
    if (next !== heading) lines.push(`  ${heading = next}`)
    const note = noteOn(a, b, one, moves)
    if (one.kind !== 'inserted') lines.push(`    - ${lineA(one.a)}${one.kind === 'removed' ? note : ''}`)
    if (one.kind !== 'removed') lines.push(`    + ${lineB(one.b)}${note}`)
  }
  if (differences.length > limit) lines.push(`  ... and ${differences.length - limit} more (--limit shows more)`)
  return `${lines.join('\n')}\n`
}

/** What is worth saying about a difference behind its line. */
function noteOn(a: TraceData, b: TraceData, one: EventDifference, moves: Moves): string {
  const move = moves.get(one)
  if (move !== undefined) {
    const { way, partner } = move
    const [cycle, cpu] = one.kind === 'removed'
      ? [b.cycle[partner.b], b.cpu[partner.b]] : [a.cycle[partner.a], a.cpu[partner.a]]
    const place = `cycle ${cycle}${way === 'on another CPU' ? `, cpu${cpu}` : ''}`
    return one.kind === 'removed' ? `   <- moved ${way}, to ${place}` : `   <- moved, from ${place}`
  }
  return one.kind === 'changed' ? `   <- ${changeInWords(a, b, one)}` : ''
}

/** `pages 3 -> 2`. */
function changeInWords(a: TraceData, b: TraceData, { a: i, b: j }: EventDifference): string {
  const [before, after] = [eventAt(a, i), eventAt(b, j)]
  const valueOf = (event: TraceEvent, name: string): string => {
    if (name === 'task') return `${event.comm}-${event.pid}`
    const value = (event.fields as Readonly<Record<string, string | number | bigint>>)[name]
    return typeof value === 'bigint' ? `0x${value.toString(16)}` : String(value)
  }
  return changedFields(a, b, i, j).map(name => `${name} ${valueOf(before, name)} -> ${valueOf(after, name)}`).join(', ')
}

/** `munmap of main-1, from cycle 256382`: what the event is a part of. */
function operationOf(data: TraceData, index: number): string {
  const event = eventAt(data, causesOf(data, index)[0] ?? index)
  const { cycle, cpu } = event
  const task = event.pid === 0 ? `cpu${cpu}, idle` : `${event.comm}-${event.pid}`
  switch (event.name) {
    case 'sys_enter':
      return `${event.fields.name} of ${task}, from cycle ${cycle}`
    case 'page_fault_user':
    case 'page_fault_kernel':
      return `page fault of ${task} at 0x${event.fields.address.toString(16)}, cycle ${cycle}`
    case 'sched_process_exit':
      return `exit of ${task}, cycle ${cycle}`
    case 'sched_switch':
      return `scheduling on cpu${cpu}`
    default:
      return `otherwise, ${task}`
  }
}

/** Kinds of which there are more or fewer or whose fields differ, then in one line those at other times only. */
function kindTable(kinds: readonly KindDifference[], names: TraceNames): string {
  const isTold = (kind: KindDifference): boolean => kind.removed + kind.inserted + kind.changed > 0
  const told = kinds.filter(isTold)
  const rows = told.map(kind => [kind.label, String(kind.countA), String(kind.countB), inWords(kind)])
  const columns = [left('event'), right(names.a), right(names.b), left('')]
  const rest = kinds.filter(kind => !isTold(kind))
  return (told.length > 0 ? titled('By kind of event', columns, rows) : '') + shiftedLine(rest, told.length > 0)
}

function shiftedLine(kinds: readonly KindDifference[], isRest: boolean): string {
  if (kinds.length === 0) return ''
  const events = kinds.reduce((sum, { shifted }) => sum + shifted, 0)
  const largest = kinds.map(({ largestShift }) => largestShift)
    .reduce((most, shift) => (Math.abs(shift) > Math.abs(most) ? shift : most), 0)
  const what = `${events} ${events === 1 ? 'event' : 'events'} of ${isRest ? 'other kinds' : `${kinds.length} kinds`}`
  return `${isRest ? '    and ' : ''}${what} at other times (${shiftInWords(largest)})\n`
}

/** `3 fewer, 1 changed, 12 at other times (up to 300 cycles later)`. */
function inWords(kind: KindDifference): string {
  const delta = kind.countB - kind.countA
  const parts: string[] = []
  if (delta !== 0) parts.push(`${Math.abs(delta)} ${delta < 0 ? 'fewer' : 'more'}`)
  const moved = Math.min(kind.removed, kind.inserted)
  if (moved > 0) parts.push(`${moved} elsewhere`)
  if (kind.changed > 0) parts.push(`${kind.changed} changed`)
  if (kind.shifted > 0) parts.push(`${kind.shifted} at other times (${shiftInWords(kind.largestShift)})`)
  return parts.join(', ')
}

function shiftInWords(largest: number): string {
  return `up to ${Math.abs(largest)} cycles ${largest > 0 ? 'later' : 'earlier'}`
}

function costTable(title: string, costs: readonly CostDifference[], names: TraceNames): string {
  if (costs.length === 0) return ''
  const rows = costs.map(cost => [
    cost.label, cost.countA === cost.countB ? String(cost.countA) : `${cost.countA} -> ${cost.countB}`,
    String(cost.cyclesA), String(cost.cyclesB), changeOf(cost.cyclesA, cost.cyclesB),
  ])
  const columns = ['times', names.a, names.b, 'change'].map(right)
  return titled(title, [left(''), ...columns], rows)
}

function titled(title: string, columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  return `${title}\n${tableLines(columns, rows).map(line => `    ${line}\n`).join('')}`
}

function left(title: string): Column {
  return { title, align: 'left' }
}

function right(title: string): Column {
  return { title, align: 'right' }
}

function changeOf(before: number, after: number): string {
  const delta = after - before
  const sign = delta > 0 ? '+' : ''
  return before === 0 ? `${sign}${delta}` : `${sign}${delta} (${sign}${((100 * delta) / before).toFixed(1)} %)`
}
