// Task of a pool thread: one scenario against its golden trace (src/study/golden-run.ts).

import { runGolden } from '../src/study/golden-run.js'
import type { GoldenOutcome, GoldenTask } from '../src/study/golden-run.js'

export default function golden(task: GoldenTask): Promise<GoldenOutcome> {
  return runGolden(task)
}
