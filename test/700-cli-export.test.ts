// `shootdown export` and `run --trace` in every format, as a person meets them.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { TRACE_FORMATS } from '../src/trace/formats.js'
import { ROOT, shootdown, temporaryFolder } from './support/cli.js'

const TOUR = join(ROOT, 'scenarios/tour/02-shootdown.yaml')

describe('shootdown export', () => {
  test('writes beside the trace, under the ending of the format, what the run itself would write', async () => {
    const folder = temporaryFolder()
    await shootdown(['run', TOUR, '--trace', 'a.trace'], { cwd: folder })
    for (const [format, ending] of [['csv', 'csv'], ['ftrace', 'ftrace'], ['text', 'txt']] as const) {
      expect(await shootdown(['run', TOUR, '--trace', `run.${ending}`], { cwd: folder })).toMatchObject({ code: 0 })
      const output = format === 'text' ? ['-o', 'a.txt'] : []
      expect(await shootdown(['export', 'a.trace', '--format', format, ...output], { cwd: folder }))
        .toMatchObject({ code: 0, stdout: `136 events as ${format}: a.${ending}\n`, stderr: '' })
      const [ours, exported] = ['run', 'a'].map((name) => readFileSync(join(folder, `${name}.${ending}`), 'utf8'))
      // Context flags are not in the canonical text.
      const plain = (text: string): string => text.replaceAll(/(\[\d+\]) \S{5} /g, '$1 ..... ')
      expect(plain(exported!)).toBe(plain(ours!))
    }
  })

  test('prints any format to standard output, and what it says about it elsewhere', async () => {
    const folder = temporaryFolder()
    await shootdown(['run', TOUR, '--trace', 'a.trace'], { cwd: folder })
    for (const { name } of TRACE_FORMATS) {
      const { code, stdout, stderr } = await shootdown(['export', 'a.trace', '-f', name, '-o', '-'], { cwd: folder })
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      expect(stdout.length).toBeGreaterThan(200)
      expect(stdout).not.toContain('136 events')
    }
    expect(readdirSync(folder)).toEqual(['a.trace'])
  })

  test.each<readonly [string, readonly string[], string | RegExp]>([
    ['no format', ['a.trace'], /^error: there is no format\ngive --format, or --output/],
    ['an unknown format', ['a.trace', '-f', 'xml'], /'xml' is invalid\. Allowed choices are text, ftrace/],
    ['an ending of no format', ['a.trace', '-o', 'a.xml'], /^error: cannot write a\.xml as a trace: unknown extension/],
    ['the trace itself as output', ['a.trace', '-o', 'a.trace'], /it is an input of this run, and would be lost\n$/],
    ['a format without an ending', ['a.trace', '-f', 'ftrace-full'], 'error: --format ftrace-full needs --output\n'],
  ])('%s is refused, and nothing is written', async (_name, args, message) => {
    const folder = temporaryFolder({ 'a.trace': '# shootdown trace v1\n' })
    const { code, stdout, stderr } = await shootdown(['export', ...args], { cwd: folder })
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(message)
    expect(readdirSync(folder)).toEqual(['a.trace'])
  })
})

describe('run --trace-format', () => {
  test('says the format of a file whose name does not', async () => {
    const folder = temporaryFolder()
    const { code } = await shootdown(['run', TOUR, '--trace', 'a.b', '--trace-format', 'counters'], { cwd: folder })
    expect(code).toBe(0)
    const lines = readFileSync(join(folder, 'a.b'), 'utf8').split('\n')
    expect(lines[0]).toBe('cycle,us,cpu,counter,value')
    expect(lines.some((line) => line.includes('stlbMisses,16'))).toBe(true)
  })

  test('without a trace is a mistake', async () => {
    const { code, stdout, stderr } = await shootdown(['run', TOUR, '--trace-format', 'csv'])
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toBe('error: --trace-format is the format of a trace\nadd --trace FILE, or --trace -\n')
  })
})
