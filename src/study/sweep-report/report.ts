// The report of a sweep: one HTML page without a network, made of the rows alone, so the same rows give the same
// bytes. Pictures, the table under each, what they say in sentences, the data, and how to get them again.

import { resultCsv } from '../result-table.js'
import type { ResultRow } from '../sweep-point.js'
import { fileHtml, pageHtml, tableHtml } from '../plot/page.js'
import { escapeText } from '../plot/svg.js'
import { curves, initiatorBars, ipiBars, latencyCdf, metricBars, responderBars, type Figure } from './figures.js'
import { DEFAULT_METRICS, metricTitle } from './metrics.js'
import { axisName, viewOf, type StudyView } from './view.js'
import { barSentences, EQUAL_SHARE, sentences } from './words.js'

export interface SweepReportContext {
  title: string
  question: string
  /** What was typed. */
  command: string
  /** Metrics of the curves. */
  metrics?: readonly string[]
  /** What fields are called. */
  labels?: Readonly<Record<string, string>>
}

export interface SweepReport {
  html: string
  figures: readonly Figure[]
}

/** `rows` are those of one study, in their order. */
export function sweepReport(rows: readonly ResultRow[], context: SweepReportContext): SweepReport {
  const view = viewOf(rows, context.labels)
  const metrics = context.metrics === undefined || context.metrics.length === 0 ? DEFAULT_METRICS : context.metrics
  const alongAxes = view.axes.length === 0 ? metrics.map((metric) => metricBars(view, metric))
    : view.axes.flatMap((axis) => metrics.flatMap((metric) => curves(view, axis, metric)))
  const others = view.fields.length === 0 || rows.length === 0 ? []
    : [initiatorBars(view), responderBars(view), latencyCdf(view), ipiBars(view)]
  const figures = [...alongAxes, ...others]
  const html = pageHtml({
    title: context.title,
    body: [
      context.question === '' ? '' : `<p><strong>${escapeText(context.question)}</strong></p>`,
      problems(rows), findings(view, metrics), ...sectionsHtml(figures), data(rows), origin(rows, context),
    ].filter((part) => part !== '').join('\n'),
  })
  return { html, figures }
}

function problems(rows: readonly ResultRow[]): string {
  const bad = rows.filter(({ problem }) => problem !== '')
  if (bad.length === 0) return ''
  const items = bad.slice(0, 10).map(({ index, problem }) => `<li>point ${index}: ${escapeText(problem)}</li>`)
  return `<p class="miss">${bad.length} of ${rows.length} points did not end well:</p><ul>${items.join('')}</ul>`
}

function findings(view: StudyView, metrics: readonly string[]): string {
  const about = (view.axes.length === 0
    ? metrics.map((metric) => ({ title: metricTitle(metric), found: barSentences(view, metric) }))
    : view.axes.flatMap((axis) => metrics.map((metric) => ({
        title: `${metricTitle(metric)} against ${axisName(view, axis)}`, found: sentences(view, axis, metric),
      })))).filter(({ found }) => found.length > 0)
  if (about.length === 0) {
    return view.axes.length === 0 || view.series === undefined ? '' : '<p>No line crosses another.</p>'
  }
  return ['<h2>What the curves say</h2>',
    `<p class="note">Differences below ${100 * EQUAL_SHARE} % count as none`
    + `${view.hasSeeds ? ', and so do those between means whose intervals overlap' : ''}. A crossing lies between two `
    + 'points that were run; its place is interpolated.</p>',
    ...about.map(({ title, found }) => `<h3>${escapeText(title)}</h3>\n<ul>\n`
      + `${found.map((text) => `<li>${escapeText(text)}</li>`).join('\n')}\n</ul>`),
  ].join('\n')
}

/** Pictures side by side, each over its table, as many as fit. */
function sectionsHtml(figures: readonly Figure[]): string[] {
  const sections = [...new Set(figures.map(({ section }) => section))]
  return sections.flatMap((name) => [`<h2>${escapeText(name)}</h2>`,
    figures.filter(({ section }) => section === name).map(figureHtml).join('\n')])
}

/** Longer tables are folded up. */
const ROWS_OPEN = 16

function figureHtml({ note, svg, columns, rows }: Figure): string {
  const open = tableHtml(columns, rows)
  const table = rows.length <= ROWS_OPEN ? open
    : `<details><summary>Table of ${rows.length} rows</summary>\n${open}\n</details>`
  return [
    '<div style="display: inline-block; vertical-align: top; margin-right: 1rem">', `<figure>${svg}</figure>`,
    note === '' ? '' : `<p class="note">${escapeText(note)}</p>`, table, '</div>',
  ].filter((part) => part !== '').join('\n')
}

function data(rows: readonly ResultRow[]): string {
  let csv = ''
  resultCsv(rows, (piece) => { csv += piece })
  const json = rows.map((row) => `${JSON.stringify(row)}\n`).join('')
  const links = [fileHtml('results.csv', 'text/csv', csv), fileHtml('results.jsonl', 'application/x-ndjson', json)]
  return ['<h2>Data</h2>', '<p>', ...links, '</p>'].join('\n')
}

function origin(rows: readonly ResultRow[], { command }: SweepReportContext): string {
  const [first] = rows
  return [
    '<h2>How this was made</h2>', `<p><code>${escapeText(command)}</code></p>`,
    first === undefined ? '' : `<p>shootdown ${escapeText(first.version)}, study ${first.study}, ${rows.length} of `
      + `${first.of} points. Time is that of the simulated machine; its prices are in docs/cost-model.md.</p>`,
  ].join('\n')
}
