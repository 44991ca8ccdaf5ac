// One scenario against its golden trace: the unit of work of `shootdown test`, run in a pool. A golden
// is the canonical text of the trace, beside the scenario under the same name with the ending
// `.golden`. Everything that may go wrong with one scenario is an outcome, so that the others go on.

import { existsSync, readFileSync } from 'node:fs'
import { writeFileAtomic } from '../base/atomic-file.js'
import { UserError } from '../base/errors.js'
import type { SourcePosition } from '../base/errors.js'
import { runFacts } from '../engine/run-facts.js'
import { simulate } from '../engine/simulate.js'
import type { EngineName } from '../engine/scheduler-loop.js'
import { checkExpectations } from '../scenario/expect.js'
import { loadScenario } from '../scenario/parse.js'
import { loadTrace } from '../scenario/trace-file.js'
import { loadSchedule } from './schedule-scenario.js'
import { diffTraces } from '../trace/diff.js'
import { diffText, headerDifferences } from '../trace/diff-text.js'
import { formatTextTrace } from '../trace/text.js'
import { parseTextTrace } from '../trace/text-parse.js'
import { EVENT_VOCABULARY } from '../trace/vocabulary.js'

export const GOLDEN_ENDING = '.golden'

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
  position: SourcePosition
  events: number
  /** Host time, milliseconds. For people; no outcome depends on it. */
  milliseconds: number
}

/** `scenarios/a.yaml` has its golden in `scenarios/a.golden`. */
export function goldenPath(file: string): string {
  return file.replace(/\.ya?ml$/, '') + GOLDEN_ENDING
}

/** Runs the scenario and compares. Never rejects for what the scenario or the run did wrong. */
export async function runGolden(task: GoldenTask): Promise<GoldenOutcome> {
  const startMs = performance.now()
  const outcome: GoldenOutcome = {
    file: task.file, status: 'passed', message: '', details: '', position: { file: task.file, line: 1, column: 1 },
    events: 0, milliseconds: 0,
  }
  try {
    await fill(outcome, task)
  } catch (error) {
    outcome.status = 'error'
    outcome.message = error instanceof Error ? error.message : String(error)
    if (error instanceof UserError) {
      outcome.position = error.position ?? outcome.position
      outcome.details = error.details.join('\n')
    }
  }
  outcome.milliseconds = performance.now() - startMs
  return outcome
}

async function fill(outcome: GoldenOutcome, task: GoldenTask): Promise<void> {
  const scenario = await loadScenario(task.file, { events: EVENT_VOCABULARY, loadSchedule }, loadTrace)
  const { config, image, expectations } = scenario
  const { result } = await simulate(config, image, { engine: task.engine, check: task.check })
  outcome.events = result.trace.length
  const failed = [
    ...(result.end === 'stalled' ? [{ position: outcome.position, text: `stalled: ${result.stall.join('; ')}` }] : []),
    ...result.failures.map(({ source, text }) => ({ position: { file: task.file, ...source }, text })),
    ...checkExpectations(expectations, runFacts(result, config.kernel.era, expectations)).filter(one => !one.ok),
  ]
  if (failed.length > 0) {
    outcome.status = 'failed'
    outcome.position = failed[0]!.position
    outcome.message = failed[0]!.text
    outcome.details = failed.slice(1).map(({ position: at, text }) => `${at.line}:${at.column} ${text}\n`).join('')
    return
  }
  const { cpus, costs: { frequencyGhz } } = config.machine
  const header = { scenario: scenario.name, era: config.kernel.era, cpus, seed: config.seed, frequencyGhz }
  compare(outcome, task, formatTextTrace(result.trace, header))
}

function compare(outcome: GoldenOutcome, task: GoldenTask, text: string): void {
  const path = goldenPath(task.file)
  const isThere = existsSync(path)
  if (task.mode === 'compare' && !isThere && task.mustExist) {
    outcome.status = 'failed'
    outcome.message = `there is no golden trace ${path}`
    outcome.details = 'write it with "shootdown test --update" and commit it\n'
    return
  }
  const golden = isThere ? readFileSync(path, 'utf8') : undefined
  if (golden === text) return
  if (task.mode === 'update' || golden === undefined) {
    writeFileAtomic(path, write => write(text))
    outcome.status = golden === undefined ? 'written' : 'updated'
    return
  }
  const expected = parseTextTrace(golden, path)
  const actual = parseTextTrace(text, 'this run')
  const difference = diffTraces(expected.data, actual.data)
  outcome.status = 'failed'
  outcome.message = summary(difference, headerDifferences(expected, actual))
  outcome.details = diffText(expected, actual, difference, task.limit)
}

/** `ipi_send_cpu: 3 fewer, sched_switch: 1 more`, or that only times differ. */
function summary(difference: ReturnType<typeof diffTraces>, headers: readonly string[]): string {
  const counts = difference.kinds.filter(kind => kind.countA !== kind.countB).map((kind) => {
    const delta = kind.countB - kind.countA
    return `${kind.label}: ${Math.abs(delta)} ${delta < 0 ? 'fewer' : 'more'}`
  })
  const { length } = difference.differences
  const rest = length > 0 ? `${length} ${length === 1 ? 'event differs' : 'events differ'}`
    : difference.isEqual ? '' : 'the same events at other times'
  return ['the trace differs from its golden', ...headers, counts.length > 0 ? counts.join(', ') : rest]
    .filter(part => part !== '').join('; ')
}
