// Reading a report's block of bytes: the trace, what CPUs did, what was written, what TLBs held.

import { EVENTS } from '../trace/events.js'
import type { TraceData } from '../trace/recorder.js'
import { HELD_COLUMNS, WRITE_COLUMNS } from '../trace/observations.js'
import { isCycleColumn, LANE_WORDS, REPORT_VERSION, stableOrder, TRACE_WORDS } from './format.js'
import type { RunMeta } from './format.js'
import { unpackColumns } from './packed.js'
import type { Column } from './packed.js'

type Ints = Int32Array<ArrayBuffer>
type Doubles = Float64Array<ArrayBuffer>
type Rows<Name extends string> = { readonly length: number; readonly cycle: Doubles } & Readonly<Record<Name, Ints>>

export interface RunData {
  meta: RunMeta
  trace: TraceData
  /** By CPU. */
  lanes: Rows<(typeof LANE_WORDS)[number]>[]
  writes: Rows<(typeof WRITE_COLUMNS)[number]>
  lookCycles: Doubles
  held: Readonly<Record<(typeof HELD_COLUMNS)[number], Ints>> & { readonly length: number }
}

/** Throws an Error that says what is wrong with the bytes. */
export function readRun(block: Uint8Array): RunData {
  const view = new DataView(block.buffer, block.byteOffset, block.byteLength)
  const jsonEnd = 4 + view.getUint32(0, true)
  const meta = JSON.parse(new TextDecoder().decode(block.subarray(4, jsonEnd))) as RunMeta
  if (meta.version !== REPORT_VERSION) {
    throw new Error(`this report is of version ${meta.version}, its page of version ${REPORT_VERSION}`)
  }
  const columns = unpackColumns(meta.columns, block.subarray(jsonEnd), (name, length) =>
    isCycleColumn(name) ? new Float64Array(length) : new Int32Array(length))
  const ints = (name: string): Ints => intColumn(columns, name)
  const doubles = (name: string): Doubles => columns.get(name) as Doubles
  return {
    meta,
    trace: readTrace(meta, ints, doubles('trace.cycle'), columns),
    lanes: readLanes(meta, ints, doubles('lane.cycle')),
    writes: rows(doubles('write.cycle'), 'write', WRITE_COLUMNS, ints),
    lookCycles: doubles('look.cycle'),
    held: { length: ints('held.from').length, ...picked('held', HELD_COLUMNS, ints) },
  }
}

function readTrace(
  meta: RunMeta, ints: (name: string) => Ints, cycle: Doubles, columns: ReadonlyMap<string, Column>,
): TraceData {
  const { length } = cycle
  const [kind, cpu] = [ints('trace.kind'), ints('trace.cpu')]
  const byCpu = stableOrder(cpu)
  const byKind = stableOrder(kind)
  const words = Array.from({ length: TRACE_WORDS }, () => new Int32Array(length))
  let from = 0
  for (const { id } of EVENTS) {
    let to = from
    while (to < length && kind[byKind[to]!] === id) to++
    for (let word = 0; columns.has(`trace.${id}.${word}`); word++) {
      spread(ints(`trace.${id}.${word}`), byKind.subarray(from, to), words[word]!)
    }
    from = to
  }
  return {
    length, cycle, kind, cpu, words, flags: new Int32Array(length), strings: meta.strings,
    pid: spread(ints('trace.pid'), byCpu, new Int32Array(length)),
    comm: spread(ints('trace.comm'), byCpu, new Int32Array(length)),
  }
}

function readLanes(meta: RunMeta, ints: (name: string) => Ints, cycle: Doubles): RunData['lanes'] {
  const all = picked('lane', LANE_WORDS, ints)
  let from = 0
  return meta.laneCounts.map((length) => {
    const to = from + length
    const { mode, pid, mm, lazy } = all
    const lane = {
      length, cycle: cycle.subarray(from, to), mode: mode.subarray(from, to), pid: pid.subarray(from, to),
      mm: mm.subarray(from, to), lazy: lazy.subarray(from, to),
    }
    from = to
    return lane
  })
}

function rows<Name extends string>(
  cycle: Doubles, prefix: string, names: readonly Name[], ints: (name: string) => Ints,
): Rows<Name> {
  return { length: cycle.length, cycle, ...picked(prefix, names, ints) } as Rows<Name>
}

function picked<Name extends string>(
  prefix: string, names: readonly Name[], ints: (name: string) => Ints,
): Record<Name, Ints> {
  return Object.fromEntries(names.map((name) => [name, ints(`${prefix}.${name}`)])) as Record<Name, Ints>
}

function intColumn(columns: ReadonlyMap<string, Column>, name: string): Ints {
  const column = columns.get(name)
  if (!(column instanceof Int32Array)) throw new Error(`the report has no column ${name}`)
  return column as Ints
}

function spread(values: Ints, order: Ints, into: Ints): Ints {
  for (let i = 0; i < order.length; i++) into[order[i]!] = values[i]!
  return into
}
