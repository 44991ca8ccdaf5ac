// A trace as Perfetto's protobuf (.pftrace), for ui.perfetto.dev and trace_processor:
//
//   ftrace bundles     sched_switch and sched_waking of each CPU: the viewer's own scheduling tracks and
//                      the states of threads
//   thread tracks      system calls of tasks, with their faults and pages (timeline.ts)
//   cpuN tracks        kernel work and lazy stretches; counters: TLB misses, pending interrupts
//   flows              from a queued request to the interrupt, its handler, the acknowledgement and the end
//
// Times are nanoseconds, rounded: events less than a nanosecond apart keep their order, not their distance.
// Simplified: a trace knows tasks and not processes, so each task is a process of its own.

import { visitFields, reasonName } from './field-visit.js'
import { EVENT } from './events.js'
import {
  BUNDLE, COUNTER_DESCRIPTOR, DEBUG_ANNOTATION, FTRACE_EVENT, INTERNED_DATA, INTERNED_NAME, Interner,
  ORDERING_EXPLICIT, PACKET, ProtoWriter, SCHED_SWITCH, SCHED_WAKING, SEQ_INCREMENTAL_STATE_CLEARED,
  SEQ_NEEDS_INCREMENTAL_STATE, SYSTEM_INFO, THREAD_DESCRIPTOR, TRACE, TRACK_DESCRIPTOR, TRACK_EVENT, TYPE_COUNTER,
  TYPE_INSTANT, TYPE_SLICE_BEGIN, TYPE_SLICE_END, UNIT_COUNT, UTSNAME,
} from './perfetto-wire.js'
import type { TraceData } from './recorder.js'
import { SAMPLED_COUNTERS } from './samples.js'
import type { CounterSamples } from './samples.js'
import type { TraceHeader } from './text.js'
import { Timeline } from './timeline.js'
import type { TimelineItem } from './timeline.js'

const SEQUENCE = 1
/** Bundles of CPU n are in a sequence of their own. */
const FIRST_BUNDLE_SEQUENCE = 1000
const EVENTS_PER_BUNDLE = 2048
const EVENTS_PER_CHUNK = 1024
/** The priority of a task of nice 0. */
const PRIORITY = 120

/** Track uuids: one range for each kind of track. */
const UUIDS = 2 ** 32
const GROUP_UUID = 1
const UUID_OF = { kernel: 2 * UUIDS, lazy: 3 * UUIDS, task: 4 * UUIDS, pending: 5 * UUIDS, misses: 6 * UUIDS } as const
/** Sampled counters that get a track: the sum of these columns. */
const MISS_TRACKS: readonly { readonly name: string; readonly columns: readonly number[] }[] = [
  { name: 'first-level TLB misses', columns: columnsOf('l1iMisses', 'l1dMisses') },
  { name: 'TLB misses (page walks)', columns: columnsOf('stlbMisses') },
]

/** The bits of prev_state that sched_switch reports (Linux include/linux/sched.h). */
const STATE_BITS: Readonly<Record<string, number>> = { R: 0, S: 1, D: 2, T: 4, t: 8, X: 16, Z: 32 }
const ITEM_TYPE: Readonly<Record<TimelineItem['type'], number>> =
  { begin: TYPE_SLICE_BEGIN, end: TYPE_SLICE_END, instant: TYPE_INSTANT }

/** The file in pieces of about 64 KiB. */
export function* perfettoChunks(
  data: TraceData, header: TraceHeader, samples?: CounterSamples,
): Generator<Uint8Array, void, undefined> {
  const writer = new PerfettoWriter(data, header)
  yield writer.preamble(samples !== undefined)
  for (let from = 0; from < data.length; from += EVENTS_PER_CHUNK) {
    yield writer.events(from, Math.min(data.length, from + EVENTS_PER_CHUNK))
  }
  yield writer.bundles()
  const count = samples?.length ?? 0
  for (let from = 0; from < count; from += EVENTS_PER_CHUNK) {
    yield writer.samples(samples!, from, Math.min(count, from + EVENTS_PER_CHUNK))
  }
}

class PerfettoWriter {
  readonly #data: TraceData
  readonly #header: TraceHeader
  readonly #timeline: Timeline
  readonly #out = new ProtoWriter()
  readonly #names = new Interner()
  readonly #fieldNames = new Interner()
  /** Scheduling events of each CPU that are not in a packet yet. */
  readonly #bundles: { writer: ProtoWriter; events: number }[]
  readonly #tasks = new Set<number>()
  #isFirst = true

  constructor(data: TraceData, header: TraceHeader) {
    this.#data = data
    this.#header = header
    this.#timeline = new Timeline(data)
    this.#bundles = Array.from({ length: header.cpus }, () => ({ writer: new ProtoWriter(), events: 0 }))
  }

  /** What the machine is, and the tracks of its CPUs. */
  preamble(hasSamples: boolean): Uint8Array {
    const { cpus, era } = this.#header
    this.#packet(() => this.#out.message(PACKET.systemInfo, () => this.#out.message(SYSTEM_INFO.utsname, () => {
      // The viewer reads prev_state by the kernel's version.
      this.#out.string(UTSNAME.sysname, 'Linux')
      this.#out.string(UTSNAME.release, era === 'linux-4.6' ? '4.6.0-shootdown' : '6.18.0-shootdown')
      this.#out.string(UTSNAME.machine, 'x86_64')
    })))
    this.#track(GROUP_UUID, `shootdown: ${this.#header.scenario}`, 0, 0, () => {
      this.#out.int(TRACK_DESCRIPTOR.childOrdering, ORDERING_EXPLICIT)
    })
    for (let cpu = 0; cpu < cpus; cpu++) {
      const rank = cpu * 10
      this.#track(UUID_OF.kernel + cpu, `cpu${cpu} kernel`, GROUP_UUID, rank)
      this.#track(UUID_OF.lazy + cpu, `cpu${cpu} lazy TLB`, GROUP_UUID, rank + 1)
      this.#counterTrack(UUID_OF.pending + cpu, `cpu${cpu} pending IPIs`, rank + 2)
      if (!hasSamples) continue
      MISS_TRACKS.forEach(({ name }, index) => {
        this.#counterTrack(missUuid(index, cpu), `cpu${cpu} ${name}`, rank + 3 + index)
      })
    }
    for (let cpu = 0; cpu < cpus; cpu++) this.#counter(UUID_OF.pending + cpu, 0, 0)
    return this.#out.take()
  }

  events(from: number, to: number): Uint8Array {
    for (let i = from; i < to; i++) {
      this.#schedule(i)
      for (const item of this.#timeline.take(i)) if (item.track !== 'running') this.#item(item, i)
      for (const { cpu, count } of this.#timeline.pending) {
        this.#counter(UUID_OF.pending + cpu, this.#data.cycle[i]!, count)
      }
    }
    return this.#out.take()
  }

  /** Scheduling events that did not fill a packet. */
  bundles(): Uint8Array {
    for (let cpu = 0; cpu < this.#bundles.length; cpu++) this.#closeBundle(cpu)
    return this.#out.take()
  }

  samples({ cycle, cpu, values }: CounterSamples, from: number, to: number): Uint8Array {
    for (let i = from; i < to; i++) {
      MISS_TRACKS.forEach(({ columns }, index) => {
        const total = columns.reduce((sum, column) => sum + values[column]![i]!, 0)
        this.#counter(missUuid(index, cpu[i]!), cycle[i]!, total)
      })
    }
    return this.#out.take()
  }

  #nanoseconds(cycle: number): number {
    return Math.round(cycle / this.#header.frequencyGhz)
  }

  #packet(fill: () => void): void {
    this.#out.message(TRACE.packet, () => {
      fill()
      this.#out.int(PACKET.sequenceId, SEQUENCE)
      if (this.#isFirst) this.#out.int(PACKET.sequenceFlags, SEQ_INCREMENTAL_STATE_CLEARED)
      this.#isFirst = false
    })
  }

  #track(uuid: number, name: string, parent: number, rank: number, more?: () => void): void {
    this.#packet(() => this.#out.message(PACKET.trackDescriptor, () => {
      this.#out.int(TRACK_DESCRIPTOR.uuid, uuid)
      this.#out.string(TRACK_DESCRIPTOR.name, name)
      if (parent !== 0) this.#out.int(TRACK_DESCRIPTOR.parentUuid, parent)
      if (parent !== 0) this.#out.int(TRACK_DESCRIPTOR.siblingOrderRank, rank)
      more?.()
    }))
  }

  #counterTrack(uuid: number, name: string, rank: number): void {
    this.#track(uuid, name, GROUP_UUID, rank, () => this.#out.message(TRACK_DESCRIPTOR.counter, () => {
      this.#out.int(COUNTER_DESCRIPTOR.unit, UNIT_COUNT)
    }))
  }

  #taskTrack(pid: number, comm: string): void {
    if (this.#tasks.has(pid)) return
    this.#tasks.add(pid)
    this.#packet(() => this.#out.message(PACKET.trackDescriptor, () => {
      this.#out.int(TRACK_DESCRIPTOR.uuid, UUID_OF.task + pid)
      this.#out.message(TRACK_DESCRIPTOR.thread, () => {
        this.#out.int(THREAD_DESCRIPTOR.pid, pid)
        this.#out.int(THREAD_DESCRIPTOR.tid, pid)
        this.#out.string(THREAD_DESCRIPTOR.threadName, comm)
      })
    }))
  }

  #item(item: TimelineItem, i: number): void {
    const { cycle, comm, strings } = this.#data
    const { track, owner } = item
    if (track === 'task') this.#taskTrack(owner, strings[comm[i]!] ?? '')
    const base = track === 'task' ? UUID_OF.task : track === 'lazy' ? UUID_OF.lazy : UUID_OF.kernel
    const out = this.#out
    this.#packet(() => {
      out.int(PACKET.timestamp, this.#nanoseconds(cycle[i]!))
      out.message(PACKET.trackEvent, () => {
        if (item.hasFields) this.#annotations(i)
        out.int(TRACK_EVENT.type, ITEM_TYPE[item.type])
        if (item.type !== 'end') out.int(TRACK_EVENT.nameIid, this.#names.idOf(item.name))
        out.int(TRACK_EVENT.trackUuid, base + owner)
        for (const flow of item.flows) out.fixed64(TRACK_EVENT.flowIds, flow)
        for (const flow of item.endingFlows) out.fixed64(TRACK_EVENT.terminatingFlowIds, flow)
      })
      this.#writeFreshNames()
      out.int(PACKET.sequenceFlags, SEQ_NEEDS_INCREMENTAL_STATE)
    })
  }

  #annotations(i: number): void {
    const out = this.#out
    visitFields(this.#data, i, ({ name, type }, word, low) => {
      out.message(TRACK_EVENT.debugAnnotations, () => {
        out.int(DEBUG_ANNOTATION.nameIid, this.#fieldNames.idOf(name))
        if (type === 'address') out.word64(DEBUG_ANNOTATION.pointerValue, word, low)
        else if (type === 'hex') out.word64(DEBUG_ANNOTATION.pointerValue, 0, word)
        else if (type === 'string') out.string(DEBUG_ANNOTATION.stringValue, this.#data.strings[word] ?? '')
        else if (type === 'reason') out.string(DEBUG_ANNOTATION.stringValue, reasonName(word))
        else out.int(DEBUG_ANNOTATION.intValue, word)
      })
    })
  }

  /** Names that this packet uses first; a reader takes them in before it reads the packet's event. */
  #writeFreshNames(): void {
    const kinds = [
      [this.#names, INTERNED_DATA.eventNames], [this.#fieldNames, INTERNED_DATA.debugAnnotationNames],
    ] as const
    if (kinds.every(([{ fresh }]) => fresh.length === 0)) return
    this.#out.message(PACKET.internedData, () => {
      for (const [interner, field] of kinds) {
        for (const { iid, name } of interner.fresh) {
          this.#out.message(field, () => {
            this.#out.int(INTERNED_NAME.iid, iid)
            this.#out.string(INTERNED_NAME.name, name)
          })
        }
        interner.fresh = []
      }
    })
  }

  #counter(uuid: number, cycle: number, value: number): void {
    this.#packet(() => {
      this.#out.int(PACKET.timestamp, this.#nanoseconds(cycle))
      this.#out.message(PACKET.trackEvent, () => {
        this.#out.int(TRACK_EVENT.type, TYPE_COUNTER)
        this.#out.int(TRACK_EVENT.trackUuid, uuid)
        this.#out.int(TRACK_EVENT.counterValue, value)
      })
    })
  }

  /** sched_switch as it is; a wake-up as sched_waking, the only one that trace_processor reads. */
  #schedule(i: number): void {
    const { kind, cpu, pid, comm, strings, words } = this.#data
    const here = cpu[i]!
    const [a, b, c] = [words[0]![i]!, words[1]![i]!, words[2]![i]!]
    if (kind[i] === EVENT.schedSwitch) {
      this.#bundled(here, i, FTRACE_EVENT.schedSwitch, (out) => {
        out.string(SCHED_SWITCH.prevComm, taskName(strings[comm[i]!] ?? '', pid[i]!, here))
        out.int(SCHED_SWITCH.prevPid, pid[i]!)
        out.int(SCHED_SWITCH.prevPrio, PRIORITY)
        out.int(SCHED_SWITCH.prevState, STATE_BITS[strings[a] ?? ''] ?? 0)
        out.string(SCHED_SWITCH.nextComm, taskName(strings[b] ?? '', c, here))
        out.int(SCHED_SWITCH.nextPid, c)
        out.int(SCHED_SWITCH.nextPrio, PRIORITY)
      })
    } else if (kind[i] === EVENT.schedWakeup || kind[i] === EVENT.schedWakeupNew) {
      this.#bundled(here, i, FTRACE_EVENT.schedWaking, (out) => {
        out.string(SCHED_WAKING.comm, strings[a] ?? '')
        out.int(SCHED_WAKING.pid, b)
        out.int(SCHED_WAKING.prio, PRIORITY)
        out.int(SCHED_WAKING.success, 1)
        out.int(SCHED_WAKING.targetCpu, c)
      })
    }
  }

  #bundled(cpu: number, i: number, field: number, fill: (out: ProtoWriter) => void): void {
    const bundle = this.#bundles[cpu]!
    const { writer } = bundle
    writer.message(BUNDLE.event, () => {
      writer.int(FTRACE_EVENT.timestamp, this.#nanoseconds(this.#data.cycle[i]!))
      writer.int(FTRACE_EVENT.pid, this.#data.pid[i]!)
      writer.message(field, () => fill(writer))
    })
    bundle.events += 1
    if (bundle.events >= EVENTS_PER_BUNDLE) this.#closeBundle(cpu)
  }

  #closeBundle(cpu: number): void {
    const bundle = this.#bundles[cpu]!
    if (bundle.events === 0) return
    const out = this.#out
    out.message(TRACE.packet, () => {
      out.message(PACKET.ftraceEvents, () => {
        out.int(BUNDLE.cpu, cpu)
        out.raw(bundle.writer.take())
      })
      out.int(PACKET.sequenceId, FIRST_BUNDLE_SEQUENCE + cpu)
    })
    bundle.events = 0
  }
}

/** The idle task goes by its real name. */
function taskName(comm: string, pid: number, cpu: number): string {
  return pid === 0 ? `swapper/${cpu}` : comm
}

function missUuid(track: number, cpu: number): number {
  return UUID_OF.misses + track * UUIDS + cpu
}

function columnsOf(...names: (typeof SAMPLED_COUNTERS)[number][]): number[] {
  return names.map((name) => SAMPLED_COUNTERS.indexOf(name))
}
