// `shootdown run FILE...`: runs scenarios one after the other. Every file and the place of the trace
// are checked before anything runs, so that a mistake costs no time and leaves nothing behind.

import { Command, InvalidArgumentError, Option } from 'commander'
import { InvariantViolation } from '../base/assert.js'
import { EngineError, UserError } from '../base/errors.js'
import { KERNEL_ERAS, type KernelEra } from '../kernel/config.js'
import { POLICY_NAMES } from '../kernel/policies.js'
import { Cluster } from '../engine/cluster.js'
import { ENGINES, type EngineName } from '../engine/scheduler-loop.js'
import { simulate } from '../engine/simulate.js'
import { loadScenario } from '../scenario/parse.js'
import type { Scenario } from '../scenario/scenario.js'
import { MAX_CPUS } from '../scenario/schema-operations.js'
import { loadTrace } from '../scenario/trace-file.js'
import { loadSchedule } from '../study/schedule-scenario.js'
import { endingsText, TRACE_FORMAT_NAMES } from '../trace/formats.js'
import { EVENT_VOCABULARY } from '../trace/vocabulary.js'
import { EXIT_DIFFERENT } from './errors.js'
import { interruptible } from './interrupt.js'
import { refuseToOverwrite } from './keep-inputs.js'
import { Progress } from './progress.js'
import { writeRunJson } from './run-json.js'
import { openReportTarget, type ReportTarget } from './run-page.js'
import { reportOf } from './run-report.js'
import { formatSummary } from './run-summary.js'
import { openTraceTarget, STANDARD_OUTPUT, traceHeaderOf, type TraceTarget } from './run-trace.js'
import { grouped, styleFor } from './text-table.js'

/** Work that is over sooner shows no progress, milliseconds. */
const QUIET_MS = 1000
const DEFAULT_ENGINE: EngineName = 'threads'

interface Flags {
  trace?: string
  traceFormat?: string
  report?: string
  json?: boolean
  engine: EngineName
  hostThreads?: number
  seed?: number
  cpus?: number
  check?: boolean
  until?: number
  era?: KernelEra
  policy?: string
}

/** The sub-command, to be added to the program. */
export function runCommand(): Command {
  return new Command('run')
    .description('run scenarios and say what happened')
    .argument('<file...>', 'scenario files (docs/scenario-reference.md)')
    .option('--trace <file>', `write the trace: ${endingsText()}; - is standard output`)
    .addOption(new Option('--trace-format <name>', 'format of the trace, whatever the file is called')
      .choices(TRACE_FORMAT_NAMES))
    .option('--report <file>', 'write one HTML page to look at the run: timeline, trace, page tables and TLBs')
    .option('--json', 'print one JSON object a scenario, and nothing else')
    .addOption(new Option('--engine <name>', 'all give the same answer: one worker_thread a CPU, one thread, or naive')
      .choices(ENGINES).default(DEFAULT_ENGINE))
    .option('--host-threads <n>', 'worker_threads that the CPUs share, instead of one for each that has long work',
      integer(1, MAX_CPUS))
    .option('--seed <n>', 'seed, instead of that of the scenario', integer(0, 2 ** 32 - 1))
    .option('--cpus <n>', 'number of CPUs, instead of that of the scenario', integer(1, MAX_CPUS))
    .addOption(new Option('--era <name>', 'whose kernel, instead of that of the scenario').choices(KERNEL_ERAS))
    .addOption(new Option('--policy <name>', 'shootdown policy, instead of that of the scenario')
      .choices(POLICY_NAMES))
    .option('--check', 'check the invariants after every step (slow)')
    .option('--until <cycle>', 'stop before the first step at or after this cycle', integer(1, Number.MAX_SAFE_INTEGER))
    .addHelpText('after', `
Exit codes: 0 fine, 1 an expectation failed or the run is stuck, 2 bad input, 3 our bug or the host's.

Examples:
  shootdown run scenarios/tour/02-shootdown.yaml
  shootdown run scenarios/tour/02-shootdown.yaml --policy eager          under another policy
  shootdown run scenarios/tour/02-shootdown.yaml --trace out.trace       every event, one a line
  shootdown run scenarios/tour/*.yaml --check                            many, with the invariants checked
  shootdown run my.yaml --json | jq .counters.callFunctionIpis`)
    .action(runFiles)
}

async function runFiles(files: readonly string[], flags: Flags): Promise<void> {
  if (flags.trace !== undefined && files.length > 1) {
    throw new UserError(`--trace is for one scenario, but there are ${files.length}`)
  }
  if (flags.traceFormat !== undefined && flags.trace === undefined) {
    throw new UserError('--trace-format is the format of a trace', undefined, ['add --trace FILE, or --trace -'])
  }
  if (flags.report !== undefined && files.length > 1) {
    throw new UserError(`--report is for one scenario, but there are ${files.length}`)
  }
  if (flags.trace === STANDARD_OUTPUT && flags.json) {
    throw new UserError('--trace - and --json both want standard output', undefined, ['give --trace a file'])
  }
  const progress = new Progress()
  // Its thread starts while scenarios are read.
  const cluster = flags.engine === 'threads' ? new Cluster() : undefined
  cluster?.warmUp()
  let now = 'while reading scenarios'
  await interruptible(() => now, async ({ signal }) => {
    try {
      const target = flags.trace === undefined ? undefined : openTraceTarget(flags.trace, flags.traceFormat)
      const page = flags.report === undefined ? undefined : openReportTarget(flags.report)
      const scenarios = await loadAll(files, flags, progress)
      if (target) refuseToOverwrite(target.path, scenarios[0]!)
      if (page) refuseToOverwrite(page.path, scenarios[0]!)
      for (const scenario of scenarios) {
        if (signal.aborted) return
        now = `while running ${scenario.file}: it has no result${target || page ? ', and nothing is written' : ''}`
        await runOne(scenario, flags, { trace: target, page, cluster }, progress, signal)
      }
    } finally {
      progress.done()
      await cluster?.close()
    }
  })
}

async function loadAll(files: readonly string[], flags: Flags, progress: Progress): Promise<Scenario[]> {
  const overrides = {
    events: EVENT_VOCABULARY,
    loadSchedule,
    ...(flags.seed === undefined ? {} : { seed: flags.seed }),
    ...(flags.cpus === undefined ? {} : { cpus: flags.cpus }),
    ...(flags.era === undefined ? {} : { era: flags.era }),
    ...(flags.policy === undefined ? {} : { policy: flags.policy }),
  }
  const show = onTerminal(progress)
  const scenarios: Scenario[] = []
  for (const file of files) {
    scenarios.push(await loadScenario(file, overrides, (path) => loadTrace(path, ({ records }) => {
      show(() => `reading ${path}: ${grouped(records)} records`)
    })))
  }
  return scenarios
}

interface Means {
  trace: TraceTarget | undefined
  page: ReportTarget | undefined
  cluster: Cluster | undefined
}

async function runOne(
  scenario: Scenario, flags: Flags, means: Means, progress: Progress, signal: AbortSignal,
): Promise<void> {
  const { engine } = flags
  const { trace: target } = means
  const command = commandFor(scenario.file, flags)
  const show = onTerminal(progress)
  try {
    const { result } = await simulate(scenario.config, scenario.image, {
      engine, signal,
      ...(means.cluster === undefined ? {} : { cluster: means.cluster }),
      ...(flags.hostThreads === undefined ? {} : { hostThreads: flags.hostThreads }),
      samples: target?.format.wantsSamples ?? false,
      check: flags.check ?? false,
      record: means.page !== undefined,
      untilCycle: flags.until ?? Infinity,
      onProgress: (cycle) => show(() => `running ${scenario.file}: cycle ${grouped(cycle)}`),
    }).catch((error: unknown) => { throw inFile(scenario.file, error) })
    progress.done()
    const report = reportOf(scenario, engine, flags.hostThreads, result, command)
    means.page?.save(report)
    const { trace, samples } = result
    await target?.save({ data: trace, header: traceHeaderOf(scenario.config), samples }, signal)
    // The trace has standard output for itself.
    const stream = target?.path === STANDARD_OUTPUT ? process.stderr : process.stdout
    if (flags.json) writeRunJson(report, (piece) => stream.write(piece))
    else stream.write(formatSummary(report, styleFor(stream), target?.path))
    if (means.page !== undefined && !flags.json) stream.write(`To look at it: ${means.page.path}\n`)
    if (!report.ok) process.exitCode = EXIT_DIFFERENT
  } catch (error) {
    progress.done()
    if (!(error instanceof UserError) && !signal.aborted) process.stderr.write(`${failureHead(error)}: ${command}\n`)
    throw error
  }
}

/** What the kernel refuses when it boots concerns the whole file. */
function inFile(file: string, error: unknown): unknown {
  if (!(error instanceof UserError) || error.position !== undefined) return error
  return new UserError(error.message, { file, line: 1, column: 1 }, error.details)
}

function failureHead(error: unknown): string {
  if (error instanceof InvariantViolation) return 'a check stopped the run; the same again'
  return error instanceof EngineError ? 'the run could not be completed' : 'the simulator failed; this run again'
}

/** On a terminal, and only when it takes a while. */
function onTerminal(progress: Progress): (text: () => string) => void {
  const startMs = performance.now()
  return (text) => {
    if (process.stderr.isTTY && performance.now() - startMs > QUIET_MS) progress.update(text)
  }
}

/** What to type for the same run. */
function commandFor(file: string, { engine, seed, cpus, era, policy, check, until }: Flags): string {
  const options: readonly (readonly [string, number | string | undefined])[] = [
    ['seed', seed], ['cpus', cpus], ['era', era], ['policy', policy], ['until', until],
  ]
  return [
    'shootdown run', shellWord(file), `--engine ${engine}`,
    ...options.flatMap(([name, value]) => (value === undefined ? [] : [`--${name} ${value}`])),
    ...(check ? ['--check'] : []),
  ].join(' ')
}

function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}

function integer(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (!/^\d+$/.test(text) || value < low || value > high) {
      throw new InvalidArgumentError(`expected a whole number from ${low} to ${high}`)
    }
    return value
  }
}
