// The Perfetto export, read back by decoders that share no code with the writer: one that follows
// data/perfetto.proto, and protoc where it is installed.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { EVENT } from '../src/trace/events.js'
import { perfettoChunks } from '../src/trace/perfetto.js'
import { asText, decodeMessage, parseProto } from './support/proto-file.js'
import type { ProtoMessage, ProtoValue } from './support/proto-file.js'
import { decodeWithProtoc, HAS_PROTOC } from './support/protoc.js'
import { ROOT } from './support/cli.js'
import { tracedRun } from './support/traced-run.js'
import type { TracedRun } from './support/traced-run.js'

const PROTO = parseProto(readFileSync(join(ROOT, 'test/data/perfetto.proto'), 'utf8'))
const SHOOTDOWN = await tracedRun('tour/02-shootdown.yaml')
const STORM = await tracedRun('policies/1-munmap-storm.yaml')

interface TrackEvent {
  type: number
  track: string
  name: string
  nanoseconds: number
  value: number
  args: Record<string, ProtoValue>
  flows: number[]
  ending: number[]
}

function bytesOf({ data, header, samples }: TracedRun): Uint8Array {
  return Buffer.concat([...perfettoChunks(data, header, samples)])
}

const first = (message: ProtoMessage | undefined, field: string): ProtoValue | undefined => message?.[field]?.[0]
const sub = (message: ProtoMessage | undefined, field: string): ProtoMessage | undefined =>
  first(message, field) as ProtoMessage | undefined
const number = (message: ProtoMessage | undefined, field: string): number => Number(first(message, field) ?? 0)
const text = (message: ProtoMessage | undefined, field: string): string => String(first(message, field) ?? '')
const all = (message: ProtoMessage | undefined, field: string): ProtoMessage[] =>
  (message?.[field] ?? []) as ProtoMessage[]

/** The events of all tracks, with names looked up as a reader does. */
function trackEvents(run: TracedRun): TrackEvent[] {
  const tracks = new Map<string, string>()
  const names = new Map<number, string>()
  const fields = new Map<number, string>()
  const events: TrackEvent[] = []
  for (const packet of all(decodeMessage(PROTO, 'Trace', bytesOf(run)), 'packet')) {
    const track = sub(packet, 'track_descriptor')
    const thread = sub(track, 'thread')
    if (track) tracks.set(text(track, 'uuid'), thread ? `task ${text(thread, 'tid')}` : text(track, 'name'))
    const interned = sub(packet, 'interned_data')
    for (const one of all(interned, 'event_names')) names.set(number(one, 'iid'), text(one, 'name'))
    for (const one of all(interned, 'debug_annotation_names')) fields.set(number(one, 'iid'), text(one, 'name'))
    const event = sub(packet, 'track_event')
    if (!event) continue
    events.push({
      type: number(event, 'type'), track: tracks.get(text(event, 'track_uuid'))!,
      name: event['name_iid'] ? names.get(number(event, 'name_iid'))! : '', nanoseconds: number(packet, 'timestamp'),
      value: number(event, 'counter_value'), flows: (event['flow_ids'] ?? []).map(Number),
      ending: (event['terminating_flow_ids'] ?? []).map(Number),
      args: Object.fromEntries(all(event, 'debug_annotations').map((one) => [fields.get(number(one, 'name_iid'))!,
        (one['int_value'] ?? one['string_value'] ?? one['pointer_value'])![0]!])),
    })
  }
  return events
}

function ftraceEvents(run: TracedRun): { cpu: number; event: ProtoMessage }[] {
  return all(decodeMessage(PROTO, 'Trace', bytesOf(run)), 'packet').flatMap((packet) => {
    const bundle = sub(packet, 'ftrace_events')
    return all(bundle, 'event').map((event) => ({ cpu: number(bundle, 'cpu'), event }))
  })
}

const count = (run: TracedRun, kind: number): number => run.data.kind.filter((one) => one === kind).length

describe('the bytes', () => {
  test.skipIf(!HAS_PROTOC)('are to protoc what they are to our own decoder', () => {
    for (const run of [SHOOTDOWN, STORM]) {
      const bytes = bytesOf(run)
      const ours = asText(PROTO, 'Trace', decodeMessage(PROTO, 'Trace', bytes))
      expect(decodeWithProtoc('perfetto.proto', 'perfetto.protos.Trace', bytes) === ours).toBe(true)
    }
  })

  test('are the same for the same run', () => {
    expect(Buffer.compare(bytesOf(SHOOTDOWN), bytesOf(SHOOTDOWN))).toBe(0)
  })

  test('refer only to tracks and names that were described before', () => {
    const isWhole = ({ track, name, args }: TrackEvent): boolean =>
      typeof track === 'string' && typeof name === 'string' && !('undefined' in args)
    expect(trackEvents(STORM).filter((event) => !isWhole(event))).toEqual([])
  })
})

describe('scheduling', () => {
  test('every switch and every wake-up is in the bundle of its CPU, in the order of time', () => {
    const events = ftraceEvents(STORM)
    const switches = events.filter(({ event }) => event['sched_switch'])
    expect(switches).toHaveLength(count(STORM, EVENT.schedSwitch))
    expect(events.length - switches.length)
      .toBe(count(STORM, EVENT.schedWakeup) + count(STORM, EVENT.schedWakeupNew))
    for (let cpu = 0; cpu < 4; cpu++) {
      const times = events.filter((one) => one.cpu === cpu).map(({ event }) => number(event, 'timestamp'))
      expect(times).toEqual([...times].sort((a, b) => a - b))
      const own = switches.filter((one) => one.cpu === cpu).map(({ event }) => sub(event, 'sched_switch'))
      own.slice(1).forEach((one, i) => expect(number(one, 'prev_pid')).toBe(number(own[i], 'next_pid')))
    }
  })
})

describe('slices, counters and arrows', () => {
  const events = trackEvents(SHOOTDOWN)

  test('the munmap of the scenario is a slice of its task, with its range', () => {
    const munmap = events.filter((event) => event.name === 'munmap' && event.type === 1)
    expect(munmap.map(({ track, args }) => ({ track, args }))).toEqual([{
      track: 'task 1', args: { name: 'munmap', start: 0x1000_4000n, bytes: 12288n },
    }])
  })

  test('every slice that begins on a kernel track ends there', () => {
    const kernel = events.filter(({ track, type }) => track.endsWith('kernel') && type <= 2)
    expect(kernel.filter(({ type }) => type === 1).length).toBe(kernel.filter(({ type }) => type === 2).length)
    expect(kernel.filter(({ type }) => type === 1).length)
      .toBe(count(SHOOTDOWN, EVENT.flushBegin) + count(SHOOTDOWN, EVENT.callFunctionEntry)
        + count(SHOOTDOWN, EVENT.callFunctionSingleEntry) + count(SHOOTDOWN, EVENT.rescheduleEntry)
        + count(SHOOTDOWN, EVENT.localTimerEntry))
  })

  test('the interrupt of the munmap goes to two CPUs, and each arrow comes back', () => {
    const at = events.findIndex(({ name }) => name === 'ipi_send_cpumask')
    const { flows, track } = events[at]!
    expect({ track, arrows: flows.length }).toEqual({ track: 'cpu0 kernel', arrows: 2 })
    const stations = flows.map((flow) => events.filter((one) => one.flows.includes(flow) || one.ending.includes(flow))
      .map((one) => `${one.track.split(' ')[0]} ${one.name}`))
    expect(stations).toEqual(['cpu1', 'cpu2'].map((target) => [
      'cpu0 csd_queue_cpu', 'cpu0 ipi_send_cpumask', `${target} call_function`, `${target} flush_ack`,
      'cpu0 flush_done',
    ]))
  })

  test('a CPU that sleeps with the mm loaded has a lazy stretch', () => {
    const lazy = events.filter(({ track }) => track === 'cpu3 lazy TLB')
    expect(lazy.length).toBeGreaterThan(1)
    expect(lazy[0]).toMatchObject({ type: 1, args: { mm: 2n } })
  })

  test('counters of TLB misses end at what the run counted, and never fall', () => {
    const totals = new Map<string, number>()
    for (const { track, type, value } of trackEvents(STORM)) {
      if (type !== 4 || track.endsWith('IPIs')) continue
      expect(value).toBeGreaterThanOrEqual(totals.get(track) ?? 0)
      totals.set(track, value)
    }
    const sum = (ending: string): number => [...totals].filter(([track]) => track.endsWith(ending))
      .reduce((before, [, value]) => before + value, 0)
    expect(sum('page walks)')).toBe(STORM.counters['stlbMisses'])
    expect(sum('first-level TLB misses')).toBe(STORM.counters['l1iMisses']! + STORM.counters['l1dMisses']!)
  })

  test('pending interrupts rise with every send and are gone in the end', () => {
    const pending = trackEvents(STORM).filter(({ track, type }) => type === 4 && track.endsWith('IPIs'))
    expect(Math.max(...pending.map(({ value }) => value))).toBeGreaterThan(0)
    for (let cpu = 0; cpu < 4; cpu++) {
      expect(pending.findLast(({ track }) => track.startsWith(`cpu${cpu} `))!.value).toBe(0)
    }
  })

  test('without samples there are no counters of TLB misses', () => {
    const { data, header } = SHOOTDOWN
    const bytes = Buffer.concat([...perfettoChunks(data, header)])
    expect(bytes.includes('TLB misses')).toBe(false)
    expect(bytesOf(SHOOTDOWN)).toSatisfy((one: Buffer) => one.includes('TLB misses'))
  })
})
