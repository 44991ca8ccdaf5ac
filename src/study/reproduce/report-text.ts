// The outcome of reproductions for a terminal, for a document, and as data.

import { markdownLines, tableLines } from '../../base/table.js'
import type { Column } from '../../base/table.js'
import { valueText } from '../plot/scale.js'
import type { Outcome } from './reproduce.js'
import type { Row } from './target.js'

export const REPRODUCTION_SCHEMA_VERSION = 1

const COLUMNS: readonly Column[] = [
  { title: '', align: 'left' },
  { title: 'published', align: 'right' },
  { title: 'simulated', align: 'right' },
  { title: 'off by', align: 'right' },
  { title: 'accepted', align: 'left' },
  { title: 'unit', align: 'left' },
  { title: '', align: 'left' },
]

const SUMMARY: readonly Column[] = [
  { title: 'target', align: 'left' },
  { title: 'figure', align: 'left' },
  { title: 'result', align: 'left' },
  { title: 'rules that hold', align: 'right' },
  { title: 'kind', align: 'left' },
]

/** Everything: each target with its rows, then one line a target. */
export function reproductionText(outcomes: readonly Outcome[], withRows = true): string {
  const details = !withRows ? [] : outcomes.flatMap(outcome => [
    `${outcome.target.id}: ${outcome.target.title} (${outcome.target.source}) [${outcome.target.mark}]`,
    ...tableLines(COLUMNS, outcome.judgement.rows.map(rowCells)).map(line => `  ${line}`),
    ...(outcome.verdict === 'miss' ? [`  miss: ${outcome.target.missReason ?? 'no reason is known'}`] : []),
    '',
  ])
  return [...details, ...tableLines(SUMMARY, outcomes.map(summaryCells)), '', closing(outcomes), ''].join('\n')
}

/** The summary as a Markdown table. */
export function reproductionMarkdown(outcomes: readonly Outcome[]): string {
  return [...markdownLines(SUMMARY, outcomes.map(summaryCells)), '', closing(outcomes), ''].join('\n')
}

/** Plain data, for programs. */
export function reproductionJson(outcomes: readonly Outcome[]): unknown {
  return {
    schemaVersion: REPRODUCTION_SCHEMA_VERSION,
    targets: outcomes.map(({ target, judgement, verdict }) => ({
      id: target.id, title: target.title, source: target.source, mark: target.mark, machines: target.machines, verdict,
      fitted: target.fitted, departures: target.departures,
      ...(verdict === 'miss' ? { missReason: target.missReason } : {}),
      rows: judgement.rows.map(row => ({
        ...row, simulated: finite(row.simulated), ...(row.accepted && { accepted: row.accepted.map(finite) }),
      })),
    })),
  }
}

/** `13 of 14 targets pass`. */
export function closing(outcomes: readonly Outcome[]): string {
  const gates = outcomes.filter(({ verdict }) => verdict !== 'shown')
  const passed = gates.filter(({ verdict }) => verdict === 'pass')
  return `${passed.length} of ${gates.length} targets pass`
}

export function summaryCells({ target, judgement, verdict }: Outcome): string[] {
  const rules = judgement.rows.filter(({ ok }) => ok !== undefined)
  return [
    target.id, target.title, verdict, `${rules.filter(({ ok }) => ok).length}/${rules.length}`,
    target.kind === 'show' ? 'drawn only' : target.fitted.length > 0 ? 'fitted' : 'prediction',
  ]
}

export function rowCells(row: Row): string[] {
  const { label, unit, published, simulated, ok } = row
  const off = published === undefined || published === 0 ? '' : `${signed(100 * (simulated / published - 1))} %`
  return [
    label, published === undefined ? '' : valueText(published), Number.isFinite(simulated) ? valueText(simulated) : '-',
    off, acceptedText(row), unit, ok === undefined ? '' : ok ? 'ok' : 'miss',
  ]
}

function acceptedText({ accepted }: Row): string {
  if (accepted === undefined) return ''
  const [low, high] = accepted
  if (low === high) return valueText(low)
  if (low === -Infinity) return `at most ${valueText(high)}`
  if (high === Infinity) return `at least ${valueText(low)}`
  return `${valueText(low)} to ${valueText(high)}`
}

function signed(value: number): string {
  return Number.isFinite(value) ? `${value < 0 ? '' : '+'}${value.toFixed(1)}` : '-'
}

/** JSON has no infinity. */
function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null
}
