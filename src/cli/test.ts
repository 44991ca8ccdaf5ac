// `shootdown test [PATH...]`: every scenario against its golden trace, on a pool of threads. What one
// scenario does is study/golden-run.ts; how the result is printed is test-reporters.ts; what --watch
// waits for is watch-changes.ts.

import { existsSync, rmSync, statSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { Command, Option } from 'commander'
import { Piscina } from 'piscina'
import { writeFileAtomic } from '../base/atomic-file.js'
import { EngineError, UserError } from '../base/errors.js'
import { ENGINES, type EngineName } from '../engine/scheduler-loop.js'
import { staleGoldens } from '../study/golden-file.js'
import type { GoldenOutcome, GoldenTask } from '../study/golden-run.js'
import { EXIT_DIFFERENT, EXIT_OK, EXIT_USER } from './errors.js'
import { interruptible } from './interrupt.js'
import { Progress } from './progress.js'
import { scenarioFiles } from './scenario-files.js'
import { formatTestReport, isAllGood, isGood, REPORTERS } from './test-reporters.js'
import type { ReporterName, StaleGolden, TestReport } from './test-reporters.js'
import { styleFor } from './text-table.js'
import { ChangeWatch } from './watch-changes.js'

const DEFAULT_PATH = 'scenarios'
const DEFAULT_LIMIT = 10

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

type Pool = Piscina<GoldenTask, GoldenOutcome>

/** The sub-command, to be added to the program. */
export function testCommand(): Command {
  return new Command('test')
    .description('compare the trace of every scenario with its golden trace')
    .argument('[path...]', `scenario files, or folders of them (default: ${DEFAULT_PATH})`)
    .option('--update', 'write golden traces anew and remove those without a scenario')
    .option('--filter <text>', 'only scenarios whose path contains the text')
    .option('--bail', 'stop at the first failure')
    .option('--watch', 'test again whenever a scenario or a golden trace changes')
    .addOption(new Option('--reporter <name>', 'how the result is printed').choices(REPORTERS).default('text'))
    .option('--output <file>', 'write the report to a file instead of standard output')
    .addOption(new Option('--engine <name>', 'all give the same trace').choices(ENGINES).default('inline'))
    .option('--check', 'check the invariants after every step; where a scenario has bugs, one must be broken')
    .option('--ci', 'a missing golden trace, or one too many, is a failure; the default where CI is set')
    .option('--jobs <n>', 'scenarios at a time', positive, availableParallelism())
    .option('--limit <n>', 'differences listed for each scenario', positive, DEFAULT_LIMIT)
    .addHelpText('after', `
The golden trace of a.yaml is a.golden beside it: the canonical text of "shootdown run a.yaml --trace a.trace",
compressed (a.golden.br) when it is long. One that is missing is written, except with --ci.
What is different is shown with the operation in the scenario that led there.
Exit codes: 0 all the same, 1 something differs, 2 bad input: a scenario or a golden trace with a mistake, a full disk.

Examples:
  shootdown test                                   all below ${DEFAULT_PATH}
  shootdown test scenarios/tour --filter fork      some of them
  shootdown test --reporter github --ci            in a workflow of GitHub Actions
  shootdown test --update                          after a change that was meant`)
    .action(run)
}

async function run(paths: readonly string[], flags: Flags): Promise<void> {
  if (paths.length === 0 && !existsSync(DEFAULT_PATH)) {
    throw new UserError(`there is no folder "${DEFAULT_PATH}" here`, undefined,
      ['expected "shootdown test <path>", or "shootdown init" first'])
  }
  const wanted = paths.length > 0 ? paths : [DEFAULT_PATH]
  const pool: Pool = new Piscina({
    filename: new URL('../../workers/golden.js', import.meta.url).href, minThreads: 0, maxThreads: flags.jobs,
  })
  await interruptible(() => 'while testing: scenarios that had not ended have no result', async ({ signal }) => {
    // Before the first run, so that what is saved during it counts.
    const changes = flags.watch ? new ChangeWatch(wanted) : undefined
    try {
      await testOnce(wanted, flags, pool, signal, changes)
      if (changes !== undefined) await testForever(wanted, flags, pool, signal, changes)
    } finally {
      changes?.close()
      await pool.destroy()
    }
  })
}

/** Tests again after every change, until Ctrl-C. */
async function testForever(
  paths: readonly string[], flags: Flags, pool: Pool, signal: AbortSignal, changes: ChangeWatch,
): Promise<void> {
  for (;;) {
    process.stderr.write('waiting for changes; Ctrl-C ends\n')
    const changed = await changes.next(signal)
    if (signal.aborted) return
    process.stderr.write(`changed: ${changed.join(', ')}\n`)
    try {
      await testOnce(paths, flags, pool, signal, changes)
    } catch (error) {
      // A scenario may be half written, or be gone for a moment.
      if (!(error instanceof UserError)) throw error
      process.stderr.write(`${error.format()}\n`)
    }
  }
}

async function testOnce(
  paths: readonly string[], flags: Flags, pool: Pool, signal: AbortSignal, changes?: ChangeWatch,
): Promise<void> {
  const all = scenarioFiles(paths)
  const files = all.filter(file => isWanted(file, flags))
  if (files.length === 0) throw new UserError(`--filter ${flags.filter}: none of ${all.length} scenarios fits`)
  const isCi = flags.ci ?? !['', 'false', '0'].includes(process.env['CI'] ?? '')
  const outcomes = await runAll(files, flags, isCi, pool, signal)
  if (signal.aborted) return
  for (const { wrote } of outcomes) if (wrote !== '') changes?.ignore(wrote)
  const stale = seeToStale(paths, flags, isCi)
  const report: TestReport = { outcomes, skipped: files.length - outcomes.length, stale }
  const style = flags.output === undefined ? styleFor(process.stdout) : plain
  const text = formatTestReport(flags.reporter, report, style)
  if (flags.output === undefined) process.stdout.write(text)
  else writeFileAtomic(flags.output, write => write(text))
  const hasError = outcomes.some(({ status }) => status === 'error')
  process.exitCode = hasError ? EXIT_USER : isAllGood(report) ? EXIT_OK : EXIT_DIFFERENT
}

/** The outcomes in the order of `files`; fewer after --bail. */
async function runAll(
  files: readonly string[], flags: Flags, isCi: boolean, pool: Pool, signal: AbortSignal,
): Promise<GoldenOutcome[]> {
  const progress = new Progress()
  const bail = new AbortController()
  const outcomes: GoldenOutcome[] = []
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
    progress.update(() => progressText(outcomes, files.length))
    if (flags.bail && !outcomes.every(isGood)) bail.abort()
  }))
  progress.done()
  return outcomes.toSorted((a, b) => files.indexOf(a.file) - files.indexOf(b.file))
}

function progressText(outcomes: readonly GoldenOutcome[], total: number): string {
  const failed = outcomes.filter(one => !isGood(one)).length
  return `${outcomes.length} of ${total} scenarios${failed > 0 ? `, ${failed} failed` : ''}`
}

/** Goldens whose scenario is gone: told, and with --update removed. */
function seeToStale(paths: readonly string[], flags: Flags, isCi: boolean): StaleGolden[] {
  const isUpdate = flags.update === true
  const folders = paths.filter(path => statSync(path).isDirectory())
  return folders.flatMap(staleGoldens).filter(path => isWanted(path, flags)).map((path) => {
    if (isUpdate) rmSync(path, { force: true })
    return { path, status: isUpdate ? 'removed' : 'stale', isFailure: !isUpdate && isCi }
  })
}

function isWanted(path: string, { filter }: Flags): boolean {
  return filter === undefined || path.includes(filter)
}

function plain(_format: unknown, text: string): string {
  return text
}

function positive(text: string): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < 1) throw new UserError(`expected a whole number above 0, found "${text}"`)
  return value
}
