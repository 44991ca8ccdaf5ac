// A run as the block of bytes that a report page carries (page/format.ts).

import type { Recording } from '../inspect/run-recorder.js'
import { EVENTS } from '../trace/events.js'
import type { TraceData } from '../trace/recorder.js'
import { HELD_COLUMNS, WRITE_COLUMNS } from '../trace/observations.js'
import { LANE_WORDS, stableOrder } from '../page/format.js'
import type { RunMeta } from '../page/format.js'
import { packColumns } from '../page/packed.js'
import type { Column } from '../page/packed.js'
import type { WrittenMeta } from './run-meta.js'

/** The block, not compressed. */
export function packRun(meta: WrittenMeta, trace: TraceData, recording: Recording): Uint8Array {
  const { lanes, writes, looks } = recording
  const byCpu = stableOrder(lanes.columns.cpu)
  const { shapes, bytes } = packColumns({
    ...traceColumns(trace),
    'lane.cycle': picked(lanes.cycle, byCpu),
    ...named('lane', LANE_WORDS, (name) => picked(lanes.columns[name], byCpu)),
    'write.cycle': writes.cycle,
    ...named('write', WRITE_COLUMNS, (name) => writes.columns[name]),
    'look.cycle': looks.cycles,
    ...named('held', HELD_COLUMNS, (name) => looks.held.columns[name]),
  })
  const laneCounts = Array.from({ length: meta.cpus }, () => 0)
  for (const cpu of lanes.columns.cpu) laneCounts[cpu]! += 1
  const json = new TextEncoder().encode(JSON.stringify({
    ...meta,
    strings: [...trace.strings],
    laneCounts,
    writesEnd: Number.isFinite(recording.writesEnd) ? recording.writesEnd : undefined,
    lookStride: looks.stride,
    reasons: looks.reasons,
    columns: shapes,
  } satisfies RunMeta))
  const block = new Uint8Array(4 + json.length + bytes.length)
  new DataView(block.buffer).setUint32(0, json.length, true)
  block.set(json, 4)
  block.set(bytes, 4 + json.length)
  return block
}

/** Pid and comm change rarely on one CPU, the words of an event are like those of the one of its kind before it. */
function traceColumns(trace: TraceData): Record<string, Column> {
  const byCpu = stableOrder(trace.cpu)
  const byKind = stableOrder(trace.kind)
  const columns: Record<string, Column> = {
    'trace.cycle': trace.cycle, 'trace.kind': trace.kind, 'trace.cpu': trace.cpu,
    'trace.pid': picked(trace.pid, byCpu), 'trace.comm': picked(trace.comm, byCpu),
  }
  let from = 0
  for (const { id, fields } of EVENTS) {
    let to = from
    while (to < byKind.length && trace.kind[byKind[to]!] === id) to++
    const words = fields.reduce((sum, field) => sum + (field.type === 'address' ? 2 : 1), 0)
    const rows = byKind.subarray(from, to)
    for (let word = 0; word < words && to > from; word++) {
      columns[`trace.${id}.${word}`] = picked(trace.words[word]!, rows)
    }
    from = to
  }
  return columns
}

function named<Name extends string>(
  prefix: string, names: readonly Name[], of: (name: Name) => Column,
): Record<string, Column> {
  return Object.fromEntries(names.map((name) => [`${prefix}.${name}`, of(name)]))
}

function picked<Kind extends Column>(values: Kind, order: Int32Array): Kind {
  const out = values.slice(0, order.length)
  for (let i = 0; i < order.length; i++) out[i] = values[order[i]!]!
  return out as Kind
}
