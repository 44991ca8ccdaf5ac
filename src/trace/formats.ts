// The formats that a trace can be written in: the one list for `run --trace`, `export` and the docs.

import { chromeChunks } from './chrome-json.js'
import { counterCsvChunks, eventCsvChunks } from './csv.js'
import { ftraceChunks } from './ftrace-text.js'
import { perfettoChunks } from './perfetto.js'
import type { TraceData } from './recorder.js'
import type { CounterSamples } from './samples.js'
import { textChunks } from './text.js'
import type { TraceHeader } from './text.js'

/** What is written. */
export interface TraceSource {
  readonly data: TraceData
  readonly header: TraceHeader
  /** Counters of CPUs over time; only a run has them, a saved trace does not. */
  readonly samples?: CounterSamples | undefined
}

export interface TraceFormat {
  readonly name: string
  /** How names of such files end; the first is the usual one. */
  readonly endings: readonly string[]
  readonly what: string
  /** Shows TLB counters when there are samples. */
  readonly wantsSamples: boolean
  /** The file in pieces of about 64 KiB. */
  readonly chunks: (source: TraceSource) => Generator<string | Uint8Array, void, undefined>
}

const ftrace = (synthetic: boolean) => ({ data, header: { era, cpus, frequencyGhz } }: TraceSource) =>
  ftraceChunks(data, { era, cpus, frequencyGhz, synthetic })

export const TRACE_FORMATS = [
  { name: 'text', endings: ['.trace', '.txt'], wantsSamples: false,
    what: 'canonical text: what golden traces hold and diff, export and explain read',
    chunks: ({ data, header }) => textChunks(data, header) },
  { name: 'ftrace', endings: ['.ftrace'], wantsSamples: false,
    what: 'ftrace text as a real kernel prints it: only events that it has', chunks: ftrace(false) },
  { name: 'ftrace-full', endings: [], wantsSamples: false,
    what: 'ftrace text with our own events as tracing_mark_write lines', chunks: ftrace(true) },
  { name: 'perfetto', endings: ['.pftrace', '.perfetto-trace'], wantsSamples: true,
    what: 'Perfetto protobuf for ui.perfetto.dev: scheduling, slices, counters, arrows',
    chunks: ({ data, header, samples }) => perfettoChunks(data, header, samples) },
  { name: 'chrome', endings: ['.json'], wantsSamples: true,
    what: 'Chrome JSON: the same timeline for chrome://tracing and scripts',
    chunks: ({ data, header, samples }) => chromeChunks(data, header, samples) },
  { name: 'csv', endings: ['.csv'], wantsSamples: false,
    what: 'table of events, a column for each field', chunks: ({ data, header }) => eventCsvChunks(data, header) },
  { name: 'counters', endings: ['.counters.csv'], wantsSamples: true,
    what: 'table of counter samples: cycle, cpu, counter, value',
    chunks: ({ data, header, samples }) => counterCsvChunks(data, header, samples) },
] as const satisfies readonly TraceFormat[]

export const TRACE_FORMAT_NAMES: readonly string[] = TRACE_FORMATS.map(({ name }) => name)

/** The format of this name. */
export function formatNamed(name: string): TraceFormat | undefined {
  return TRACE_FORMATS.find((format) => format.name === name)
}

/** The format that a file name says by its ending, the longest that fits. */
export function formatByEnding(path: string): TraceFormat | undefined {
  const file = path.toLowerCase()
  const known = (TRACE_FORMATS as readonly TraceFormat[])
    .flatMap((format) => format.endings.map((ending) => ({ format, ending })))
  return known.filter(({ ending }) => file.endsWith(ending))
    .sort((a, b) => b.ending.length - a.ending.length)[0]?.format
}

/** `.txt or .trace (text), ...`, for messages. */
export function endingsText(): string {
  return (TRACE_FORMATS as readonly TraceFormat[]).filter(({ endings }) => endings.length > 0)
    .map(({ name, endings }) => `${endings.join(' or ')} (${name})`).join(', ')
}
