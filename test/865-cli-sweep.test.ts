// `shootdown sweep` and `shootdown merge`: the same results however they come about - in one go, after a kill, by
// any number of jobs, in parts - and nothing lost when something is wrong.

import { spawn } from 'node:child_process'
import { appendFileSync, existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parquetReadObjects } from 'hyparquet'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { ResultRow } from '../src/study/sweep-point.js'
import { MAIN, shootdown, temporaryFolder } from './support/cli.js'
import { SMALL_STUDY, SMALL_STUDY_POINTS } from './support/studies.js'

const TIMEOUT = { timeout: 240_000 }

async function sweepOf(folder: string, ...args: string[]): Promise<string> {
  const { code, stderr } = await shootdown(['sweep', 's.study.yaml', ...args], { cwd: folder })
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.any(String) })
  const at = args.indexOf('--output')
  return readFileSync(join(folder, at < 0 ? 's.jsonl' : args[at + 1]!), 'utf8')
}

/** Kills a sweep without a warning once its journal has so many bytes. */
function killed(folder: string, bytes: number): Promise<void> {
  const journal = join(folder, 's.jsonl.partial')
  const args = [MAIN, 'sweep', 's.study.yaml', '--jobs', '2']
  const child = spawn(process.execPath, args, { cwd: folder, stdio: 'ignore' })
  const timer = setInterval(() => {
    if (existsSync(journal) && readFileSync(journal).length >= bytes) child.kill('SIGKILL')
  }, 2)
  onTestFinished(() => clearInterval(timer))
  return new Promise((resolve) => child.on('close', () => resolve()))
}

function linesIn(file: string): number {
  return existsSync(file) ? readFileSync(file, 'utf8').split('\n').length - 1 : 0
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 2))
}

describe('a sweep', () => {
  test('gives the same bytes with one job and with three, one row a point in their order', TIMEOUT, async () => {
    const folder = temporaryFolder({ 's.study.yaml': SMALL_STUDY })
    const one = await sweepOf(folder, '--jobs', '1', '--output', 'one.jsonl')
    const three = await sweepOf(folder, '--jobs', '3', '--output', 'three.jsonl')
    expect(three).toBe(one)
    const rows = one.trimEnd().split('\n').map((line) => JSON.parse(line) as ResultRow)
    expect(rows.map(({ index }) => index)).toEqual(Array.from({ length: SMALL_STUDY_POINTS }, (_, i) => i))
    expect(readdirSync(folder).sort()).toEqual(['one.jsonl', 's.study.yaml', 'three.jsonl'])
  })

  test('that was killed goes on, runs the torn point again, and ends with the same bytes', TIMEOUT, async () => {
    const folder = temporaryFolder({ 's.study.yaml': SMALL_STUDY })
    const whole = await sweepOf(folder, '--output', 'whole.jsonl')
    await killed(folder, 4000)
    expect(existsSync(join(folder, 's.jsonl'))).toBe(false)
    const journal = join(folder, 's.jsonl.partial')
    const finished = readFileSync(journal, 'utf8').split('\n').length - 1
    expect(finished).toBeGreaterThan(0)
    expect(finished).toBeLessThan(SMALL_STUDY_POINTS)
    appendFileSync(journal, whole.slice(0, 300))
    const { code, stderr } = await shootdown(['sweep', 's.study.yaml'], { cwd: folder })
    expect(stderr).toContain('the last line was torn when the sweep was killed; its point is run again')
    expect(stderr).toContain(`resuming: ${finished} of ${SMALL_STUDY_POINTS} points are done`)
    expect([code, readFileSync(join(folder, 's.jsonl'), 'utf8')]).toEqual([0, whole])
    expect(readdirSync(folder).sort()).toEqual(['s.jsonl', 's.study.yaml', 'whole.jsonl'])
    // Again: there is nothing left to do.
    const again = await shootdown(['sweep', 's.study.yaml'], { cwd: folder })
    expect([again.code, again.stderr]).toEqual([0, 's.jsonl has all results already: nothing to run\n'])
  })

  test('keeps a second one out of its results, also one that would begin again', TIMEOUT, async () => {
    const folder = temporaryFolder({ 's.study.yaml': SMALL_STUDY })
    const whole = await sweepOf(folder, '--output', 'whole.jsonl')
    const first = spawn(process.execPath, [MAIN, 'sweep', 's.study.yaml', '--jobs', '1'],
      { cwd: folder, stdio: 'ignore' })
    const ended = new Promise((resolve) => first.on('close', resolve))
    // Stopped, it cannot end before the others have seen it.
    await until(() => linesIn(join(folder, 's.jsonl.partial')) > 0)
    first.kill('SIGSTOP')
    const kept = readFileSync(join(folder, 's.jsonl.partial'), 'utf8')
    for (const more of [[], ['--fresh']]) {
      const second = await shootdown(['sweep', 's.study.yaml', ...more], { cwd: folder })
      expect(second).toMatchObject({
        code: 2, stdout: '',
        stderr: `error: s.jsonl is being written by process ${first.pid}\nwait for it, or write another file\n`,
      })
    }
    expect(readFileSync(join(folder, 's.jsonl.partial'), 'utf8')).toBe(kept)
    first.kill('SIGCONT')
    expect(await ended).toBe(0)
    expect(readFileSync(join(folder, 's.jsonl'), 'utf8')).toBe(whole)
    expect(readdirSync(folder).sort()).toEqual(['s.jsonl', 's.study.yaml', 'whole.jsonl'])
  })

  test('in four parts is merged to the bytes of one', TIMEOUT, async () => {
    const folder = temporaryFolder({ 's.study.yaml': SMALL_STUDY })
    const whole = await sweepOf(folder)
    const parts = ['1', '2', '3', '4'].map((i) => `part${i}.jsonl`)
    for (const [i, part] of parts.entries()) await sweepOf(folder, '--shard', `${i + 1}/4`, '--output', part)
    const merged = await shootdown(['merge', ...parts.toReversed(), '--output', 'm.jsonl', '--study', 's.study.yaml'],
      { cwd: folder })
    expect([merged.code, readFileSync(join(folder, 'm.jsonl'), 'utf8')]).toEqual([0, whole])
    expect(merged.stdout).toContain('What does a flush cost?')
    expect(merged.stdout).toMatch(/linux-4.6 +40 /)
  })

  test('writes CSV and Parquet with the numbers of the rows', TIMEOUT, async () => {
    const folder = temporaryFolder({ 's.study.yaml': SMALL_STUDY })
    const lines = (await sweepOf(folder, '--csv', 'r.csv', '--parquet', 'r.parquet')).trimEnd().split('\n')
    const rows = lines.map((line) => JSON.parse(line) as ResultRow)
    const [titles, ...cells] = readFileSync(join(folder, 'r.csv'), 'utf8').trimEnd().split('\n')
    expect(titles).toMatch(/^index,policy,pages,seed,problem,cycles,/)
    expect(cells.length).toBe(rows.length)
    expect(cells[7]!.split(',').slice(0, 6))
      .toEqual(['7', 'linux-4.6', '2', '4', '', String(rows[7]!.result['cycles'])])
    const bytes = readFileSync(join(folder, 'r.parquet'))
    const file = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength)
    const objects = await parquetReadObjects({ file })
    expect(objects.map(({ policy, cycles, ipisSent }) => ({ policy, cycles, ipisSent })))
      .toEqual(rows.map(({ parameters, result }) =>
        ({ policy: parameters['policy'], cycles: result['cycles'], ipisSent: result['ipisSent'] })))
  })

  test('prints its points, and the scenario of each, which runs by itself', TIMEOUT, async () => {
    const folder = temporaryFolder({ 's.study.yaml': SMALL_STUDY })
    const list = await shootdown(['sweep', 's.study.yaml', '--list', '--shard', '2/12'], { cwd: folder })
    expect(list.stdout).toBe('1 policy=linux-4.6 pages=1 seed=2\n13 policy=linux-6.x pages=1 seed=2\n')
    const point = await shootdown(['sweep', 's.study.yaml', '--point', '13'], { cwd: folder })
    writeFileSync(join(folder, 'p.yaml'), point.stdout)
    const run = await shootdown(['run', 'p.yaml', '--json'], { cwd: folder })
    const { seed, policy, cycle, counters } = JSON.parse(run.stdout)
    const row = JSON.parse((await sweepOf(folder)).split('\n')[13]!) as ResultRow
    expect({ seed, policy, cycle, ipisSent: counters.ipisSent }).toEqual({
      seed: 2, policy: 'linux-6.x', cycle: row.result['cycles'], ipisSent: row.result['ipisSent'],
    })
  })
})

describe('what is wrong', () => {
  test('in a study stops the sweep before anything is written', TIMEOUT, async () => {
    const folder = temporaryFolder({ 's.study.yaml': SMALL_STUDY.replace('pages: [1', 'pagez: [1') })
    const { code, stdout, stderr } = await shootdown(['sweep', 's.study.yaml'], { cwd: folder })
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(/^error: s.study.yaml:4:3: unknown field "pagez"/)
    const missing = await shootdown(['sweep', 'none.study.yaml'], { cwd: folder })
    expect([missing.code, missing.stderr.split('\n')[0]])
      .toEqual([2, 'error: none.study.yaml:1:1: cannot read the study: no such file'])
    expect(readdirSync(folder)).toEqual(['s.study.yaml'])
  })

  test('in the place of results leaves them alone', TIMEOUT, async () => {
    const folder = temporaryFolder({ 's.study.yaml': SMALL_STUDY })
    const whole = await sweepOf(folder)
    writeFileSync(join(folder, 's.study.yaml'), SMALL_STUDY.replace('times: 2', 'times: 3'))
    const other = await shootdown(['sweep', 's.study.yaml'], { cwd: folder })
    expect([other.code, other.stderr]).toEqual([2, expect.stringMatching(
      /^error: s.jsonl:1:1: this is a result of another study \([0-9a-f]{16}, and s.study.yaml is [0-9a-f]{16}\)\n/)])
    writeFileSync(join(folder, 's.jsonl.partial'), whole.slice(0, 2 * whole.indexOf('\n')).replaceAll('"0.', '"9.'))
    const version = await shootdown(['sweep', 's.study.yaml', '--output', 's.jsonl'], { cwd: folder })
    expect(version.code).toBe(2)
    expect(readFileSync(join(folder, 's.jsonl'), 'utf8')).toBe(whole)
    const args = ['sweep', 's.study.yaml', '--output', 'new.jsonl', '--csv', 'no/r.csv']
    const full = await shootdown(args, { cwd: folder })
    expect([full.code, full.stderr]).toEqual([2, 'error: cannot write no/r.csv: the folder does not exist\n'])
    for (const args of [['--shard', '5/4'], ['--shard', '0/4'], ['--jobs', '0'], ['--point', '24']]) {
      expect((await shootdown(['sweep', 's.study.yaml', ...args], { cwd: folder })).code).toBe(2)
    }
  })

  test('with parts stops a merge: gaps, duplicates, other studies, other versions, torn lines', TIMEOUT, async () => {
    const folder = temporaryFolder({ 's.study.yaml': SMALL_STUDY })
    const lines = (await sweepOf(folder)).trimEnd().split('\n').map((line) => `${line}\n`)
    const merge = async (first: string, second: string): Promise<string> => {
      writeFileSync(join(folder, 'a.jsonl'), first)
      writeFileSync(join(folder, 'b.jsonl'), second)
      const { code, stdout, stderr } = await shootdown(['merge', 'a.jsonl', 'b.jsonl', '--output', 'm.jsonl'],
        { cwd: folder })
      expect([code, stdout, existsSync(join(folder, 'm.jsonl'))]).toEqual([2, '', false])
      return stderr
    }
    const [head, tail] = [lines.slice(0, 12).join(''), lines.slice(12).join('')]
    expect(await merge(head, lines.slice(14, 20).join('')))
      .toBe('error: a.jsonl:1:1: 6 points of the study missing: 12-13, 20-23\nthe study has points 0 to 23\n')
    expect(await merge(head, lines[3] + tail)).toBe('error: b.jsonl:1:1: point 3 is here a second time\n'
      + 'the first is at a.jsonl:4\n')
    expect(await merge(head, tail.replaceAll('"version":"', '"version":"9')))
      .toMatch(/^error: b.jsonl:1:1: this is a result of version 9.*\na.jsonl:1 is of version .*do not mix/)
    expect(await merge(head, tail.replaceAll(/"study":"..../g, '"study":"0000')))
      .toMatch(/^error: b.jsonl:1:1: this is a result of study 0000/)
    expect(await merge(head, tail.slice(0, -5))).toMatch(/^error: b.jsonl:12:1: the last line is torn/)
    expect(await merge(head, 'index,cycles\n')).toMatch(/^error: b.jsonl:1:1: this is not a line of results/)
  })
})
