// What `sweep` and `merge` make of results: CSV, Parquet, and a few lines for a person. All are functions of the
// rows, so they are the same however the rows came about.

import { existsSync, mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { writeFileAtomic } from '../base/atomic-file.js'
import { UserError } from '../base/errors.js'
import { readRows, scanResults } from '../study/result-lines.js'
import { unitedRefs } from '../study/result-set.js'
import { resultParquet } from '../study/result-parquet.js'
import { resultCsv } from '../study/result-table.js'
import type { StudyPlan } from '../study/study-plan.js'
import type { ResultRow } from '../study/sweep-point.js'
import { sweepReport } from '../study/sweep-report/report.js'
import { sweepSummary } from '../study/sweep-summary.js'
import { EXIT_DIFFERENT } from './errors.js'
import { openable } from './output-path.js'

export interface OutputFlags {
  csv?: string
  parquet?: string
  report?: string
  svg?: string
}

export interface ResultContext {
  /** Undefined when only the results are there. */
  plan?: StudyPlan
  /** All points of the study, not a part. */
  complete: boolean
}

export function addOutputOptions(command: Command): Command {
  return command
    .option('--csv <file>', 'write the results as CSV too')
    .option('--parquet <file>', 'write the results as Parquet too')
    .option('--report <file>', 'write a report: one HTML page with plots, tables and the data')
    .option('--svg <folder>', 'write the plots of the report as SVG files')
}

/** Refuses files that could not be written, before anything runs. */
export function checkOutputs({ csv, parquet, report, svg }: OutputFlags): void {
  for (const path of [csv, parquet, report]) if (path !== undefined) openable(path)
  if (svg === undefined) return
  if (!existsSync(svg)) openable(svg)
  else if (!statSync(svg).isDirectory()) throw new UserError(`cannot write plots to ${svg}: it is not a folder`)
}

/** Writes whatever was asked for and prints a summary. Sets the exit code when a run did not end well. */
export function writeOutputs(
  files: readonly string[], flags: OutputFlags, { plan, complete }: ResultContext,
): void {
  const rows = [...readRows(unitedRefs(files.flatMap((file) => scanResults(file).refs)))]
  writeFiles(rows, flags, plan)
  process.stdout.write(sweepSummary(rows, { file: files.join(', '), complete, question: plan?.question ?? '' }))
  tellProblems(rows)
}

/** The files alone. */
export function writeFiles(rows: readonly ResultRow[], flags: OutputFlags, plan: StudyPlan | undefined): void {
  if (flags.csv !== undefined) writeFileAtomic(flags.csv, (write) => resultCsv(rows, write))
  if (flags.parquet !== undefined) {
    const bytes = resultParquet(rows)
    writeFileAtomic(flags.parquet, (write) => write(bytes))
  }
  if (flags.report !== undefined || flags.svg !== undefined) writeReport(rows, flags, plan)
}

function writeReport(rows: readonly ResultRow[], { report, svg }: OutputFlags, plan: StudyPlan | undefined): void {
  const { html, figures } = sweepReport(rows, {
    title: plan?.name ?? 'Results of a sweep', question: plan?.question ?? '', command: commandLine(),
    metrics: plan?.show ?? [], labels: plan?.labels ?? {},
  })
  if (report !== undefined) writeFileAtomic(report, (write) => write(html))
  if (svg === undefined) return
  mkdirSync(svg, { recursive: true })
  for (const { name, svg: text } of figures) writeFileAtomic(join(svg, `${name}.svg`), (write) => write(text))
}

/** What was typed. */
export function commandLine(): string {
  return ['shootdown', ...process.argv.slice(2)].map(shellWord).join(' ')
}

function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}

function tellProblems(rows: readonly ResultRow[]): void {
  const bad = rows.filter(({ problem }) => problem !== '')
  for (const { index, problem } of bad.slice(0, 10)) process.stderr.write(`point ${index}: ${problem}\n`)
  if (bad.length > 10) process.stderr.write(`and ${bad.length - 10} more points\n`)
  if (bad.length > 0) process.exitCode = EXIT_DIFFERENT
}
