// `replay`: a part of a recorded memory trace, checked against the trace's length and the machine's
// addresses. Decoding the file is trace-file.ts.

import type { ReplayInstruction, SourceLine } from '../kernel/abi.js'
import type { ProgramSet, TaskContext } from './compile-context.js'
import type { RawOperation } from './schema-operations.js'
import type { Path } from './yaml-source.js'

type RawReplay = NonNullable<Exclude<RawOperation, string>['replay']>

export function compileReplay(
  set: ProgramSet, task: TaskContext, raw: RawReplay, at: SourceLine, path: Path,
): ReplayInstruction {
  const { source, space, names } = set
  const options = typeof raw === 'string' ? { trace: raw } : raw
  const records = set.traces.get(options.trace)!
  const from = options.from ?? 0
  if (from >= records.records) {
    throw source.error(`the trace has ${records.records} records, so it has no record ${from}`, [...path, 'from'])
  }
  const count = options.count ?? records.records - from
  if (from + count > records.records) {
    throw source.error(`the trace has only ${records.records - from} records from ${from} on`, [...path, 'count'])
  }
  for (const { start, end } of records.ranges) {
    const first = (BigInt(start.hi) << 32n) | BigInt(start.lo)
    const bytes = Number(((BigInt(end.hi) << 32n) | BigInt(end.lo)) - first)
    const complaint = space.complaint(first, bytes)
    if (complaint !== undefined) throw source.error(`the trace does not fit this machine: ${complaint}`, path)
  }
  const trace = names.trace(options.trace, records)
  task.traceMappings.add(trace)
  return { op: 'replay', trace, from, count, source: at }
}
