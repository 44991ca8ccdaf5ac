// Scenarios for programs: from a file, from text, or from an object, with everything that the command
// line knows too (the events that `expect:` may name, recorded traces, captured schedules).

import { resolve } from 'node:path'
import type { KernelEra } from '../kernel/config.js'
import { loadScenario as load, parseScenario as parse } from '../scenario/parse.js'
import type { Scenario, ScenarioOverrides } from '../scenario/scenario.js'
import type { ScenarioSource } from '../scenario/schema.js'
import { loadTrace } from '../scenario/trace-file.js'
import { loadSchedule } from '../study/schedule-scenario.js'
import { EVENT_VOCABULARY } from '../trace/vocabulary.js'

/** What is to be other than the scenario says; the same as the options of `shootdown run`. */
export interface LoadOptions {
  seed?: number
  cpus?: number
  /** A machine preset; other keys of `machine:` still apply on top of it. */
  machine?: string
  era?: KernelEra
  /** A shootdown policy; without an era it brings its own. */
  policy?: string
}

/** Options of {@link parseScenario}. */
export interface ParseOptions extends LoadOptions {
  /** Names the scenario in messages, and locates the files that it names. Default: `scenario.yaml` here. */
  file?: string
}

/**
 * Reads, checks and compiles a scenario file.
 * @throws UserError with file, line and column when it is not one
 */
export async function loadScenario(path: string, options: LoadOptions = {}): Promise<Scenario> {
  return await load(path, overrides(options), loadTrace)
}

/**
 * Checks and compiles a scenario that is already there: YAML text, or an object of the same shape.
 * @throws UserError with line and column; of an object they are those of its JSON, indented by two
 */
export async function parseScenario(source: string | ScenarioSource, options: ParseOptions = {}): Promise<Scenario> {
  const { file = resolve('scenario.yaml'), ...rest } = options
  // JSON is YAML.
  const text = typeof source === 'string' ? source : JSON.stringify(source, undefined, 2)
  return await parse(text, file, overrides(rest), loadTrace)
}

function overrides(options: LoadOptions): ScenarioOverrides {
  return { ...options, events: EVENT_VOCABULARY, loadSchedule }
}
