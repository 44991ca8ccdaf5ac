// A run and everything that is said about it, whoever says it: the summary for people
// (run-summary.ts) and the JSON object (run-json.ts) are made from the same report.

import type { EngineName } from '../engine/scheduler-loop.js'
import type { RunResult } from '../engine/result.js'
import { runFacts } from '../engine/run-facts.js'
import { checkExpectations } from '../scenario/expect.js'
import type { ExpectationResult } from '../scenario/expect.js'
import type { Scenario } from '../scenario/scenario.js'
import { summarizeShootdowns } from '../trace/summary.js'
import type { Shootdown } from '../trace/summary.js'
import type { SourcePosition } from '../base/errors.js'
import { incidentsOf, type Incidents } from './run-incidents.js'

/** A failure inside a program, with its file. */
export interface PlacedFailure {
  position: SourcePosition
  text: string
}

export interface RunReport {
  scenario: Scenario
  engine: EngineName
  result: RunResult
  shootdowns: readonly Shootdown[]
  /** Undefined when the run was stopped before its end: then they mean nothing yet. */
  expectations: readonly ExpectationResult[] | undefined
  failures: readonly PlacedFailure[]
  incidents: Incidents
  /** Nothing failed and nothing is stuck. */
  ok: boolean
  /** The command that gives this run again. */
  command: string
}

export function reportOf(scenario: Scenario, engine: EngineName, result: RunResult, command: string): RunReport {
  const { expectations: expected, config } = scenario
  const expectations = result.end === 'until'
    ? undefined
    : checkExpectations(expected, runFacts(result, config.kernel.era, expected))
  const failures = result.failures.map(({ source, text }) => ({ position: { file: scenario.file, ...source }, text }))
  const ok = result.end !== 'stalled' && failures.length === 0 && (expectations ?? []).every((one) => one.ok)
  return {
    scenario, engine, result, expectations, failures, ok, command,
    shootdowns: summarizeShootdowns(result.trace),
    incidents: incidentsOf(result.trace, scenario.image),
  }
}
