// `expect:` turns a scenario into a test: facts about counters, events and how tasks ended,
// checked after the run. Whoever ran the scenario gathers the facts; this file only compares.
//
// Not here: loads with an expected value. They fail in the run itself (counter failedLoads).

import type { SourcePosition } from '../base/errors.js'
import { unreachable } from '../base/assert.js'

export interface Bounds {
  atLeast: number
  /** Infinity when there is no upper bound. */
  atMost: number
}

export type TaskOutcome = 'exited' | 'SIGSEGV' | 'SIGBUS' | 'SIGKILL'

export type Expectation =
  | { kind: 'counter'; counter: string; bounds: Bounds; position: SourcePosition }
  | { kind: 'event'; event: string; where: readonly FieldMatch[]; bounds: Bounds; position: SourcePosition }
  | { kind: 'task'; task: string; outcome: TaskOutcome; position: SourcePosition }

/** `cpu` and `task` are those of the record; other names, and all after `args.`, are fields of the event. */
export interface FieldMatch {
  field: string
  value: string | number
}

export interface RunEvent {
  event: string
  cpu: number
  task: string
  /** A flush reason is its ftrace text; an address is a number or hexadecimal text. */
  fields: Record<string, string | number>
}

export interface RunFacts {
  counters: Record<string, number>
  events: Iterable<RunEvent>
  outcomes: readonly { comm: string; pid: number; outcome: string }[]
}

export interface ExpectationResult {
  ok: boolean
  /** The expectation in words and, when it failed, what was found instead. */
  text: string
  position: SourcePosition
}

export const EVENT_ARGUMENT_PREFIX = 'args.'

/** One result per expectation, in their order. Events are read once. */
export function checkExpectations(expectations: readonly Expectation[], facts: RunFacts): ExpectationResult[] {
  const eventCounts = countEvents(expectations, facts.events)
  return expectations.map((expectation, index) => {
    switch (expectation.kind) {
      case 'counter': return checkCounter(expectation, facts)
      case 'event': return checkEvent(expectation, eventCounts[index]!)
      case 'task': return checkTask(expectation, facts)
      default: return unreachable(expectation)
    }
  })
}

/** `exactly 3`, `at least 1`, `at most 2`, `1 to 5`. */
export function boundsText({ atLeast, atMost }: Bounds): string {
  if (atLeast === atMost) return `exactly ${atLeast}`
  if (atMost === Infinity) return `at least ${atLeast}`
  return atLeast === 0 ? `at most ${atMost}` : `${atLeast} to ${atMost}`
}

function holds(bounds: Bounds, found: number): boolean {
  return found >= bounds.atLeast && found <= bounds.atMost
}

function checkCounter(expectation: Expectation & { kind: 'counter' }, facts: RunFacts): ExpectationResult {
  const { counter, bounds, position } = expectation
  const found = facts.counters[counter] ?? 0
  const ok = holds(bounds, found)
  return { ok, position, text: `${counter} is ${boundsText(bounds)}${ok ? '' : `, but it is ${found}`}` }
}

function checkEvent(expectation: Expectation & { kind: 'event' }, found: number): ExpectationResult {
  const { event, where, bounds, position } = expectation
  const ok = holds(bounds, found)
  const fields = where.map(({ field, value }) => `${field}=${value}`).join(' ')
  const what = `${boundsText(bounds)} of ${event}${fields === '' ? '' : ` with ${fields}`}`
  return { ok, position, text: `${what}${ok ? '' : `, but there are ${found}`}` }
}

function checkTask(expectation: Expectation & { kind: 'task' }, facts: RunFacts): ExpectationResult {
  const { task, outcome, position } = expectation
  const outcomes = facts.outcomes.filter(({ comm }) => comm === task)
  const others = outcomes.filter((one) => one.outcome !== outcome)
  const ok = outcomes.length > 0 && others.length === 0
  const found = outcomes.length === 0
    ? ', but it never ended'
    : `, but pid ${others[0]?.pid} ended with ${others[0]?.outcome}`
  return { ok, position, text: `task ${task} ends with ${outcome}${ok ? '' : found}` }
}

function countEvents(expectations: readonly Expectation[], events: Iterable<RunEvent>): number[] {
  const counts = expectations.map(() => 0)
  const byName = new Map<string, number[]>()
  for (const [index, expectation] of expectations.entries()) {
    if (expectation.kind !== 'event') continue
    byName.set(expectation.event, [...(byName.get(expectation.event) ?? []), index])
  }
  if (byName.size === 0) return counts
  for (const event of events) {
    for (const index of byName.get(event.event) ?? []) {
      const expectation = expectations[index]!
      if (expectation.kind === 'event' && expectation.where.every((match) => matches(event, match))) counts[index]!++
    }
  }
  return counts
}

function matches(event: RunEvent, { field, value }: FieldMatch): boolean {
  if (field.startsWith(EVENT_ARGUMENT_PREFIX)) {
    return sameValue(event.fields[field.slice(EVENT_ARGUMENT_PREFIX.length)], value)
  }
  if (field === 'cpu') return sameValue(event.cpu, value)
  if (field === 'task') return sameValue(event.task, value)
  return sameValue(event.fields[field], value)
}

/**
 * Numbers match however they are written: 0x1000 in a trace and 4096 in a scenario are the same. Case does not count:
 * the eras spell "remote ipi send" differently, and a scenario should hold for both.
 */
function sameValue(found: string | number | undefined, wanted: string | number): boolean {
  if (found === undefined) return false
  if (String(found).toLowerCase() === String(wanted).toLowerCase()) return true
  const left = toInteger(found)
  return left !== undefined && left === toInteger(wanted)
}

function toInteger(value: string | number): bigint | undefined {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : undefined
  return /^(?:0[xX][0-9a-fA-F]+|-?[0-9]+)$/.test(value) ? BigInt(value) : undefined
}
