// What "the same bytes" means: one digest over everything that a run leaves behind.

import { createHash } from 'node:crypto'
import { simulate } from '../../src/engine/simulate.js'
import type { SimulateOptions } from '../../src/engine/simulate.js'
import { formatTextTrace } from '../../src/trace/text.js'
import type { RandomRun } from './random-programs.js'

export interface Fingerprint {
  end: string
  cycle: number
  /** Canonical trace text. */
  trace: string
  counters: string
  cpus: string
  tasks: string
  failures: string
  /** SHA-256 of physical memory. */
  memory: string
}

/** Ten times what the longest random program needs: one that never ends fails, instead of the test. */
export const STEPS_MAX = 20_000_000

export async function fingerprint(run: RandomRun, options: SimulateOptions): Promise<Fingerprint> {
  const { result, memory } = await simulate(run.config, run.image, { stepLimit: STEPS_MAX, ...options })
  return {
    end: result.end,
    cycle: result.cycle,
    trace: formatTextTrace(result.trace, {
      scenario: 'x', era: run.config.kernel.era, cpus: 1, seed: 1, frequencyGhz: 1,
    }),
    counters: JSON.stringify(result.counters),
    cpus: JSON.stringify(result.cpus),
    tasks: JSON.stringify(result.tasks),
    failures: result.failures.map(failure => failure.text).join('\n'),
    memory: createHash('sha256').update(memory).digest('hex'),
  }
}
