// The other side of a comparison with a capture: a scenario that is run for it, or a trace that was
// saved, as ftrace text or in the canonical form. Whatever it was, it is compared as a capture.

import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { UserError } from '../base/errors.js'
import type { EngineName } from '../engine/scheduler-loop.js'
import { simulate } from '../engine/simulate.js'
import type { Scenario } from '../scenario/scenario.js'
import { readFtrace } from '../trace/ftrace-parse.js'
import type { FtraceCapture } from '../trace/ftrace-parse.js'
import { formatFtrace } from '../trace/ftrace-text.js'
import type { TraceData } from '../trace/recorder.js'
import type { TraceEra } from '../trace/events.js'
import { readTextTrace } from '../trace/text-file.js'
import { loadCapture } from './capture-file.js'

const CANONICAL = '# shootdown trace'

/** Runs a scenario; its trace as a capture. */
export async function simulatedCapture(
  scenario: Scenario, options: { engine: EngineName; check?: boolean; signal?: AbortSignal },
): Promise<FtraceCapture> {
  const { config, image } = scenario
  const { result } = await simulate(config, image, options)
  if (result.end === 'stalled') {
    const at = { file: scenario.file, line: 1, column: 1 }
    throw new UserError('the scenario stalls, so there is nothing to compare', at, result.stall)
  }
  const { cpus, costs: { frequencyGhz } } = config.machine
  return captureOf(result.trace, { era: config.kernel.era, cpus, frequencyGhz }, scenario.name)
}

/** A trace that `run --trace` saved, in either form. */
export async function savedCapture(file: string): Promise<FtraceCapture> {
  if (/\.(trace|golden)$/.test(file) || isCanonical(file)) {
    const { data, header } = readTextTrace(file)
    return captureOf(data, header, file)
  }
  return loadCapture(file)
}

function captureOf(
  data: TraceData, { era, cpus, frequencyGhz }: { era: TraceEra; cpus: number; frequencyGhz: number }, name: string,
): FtraceCapture {
  return readFtrace(formatFtrace(data, { era, cpus, frequencyGhz }), name)
}

function isCanonical(file: string): boolean {
  try {
    const descriptor = openSync(file, 'r')
    try {
      const first = Buffer.alloc(CANONICAL.length)
      return fstatSync(descriptor).isFile() && readSync(descriptor, first) === first.length
        && first.toString() === CANONICAL
    } finally {
      closeSync(descriptor)
    }
  } catch {
    // loadCapture says what is wrong with it.
    return false
  }
}
