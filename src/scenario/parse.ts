// From a scenario file to a typed scenario: read, YAML, schema, traces, compile. Each step throws
// a UserError with file, line and column at the first thing it cannot accept, and nothing is
// written anywhere, so a bad scenario leaves no traces behind.

import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, dirname, extname, isAbsolute, join } from 'node:path'
import { UserError } from '../base/errors.js'
import type { TraceRecords } from '../kernel/abi.js'
import { compileScenario } from './compile.js'
import type { LoadTrace, Scenario, ScenarioOverrides } from './scenario.js'
import { scenarioSchema, type RawOperation, type RawScenario } from './schema.js'
import { schemaError } from './schema-errors.js'
import { nearestName } from './suggest.js'
import { YamlSource, type Path } from './yaml-source.js'

export type { LoadTrace, Scenario, ScenarioOverrides } from './scenario.js'

/** A scenario is written by hand: a bigger file is something else. */
export const MAX_SCENARIO_BYTES = 4 * 2 ** 20

/** Reads, checks and compiles the scenario at `path`. */
export async function loadScenario(
  path: string, overrides: ScenarioOverrides, loadTrace: LoadTrace,
): Promise<Scenario> {
  return parseScenario(readScenarioText(path), path, overrides, loadTrace)
}

/** As {@link loadScenario}, for text that is already there; `file` names it and locates its traces. */
export async function parseScenario(
  text: string, file: string, overrides: ScenarioOverrides, loadTrace: LoadTrace,
): Promise<Scenario> {
  const source = new YamlSource(file, text)
  const raw = checkSchema(source)
  const traces = await loadTraces(source, raw, loadTrace)
  const name = raw.name ?? basename(file, extname(file))
  return {
    file,
    name,
    question: raw.question,
    lookFor: raw.lookFor === undefined ? [] : [raw.lookFor].flat(),
    ...compileScenario(source, raw, name, overrides, traces),
  }
}

function checkSchema(source: YamlSource): RawScenario {
  const result = scenarioSchema.safeParse(source.tree)
  if (!result.success) throw schemaError(source, result.error.issues)
  return result.data
}

/** The text of a scenario file. Throws a UserError for whatever is not one. */
export function readScenarioText(path: string): string {
  const at = { file: path, line: 1, column: 1 }
  let bytes: Buffer
  try {
    const stat = statSync(path)
    if (stat.isDirectory()) throw new UserError('is a directory, not a scenario file', at)
    // A device may never end (/dev/zero); a pipe does.
    if (stat.isCharacterDevice()) throw new UserError('is a device, not a scenario file', at)
    if (stat.size > MAX_SCENARIO_BYTES) {
      throw new UserError(`is too large for a scenario: ${stat.size} bytes, at most ${MAX_SCENARIO_BYTES}`, at)
    }
    bytes = readFileSync(path)
  } catch (error) {
    if (error instanceof UserError) throw error
    const code = (error as NodeJS.ErrnoException).code ?? String(error)
    const reason = code === 'ENOENT' ? 'no such file' : code === 'EACCES' ? 'permission denied' : code
    throw new UserError(`cannot read the scenario: ${reason}`, at, nearestFile(path))
  }
  try {
    if (bytes.includes(0)) throw new TypeError('NUL')
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new UserError('is not a text file (UTF-8), so it cannot be a scenario', at)
  }
}

/** Loads every trace that a `replay` names, once; the keys are the paths as written. */
async function loadTraces(
  source: YamlSource, raw: RawScenario, loadTrace: LoadTrace,
): Promise<Map<string, TraceRecords>> {
  const traces = new Map<string, TraceRecords>()
  for (const { trace, path } of replays(raw)) {
    if (traces.has(trace)) continue
    const file = isAbsolute(trace) ? trace : join(dirname(source.source.file), trace)
    if (!existsSync(file)) throw source.error(`there is no trace file "${trace}"`, path,
      [...nearestFile(file), 'the path is relative to the scenario file'])
    try {
      traces.set(trace, await loadTrace(file))
    } catch (error) {
      // An error of the trace file itself names that file; say who asked for it.
      if (!(error instanceof UserError)) throw error
      throw source.error(`the trace "${trace}" cannot be read`, path, error.format().split('\n'))
    }
  }
  return traces
}

function* replays(raw: RawScenario): Generator<{ trace: string; path: Path }> {
  for (const [index, process] of raw.processes.entries()) {
    const base: Path = ['processes', index]
    if (process.program) yield* replaysOf(process.program, [...base, 'program'])
    for (const [number, thread] of (process.threads ?? []).entries()) {
      yield* replaysOf(thread.program, [...base, 'threads', number, 'program'])
    }
  }
}

function* replaysOf(program: readonly RawOperation[], path: Path): Generator<{ trace: string; path: Path }> {
  for (const [index, operation] of program.entries()) {
    if (typeof operation === 'string') continue
    const here: Path = [...path, index]
    if (typeof operation.replay === 'string') yield { trace: operation.replay, path: [...here, 'replay'] }
    else if (operation.replay) yield { trace: operation.replay.trace, path: [...here, 'replay', 'trace'] }
    if (operation.repeat) yield* replaysOf(operation.repeat.do, [...here, 'repeat', 'do'])
    if (operation.fork) yield* replaysOf(operation.fork.program, [...here, 'fork', 'program'])
  }
}

/** "did you mean" for a path that does not exist. */
function nearestFile(path: string): string[] {
  try {
    const nearest = nearestName(basename(path), readdirSync(dirname(path) || '.').sort())
    return nearest === undefined ? [] : [`did you mean "${nearest}"?`]
  } catch {
    return [`there is no directory "${dirname(path)}"`]
  }
}
