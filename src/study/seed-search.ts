// Many seeds of one scenario over a pool: batches are started ahead and taken in order, so that the
// answer (which seed is the first to fail, how many were run) does not depend on how many threads
// there are or which of them is fast.

import type { ExploreOutcome, ExploreTask, Failure } from './explore.js'

/** Runs a task somewhere. */
export type RunTask<Task, Outcome> = (task: Task) => Promise<Outcome>

/** What all seeds of a search have in common. */
export type SeedTask = Omit<ExploreTask, 'seeds' | 'bail' | 'wanted' | 'plainMustPass'>

export interface SearchOptions {
  first: number
  count: number
  /** Stop at the first failure. */
  bail: boolean
  /** Tasks at a time. */
  jobs: number
  signal?: AbortSignal
  onProgress?: (runs: number, failures: readonly Failure[]) => void
}

export interface SearchResult extends ExploreOutcome {
  /** Every seed was run, or the search stopped at a failure as it was told. */
  isComplete: boolean
}

const SEEDS_PER_TASK = 20
/** Tasks started ahead of the one that is waited for, for each job. */
const TASKS_AHEAD = 2

/** Runs seeds [first, first + count) of `task`. Stops early, with what it has, when `signal` aborts. */
export async function searchSeeds(
  task: SeedTask, run: RunTask<ExploreTask, ExploreOutcome>, options: SearchOptions,
): Promise<SearchResult> {
  const { first, count, bail, jobs, signal, onProgress } = options
  const result: SearchResult = { runs: 0, failures: [], isComplete: false }
  const batches = Math.ceil(count / SEEDS_PER_TASK)
  const seedsOf = (batch: number): number[] => {
    const from = first + batch * SEEDS_PER_TASK
    return Array.from({ length: Math.min(SEEDS_PER_TASK, first + count - from) }, (_, index) => from + index)
  }
  const start = (batch: number): Promise<ExploreOutcome> => (
    run({ ...task, seeds: seedsOf(batch), bail, wanted: '', plainMustPass: false }))
  for await (const outcome of inOrder(batches, jobs * TASKS_AHEAD, start, signal)) {
    result.runs += outcome.runs
    result.failures.push(...outcome.failures)
    onProgress?.(result.runs, result.failures)
    if (outcome.refused !== undefined) return { ...result, refused: outcome.refused }
    if (bail && result.failures.length > 0) break
  }
  result.isComplete = signal?.aborted !== true
  return result
}

/** Results of `start(0)`, `start(1)`, ... in this order, `ahead` of them under way. Ends when `signal` aborts. */
export async function* inOrder<Result>(
  count: number, ahead: number, start: (index: number) => Promise<Result>, signal?: AbortSignal,
): AsyncGenerator<Result, void, void> {
  const running: Promise<Result>[] = []
  let onAbort = (): void => undefined
  const aborted = new Promise<undefined>((resolve) => {
    onAbort = () => resolve(undefined)
  })
  signal?.addEventListener('abort', onAbort)
  try {
    for (let index = 0; index < count || running.length > 0;) {
      while (index < count && running.length < ahead) {
        const one = start(index++)
        // Whoever stops listening does not want to hear of its failure.
        one.catch(() => undefined)
        running.push(one)
      }
      if (signal?.aborted === true) return
      const finished = running.shift()!.then(value => ({ value }))
      // Taking the thread down rejects it; by then the race is over.
      finished.catch(() => undefined)
      const next = await Promise.race([finished, aborted])
      if (next === undefined) return
      yield next.value
    }
  } finally {
    signal?.removeEventListener('abort', onAbort)
  }
}
