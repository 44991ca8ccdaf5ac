// Every order of steps: the search is complete where it says so, each order is a legal run and can be run
// again, and a window of a few cycles is found in a plain program.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ChosenOrder } from '../src/engine/choices.js'
import { loadScenario } from '../src/scenario/parse.js'
import { choicesText, parseChoices, runOrders, searchOrders } from '../src/study/exhaust.js'
import type { OrderSearch, OrderTask } from '../src/study/exhaust.js'
import { ROOT, shootdown } from './support/cli.js'
import { fingerprint } from './support/compare-runs.js'

const LONG = { timeout: 600_000 }

function taskOf(file: string, overrides: OrderTask['overrides'] = {}): Omit<OrderTask, 'choices'> {
  const path = join(ROOT, 'scenarios/hunt', file)
  return { text: readFileSync(path, 'utf8'), file: path, overrides, expectations: true }
}

const bounds = (more: Partial<OrderSearch> = {}): OrderSearch => ({ maxRuns: 500, depth: Infinity, jobs: 1, ...more })

/** Two tasks that do nothing but end: small enough to run every order. */
const TWO_EXITS: Omit<OrderTask, 'choices'> = {
  text: 'processes: [{name: a, cpu: 0, program: [exit]}, {name: b, cpu: 1, program: [exit]}]', file: 'two.yaml',
  overrides: {}, expectations: true,
}

describe('a chosen order', () => {
  test('without choices is the run of the reference engine', async () => {
    const { config, image } = await loadScenario(
      join(ROOT, 'scenarios/hunt/fork-and-munmap.yaml'), {}, () => expect.unreachable())
    const plain = await fingerprint({ config, image }, { engine: 'reference' })
    expect(await fingerprint({ config, image }, { order: new ChosenOrder([]) })).toEqual(plain)
    const other = await fingerprint({ config, image }, { order: new ChosenOrder([5, 6, 7]) })
    expect(other.trace).not.toBe(plain.trace)
    expect(await fingerprint({ config, image }, { order: new ChosenOrder([5, 6, 7]) })).toEqual(other)
  })

  test('is named by its decisions', () => {
    expect(choicesText([])).toBe('')
    expect(choicesText([12, 13, 14, 40])).toBe('12x3,40')
    expect(parseChoices('12x3,40')).toEqual([12, 13, 14, 40])
    expect(parseChoices('')).toEqual([])
    expect(parseChoices('3,2')).toBe('column 3: decisions must ascend, but 2 comes after 3')
    expect(parseChoices('1,,2')).toBe('column 3: expected a decision such as 12 or 12x3, found ""')
  })
})

describe('an exhaustive search', () => {
  test('runs every set of the first decisions once', LONG, async () => {
    const result = await searchOrders(taskOf('tables-and-munmap.yaml'), runOrders, bounds({ depth: 4 }))
    expect(result).toMatchObject({ postponements: Infinity })
    expect(result.failure).toBeUndefined()
    expect(result.orders).toBeGreaterThan(8)
    expect(result.runs).toBeLessThanOrEqual(16)
  })

  test('says how far it came when the runs end, and gives the same answer with more jobs', LONG, async () => {
    const result = await searchOrders(TWO_EXITS, runOrders, bounds({ maxRuns: 150 }))
    expect(result).toMatchObject({ runs: 150, postponements: 1 })
    expect(await searchOrders(TWO_EXITS, runOrders, bounds({ maxRuns: 150, jobs: 3 }))).toEqual(result)
  })

  test('finds the window of H8 with one postponement; the choices show it again', LONG, async () => {
    const task = taskOf('switch-and-dontneed.yaml', { bugs: ['h08-switching-cpu-skipped'] })
    const { failure } = await searchOrders(task, runOrders, bounds())
    expect(failure?.name).toBe('I8')
    expect(choicesText(failure!.choices)).toMatch(/^\d+$/)
    const { runs: [again] } = await runOrders({ ...task, choices: [failure!.choices] })
    expect(again!.failure?.message).toBe(failure!.message)
    const { runs: [healthy] } = await runOrders({ ...task, overrides: { bugs: [] }, choices: [failure!.choices] })
    expect(healthy!.failure).toBeUndefined()
  })
})

describe('shootdown explore', () => {
  const FILE = 'scenarios/hunt/tables-and-munmap.yaml'

  test('--exhaustive says what it has covered', LONG, async () => {
    const { code, stdout } = await shootdown(['explore', FILE, '--exhaustive', '--depth', '3'])
    expect(code).toBe(0)
    expect(stdout).toMatch(/^scenarios\S+: all \d+ orders up to 3 of \d+ decisions: no violation \(8 runs\)\n$/)
    const bounded = await shootdown(['explore', FILE, '--exhaustive', '--max-runs', '10'])
    expect(bounded.stdout).toMatch(/: \d+ orders .*: no violation \(10 runs\); not all: complete for at most 0 /)
  })

  test('bad choices are refused', LONG, async () => {
    const cases: readonly [string[], RegExp][] = [
      [['--choices', '3x'], /--choices 3x: column 1: expected a decision/],
      [['--choices', '99999'], /the run has decisions 0 to \d+ only/],
      [['--choices', '1', '--seed', '2'], /--choices and --seed exclude each other/],
      [['--depth', '2'], /--depth belongs to --exhaustive/],
    ]
    for (const [args, message] of cases) {
      const { code, stderr } = await shootdown(['explore', FILE, ...args])
      expect({ args, code }).toEqual({ args, code: 2 })
      expect(stderr).toMatch(message)
    }
  })
})
