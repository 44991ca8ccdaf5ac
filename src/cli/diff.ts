// `shootdown diff A B`: how two traces differ. Prints the first difference in its context, what every
// CPU was doing there, the differences by kind of event, and what became dearer or cheaper.

import { Command } from 'commander'
import { diffTraces } from '../trace/diff.js'
import type { CostDifference, EventDifference, KindDifference, TraceDifference } from '../trace/diff.js'
import { describeMoment, momentAt } from '../trace/moment.js'
import { lineFormatter } from '../trace/text.js'
import type { TextTrace } from '../trace/text-parse.js'
import { EXIT_DIFFERENT, EXIT_OK } from './errors.js'
import { tableLines } from './text-table.js'
import type { Column } from './text-table.js'
import { readTrace } from './trace-file.js'

/** Lines of context before the first difference. */
const CONTEXT_LINES = 4
const DEFAULT_SHOWN = 20

interface Flags {
  json?: boolean
  limit: number
}

/** The sub-command, to be added to the program. */
export function diffCommand(): Command {
  return new Command('diff')
    .description('compare two traces: what happened in one and not in the other, and what it cost')
    .argument('<a>', 'a trace written by "shootdown run --trace", the expected one')
    .argument('<b>', 'the other one')
    .option('--json', 'print the comparison as JSON')
    .option('--limit <n>', 'how many differences are listed', wholeNumber, DEFAULT_SHOWN)
    .addHelpText('after', `
Events are aligned per CPU by what they are, not by when they happened.
Exit codes: 0 the traces are the same, 1 they differ, 2 bad input.

Examples:
  shootdown run scenario.yaml --trace before.trace
  shootdown run scenario.yaml --trace after.trace --era linux-4.6
  shootdown diff before.trace after.trace`)
    .action((a: string, b: string, flags: Flags) => {
      const left = readTrace(a)
      const right = readTrace(b)
      const difference = diffTraces(left.data, right.data)
      const headers = headerDifferences(left, right)
      const isSame = difference.isEqual && headers.length === 0
      process.exitCode = isSame ? EXIT_OK : EXIT_DIFFERENT
      process.stdout.write(flags.json
        ? `${JSON.stringify({ equal: isSame, headers, ...difference }, undefined, 2)}\n`
        : isSame ? `the same: ${left.data.length} events\n`
          : `${headers.map(line => `${line}\n`).join('')}${report(left, right, difference, flags.limit)}`)
    })
}

function wholeNumber(text: string): number {
  return Math.max(0, Math.floor(Number(text)) || 0)
}

function headerDifferences(a: TextTrace, b: TextTrace): string[] {
  const keys = ['scenario', 'era', 'cpus', 'seed', 'frequencyGhz'] as const
  return keys.filter(key => a.header[key] !== b.header[key])
    .map(key => `${key}: ${a.header[key]} in A, ${b.header[key]} in B`)
}

/** The whole text of a comparison that found differences. */
export function report(a: TextTrace, b: TextTrace, difference: TraceDifference, limit: number): string {
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
