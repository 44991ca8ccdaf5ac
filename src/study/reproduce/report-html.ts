// The outcome as one HTML page: our curves over the published points, every rule below its figure.

import { barsSvg } from '../plot/bars.js'
import { chartSvg } from '../plot/chart.js'
import { fileHtml, html, pageHtml, tableHtml } from '../plot/page.js'
import { escapeText } from '../plot/svg.js'
import type { Outcome } from './reproduce.js'
import { closing, noisyMisses, reproductionJson, rowCells, summaryCells, summaryColumns } from './report-text.js'

const MARKS = 'Marks of published numbers: [v] read in the source, [v2] read in a quotation of it, [o] our own '
  + 'measurement, [m] from memory (never a rule). Hollow markers are published, lines and bars are simulated, shaded '
  + 'bands and brackets are what the rule accepts.'

/** `command` and `version` say how the page was made. */
export function reproductionHtml(outcomes: readonly Outcome[], made: { command: string; version: string }): string {
  const summary = tableHtml(
    summaryColumns(outcomes).map(({ title, align }) => ({ title, isNumber: align === 'right' })),
    outcomes.map(outcome => summaryCells(outcome).map((cell, at) => (
      at === 0 ? html(`<a href="#${cell}">${cell}</a>`) : at === 2 ? verdictHtml(cell) : cell))),
  )
  const json = `${JSON.stringify(reproductionJson(outcomes), null, 1)}\n`
  const body = [
    `<p>${escapeText(closing(outcomes))}. ${escapeText(MARKS)}</p>`, summary,
    ...outcomes.map(sectionHtml),
    '<h2>Data</h2>',
    `<p>${fileHtml('reproduction.json', 'application/json', json)}</p>`,
    `<p class="note">Made by <code>${escapeText(made.command)}</code>, shootdown ${escapeText(made.version)}.</p>`,
  ].join('\n')
  return pageHtml({ title: 'Published figures, reproduced', body })
}

function sectionHtml(outcome: Outcome): string {
  const { target, judgement, verdict } = outcome
  const figures = judgement.figures.map(figure => (
    `<figure>${figure.kind === 'chart' ? chartSvg(figure.chart) : barsSvg(figure.chart)}</figure>`))
  const list = (title: string, items: readonly string[]): string => items.length === 0 ? ''
    : `<p><b>${title}:</b> ${items.map(escapeText).join('; ')}.</p>`
  const rows = judgement.rows.map(row => rowCells(row).map((cell, at) => at === 6 ? verdictHtml(cell) : cell))
  return [
    `<h2 id="${target.id}">${target.id}: ${escapeText(target.title)} ${verdictHtml(verdict).html}</h2>`,
    `<p>${escapeText(target.source)} [${target.mark}]. ${escapeText(target.setup)}</p>`,
    figures.join('\n'),
    list('Machines', target.machines),
    list('Fitted to it', target.fitted.length > 0 ? target.fitted : ['nothing, it is a prediction']),
    list('Where it departs from the original', target.departures),
    verdict !== 'miss' ? ''
      : `<p class="miss">Why it misses: ${escapeText(target.missReason ?? 'no reason is known')}</p>`,
    noisyMisses(outcome).map((text) => `<p class="note">${escapeText(text)}.</p>`).join('\n'),
    tableHtml([{ title: '' }, { title: 'published', isNumber: true }, { title: 'simulated', isNumber: true },
      { title: 'off by', isNumber: true }, { title: 'accepted' }, { title: 'unit' }, { title: '' }], rows),
  ].join('\n')
}

function verdictHtml(text: string): { html: string } {
  const kind = text === 'pass' || text === 'ok' ? 'pass' : text === 'miss' ? 'miss' : ''
  return html(kind === '' ? escapeText(text) : `<span class="${kind}">${text}</span>`)
}
