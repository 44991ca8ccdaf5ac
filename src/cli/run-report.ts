// A run and everything that is said about it, whoever says it: the summary for people
// (run-summary.ts) and the JSON object (run-json.ts) are made from the same report.

import type { EngineName } from '../engine/scheduler-loop.js'
import type { RunResult } from '../engine/result.js'
import type { Scenario } from '../scenario/scenario.js'
import { verdictOf, type Verdict } from '../study/verdict.js'
import { summarizeShootdowns } from '../trace/summary.js'
import type { Shootdown } from '../trace/summary.js'
import { incidentsOf, type Incidents } from './run-incidents.js'

export interface RunReport extends Verdict {
  scenario: Scenario
  engine: EngineName
  /** Worker threads that the CPUs share; undefined: each has its own. */
  hostThreads: number | undefined
  result: RunResult
  shootdowns: readonly Shootdown[]
  incidents: Incidents
  /** The command that gives this run again. */
  command: string
}

export function reportOf(
  scenario: Scenario, engine: EngineName, hostThreads: number | undefined, result: RunResult, command: string,
): RunReport {
  return {
    scenario, engine, hostThreads, result, command, ...verdictOf(scenario, result),
    shootdowns: summarizeShootdowns(result.trace),
    incidents: incidentsOf(result.trace, scenario.image),
  }
}
