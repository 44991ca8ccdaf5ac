// `--json`: one object a run, on one line, for programs. Keys are only ever added; a change of
// meaning raises schemaVersion.

import type { SourcePosition } from '../base/errors.js'
import { hex64 } from '../base/units.js'
import { FLUSH_REASONS } from '../trace/events.js'
import type { Shootdown } from '../trace/summary.js'
import type { RunReport } from './run-report.js'

export const RUN_SCHEMA_VERSION = 1
const SHOOTDOWNS_PER_PIECE = 1000

/** In pieces, because a long run has more shootdowns than one string can hold. */
export function writeRunJson(report: RunReport, write: (piece: string) => void): void {
  const { scenario, engine, result, shootdowns, expectations, failures, incidents, ok, command } = report
  const { machine, kernel, seed } = scenario.config
  const head = JSON.stringify({
    schemaVersion: RUN_SCHEMA_VERSION,
    file: scenario.file,
    name: scenario.name,
    question: scenario.question,
    command,
    engine,
    seed,
    era: kernel.era,
    policy: kernel.policy,
    machine: {
      preset: machine.preset, cpus: machine.cpus, sockets: machine.sockets, geometry: machine.geometry,
      memoryBytes: machine.memoryBytes, frequencyGhz: machine.costs.frequencyGhz,
    },
    end: result.end,
    cycle: result.cycle,
    ok,
    stall: result.stall,
    counters: result.counters,
    cpus: result.cpus,
    tasks: result.tasks,
    expectationsChecked: expectations !== undefined,
    expectations: (expectations ?? []).map(({ ok: holds, text, position }) => placed(position, { ok: holds, text })),
    failures: failures.map(({ text, position }) => placed(position, { text })),
    notes: scenario.notes.map(({ text, position }) => placed(position, { text })),
    signals: incidents.signals.map(({ source, ...rest }) => ({ ...rest, ...source })),
    failedCalls: incidents.failedCalls,
    events: result.trace.length,
  })
  write(`${head.slice(0, -1)},"shootdowns":[`)
  for (let from = 0; from < shootdowns.length; from += SHOOTDOWNS_PER_PIECE) {
    const piece = shootdowns.slice(from, from + SHOOTDOWNS_PER_PIECE).map((one) => JSON.stringify(inWords(one)))
    write(`${from > 0 ? ',' : ''}${piece.join(',')}`)
  }
  write(']}\n')
}

function inWords({ start, local, responders, endCycle, cycles, ...rest }: Shootdown) {
  return {
    ...rest,
    start: hex64(start.hi, start.lo),
    local: local ? { reason: reasonName(local.reason), pages: local.pages } : null,
    responders: responders.map(({ startCycle, ackCycle, reason, ...others }) => ({
      ...others,
      startCycle: startCycle ?? null,
      ackCycle: ackCycle ?? null,
      reason: reason === undefined ? null : reasonName(reason),
    })),
    endCycle: endCycle ?? null,
    cycles: cycles ?? null,
  }
}

function placed<T extends object>({ file, line, column }: SourcePosition, what: T): T & SourcePosition {
  return { ...what, file, line, column }
}

function reasonName(reason: number): string {
  return FLUSH_REASONS[reason]?.name ?? String(reason)
}
