// A disk without space: every command that writes a file says so, ends with 2 and leaves nothing behind;
// so does every command whose standard output cannot be written.

import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { TraceRecorder } from '../src/trace/recorder.js'
import { formatTextTrace } from '../src/trace/text.js'
import { ROOT, shootdown } from './support/cli.js'
import { fullDisk, HAS_FULL_DISK } from './support/full-disk.js'

const SCENARIO = 'processes:\n  - name: a\n    program:\n      - mmap: {name: b, pages: 2}\n      - write: b\n'
const OLD = formatTextTrace(new TraceRecorder().finish(),
  { scenario: 'old', era: 'linux-6.x', cpus: 1, seed: 1, frequencyGhz: 2 })
const TOUR = join(ROOT, 'scenarios/tour/02-shootdown.yaml')
const CAPTURE = join(ROOT, 'test/fixtures/ftrace/pipe-pingpong.txt')

describe.skipIf(!HAS_FULL_DISK)('on a full disk', () => {
  test.each<readonly [string, readonly string[], string]>([
    ['run --trace, canonical', ['run', TOUR, '--trace', 'a.trace'], 'a.trace'],
    ['run --trace, Perfetto', ['run', TOUR, '--trace', 'a.pftrace'], 'a.pftrace'],
    ['run --trace, over an older one', ['run', TOUR, '--trace', 'old.trace'], 'old.trace'],
    ['export', ['export', 'old.trace', '-f', 'csv'], 'old.csv'],
    ['test --output', ['test', 's.yaml', '--output', 'r.xml', '--reporter', 'junit'], 'r.xml'],
    ['dump --image', ['dump', 's.yaml', '--image', 'image'], 'image'],
    ['compare --save-scenario', ['compare', CAPTURE, '--derive', '--save-scenario', 'd.yaml'], 'd.yaml'],
    ['replay-sched --trace', ['replay-sched', CAPTURE, '--trace', 'x.trace'], 'x.trace'],
    ['replay-sched --save-scenario', ['replay-sched', CAPTURE, '--save-scenario', 'x.yaml'], 'x.yaml'],
  ])('%s', async (_name, args, file) => {
    const folder = fullDisk({ 's.yaml': SCENARIO, 'old.trace': OLD })
    const before = readdirSync(folder)
    const { code, stderr } = await shootdown(args, { cwd: folder })
    expect({ code, stderr: stderr.split('\n')[0] })
      .toEqual({ code: 2, stderr: `error: cannot write ${file}: no space left on the disk` })
    // `test` may have tried to write the golden as well.
    expect(readdirSync(folder)).toEqual(before)
  })

  test('test, which would write a golden', async () => {
    const folder = fullDisk({ 's.yaml': SCENARIO })
    const before = readdirSync(folder)
    const { code, stdout } = await shootdown(['test', 's.yaml'], { cwd: folder })
    expect(stdout).toMatch(/^ERROR +s\.yaml:1:1 +cannot write s\.golden: no space left on the disk\n/)
    expect(code).toBe(2)
    expect(readdirSync(folder)).toEqual(before)
  })
})

test.each([
  [['run', TOUR]], [['run', TOUR, '--json']], [['run', TOUR, '--trace', '-']], [['explain', '0x1234']],
  [['dump', TOUR, '--tables']], [['test', join(ROOT, 'scenarios/tour/01-first-walk.yaml')]],
])('standard output on a full disk: %j', (args) => {
  const command = [process.execPath, join(ROOT, 'dist/src/cli/main.js'), ...args]
  const quoted = command.map((word) => `'${word}'`).join(' ')
  const { status, stderr } = spawnSync('sh', ['-c', `${quoted} > /dev/full`], { encoding: 'utf8' })
  expect({ status, stderr: stderr.split('\n').findLast((line) => line !== '') })
    .toEqual({ status: 2, stderr: 'error: cannot write to standard output: no space left on the disk' })
})
