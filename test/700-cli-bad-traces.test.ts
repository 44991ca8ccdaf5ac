// Every command that reads a trace, given something else: exit code 2, the place, no stack, nothing written.
// What the messages say about each kind of file is in 186-trace-file.test.ts.

import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { ROOT, shootdown, temporaryFolder } from './support/cli.js'
import { AS_NOBODY, CAN_BE_NOBODY } from './support/nobody.js'

const TOUR = join(ROOT, 'scenarios/tour/01-first-walk.yaml')
const GOOD = `# shootdown trace v1
# scenario: a
# era: linux-6.x
# cpus: 2
# seed: 1
# frequencyGhz: 2
          10 [000] a-1 sched_process_exit groupDead=1
          20 [001] b-2 sched_process_exit groupDead=1
`
const BAD: Readonly<Record<string, { content: string | Uint8Array; message: string }>> = {
  'cut.trace': { content: GOOD.slice(0, -9), message: 'cut.trace:8:1: the last line is cut off' },
  'order.trace': { content: GOOD.replace('10 [', '30 ['), message: 'order.trace:8:1: out of order' },
  'old.trace': { content: GOOD.replace('v1', 'v0'), message: 'old.trace:1:1: this trace has format version 0' },
  'binary.trace': { content: new Uint8Array(5000), message: 'binary.trace:1:1: this is a binary file, not a trace' },
  'packed.trace': { content: gzipSync(GOOD), message: 'packed.trace:1:1: this is packed with gzip' },
}

function folderOfTraces(): string {
  const bad = Object.fromEntries(Object.entries(BAD).map(([name, { content }]) => [name, content]))
  return temporaryFolder({ 'good.trace': GOOD, ...bad })
}

/** Runs, and holds the end to what every mistake must have. */
async function refused(folder: string, args: readonly string[], prefix: readonly string[] = []): Promise<string> {
  const before = readdirSync(folder)
  const { code, stdout, stderr } = await shootdown(args, { cwd: folder, prefix })
  expect({ args, code, stdout }).toEqual({ args, code: 2, stdout: '' })
  expect(stderr).toMatch(/^error: /)
  expect(stderr).not.toMatch(/\n\s+at |internal/)
  expect(readdirSync(folder)).toEqual(before)
  return stderr
}

describe('a bad trace', () => {
  test.each([
    ['diff, first', (file: string) => ['diff', file, 'good.trace']],
    ['diff, second', (file: string) => ['diff', 'good.trace', file]],
    ['export', (file: string) => ['export', file, '-f', 'perfetto']],
    ['explain', (file: string) => ['explain', `${file}:10`]],
  ])('is refused by %s', async (name, command) => {
    const folder = folderOfTraces()
    // All kinds for one command; the others read through the same function.
    const kinds = Object.entries(BAD).slice(0, name === 'diff, second' ? undefined : 1)
    for (const [file, { message }] of kinds) {
      expect(await refused(folder, command(file))).toContain(`error: ${message}`)
    }
    mkdirSync(join(folder, 'folder.trace'))
    expect(await refused(folder, command('folder.trace'))).toContain('folder.trace:1:1: this is a directory')
  })

  test('that is the golden of a scenario is an error of that scenario, and stays as it is', async () => {
    const scenario = 'processes:\n  - name: a\n    program:\n      - compute: 5\n'
    const names = ['cut', 'old', 'order']
    const folder = temporaryFolder(Object.fromEntries(names.flatMap((name) => [
      [`${name}.yaml`, scenario], [`${name}.golden`, BAD[`${name}.trace`]!.content],
    ])))
    const { code, stdout, stderr } = await shootdown(['test', '.'], { cwd: folder })
    expect({ code, stderr }).toEqual({ code: 2, stderr: '' })
    for (const name of names) {
      expect(stdout).toContain(BAD[`${name}.trace`]!.message.replace('.trace', '.golden').split(': ')[1])
      expect(readFileSync(join(folder, `${name}.golden`), 'utf8')).toBe(BAD[`${name}.trace`]!.content)
    }
  })

  test.skipIf(!CAN_BE_NOBODY)('that may not be read, or lies in a folder that may not', async () => {
    const folder = temporaryFolder({ 'good.trace': GOOD, 'secret.trace': GOOD })
    chmodSync(folder, 0o755)
    chmodSync(join(folder, 'secret.trace'), 0)
    mkdirSync(join(folder, 'closed'))
    writeFileSync(join(folder, 'closed/a.trace'), GOOD)
    writeFileSync(join(folder, 'closed/s.yaml'), '')
    chmodSync(join(folder, 'closed'), 0)
    for (const file of ['secret.trace', 'closed/a.trace']) {
      const commands = [
        ['diff', 'good.trace', file], ['export', file, '-f', 'csv', '-o', '-'], ['explain', `${file}:9`],
      ]
      for (const args of commands) {
        expect(await refused(folder, args, AS_NOBODY))
          .toContain(`error: ${file}:1:1: cannot read the trace: permission denied`)
      }
    }
    expect(await refused(folder, ['test', 'closed'], AS_NOBODY)).toContain('cannot read the folder "closed"')
    expect(await refused(folder, ['test', 'closed/s.yaml'], AS_NOBODY))
      .toContain('error: cannot read closed/s.yaml: permission denied')
    expect(await refused(folder, ['dump', TOUR, '--image', 'closed/image'], AS_NOBODY))
      .toContain('error: cannot write closed/image: permission denied')
    if (AS_NOBODY.length > 0) {
      // A folder in which nothing may be made.
      expect(await refused(folder, ['export', 'good.trace', '-f', 'csv'], AS_NOBODY))
        .toContain('cannot write good.csv: permission denied')
    }
    chmodSync(join(folder, 'closed'), 0o700)
  })
})
