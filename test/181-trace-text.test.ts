// The canonical text of a trace, line by line, and its file.

import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { UserError } from '../src/base/errors.js'
import { openAtomic, writeFileAtomic } from '../src/base/atomic-file.js'
import { EVENT } from '../src/trace/events.js'
import type { TraceData } from '../src/trace/recorder.js'
import { TraceRecorder } from '../src/trace/recorder.js'
import { formatEvent, formatTextTrace, saveTextTrace, textChunks } from '../src/trace/text.js'
import type { TraceHeader } from '../src/trace/text.js'

const HEADER: TraceHeader = { scenario: 'two writers', era: 'linux-6.x', cpus: 2, seed: 7, frequencyGhz: 2.5 }

let folder = ''
beforeEach(() => { folder = mkdtempSync(join(tmpdir(), 'shootdown-text-')) })
afterEach(() => { rmSync(folder, { recursive: true }) })

function sample(): TraceData {
  const recorder = new TraceRecorder()
  const writer = recorder.intern('writer')
  const idle = recorder.intern('<idle>')
  recorder.record(EVENT.sysEnter, 100, 0, 101, writer, 0, recorder.intern('munmap'), 0x7f00, 0x1000, 12288)
  recorder.record(EVENT.flushSkip, 120, 0, 101, writer, 0, 1, recorder.intern('not loaded'))
  recorder.record(EVENT.tlbFlush, 121, 0, 101, writer, 0, 3, 4)
  recorder.record(EVENT.pageFaultKernel, 125, 1, 0, idle, 0, -1, -4096, 0, 0, 3)
  recorder.record(EVENT.tracingMarkWrite, 130, 1, 0, idle, 0, recorder.intern('say "hi"\nthere'))
  recorder.record(EVENT.callFunctionEntry, 12345678901234, 1, 0, idle, 0)
  return recorder.finish()
}

test('a line has the cycle, the CPU, the task, the event and its fields by name', () => {
  expect(formatTextTrace(sample(), HEADER)).toBe([
    '# shootdown trace v1',
    '# scenario: two writers',
    '# era: linux-6.x',
    '# cpus: 2',
    '# seed: 7',
    '# frequencyGhz: 2.5',
    '# events: 6',
    '         100 [000] writer-101 sys_enter name=munmap start=0x00007f0000001000 bytes=12288',
    '         120 [000] writer-101 flush_skip cpu=1 why="not loaded"',
    '         121 [000] writer-101 tlb_flush pages=3 reason=TLB_REMOTE_SEND_IPI',
    '         125 [001] <idle>-0 page_fault_kernel address=0xfffffffffffff000 ip=0x0000000000000000 errorCode=0x3',
    '         130 [001] <idle>-0 tracing_mark_write text="say \\"hi\\"\\nthere"',
    '12345678901234 [001] <idle>-0 call_function_entry',
    '',
  ].join('\n'))
})

test('one event can be formatted alone', () => {
  expect(formatEvent(sample(), 2)).toBe('         121 [000] writer-101 tlb_flush pages=3 reason=TLB_REMOTE_SEND_IPI')
})

test('a line end in a name cannot start a line of its own', () => {
  const lines = formatTextTrace(sample(), { ...HEADER, scenario: 'a\nb' }).split('\n')
  expect(lines[1]).toBe('# scenario: a\\x0ab')
})

test('a long trace is handed on in pieces that add up to the whole', () => {
  const recorder = new TraceRecorder()
  for (let i = 0; i < 20_000; i++) recorder.record(EVENT.mmFree, i, 0, 1, recorder.intern('a'), 0, i)
  const chunks = [...textChunks(recorder.finish(), HEADER)]
  expect(chunks.length).toBeGreaterThan(3)
  expect(Math.max(...chunks.map((chunk) => chunk.length))).toBeLessThan(70_000)
  expect(chunks.join('')).toBe(formatTextTrace(recorder.finish(), HEADER))
})

test('a saved trace is the same text, and no other file stays beside it', () => {
  const path = join(folder, 'run.trace')
  writeFileSync(path, 'an older trace')
  saveTextTrace(path, sample(), HEADER)
  expect(readFileSync(path, 'utf8')).toBe(formatTextTrace(sample(), HEADER))
  expect(readdirSync(folder)).toEqual(['run.trace'])
})

test('a file takes its name only when it is complete', () => {
  const path = join(folder, 'a')
  const file = openAtomic(path)
  file.write('one ')
  file.write(new TextEncoder().encode('two'))
  expect(existsSync(path)).toBe(false)
  file.commit()
  file.abort()
  expect(readFileSync(path, 'utf8')).toBe('one two')
})

test('an abandoned file leaves the older one as it was', () => {
  const path = join(folder, 'a')
  writeFileSync(path, 'older')
  expect(() => writeFileAtomic(path, (write) => {
    write('newer')
    throw new Error('stop')
  })).toThrow('stop')
  expect(readFileSync(path, 'utf8')).toBe('older')
  expect(readdirSync(folder)).toEqual(['a'])
})

test('a folder that does not exist is an error of the user, in words', () => {
  const path = join(folder, 'missing', 'a')
  expect(() => openAtomic(path)).toThrow(new UserError(`cannot write ${path}: the folder does not exist`))
  expect(() => saveTextTrace(folder, sample(), HEADER)).toThrow('it is a folder')
  expect(readdirSync(folder)).toEqual([])
})

test.runIf(existsSync('/dev/full'))('a full disk is an error of the user', () => {
  expect(() => saveTextTrace('/dev/full', sample(), HEADER)).toThrow(
    new UserError('cannot write /dev/full: no space left on the disk'))
})
