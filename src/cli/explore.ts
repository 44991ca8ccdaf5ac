// `shootdown explore FILE`: the same scenario under many timings, with the invariants on. What a
// seed changes is study/perturb.ts; what a failure is, study/explore.ts.

import { availableParallelism } from 'node:os'
import { Command, InvalidArgumentError, Option } from 'commander'
import { Piscina } from 'piscina'
import { writeFileAtomic } from '../base/atomic-file.js'
import { EngineError, UserError } from '../base/errors.js'
import { BUG_NAMES } from '../kernel/bugs.js'
import { KERNEL_ERAS } from '../kernel/config.js'
import { POLICY_NAMES } from '../kernel/policies.js'
import { parseScenario, readScenarioText } from '../scenario/parse.js'
import type { Scenario } from '../scenario/scenario.js'
import { MAX_CPUS } from '../scenario/schema-operations.js'
import { nearestName, suggestionLines } from '../scenario/suggest.js'
import { loadTrace } from '../scenario/trace-file.js'
import type { OrderOutcome, OrderTask } from '../study/exhaust.js'
import type { ExploreOutcome, ExploreTask } from '../study/explore.js'
import { PERTURBATION_KINDS, PERTURBATIONS } from '../study/perturb.js'
import { searchSeeds } from '../study/seed-search.js'
import type { RunTask, SeedTask } from '../study/seed-search.js'
import { canShrink, failingTree, shrink } from '../study/shrink.js'
import { EVENT_VOCABULARY } from '../trace/vocabulary.js'
import { EXIT_DIFFERENT } from './errors.js'
import type { ExploreFlags } from './explore-flags.js'
import { runChoices, runExhaustive } from './explore-orders.js'
import { exploreJson, exploreText, shrunkFile } from './explore-report.js'
import { interruptible } from './interrupt.js'
import { refuseToOverwrite } from './keep-inputs.js'
import { withValues } from './option-values.js'
import { Progress } from './progress.js'
import { counted, grouped } from './text-table.js'

const DEFAULT_SEEDS = 1000
const MAX_SEEDS = 10_000_000
const DEFAULT_MAX_RUNS = 10_000
const DEFAULT_SHRINK_RUNS = 4000

/** The sub-command, to be added to the program. */
export function exploreCommand(): Command {
  return new Command('explore')
    .description('run a scenario under many timings with the invariants on')
    .argument('<file>', 'scenario file')
    .option('--seeds <n>', 'how many timings; the first (seed 0) is the one of the prices', whole(1, MAX_SEEDS),
      DEFAULT_SEEDS)
    .option('--seed <s>', 'only this one, to see a failure again', whole(0, Number.MAX_SAFE_INTEGER))
    .option('--jobs <n>', 'threads to run on', whole(1, 1024), availableParallelism())
    .addOption(withValues(
      new Option('--bugs <names>', 'historical bugs to put into the kernel, instead of those of the scenario')
        .argParser(list('bug', BUG_NAMES)), BUG_NAMES))
    .addOption(new Option('--policy <name>', 'shootdown policy, instead of that of the scenario').choices(POLICY_NAMES))
    .addOption(new Option('--era <name>', 'whose kernel, instead of that of the scenario').choices(KERNEL_ERAS))
    .option('--cpus <n>', 'number of CPUs, instead of that of the scenario', whole(1, MAX_CPUS))
    .addOption(withValues(new Option('--perturb <kinds>', 'what a seed may change (default: everything)')
      .argParser(list('kind of perturbation', PERTURBATION_KINDS)), PERTURBATION_KINDS))
    .option('--no-expect', 'a failed expectation is no failure: counts may depend on timing')
    .option('--keep-going', 'do not stop at the first failure')
    .option('--exhaustive', 'run every order of steps instead: for small programs')
    .option('--max-runs <n>', 'stop an exhaustive search after so many runs', whole(1, MAX_SEEDS), DEFAULT_MAX_RUNS)
    .option('--depth <d>', 'let an exhaustive search choose at the first so many decisions only', whole(1, MAX_SEEDS))
    .option('--choices <list>', 'the run in which these decisions were chosen, as an exhaustive search prints them')
    .option('--no-shrink', 'do not look for a smaller scenario that fails in the same way')
    .option('--shrink-runs <n>', 'runs to spend on that', whole(1, MAX_SEEDS), DEFAULT_SHRINK_RUNS)
    .option('--output <file>', 'write the shrunk scenario to a file')
    .option('--json', 'print one JSON object, and nothing else')
    .addHelpText('after', `
A failure is a broken invariant, a failed expectation, a run in which nothing can move any more, or a bug of ours.
Exit codes: 0 nothing failed, 1 something did, 2 bad input.

What a seed changes (--perturb):
${Object.entries(PERTURBATIONS).map(([kind, text]) => `  ${kind.padEnd(12)} ${text}`).join('\n')}

Examples:
  shootdown explore scenarios/tour/06-fork-cow.yaml --seeds 500
  shootdown explore scenarios/hunt/munmap-and-sleep.yaml --bugs h06-lazy-cpu-skips-freed-tables
  shootdown explore scenarios/hunt/tables-and-munmap.yaml --exhaustive --depth 8`)
    .action(explore)
}

async function explore(file: string, flags: ExploreFlags): Promise<void> {
  checkModes(flags)
  const { task, scenario } = await taskFor(file, flags)
  if (flags.output !== undefined) refuseToOverwrite(flags.output, scenario)
  const pool = new Piscina({
    filename: new URL('../../workers/explore.js', import.meta.url).href, minThreads: 0, maxThreads: flags.jobs,
  })
  const run = async (one: unknown, name: string): Promise<unknown> => {
    try {
      return await pool.run(one, { name })
    } catch (error) {
      throw new EngineError(`a thread of the exploration failed: ${error instanceof Error ? error.message : error}`)
    }
  }
  await interruptible(() => 'while exploring; what was found until then:', async ({ signal }) => {
    const progress = new Progress()
    try {
      const context = { file, flags, task, progress, signal }
      const runOrders = (one: OrderTask): Promise<OrderOutcome> => run(one, 'orders') as Promise<OrderOutcome>
      const runSeeds = (one: ExploreTask): Promise<ExploreOutcome> => run(one, 'default') as Promise<ExploreOutcome>
      if (flags.choices !== undefined) await runChoices({ ...context, run: runOrders })
      else if (flags.exhaustive) await runExhaustive({ ...context, run: runOrders })
      else await exploreSeeds({ ...context, run: runSeeds })
    } finally {
      progress.done()
      await pool.destroy()
    }
  })
}

/** Seeds perturb timing, choices decide it: one at a time. */
function checkModes({ exhaustive, choices, seed, depth }: ExploreFlags): void {
  const modes = Object.entries({ '--exhaustive': exhaustive, '--choices': choices, '--seed': seed })
    .flatMap(([name, value]) => (value === undefined ? [] : [name]))
  if (modes.length > 1) throw new UserError(`${modes.join(' and ')} exclude each other`)
  if (depth !== undefined && exhaustive === undefined) throw new UserError('--depth belongs to --exhaustive')
}

interface SeedContext {
  file: string
  flags: ExploreFlags
  task: SeedTask
  run: RunTask<ExploreTask, ExploreOutcome>
  progress: Progress
  signal: AbortSignal
}

/** Runs seeds, shrinks the first failure, reports. */
async function exploreSeeds({ file, flags, task, run, progress, signal }: SeedContext): Promise<void> {
  const count = flags.seed === undefined ? flags.seeds : 1
  const startMs = performance.now()
  const result = await searchSeeds(task, run, {
    first: flags.seed ?? 0, count, bail: flags.keepGoing !== true, jobs: flags.jobs, signal,
    onProgress: (runs, failures) => progress.update(() =>
      `${grouped(runs)} of ${counted(count, 'seed')}, ${counted(failures.length, 'failure')}, `
      + timeLeft(startMs, runs, count)),
  })
  if (result.refused !== undefined) {
    throw new UserError(result.refused.message, { file, line: 1, column: 1 }, result.refused.details)
  }
  const [failure] = result.failures
  const shrunk = failure === undefined || !flags.shrink || !canShrink(failure) ? undefined
    : await shrink({ tree: failingTree(task), failure, kinds: task.kinds },
      { ...task, seeds: [], bail: true, wanted: '', plainMustPass: false }, run, {
        maxRuns: flags.shrinkRuns, jobs: flags.jobs, signal,
        onProgress: (runs, operations) => progress.update(() =>
          `shrinking: ${grouped(runs)} runs, ${counted(operations, 'operation')} left`),
      })
  progress.done()
  const report = { file, flags, count, result, shrunk }
  if (flags.output !== undefined && shrunk !== undefined) {
    writeFileAtomic(flags.output, write => write(shrunkFile(report, shrunk)))
  }
  process.stdout.write(flags.json ? exploreJson(report) : exploreText(report))
  if (!signal.aborted && failure !== undefined) process.exitCode = EXIT_DIFFERENT
}

/** Reads and checks the scenario here, so that every mistake in it has its place. */
async function taskFor(file: string, flags: ExploreFlags): Promise<{
  task: SeedTask
  scenario: Scenario
}> {
  const text = readScenarioText(file)
  const { bugs, policy, era, cpus } = flags
  const overrides = {
    ...(bugs === undefined ? {} : { bugs }), ...(policy === undefined ? {} : { policy }),
    ...(era === undefined ? {} : { era }), ...(cpus === undefined ? {} : { cpus }),
  }
  const scenario = await parseScenario(text, file, { ...overrides, events: EVENT_VOCABULARY }, loadTrace)
  const kinds = flags.perturb ?? PERTURBATION_KINDS
  return { task: { text, file, overrides, kinds, expectations: flags.expect }, scenario }
}

function timeLeft(startMs: number, done: number, count: number): string {
  const seconds = Math.ceil((performance.now() - startMs) / 1000 / done * (count - done))
  return seconds < 100 ? `about ${seconds} s left` : `about ${Math.ceil(seconds / 60)} min left`
}

function whole(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (!/^\d+$/.test(text) || value < low || value > high) {
      throw new InvalidArgumentError(`expected a whole number from ${low} to ${high}`)
    }
    return value
  }
}

/** Names separated by commas. */
function list<Name extends string>(what: string, names: readonly Name[]): (text: string) => Name[] {
  return text => text.split(',').map((part) => {
    const found = names.find(name => name === part.trim())
    if (found !== undefined) return found
    const nearest = nearestName(part, names)
    throw new InvalidArgumentError([
      `unknown ${what} "${part}"`, ...suggestionLines(part, names, nearest === undefined ? Infinity : 0),
    ].join('\n'))
  })
}
