// `shootdown diff` as a person meets it.

import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { shootdown, temporaryFolder } from './support/cli.js'

const TOUR = 'scenarios/tour/02-shootdown.yaml'

async function traceOf(folder: string, name: string, ...options: string[]): Promise<string> {
  const path = join(folder, name)
  expect((await shootdown(['run', TOUR, '--trace', path, ...options])).stderr).toBe('')
  return path
}

describe('shootdown diff', () => {
  test('the same run twice is the same; another seed of the same scenario says so', async () => {
    const folder = temporaryFolder()
    const a = await traceOf(folder, 'a.trace')
    const b = await traceOf(folder, 'b.trace', '--engine', 'inline')
    const same = await shootdown(['diff', a, b])
    expect(same.code).toBe(0)
    expect(same.stdout).toMatch(/^the same: \d+ events\n$/)
    const c = await traceOf(folder, 'c.trace', '--seed', '5')
    const seed = await shootdown(['diff', a, c])
    expect(seed).toMatchObject({ code: 1, stdout: 'seed: 1 in A, 5 in B\nthe same events, of different runs\n' })
  })

  test('a run that was stopped earlier: the first difference and what every CPU did', async () => {
    const folder = temporaryFolder()
    const a = await traceOf(folder, 'a.trace')
    const b = await traceOf(folder, 'b.trace', '--until', '20000')
    const { code, stdout } = await shootdown(['diff', a, b, '--limit', '1'])
    expect(code).toBe(1)
    expect(stdout).toMatch(/^[^\n]* fewer[^\n]*\n\nFirst difference, cycle \d+ on cpu\d \(- A, \+ B\)\n/)
    expect(stdout).toMatch(
      /\+ \(the trace ends\)\nWhat led to it\n.*page_fault_user.*\nWhat every CPU was doing\n    cpu0 /)
    expect(stdout).toMatch(/\.\.\. and \d+ more \(--limit shows more\)/)
    const json = await shootdown(['diff', a, b, '--json'])
    expect(JSON.parse(json.stdout)).toMatchObject({ equal: false, isEqual: false, headers: [] })
  })

  test.each([
    ['a file that is not there', 'no.trace', undefined, ':1:1: cannot read the trace: there is no such file'],
    ['a directory', '.', undefined, ':1:1: this is a directory, not a trace'],
    ['a binary file', 'x', new Uint8Array([1, 0, 2]), ':1:1: this is a binary file, not a trace'],
    ['a scenario', 'x', 'cpus: 2\n', ':1:1: this is not a trace: expected "# shootdown trace v1", found "cpus: 2"'],
    ['an old version', 'x', '# shootdown trace v0\n', ':1:1: this trace has format version 0'],
  ])('%s is bad input', async (_name, file, content, message) => {
    const folder = temporaryFolder(content === undefined ? {} : { [file]: content })
    const path = join(folder, file)
    const { code, stdout, stderr } = await shootdown(['diff', path, path])
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain(message)
    expect(stderr).not.toContain('    at ')
  })
})
