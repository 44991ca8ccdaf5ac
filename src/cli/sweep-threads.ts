// Points of a study on threads of this process.

import { EngineError } from '../base/errors.js'
import { runSweep, type SweepOptions } from '../study/sweep.js'
import { openPointPool } from './point-pool.js'

/** As {@link runSweep}, on a pool of `options.jobs` threads. */
export async function runOnThreads(options: Omit<SweepOptions, 'run'>): Promise<void> {
  const pool = openPointPool(options.jobs)
  const { signal = new AbortController().signal } = options
  try {
    await runSweep({
      ...options,
      run: async (task) => {
        try {
          return await pool.run(task, { signal: AbortSignal.any([signal]) })
        } catch (error) {
          throw new EngineError(`point ${task.index} failed: ${error instanceof Error ? error.message : error}`)
        }
      },
    })
  } finally {
    await pool.destroy()
  }
}
