// The comparison of two traces as text for people: the first difference in its context with its
// cause and what every CPU was doing, what is missing or new, counts by kind of event, and costs.

import { tableLines } from '../base/table.js'
import type { Column } from '../base/table.js'
import { causesOf } from './cause.js'
import type { CostDifference, EventDifference, KindDifference, TraceDifference } from './diff.js'
import { describeMoment, momentAt } from './moment.js'
import { lineFormatter } from './text.js'
import type { TextTrace } from './text-parse.js'

/** Lines of context before the first difference. */
const CONTEXT_LINES = 4

/** What differs about the runs themselves: another era, seed, number of CPUs. */
export function headerDifferences(a: TextTrace, b: TextTrace): string[] {
  const keys = ['scenario', 'era', 'cpus', 'seed', 'frequencyGhz'] as const
  return keys.filter(key => a.header[key] !== b.header[key])
    .map(key => `${key}: ${a.header[key]} in A, ${b.header[key]} in B`)
}

/** The whole text of a comparison that found differences. */
export function diffText(a: TextTrace, b: TextTrace, difference: TraceDifference, limit: number): string {
  if (difference.firstRecord === undefined) return ''
  return [
    firstDifference(a, b, difference.firstRecord),
    listing(a, b, difference.differences, limit),
    kindTable(difference.kinds),
    costTable('Cost of operations, cycles', difference.operations),
    costTable('Time in interrupt handlers, cycles', difference.cpus),
  ].filter(text => text !== '').join('\n')
}

function firstDifference(a: TextTrace, b: TextTrace, record: number): string {
  const [lineA, lineB] = [lineFormatter(a.data), lineFormatter(b.data)]
  const lines = ['First difference']
  for (let i = Math.max(0, record - CONTEXT_LINES); i < record; i++) lines.push(`    ${lineA(i)}`)
  lines.push(record < a.data.length ? `  - ${lineA(record)}` : '  - (the trace ends)')
  lines.push(record < b.data.length ? `  + ${lineB(record)}` : '  + (the trace ends)')
  const because = record < a.data.length ? causesOf(a.data, record) : []
  if (because.length > 0) lines.push('Its cause, in A:', ...because.map(index => `    ${lineA(index)}`))
  lines.push('There, in A:')
  for (const moment of momentAt(a.data, record, a.header.cpus)) lines.push(`    ${describeMoment(moment)}`)
  return `${lines.join('\n')}\n`
}

function listing(a: TextTrace, b: TextTrace, differences: readonly EventDifference[], limit: number): string {
  if (differences.length === 0) return 'Every event has its counterpart; only times differ.\n'
  const [lineA, lineB] = [lineFormatter(a.data), lineFormatter(b.data)]
  const lines = [`Differences besides time: ${differences.length}`]
  for (const one of differences.slice(0, limit)) {
    if (one.kind !== 'inserted') lines.push(`  - ${lineA(one.a)}`)
    if (one.kind !== 'removed') lines.push(`  + ${lineB(one.b)}`)
  }
  if (differences.length > limit) lines.push(`  ... and ${differences.length - limit} more (--limit shows more)`)
  return `${lines.join('\n')}\n`
}

function kindTable(kinds: readonly KindDifference[]): string {
  if (kinds.length === 0) return ''
  const rows = kinds.map(kind => [
    kind.label, String(kind.countA), String(kind.countB), inWords(kind),
  ])
  return titled('By kind of event', [left('event'), right('A'), right('B'), left('')], rows)
}

/** `3 fewer, 1 changed, 12 later by up to 300 cycles`. */
function inWords(kind: KindDifference): string {
  const delta = kind.countB - kind.countA
  const parts: string[] = []
  if (delta !== 0) parts.push(`${Math.abs(delta)} ${delta < 0 ? 'fewer' : 'more'}`)
  const moved = Math.min(kind.removed, kind.inserted)
  if (moved > 0) parts.push(`${moved} elsewhere`)
  if (kind.changed > 0) parts.push(`${kind.changed} changed`)
  if (kind.shifted > 0) {
    const way = kind.largestShift > 0 ? 'later' : 'earlier'
    parts.push(`${kind.shifted} at other times (up to ${Math.abs(kind.largestShift)} cycles ${way})`)
  }
  return parts.join(', ')
}

function costTable(title: string, costs: readonly CostDifference[]): string {
  if (costs.length === 0) return ''
  const rows = costs.map(cost => [
    cost.label, String(cost.countA), String(cost.countB), String(cost.cyclesA), String(cost.cyclesB),
    changeOf(cost.cyclesA, cost.cyclesB),
  ])
  const columns = ['count A', 'count B', 'A', 'B', 'change'].map(right)
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
