// The report of a sweep: what it says about made-up rows, that it is one page without a network, and that the same
// rows give the same bytes.

import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { sweepReport } from '../src/study/sweep-report/report.js'
import { viewOf } from '../src/study/sweep-report/view.js'
import { barSentences, sentences } from '../src/study/sweep-report/words.js'
import type { Parameters } from '../src/study/study-axes.js'
import type { ResultRow } from '../src/study/sweep-point.js'
import { findChromium, launchChromium, NO_CHROMIUM, openPlots } from './support/chromium.js'
import { temporaryFolder } from './support/cli.js'

const chromium = findChromium()
if (chromium === undefined) process.stderr.write(`${NO_CHROMIUM}\n`)

/** A row of a machine with 1 GHz, so that 1000 cycles are a microsecond. */
function row(index: number, parameters: Parameters, result: Record<string, number>): ResultRow {
  return {
    study: '0123456789abcdef', version: '1.0.0', index, of: 99, seed: 1, parameters, problem: '',
    result: { frequencyGhz: 1, cycles: 1000, flushes: 2, latencyMean: 0, calls: 2, ...result },
    latencies: [[100, 1], [200, 1]],
  }
}

const CONTEXT = { title: 'A & B', question: 'Which?', command: 'shootdown sweep s.yaml', metrics: ['latencyMean'] }

/** One policy starts low and rises, the other starts high and stays: they cross at 6 CPUs. */
const CROSSING = [2, 4, 8, 16].flatMap((cpus, i) => [
  row(2 * i, { policy: 'ipi', cpus }, { latencyMean: cpus * 1000 }),
  row(2 * i + 1, { policy: 'broadcast', cpus }, { latencyMean: 6000 }),
])

describe('what a report says', () => {
  test('a crossing is stated with its place, and between which points it lies', () => {
    expect(sentences(viewOf(CROSSING), 'cpus', 'latencyMean')).toEqual([
      'broadcast is below ipi from about cpus=6 on (between 4 and 8).',
    ])
  })

  test('lines that part somewhere, or never, say so', () => {
    const view = viewOf([1, 2, 3].flatMap((cpus, i) => [
      row(2 * i, { policy: 'a', cpus }, { latencyMean: 1000, calls: [1, 2, 1][i]! }),
      row(2 * i + 1, { policy: 'b', cpus }, {
        latencyMean: cpus < 3 ? 1000 : 500, cycles: 1000 + 250 * cpus, calls: [1, 1, 1][i]!,
      }),
    ]))
    expect(sentences(view, 'cpus', 'latencyMean')).toEqual(['b is below a from cpus=3 on, and equal up to cpus=2.'])
    expect(sentences(view, 'cpus', 'cycles')).toEqual(['a is below b everywhere, by 20 to 42.86 %.'])
    expect(sentences(view, 'cpus', 'calls')).toEqual([
      'b is below a at cpus=2, by 50 %, and equal elsewhere.',
      // And of each line where it is lowest, if that is neither end.
    ])
  })

  test('three lines or more are ranked, without the bound that no system reaches', () => {
    const rows = [2, 4, 8].flatMap((cpus, i) => Object.entries({ a: 10, b: 4 * cpus, c: 30, 'hardware-coherent': 1 })
      .map(([policy, cost], j) => row(4 * i + j, { policy, cpus }, { latencyMean: 1000 * cost })))
    expect(sentences(viewOf(rows), 'cpus', 'latencyMean')).toEqual([
      'b lowest up to cpus=2, a lowest from cpus=4 on (but for hardware-coherent, the bound).',
      'a is below b from about cpus=3 on (between 2 and 4).',
      'c is below b from about cpus=8 on (between 4 and 8).',
    ])
    const oneUp = rows.filter(({ parameters }) => parameters['cpus'] === 4)
    expect(barSentences(viewOf(oneUp), 'latencyMean'))
      .toEqual(['a is lowest (but for hardware-coherent, the bound); c is 200 % above it.'])
  })

  test('what holds in several panels is said once, with the percentages of all', () => {
    const rows = [1, 2, 3].flatMap((pages) => CROSSING.map((one, i) => row(i, { ...one.parameters, pages },
      { latencyMean: pages === 3 ? 7000 : one.result['latencyMean']!, cycles: one.parameters['policy'] === 'ipi' ? 900
        : 1000 * pages })))
    expect(sentences(viewOf(rows), 'cpus', 'latencyMean')).toEqual([
      'broadcast is below ipi from about cpus=6 on (between 4 and 8) (pages=1, 2).',
      'ipi and broadcast are equal (pages=3).',
    ])
    expect(sentences(viewOf(rows), 'cpus', 'cycles'))
      .toEqual(['ipi is below broadcast everywhere, by 10 to 70 % (in all 3 panels).'])
  })

  test('means over seeds whose intervals overlap are equal', () => {
    const rows = [2, 4].flatMap((cpus, i) => [1, 2, 3, 4].flatMap((seed) => [
      row(2 * i, { policy: 'a', cpus, seed }, { latencyMean: 1000 * seed }),
      row(2 * i + 1, { policy: 'b', cpus, seed }, { latencyMean: 1000 * seed + (cpus === 2 ? 100 : 9000) }),
    ]))
    expect(sentences(viewOf(rows), 'cpus', 'latencyMean'))
      .toEqual(['a is below b from cpus=4 on, and equal up to cpus=2.'])
  })

  test('a best value is stated, and what the kernel\'s costs beside it', () => {
    const rows = [1, 8, 33, 64].map((ceiling, i) => row(i, { ceiling }, { cycles: [200, 100, 150, 300][i]! }))
    expect(sentences(viewOf(rows), 'ceiling', 'cycles'))
      .toEqual(['has its lowest point at ceiling=8; the kernel\'s 33 costs 50 % more.'])
    // Drawn against the kernel's own: +33 % at 1.
    expect(sweepReport(rows, { ...CONTEXT, metrics: ['cycles'] }).figures[0]!.svg)
      .toContain('1, 33.33 (Whole run, against the kernel\'s 33 (%))')
    const flat = [1, 8, 33, 64].map((ceiling, i) => row(i, { ceiling }, { cycles: 100 }))
    expect(sentences(viewOf(flat), 'ceiling', 'cycles')).toEqual(['does not depend on ceiling.'])
  })

  test('lines are what is switched on and off rather than machines, and fields have names of their own', () => {
    const rows = ['m', 'n'].flatMap((machine, i) => [true, false].flatMap((pcid, j) => [8, 16, 64].map((pages, k) => (
      row(6 * i + 3 * j + k, { pcid, machine, pages }, { cycles: pcid ? 100 : 100 + pages })))))
    const { figures } = sweepReport(rows, { ...CONTEXT, metrics: ['cycles'], labels: { pages: 'set (pages)' } })
    expect(figures[0]!.title).toBe('Whole run against set (pages) (machine=m)')
    expect(figures[0]!.columns.map(({ title }) => title)).toEqual(['set (pages)', 'pcid=true', 'pcid=false'])
  })

  test('lines are policies, panels whatever else is varied, and seeds are not a field', () => {
    const rows = [1, 2].flatMap((seed) => [1, 2].flatMap((pages) => CROSSING.map((one, i) =>
      row(i, { ...one.parameters, pages, seed }, { latencyMean: 1000 * seed }))))
    const view = viewOf(rows)
    expect([view.series, view.axes, view.hasSeeds, view.groups.length]).toEqual(['policy', ['cpus', 'pages'], true, 16])
    const { figures } = sweepReport(rows, CONTEXT)
    expect(figures.map(({ name }) => name)).toEqual([
      'latencyMean-by-cpus-1', 'latencyMean-by-cpus-2', 'latencyMean-by-pages-1', 'latencyMean-by-pages-2',
      'latencyMean-by-pages-3', 'latencyMean-by-pages-4', 'initiator', 'responders', 'latency-cdf', 'interrupts',
    ])
    expect(figures[0]!.title).toBe('Mean latency of a flush against CPUs (pages=1)')
    // Two seeds, 1 and 2 us: their mean, and an interval around it.
    expect(figures[0]!.rows[0]).toEqual(['2', '1.5 [1 to 2]', '1.5 [1 to 2]'])
  })

  test('numbers stand in a table under every plot, and times are microseconds of the machine', () => {
    const { figures } = sweepReport(CROSSING, CONTEXT)
    expect(figures[0]!.columns.map(({ title }) => title)).toEqual(['CPUs', 'ipi', 'broadcast'])
    expect(figures[0]!.rows).toEqual([['2', '2', '6'], ['4', '4', '6'], ['8', '8', '6'], ['16', '16', '6']])
    expect(figures.every(({ rows, svg }) => rows.length > 0 && svg.startsWith('<svg '))).toBe(true)
    expect(figures[0]!.svg).toContain('mean latency of a flush (us)')
  })

  test('where only words are varied there are bars instead of curves', () => {
    const rows = ['a', 'b'].map((policy, i) => row(i, { policy }, { latencyMean: 1000 * (i + 1) }))
    expect(sweepReport(rows, CONTEXT).figures[0]!.rows).toEqual([['mean latency of a flush (us)', '1', '2']])
  })

  test('a point that went wrong is named first', () => {
    const rows = CROSSING.map((one, i) => i === 3 ? { ...one, problem: 'the run ended: stalled' } : one)
    expect(sweepReport(rows, CONTEXT).html).toMatch(/1 of 8 points did not end well:.*point 3: the run ended: stalled/)
  })
})

describe('the page', () => {
  test('is the same for the same rows, loads nothing, and has data, command and version in it', () => {
    const { html } = sweepReport(CROSSING, CONTEXT)
    expect(sweepReport(CROSSING, CONTEXT).html).toBe(html)
    expect(html.match(/(src|href)="(?!data:)[^"]*"|https?:\/\/(?!www\.w3\.org\/2000\/svg)|<script/g)).toBeNull()
    expect(html).toContain('default-src')
    expect(html).toContain('<h1>A &amp; B</h1>')
    expect(html).toContain('<code>shootdown sweep s.yaml</code>')
    expect(html).toContain('shootdown 1.0.0, study 0123456789abcdef, 8 of 99 points')
    const [, csv] = /download="results.csv" href="data:text\/csv;base64,([^"]*)"/.exec(html)!
    expect(Buffer.from(csv!, 'base64').toString().split('\n')[0]).toMatch(/^index,policy,cpus,problem,frequencyGhz,/)
  })

  test.skipIf(chromium === undefined)('opens in Chromium without a complaint and without a request, every plot visible',
    { timeout: 120_000 }, async () => {
      const { html, figures } = sweepReport(CROSSING, CONTEXT)
      const file = join(temporaryFolder({ 'r.html': html }), 'r.html')
      const browser = await launchChromium(chromium!)
      onTestFinished(() => browser.close())
      const { page, complaints } = await openPlots(browser, file)
      const boxes = await Promise.all((await page.locator('figure > svg').all()).map((svg) => svg.boundingBox()))
      expect(boxes.map((box) => box !== null && box.width > 300 && box.height > 200)).toEqual(figures.map(() => true))
      const download = page.waitForEvent('download')
      await page.click('a[download="results.csv"]')
      expect((await download).suggestedFilename()).toBe('results.csv')
      // In the dark, paper and ink change and colours stay.
      await page.emulateMedia({ colorScheme: 'dark' })
      const shown = await page.evaluate(`[...document.querySelectorAll('figure > svg > rect, figure > svg > text')]
        .slice(0, 2).map((one) => getComputedStyle(one).fill)`)
      expect(shown).toEqual(['rgb(27, 27, 27)', 'rgb(221, 221, 221)'])
      expect(complaints).toEqual([])
    })
})
