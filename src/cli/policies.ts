// `shootdown policies [SCENARIO...]`: the same workloads under every shootdown policy, on a pool of
// threads. What is compared is study/policy-comparison.ts.

import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { Command, InvalidArgumentError, Option } from 'commander'
import { Piscina } from 'piscina'
import { EngineError, UserError } from '../base/errors.js'
import { POLICY_NAMES } from '../kernel/policies.js'
import type { HostConfig } from '../machine/config.js'
import { MACHINE_PRESETS } from '../machine/presets.js'
import { MAX_CPUS } from '../scenario/schema-operations.js'
import { suggestionLines } from '../scenario/suggest.js'
import { comparisonMarkdown, comparisonText, policyTasks, refillMisses } from '../study/policy-comparison.js'
import type { PolicyCost, PolicyOutcome, PolicyTask } from '../study/policy-comparison.js'
import { EXIT_DIFFERENT, EXIT_OK } from './errors.js'
import { interruptible } from './interrupt.js'
import { withValues } from './option-values.js'
import { Progress } from './progress.js'
import { scenarioFiles } from './scenario-files.js'

/** The workloads that come with the program. */
export const WORKLOADS = fileURLToPath(new URL('../../../scenarios/policies', import.meta.url))

export const POLICIES_SCHEMA_VERSION = 1

interface Flags {
  policy?: readonly string[]
  machine?: string
  cpus?: number
  overcommit?: HostConfig
  jobs: number
  json?: boolean
  markdown?: boolean
}

/** The sub-command, to be added to the program. */
export function policiesCommand(): Command {
  return new Command('policies')
    .description('compare all shootdown policies on the same workloads')
    .argument('[scenario...]', 'scenario files, or folders of them (default: the workloads that come with the program)')
    .addOption(withValues(new Option('--policy <names>', 'only these, separated by commas').argParser(policyList),
      POLICY_NAMES))
    .addOption(new Option('--machine <preset>', 'machine, instead of that of the scenarios')
      .choices(Object.keys(MACHINE_PRESETS)))
    .option('--cpus <n>', 'number of CPUs, instead of that of the scenarios', whole(1, MAX_CPUS))
    .option('--overcommit <run/away>', 'a host that lets each CPU run and takes it away for so many cycles, in turns',
      turns)
    .option('--jobs <n>', 'runs at a time', whole(1, 1024), availableParallelism())
    .addOption(new Option('--json', 'print one JSON object, and nothing else').conflicts('markdown'))
    .option('--markdown', 'print tables for a document')
    .addHelpText('after', `
Columns: interrupts sent; cycles from the start of a flush request to its end, summed; cycles taken from CPUs that did
something else; page walks beyond those of hardware-coherent, which takes no translation away needlessly; the end.
Exit codes: 0 all ran, 1 a run did not end well or an expectation failed, 2 bad input.

Examples:
  shootdown policies
  shootdown policies --machine 8s-120c --cpus 16
  shootdown policies --policy linux-6.x,kvm-pv --overcommit 300000/300000
  shootdown policies my-scenario.yaml --json`)
    .action(compare)
}

async function compare(paths: readonly string[], flags: Flags): Promise<void> {
  const files = scenarioFiles(paths.length > 0 ? paths : [WORKLOADS])
  const { machine, cpus, overcommit } = flags
  const tasks = policyTasks(files, flags.policy ?? POLICY_NAMES, {
    ...(machine === undefined ? {} : { machine }), ...(cpus === undefined ? {} : { cpus }),
    ...(overcommit === undefined ? {} : { host: overcommit }),
  })
  const pool = new Piscina<PolicyTask, PolicyOutcome>({
    filename: new URL('../../workers/policies.js', import.meta.url).href, minThreads: 0, maxThreads: flags.jobs,
  })
  await interruptible(() => 'while comparing: nothing is printed', async ({ signal }) => {
    const progress = new Progress()
    try {
      const costs = await runAll(pool, tasks, progress, signal)
      progress.done()
      print(costs, flags)
    } finally {
      progress.done()
      await pool.destroy()
    }
  })
}

async function runAll(
  pool: Piscina<PolicyTask, PolicyOutcome>, tasks: readonly PolicyTask[], progress: Progress, signal: AbortSignal,
): Promise<PolicyCost[]> {
  let done = 0
  const outcomes = await Promise.all(tasks.map(async (task) => {
    try {
      const outcome = await pool.run(task, { signal: AbortSignal.any([signal]) })
      done += 1
      progress.update(() => `${done} of ${tasks.length} runs`)
      return outcome
    } catch (error) {
      if (signal.aborted) throw error
      const why = error instanceof Error ? error.message : error
      throw new EngineError(`${task.file} under ${task.policy} failed: ${why}`)
    }
  }))
  return outcomes.map(({ cost, refused }, i) => {
    if (cost !== undefined) return cost
    const { file, policy } = tasks[i]!
    throw new UserError(`${refused?.message ?? 'no result'} (${file} under ${policy})`, undefined, refused?.details)
  })
}

function print(costs: readonly PolicyCost[], flags: Flags): void {
  const isWell = costs.every(({ problem }) => problem === '')
  if (flags.json) {
    const rows = costs.map(cost => ({ ...cost, refillMisses: refillMisses(cost, costs) }))
    process.stdout.write(`${JSON.stringify({ schemaVersion: POLICIES_SCHEMA_VERSION, ok: isWell, runs: rows })}\n`)
  } else {
    process.stdout.write(flags.markdown ? comparisonMarkdown(costs) : comparisonText(costs))
  }
  for (const { file, policy, problem } of costs) {
    if (problem !== '') process.stderr.write(`${file} under ${policy}: ${problem}\n`)
  }
  process.exitCode = isWell ? EXIT_OK : EXIT_DIFFERENT
}

/** Names separated by commas. */
export function policyList(text: string): readonly string[] {
  const names = text.split(',')
  for (const name of names) {
    if (!POLICY_NAMES.includes(name)) {
      throw new InvalidArgumentError([`unknown policy "${name}"`, ...suggestionLines(name, POLICY_NAMES)].join('\n'))
    }
  }
  return names
}

function turns(text: string): HostConfig {
  const match = /^(\d{1,12})\/(\d{1,12})$/.exec(text)
  const [runCycles, awayCycles] = [Number(match?.[1]), Number(match?.[2])]
  if (match === null || runCycles < 1 || awayCycles < 1) {
    throw new InvalidArgumentError(`expected two numbers of cycles above 0 as in 300000/300000, found "${text}"`)
  }
  return { runCycles, awayCycles }
}

function whole(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (!/^\d+$/.test(text) || value < least || value > most) {
      throw new InvalidArgumentError(`expected a whole number from ${least} to ${most}, found "${text}"`)
    }
    return value
  }
}
