// A scenario's run as the exporters get it: trace, header, counter samples.

import { join } from 'node:path'
import { traceHeaderOf } from '../../src/cli/run-trace.js'
import { simulateHere } from '../../src/engine/simulate.js'
import { loadScenario } from '../../src/scenario/parse.js'
import type { TraceSource } from '../../src/trace/formats.js'
import { ROOT } from './cli.js'

export interface TracedRun extends Required<TraceSource> {
  /** Totals over all CPUs. */
  counters: Readonly<Record<string, number>>
  cycle: number
}

/** Runs `scenarios/<name>` with samples on the inline engine. */
export async function tracedRun(name: string): Promise<TracedRun> {
  const { config, image } = await loadScenario(join(ROOT, 'scenarios', name), {}, () => {
    throw new Error('this scenario replays no trace')
  })
  const { result } = await simulateHere(config, image, { samples: true })
  return {
    data: result.trace, header: traceHeaderOf(config), samples: result.samples, counters: result.counters,
    cycle: result.cycle,
  }
}
