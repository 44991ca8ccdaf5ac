// The table of events and the recorder: what a record holds and in which order records come out.

import { expect, test } from 'vitest'
import {
  EVENT, EVENTS, FLUSH_REASONS, TLB_LOCAL_MM_SHOOTDOWN, TLB_REMOTE_WRONG_CPU, flushReasonText,
} from '../src/trace/events.js'
import { formatCpumask, parseCpumask } from '../src/trace/cpumask.js'
import { flagCharacters, packFlags, unpackFlags } from '../src/trace/flags.js'
import { TraceRecorder, WORDS_PER_RECORD, eventAt, eventsOf, traceBuffers } from '../src/trace/recorder.js'
import type { TraceData } from '../src/trace/recorder.js'

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
      const packed = packFlags(flags.irqsOff, flags.needResched, flags.hardIrq, preemptDepth)
      expect(unpackFlags(packed)).toEqual(flags)
      expect(flagCharacters(packed)).toBe(
        (flags.irqsOff ? 'd' : '.') + (flags.needResched ? 'N' : '.') + (flags.hardIrq ? 'h' : '.')
        + (preemptDepth ? preemptDepth.toString(16) : '.') + '.')
    }
  }
})

test('the flags that the captures show can all be written', () => {
  expect(flagCharacters(packFlags(true, false, true, 1))).toBe('d.h1.')
  expect(flagCharacters(packFlags(true, true, true, 1))).toBe('dNh1.')
  expect(flagCharacters(packFlags(false, false, false, 2))).toBe('...2.')
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

/** Records `count` events from number `first` on, one in every cycle, with values that tell which one it is. */
function recordMany(recorder: TraceRecorder, count: number, first = 0): void {
  for (let i = first; i < first + count; i++) {
    recorder.record(EVENT.flushDone, i * 3e9, i % 7, i, 0, i & 3, i, i + 1, i + 2, i + 3, i + 4, i + 5)
  }
}

/** The numbers of the events that {@link recordMany} made; -1 for one that is not whole. */
function numbersOf(data: TraceData): number[] {
  return Array.from({ length: data.length }, (_, row) => {
    const i = data.pid[row]!
    const isWhole = data.cycle[row] === i * 3e9 && data.kind[row] === EVENT.flushDone && data.cpu[row] === i % 7
      && data.comm[row] === 0 && data.flags[row] === (i & 3)
      && data.words.every((column, word) => column[row] === i + word)
    return isWhole ? i : -1
  })
}

const numbers = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i)

test('many records keep their values in however many chunks', () => {
  // Chunks end after 1024, 3072, 7168, 15,360 and 23,552 records.
  for (const count of [1, 1023, 1024, 1025, 3072, 7168, 7169, 15_360, 20_000]) {
    const recorder = new TraceRecorder()
    recordMany(recorder, count)
    expect(recorder.length).toBe(count)
    const data = recorder.finish()
    expect(data.cycle).toHaveLength(count)
    expect(numbersOf(data)).toEqual(numbers(0, count))
  }
})

test('a record that comes too late is put in its place, also across the end of a chunk', () => {
  for (const late of [1023, 1024, 1025]) {
    const recorder = new TraceRecorder()
    for (let i = 0; i < late; i++) recorder.record(EVENT.mmFree, 10 + i, 1, 0, 0, 0, i)
    expect(recorder.since(0, 1)?.length).toBe(1)
    recorder.record(EVENT.mmFree, 10 + late - 1, 0, 0, 0, 0, late)
    expect(recorder.since(0, 1)).toBeUndefined()
    expect([...recorder.finish().words[0]!]).toEqual([...numbers(0, late - 1), late, late - 1])
  }
})

test('a part of the records can be read while more are made', () => {
  const recorder = new TraceRecorder()
  recordMany(recorder, 2000)
  const part = recorder.since(1000, 50)!
  recordMany(recorder, 2000, 2000)
  expect(numbersOf(part)).toEqual(numbers(1000, 1050))
  expect(eventAt(part, 3, 1003)).toMatchObject({ index: 1003, pid: 1003 })
  expect(numbersOf(recorder.since(3990, 50)!)).toEqual(numbers(3990, 4000))
  expect(recorder.since(4000, 50)!.length).toBe(0)
})

test('a recorder of the last records keeps at least so many, at most twice as many, and gives no trace', () => {
  const recorder = new TraceRecorder({ keepLast: 10 })
  for (let i = 0; i < 64; i++) {
    recordMany(recorder, 1, i)
    // At twice the number the older half goes.
    const kept = i < 20 ? i + 1 : 11 + i % 10
    expect(recorder.length).toBe(kept)
    expect(numbersOf(recorder.recent())).toEqual(numbers(i + 1 - kept, i + 1))
    expect(recorder.finish().length).toBe(0)
  }
})

test('what was taken from a recorder stays as it is when others record', () => {
  const first = new TraceRecorder()
  recordMany(first, 40_000)
  const taken = first.take()
  expect(first.length).toBe(0)
  expect(first.finish().length).toBe(0)
  const second = new TraceRecorder()
  recordMany(second, 30_000, 7)
  recordMany(first, 5, 3)
  expect(numbersOf(taken)).toEqual(numbers(0, 40_000))
  expect(numbersOf(second.take())).toEqual(numbers(7, 30_007))
  expect(numbersOf(first.finish())).toEqual(numbers(3, 8))
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
