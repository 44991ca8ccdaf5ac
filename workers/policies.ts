// Task of a pool thread: one workload under one policy (src/study/policy-comparison.ts).

import { runPolicy } from '../src/study/policy-comparison.js'
import type { PolicyOutcome, PolicyTask } from '../src/study/policy-comparison.js'

export default function policies(task: PolicyTask): Promise<PolicyOutcome> {
  return runPolicy(task)
}
