// Task of a pool thread: one run of one target (src/study/reproduce/reproduce.ts).

import { measureRun } from '../src/study/reproduce/reproduce.js'
import type { ReproduceTask } from '../src/study/reproduce/reproduce.js'
import type { Values } from '../src/study/reproduce/target.js'

export default function reproduce(task: ReproduceTask): Promise<Values> {
  return measureRun(task)
}
