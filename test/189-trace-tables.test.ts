// Exports for scripts: Chrome JSON and the two CSV tables.

import { expect, test } from 'vitest'
import { counterCsvChunks, COUNTER_COLUMNS, EVENT_COLUMNS, eventCsvChunks } from '../src/trace/csv.js'
import { chromeChunks } from '../src/trace/chrome-json.js'
import { EVENT } from '../src/trace/events.js'
import { formatByEnding, TRACE_FORMATS } from '../src/trace/formats.js'
import { TraceRecorder } from '../src/trace/recorder.js'
import { SAMPLED_COUNTERS } from '../src/trace/samples.js'
import { tracedRun } from './support/traced-run.js'

const HEADER = { scenario: 's', era: 'linux-6.x', cpus: 2, seed: 1, frequencyGhz: 2 } as const
const STORM = await tracedRun('policies/1-munmap-storm.yaml')

interface ChromeEvent {
  ph: string
  pid: number
  tid: number
  ts: number
  name?: string
  id?: number
  args?: Record<string, string | number>
}

function chromeEvents(): ChromeEvent[] {
  const { data, header, samples } = STORM
  return (JSON.parse([...chromeChunks(data, header, samples)].join('')) as { traceEvents: ChromeEvent[] }).traceEvents
}

/** Splits a line of CSV whose quoted cells hold no line ends. */
function cells(line: string): string[] {
  return Array.from(line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g), ([, quoted, plain]) =>
    quoted?.replaceAll('""', '"') ?? plain ?? '')
}

test('Chrome JSON is one JSON object whose slices nest on every thread', () => {
  const open = new Map<string, ChromeEvent[]>()
  const events = chromeEvents()
  for (const event of events) {
    const key = `${event.pid} ${event.tid}`
    const stack = open.get(key) ?? []
    open.set(key, stack)
    if (event.ph === 'B') stack.push(event)
    if (event.ph === 'E') expect(stack.pop()!.ts).toBeLessThanOrEqual(event.ts)
  }
  const calls = events.filter(({ ph, pid }) => ph === 'B' && pid === 4)
  expect(calls).toHaveLength(STORM.data.kind.filter((kind) => kind === EVENT.sysEnter).length)
})

test('Chrome flows begin once, go on, and end once', () => {
  const steps = new Map<number, string>()
  for (const { ph, id } of chromeEvents()) if (id !== undefined) steps.set(id, (steps.get(id) ?? '') + ph)
  expect(steps.size).toBeGreaterThan(100)
  expect([...steps.values()].filter((step) => !/^st*f$/.test(step))).toEqual([])
})

test('the table of events has a column for each field, and says which CPU is meant', () => {
  const recorder = new TraceRecorder()
  const comm = recorder.intern('a "b", c')
  recorder.record(EVENT.ipiSendCpu, 3, 1, 7, comm, 0, 0, recorder.intern('0x0'))
  recorder.record(EVENT.pageFaultUser, 4, 1, 7, comm, 0, 0x7f00, 0x1000, 0, 0x400000, 6)
  recorder.record(EVENT.tlbFlush, 5, 1, 7, comm, 0, -1, 3)
  const [head, ...lines] = [...eventCsvChunks(recorder.finish(), HEADER)].join('').trimEnd().split('\n')
  expect(head!.split(',')).toEqual(EVENT_COLUMNS)
  expect(new Set(EVENT_COLUMNS).size).toBe(EVENT_COLUMNS.length)
  const rows = lines.map((line) => Object.fromEntries(cells(line).map((cell, i) => [EVENT_COLUMNS[i], cell])
    .filter(([, cell]) => cell !== '')))
  expect(rows).toEqual([
    { cycle: '3', us: '0.0015', cpu: '1', pid: '7', comm: 'a "b", c', event: 'ipi_send_cpu', eventCpu: '0',
      callback: '0x0' },
    { cycle: '4', us: '0.0020', cpu: '1', pid: '7', comm: 'a "b", c', event: 'page_fault_user',
      address: '0x00007f0000001000', ip: '0x0000000000400000', errorCode: '0x6' },
    { cycle: '5', us: '0.0025', cpu: '1', pid: '7', comm: 'a "b", c', event: 'tlb_flush', pages: '-1',
      reason: 'TLB_LOCAL_MM_SHOOTDOWN' },
  ])
})

test('the table of counters is in the order of time and ends at what the run counted', () => {
  const { data, header, samples, counters } = STORM
  const [head, ...lines] = [...counterCsvChunks(data, header, samples)].join('').trimEnd().split('\n')
  expect(head).toBe(COUNTER_COLUMNS.join(','))
  const last = new Map<string, number>()
  let before = 0
  for (const line of lines) {
    const [cycle, , cpu, counter, value] = line.split(',')
    expect(Number(cycle)).toBeGreaterThanOrEqual(before)
    before = Number(cycle)
    last.set(`${counter} ${cpu}`, Number(value))
  }
  for (const name of SAMPLED_COUNTERS) {
    expect([0, 1, 2, 3].reduce((sum, cpu) => sum + last.get(`${name} ${cpu}`)!, 0)).toBe(counters[name])
  }
  expect([0, 1, 2, 3].map((cpu) => last.get(`pendingIpis ${cpu}`))).toEqual([0, 0, 0, 0])
})

test('a name says the format by its longest ending', () => {
  const names = [
    'a.trace', 'A.TXT', 'b.counters.csv', 'c.csv', 'd.pftrace', 'e.perfetto-trace', 'f.json', 'g.ftrace', 'h',
  ]
  expect(names.map((name) => formatByEnding(name)?.name)).toEqual([
    'text', 'text', 'counters', 'csv', 'perfetto', 'perfetto', 'chrome', 'ftrace', undefined,
  ])
})

test.each(TRACE_FORMATS.map(({ name, chunks }) => ({ name, chunks })))(
  'an empty trace has an export as $name', ({ chunks }) => {
    const empty = new TraceRecorder().finish()
    const bytes = Buffer.concat([...chunks({ data: empty, header: HEADER })].map((chunk) => Buffer.from(chunk)))
    expect(bytes.length).toBeGreaterThan(20)
  })
