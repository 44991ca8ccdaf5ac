// The table of events and the recorder: what a record holds and in which order records come out.

import { expect, test } from 'vitest'
import {
  EVENT, EVENTS, FLUSH_REASONS, TLB_LOCAL_MM_SHOOTDOWN, TLB_REMOTE_WRONG_CPU, flushReasonText,
} from '../src/trace/events.js'
import { formatCpumask, parseCpumask } from '../src/trace/cpumask.js'
import { flagCharacters, packFlags, unpackFlags } from '../src/trace/flags.js'
import { TraceRecorder, WORDS_PER_RECORD, eventAt, eventsOf, traceBuffers } from '../src/trace/recorder.js'

test('the id of an event is its place in the table, and its constant says the same', () => {
  const capital = (part: string): string => part[0]!.toUpperCase() + part.slice(1)
  const camel = (name: string): string => name.split('_').map((part, i) => (i > 0 ? capital(part) : part)).join('')
  EVENTS.forEach((row, index) => {
    expect(row.id).toBe(index)
    expect((EVENT as Record<string, number>)[camel(row.name)]).toBe(index)
  })
  expect(Object.keys(EVENT)).toHaveLength(EVENTS.length)
})

test('the fields of every event fit in the words of a record', () => {
  for (const row of EVENTS) {
    const words = row.fields.reduce((sum, field) => sum + (field.type === 'address' ? 2 : 1), 0)
    expect(words, row.name).toBeLessThanOrEqual(WORDS_PER_RECORD)
    expect(new Set(row.fields.map((field) => field.name)).size, row.name).toBe(row.fields.length)
  }
})

test('a flush has six reasons in 6.x; 4.6 spells two of them otherwise and lacks the sixth', () => {
  expect(FLUSH_REASONS.map((reason) => flushReasonText(reason.id, 'linux-6.x'))).toEqual([
    'flush on task switch', 'remote shootdown', 'local shootdown', 'local MM shootdown', 'remote IPI send',
    'remote wrong CPU',
  ])
  expect(FLUSH_REASONS.map((reason) => flushReasonText(reason.id, 'linux-4.6'))).toEqual([
    'flush on task switch', 'remote shootdown', 'local shootdown', 'local mm shootdown', 'remote ipi send', '0x5',
  ])
  expect([TLB_LOCAL_MM_SHOOTDOWN, TLB_REMOTE_WRONG_CPU]).toEqual([3, 5])
})

test('context flags survive packing, for every combination', () => {
  for (let bits = 0; bits < 8; bits++) {
    for (let preemptDepth = 0; preemptDepth <= 15; preemptDepth++) {
      const flags = {
        irqsOff: (bits & 1) !== 0, needResched: (bits & 2) !== 0, hardIrq: (bits & 4) !== 0, preemptDepth,
      }
      expect(unpackFlags(packFlags(flags))).toEqual(flags)
      expect(flagCharacters(packFlags(flags))).toBe(
        (flags.irqsOff ? 'd' : '.') + (flags.needResched ? 'N' : '.') + (flags.hardIrq ? 'h' : '.')
        + (preemptDepth ? preemptDepth.toString(16) : '.') + '.')
    }
  }
})

test('the flags that the captures show can all be written', () => {
  expect(flagCharacters(packFlags({ irqsOff: true, hardIrq: true, preemptDepth: 1 }))).toBe('d.h1.')
  expect(flagCharacters(packFlags({ irqsOff: true, needResched: true, hardIrq: true, preemptDepth: 1 }))).toBe('dNh1.')
  expect(flagCharacters(packFlags({ preemptDepth: 2 }))).toBe('...2.')
  expect(flagCharacters(0)).toBe('.....')
})

test('a CPU mask has one hex digit for four CPUs and a comma every 32', () => {
  expect(formatCpumask([0b10], 2)).toBe('2')
  expect(formatCpumask([0x80000001 | 0, 0xf], 36)).toBe('f,80000001')
  expect(formatCpumask([1, 2], 64)).toBe('00000002,00000001')
  expect(parseCpumask('f,80000001')).toEqual([0, 31, 32, 33, 34, 35])
  expect(parseCpumask('')).toBeUndefined()
  expect(parseCpumask('0x1')).toBeUndefined()
  for (let cpu = 0; cpu < 64; cpu++) {
    const words = new Int32Array(2)
    words[cpu >> 5] = 1 << (cpu & 31)
    expect(parseCpumask(formatCpumask(words, 64))).toEqual([cpu])
  }
})

test('a record comes back with the fields of its kind under their names', () => {
  const recorder = new TraceRecorder()
  const comm = recorder.intern('writer')
  recorder.record(EVENT.pageFaultUser, 12, 3, 101, comm, 0, 0x7fff, -4096, 0, 0x400000, 7)
  recorder.record(EVENT.tracingMarkWrite, 13, 3, 101, comm, 0, recorder.intern('half way'))
  recorder.record(EVENT.tlbFlush, 14, 3, 101, comm, 0, -1, TLB_LOCAL_MM_SHOOTDOWN)
  const [fault, mark, flush] = eventsOf(recorder.finish())
  expect(fault).toEqual({
    index: 0, cycle: 12, cpu: 3, pid: 101, comm: 'writer', flags: 0, kind: EVENT.pageFaultUser,
    name: 'page_fault_user', fields: { address: 0x7ffffffff000n, ip: 0x400000n, errorCode: 7 },
  })
  expect(mark?.fields).toEqual({ text: 'half way' })
  expect(flush?.fields).toEqual({ pages: -1, reason: 3 })
})

test('records come out by cycle, then CPU, then the order in which they were made', () => {
  const recorder = new TraceRecorder()
  const cycles = [5, 3, 3, 3, 9, 3]
  const cpus = [0, 1, 0, 1, 0, 0]
  cycles.forEach((cycle, i) => recorder.record(EVENT.mmFree, cycle, cpus[i]!, 0, 0, 0, i))
  expect([...recorder.finish().words[0]!]).toEqual([2, 5, 1, 3, 0, 4])
})

test('many records keep their values while the columns grow', () => {
  const recorder = new TraceRecorder()
  for (let i = 0; i < 5000; i++) recorder.record(EVENT.flushDone, i * 3e9, i % 7, i, 0, i & 3, i, i + 1, i + 2)
  const data = recorder.finish()
  expect(data.length).toBe(5000)
  expect(data.cycle).toHaveLength(5000)
  for (const i of [0, 1023, 1024, 4999]) {
    expect(eventAt(data, i)).toMatchObject({
      cycle: i * 3e9, cpu: i % 7, pid: i, flags: i & 3, fields: { mm: i, targets: i + 1, cycles: i + 2 },
    })
  }
})

test('a recorder that is off records nothing but still knows its strings', () => {
  const recorder = new TraceRecorder({ enabled: false })
  recorder.record(EVENT.mmFree, 1, 0, 0, recorder.intern('idle'), 0, 1)
  expect(recorder.length).toBe(0)
  expect(recorder.intern('idle')).toBe(0)
  expect(recorder.finish()).toMatchObject({ length: 0, strings: ['idle'] })
})

test('a finished trace is plain data that can be moved to another thread', () => {
  const recorder = new TraceRecorder()
  recorder.record(EVENT.schedSwitch, 1, 0, 7, recorder.intern('a'), 0, recorder.intern('S'), recorder.intern('b'), 8)
  const data = recorder.finish()
  const before = [...eventsOf(data)]
  const moved = structuredClone(data, { transfer: traceBuffers(data) })
  expect(data.cycle.byteLength).toBe(0)
  expect([...eventsOf(moved)]).toEqual(before)
})
