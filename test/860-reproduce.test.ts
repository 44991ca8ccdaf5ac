// `shootdown reproduce`: published figures against simulated ones. Which targets pass is a fact of the cost model:
// a price that changes shows here.

import { existsSync, mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { reproductionHtml } from '../src/study/reproduce/report-html.js'
import {
  noisyMisses, reproductionMarkdown, reproductionText, rowCells, summaryCells,
} from '../src/study/reproduce/report-text.js'
import { judge, judgeNoisy, measureRun, noisyTasks, tasksOf } from '../src/study/reproduce/reproduce.js'
import type { Outcome, ReproduceTask } from '../src/study/reproduce/reproduce.js'
import { between, fitLine, holds, quantile, Results, shown, within } from '../src/study/reproduce/target.js'
import type { Values } from '../src/study/reproduce/target.js'
import { TARGETS } from '../src/study/reproduce/targets.js'
import { findChromium, launchChromium, NO_CHROMIUM, openPlots } from './support/chromium.js'
import { ROOT, shootdown } from './support/cli.js'

const chromium = findChromium()
if (chromium === undefined) process.stderr.write(`${NO_CHROMIUM}\n`)

async function reproduce(...ids: string[]): Promise<Outcome[]> {
  const targets = TARGETS.filter(({ id }) => ids.includes(id))
  const tasks = tasksOf(targets, 'quick')
  const values = []
  for (const task of tasks) values.push(await measureRun(task))
  return judge(targets, tasks, values)
}

describe('the rules', () => {
  test('a tolerance is a share of the published number', () => {
    expect(within('a', 'us', 100, 115, 15)).toMatchObject({ accepted: [85, 115], ok: true })
    expect(within('a', 'us', 100, 115.1, 15).ok).toBe(false)
    expect(between('a', 'us', undefined, 60, -Infinity, 60)).toMatchObject({ ok: true })
    expect(shown('a', 'us', 100, 1).ok).toBeUndefined()
    expect(holds('a', false).ok).toBe(false)
  })

  test('what was not measured is no number, and no rule accepts it', () => {
    const results = new Results(new Map([['run', { cycles: 5 }]]))
    expect(results.get('run', 'cycles')).toBe(5)
    expect(within('a', 'us', 1, results.get('run', 'other'), 1000).ok).toBe(false)
    expect(within('a', 'us', 1, results.get('none', 'cycles'), 1000).ok).toBe(false)
  })

  test('lines and quantiles of known samples', () => {
    expect(fitLine([[1, 5], [2, 7], [3, 9]])).toEqual({ slope: 2, intercept: 3 })
    expect([0, 0.5, 0.9, 1].map(share => quantile([5, 1, 4, 2, 3], share))).toEqual([1, 3, 5, 5])
  })

  test('a row says how far off it is and what would have been accepted', () => {
    expect(rowCells(within('slope', 'cycles', 200, 210, 10)))
      .toEqual(['slope', '200', '210', '+5.0 %', '180 to 220', 'cycles', 'ok'])
    expect(rowCells(between('added', 'cycles', undefined, 70, -Infinity, 60)))
      .toEqual(['added', '', '70', '', 'at most 60', 'cycles', 'miss'])
  })
})

describe('the targets', () => {
  test('each has runs with names of their own, a source and a mark that may fail a build', () => {
    for (const target of TARGETS) {
      for (const size of ['full', 'quick'] as const) {
        const keys = target.runs(size).map(({ key }) => key)
        expect(new Set(keys).size, target.id).toBe(keys.length)
        expect(keys.length, target.id).toBeGreaterThan(0)
      }
      expect(target.source, target.id).not.toBe('')
      if (target.kind === 'gate') expect(['v', 'v2', 'o']).toContain(target.mark)
    }
  })

  test('those that need few runs pass', { timeout: 240_000 },
    async () => {
      const outcomes = await reproduce('R1', 'R2', 'R3', 'R7', 'R9', 'R11', 'R13', 'R14')
      const missed = outcomes.flatMap(({ judgement }) => judgement.rows.filter(({ ok }) => ok === false))
      expect(missed).toEqual([])
      expect(new Set(outcomes.map(({ verdict }) => verdict))).toEqual(new Set(['pass']))
      const text = reproductionText(outcomes)
      expect(text).toMatch(/slope +249 +249 /)
      expect(text).toContain('8 of 8 targets pass')
      const table = readFileSync(join(ROOT, 'docs/reproduction.md'), 'utf8')
      for (const outcome of outcomes.filter(({ target }) => target.id !== 'R11')) {
        expect(table).toContain(`| ${summaryCells(outcome).join(' | ')} |`)
      }
      const page = reproductionHtml(outcomes, { command: 'test', version: '0' })
      expect(page.match(/<svg /g)?.length).toBe(10)
      expect(page).not.toMatch(/NaN|undefined|Infinity|<script/)
    })
})

describe('with noise', () => {
  test('the same runs are judged by the same rules, for each seed, reproducibly', { timeout: 180_000 }, async () => {
    const targets = TARGETS.filter(({ id }) => id === 'R1')
    const tasks = tasksOf(targets, 'quick')
    const measure = async (all: readonly ReproduceTask[]): Promise<Values[]> => {
      const values: Values[] = []
      for (const task of all) values.push(await measureRun(task))
      return values
    }
    const exact = await measure(tasks)
    const noisy = noisyTasks(tasks, 2)
    expect(noisy.map(({ noise }) => noise)).toEqual([1, 2].flatMap((seed) => tasks.map(() => ({ seed, percent: 5 }))))
    const values = await measure(noisy)
    expect(await measure(noisy)).toEqual(values)
    const [one, two] = [values.slice(0, tasks.length), values.slice(tasks.length)]
    expect(one).not.toEqual(exact)
    expect(one).not.toEqual(two)
    // Noise goes when the measurement is over.
    expect(await measure(tasks)).toEqual(exact)
    const [outcome] = judgeNoisy(judge(targets, tasks, exact), noisy, values)
    expect(outcome!.noisy!.map(({ seed }) => seed)).toEqual([1, 2])
    expect(summaryCells(outcome!).at(-1)).toMatch(/^[012]\/2$/)
    expect(reproductionMarkdown([outcome!])).toMatch(/\| target \| exact \| with 5 % noise \| .*\n.*\n\| R1 \| pass \|/)
  })

  test('a rule that fails with a seed is named, with its numbers', () => {
    const target = TARGETS[0]!
    const judged = (simulated: number) => ({ rows: [within('slope', 'cycles', 100, simulated, 10)], figures: [] })
    const outcome: Outcome = {
      target, judgement: judged(100), verdict: 'pass', noisy: [101, 120, 80].map((value, i) => (
        { seed: i + 1, passes: i === 0, judgement: judged(value) })),
    }
    expect(noisyMisses(outcome)).toEqual(['with noise, "slope" fails with 2 of 3 seeds: 120, 80 (accepted 90 to 110)'])
    expect(summaryCells(outcome).at(-1)).toBe('1/3')
    expect(reproductionMarkdown([outcome])).toContain('| R1 | pass | 1/3 | slope (2) |')
    expect(reproductionHtml([outcome], { command: 'x', version: '1' })).toContain('fails with 2 of 3 seeds')
  })
})

describe('as a command', () => {
  test('JSON and a page', { timeout: 180_000 }, async () => {
    const page = join(mkdtempSync(join(tmpdir(), 'reproduce-')), 'r.html')
    const json = await shootdown(['reproduce', 'r1', '--report', page, '--json'])
    expect(json.code).toBe(0)
    expect(readFileSync(page, 'utf8')).toContain('published [v] HANSEN')
    const data = JSON.parse(json.stdout) as { schemaVersion: number; targets: { id: string; verdict: string }[] }
    expect(data.schemaVersion).toBe(1)
    expect(data.targets).toMatchObject([{ id: 'R1', verdict: 'pass' }])
  })

  test.skipIf(chromium === undefined)('its page opens in Chromium without a complaint and without a request',
    { timeout: 180_000 }, async () => {
      const page = join(mkdtempSync(join(tmpdir(), 'reproduce-')), 'r.html')
      expect((await shootdown(['reproduce', 'R1', 'R9', '--quick', '--report', page])).code).toBe(0)
      const browser = await launchChromium(chromium!)
      onTestFinished(() => browser.close())
      const opened = await openPlots(browser, page)
      const plots = await opened.page.locator('figure > svg').all()
      const boxes = await Promise.all(plots.map((svg) => svg.boundingBox()))
      expect(boxes.map((box) => box !== null && box.width > 300 && box.height > 200)).toEqual([true, true])
      const download = opened.page.waitForEvent('download')
      await opened.page.click('a[download="reproduction.json"]')
      const file = await (await download).path()
      const data = JSON.parse(readFileSync(file, 'utf8')) as { targets: { id: string }[] }
      expect(data.targets.map(({ id }) => id)).toEqual(['R1', 'R9'])
      expect(opened.complaints).toEqual([])
    })

  test('an unknown target is refused, and no page is left behind', async () => {
    const page = join(mkdtempSync(join(tmpdir(), 'reproduce-')), 'r.html')
    const refused = await shootdown(['reproduce', 'R99', '--report', page])
    expect([refused.code, existsSync(page)]).toEqual([2, false])
    expect(refused.stderr).toContain('there is no target "R99"')
  })
})
