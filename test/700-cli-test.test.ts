// `shootdown test` as a person and as a CI system meet it.

import { copyFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ROOT, shootdown, temporaryFolder } from './support/cli.js'

const TOUR = ['02-shootdown.yaml', '06-fork-cow.yaml']

/** A folder with two scenarios of the tour and their goldens. */
async function goldenFolder(): Promise<string> {
  const folder = temporaryFolder()
  for (const name of TOUR) copyFileSync(join(ROOT, 'scenarios/tour', name), join(folder, name))
  const written = await shootdown(['test', folder])
  expect(written).toMatchObject({ code: 0, stderr: '' })
  expect(written.stdout).toMatch(/\n0 passed, 0 failed, 2 written\n$/)
  return folder
}

/** Takes the first interrupt out of a golden. */
function damage(folder: string): string {
  const path = join(folder, '02-shootdown.golden')
  const lines = readFileSync(path, 'utf8').split('\n')
  lines.splice(lines.findIndex(line => line.includes('csd_queue_cpu')), 1)
  const fewer = lines.map(line => line.startsWith('# events: ') ? `# events: ${Number(line.slice(10)) - 1}` : line)
  writeFileSync(path, fewer.join('\n'))
  return path
}

describe('shootdown test', () => {
  test('writes missing goldens, passes with them on every engine, finds a difference, updates', async () => {
    const folder = await goldenFolder()
    for (const engine of ['reference', 'inline', 'threads']) {
      const { code, stdout } = await shootdown(['test', folder, '--ci', '--engine', engine])
      expect({ engine, code, end: stdout.split('\n').at(-2) }).toEqual({ engine, code: 0, end: '2 passed, 0 failed' })
    }
    const golden = damage(folder)
    const before = readFileSync(golden, 'utf8')
    const failed = await shootdown(['test', folder])
    expect(failed.code).toBe(1)
    expect(failed.stdout).toContain('differs from its golden: 1 csd_queue_cpu event more\n')
    expect(failed.stdout).toMatch(
      /First difference, cycle \d+ on cpu0 [^]*\+ .* csd_queue_cpu cpu=1\n[^]*What every CPU was doing\n/)
    expect(readFileSync(golden, 'utf8')).toBe(before)
    expect((await shootdown(['test', folder, '--update'])).stdout).toMatch(/\n1 passed, 0 failed, 1 updated\n$/)
    expect((await shootdown(['test', folder, '--ci'])).code).toBe(0)
    expect(readdirSync(folder)).toHaveLength(4)
  }, 240_000)

  test('a missing golden fails in CI and is not written', async () => {
    const folder = temporaryFolder()
    copyFileSync(join(ROOT, 'scenarios/tour', TOUR[0]!), join(folder, 'a.yaml'))
    const { code, stdout } = await shootdown(['test', folder, '--ci'])
    expect(code).toBe(1)
    expect(stdout).toContain('there is no golden trace')
    expect(existsSync(join(folder, 'a.golden'))).toBe(false)
  })

  test('reporters: JUnit XML, annotations of GitHub, JSON; --filter and --output', async () => {
    const folder = await goldenFolder()
    damage(folder)
    const xml = join(folder, 'report.xml')
    const junit = await shootdown(['test', folder, '--reporter', 'junit', '--output', xml])
    expect(junit).toMatchObject({ code: 1, stdout: '' })
    expect(readFileSync(xml, 'utf8')).toContain('name="shootdown" tests="2" failures="1" errors="0" skipped="0"')
    expect(readFileSync(xml, 'utf8')).toContain('1 csd_queue_cpu event more">')
    const github = await shootdown(['test', folder, '--reporter', 'github'])
    expect(github.stdout).toMatch(
      /^::error file=.*02-shootdown.yaml,line=26,col=13,title=shootdown test::differs .*%0A/)
    expect(github.stdout.trimEnd().split('\n')).toHaveLength(2)
    const json = await shootdown(['test', folder, '--reporter', 'json', '--filter', 'fork'])
    expect(json.code).toBe(0)
    const outcomes = [{ status: 'passed', message: '' }]
    expect(JSON.parse(json.stdout)).toMatchObject({ ok: true, skipped: 0, outcomes })
  })

  test('a scenario with a mistake and one whose expectation fails: told at their place, the others go on', async () => {
    const folder = await goldenFolder()
    writeFileSync(join(folder, 'bad.yaml'), 'cpus: 2\nprocesses:\n  - name: a\n    program:\n      - tuch: x\n')
    writeFileSync(join(folder, 'wrong.yaml'), 'processes:\n  - name: a\n    program:\n      - compute: 5\n'
      + 'expect:\n  - {counter: ipisSent, equals: 7}\n')
    const { code, stdout } = await shootdown(['test', folder])
    expect(code).toBe(2)
    expect(stdout).toMatch(/ERROR .*bad\.yaml:5:9 +unknown operation "tuch"/)
    expect(stdout).toMatch(/FAILED .*wrong\.yaml:6:5 +.*ipisSent/)
    expect(stdout).toMatch(/\n2 passed, 2 failed\n$/)
  })

  test('an old golden is told, not misread', async () => {
    const folder = await goldenFolder()
    const path = join(folder, '06-fork-cow.golden')
    writeFileSync(path, readFileSync(path, 'utf8').replace('trace v1', 'trace v0'))
    const { stdout } = await shootdown(['test', folder])
    expect(stdout).toMatch(/06-fork-cow\.golden:1:1 +this trace has format version 0, this program reads version 1/)
  })

  test.each([
    ['a path that is not there', ['test', 'no/such'], 'there is no file or folder "no/such"'],
    ['a folder without scenarios', ['test', 'workers'], 'no scenario (*.yaml, *.yml) below "workers"'],
    ['a filter that fits nothing', ['test', '--filter', 'zzz'], '--filter zzz: none of'],
    ['a reporter that is unknown', ['test', '--reporter', 'tap'], "argument 'tap' is invalid"],
  ])('%s is bad input', async (_name, args, message) => {
    const { code, stdout, stderr } = await shootdown(args)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain(message)
  })

  test('Ctrl-C ends a scenario that would run for hours, and a watch', async () => {
    const folder = temporaryFolder({
      'long.yaml': 'processes:\n  - name: a\n    program:\n      - mmap: {name: b, pages: 64}\n'
        + '      - repeat: {times: 2000000000, do: [{write: b}]}\n',
    })
    const startMs = performance.now()
    const long = await shootdown(['test', folder], { prefix: ['timeout', '-k', '40', '-s', 'INT', '9'] })
    expect(long).toMatchObject({
      stdout: '', stderr: '\ninterrupted by SIGINT while testing: scenarios that had not ended have no result\n',
    })
    expect(performance.now() - startMs).toBeLessThan(40_000)
    const watched = await shootdown(['test', await goldenFolder(), '--watch'], { interruptAfterMs: 300 })
    expect(watched.code).toBe(130)
    expect(watched.stderr).toContain('waiting for changes; Ctrl-C ends\n')
  })
})
