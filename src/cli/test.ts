// `shootdown test [PATH...]`: every scenario against its golden trace, on a pool of threads. What one
// scenario does is study/golden-run.ts; how the result is printed is test-reporters.ts.

import { existsSync, watch } from 'node:fs'
import { availableParallelism } from 'node:os'
import { Command, Option } from 'commander'
import { Piscina } from 'piscina'
import { writeFileAtomic } from '../base/atomic-file.js'
import { EngineError, UserError } from '../base/errors.js'
import { ENGINES, type EngineName } from '../engine/scheduler-loop.js'
import type { GoldenOutcome, GoldenTask } from '../study/golden-run.js'
import { EXIT_DIFFERENT, EXIT_OK } from './errors.js'
import { interruptible } from './interrupt.js'
import { Progress } from './progress.js'
import { scenarioFiles } from './scenario-files.js'
import { formatTestReport, isGood, REPORTERS, type ReporterName } from './test-reporters.js'
import { styleFor } from './text-table.js'

const DEFAULT_PATH = 'scenarios'
const DEFAULT_LIMIT = 10
/** Editors save in several steps, milliseconds. */
const WATCH_SETTLE_MS = 150

interface Flags {
  update?: boolean
  filter?: string
  bail?: boolean
  watch?: boolean
  reporter: ReporterName
  output?: string
  engine: EngineName
  check?: boolean
  ci?: boolean
  jobs: number
  limit: number
}

/** The sub-command, to be added to the program. */
export function testCommand(): Command {
  return new Command('test')
    .description('compare the trace of every scenario with its golden trace')
    .argument('[path...]', `scenario files, or folders of them (default: ${DEFAULT_PATH})`)
    .option('--update', 'write the golden traces anew')
    .option('--filter <text>', 'only scenarios whose path contains the text')
    .option('--bail', 'stop at the first failure')
    .option('--watch', 'test again whenever a scenario or a golden trace changes')
    .addOption(new Option('--reporter <name>', 'how the result is printed').choices(REPORTERS).default('text'))
    .option('--output <file>', 'write the report to a file instead of standard output')
    .addOption(new Option('--engine <name>', 'all give the same trace').choices(ENGINES).default('inline'))
    .option('--check', 'check the invariants after every step')
    .option('--ci', 'a missing golden trace is a failure; the default where the environment variable CI is set')
    .option('--jobs <n>', 'scenarios at a time', positive, availableParallelism())
    .option('--limit <n>', 'differences listed for each scenario', positive, DEFAULT_LIMIT)
    .addHelpText('after', `
The golden trace of a.yaml is a.golden beside it: the canonical text of "shootdown run a.yaml --trace a.trace".
A golden trace that is missing is written, except with --ci.
Exit codes: 0 all the same, 1 something differs, 2 bad input.

Examples:
  shootdown test                                   all below ${DEFAULT_PATH}
  shootdown test scenarios/tour --filter fork      some of them
  shootdown test --reporter github --ci            in a workflow of GitHub Actions
  shootdown test --update                          after a change that was meant`)
    .action(run)
}

async function run(paths: readonly string[], flags: Flags): Promise<void> {
  if (paths.length === 0 && !existsSync(DEFAULT_PATH)) {
    throw new UserError(`there is no folder "${DEFAULT_PATH}" here`, undefined, ['expected "shootdown test <path>"'])
  }
  const wanted = paths.length > 0 ? paths : [DEFAULT_PATH]
  const pool = new Piscina<GoldenTask, GoldenOutcome>({
    filename: new URL('../../workers/golden.js', import.meta.url).href, minThreads: 0, maxThreads: flags.jobs,
  })
  await interruptible(() => 'while testing: scenarios that had not ended have no result', async ({ signal }) => {
    try {
      await testOnce(wanted, flags, pool, signal)
      if (flags.watch) await watchForever(wanted, flags, pool, signal)
    } finally {
      await pool.destroy()
    }
  })
}

async function testOnce(
  paths: readonly string[], flags: Flags, pool: Piscina<GoldenTask, GoldenOutcome>, signal: AbortSignal,
): Promise<void> {
  const all = scenarioFiles(paths)
  const files = all.filter(file => flags.filter === undefined || file.includes(flags.filter))
  if (files.length === 0) throw new UserError(`--filter ${flags.filter}: none of ${all.length} scenarios fits`)
  const progress = new Progress()
  const bail = new AbortController()
  const outcomes: GoldenOutcome[] = []
  const isCi = flags.ci ?? !['', 'false', '0'].includes(process.env['CI'] ?? '')
  await Promise.all(files.map(async (file) => {
    const task: GoldenTask = {
      file, engine: flags.engine, check: flags.check ?? false, mode: flags.update ? 'update' : 'compare',
      mustExist: isCi, limit: flags.limit,
    }
    try {
      outcomes.push(await pool.run(task, { signal: AbortSignal.any([signal, bail.signal]) }))
    } catch (error) {
      if (signal.aborted || bail.signal.aborted) return
      throw new EngineError(`the thread that ran ${file} failed: ${error instanceof Error ? error.message : error}`)
    }
    progress.update(() => `${outcomes.length} of ${files.length} scenarios`)
    if (flags.bail && !outcomes.every(isGood)) bail.abort()
  }))
  progress.done()
  if (signal.aborted) return
  outcomes.sort((a, b) => files.indexOf(a.file) - files.indexOf(b.file))
  const skipped = files.length - outcomes.length
  const style = flags.output === undefined ? styleFor(process.stdout) : plain
  const report = formatTestReport(flags.reporter, { outcomes, skipped }, style)
  if (flags.output === undefined) process.stdout.write(report)
  else writeFileAtomic(flags.output, write => write(report))
  process.exitCode = outcomes.every(isGood) ? EXIT_OK : EXIT_DIFFERENT
}

function plain(_format: unknown, text: string): string {
  return text
}

/** Tests again after every change, until Ctrl-C. */
async function watchForever(
  paths: readonly string[], flags: Flags, pool: Piscina<GoldenTask, GoldenOutcome>, signal: AbortSignal,
): Promise<void> {
  for (;;) {
    process.stderr.write('waiting for changes; Ctrl-C ends\n')
    await nextChange(paths, signal)
    if (signal.aborted) return
    try {
      await testOnce(paths, flags, pool, signal)
    } catch (error) {
      // A scenario may be half written, or be gone for a moment.
      if (!(error instanceof UserError)) throw error
      process.stderr.write(`${error.format()}\n`)
    }
  }
}

/** Resolves a moment after something that looks like a scenario or a golden trace has changed. */
function nextChange(paths: readonly string[], signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    let timer: NodeJS.Timeout | undefined
    const watchers = paths.map(path => watch(path, { recursive: true }, (_event, name) => {
      if (name !== null && !/\.(ya?ml|golden)$/.test(name)) return
      clearTimeout(timer)
      timer = setTimeout(end, WATCH_SETTLE_MS)
    }))
    const end = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      for (const watcher of watchers) watcher.close()
      resolve()
    }
    signal.addEventListener('abort', end, { once: true })
  })
}

function positive(text: string): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < 1) throw new UserError(`expected a whole number above 0, found "${text}"`)
  return value
}
