// The outcome of reproductions for a terminal, for a document, and as data.

import { markdownLines, tableLines } from '../../base/table.js'
import type { Column } from '../../base/table.js'
import { valueText } from '../plot/scale.js'
import { NOISE_PERCENT, type Outcome } from './reproduce.js'
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

/** The column of runs with noise, where there were some. */
const NOISY: Column = { title: `with ${NOISE_PERCENT} % noise`, align: 'right' }

/** Columns of a summary. */
export function summaryColumns(outcomes: readonly Outcome[]): Column[] {
  return outcomes.some(({ noisy }) => noisy !== undefined) ? [...SUMMARY, NOISY] : [...SUMMARY]
}

/** Everything: each target with its rows, then one line a target. */
export function reproductionText(outcomes: readonly Outcome[], withRows = true): string {
  const details = !withRows ? [] : outcomes.flatMap(outcome => [
    `${outcome.target.id}: ${outcome.target.title} (${outcome.target.source}) [${outcome.target.mark}]`,
    ...tableLines(COLUMNS, outcome.judgement.rows.map(rowCells)).map(line => `  ${line}`),
    ...(outcome.verdict === 'miss' ? [`  miss: ${outcome.target.missReason ?? 'no reason is known'}`] : []),
    ...noisyMisses(outcome).map((line) => `  ${line}`),
    '',
  ])
  const summary = tableLines(summaryColumns(outcomes), outcomes.map(summaryCells))
  return [...details, ...summary, '', closing(outcomes), ''].join('\n')
}

/** The summary as a Markdown table. */
export function reproductionMarkdown(outcomes: readonly Outcome[]): string {
  const exact = outcomes.map((outcome) => summaryCells(outcome).slice(0, SUMMARY.length))
  return [...markdownLines(SUMMARY, exact), '', closing(outcomes), '', ...noisyMarkdown(outcomes)].join('\n')
}

/** A table of its own: how many seeds pass, and which rules do not hold with all of them. */
function noisyMarkdown(outcomes: readonly Outcome[]): string[] {
  const cells = outcomes.flatMap((outcome) => {
    const { target: { id }, verdict, judgement, noisy } = outcome
    if (noisy === undefined || verdict === 'shown') return []
    const broken = judgement.rows.flatMap(({ label, ok }, at) => {
      const bad = noisy.filter((one) => one.judgement.rows[at]?.ok === false).length
      return ok !== true || bad === 0 ? [] : [`${label} (${bad})`]
    })
    return [[id, verdict, passedText(noisy), broken.join('; ')]]
  })
  return cells.length === 0 ? [] : [...markdownLines([
    { title: 'target', align: 'left' }, { title: 'exact', align: 'left' }, NOISY,
    { title: 'rules that hold without noise and fail with so many seeds', align: 'left' },
  ], cells), '']
}

/** Plain data, for programs. */
export function reproductionJson(outcomes: readonly Outcome[]): unknown {
  return {
    schemaVersion: REPRODUCTION_SCHEMA_VERSION,
    targets: outcomes.map(({ target, judgement, verdict, noisy }) => ({
      id: target.id, title: target.title, source: target.source, mark: target.mark, machines: target.machines, verdict,
      fitted: target.fitted, departures: target.departures,
      ...(verdict === 'miss' ? { missReason: target.missReason } : {}),
      ...(noisy === undefined ? {} : { noisy: noisy.map(({ seed, passes: isPass, judgement: { rows } }) => (
        { seed, pass: isPass, missed: rows.filter(({ ok }) => ok === false).map(({ label }) => label) })) }),
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

export function summaryCells({ target, judgement, verdict, noisy }: Outcome): string[] {
  const rules = judgement.rows.filter(({ ok }) => ok !== undefined)
  return [
    target.id, target.title, verdict, `${rules.filter(({ ok }) => ok).length}/${rules.length}`,
    target.kind === 'show' ? 'drawn only' : target.fitted.length > 0 ? 'fitted' : 'prediction',
    ...(noisy === undefined ? [] : [verdict === 'shown' ? '' : passedText(noisy)]),
  ]
}

function passedText(noisy: NonNullable<Outcome['noisy']>): string {
  return `${noisy.filter((one) => one.passes).length}/${noisy.length}`
}

/** Rules that noise breaks: those that hold without, and fail with some seeds. */
export function noisyMisses({ judgement, noisy = [] }: Outcome): string[] {
  return judgement.rows.flatMap((row, at) => {
    if (row.ok !== true) return []
    const bad = noisy.filter((one) => one.judgement.rows[at]?.ok === false)
    if (bad.length === 0) return []
    const values = bad.map((one) => valueText(one.judgement.rows[at]!.simulated)).join(', ')
    return [`with noise, "${row.label}" fails with ${bad.length} of ${noisy.length} seeds: ${values} `
      + `(accepted ${acceptedText(row)})`]
  })
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
