// The threads that run points of studies, for a sweep of this process and for a worker of a queue.

import { Piscina } from 'piscina'
import type { PointTask } from '../study/sweep.js'
import type { PointOutcome } from '../study/sweep-point.js'

/**
 * How long a thread waits for its next point before it ends, milliseconds. Between two points of a queue a worker
 * has nothing for a moment; a thread that ended then would have to load the program again for every point.
 */
const IDLE_MS = 10_000

/** A pool of at most `jobs` threads, which start when there is something for them. */
export function openPointPool(jobs: number): Piscina<PointTask, PointOutcome> {
  return new Piscina<PointTask, PointOutcome>({
    filename: new URL('../../workers/sweep-point.js', import.meta.url).href, minThreads: 0, maxThreads: jobs,
    idleTimeout: IDLE_MS,
  })
}
