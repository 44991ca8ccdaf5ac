// Task of a pool thread: one scenario against its golden trace (src/study/golden-run.ts).

import { Cluster } from '../src/engine/cluster.js'
import { runGolden } from '../src/study/golden-run.js'
import type { GoldenOutcome, GoldenTask } from '../src/study/golden-run.js'

/** Threads of the threads engine, started by the first scenario that needs them and kept for the next. */
const cluster = new Cluster()

export default function golden(task: GoldenTask): Promise<GoldenOutcome> {
  return runGolden(task, cluster)
}
