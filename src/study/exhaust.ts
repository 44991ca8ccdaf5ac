// Every order of the steps of a small scenario, up to bounds: a search over sets of decisions
// (engine/choices.ts) at which the CPU that is next is put off. Runs start from the prices as they are; a set
// is followed by the sets that put off one later decision more, so that each is run once, those
// with fewer separate postponements first.
//
// Orders that differ only where nobody could notice count as one: a run whose signature has been seen is not
// followed any further.

import { UserError } from '../base/errors.js'
import { ChosenOrder } from '../engine/choices.js'
import { parseScenario } from '../scenario/parse.js'
import { loadTrace } from '../scenario/trace-file.js'
import { EVENT_VOCABULARY } from '../trace/vocabulary.js'
import { failureOf } from './explore.js'
import type { ExploreTask, Failure } from './explore.js'
import { inOrder } from './seed-search.js'
import type { RunTask } from './seed-search.js'

/** Sets of decisions, each in ascending order. */
export type Choices = readonly number[]

export interface OrderTask extends Pick<ExploreTask, 'text' | 'file' | 'overrides' | 'expectations'> {
  choices: readonly Choices[]
}

export interface OrderRun {
  signature: string
  /** Decisions of the run. */
  decisions: number
  /** Decisions after the last chosen one at which another choice gives another order. */
  next: number[]
  failure?: Failure
}

export interface OrderOutcome {
  runs: OrderRun[]
  refused?: { message: string; details: readonly string[] }
}

export interface OrderSearch {
  maxRuns: number
  /** Only the first so many decisions are choices. */
  depth: number
  jobs: number
  signal?: AbortSignal
  onProgress?: (runs: number, orders: number, postponements: number) => void
}

export interface OrderResult {
  runs: number
  /** Different orders among them. */
  orders: number
  /** Most decisions of a run. */
  decisions: number
  /** All sets with up to so many postponements were run; Infinity: all sets. */
  postponements: number
  failure?: Failure & { choices: Choices }
  refused?: { message: string; details: readonly string[] }
}

const MAX_STEPS = 300_000
const SETS_PER_TASK = 8
/** Sets that are run before the sets that follow from them are known. */
const SETS_AT_ONCE = 64

/** The unit of work in the pool. */
export async function runOrders(task: OrderTask): Promise<OrderOutcome> {
  const outcome: OrderOutcome = { runs: [] }
  try {
    const scenario = await parseScenario(
      task.text, task.file, { ...task.overrides, events: EVENT_VOCABULARY }, loadTrace)
    for (const choices of task.choices) {
      const order = new ChosenOrder(choices)
      const failure = await failureOf(scenario, 0, task.expectations, { order, stepLimit: MAX_STEPS })
      const last = choices.at(-1) ?? -1
      outcome.runs.push({
        signature: order.signature, decisions: order.decisions, next: order.eligible.filter(at => at > last),
        ...(failure === undefined ? {} : { failure }),
      })
      if (failure !== undefined) break
    }
  } catch (error) {
    if (!(error instanceof UserError)) throw error
    outcome.refused = { message: error.message, details: error.details }
  }
  return outcome
}

/** Runs orders until all are done, one fails, or the runs are used up. */
export async function searchOrders(
  task: Omit<OrderTask, 'choices'>, run: RunTask<OrderTask, OrderOutcome>, search: OrderSearch,
): Promise<OrderResult> {
  const { maxRuns, depth, signal, onProgress } = search
  const seen = new Set<string>()
  // Sets to be run, by their number of postponements.
  const waiting: Choices[][] = [[[]]]
  const result: OrderResult = { runs: 0, orders: 0, decisions: 0, postponements: -1 }
  for (;;) {
    const level = waiting.findIndex(sets => sets.length > 0)
    if (level < 0) return { ...result, postponements: Infinity }
    result.postponements = level - 1
    if (result.runs >= maxRuns || signal?.aborted === true) return result
    const sets = waiting[level]!.splice(0, Math.min(SETS_AT_ONCE, maxRuns - result.runs))
    for (const [index, one] of (await runSets(task, run, sets, search)).entries()) {
      if ('refused' in one) return { ...result, refused: one.refused }
      result.runs += 1
      result.decisions = Math.max(result.decisions, one.decisions)
      const choices = sets[index]!
      if (one.failure !== undefined) return { ...result, failure: { ...one.failure, choices } }
      if (seen.has(one.signature)) continue
      seen.add(one.signature)
      for (const at of one.next) {
        if (at >= depth) continue
        const next = at === (choices.at(-1) ?? -2) + 1 ? level : level + 1
        ;(waiting[next] ??= []).push([...choices, at])
      }
    }
    result.orders = seen.size
    onProgress?.(result.runs, result.orders, level)
  }
}

/** Runs of `sets` in their order, up to the first that fails; fewer when the search is interrupted. */
async function runSets(
  task: Omit<OrderTask, 'choices'>, run: RunTask<OrderTask, OrderOutcome>, sets: readonly Choices[],
  { jobs, signal }: OrderSearch,
): Promise<(OrderRun | { refused: NonNullable<OrderOutcome['refused']> })[]> {
  const runs: (OrderRun | { refused: NonNullable<OrderOutcome['refused']> })[] = []
  const part = (index: number): Promise<OrderOutcome> => run({
    ...task, choices: sets.slice(index * SETS_PER_TASK, (index + 1) * SETS_PER_TASK),
  })
  for await (const outcome of inOrder(Math.ceil(sets.length / SETS_PER_TASK), jobs + 1, part, signal)) {
    runs.push(...outcome.runs)
    if (outcome.refused !== undefined) runs.push({ refused: outcome.refused })
    if (outcome.refused !== undefined || outcome.runs.at(-1)?.failure !== undefined) break
  }
  return runs
}

/** `12x3,40`: decisions 12, 13, 14 and 40. Empty: none. */
export function choicesText(choices: Choices): string {
  const parts: { from: number; count: number }[] = []
  for (const at of choices) {
    const last = parts.at(-1)
    if (last !== undefined && last.from + last.count === at) last.count += 1
    else parts.push({ from: at, count: 1 })
  }
  return parts.map(({ from, count }) => (count === 1 ? `${from}` : `${from}x${count}`)).join(',')
}

/** The other way round; a text says what is wrong with it. */
export function parseChoices(text: string): Choices | string {
  const choices: number[] = []
  let column = 1
  for (const part of text === '' ? [] : text.split(',')) {
    const match = /^(\d{1,9})(?:x(\d{1,6}))?$/.exec(part)
    const from = Number(match?.[1])
    const count = Number(match?.[2] ?? 1)
    const last = choices.at(-1) ?? -1
    const where = `column ${column}:`
    if (match === null || count === 0) return `${where} expected a decision such as 12 or 12x3, found "${part}"`
    if (from <= last) return `${where} decisions must ascend, but ${from} comes after ${last}`
    for (let at = from; at < from + count; at++) choices.push(at)
    column += part.length + 1
  }
  return choices
}
