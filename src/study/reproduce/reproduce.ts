// Runs of all targets, spread over a pool, and what comes out: for each target its rows, pass or miss, and figures.

import { UserError } from '../../base/errors.js'
import { underNoise, type RunNoise } from './simulated.js'
import { passes, Results } from './target.js'
import type { Judgement, Run, Size, Target, Values } from './target.js'
import { TARGETS } from './targets.js'

/** What a pool thread is asked for: a run by its place, because functions cannot be sent. */
export interface ReproduceTask {
  target: string
  key: string
  size: Size
  /** Default: every step takes its price. */
  noise?: RunNoise
}

export interface Outcome {
  target: Target
  judgement: Judgement
  /** `shown`: there is no rule, or only a part of the runs was made. */
  verdict: 'pass' | 'miss' | 'shown'
  /** The same rules with noise, a judgement for each seed. */
  noisy?: readonly NoisyJudgement[]
}

export interface NoisyJudgement {
  seed: number
  passes: boolean
  judgement: Judgement
}

/** Published means scatter by 3 to 14 % around a line; single series by 0.2 to 1.5 %. */
export const NOISE_PERCENT = 5

/** Measures one run. */
export async function measureRun({ target, key, size, noise }: ReproduceTask): Promise<Values> {
  const run = targetOf(target).runs(size).find(each => each.key === key)
  if (run === undefined) throw new UserError(`${target} has no run "${key}"`)
  return noise === undefined ? await run.measure() : await underNoise(noise, run.measure)
}

/** All runs of `targets`. */
export function tasksOf(targets: readonly Target[], size: Size): ReproduceTask[] {
  return targets.flatMap(({ id, runs }) => runs(size).map(({ key }: Run) => ({ target: id, key, size })))
}

/** The same runs with noise, once for each seed from 1 to `seeds`. */
export function noisyTasks(tasks: readonly ReproduceTask[], seeds: number): ReproduceTask[] {
  return Array.from({ length: seeds }, (_, i) => i + 1).flatMap((seed) => tasks.map(({ target, key, size }) => (
    { target, key, size, noise: { seed, percent: NOISE_PERCENT } })))
}

/** Adds what {@link noisyTasks} of the same tasks measured, in their order. */
export function judgeNoisy(
  outcomes: readonly Outcome[], noisy: readonly ReproduceTask[], values: readonly Values[],
): Outcome[] {
  const seeds = [...new Set(noisy.map(({ noise }) => noise!.seed))]
  const bySeed = seeds.map((seed) => {
    const at = noisy.flatMap((task, i) => task.noise!.seed === seed ? [i] : [])
    return judge(outcomes.map(({ target }) => target), at.map((i) => noisy[i]!), at.map((i) => values[i]!))
  })
  return outcomes.map((outcome, n) => {
    const judged = seeds.map((seed, s): NoisyJudgement => {
      const { judgement } = bySeed[s]![n]!
      return { seed, passes: passes(judgement), judgement }
    })
    return Object.assign({ noisy: judged }, outcome)
  })
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
