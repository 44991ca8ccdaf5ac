// The report of a sweep: what it says about made-up rows, that it is one page without a network, and that the same
// rows give the same bytes.

import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { sweepReport } from '../src/study/sweep-report/report.js'
import { viewOf } from '../src/study/sweep-report/view.js'
import { sentences } from '../src/study/sweep-report/words.js'
import type { Parameters } from '../src/study/study-axes.js'
import type { ResultRow } from '../src/study/sweep-point.js'
import { findChromium, launchChromium, NO_CHROMIUM } from './support/chromium.js'
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
      'Mean latency of a flush: broadcast is below ipi from about cpus=6 on (between 4 and 8).',
    ])
  })

  test('lines that part somewhere, or never, say so', () => {
    const view = viewOf([1, 2, 3].flatMap((cpus, i) => [
      row(2 * i, { policy: 'a', cpus }, { latencyMean: 1000 }),
      row(2 * i + 1, { policy: 'b', cpus }, { latencyMean: cpus < 3 ? 1000 : 500, cycles: 1000 + 250 * cpus }),
    ]))
    expect(sentences(view, 'cpus', 'latencyMean'))
      .toEqual(['Mean latency of a flush: b is below a from cpus=3 on, and equal up to cpus=2.'])
    expect(sentences(view, 'cpus', 'cycles')).toEqual(['Whole run: a is below b everywhere, by 20 to 42.86 %.'])
  })

  test('a best value is stated, and what the kernel\'s costs beside it', () => {
    const rows = [1, 8, 33, 64].map((ceiling, i) => row(i, { ceiling }, { cycles: [200, 100, 150, 300][i]! }))
    expect(sentences(viewOf(rows), 'ceiling', 'cycles'))
      .toEqual(['Whole run is lowest at ceiling=8; the kernel\'s 33 costs 50 % more.'])
    const flat = [1, 8, 33, 64].map((ceiling, i) => row(i, { ceiling }, { cycles: 100 }))
    expect(sentences(viewOf(flat), 'ceiling', 'cycles')).toEqual(['Whole run does not depend on ceiling.'])
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
    expect(figures[0]!.title).toBe('Mean latency of a flush against cpus (pages=1)')
    // Two seeds, 1 and 2 us: their mean, and an interval around it.
    expect(figures[0]!.rows[0]).toEqual(['2', '1.5 [1 to 2]', '1.5 [1 to 2]'])
  })

  test('numbers stand in a table under every plot, and times are microseconds of the machine', () => {
    const { figures } = sweepReport(CROSSING, CONTEXT)
    expect(figures[0]!.columns.map(({ title }) => title)).toEqual(['cpus', 'ipi', 'broadcast'])
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
      const page = await browser.newPage({ viewport: { width: 1300, height: 900 } })
      const complaints: string[] = []
      page.on('console', (message) => complaints.push(message.text()))
      page.on('pageerror', (error) => complaints.push(error.message))
      page.on('request', (request) => {
        if (request.url() !== `file://${file}`) complaints.push(request.url())
      })
      await page.goto(`file://${file}`)
      const boxes = await Promise.all((await page.locator('figure > svg').all()).map((svg) => svg.boundingBox()))
      expect(boxes.map((box) => box !== null && box.width > 300 && box.height > 200)).toEqual(figures.map(() => true))
      const download = page.waitForEvent('download')
      await page.click('a[download="results.csv"]')
      expect((await download).suggestedFilename()).toBe('results.csv')
      expect(complaints).toEqual([])
    })
})
