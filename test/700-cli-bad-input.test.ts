// Bad input to the command: exit code 2, one message with the place, no stack, and nothing left behind.
// What the messages of the scenario language say in detail is in 410-scenario-errors.test.ts.

import { chmodSync, copyFileSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ROOT, shootdown, temporaryFolder } from './support/cli.js'

const app = (...operations: string[]): string =>
  `processes:\n  - name: app\n    program:\n${operations.map((one) => `      - ${one}\n`).join('')}`
const GOOD = app('mmap: {name: buf, pages: 1}')

interface Case {
  name: string
  scenario: string
  files?: Readonly<Record<string, string | Uint8Array>>
  args?: readonly string[]
  message: string | RegExp
}

const CASES: readonly Case[] = [
  { name: 'an unknown key', scenario: `sede: 1\n${GOOD}`, message: 's.yaml:1:1: unknown key "sede"' },
  { name: 'a value of the wrong type', scenario: app('mmap: {name: buf, pages: many}'),
    message: 's.yaml:4:34: expected an integer' },
  { name: 'two mappings that overlap without replacing',
    scenario: app('mmap: {at: 0x10000, pages: 4, fixed: true}', 'mmap: {at: 0x13000, pages: 1, noReplace: true}'),
    message: 's.yaml:5:20: the mapping [0x0000000000013000, 0x0000000000014000) overlaps the one of line 4' },
  { name: 'an address outside of the geometry', scenario: app('read: 0x1000000000000'), message: /s\.yaml:4:15: .*0x/ },
  { name: 'a missing trace', scenario: app('replay: nowhere.trace'),
    message: 's.yaml:4:17: there is no trace file "nowhere.trace"' },
  { name: 'a truncated trace', scenario: app('replay: cut.trace'),
    files: { 'cut.trace': new Uint8Array([0, 0, 1, 2, 3, 0, 0, 0, 0, 0, 1]) },
    message: /s\.yaml:4:17: the trace "cut\.trace" cannot be read\n[^]*cut\.trace/ },
  { name: 'too many CPUs', scenario: `cpus: 5000\n${GOOD}`,
    message: 's.yaml:1:7: expected an integer from 1 to 256 CPUs' },
  { name: 'too many CPUs on the command line', scenario: GOOD, args: ['--cpus', '5000'],
    message: "argument '5000' is invalid. expected a whole number from 1 to 256" },
  { name: 'an unknown preset', scenario: `machine: skl-2x\n${GOOD}`, message: /s\.yaml:1:10: [^]*skl-2s/ },
  { name: 'an event that does not exist', scenario: `${GOOD}expect:\n  - {event: tlb_flish, count: 1}\n`,
    message: /s\.yaml:6:\d+: [^]*tlb_flush/ },
  { name: 'a trace into a folder that does not exist', scenario: GOOD, args: ['--trace', 'no/out.txt'],
    message: 'cannot write no/out.txt: the folder does not exist' },
  { name: 'a trace of an unknown format', scenario: GOOD, args: ['--trace', 'out.xml'],
    message: /unknown extension "\.xml"\n.*\.txt.*\.ftrace/ },
  { name: 'a trace in the place of a folder', scenario: GOOD, args: ['--trace', 'folder.txt'],
    message: 'cannot write folder.txt: it is a folder' },
]

describe('bad input', () => {
  for (const { name, scenario, files, args, message } of CASES) {
    test(`${name} is refused`, async () => {
      const folder = temporaryFolder({ 's.yaml': scenario, ...files })
      mkdirSync(join(folder, 'folder.txt'))
      const before = readdirSync(folder)
      const trace = args?.includes('--trace') ? [] : ['--trace', 'out.txt']
      const { code, stdout, stderr } = await shootdown(['run', 's.yaml', ...trace, ...(args ?? [])], { cwd: folder })
      expect(stderr).toMatch(message)
      expect(stderr).toMatch(/^error: /)
      expect(stderr).not.toMatch(/\n\s+at /)
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
      expect(readdirSync(folder)).toEqual(before)
    })
  }

  test('a folder is not a scenario, and one that may not be read says so', async () => {
    const folder = temporaryFolder()
    const closed = join(folder, 'closed')
    mkdirSync(closed)
    const { code, stderr } = await shootdown(['run', 'closed'], { cwd: folder })
    expect({ code, stderr })
      .toEqual({ code: 2, stderr: 'error: closed:1:1: this is a directory, not a scenario file\n' })
    chmodSync(closed, 0)
    const inside = await shootdown(['run', 'closed/s.yaml'], { cwd: folder })
    chmodSync(closed, 0o700)
    expect(inside.code).toBe(2)
    // Root may read every folder, and finds it empty.
    expect(inside.stderr).toMatch(/closed\/s\.yaml:1:1: cannot read the scenario: (permission denied|no such file)/)
  })

  test('an output never replaces an input, whatever it is called', async () => {
    const folder = temporaryFolder({ 's.txt': app('replay: {trace: a.trace, count: 2}') })
    copyFileSync(join(ROOT, 'test/data/pyjson-200k.trace.xz'), join(folder, 'a.trace'))
    symlinkSync('s.txt', join(folder, 'link.txt'))
    const bytes = readFileSync(join(folder, 'a.trace'))
    for (const args of [
      ['run', 's.txt', '--trace', 's.txt'], ['run', 's.txt', '--trace', './link.txt'],
      ['run', 's.txt', '--trace', 'a.trace'], ['dump', 's.txt', '--image', 's.txt'],
    ]) {
      const { code, stdout, stderr } = await shootdown(args, { cwd: folder })
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
      expect(stderr).toMatch(/^error: cannot write .*: it is an input of this run, and would be lost\n$/)
    }
    expect(readFileSync(join(folder, 's.txt'), 'utf8')).toBe(app('replay: {trace: a.trace, count: 2}'))
    expect(readFileSync(join(folder, 'a.trace')).equals(bytes)).toBe(true)
  })

  test('a disk that is full leaves nothing but the message', async () => {
    const folder = temporaryFolder({ 's.yaml': GOOD })
    symlinkSync('/dev/full', join(folder, 'full.txt'))
    const { code, stdout, stderr } = await shootdown(['run', 's.yaml', '--trace', 'full.txt'], { cwd: folder })
    expect({ code, stdout, stderr })
      .toEqual({ code: 2, stdout: '', stderr: 'error: cannot write full.txt: no space left on the disk\n' })
    expect(readdirSync(folder).sort()).toEqual(['full.txt', 's.yaml'])
  })

  test('one bad file among several stops everything before anything runs', async () => {
    const folder = temporaryFolder({ 'good.yaml': GOOD, 'bad.yaml': `${GOOD}x: 1\n` })
    const { code, stdout, stderr } = await shootdown(['run', 'good.yaml', 'bad.yaml'], { cwd: folder })
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain('bad.yaml:5:1: unknown key "x"')
  })
})
