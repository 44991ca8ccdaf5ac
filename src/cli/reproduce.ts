// `shootdown reproduce [TARGET...]`: published figures against simulated ones, on a pool of threads. What is run and
// which rules hold is in study/reproduce/.

import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { Command, InvalidArgumentError } from 'commander'
import { Piscina } from 'piscina'
import { writeFileAtomic } from '../base/atomic-file.js'
import { EngineError, UserError } from '../base/errors.js'
import { suggestionLines } from '../scenario/suggest.js'
import { reproductionHtml } from '../study/reproduce/report-html.js'
import { reproductionJson, reproductionMarkdown, reproductionText } from '../study/reproduce/report-text.js'
import { judge, judgeNoisy, NOISE_PERCENT, noisyTasks, tasksOf } from '../study/reproduce/reproduce.js'
import type { Outcome, ReproduceTask } from '../study/reproduce/reproduce.js'
import { TARGETS } from '../study/reproduce/targets.js'
import type { Target, Values } from '../study/reproduce/target.js'
import { EXIT_DIFFERENT, EXIT_OK } from './errors.js'
import { interruptible } from './interrupt.js'
import { Progress } from './progress.js'

interface Flags {
  jobs: number
  quick?: boolean
  seeds: number
  json?: boolean
  markdown?: boolean
  summary?: boolean
  report?: string
}

/** The sub-command, to be added to the program. */
export function reproduceCommand(): Command {
  return new Command('reproduce')
    .description('simulate what published figures show, and say where it agrees')
    .argument('[target...]', 'targets, R1 to R15 (default: all)')
    .option('--jobs <n>', 'runs at a time', jobs, availableParallelism())
    .option('--quick', 'fewer points, for a first look')
    .option('--seeds <n>', `run all again with ${NOISE_PERCENT} % noise, once for each of so many seeds`, seeds, 0)
    .option('--json', 'print one JSON object, and nothing else')
    .option('--markdown', 'print the summary as a table for a document')
    .option('--summary', 'print only the summary')
    .option('--report <file>', 'write one HTML page with our curves over the published points')
    .addHelpText('after', `
Exit codes: 0 every target passes or has a written reason why it does not, 1 one misses without a reason, 2 bad input.

Examples:
  shootdown reproduce
  shootdown reproduce --seeds 5 --summary
  shootdown reproduce R1 R13 --report reproduction.html`)
    .action(reproduce)
}

async function reproduce(names: readonly string[], flags: Flags): Promise<void> {
  const targets = names.length === 0 ? TARGETS : names.map(targetNamed)
  const tasks = tasksOf(targets, flags.quick === true ? 'quick' : 'full')
  const pool = new Piscina<ReproduceTask, Values>({
    filename: new URL('../../workers/reproduce.js', import.meta.url).href, minThreads: 0, maxThreads: flags.jobs,
  })
  await interruptible(() => 'while reproducing: nothing is printed', async ({ signal }) => {
    const progress = new Progress()
    try {
      const noisy = noisyTasks(tasks, flags.seeds)
      const values = await runAll(pool, [...tasks, ...noisy], progress, signal)
      const exact = judge(targets, tasks, values.slice(0, tasks.length))
      const outcomes = flags.seeds === 0 ? exact : judgeNoisy(exact, noisy, values.slice(tasks.length))
      progress.done()
      if (flags.report !== undefined) writeReport(flags.report, outcomes, names, flags.seeds)
      print(outcomes, flags)
    } finally {
      progress.done()
      await pool.destroy()
    }
  })
}

async function runAll(
  pool: Piscina<ReproduceTask, Values>, tasks: readonly ReproduceTask[], progress: Progress, signal: AbortSignal,
): Promise<Values[]> {
  let done = 0
  return await Promise.all(tasks.map(async (task) => {
    try {
      const values = await pool.run(task, { signal: AbortSignal.any([signal]) })
      done += 1
      progress.update(() => `${done} of ${tasks.length} runs`)
      return values
    } catch (error) {
      if (signal.aborted) throw error
      const why = error instanceof Error ? error.message : error
      throw new EngineError(`${task.target}, run "${task.key}" failed: ${why}`)
    }
  }))
}

function print(outcomes: readonly Outcome[], flags: Flags): void {
  if (flags.json) process.stdout.write(`${JSON.stringify(reproductionJson(outcomes))}\n`)
  else if (flags.markdown) process.stdout.write(reproductionMarkdown(outcomes))
  else process.stdout.write(reproductionText(outcomes, flags.summary !== true))
  const isUnexplained = outcomes.some(({ verdict, target }) => verdict === 'miss' && target.missReason === undefined)
  process.exitCode = isUnexplained ? EXIT_DIFFERENT : EXIT_OK
}

function writeReport(file: string, outcomes: readonly Outcome[], names: readonly string[], count: number): void {
  const noise = count === 0 ? [] : ['--seeds', count]
  const command = ['shootdown reproduce', ...names, ...noise, '--report', file].join(' ')
  writeFileAtomic(file, write => write(reproductionHtml(outcomes, { command, version: version() })))
}

function version(): string {
  const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

function targetNamed(name: string): Target {
  const target = TARGETS.find(({ id }) => id === name.toUpperCase())
  if (target === undefined) {
    throw new UserError(`there is no target "${name}"`, undefined, suggestionLines(name, TARGETS.map(({ id }) => id)))
  }
  return target
}

function seeds(text: string): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value > 1000) {
    throw new InvalidArgumentError(`expected a whole number up to 1000, found "${text}"`)
  }
  return value
}

function jobs(text: string): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < 1 || value > 1024) {
    throw new InvalidArgumentError(`expected a whole number from 1 to 1024, found "${text}"`)
  }
  return value
}
