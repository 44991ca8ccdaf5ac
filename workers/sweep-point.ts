// Task of a pool thread: one point of a study (src/study/sweep-point.ts).

import { runPoint } from '../src/study/sweep-point.js'
import type { PointOutcome } from '../src/study/sweep-point.js'
import type { PointTask } from '../src/study/sweep.js'

export default function sweepPoint({ plan, index, version }: PointTask): Promise<PointOutcome> {
  return runPoint(plan, index, version)
}
