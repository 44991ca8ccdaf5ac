// One scenario against its golden trace (golden-file.ts): the unit of work of `shootdown test`, run in a pool.
// Everything that may go wrong with one scenario is an outcome, so that the others go on.
//
// A scenario with `bugs:` is there to go wrong: the wrong loads of its programs are in its trace, and
// with `check` an invariant must fire.

import { InvariantViolation } from '../base/assert.js'
import { UserError } from '../base/errors.js'
import type { SourcePosition } from '../base/errors.js'
import type { Cluster } from '../engine/cluster.js'
import { instructionAt } from '../engine/instruction-at.js'
import type { RunResult } from '../engine/result.js'
import { runFacts } from '../engine/run-facts.js'
import { simulate } from '../engine/simulate.js'
import type { EngineName } from '../engine/scheduler-loop.js'
import { checkExpectations } from '../scenario/expect.js'
import { loadScenario } from '../scenario/parse.js'
import type { Scenario } from '../scenario/scenario.js'
import { loadTrace } from '../scenario/trace-file.js'
import { goldenPath, readGolden, writeGolden } from './golden-file.js'
import type { Golden } from './golden-file.js'
import { loadSchedule } from './schedule-scenario.js'
import { causesOf } from '../trace/cause.js'
import { diffTraces } from '../trace/diff.js'
import type { TraceDifference } from '../trace/diff.js'
import { diffText, headerDifferences, summaryText } from '../trace/diff-text.js'
import { eventAt } from '../trace/recorder.js'
import type { TraceData } from '../trace/recorder.js'
import { formatTextTrace } from '../trace/text.js'
import { parseTextTrace } from '../trace/text-parse.js'
import { EVENT_VOCABULARY } from '../trace/vocabulary.js'

export interface GoldenTask {
  /** Path of the scenario. */
  file: string
  engine: EngineName
  /** Check the invariants after every step. */
  check: boolean
  /** compare: a missing golden is written unless `mustExist`. update: it is written whatever there was. */
  mode: 'compare' | 'update'
  mustExist: boolean
  /** Differences that are listed. */
  limit: number
}

export type GoldenStatus = 'passed' | 'failed' | 'written' | 'updated' | 'error'

export interface GoldenOutcome {
  file: string
  status: GoldenStatus
  /** What is wrong, in one line; empty when nothing is. */
  message: string
  /** The same at length: the comparison, expectations that failed. */
  details: string
  /** Where: the operation in the scenario that caused the first difference, the expectation that failed. */
  position: SourcePosition
  events: number
  /** Path of the golden that was written; empty when none was. */
  wrote: string
  /** Host time, milliseconds. For people; no outcome depends on it. */
  milliseconds: number
}

const NAMES = { a: 'golden', b: 'this run' } as const

/**
 * Runs the scenario and compares. Never rejects for what the scenario or the run did wrong. `cluster` has the threads
 * of the threads engine, for many scenarios in a row.
 */
export async function runGolden(task: GoldenTask, cluster: Cluster): Promise<GoldenOutcome> {
  const startMs = performance.now()
  const outcome: GoldenOutcome = {
    file: task.file, status: 'passed', message: '', details: '', position: { file: task.file, line: 1, column: 1 },
    events: 0, wrote: '', milliseconds: 0,
  }
  try {
    await fill(outcome, task, cluster)
  } catch (error) {
    const [first = '', ...more] = (error instanceof Error ? error.message : String(error)).split('\n')
    outcome.status = error instanceof InvariantViolation ? 'failed' : 'error'
    outcome.message = error instanceof InvariantViolation ? `an invariant does not hold: ${first}` : first
    outcome.position = error instanceof UserError ? error.position ?? outcome.position : outcome.position
    outcome.details = [...more, ...(error instanceof UserError ? error.details : [])].map(line => `${line}\n`).join('')
  }
  outcome.milliseconds = performance.now() - startMs
  return outcome
}

async function fill(outcome: GoldenOutcome, task: GoldenTask, cluster: Cluster): Promise<void> {
  const scenario = await loadScenario(task.file, { events: EVENT_VOCABULARY, loadSchedule }, loadTrace)
  const { config, image, expectations } = scenario
  const isBuggy = config.kernel.bugs.length > 0
  if (isBuggy && task.check && !await breaksInvariant(scenario)) {
    outcome.status = 'failed'
    outcome.message = `no invariant notices the bug ${config.kernel.bugs.join(', ')}`
    return
  }
  const { result } = await simulate(config, image, { engine: task.engine, check: task.check && !isBuggy, cluster })
  outcome.events = result.trace.length
  const failed = [
    ...(result.end === 'stalled' ? [{ position: outcome.position, text: `stalled: ${result.stall.join('; ')}` }] : []),
    ...(isBuggy ? [] : result.failures).map(({ source, text }) => ({ position: { file: task.file, ...source }, text })),
    ...checkExpectations(expectations, runFacts(result, config.kernel.era, expectations)).filter(one => !one.ok),
  ]
  if (failed.length === 0 || task.mode === 'compare') await compare(outcome, task, scenario, result, failed.length > 0)
  if (failed.length > 0) blame(outcome, failed)
}

/** A fact that does not hold says more than a trace that differs, which is told behind it. */
function blame(outcome: GoldenOutcome, failed: readonly { position: SourcePosition; text: string }[]): void {
  const difference = outcome.status === 'failed' ? `\nThe trace ${outcome.message}\n\n${outcome.details}` : ''
  outcome.status = 'failed'
  outcome.position = failed[0]!.position
  outcome.message = failed[0]!.text
  outcome.details = failed.slice(1).map(({ position: at, text }) => `${at.line}:${at.column} ${text}\n`).join('')
    + difference
}

async function breaksInvariant({ config, image }: Scenario): Promise<boolean> {
  try {
    await simulate(config, image, { engine: 'inline', check: true, trace: false })
    return false
  } catch (error) {
    if (error instanceof InvariantViolation) return true
    throw error
  }
}

/** `isWrong`: its facts do not hold, so no golden is made of it. */
async function compare(
  outcome: GoldenOutcome, task: GoldenTask, scenario: Scenario, result: RunResult, isWrong: boolean,
): Promise<void> {
  const { config } = scenario
  const { cpus, costs: { frequencyGhz } } = config.machine
  const header = { scenario: scenario.name, era: config.kernel.era, cpus, seed: config.seed, frequencyGhz }
  const text = formatTextTrace(result.trace, header)
  const golden = readGoldenOf(task)
  if (golden === undefined && isWrong) return
  if (golden === undefined && task.mode === 'compare' && task.mustExist) {
    outcome.status = 'failed'
    outcome.message = `there is no golden trace ${goldenPath(task.file)}`
    outcome.details = 'write it with "shootdown test --update" and commit it\n'
    return
  }
  if (golden?.text === text) return
  if (task.mode === 'update' || golden === undefined) {
    outcome.wrote = writeGolden(task.file, text)
    outcome.status = golden === undefined ? 'written' : 'updated'
    return
  }
  await explain(outcome, task, scenario, golden, text)
}

/** Something unreadable is no reason not to write it anew. */
function readGoldenOf(task: GoldenTask): Golden | undefined {
  try {
    return readGolden(task.file)
  } catch (error) {
    if (task.mode === 'update' && error instanceof UserError) return { path: goldenPath(task.file), text: '' }
    throw error
  }
}

/** What differs, in one line and at length, and where in the scenario it comes from. */
async function explain(
  outcome: GoldenOutcome, task: GoldenTask, scenario: Scenario, golden: Golden, text: string,
): Promise<void> {
  outcome.status = 'failed'
  const expected = parseTextTrace(golden.text, golden.path)
  const actual = parseTextTrace(text, 'this run')
  const difference = diffTraces(expected.data, actual.data)
  const headers = headerDifferences(expected, actual, NAMES)
  const what = [...headers, summaryText(expected, actual, difference)].filter(part => part !== '').join('; ')
  outcome.message = `differs from its golden: ${what === '' ? 'the same events, written otherwise' : what}`
  const source = await sourceOf(scenario, expected.data, actual.data, difference)
  if (source !== undefined) outcome.position = { file: task.file, ...source }
  outcome.details = diffText(expected, actual, difference, task.limit, NAMES)
    + `\nIf this is meant: shootdown test ${task.file} --update\n`
}

/** The place in the scenario of the operation that led to the first difference. */
async function sourceOf(
  { config, image }: Scenario, golden: TraceData, actual: TraceData, { firstRecord }: TraceDifference,
): Promise<{ line: number; column: number } | undefined> {
  if (firstRecord === undefined) return undefined
  // Up to the first difference both traces are the same: what caused it in the golden has happened in this run too.
  const before = firstRecord < golden.length ? causesOf(golden, firstRecord) : []
  const isThere = before.length > 0 && before[0]! < firstRecord
  const record = isThere ? before[0]! : firstRecord < actual.length
    ? causesOf(actual, firstRecord)[0] ?? firstRecord : actual.length - 1
  const event = record < 0 ? undefined : eventAt(actual, record)
  if (event === undefined) return undefined
  const pid = event.name === 'sched_switch' && event.fields.nextPid > 0 ? event.fields.nextPid : event.pid
  const isCall = ['sys_enter', 'sched_process_exit', 'flush_begin', 'sched_switch'].includes(event.name)
  return instructionAt(config, image, pid, event.cycle, isCall ? 'system call' : 'user mode')
}
