// Many runs of one scenario under perturbed timing, with the invariants on: the unit of work of
// `shootdown explore`, run in a pool. A task is a batch of seeds, because a small run takes a few
// milliseconds. Everything that a run does wrong is an outcome; only bad input and a failing host reject.

import { AssertionError, InvariantViolation } from '../base/assert.js'
import { UserError } from '../base/errors.js'
import { runFacts } from '../engine/run-facts.js'
import { simulate, StepLimitError } from '../engine/simulate.js'
import type { SimulateOptions } from '../engine/simulate.js'
import { checkExpectations } from '../scenario/expect.js'
import { parseScenario } from '../scenario/parse.js'
import type { Scenario, ScenarioOverrides } from '../scenario/scenario.js'
import { loadTrace } from '../scenario/trace-file.js'
import { EVENT_VOCABULARY } from '../trace/vocabulary.js'
import { perturbed } from './perturb.js'
import type { PerturbationKind } from './perturb.js'

export interface ExploreTask {
  /** Text of the scenario, and the path that names it and locates its traces. */
  text: string
  file: string
  overrides: Omit<ScenarioOverrides, 'events'>
  kinds: readonly PerturbationKind[]
  seeds: readonly number[]
  /** Is a failed expectation a failure? Timing may change what a scenario counts. */
  expectations: boolean
  /** Leave out the rest of the batch after a failure. */
  bail: boolean
  /** Only failures of this name count; empty: all. */
  wanted: string
  /** Nothing counts when the scenario fails in this way under the plain prices (seed 0). */
  plainMustPass: boolean
}

/** invariant: a check stopped the run; assertion: our bug; endless: no end within MAX_STEPS. */
export type FailureKind = 'invariant' | 'assertion' | 'stall' | 'endless' | 'expectation'

export interface Failure {
  seed: number
  kind: FailureKind
  /** `I8`; for other kinds the kind. Two failures with one name are taken for the same. */
  name: string
  /** What happened, with the events that led there. */
  message: string
}

export interface ExploreOutcome {
  runs: number
  failures: Failure[]
  /** The input is bad after all: what the kernel refuses when it boots. Classes of errors do not survive the pool. */
  refused?: { message: string; details: readonly string[] }
}

/** Steps of a window engine; small programs take a few hundred. */
const MAX_STEPS = 2_000_000

/** Runs the seeds of a task in their order. */
export async function runSeeds(task: ExploreTask): Promise<ExploreOutcome> {
  const outcome: ExploreOutcome = { runs: 0, failures: [] }
  try {
    const scenario = await parseScenario(
      task.text, task.file, { ...task.overrides, events: EVENT_VOCABULARY }, loadTrace)
    await fill(outcome, scenario, task)
  } catch (error) {
    if (!(error instanceof UserError)) throw error
    outcome.refused = { message: error.message, details: error.details }
  }
  return outcome
}

async function fill(outcome: ExploreOutcome, scenario: Scenario, task: ExploreTask): Promise<void> {
  const counts = (failure: Failure | undefined): failure is Failure =>
    failure !== undefined && (task.wanted === '' || failure.name === task.wanted)
  if (task.plainMustPass) {
    outcome.runs += 1
    if (counts(await runSeed(scenario, 0, task))) return
  }
  for (const seed of task.seeds) {
    outcome.runs += 1
    const failure = await runSeed(scenario, seed, task)
    if (!counts(failure)) continue
    outcome.failures.push(failure)
    if (task.bail) break
  }
}

/** One run; undefined when nothing is wrong with it. */
async function runSeed(
  scenario: Scenario, seed: number, { kinds, expectations }: ExploreTask,
): Promise<Failure | undefined> {
  const { config, image } = perturbed(scenario, seed, kinds)
  return failureOf({ ...scenario, config, image }, seed, expectations, { engine: 'inline', stepLimit: MAX_STEPS })
}

/** Runs a scenario as it is and says what is wrong with the run. */
export async function failureOf(
  scenario: Scenario, seed: number, checksExpectations: boolean, options: SimulateOptions,
): Promise<Failure | undefined> {
  const { config, image } = scenario
  const expectations = checksExpectations ? scenario.expectations : []
  try {
    const { result } = await simulate(config, image, {
      check: true, trace: expectations.some(({ kind }) => kind === 'event'), ...options,
    })
    if (result.end === 'stalled') return { seed, kind: 'stall', name: 'stall', message: result.stall.join('\n') }
    const failed = checksExpectations ? [
      ...result.failures,
      ...checkExpectations(expectations, runFacts(result, config.kernel.era, expectations)).filter(({ ok }) => !ok),
    ] : []
    if (failed.length === 0) return undefined
    const lines = failed.map(one => `${whereOf(scenario.file, one)}: ${one.text}`)
    return { seed, kind: 'expectation', name: 'expectation', message: lines.join('\n') }
  } catch (error) {
    const failure = failureFrom(error)
    if (failure === undefined) throw error
    return { seed, ...failure }
  }
}

type Place = { source: { line: number; column: number } } | { position: { line: number; column: number } }

function whereOf(file: string, failed: Place): string {
  const { line, column } = 'source' in failed ? failed.source : failed.position
  return `${file}:${line}:${column}`
}

function failureFrom(error: unknown): Omit<Failure, 'seed'> | undefined {
  if (error instanceof InvariantViolation) {
    return { kind: 'invariant', name: error.invariant, message: error.message }
  }
  if (error instanceof StepLimitError) return { kind: 'endless', name: 'endless', message: error.message }
  if (error instanceof AssertionError || error instanceof TypeError || error instanceof RangeError) {
    return { kind: 'assertion', name: 'assertion', message: `${error.name}: ${error.message}` }
  }
  return undefined
}
