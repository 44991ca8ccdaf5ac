// From a scenario file to a typed scenario: read, YAML, schema, traces, compile. Each step throws
// a UserError with file, line and column at the first thing it cannot accept, and nothing is
// written anywhere, so a bad scenario leaves no traces behind.

import { closeSync, existsSync, openSync, readdirSync, readSync, statSync } from 'node:fs'
import { basename, dirname, extname, isAbsolute, join } from 'node:path'
import { UserError } from '../base/errors.js'
import type { TraceRecords } from '../kernel/abi.js'
import { compileScenario } from './compile.js'
import type { CapturedSchedule, LoadTrace, Scenario, ScenarioOverrides } from './scenario.js'
import type { RawOperation } from './schema-operations.js'
import { scenarioSchema, type RawScenario } from './schema.js'
import { schemaError } from './schema-errors.js'
import { nearestName } from './suggest.js'
import { YamlSource, type Path } from './yaml-source.js'

export type { LoadTrace, Scenario, ScenarioOverrides } from './scenario.js'

/** A scenario is written by hand: a bigger file is something else. */
export const MAX_SCENARIO_BYTES = 4 * 2 ** 20

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  ENOTDIR: 'a part of the path is not a folder',
  EACCES: 'permission denied',
  ELOOP: 'its symbolic links lead in a circle',
}

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
  const schedule = await loadSchedule(source, raw, overrides)
  const name = raw.name ?? basename(file, extname(file))
  return {
    file,
    name,
    question: raw.question,
    lookFor: raw.lookFor === undefined ? [] : [raw.lookFor].flat(),
    ...compileScenario(source, raw, name, overrides, traces, schedule),
  }
}

function checkSchema(source: YamlSource): RawScenario {
  const result = scenarioSchema.safeParse(source.tree)
  if (!result.success) throw schemaError(source, result.error.issues)
  return result.data
}

/** The text of a scenario file. Throws a UserError for whatever is not one. */
export function readScenarioText(path: string, what: 'scenario' | 'study' = 'scenario'): string {
  const at = { file: path, line: 1, column: 1 }
  let bytes: Buffer
  try {
    const stat = statSync(path)
    if (stat.isDirectory()) throw new UserError(`this is a directory, not a ${what} file`, at)
    // A device may never end (/dev/zero). A named pipe may never begin, and waiting for it would not hear Ctrl-C;
    // those that a shell opens for us (`<(...)`, /dev/stdin) have somebody at the other end.
    if (stat.isCharacterDevice()) throw new UserError(`this is a device, not a ${what} file`, at)
    if (stat.isFIFO() && !/^\/(dev|proc)\//.test(path)) {
      throw new UserError(`this is a named pipe, not a ${what} file`, at, ['to read a pipe give /dev/stdin'])
    }
    if (stat.size > MAX_SCENARIO_BYTES) {
      throw new UserError(`this is too large for a ${what}: ${stat.size} bytes, at most ${MAX_SCENARIO_BYTES}`, at)
    }
    bytes = readAtMost(path, MAX_SCENARIO_BYTES + 1)
    if (bytes.length > MAX_SCENARIO_BYTES) {
      throw new UserError(`this is too large for a ${what}: more than ${MAX_SCENARIO_BYTES} bytes`, at)
    }
  } catch (error) {
    if (error instanceof UserError) throw error
    const code = (error as NodeJS.ErrnoException).code ?? String(error)
    const details = code === 'ENOENT' || code === 'ENOTDIR' ? nearestFile(path) : []
    throw new UserError(`cannot read the ${what}: ${REASONS[code] ?? code}`, at, details)
  }
  try {
    if (bytes.includes(0)) throw new TypeError('NUL')
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new UserError('this is not text in UTF-8, so it cannot be a scenario', at)
  }
}

/** A pipe does not say beforehand how much will come. */
function readAtMost(path: string, limit: number): Buffer {
  const descriptor = openSync(path, 'r')
  try {
    const buffer = Buffer.alloc(limit)
    let length = 0
    for (;;) {
      const read = readSync(descriptor, buffer, length, limit - length, null)
      length += read
      if (read === 0 || length === limit) return buffer.subarray(0, length)
    }
  } finally {
    closeSync(descriptor)
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

/** Reads the capture that `schedule:` names. */
async function loadSchedule(
  source: YamlSource, raw: RawScenario, overrides: ScenarioOverrides,
): Promise<CapturedSchedule | undefined> {
  if (raw.schedule === undefined) return undefined
  const path: Path = typeof raw.schedule === 'string' ? ['schedule'] : ['schedule', 'trace']
  const trace = typeof raw.schedule === 'string' ? raw.schedule : raw.schedule.trace
  if (overrides.loadSchedule === undefined) throw source.error('this command cannot replay a captured schedule', path)
  const file = isAbsolute(trace) ? trace : join(dirname(source.source.file), trace)
  if (!existsSync(file)) throw source.error(`there is no capture "${trace}"`, path,
    [...nearestFile(file), 'the path is relative to the scenario file'])
  try {
    return await overrides.loadSchedule(file)
  } catch (error) {
    if (!(error instanceof UserError)) throw error
    throw source.error(`the capture "${trace}" cannot be read`, path, error.format().split('\n'))
  }
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
    for (const key of ['fork', 'clone', 'vfork', 'execve'] as const) {
      const body = operation[key]
      if (body) yield* replaysOf(body.program, [...here, key, 'program'])
    }
  }
}

/** "did you mean" for a path that does not exist. */
function nearestFile(path: string): string[] {
  try {
    const names = readdirSync(dirname(path) || '.').sort()
    if (names.includes(basename(path))) return ['it is a symbolic link to a file that does not exist']
    const nearest = nearestName(basename(path), names)
    return nearest === undefined ? [] : [`did you mean "${nearest}"?`]
  } catch {
    return [`there is no directory "${dirname(path)}"`]
  }
}
