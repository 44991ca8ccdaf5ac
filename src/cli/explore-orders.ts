// `shootdown explore FILE --exhaustive` and `--choices`: every order of steps up to bounds, or one of them.
// What an order is: engine/choices.ts; the search: study/exhaust.ts.

import { UserError } from '../base/errors.js'
import { choicesText, parseChoices, searchOrders } from '../study/exhaust.js'
import type { OrderOutcome, OrderResult, OrderTask } from '../study/exhaust.js'
import type { RunTask } from '../study/seed-search.js'
import { EXIT_DIFFERENT } from './errors.js'
import { commandFor } from './explore-flags.js'
import type { ExploreFlags } from './explore-flags.js'
import type { Progress } from './progress.js'
import { counted, grouped } from './text-table.js'

export interface OrderContext {
  file: string
  flags: ExploreFlags
  task: Omit<OrderTask, 'choices'>
  run: RunTask<OrderTask, OrderOutcome>
  progress: Progress
  signal: AbortSignal
}

/** Runs one order, the one that `--choices` names. */
export async function runChoices({ file, flags, task, run, progress, signal }: OrderContext): Promise<void> {
  const choices = parseChoices(flags.choices ?? '')
  if (typeof choices === 'string') throw new UserError(`--choices ${flags.choices}: ${choices}`)
  const { runs: [one], refused } = await run({ ...task, choices: [choices] })
  progress.done()
  if (signal.aborted) return
  if (refused !== undefined) throw new UserError(refused.message, { file, line: 1, column: 1 }, refused.details)
  const { failure, decisions } = one!
  if ((choices.at(-1) ?? -1) >= decisions) {
    throw new UserError(`--choices ${flags.choices}: the run has decisions 0 to ${decisions - 1} only`)
  }
  print(flags, { file, choices: choicesText(choices), decisions, failure: failure ?? null }, [
    `${file}: ${counted(decisions, 'decision')}, choices ${choicesText(choices) || '(none)'}: `
    + (failure === undefined ? 'nothing failed' : `${failure.kind} ${failure.name}`),
    ...(failure === undefined ? [] : ['', failure.message]),
  ])
  if (failure !== undefined) process.exitCode = EXIT_DIFFERENT
}

/** Runs all orders up to `--depth` decisions and `--max-runs` runs. */
export async function runExhaustive({ file, flags, task, run, progress, signal }: OrderContext): Promise<void> {
  const result = await searchOrders(task, run, {
    maxRuns: flags.maxRuns, depth: flags.depth ?? Infinity, jobs: flags.jobs, signal,
    onProgress: (runs, orders, postponements) => progress.update(() =>
      `${grouped(runs)} runs (at most ${grouped(flags.maxRuns)}), ${grouped(orders)} orders, `
      + counted(postponements, 'postponement')),
  })
  progress.done()
  const { failure, refused } = result
  if (refused !== undefined) throw new UserError(refused.message, { file, line: 1, column: 1 }, refused.details)
  const text = failure === undefined ? '' : choicesText(failure.choices)
  const command = failure === undefined ? undefined
    : `${commandFor({ file, flags }, undefined)} --choices '${text}'`
  const { runs, orders, decisions } = result
  print(flags, {
    file, runs, orders, decisions, isComplete: result.postponements === Infinity,
    postponements: result.postponements === Infinity ? null : result.postponements,
    failure: failure === undefined ? null : { ...failure, choices: text, command },
  }, failure === undefined ? [`${file}: ${verdict(result, flags.depth)}`] : [
    `${file}: order ${grouped(runs)} fails: ${failure.kind} ${failure.name}; choices ${text || '(none)'}`,
    '', failure.message, `again: ${command}`,
  ])
  if (failure !== undefined && !signal.aborted) process.exitCode = EXIT_DIFFERENT
}

/** What was covered, and no more than that. */
function verdict({ runs, orders, decisions, postponements }: OrderResult, depth = Infinity): string {
  const all = counted(decisions, 'decision')
  const upTo = depth < decisions ? `up to ${depth} of ${all}` : `up to ${all}`
  const did = `(${counted(runs, 'run')})`
  if (postponements === Infinity) return `all ${grouped(orders)} orders ${upTo}: no violation ${did}`
  const complete = postponements < 0 ? 'not even the plain order'
    : `complete for at most ${counted(postponements, 'postponement')}`
  return `${grouped(orders)} orders ${upTo}: no violation ${did}; not all: ${complete}`
}

function print(flags: ExploreFlags, json: object, lines: readonly string[]): void {
  process.stdout.write(flags.json ? `${JSON.stringify(json, undefined, 2)}\n` : `${lines.join('\n')}\n`)
}
