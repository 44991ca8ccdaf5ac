// `shootdown compare-policies SCENARIO`: one scenario under every shootdown policy, as a sweep over the field
// `policy`: the table of `shootdown policies`, and the report of `shootdown sweep`.

import { availableParallelism } from 'node:os'
import { Command, InvalidArgumentError } from 'commander'
import { UserError } from '../base/errors.js'
import { POLICY_NAMES } from '../kernel/policies.js'
import { MAX_CPUS } from '../scenario/schema-operations.js'
import { readScenarioText } from '../scenario/parse.js'
import { comparisonText, costOfRow, refillMisses } from '../study/policy-comparison.js'
import { shardIndices } from '../study/shard.js'
import { parsePoint } from '../study/study-file.js'
import { planOf, type StudyPlan } from '../study/study-plan.js'
import type { ResultRow } from '../study/sweep-point.js'
import { EXIT_DIFFERENT, EXIT_OK } from './errors.js'
import { interruptible } from './interrupt.js'
import { refuseToOverwrite } from './keep-inputs.js'
import { policyList } from './policies.js'
import { Progress } from './progress.js'
import { addOutputOptions, checkOutputs, writeFiles, type OutputFlags } from './sweep-outputs.js'
import { runOnThreads } from './sweep-threads.js'
import { toolVersion } from './version.js'

export const COMPARE_POLICIES_SCHEMA_VERSION = 1

interface Flags extends OutputFlags {
  policy?: readonly string[]
  cpus?: readonly number[]
  jobs: number
  json?: boolean
}

/** The sub-command, to be added to the program. */
export function comparePoliciesCommand(): Command {
  const command = new Command('compare-policies')
    .description('run one scenario under all shootdown policies, with a report')
    .argument('<scenario>', 'scenario file')
    .option('--policy <names>', 'only these, separated by commas', policyList)
    .option('--cpus <list>', 'on machines with so many CPUs, such as 2,4,8: curves against CPUs', cpuCounts)
    .option('--jobs <n>', 'runs at a time', jobs, availableParallelism())
    .option('--json', 'print one JSON object, and nothing else')
  return addOutputOptions(command)
    .addHelpText('after', `
Columns are those of \`shootdown policies\`, which has workloads of its own. A policy that cannot run the scenario (it
asks for PCID and the policy has none) is left out, and told.
Exit codes: 0 all ran, 1 a run did not end well or an expectation failed, 2 bad input.

Examples:
  shootdown compare-policies scenarios/tour/02-shootdown.yaml --report policies.html
  shootdown compare-policies scenarios/policies/1-munmap-storm.yaml --policy linux-4.6,linux-6.x,latr --csv storm.csv`)
    .action(compare)
}

async function compare(file: string, flags: Flags): Promise<void> {
  const scenarioText = readScenarioText(file)
  const scenario = await parsePoint(scenarioText, file)
  for (const path of [flags.csv, flags.parquet, flags.report]) if (path !== undefined) refuseToOverwrite(path, scenario)
  checkOutputs(flags)
  const plan = planOf({
    name: `${scenario.name} under all policies`, question: scenario.question ?? '', file, scenarioFile: file,
    scenarioText, list: [], measure: [], show: ['latencyMean', 'cycles'], labels: {},
    axes: [
      { field: 'policy', values: flags.policy ?? POLICY_NAMES },
      ...(flags.cpus === undefined ? [] : [{ field: 'cpus', values: flags.cpus }]),
    ],
  })
  await interruptible(() => 'while comparing: nothing is printed', async ({ signal }) => {
    const { rows, refused } = await runAll(plan, flags.jobs, signal)
    if (signal.aborted) return
    for (const text of refused) process.stderr.write(`left out: ${text}\n`)
    if (rows.length === 0) throw new UserError(`${file}: no policy can run this scenario`)
    writeFiles(rows, flags, plan)
    print(rows, plan, flags)
  })
}

async function runAll(
  plan: StudyPlan, count: number, signal: AbortSignal,
): Promise<{ rows: ResultRow[]; refused: string[] }> {
  const rows: ResultRow[] = []
  const refused: string[] = []
  const progress = new Progress()
  try {
    await runOnThreads({
      plan, indices: shardIndices(plan.count, undefined), version: toolVersion(), jobs: count, signal,
      onRow: (_, line) => {
        rows.push(JSON.parse(line) as ResultRow)
        progress.update(() => `${rows.length} of ${plan.count} runs`)
      },
      onRefused: (_, text) => refused.push(text),
    })
  } finally {
    progress.done()
  }
  return { rows: rows.sort((a, b) => a.index - b.index), refused: refused.sort() }
}

function print(rows: readonly ResultRow[], plan: StudyPlan, flags: Flags): void {
  const isWell = rows.every(({ problem }) => problem === '')
  const costs = rows.map((row) => {
    const { cpus } = row.parameters
    return costOfRow(row, `${plan.file} ${cpus ?? ''}`, cpus === undefined ? plan.name : `${plan.name}, ${cpus} CPUs`)
  })
  if (flags.json === true) {
    const runs = rows.map(({ parameters, problem, result }, i) => (
      { ...parameters, problem, ...result, refillMisses: refillMisses(costs[i]!, costs) }))
    const head = { schemaVersion: COMPARE_POLICIES_SCHEMA_VERSION, ok: isWell, file: plan.file }
    process.stdout.write(`${JSON.stringify({ ...head, runs })}\n`)
  } else {
    process.stdout.write(comparisonText(costs))
  }
  for (const { policy, problem } of costs) if (problem !== '') process.stderr.write(`under ${policy}: ${problem}\n`)
  process.exitCode = isWell ? EXIT_OK : EXIT_DIFFERENT
}

function cpuCounts(text: string): readonly number[] {
  const counts = text.split(',').map(Number)
  if (!/^\d+(,\d+)*$/.test(text) || counts.some((count) => count < 1 || count > MAX_CPUS)) {
    throw new InvalidArgumentError(`expected numbers from 1 to ${MAX_CPUS}, separated by commas, found "${text}"`)
  }
  return [...new Set(counts)]
}

function jobs(text: string): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < 1 || value > 1024) {
    throw new InvalidArgumentError(`expected a whole number from 1 to 1024, found "${text}"`)
  }
  return value
}
