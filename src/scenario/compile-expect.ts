// The `expect:` entries of a scenario as facts to check. An entry is about one thing, a counter,
// an event or a task, and each of them has its own further keys.
//
// What an event can never say is an error, not a count of zero: `count: 0` with a misspelt reason
// or task would hold for ever.

import { EVENT_ARGUMENT_PREFIX, type Bounds, type Expectation } from './expect.js'
import type { EventFieldKind, EventVocabulary, ScenarioOverrides } from './scenario.js'
import type { RawExpectation } from './schema.js'
import { suggestionLines } from './suggest.js'
import type { Path, YamlSource } from './yaml-source.js'

/** Of every record, whatever its event: the CPU it was made on and the task that ran there. */
const ON_RECORD: readonly string[] = ['cpu', 'task']
const IDLE_TASK = '<idle>'
const NUMBER = /^(?:0[xX][0-9a-fA-F]+|-?[0-9]+)$/

/** What exists in the scenario. */
export interface ExpectationContext {
  taskNames: readonly string[]
  cpus: number
}

export function compileExpectation(
  source: YamlSource, raw: RawExpectation, path: Path, context: ExpectationContext, { events }: ScenarioOverrides,
): Expectation {
  const { taskNames } = context
  const position = source.source.position(source.span(path).start)
  const kinds = (['counter', 'event', 'task'] as const).filter((kind) => raw[kind] !== undefined)
  const [kind] = kinds
  if (kind === undefined || kinds.length > 1) {
    throw source.error('an expectation is about exactly one thing', path, ['expected one of: counter, event, task'])
  }
  const allowed = { counter: ['equals'], event: ['where', 'count'], task: ['outcome'] }[kind]
  if (kind !== 'task') allowed.push('atLeast', 'atMost')
  const stray = Object.keys(raw).find((key) => key !== kind && !allowed.includes(key))
  if (stray !== undefined) {
    throw source.error(`"${stray}" does not go with "${kind}"`, [...path, stray], [`expected: ${allowed.join(', ')}`],
      'key')
  }
  if (kind === 'task') {
    if (!taskNames.includes(raw.task!)) {
      throw source.error(`unknown task "${raw.task}"`, [...path, 'task'], suggestionLines(raw.task!, taskNames))
    }
    if (raw.outcome === undefined) {
      throw source.error('the key "outcome" is missing', path, ['expected how the task ends'])
    }
    return { kind, task: raw.task!, outcome: raw.outcome, position }
  }
  const exact = kind === 'counter' ? raw.equals : raw.count
  const bounds = compileBounds(source, raw, exact, kind === 'event', path)
  if (kind === 'counter') return { kind, counter: raw.counter!, bounds, position }
  const fields = events && knownFields(source, raw, path, events)
  const where = Object.entries(raw.where ?? {}).map(([field, value]) => ({
    field, value: fields ? checkedValue(source, field, value, [...path, 'where', field], fields, context) : value,
  }))
  return { kind, event: raw.event!, where, bounds, position }
}

function compileBounds(
  source: YamlSource, { atLeast, atMost }: RawExpectation, exact: number | undefined, isEvent: boolean, path: Path,
): Bounds {
  const range = atLeast !== undefined || atMost !== undefined
  if (exact !== undefined && range) {
    throw source.error('an exact number and bounds exclude each other', path, ['give one of them'])
  }
  if (exact !== undefined) return { atLeast: exact, atMost: exact }
  if (!range && !isEvent) {
    throw source.error('how much? No bound is given', path, ['expected equals, atLeast or atMost'])
  }
  const bounds = { atLeast: atLeast ?? (range ? 0 : 1), atMost: atMost ?? Infinity }
  if (bounds.atLeast > bounds.atMost) {
    throw source.error(`nothing is at least ${bounds.atLeast} and at most ${bounds.atMost}`, [...path, 'atMost'])
  }
  return bounds
}

/** The fields of the event; throws for one that it does not have. */
function knownFields(
  source: YamlSource, raw: RawExpectation, path: Path, events: EventVocabulary,
): Readonly<Record<string, EventFieldKind>> {
  const fields = events[raw.event!]
  if (!fields) {
    throw source.error(`unknown event "${raw.event}"`, [...path, 'event'],
      suggestionLines(raw.event!, Object.keys(events)))
  }
  for (const field of Object.keys(raw.where ?? {})) {
    if (ON_RECORD.includes(field) || Object.hasOwn(fields, withoutPrefix(field))) continue
    throw source.error(`${raw.event} has no field "${field}"`, [...path, 'where', field],
      suggestionLines(field, [...ON_RECORD, ...Object.keys(fields)]), 'key')
  }
  return fields
}

/** The value to look for; throws for one that the field can never have. */
function checkedValue(
  source: YamlSource, field: string, value: string | number, path: Path,
  fields: Readonly<Record<string, EventFieldKind>>, { taskNames, cpus }: ExpectationContext,
): string | number {
  const kind = ON_RECORD.includes(field) ? field as 'cpu' | 'task' : fields[withoutPrefix(field)]!
  if (typeof kind === 'object') {
    const known = kind.find(({ names }) => names.some((name) => name.toLowerCase() === String(value).toLowerCase()))
    if (known) return known.names[0]!
    const usual = kind.map(({ names }) => names[0]!)
    throw source.error(`"${value}" is no ${field}`, path, suggestionLines(String(value), usual))
  }
  switch (kind) {
    case 'task': {
      const names = [...taskNames, IDLE_TASK]
      if (names.includes(String(value)) || /^swapper\/[0-9]+$/.test(String(value))) return value
      throw source.error(`unknown task "${value}"`, path, suggestionLines(String(value), names))
    }
    case 'cpu':
    case 'number':
      if (typeof value === 'string' && !NUMBER.test(value)) {
        throw source.error(`"${field}" is a number, not "${value}"`, path)
      }
      if (kind === 'cpu' && Number(value) >= cpus) {
        throw source.error(`CPU ${value} does not exist`, path,
          [`the machine has ${cpus} ${cpus === 1 ? 'CPU: 0' : `CPUs: 0 to ${cpus - 1}`}`])
      }
      return value
    default:
      return value
  }
}

function withoutPrefix(field: string): string {
  return field.startsWith(EVENT_ARGUMENT_PREFIX) ? field.slice(EVENT_ARGUMENT_PREFIX.length) : field
}
