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
}

export interface BenchSuite {
  name: string
  /** Lines to print above the rows: the input, what was skipped and why. */
  notes: readonly string[]
  rows: readonly BenchRow[]
}

export interface BenchCase {
  name: string
  operations: number
  unit: string
  /** Does the work once; returns the milliseconds to count when they are not those of the whole call. */
  run(): number | undefined
}

/** Runs every case at least `iterations` times, after a warm-up, and reports medians. */
export async function measure(cases: readonly BenchCase[], iterations: number): Promise<BenchRow[]> {
  const bench = new Bench({ iterations, time: 0, warmupIterations: 2, warmupTime: 0, throws: true })
  for (const { name, run } of cases) {
    bench.add(name, () => {
      const overriddenDuration = run()
      return overriddenDuration === undefined ? undefined : { overriddenDuration }
    })
  }
  await bench.run()
  return cases.map(({ name, operations, unit }) => {
    const result = bench.getTask(name)!.result
    if (result.state !== 'completed') throw new Error(`bench ${name}: ${result.state}`)
    const { p50, mad } = result.latency
    return { name, medianMs: p50, spread: mad / p50, operations, unit }
  })
}
