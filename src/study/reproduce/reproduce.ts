// Runs of all targets, spread over a pool, and what comes out: for each target its rows, pass or miss, and figures.

import { UserError } from '../../base/errors.js'
import { passes, Results } from './target.js'
import type { Judgement, Run, Size, Target, Values } from './target.js'
import { TARGETS } from './targets.js'

/** What a pool thread is asked for: a run by its place, because functions cannot be sent. */
export interface ReproduceTask {
  target: string
  key: string
  size: Size
}

export interface Outcome {
  target: Target
  judgement: Judgement
  /** `shown`: there is no rule, or only a part of the runs was made. */
  verdict: 'pass' | 'miss' | 'shown'
}

/** Measures one run. */
export async function measureRun({ target, key, size }: ReproduceTask): Promise<Values> {
  const run = targetOf(target).runs(size).find(each => each.key === key)
  if (run === undefined) throw new UserError(`${target} has no run "${key}"`)
  return await run.measure()
}

/** All runs of `targets`. */
export function tasksOf(targets: readonly Target[], size: Size): ReproduceTask[] {
  return targets.flatMap(({ id, runs }) => runs(size).map(({ key }: Run) => ({ target: id, key, size })))
}

/** Judges what all tasks of {@link tasksOf} measured, in their order. */
export function judge(
  targets: readonly Target[], tasks: readonly ReproduceTask[], values: readonly Values[],
): Outcome[] {
  return targets.map((target) => {
    const own = tasks.flatMap((task, at) => task.target === target.id ? [[task.key, values[at]!] as const] : [])
    const judgement = target.judge(new Results(new Map(own)))
    const verdict = target.kind === 'show' ? 'shown' : passes(judgement) ? 'pass' : 'miss'
    return { target, judgement, verdict }
  })
}

function targetOf(id: string): Target {
  const target = TARGETS.find(each => each.id === id)
  if (target === undefined) throw new UserError(`there is no target ${id}`)
  return target
}
