// The `expect:` entries of a scenario as facts to check. An entry is about one thing, a counter,
// an event or a task, and each of them has its own further keys.

import { EVENT_ARGUMENT_PREFIX, type Bounds, type Expectation } from './expect.js'
import type { ScenarioOverrides } from './scenario.js'
import type { RawExpectation } from './schema.js'
import { suggestionLines } from './suggest.js'
import type { Path, YamlSource } from './yaml-source.js'

export function compileExpectation(
  source: YamlSource, raw: RawExpectation, path: Path, taskNames: readonly string[], { events }: ScenarioOverrides,
): Expectation {
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
  if (events) checkEvent(source, raw, path, events)
  const where = Object.entries(raw.where ?? {}).map(([field, value]) => ({ field, value }))
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

function checkEvent(
  source: YamlSource, raw: RawExpectation, path: Path, events: Readonly<Record<string, readonly string[]>>,
): void {
  const fields = events[raw.event!]
  if (!fields) {
    throw source.error(`unknown event "${raw.event}"`, [...path, 'event'],
      suggestionLines(raw.event!, Object.keys(events)))
  }
  const valid = ['cpu', 'task', ...fields, ...fields.map((field) => `${EVENT_ARGUMENT_PREFIX}${field}`)]
  for (const field of Object.keys(raw.where ?? {})) {
    if (valid.includes(field)) continue
    throw source.error(`${raw.event} has no field "${field}"`, [...path, 'where', field],
      suggestionLines(field, ['cpu', 'task', ...fields]), 'key')
  }
}
