// Running the points of a plan, so many at a time, and handing every finished row over as soon as it is there.
// Where a point runs (a thread, another machine) is the caller's business; what a row is does not depend on it.

import { UserError } from '../base/errors.js'
import type { PointOutcome } from './sweep-point.js'
import { parametersText, pointParameters } from './study-plan.js'
import type { StudyPlan } from './study-plan.js'

export interface PointTask {
  plan: StudyPlan
  index: number
  version: string
}

export interface SweepOptions {
  plan: StudyPlan
  /** Points to run. */
  indices: readonly number[]
  version: string
  /** Points at a time. */
  jobs: number
  run: (task: PointTask) => Promise<PointOutcome>
  /** Called with the line of every finished point, in the order in which they finish. */
  onRow: (index: number, line: string) => void
  /** Called instead for a point that cannot be run; without it the sweep stops there. */
  onRefused?: (index: number, text: string) => void
  signal?: AbortSignal
}

/** Runs all `indices`; stops early when `signal` aborts. Rejects at the first point that cannot be run. */
export async function runSweep(options: SweepOptions): Promise<void> {
  const { plan, indices, version, jobs, run, onRow, onRefused, signal } = options
  let next = 0
  let failed = false
  const isStopped = (): boolean => failed || signal?.aborted === true
  const lane = async (): Promise<void> => {
    while (next < indices.length && !isStopped()) {
      const index = indices[next++]!
      try {
        const outcome = await run({ plan, index, version })
        if (isStopped()) return
        const { refused } = outcome
        if (refused === undefined || onRefused === undefined) onRow(index, lineOf(plan, index, outcome))
        else onRefused(index, `${parametersText(pointParameters(plan, index))}: ${refused.message}`)
      } catch (error) {
        if (isStopped()) return
        failed = true
        throw error
      }
    }
  }
  await Promise.all(Array.from({ length: Math.max(1, jobs) }, lane))
}

/** The row, or a UserError for a point whose scenario is refused. */
export function lineOf(plan: StudyPlan, index: number, { line, refused }: PointOutcome): string {
  if (line !== undefined) return line
  const why = refused?.message ?? 'it has no result'
  throw new UserError(`${plan.file}: point ${index} cannot be run: ${why}`, undefined, [
    ...refused?.details ?? [], parametersText(pointParameters(plan, index)),
  ])
}
