// ftrace text: what we write has the layout of a real kernel, and what a real kernel wrote can be
// read. fixtures/ftrace holds two captures of Linux 6.18 on two CPUs (trace_clock mono)
// and one-of-each.txt, which we wrote.

import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { UserError } from '../src/base/errors.js'
import { CALLBACK_CALL_FUNCTION, CALLBACK_RESCHEDULE, EVENT, EVENTS } from '../src/trace/events.js'
import { packFlags } from '../src/trace/flags.js'
import { parseFtrace } from '../src/trace/ftrace-parse.js'
import type { FtraceRecord } from '../src/trace/ftrace-parse.js'
import { formatFtrace } from '../src/trace/ftrace-text.js'
import type { FtraceOptions } from '../src/trace/ftrace-text.js'
import { TraceRecorder } from '../src/trace/recorder.js'

const OPTIONS: FtraceOptions = { era: 'linux-6.x', cpus: 2, frequencyGhz: 1 }
const CAPTURES = ['munmap3-remote-spin', 'pipe-pingpong'].map((name) => ({
  name, text: readFileSync(new URL(`./fixtures/ftrace/${name}.txt`, import.meta.url), 'utf8'),
}))

const bodyOf = (text: string): string[] => text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))

describe.each(CAPTURES)('the capture $name', ({ text }) => {
  const records = parseFtrace(text)

  test('is read line by line', () => {
    expect(records).toHaveLength(bodyOf(text).length)
    expect(new Set(records.map((record) => record.cpu))).toEqual(new Set([0, 1]))
    for (const record of records) expect(text.split('\n')[record.line - 1]).toContain(record.payload)
  })

  test('has the header that we write', () => {
    // Lines were taken out of one capture after its header was written.
    const header = text.split('\n').filter((line) => line.startsWith('#'))
      .map((line) => line.replace(/\d+\/\d+/, `${records.length}/${records.length}`))
    expect(written(records).slice(0, header.length)).toEqual(header)
  })

  test('comes out of our writer as it went in, but for kernel symbols and priorities', () => {
    const plain = (line: string): string => line
      .replace(/callsite=\S+/, 'callsite=0x0').replace(/_prio=0$/, '_prio=120').replace(/ip=__?\w+|ip=str\w+/, 'ip=0x0')
      // Softirq and task-only need-resched do not exist in the model.
      .replace(/(\] .)n/, '$1N').replace(/(\] ..)s/, '$1.').replace(/(\] ..)H/, '$1h')
      // A thread renamed itself, and the prefix shows the newest name for all of its lines.
      .replace(/prev_comm=\S+/, 'prev_comm=?')
    expect(bodyOf(written(records).join('\n')).map(plain)).toEqual(bodyOf(text).map(plain))
  })
})

test('the first shootdown of the capture has the initiator wait for one responder', () => {
  const records = parseFtrace(CAPTURES[0]!.text)
  const begin = records.findIndex((record) => record.event === 'tracing_mark_write')
  const story = records.slice(begin + 1, begin + 7).map(({ cpu, event, fields }) =>
    `${cpu}: ${event} ${fields.pages ?? fields.cpu ?? fields.vector} ${fields.reason ?? ''}`.trim())
  expect(story).toEqual([
    '0: tlb_flush 3 remote IPI send',
    '0: ipi_send_cpu 1',
    '0: tlb_flush 3 local MM shootdown',
    '1: call_function_single_entry 251',
    '1: tlb_flush 3 remote shootdown',
    '1: call_function_single_exit 251',
  ])
})

test('every kind of event has its payload', async () => {
  await expect(formatFtrace(oneOfEach(), OPTIONS)).toMatchFileSnapshot('./fixtures/ftrace/one-of-each.txt')
})

test('our own events appear only when asked for, as markers', () => {
  const plain = parseFtrace(formatFtrace(oneOfEach(), OPTIONS))
  const synthetic = parseFtrace(formatFtrace(oneOfEach(), { ...OPTIONS, synthetic: true }))
  expect(plain).toHaveLength(EVENTS.filter((row) => row.ftrace).length)
  expect(synthetic).toHaveLength(EVENTS.length)
  expect(synthetic[EVENT.flushSkip]).toMatchObject({
    event: 'tracing_mark_write', payload: 'flush_skip: cpu=1 why="two words"',
  })
})

test('a 4.6 trace has its own spelling and no events that 4.6 did not have', () => {
  const old = parseFtrace(formatFtrace(oneOfEach(), { ...OPTIONS, era: 'linux-4.6' }))
  expect(old.find((record) => record.event === 'tlb_flush')?.payload).toBe('pages:-1 reason:local mm shootdown (3)')
  expect(old.filter((record) => /^(ipi_send|csd)_/.test(record.event))).toEqual([])
  const synthetic = parseFtrace(formatFtrace(oneOfEach(), { ...OPTIONS, era: 'linux-4.6', synthetic: true }))
  expect(synthetic.filter((record) => /^(ipi_send|csd)_/.test(record.event))).toHaveLength(3)
})

test('cycles become seconds by the clock, rounded to the nearest microsecond', () => {
  const time = (cycle: number, frequencyGhz: number): string => {
    const recorder = new TraceRecorder()
    recorder.record(EVENT.callFunctionEntry, cycle, 0, 1, recorder.intern('a'), 0)
    return /([\d.]+): call/.exec(formatFtrace(recorder.finish(), { ...OPTIONS, frequencyGhz }))![1]!
  }
  expect(time(2_799, 2.8)).toBe('0.000001')
  expect(time(2_800 * 1e6 - 1, 2.8)).toBe('1.000000')
  expect(time(2_800 * 1e6 * 12345 + 2_800 * 678, 2.8)).toBe('12345.000678')
})

test('the parser reads what the writer writes, whatever a task is called', () => {
  const name = fc.string({ minLength: 1, maxLength: 15, unit: fc.constantFrom(...'ab -=[]():.1') })
    .filter((text) => text.trim() === text)
  fc.assert(fc.property(name, name, fc.nat(9_999_999), fc.nat(1e9), (comm, other, pid, cycle) => {
    const recorder = new TraceRecorder()
    recorder.record(EVENT.schedSwitch, cycle, 1, pid + 1, recorder.intern(comm), 0,
      recorder.intern('R+'), recorder.intern(other), 7)
    const [record] = parseFtrace(formatFtrace(recorder.finish(), OPTIONS))
    expect(record).toMatchObject({
      comm, pid: pid + 1, cpu: 1, timeUs: Math.round(cycle / 1000), event: 'sched_switch',
      fields: { prev_comm: comm, prev_pid: String(pid + 1), prev_state: 'R+', next_comm: other, next_pid: '7' },
    })
  }))
})

test('a line that is not of an ftrace text is an error with its number', () => {
  const good = '          <idle>-0       [001] d.h1.  4137.687956: call_function_single_entry: vector=251'
  const cases: [string, string][] = [
    [`# tracer: nop\n${good}\nnonsense\n`, 'a.txt:3:1: not a line of an ftrace text trace'],
    [`${good}\r\n${good.replace('[001]', '[x]')}\n`, 'a.txt:2:26: not a line of an ftrace text trace'],
    [good.replace('vector=251', 'vector:251'), 'a.txt:1:80: the payload of call_function_single_entry does not have'],
    [good.replace(/call.*/, 'tlb_flush: pages:all reason:x (1)'), 'a.txt:1:63: the payload of tlb_flush does not'],
  ]
  for (const [text, message] of cases) {
    const error = caught(() => parseFtrace(text, 'a.txt'))
    expect(error).toBeInstanceOf(UserError)
    expect((error as UserError).format()).toContain(message)
  }
})

test('an event that we do not know keeps its payload', () => {
  const [record] = parseFtrace('     kworker/0:1-9  (-----) [000] d..2. 1.000000: workqueue_queue_work: work=0x1 cpu=2')
  expect(record).toMatchObject({ comm: 'kworker/0:1', pid: 9, fields: { work: '0x1', cpu: '2' } })
})

function caught(action: () => unknown): unknown {
  try {
    action()
  } catch (error) {
    return error
  }
  return undefined
}

/** One record of every kind, a microsecond apart. */
function oneOfEach(): ReturnType<TraceRecorder['finish']> {
  const recorder = new TraceRecorder()
  const writer = recorder.intern('writer')
  const text = recorder.intern('two words')
  const words: Record<number, number[]> = {
    [EVENT.schedSwitch]: [recorder.intern('S'), recorder.intern('<idle>'), 0],
    [EVENT.schedWakeup]: [text, 102, 0],
    [EVENT.schedWakeupNew]: [text, 102, 0],
    [EVENT.schedMigrateTask]: [text, 102, 0, 1],
    [EVENT.schedProcessFork]: [text, 102],
    [EVENT.schedProcessExit]: [1],
    [EVENT.tlbFlush]: [-1, 3],
    [EVENT.ipiSendCpu]: [1, recorder.intern(CALLBACK_CALL_FUNCTION)],
    [EVENT.ipiSendCpumask]: [recorder.intern('3'), recorder.intern(CALLBACK_RESCHEDULE)],
    [EVENT.csdQueueCpu]: [1],
    [EVENT.pageFaultUser]: [0x7fff, 0x1000, 0, 0x400000, 0x14],
    [EVENT.pageFaultKernel]: [-1, 0x80000000, 0, 0, 3],
    [EVENT.tracingMarkWrite]: [text],
    [EVENT.flushSkip]: [1, text],
  }
  for (const row of EVENTS) {
    recorder.record(row.id, row.id * 1000, 1, 101, writer, packFlags(true, false, false, 2),
      ...(words[row.id] ?? []) as [])
  }
  return recorder.finish()
}

/** Parsed records, recorded by us at 1 GHz and written again, as lines. */
function written(records: readonly FtraceRecord[]): string[] {
  const recorder = new TraceRecorder()
  const id = (text: string | undefined): number => recorder.intern(text ?? '')
  for (const { comm, pid, cpu, flags, timeUs, event, fields } of records) {
    const row = EVENTS.find((known) => known.name === event)!
    const packed = packFlags(
      flags[0] === 'd', flags[1] !== '.', /[hH]/.test(flags[2]!), flags[3] === '.' ? 0 : parseInt(flags[3]!, 16))
    const words: number[] = []
    const pushAddress = (text: string | undefined): void => {
      const value = BigInt(text?.startsWith('0x') ? text : 0)
      words.push(Number(value >> 32n), Number(value & 0xffffffffn))
    }
    if (row.id === EVENT.schedSwitch) words.push(id(fields.prev_state), id(fields.next_comm), Number(fields.next_pid))
    else if (row.id === EVENT.schedProcessExit) words.push(fields.group_dead === 'true' ? 1 : 0)
    else if (row.id === EVENT.tlbFlush) words.push(Number(fields.pages), Number(fields.reason_id))
    else if (row.id === EVENT.ipiSendCpu) words.push(Number(fields.cpu), id(fields.callback!.replace(/\+.*/, '')))
    else if (row.id === EVENT.tracingMarkWrite) words.push(id(fields.text))
    else if (fields.address !== undefined) {
      pushAddress(fields.address)
      pushAddress(fields.ip)
      words.push(Number(fields.error_code))
    }
    recorder.record(row.id, timeUs * 1000, cpu, pid, id(comm), packed, ...words as [])
  }
  return formatFtrace(recorder.finish(), OPTIONS).split('\n')
}
