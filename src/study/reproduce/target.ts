// A published figure that the simulator has to reproduce: where the numbers come from, which runs measure ours,
// and the rule that says whether they agree. The rules are those of docs/reproduction.md;
// nothing here knows how to make a target pass.

import type { BarChart } from '../plot/bars.js'
import type { Chart } from '../plot/chart.js'

/**
 * How a published number is known: read by us in its source [v], in somebody else's quotation [v2], measured by us
 * [o], from memory [m]. Only the first three can make a target fail.
 */
export type Mark = 'v' | 'v2' | 'o' | 'm'

/** What one run measured, by name. */
export type Values = Readonly<Record<string, number>>

/** One simulation or a few of them: the unit of work of a pool. */
export interface Run {
  /** Unique within its target. */
  key: string
  measure: () => Promise<Values>
}

/** One number against its published one. */
export interface Row {
  label: string
  unit: string
  published?: number
  simulated: number
  accepted?: readonly [low: number, high: number]
  /** Undefined: shown, but no rule says what it must be. */
  ok?: boolean
}

export type Figure = { kind: 'chart'; chart: Chart } | { kind: 'bars'; chart: BarChart }

export interface Judgement {
  rows: readonly Row[]
  figures: readonly Figure[]
}

export type Size = 'full' | 'quick'

export interface Target {
  /** R1 to R15. */
  id: string
  title: string
  /** `show` is drawn only. */
  kind: 'gate' | 'show'
  source: string
  mark: Mark
  machines: readonly string[]
  /** What was measured there, and what stands for it here. */
  setup: string
  /** Which prices were fitted to this target; empty: it is a prediction. */
  fitted: readonly string[]
  /** Where our setup departs from theirs, and parts of the rule that are not checked. */
  departures: readonly string[]
  /** Why it misses, when it does. */
  missReason?: string
  runs: (size: Size) => readonly Run[]
  judge: (results: Results) => Judgement
}

/** What all runs of a target measured. */
export class Results {
  readonly #values: ReadonlyMap<string, Values>

  constructor(values: ReadonlyMap<string, Values>) {
    this.#values = values
  }

  has(key: string): boolean {
    return this.#values.has(key)
  }

  /** Of run `key`; NaN when it did not measure that, so that no rule can hold. */
  get(key: string, name: string): number {
    return this.#values.get(key)?.[name] ?? Number.NaN
  }
}

/** It must be within `percent` of what is published. */
export function within(label: string, unit: string, published: number, simulated: number, percent: number): Row {
  const margin = Math.abs(published) * percent / 100
  return between(label, unit, published, simulated, published - margin, published + margin)
}

/** It must be in a range that the rule gives. */
export function between(
  label: string, unit: string, published: number | undefined, simulated: number, low: number, high: number,
): Row {
  const ok = simulated >= low && simulated <= high
  return { label, unit, ...(published === undefined ? {} : { published }), simulated, accepted: [low, high], ok }
}

/** Shown beside the published number. */
export function shown(label: string, unit: string, published: number | undefined, simulated: number): Row {
  return { label, unit, ...(published === undefined ? {} : { published }), simulated }
}

/** A statement that holds (1) or not (0). */
export function holds(label: string, isTrue: boolean): Row {
  return { label, unit: 'yes or no', published: 1, simulated: isTrue ? 1 : 0, accepted: [1, 1], ok: isTrue }
}

/** Does everything hold that a rule asks for? */
export function passes({ rows }: Judgement): boolean {
  return rows.every(({ ok }) => ok !== false)
}

/** Least-squares line. */
export function fitLine(points: readonly (readonly [x: number, y: number])[]): { slope: number; intercept: number } {
  const n = points.length
  const meanX = points.reduce((sum, [x]) => sum + x, 0) / n
  const meanY = points.reduce((sum, [, y]) => sum + y, 0) / n
  const sxx = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0)
  const sxy = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0)
  const slope = sxy / sxx
  return { slope, intercept: meanY - slope * meanX }
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

/** The value below which a share of the sorted values lies (nearest rank). */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))] ?? Number.NaN
}
