// Whether a run is as its scenario says: what failed inside programs, which expectations hold, and
// that nothing is stuck. The command line and the library say the same.

import type { SourcePosition } from '../base/errors.js'
import type { RunResult } from '../engine/result.js'
import { runFacts } from '../engine/run-facts.js'
import { checkExpectations } from '../scenario/expect.js'
import type { ExpectationResult } from '../scenario/expect.js'
import type { Scenario } from '../scenario/scenario.js'

/** A failure inside a program, with its file. */
export interface PlacedFailure {
  position: SourcePosition
  text: string
}

export interface Verdict {
  /** Nothing failed and nothing is stuck. */
  ok: boolean
  /** Undefined when the run was stopped before its end: then they mean nothing yet. */
  expectations: readonly ExpectationResult[] | undefined
  failures: readonly PlacedFailure[]
}

export function verdictOf(scenario: Scenario, result: RunResult): Verdict {
  const { expectations: expected, config } = scenario
  const expectations = result.end === 'until'
    ? undefined
    : checkExpectations(expected, runFacts(result, config.kernel.era, expected))
  const failures = result.failures.map(({ source, text }) => ({ position: { file: scenario.file, ...source }, text }))
  const ok = result.end !== 'stalled' && failures.length === 0 && (expectations ?? []).every((one) => one.ok)
  return { ok, expectations, failures }
}
