// One point of a study: its scenario, run inline, and what is kept of the run. The unit of work of a sweep,
// for a thread of this process (workers/sweep-point.ts) and for a worker of a queue. A row is a function of
// plan, index and version: nothing in it tells when, where or beside what it was computed.

import { UserError } from '../base/errors.js'
import { runFacts } from '../engine/run-facts.js'
import { simulate } from '../engine/simulate.js'
import type { RunResult } from '../engine/result.js'
import type { CounterName } from '../kernel/counters.js'
import { checkExpectations } from '../scenario/expect.js'
import type { Scenario } from '../scenario/scenario.js'
import { flushPhases, INITIATOR_PHASES } from '../trace/flush-phases.js'
import { histogramOf, type Histogram } from './histogram.js'
import { quantile } from './statistics.js'
import type { Parameters } from './study-axes.js'
import { parsePoint } from './study-file.js'
import { pointParameters, pointText } from './study-plan.js'
import type { StudyPlan } from './study-plan.js'

/** One line of results. The order of keys is the order in the file. */
export interface ResultRow {
  /** Hash of the study. */
  study: string
  version: string
  index: number
  /** Points of the whole study. */
  of: number
  seed: number
  parameters: Parameters
  /** What went wrong, in words; empty when nothing did. */
  problem: string
  result: Readonly<Record<string, number>>
  /** Cycles of flush requests, as a histogram. */
  latencies: Histogram
}

/** What refuses input does not survive a pool or a queue as an error. */
export interface PointOutcome {
  /** The row as its line, without the end of the line. */
  line?: string
  refused?: { message: string; details: readonly string[] }
}

/** Counters of every row. */
export const USUAL_COUNTERS: readonly CounterName[] = [
  'shootdowns', 'ipisSent', 'callFunctionIpis', 'lazySkipped', 'uselessFlushes', 'wrongCpu', 'initiatorCycles',
  'responderCycles', 'accesses', 'l1dMisses', 'stlbMisses', 'walkSteps', 'contextSwitches', 'syscalls', 'pageFaults',
  'mmapLockWaitCycles', 'spinLockWaitCycles', 'pagesFreed',
]

/** Runs point `index` of `plan`. */
export async function runPoint(plan: StudyPlan, index: number, version: string): Promise<PointOutcome> {
  const parameters = pointParameters(plan, index)
  try {
    const scenario = await parsePoint(pointText(plan, index), plan.scenarioFile)
    const { result } = await simulate(scenario.config, scenario.image, { engine: 'inline' })
    const row: ResultRow = {
      study: plan.hash, version, index, of: plan.count, seed: scenario.config.seed, parameters,
      problem: problemOf(scenario, result), ...measured(scenario, result, plan.measure as CounterName[]),
    }
    return { line: JSON.stringify(row) }
  } catch (error) {
    if (!(error instanceof UserError)) throw error
    return { refused: { message: error.message, details: error.details } }
  }
}

function problemOf(scenario: Scenario, result: RunResult): string {
  const facts = runFacts(result, scenario.config.kernel.era, scenario.expectations)
  const failed = checkExpectations(scenario.expectations, facts).filter(({ ok }) => !ok)
  return [
    ...(result.end === 'finished' ? [] : [`the run ended: ${result.end}`, ...result.stall]),
    ...result.failures.map(({ text }) => text), ...failed.map(({ text }) => text),
  ].join('; ')
}

/** The numbers of a run. */
export function measured(
  { config }: Scenario, { trace, counters, cycle }: RunResult, measure: readonly CounterName[],
): Pick<ResultRow, 'result' | 'latencies'> {
  const { costs, geometry } = config.machine
  const phases = flushPhases(trace, {
    syscall: costs.syscall, ptePerPage: costs.ptePerPage, flushSetup: costs.flushSetup, ipiSend: costs.ipiSend,
    commandsPerIpi: counters.callFunctionIpis === 0 ? 1 : counters.icrWrites / counters.callFunctionIpis,
    pageBytes: geometry === 'granule-16k' ? 16384 : 4096,
  })
  const latencies = phases.latencies.toSorted((a, b) => a - b)
  const calls = phases.calls.toSorted((a, b) => a - b)
  const counted = [...USUAL_COUNTERS, ...measure.filter((name) => !USUAL_COUNTERS.includes(name))]
  const result: Record<string, number> = {
    cycles: cycle,
    frequencyGhz: costs.frequencyGhz,
    flushes: latencies.length,
    latencyMean: mean(latencies), latencyMin: latencies[0] ?? 0, latencyP50: quantile(latencies, 0.5),
    latencyP90: quantile(latencies, 0.9), latencyP99: quantile(latencies, 0.99), latencyMax: latencies.at(-1) ?? 0,
    calls: calls.length, callMean: mean(calls), callP99: quantile(calls, 0.99),
    ipisAvoided: phases.skipped,
    ...Object.fromEntries(INITIATOR_PHASES.map((phase) => [`${phase}Cycles`, Math.round(phases.initiator[phase])])),
    irqCycles: Math.max(0, counters.responderCycles - phases.handlerCycles),
    handlerCycles: Math.min(phases.handlerCycles, counters.responderCycles),
    walkCycles: counters.walkSteps * costs.walkStep,
    ...Object.fromEntries(counted.map((name) => [name, counters[name]])),
  }
  return { result, latencies: histogramOf(latencies) }
}

function mean(values: readonly number[]): number {
  if (values.length === 0) return 0
  return Number((values.reduce((sum, value) => sum + value, 0) / values.length).toFixed(3))
}
