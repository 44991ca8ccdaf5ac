// A study file (YAML) to a plan: schema, ranges, the scenario, and a look at every value of every field, so
// that a mistake is found, with its place, before anything runs.

import { basename, dirname, isAbsolute, join } from 'node:path'
import { z } from 'zod'
import { UserError } from '../base/errors.js'
import { grouped } from '../base/table.js'
import { POLICY_NAMES } from '../kernel/policies.js'
import { COUNTER_NAMES } from '../kernel/counters.js'
import { MACHINE_PRESETS } from '../machine/presets.js'
import { keys, oneOf, some, text, wants } from '../scenario/fields.js'
import { parseScenario, readScenarioText } from '../scenario/parse.js'
import { schemaError } from '../scenario/schema-errors.js'
import { suggestionLines } from '../scenario/suggest.js'
import { loadTrace } from '../scenario/trace-file.js'
import { YamlSource, type Path } from '../scenario/yaml-source.js'
import { INITIATOR_PHASES } from '../trace/flush-phases.js'
import { EVENT_VOCABULARY } from '../trace/vocabulary.js'
import { loadSchedule } from './schedule-scenario.js'
import { applyParameters, SHORT_NAMES } from './study-axes.js'
import { parametersText, planOf, pointParameters, pointText } from './study-plan.js'
import type { Axis, StudyPlan } from './study-plan.js'

/** More would be years of work, or a mistake. */
export const MAX_POINTS = 1_000_000
/** Values of a field that are tried before a sweep; a longer range is tried at both ends. */
const VALUES_TRIED = 64

const scalar = z.union([z.number(), z.string(), z.boolean()], wants('a number, text, true or false'))
const number = z.number(wants('a number'))
const range = keys({
  from: number.describe('First value.'),
  to: number.describe('Last value; it is included when a step ends there.'),
  step: number.positive(wants('a step above 0')).optional().describe('Difference between values. Default: 1.'),
  times: number.gt(1, wants('a factor above 1')).optional()
    .describe('Each value is so many times the one before, rounded; instead of step.'),
})
/** Numbers of every row. */
const METRIC_NAMES = [
  'cycles', 'flushes', 'latencyMean', 'latencyMin', 'latencyP50', 'latencyP90', 'latencyP99', 'latencyMax', 'calls',
  'callMean', 'callP99', 'ipisAvoided', 'irqCycles', 'handlerCycles', 'walkCycles',
  ...INITIATOR_PHASES.map((phase) => `${phase}Cycles`), ...COUNTER_NAMES,
]
const EVERYTHING: Readonly<Record<string, readonly string[]>> = {
  policy: POLICY_NAMES, machine: Object.keys(MACHINE_PRESETS),
}
const values = z.union([some(scalar, 'values'), range, z.literal('all')],
  wants('a list of values, a range {from, to}, or (for policy and machine) all'))

const fieldsOf = <Value extends z.ZodType>(value: Value) =>
  z.record(z.string(), value, wants('a map of fields to values'))
    .refine((map) => Object.keys(map).length > 0, { error: 'no field is varied' })

export const studySchema = keys({
  study: text.optional().describe('Name of the study. Default: the file name.'),
  question: text.optional().describe('What the study asks.'),
  scenario: z.union([text, z.record(z.string(), z.unknown())], wants('the path of a scenario, or a scenario'))
    .describe('The scenario that is run: a path relative to the study, or the scenario itself.'),
  vary: fieldsOf(values).optional().describe('Fields and their values; every combination is a point.'),
  points: some(fieldsOf(scalar), 'points').optional().describe('The points themselves, instead of `vary`.'),
  measure: some(oneOf('counter', COUNTER_NAMES), 'counters').optional()
    .describe('Counters that results have besides the usual ones.'),
  show: some(oneOf('number of results', METRIC_NAMES), 'numbers').optional()
    .describe('Numbers that the report plots. Default: latencyMean and cycles.'),
  labels: z.record(z.string(), text, wants('a map of fields to texts')).optional()
    .describe('What the report calls fields, with their units: {work: working set (pages)}.'),
})
type RawStudy = z.infer<typeof studySchema>

/** Reads and checks the study at `path`. */
export async function loadStudy(path: string): Promise<StudyPlan> {
  return parseStudy(readScenarioText(path, 'study'), path)
}

/** As {@link loadStudy}, for text that is there already. */
export async function parseStudy(studyText: string, file: string): Promise<StudyPlan> {
  const source = new YamlSource(file, studyText)
  const parsed = studySchema.safeParse(source.tree)
  if (!parsed.success) throw schemaError(source, parsed.error.issues)
  const raw = parsed.data
  if ((raw.vary === undefined) === (raw.points === undefined)) {
    throw source.error(raw.vary === undefined ? 'the study has no points' : '"vary" and "points" exclude each other',
      raw.vary === undefined ? [] : ['points'], ['expected "vary:" for all combinations, or "points:" for a list'],
      'key')
  }
  const axes = axesOf(source, raw)
  const count = raw.points?.length ?? axes.reduce((product, { values: each }) => product * each.length, 1)
  if (count > MAX_POINTS) throw tooMany(source, raw, axes, count)
  const { scenarioFile, scenarioText } = scenarioOf(source, raw, file)
  const plan = planOf({
    name: raw.study ?? basename(file).replace(/(\.study)?\.ya?ml$/, ''), question: raw.question ?? '', file,
    scenarioFile, scenarioText, axes, list: raw.points ?? [], measure: raw.measure ?? [],
    show: raw.show ?? [], labels: labelsOf(source, raw),
  })
  await tryPoints(source, raw, plan)
  return plan
}

function axesOf(source: YamlSource, raw: RawStudy): Axis[] {
  return Object.entries(raw.vary ?? {}).map(([field, given]): Axis => {
    const path = ['vary', field]
    if (given === 'all') {
      const all = EVERYTHING[field]
      if (all === undefined) {
        throw source.error(`"all" is for ${Object.keys(EVERYTHING).join(' and ')}`, path,
          ['expected a list or a range'])
      }
      return { field, values: all }
    }
    if (!Array.isArray(given)) return { field, values: rangeValues(source, given, path) }
    for (const [index, value] of given.entries()) {
      if (given.indexOf(value) < index) throw source.error(`${value} is in the list twice`, [...path, index])
    }
    return { field, values: given }
  })
}

function labelsOf(source: YamlSource, raw: RawStudy): Record<string, string> {
  const fields = [...new Set([...Object.keys(raw.vary ?? {}), ...(raw.points ?? []).flatMap(Object.keys)])]
  for (const field of Object.keys(raw.labels ?? {})) {
    if (!fields.includes(field)) {
      throw source.error(`"${field}" is not varied`, ['labels', field], suggestionLines(field, fields), 'key')
    }
  }
  return raw.labels ?? {}
}

function rangeValues(source: YamlSource, given: z.infer<typeof range>, path: Path): number[] {
  const { from, to, step, times } = given
  if (step !== undefined && times !== undefined) {
    throw source.error('step and times exclude each other', [...path, 'times'], ['give one of them'], 'key')
  }
  if (to < from) throw source.error(`the range is empty: it ends at ${to} and begins at ${from}`, path)
  if (times !== undefined && from <= 0) throw source.error('a range by factors begins above 0', [...path, 'from'])
  const length = times === undefined ? Math.floor((to - from) / (step ?? 1) + 1e-9) + 1
    : Math.floor(Math.log(to / from) / Math.log(times) + 1e-9) + 1
  if (length > MAX_POINTS) {
    const most = `a study at most ${grouped(MAX_POINTS)} points`
    throw source.error(`the range has ${grouped(length)} values, and ${most}`, path)
  }
  const nth = (i: number): number => times === undefined ? Number((from + i * (step ?? 1)).toPrecision(12))
    : Math.round(from * times ** i)
  return [...new Set(Array.from({ length }, (_, i) => nth(i)))]
}

function tooMany(source: YamlSource, raw: RawStudy, axes: readonly Axis[], count: number): UserError {
  const product = axes.map(({ field, values: each }) => `${grouped(each.length)} of ${field}`).join(' x ')
  return source.error(`the study has ${grouped(count)} points, and at most ${grouped(MAX_POINTS)} are run`,
    raw.vary === undefined ? ['points'] : ['vary'], product === '' ? [] : [product])
}

/**
 * The scenario's text. One that is written inside the study keeps its place: everything around it is blanked out,
 * so that messages about it have the line and column of the study.
 */
function scenarioOf(source: YamlSource, raw: RawStudy, file: string): { scenarioFile: string; scenarioText: string } {
  if (typeof raw.scenario === 'string') {
    const path = isAbsolute(raw.scenario) ? raw.scenario : join(dirname(file), raw.scenario)
    try {
      return { scenarioFile: path, scenarioText: readScenarioText(path) }
    } catch (error) {
      if (!(error instanceof UserError)) throw error
      throw source.error(`the scenario "${raw.scenario}" cannot be read`, ['scenario'],
        [...error.format().split('\n'), 'the path is relative to the study file'])
    }
  }
  const { start, end } = source.wholeSpan(['scenario'])
  const whole = source.source.text
  const blank = (part: string): string => part.replace(/[^\n]/g, ' ')
  return { scenarioFile: file, scenarioText: blank(whole.slice(0, start)) + whole.slice(start, end) }
}

/** Compiles the first point, then points that differ from it in one value each. */
async function tryPoints(source: YamlSource, raw: RawStudy, plan: StudyPlan): Promise<void> {
  await tryFirst(source, plan)
  if (plan.axes.length === 0) {
    for (const index of tried(plan.count)) await tryPoint(source, plan, index, ['points', index])
    return
  }
  let stride = plan.count
  for (const { field, values: each } of plan.axes) {
    stride /= each.length
    const path: Path = ['vary', field]
    for (const at of tried(each.length)) {
      await tryPoint(source, plan, at * stride, Array.isArray(raw.vary?.[field]) ? [...path, at] : path)
    }
  }
}

/** The values behind the first, and the last one. */
function tried(length: number): number[] {
  const first = Array.from({ length: Math.max(0, Math.min(length, VALUES_TRIED) - 1) }, (_, index) => index + 1)
  return length > VALUES_TRIED ? [...first, length - 1] : first
}

async function tryPoint(source: YamlSource, plan: StudyPlan, index: number, path: Path): Promise<void> {
  try {
    await parsePoint(pointText(plan, index), plan.scenarioFile)
  } catch (error) {
    throw atField(source, error, path, 'value', `at point ${index}: ${parametersText(pointParameters(plan, index))}`)
  }
}

/** Sets the fields of the first point one after the other: the last one without which all is well is to blame. */
async function tryFirst(source: YamlSource, plan: StudyPlan): Promise<void> {
  const fields = Object.entries(pointParameters(plan, 0))
  let blamed: { error: unknown; count: number } | undefined
  for (let count = fields.length; count >= 0; count--) {
    try {
      const given = Object.fromEntries(fields.slice(0, count))
      await parsePoint(count === 0 ? plan.scenarioText : applyParameters(plan.scenarioText, given), plan.scenarioFile)
      break
    } catch (error) {
      blamed = { error, count }
    }
  }
  if (blamed === undefined) return
  // Wrong without the study: the message belongs to the scenario.
  if (blamed.count === 0) throw blamed.error
  const path = plan.axes.length === 0 ? ['points', 0] : ['vary']
  throw atField(source, blamed.error, [...path, fields[blamed.count - 1]![0]], 'key',
    `at point 0: ${parametersText(pointParameters(plan, 0))}`)
}

/** What the scenario of a point does not accept, told at the place in the study that made it so. */
function atField(source: YamlSource, error: unknown, path: Path, part: 'key' | 'value', where: string): unknown {
  if (!(error instanceof UserError)) return error
  const details = error.details.filter((line) => !/^\s*\d* \| /.test(line))
  return source.error(error.message, path, [...details, where], part)
}

/** A scenario as a sweep runs it. */
export function parsePoint(scenarioText: string, file: string): ReturnType<typeof parseScenario> {
  return parseScenario(scenarioText, file, { events: EVENT_VOCABULARY, loadSchedule }, loadTrace)
}

/** Names that a study can vary without an anchor or a path, for help texts. */
export const FIELD_NAMES: readonly string[] = Object.keys(SHORT_NAMES)
