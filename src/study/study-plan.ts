// A study as data: a scenario and the points at which it is run. Which parameters a point has is a pure
// function of the plan and its index, so that any process on any machine can run any point, and a name (the
// hash) tells results of one plan from those of every other.

import { createHash } from 'node:crypto'
import { assert } from '../base/assert.js'
import { applyParameters } from './study-axes.js'
import type { Parameters, Scalar } from './study-axes.js'

export interface Axis {
  readonly field: string
  readonly values: readonly Scalar[]
}

/** Plain data: it travels to threads and, as JSON, to other machines. */
export interface StudyPlan {
  readonly name: string
  readonly question: string
  /** Path of the study; traces of its scenario are looked for beside `scenarioFile`. */
  readonly file: string
  readonly scenarioFile: string
  readonly scenarioText: string
  /** All combinations, the first axis slowest; or, without axes, the list. */
  readonly axes: readonly Axis[]
  readonly list: readonly Parameters[]
  /** Number of points. */
  readonly count: number
  /** Counters of a run that a row has besides the usual ones. */
  readonly measure: readonly string[]
  /** Numbers that a report plots; empty: the usual ones. No result depends on it. */
  readonly show: readonly string[]
  /** What a report calls fields, with their units. No result depends on it. */
  readonly labels: Readonly<Record<string, string>>
  /** 16 hexadecimal digits over everything that decides a result, except the version of the program. */
  readonly hash: string
}

/** Completes a plan. */
export function planOf(parts: Omit<StudyPlan, 'count' | 'hash'>): StudyPlan {
  const count = parts.axes.length === 0 ? parts.list.length
    : parts.axes.reduce((product, { values }) => product * values.length, 1)
  const { scenarioText, axes, list, measure } = parts
  // Blank space before a scenario inside a study only keeps its place; a comment above it must not make it another.
  const text = scenarioText.trimStart()
  const identity = JSON.stringify([text, axes.map(({ field, values }) => [field, values]), list, measure])
  return { ...parts, count, hash: createHash('sha256').update(identity).digest('hex').slice(0, 16) }
}

/** The fields of point `index`, 0 to count - 1. */
export function pointParameters(plan: StudyPlan, index: number): Parameters {
  assert(Number.isInteger(index) && index >= 0 && index < plan.count, `point ${index} of ${plan.count}`)
  if (plan.axes.length === 0) return plan.list[index]!
  const fields: [string, Scalar][] = []
  let rest = index
  for (const { field, values } of plan.axes.toReversed()) {
    fields.push([field, values[rest % values.length]!])
    rest = Math.floor(rest / values.length)
  }
  return Object.fromEntries(fields.reverse())
}

/** The scenario file of point `index`. */
export function pointText(plan: StudyPlan, index: number): string {
  return applyParameters(plan.scenarioText, pointParameters(plan, index))
}

/** `cpus=4 policy=linux-6.x` */
export function parametersText(parameters: Parameters): string {
  return Object.entries(parameters).map(([field, value]) => `${field}=${value}`).join(' ')
}
