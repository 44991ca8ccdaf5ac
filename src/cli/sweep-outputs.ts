// What `sweep` and `merge` make of results: CSV, Parquet, and a few lines for a person. All are functions of the
// rows, so they are the same however the rows came about.

import type { Command } from 'commander'
import { writeFileAtomic } from '../base/atomic-file.js'
import { readRows, scanResults } from '../study/result-lines.js'
import { unitedRefs } from '../study/result-set.js'
import { resultCsv } from '../study/result-table.js'
import type { StudyPlan } from '../study/study-plan.js'
import type { ResultRow } from '../study/sweep-point.js'
import { sweepSummary } from '../study/sweep-summary.js'
import { EXIT_DIFFERENT } from './errors.js'
import { openable } from './output-path.js'

export interface OutputFlags {
  csv?: string
  parquet?: string
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
}

/** Refuses files that could not be written, before anything runs. */
export function checkOutputs({ csv, parquet }: OutputFlags): void {
  for (const path of [csv, parquet]) if (path !== undefined) openable(path)
}

/** Writes whatever was asked for and prints a summary. Sets the exit code when a run did not end well. */
export async function writeOutputs(
  files: readonly string[], flags: OutputFlags, { plan, complete }: ResultContext,
): Promise<void> {
  const rows = [...readRows(unitedRefs(files.flatMap((file) => scanResults(file).refs)))]
  if (flags.csv !== undefined) writeFileAtomic(flags.csv, (write) => resultCsv(rows, write))
  if (flags.parquet !== undefined) {
    const { resultParquet } = await import('../study/result-parquet.js')
    const bytes = resultParquet(rows)
    writeFileAtomic(flags.parquet, (write) => write(bytes))
  }
  process.stdout.write(sweepSummary(rows, { file: files.join(', '), complete, question: plan?.question ?? '' }))
  tellProblems(rows)
}

function tellProblems(rows: readonly ResultRow[]): void {
  const bad = rows.filter(({ problem }) => problem !== '')
  for (const { index, problem } of bad.slice(0, 10)) process.stderr.write(`point ${index}: ${problem}\n`)
  if (bad.length > 10) process.stderr.write(`and ${bad.length - 10} more points\n`)
  if (bad.length > 0) process.exitCode = EXIT_DIFFERENT
}
