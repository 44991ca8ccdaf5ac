// A trace as Chrome's JSON, which chrome://tracing, Perfetto and speedscope-like viewers open: large, but
// readable with any JSON tool. One "process" for each kind of track of timeline.ts, in it one "thread" for
// each CPU or task; times in microseconds with four decimals.
//
// Format: "Trace Event Format" (Duvall, Sinclair and others, Google): B and E begin and end a slice, i is
// an instant, C a counter, s t f are the steps of a flow, M gives names.

import { addressText, hexText, reasonName, visitFields } from './field-visit.js'
import type { TraceData } from './recorder.js'
import { SAMPLED_COUNTERS } from './samples.js'
import type { CounterSamples } from './samples.js'
import type { TraceHeader } from './text.js'
import { Timeline, TRACKS } from './timeline.js'
import type { TimelineItem, TrackName } from './timeline.js'

/** Numbers of the "processes", and what they are called. */
const PROCESSES: Readonly<Record<TrackName, { readonly pid: number; readonly name: string }>> = {
  running: { pid: 1, name: 'CPUs: running task' },
  kernel: { pid: 2, name: 'CPUs: kernel work' },
  lazy: { pid: 3, name: 'CPUs: lazy TLB' },
  task: { pid: 4, name: 'tasks' },
}
const COUNTERS = { pid: 5, name: 'counters' }
const EVENTS_PER_CHUNK = 256
const PHASE: Readonly<Record<TimelineItem['type'], string>> = { begin: 'B', end: 'E', instant: 'i' }

/** The file in pieces of about 64 KiB. */
export function* chromeChunks(
  data: TraceData, header: TraceHeader, samples?: CounterSamples,
): Generator<string, void, undefined> {
  const writer = new ChromeWriter(data, header)
  yield '{"displayTimeUnit":"ns","otherData":' + JSON.stringify(header) + ',"traceEvents":[\n' + writer.names()
  for (let from = 0; from < data.length; from += EVENTS_PER_CHUNK) {
    yield writer.events(from, Math.min(data.length, from + EVENTS_PER_CHUNK))
  }
  for (let from = 0; from < (samples?.length ?? 0); from += EVENTS_PER_CHUNK) {
    yield writer.samples(samples!, from, Math.min(samples!.length, from + EVENTS_PER_CHUNK))
  }
  yield '\n]}\n'
}

class ChromeWriter {
  readonly #data: TraceData
  readonly #header: TraceHeader
  readonly #timeline: Timeline
  readonly #tasks = new Set<number>()
  /** Flows that have begun and not ended. */
  readonly #flows = new Set<number>()

  constructor(data: TraceData, header: TraceHeader) {
    this.#data = data
    this.#header = header
    this.#timeline = new Timeline(data)
  }

  /** Names of processes and CPUs; the first objects of the array, and so without a comma in front. */
  names(): string {
    const processes = [...TRACKS.map((track) => PROCESSES[track]), COUNTERS]
    const cpus = Array.from({ length: this.#header.cpus }, (_, cpu) => cpu)
    return [
      ...processes.map(({ pid, name }) => metadata('process_name', pid, 0, { name })),
      ...processes.map(({ pid }) => metadata('process_sort_index', pid, 0, { sort_index: pid })),
      ...(['running', 'kernel', 'lazy'] as const).flatMap((track) =>
        cpus.map((cpu) => metadata('thread_name', PROCESSES[track].pid, cpu, { name: `cpu${cpu}` }))),
    ].join(',\n')
  }

  events(from: number, to: number): string {
    let text = ''
    for (let i = from; i < to; i++) {
      const at = this.#at(this.#data.cycle[i]!)
      for (const item of this.#timeline.take(i)) text += this.#item(item, i, at)
      for (const { cpu, count } of this.#timeline.pending) {
        text += counter(`cpu${cpu} pending IPIs`, at, { IPIs: count })
      }
    }
    return text
  }

  samples({ cycle, cpu, values }: CounterSamples, from: number, to: number): string {
    let text = ''
    for (let i = from; i < to; i++) {
      const totals = Object.fromEntries(SAMPLED_COUNTERS.map((name, column) => [name, values[column]![i]!]))
      const { l1iMisses, l1dMisses, stlbMisses } = totals as Record<(typeof SAMPLED_COUNTERS)[number], number>
      text += counter(`cpu${cpu[i]} TLB misses`, this.#at(cycle[i]!), {
        'first level': l1iMisses + l1dMisses, 'page walks': stlbMisses,
      })
    }
    return text
  }

  /** Microseconds. */
  #at(cycle: number): string {
    return (cycle / this.#header.frequencyGhz / 1000).toFixed(4)
  }

  #item(item: TimelineItem, i: number, at: string): string {
    const { pid } = PROCESSES[item.track]
    const where = `"pid":${pid},"tid":${item.owner},"ts":${at}`
    let text = item.track === 'task' ? this.#taskName(item.owner, i) : ''
    text += `,\n{"ph":"${PHASE[item.type]}",${where}`
    if (item.type !== 'end') text += `,"name":${JSON.stringify(item.name)}`
    if (item.type === 'instant') text += ',"s":"t"'
    if (item.hasFields) text += `,"args":${JSON.stringify(this.#args(i))}`
    text += '}'
    for (const flow of item.flows) text += this.#flow(flow, false, where)
    for (const flow of item.endingFlows) text += this.#flow(flow, true, where)
    return text
  }

  /** Steps of a flow belong to the slice around them. */
  #flow(flow: number, isLast: boolean, where: string): string {
    const hasBegun = this.#flows.has(flow)
    if (isLast) this.#flows.delete(flow)
    else this.#flows.add(flow)
    if (isLast && !hasBegun) return ''
    const phase = isLast ? 'f' : hasBegun ? 't' : 's'
    return `,\n{"ph":"${phase}",${where},"id":${flow},"name":"request","cat":"ipi","bp":"e"}`
  }

  #taskName(pid: number, i: number): string {
    if (this.#tasks.has(pid)) return ''
    this.#tasks.add(pid)
    const { comm, strings } = this.#data
    return ',\n' + metadata('thread_name', PROCESSES.task.pid, pid, { name: `${strings[comm[i]!] ?? ''}-${pid}` })
  }

  #args(i: number): Record<string, string | number> {
    const args: Record<string, string | number> = { cycle: this.#data.cycle[i]! }
    visitFields(this.#data, i, ({ name, type }, word, low) => {
      args[name] = type === 'address' ? addressText(word, low) : type === 'hex' ? hexText(word)
        : type === 'string' ? this.#data.strings[word] ?? '' : type === 'reason' ? reasonName(word) : word
    })
    return args
  }
}

function metadata(name: string, pid: number, tid: number, args: Record<string, string | number>): string {
  return JSON.stringify({ ph: 'M', name, pid, tid, args })
}

function counter(name: string, at: string, args: Record<string, number>): string {
  return `,\n{"ph":"C","pid":${COUNTERS.pid},"tid":0,"ts":${at},"name":${JSON.stringify(name)},`
    + `"args":${JSON.stringify(args)}}`
}
