// What a report says about a run in words: from the scenario and the result, as the summary on the
// terminal does.

import type { RunResult } from '../engine/result.js'
import type { Recording } from '../inspect/run-recorder.js'
import { nativePolicy } from '../kernel/policies.js'
import type { ExpectationResult } from '../scenario/expect.js'
import type { Scenario } from '../scenario/scenario.js'
import { formatBytes } from '../base/units.js'
import { REPORT_VERSION } from '../page/format.js'
import type { RunMeta } from '../page/format.js'

/** A run and what was found out about it. */
export interface ReportedRun {
  scenario: Scenario
  result: RunResult
  recording: Recording
  expectations: readonly ExpectationResult[]
  /** The command that gives this run again. */
  command: string
}

/** Without what packing finds out by itself. */
export type WrittenMeta = Omit<RunMeta, 'columns' | 'laneCounts' | 'strings' | 'writesEnd' | 'lookStride' | 'reasons'>

export function metaOf({ scenario, result, recording, expectations, command }: ReportedRun): WrittenMeta {
  const { config, name, question, lookFor } = scenario
  const { machine, kernel } = config
  return {
    version: REPORT_VERSION,
    title: name,
    question: question ?? '',
    facts: factsOf(scenario, result),
    lookFor: [...lookFor],
    expectations: expectations.map(({ ok, text }) => ({ ok, text })),
    command,
    era: kernel.era,
    cpus: machine.cpus,
    frequencyGhz: machine.costs.frequencyGhz,
    flightCycles: Math.max(1, machine.costs.ipiWire),
    endCycle: endOf(result),
    tasks: result.tasks.map(({ pid, comm, outcome }) => ({ pid, comm, outcome })),
    mms: recording.mms,
    geometry: { name: machine.geometry, firstKernelSlot: recording.firstKernelSlot },
  }
}

function endOf({ cycle, trace }: RunResult): number {
  return Math.max(1, cycle, trace.cycle[trace.length - 1] ?? 0)
}

function factsOf({ config }: Scenario, result: RunResult): [string, string][] {
  const { machine, kernel, seed } = config
  const { cpus, sockets, costs: { frequencyGhz } } = machine
  const policy = kernel.policy === nativePolicy(kernel.era) ? kernel.era : `${kernel.era}, policy ${kernel.policy}`
  const cycles = String(result.cycle).replace(/\B(?=(\d{3})+$)/g, ',')
  const ends: Readonly<Record<RunResult['end'], string>> = {
    finished: 'every task has ended', until: 'stopped early', stalled: 'STALLED: nothing can move any more',
    running: 'running',
  }
  return [
    ['machine', `${machine.preset}, ${cpus} ${cpus === 1 ? 'CPU' : 'CPUs'}, ${sockets} `
      + `${sockets === 1 ? 'socket' : 'sockets'}, ${frequencyGhz} GHz, ${machine.geometry}, `
      + formatBytes(machine.memoryBytes)],
    ['kernel', `${policy}${kernel.pcid ? ', PCID' : ''}${kernel.pti ? ', page-table isolation' : ''}`],
    ['seed', String(seed)],
    ['end', `${ends[result.end]}, cycle ${cycles} = ${(result.cycle / (frequencyGhz * 1000)).toFixed(2)} µs`],
  ]
}
