// What a bench suite gives to main.ts: rows of medians, each with the work it stands for, so that
// results are rates and ratios within one run and not nanoseconds of one machine.

import { Bench } from 'tinybench'

export interface BenchRow {
  name: string
  medianMs: number
  /** Median distance from the median, as a share of it: how far to trust the row. */
  spread: number
  /** Operations in one run, and their name: `references`. */
  operations: number
  unit: string
  /** Speed relative to a baseline measured in this same run; undefined when there is none. */
  ratio?: number
  /** What the ratio compares with. */
  baseline?: string
  /** More about the row, in words. */
  note?: string
}

export interface BenchSuite {
  name: string
  /** Lines to print above the rows: the input, what was skipped and why. */
  notes: readonly string[]
  rows: readonly BenchRow[]
}

/** The speed of a row as a multiple of that of another of this run, for the same work or for rates of equal units. */
export function against(row: BenchRow, baseline: BenchRow): BenchRow {
  return { ...row, ratio: rateOf(row) / rateOf(baseline), baseline: baseline.name }
}

/** Operations a millisecond. */
export function rateOf({ operations, medianMs }: BenchRow): number {
  return operations / medianMs
}

export interface BenchCase {
  name: string
  /** `run` returns a promise. Said here, because finding out would take a run beside the first one. */
  isAsync?: boolean
  operations: number
  unit: string
  /** Does the work once; returns the milliseconds to count when they are not those of the whole call. */
  run(): number | undefined | Promise<number | undefined>
}

/** Runs every case at least `iterations` times, after a warm-up, and reports medians. */
export async function measure(
  cases: readonly BenchCase[], iterations: number, warmupIterations = 2,
): Promise<BenchRow[]> {
  const bench = new Bench({ iterations, time: 0, warmupIterations, warmupTime: 0, throws: true })
  for (const { name, run, isAsync = false } of cases) {
    const timed = (overriddenDuration: number | undefined) =>
      overriddenDuration === undefined ? undefined : { overriddenDuration }
    bench.add(name, () => {
      const result = run()
      return result instanceof Promise ? result.then(timed) : timed(result)
    }, { async: isAsync })
  }
  await bench.run()
  return cases.map(({ name, operations, unit }) => {
    const result = bench.getTask(name)!.result
    if (result.state !== 'completed') throw new Error(`bench ${name}: ${result.state}`)
    const { p50, mad } = result.latency
    return { name, medianMs: p50, spread: mad / p50, operations, unit }
  })
}

export interface TimerQuality {
  /** The smallest step between two different readings of the clock. */
  stepNs: number
  /** What a reading costs. */
  readNs: number
}

/** How far a difference of two readings of `performance.now()` can be trusted. */
export function timerQuality(): TimerQuality {
  const readings = Float64Array.from({ length: 20_000 }, () => performance.now())
  let stepMs = Infinity
  for (let i = 1; i < readings.length; i++) {
    const step = readings[i]! - readings[i - 1]!
    if (step > 0 && step < stepMs) stepMs = step
  }
  const readMs = (readings.at(-1)! - readings[0]!) / (readings.length - 1)
  return { stepNs: Math.round(stepMs * 1e6), readNs: Math.round(readMs * 1e6) }
}
