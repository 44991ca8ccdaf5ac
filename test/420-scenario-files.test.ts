// Scenario files on disk: what is read, which traces are loaded, and what happens when a path does
// not lead to a scenario.

import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { UserError } from '../src/base/errors.js'
import type { TraceRecords } from '../src/kernel/abi.js'
import { loadScenario, MAX_SCENARIO_BYTES } from '../src/scenario/parse.js'

let folder = ''

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'shootdown-scenarios-'))
})

afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
})

function write(name: string, content: string | Uint8Array): string {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}

function traceOf(file: string, start = 0x400000): TraceRecords {
  const ranges = [{ start: { hi: 0, lo: start }, end: { hi: 0, lo: start + 4096 } }]
  return { file, words: new Int32Array(new SharedArrayBuffer(800)), records: 100, ranges }
}

async function failure(path: string, loadTrace = traceOf): Promise<string> {
  try {
    await loadScenario(path, {}, (file) => loadTrace(file))
  } catch (error) {
    if (error instanceof UserError) return error.format().replaceAll(folder, 'FOLDER')
    throw error
  }
  return 'accepted'
}

test('a scenario without a name is called like its file', async () => {
  const scenario = await loadScenario(write('quiet.yaml', 'processes: [{name: p, program: [yield]}]'), {}, traceOf)
  expect(scenario).toMatchObject({ name: 'quiet', config: { name: 'quiet' } })
})

test('a trace is found next to the scenario, loaded once, and mapped for the processes that replay it', async () => {
  mkdirSync(join(folder, 'traces'))
  write('traces/a.bin', 'x')
  const path = write('replay.yaml', `
processes:
  - {name: other, program: [yield]}
  - name: p
    program:
      - replay: traces/a.bin
      - repeat: {times: 2, do: [replay: {trace: traces/a.bin, from: 10, count: 20}]}
      - fork: {name: c, program: [replay: {trace: traces/a.bin, from: 90}]}
`)
  const loaded: string[] = []
  const { image } = await loadScenario(path, {}, async (file) => {
    loaded.push(file)
    return traceOf(file)
  })
  expect(loaded).toEqual([join(folder, 'traces/a.bin')])
  expect(image.processes.map(({ traceMappings }) => traceMappings)).toEqual([[], [0]])
  const instructions = image.programs.flatMap(({ code }) => code)
  const replays = instructions.flatMap((one) => one.op === 'replay' ? [[one.from, one.count]] : [])
  expect(replays).toEqual([[0, 100], [10, 20], [90, 10]])
})

test('records beyond the end of a trace, and traces of another address space, are refused', async () => {
  write('b.bin', 'x')
  const replay = (options: string, head = ''): string =>
    write('bad-replay.yaml', `${head}processes: [{name: p, program: [replay: {trace: b.bin${options}}]}]`)
  expect(await failure(replay(', from: 100'))).toContain('the trace has 100 records, so it has no record 100')
  expect(await failure(replay(', from: 90, count: 11'))).toContain('the trace has only 10 records from 90 on')
  expect(await failure(replay('', 'machine: {geometry: i386}\n'), (file) => traceOf(file, 0xd0000000)))
    .toContain('the trace does not fit this machine: 0x00000000d0000000 is an address outside the geometry')
})

test('an error inside a trace names the scenario line that asked for it', async () => {
  write('c.bin', 'x')
  const path = write('c.yaml', 'processes:\n  - {name: p, program: [replay: c.bin]}\n')
  const message = await failure(path, (file) => {
    throw new UserError('record 7 is damaged', { file, line: 7, column: 1 })
  })
  expect(message.split('\n')).toEqual([
    'FOLDER/c.yaml:2:33: the trace "c.bin" cannot be read',
    '    2 |   - {name: p, program: [replay: c.bin]}',
    '      |                                 ^~~~~',
    'FOLDER/c.bin:7:1: record 7 is damaged',
  ])
})

test('a missing file suggests its neighbour, for scenarios and for traces', async () => {
  write('storm.yaml', 'processes: [{name: p, program: [replay: trace.bn]}]')
  write('trace.bin', 'x')
  expect(await failure(join(folder, 'strom.yaml'))).toBe(
    'FOLDER/strom.yaml:1:1: cannot read the scenario: no such file\ndid you mean "storm.yaml"?')
  expect(await failure(join(folder, 'storm.yaml'))).toContain('did you mean "trace.bin"?')
  expect(await failure(join(folder, 'nowhere/x.yaml'))).toContain('there is no directory "FOLDER/nowhere"')
})

test('a folder, a binary file, an empty file and a huge file are not scenarios', async () => {
  expect(await failure(folder)).toContain('is a directory, not a scenario file')
  expect(await failure(write('binary.yaml', new Uint8Array([0x7f, 0x45, 0, 1]))))
    .toContain('this is not text in UTF-8')
  expect(await failure(write('latin.yaml', new Uint8Array([0x6e, 0xe4, 0x6d])))).toContain('this is not text in UTF-8')
  expect(await failure(write('empty.yaml', ''))).toContain(':1:1: the scenario is empty')
  const huge = new Uint8Array(MAX_SCENARIO_BYTES + 1).fill(0x23)
  expect(await failure(write('huge.yaml', huge))).toContain('is too large for a scenario')
})

test('what a path leads to besides is told apart: pipes, devices, links', async () => {
  const pipe = join(folder, 'pipe.yaml')
  execFileSync('mkfifo', [pipe])
  expect(await failure(pipe)).toContain('this is a named pipe, not a scenario file\nto read a pipe give /dev/stdin')
  expect(await failure('/dev/zero')).toContain('this is a device')
  symlinkSync('nothing.yaml', join(folder, 'dangling.yaml'))
  expect(await failure(join(folder, 'dangling.yaml'))).toContain('it is a symbolic link to a file that does not exist')
  symlinkSync('circle.yaml', join(folder, 'circle.yaml'))
  expect(await failure(join(folder, 'circle.yaml'))).toContain('its symbolic links lead in a circle')
  write('plain.yaml', 'processes: [{name: p, program: [yield]}]')
  expect(await failure(join(folder, 'plain.yaml/x'))).toContain('a part of the path is not a folder')
})

test('aliases that multiply without end are stopped', async () => {
  const levels = Array.from({ length: 12 }, (_, level) => {
    const next = level === 0 ? 'lol' : `*l${level - 1}`
    return `- &l${level} [${Array(9).fill(next).join(', ')}]`
  })
  expect(await failure(write('bomb.yaml', levels.join('\n')))).toContain('holds more than 200000 values')
})

test('a byte-order mark and Windows line ends do not matter', async () => {
  const path = write('windows.yaml', '\ufeffprocesses:\r\n  - name: p\r\n    program:\r\n      - tuch: x\r\n')
  expect((await failure(path)).split('\n').slice(0, 3)).toEqual([
    'FOLDER/windows.yaml:4:9: unknown operation "tuch"', '    4 |       - tuch: x', '      |         ^~~~',
  ])
})
