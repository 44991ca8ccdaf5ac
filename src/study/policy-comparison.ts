// The same workloads under every shootdown policy: what each costs in interrupts, in the time of who
// flushes and of who is interrupted, and in page walks for translations that a flush took away. One run
// is the unit of work of `shootdown policies`; the table is made of all of them.

import { grouped, markdownLines, tableLines, type Column } from '../base/table.js'
import { UserError } from '../base/errors.js'
import { runFacts } from '../engine/run-facts.js'
import { simulate } from '../engine/simulate.js'
import type { SimulationConfig } from '../kernel/config.js'
import { checkExpectations } from '../scenario/expect.js'
import { loadScenario } from '../scenario/parse.js'
import { loadTrace } from '../scenario/trace-file.js'
import { EVENT_VOCABULARY } from '../trace/vocabulary.js'
import type { ResultRow } from './sweep-point.js'

/** The policy whose TLBs lose only what really changed. */
export const LOWER_BOUND = 'hardware-coherent'

export interface PolicyTask {
  /** Path of the scenario. */
  file: string
  policy: string
  machine?: string
  cpus?: number
  /** An overcommitted host below, instead of that of the scenario. */
  host?: NonNullable<SimulationConfig['machine']['host']>
}

/** What one run cost. */
export interface PolicyCost {
  file: string
  workload: string
  policy: string
  /** Call-function and reschedule interrupts between CPUs. */
  ipis: number
  /** From the start of a flush request to its end, summed. */
  initiatorCycles: number
  /** Taken from CPUs that did something else, summed. */
  responderCycles: number
  /** Page walks. */
  walks: number
  /** When the run was over. */
  totalCycles: number
  /** What went wrong, in words; empty when nothing did. */
  problem: string
}

/** What refuses input does not survive the pool as an error. */
export interface PolicyOutcome {
  cost?: PolicyCost
  refused?: { message: string; details: readonly string[] }
}

/** Runs one workload under one policy. */
export async function runPolicy(task: PolicyTask): Promise<PolicyOutcome> {
  try {
    return { cost: await costOf(task) }
  } catch (error) {
    if (!(error instanceof UserError)) throw error
    return { refused: { message: error.message, details: error.details } }
  }
}

async function costOf({ file, policy, machine, cpus, host }: PolicyTask): Promise<PolicyCost> {
  const scenario = await loadScenario(file, {
    policy, events: EVENT_VOCABULARY, ...(machine === undefined ? {} : { machine }),
    ...(cpus === undefined ? {} : { cpus }),
  }, loadTrace)
  const config: SimulationConfig = host === undefined ? scenario.config
    : { ...scenario.config, machine: { ...scenario.config.machine, host } }
  const { result } = await simulate(config, scenario.image, { engine: 'inline' })
  const { counters } = result
  const failed = checkExpectations(scenario.expectations, runFacts(result, config.kernel.era, scenario.expectations))
    .filter(one => !one.ok)
  const problems = [
    ...(result.end === 'finished' ? [] : [`the run ended: ${result.end}`]),
    ...result.failures.map(one => one.text), ...failed.map(one => one.text),
  ]
  return {
    file, workload: scenario.name, policy, ipis: counters.ipisSent, initiatorCycles: counters.initiatorCycles,
    responderCycles: counters.responderCycles, walks: counters.stlbMisses, totalCycles: result.cycle,
    problem: problems.join('; '),
  }
}

/** The same from a row of a sweep (sweep-point.ts) whose field `policy` was varied. */
export function costOfRow(row: ResultRow, file: string, workload: string): PolicyCost {
  const { result, problem, parameters } = row
  return {
    file, workload, policy: String(parameters['policy']), ipis: result['ipisSent']!,
    initiatorCycles: result['initiatorCycles']!, responderCycles: result['responderCycles']!,
    walks: result['stlbMisses']!, totalCycles: result['cycles']!, problem,
  }
}

/** All runs of a comparison, workload by workload. */
export function policyTasks(
  files: readonly string[], policies: readonly string[], rest: Omit<PolicyTask, 'file' | 'policy'> = {},
): PolicyTask[] {
  return files.flatMap(file => policies.map(policy => ({ ...rest, file, policy })))
}

const COLUMNS: readonly Column[] = [
  { title: 'policy', align: 'left' },
  { title: 'IPIs', align: 'right' },
  { title: 'initiator cycles', align: 'right' },
  { title: 'responder cycles', align: 'right' },
  { title: 'refill misses', align: 'right' },
  { title: 'total cycles', align: 'right' },
]

/** Walks beyond those of the lower bound in the same workload; undefined when that was not run. */
export function refillMisses(cost: PolicyCost, costs: readonly PolicyCost[]): number | undefined {
  const bound = costs.find(other => other.file === cost.file && other.policy === LOWER_BOUND)
  return bound === undefined ? undefined : cost.walks - bound.walks
}

function cells(cost: PolicyCost, costs: readonly PolicyCost[]): string[] {
  const { policy, ipis, initiatorCycles, responderCycles, totalCycles } = cost
  return [policy, ...[ipis, initiatorCycles, responderCycles, refillMisses(cost, costs), totalCycles]
    .map(value => value === undefined ? '-' : grouped(value))]
}

/** For people: a table for each workload. */
export function comparisonText(costs: readonly PolicyCost[]): string {
  return byWorkload(costs).map(([name, rows]) => {
    const lines = tableLines(COLUMNS, rows.map(row => cells(row, costs)))
    return [name, ...lines.map(line => `  ${line}`), ''].join('\n')
  }).join('\n')
}

/** The same for documents. */
export function comparisonMarkdown(costs: readonly PolicyCost[]): string {
  return byWorkload(costs).map(([name, rows]) => [
    `**${name}**`, '',
    ...markdownLines(COLUMNS, rows.map(row => cells(row, costs).map((cell, i) => i === 0 ? `\`${cell}\`` : cell))),
    '',
  ].join('\n')).join('\n')
}

function byWorkload(costs: readonly PolicyCost[]): [string, PolicyCost[]][] {
  const workloads = new Map<string, PolicyCost[]>()
  for (const cost of costs) workloads.set(cost.workload, [...workloads.get(cost.workload) ?? [], cost])
  return [...workloads]
}
