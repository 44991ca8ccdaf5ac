// Two tables for spreadsheets, pandas, R and DuckDB (RFC 4180, with line feeds, as all of them read):
//
//   events     one row for each event: cycle,us,cpu,pid,comm,event, then one column for each field that any
//              event has, empty where the event does not have it
//   counters   one row for each sample: cycle,us,cpu,counter,value
//
// Fields that are called like a column of every event get an "event" in front (eventCpu: the CPU that the
// event is about, as opposed to the one it happened on). Counters: totals of a CPU (samples.ts), and
// pendingIpis, which follows from the events.

import { EVENTS } from './events.js'
import { addressText, hexText, reasonName, visitFields } from './field-visit.js'
import { IpiFlows } from './ipi-flows.js'
import type { TraceData } from './recorder.js'
import { SAMPLED_COUNTERS } from './samples.js'
import type { CounterSamples } from './samples.js'
import { chunksOf } from './text.js'
import type { TraceHeader } from './text.js'

const COMMON = ['cycle', 'us', 'cpu', 'pid', 'comm', 'event'] as const
const FIELD_NAMES = [...new Set(EVENTS.flatMap((row) => row.fields.map((field): string => field.name)))]
const COLUMN_OF = new Map(FIELD_NAMES.map((name, index) => [name, index]))

/** The columns of the table of events. */
export const EVENT_COLUMNS: readonly string[] = [
  ...COMMON, ...FIELD_NAMES.map((name) => (isCommon(name) ? `event${name[0]!.toUpperCase()}${name.slice(1)}` : name)),
]
export const COUNTER_COLUMNS = ['cycle', 'us', 'cpu', 'counter', 'value'] as const

/** One row for each event. */
export function* eventCsvChunks(data: TraceData, { frequencyGhz }: TraceHeader): Generator<string, void, undefined> {
  const cells = data.strings.map(quoted)
  const fields = FIELD_NAMES.map(() => '')
  yield `${EVENT_COLUMNS.join(',')}\n`
  yield* chunksOf(data.length, (i) => {
    fields.fill('')
    visitFields(data, i, ({ name, type }, word, low) => {
      fields[COLUMN_OF.get(name)!] = type === 'address' ? addressText(word, low) : type === 'hex' ? hexText(word)
        : type === 'string' ? cells[word] ?? '' : type === 'reason' ? reasonName(word) : String(word)
    })
    const cycle = data.cycle[i]!
    return `${cycle},${microseconds(cycle, frequencyGhz)},${data.cpu[i]},${data.pid[i]},${cells[data.comm[i]!] ?? ''},`
      + `${EVENTS[data.kind[i]!]!.name},${fields.join(',')}\n`
  })
}

/** One row for each change of a counter. Without `samples` only what the events tell. */
export function* counterCsvChunks(
  data: TraceData, { cpus, frequencyGhz }: TraceHeader, samples?: CounterSamples,
): Generator<string, void, undefined> {
  const row = (cycle: number, cpu: number, counter: string, value: number): string =>
    `${cycle},${microseconds(cycle, frequencyGhz)},${cpu},${counter},${value}\n`
  yield `${COUNTER_COLUMNS.join(',')}\n`
  for (let cpu = 0; cpu < cpus; cpu++) yield row(0, cpu, 'pendingIpis', 0)
  const flows = new IpiFlows(data)
  let next = 0
  const samplesUntil = (cycle: number): string => {
    let text = ''
    for (; samples !== undefined && next < samples.length && samples.cycle[next]! <= cycle; next++) {
      const i = next
      SAMPLED_COUNTERS.forEach((name, column) => {
        text += row(samples.cycle[i]!, samples.cpu[i]!, name, samples.values[column]![i]!)
      })
    }
    return text
  }
  yield* chunksOf(data.length, (i) => {
    flows.take(i)
    const cycle = data.cycle[i]!
    let text = samplesUntil(cycle)
    for (const cpu of flows.changed) text += row(cycle, cpu, 'pendingIpis', flows.pending(cpu))
    return text
  })
  yield samplesUntil(Infinity)
}

function isCommon(name: string): boolean {
  return COMMON.some((column) => column === name)
}

function microseconds(cycle: number, frequencyGhz: number): string {
  return (cycle / frequencyGhz / 1000).toFixed(4)
}

/** In quotes when it holds a comma, a quote, a line end or outer spaces. */
function quoted(text: string): string {
  return /[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
