// Task of a pool thread: runs of one scenario under perturbed timing (src/study/explore.ts).

import { runSeeds } from '../src/study/explore.js'
import type { ExploreOutcome, ExploreTask } from '../src/study/explore.js'

export default function explore(task: ExploreTask): Promise<ExploreOutcome> {
  return runSeeds(task)
}
