// `shootdown compare` as people use it: the sessions of docs/compare.md, exit codes, and input that is
// no capture or does not fit.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { ROOT, shootdown, temporaryFolder } from './support/cli.js'

const PREFIX = 'npm run -s shootdown -- '
const SESSIONS = Array.from(readFileSync(join(ROOT, 'docs/compare.md'), 'utf8')
  .matchAll(/^```console\n\$ (.+)\n([^]*?)^```$/gm), ([, command, output]) => ({ command: command!, output: output! }))
const EXAMPLE = join(ROOT, 'scenarios/captures/example.ftrace')

describe('docs/compare.md', () => {
  test('has four sessions', () => expect(SESSIONS).toHaveLength(4))

  for (const { command, output } of SESSIONS) {
    test(`shows what "${command.slice(PREFIX.length)}" prints`, async () => {
      const { code, stdout } = await shootdown(command.slice(PREFIX.length).split(' '))
      expect(code).toBe(output.includes('DIFFERENT:') ? 1 : 0)
      let rest = stdout
      for (const [index, piece] of output.split(/^\.\.\.\n/m).entries()) {
        const at = rest.indexOf(piece)
        expect(at < 0 || (index === 0 && at > 0) ? `not in the output: ${piece}` : '').toBe('')
        rest = rest.slice(at + piece.length)
      }
    })
  }
})

test('--json is one object with the verdict, the operations and the tasks', async () => {
  const { code, stdout } = await shootdown(['compare', EXAMPLE, '--derive', '--json'])
  expect(code).toBe(0)
  expect(JSON.parse(stdout)).toMatchObject({
    ok: true, verdict: 'explained', tasks: [{ comm: 'tlb_main', pid: 1 }, { comm: 'tlb_remote', pid: 2 }],
    operations: [{ name: 'op=munmap pages=5 remote=lazy tables=freed', round: 0, verdict: 'explained' }, { round: 1 }],
  })
})

test('a derived scenario can be saved and is then a scenario like others', async () => {
  const saved = join(temporaryFolder(), 'derived.yaml')
  expect((await shootdown(['compare', EXAMPLE, '--derive', '--save-scenario', saved])).code).toBe(0)
  expect((await shootdown(['run', saved, '--engine', 'inline', '--check'])).code).toBe(0)
  expect((await shootdown(['compare', EXAMPLE, saved])).code).toBe(0)
})

test('a saved trace, in both forms, and a packed capture are compared as well', async () => {
  const folder = temporaryFolder()
  const scenario = join(ROOT, 'scenarios/captures/munmap3-remote-spin.yaml')
  const packed = join(folder, 'capture.gz')
  writeFileSync(packed, gzipSync(readFileSync(join(ROOT, 'test/fixtures/ftrace/munmap3-remote-spin.txt'))))
  for (const name of ['saved.trace', 'saved.ftrace']) {
    const saved = join(folder, name)
    expect((await shootdown(['run', scenario, '--engine', 'inline', '--trace', saved])).code).toBe(0)
    const { code, stdout } = await shootdown(['compare', packed, saved])
    expect([code, stdout.includes('no unexplained difference: 5 operations')]).toEqual([0, true])
  }
})

test('what cannot be compared is told, with its place, and the exit code is 2', async () => {
  const folder = temporaryFolder()
  const file = (name: string, content: string | Uint8Array): string => {
    writeFileSync(join(folder, name), content)
    return join(folder, name)
  }
  const cases: [string[], string][] = [
    [[EXAMPLE], 'there is nothing to compare with\ngive a scenario, or --derive'],
    [[EXAMPLE, 'x.yaml', '--derive'], '--derive makes the scenario from the capture'],
    [[EXAMPLE, '--derive', '--map', 'main'], 'expected REAL=OURS'],
    [[join(folder, 'none.txt'), '--derive'], 'no such file'],
    [[file('empty.txt', ''), '--derive'], 'the file is empty'],
    [[file('binary.txt', Uint8Array.from([65, 0, 66])), '--derive'], 'binary.txt:1:1: this is a binary file'],
    [[file('trace.dat', '\x17\x08Dtracing6\0'), '--derive'], 'trace.dat:1:1: this is a trace.dat of trace-cmd'],
    [[file('bad.txt', '# tracer: nop\nhello\n'), '--derive'], 'bad.txt:2:1: not a line of an ftrace text trace'],
    [[file('plain.txt', '  a-1  [000] d..1. 1.000001: tlb_flush: pages:3 reason:x (1)\n'), '--derive'],
      'plain.txt:1:1: a scenario cannot be derived: the capture has no BEGIN and END markers'],
  ]
  for (const [args, message] of cases) {
    const { code, stderr } = await shootdown(['compare', ...args])
    expect([code, stderr]).toEqual([2, expect.stringContaining(message)])
  }
})

test('replay-sched reports as JSON, writes its trace and a scenario that does the same', async () => {
  const folder = temporaryFolder()
  const capture = join(ROOT, 'test/fixtures/ftrace/munmap3-remote-spin.txt')
  const [trace, again, yaml] = ['a.trace', 'b.trace', 's.yaml'].map(name => join(folder, name))
  const { code, stdout } = await shootdown(
    ['replay-sched', capture, '--json', '--trace', trace!, '--save-scenario', yaml!, '--working-set', '4'])
  expect(code).toBe(0)
  expect(JSON.parse(stdout)).toMatchObject({
    capturedSwitches: [15, 1], inferredSwitches: [2, 1],
    capturedTasks: [{ name: 'tlb_main', group: 0 }, { name: 'tlb_remote', group: 0 }, { isKernelThread: true }],
  })
  expect((await shootdown(['run', yaml!, '--engine', 'threads', '--trace', again!])).code).toBe(0)
  expect(readFileSync(again!, 'utf8')).toBe(readFileSync(trace!, 'utf8'))
})

test('replay-sched refuses a capture that does not say who ran', async () => {
  const text = '  a-1  [000] d..1. 1.000001: tlb_flush: pages:3 reason:x (1)\n'
  const file = join(temporaryFolder({ 'c.txt': text }), 'c.txt')
  const { code, stderr } = await shootdown(['replay-sched', file])
  expect([code, stderr]).toEqual([2, expect.stringContaining('c.txt:1:1: there is no sched_switch in this capture')])
})
