// R1: what a flush costs against the number of its pages (D. Hansen's traces behind the ceiling of 33 pages).

import { FLUSH_CYCLES_BY_PAGES, FULL_FLUSH_CYCLES, SHARE_OF_CALLS } from './published/hansen.js'
import { runScenario, times } from './simulated.js'
import type { Operation } from './simulated.js'
import { between, fitLine, shown, within } from './target.js'
import type { Results, Row, Run, Target } from './target.js'

/** What the tracer adds to every call, at most: the source says 200 to 335 cycles. */
const TRACER_CYCLES = 335
/** No range becomes a full flush here: the traces were taken with a ceiling above 35 pages. */
const NO_CEILING = 1000
const MACHINE = 'ivb-laptop'
const CALLS = 1000

function run(program: readonly Operation[], flushCeiling = NO_CEILING) {
  return runScenario({
    machine: MACHINE, cpus: 1, kernel: { era: 'linux-4.6', flushCeiling }, processes: [{ name: 'cc1', program }],
  })
}

function drop(pages: number): Operation[] {
  return [{ write: { area: 'a', pages } }, { madvise: { area: 'a', pages, advice: 'dontneed' } }]
}

function flushOf(pages: number): Run {
  return {
    key: `${pages}`,
    measure: async () => {
      const done = await run([{ mmap: { name: 'a', pages: 64 } }, ...drop(pages), ...drop(pages)])
      return { cycles: done.shootdowns.findLast(flush => flush.pages === pages)!.cycles! }
    },
  }
}

const fullFlush: Run = {
  key: 'full',
  measure: async () => {
    const done = await run([{ mmap: { name: 'a', pages: 64 } }, ...drop(40)], 33)
    return { cycles: done.shootdowns.find(flush => flush.pages === -1)!.cycles! }
  },
}

/** Calls in the shares of the source; the rest, which it does not give, evenly over the sizes between. */
const sharedCalls: Run = {
  key: 'shares',
  measure: async () => {
    const known = new Map(SHARE_OF_CALLS.map(([pages, percent]) => [pages, Math.round(percent * CALLS / 100)]))
    const rest = CALLS - [...known.values()].reduce((sum, count) => sum + count, 0)
    const between = FLUSH_CYCLES_BY_PAGES.map(([pages]) => pages).filter(pages => !known.has(pages))
    for (const [i, pages] of between.entries()) {
      known.set(pages, Math.floor(rest / between.length) + (i < rest % between.length ? 1 : 0))
    }
    const done = await run([{ mmap: { name: 'a', pages: 64 } },
      ...[...known].flatMap(([pages, count]) => times(count, () => drop(pages)))])
    const sizes = done.shootdowns.map(({ pages }) => pages)
    return { calls: sizes.length, short: sizes.filter(pages => pages > 0 && pages <= 33).length }
  },
}

function shareOfShort(results: Results): number {
  return 100 * results.get('shares', 'short') / results.get('shares', 'calls')
}

export const R1: Target = {
  id: 'R1',
  title: 'Flush cost against pages',
  kind: 'gate',
  source: 'HANSEN: Linux 3.15, Core i5-3320M, kernel build',
  mark: 'v',
  machines: [MACHINE],
  setup: 'One process alone on its CPU, ranges flushed page by page whatever their length. y: the flush call, with the '
    + `${TRACER_CYCLES} cycles that the tracer added.`,
  fitted: ['ivb-laptop invlpg (slope)', 'flushSetup (intercept less the tracer and one invlpg)'],
  departures: [
    'Linux 4.6 stands for 3.15: the same rules for a range', 'MADV_DONTNEED stands for all callers of the flush',
    'the full flush is shown only: the source mixes in remote ones',
  ],
  runs: () => [...FLUSH_CYCLES_BY_PAGES.map(([pages]) => flushOf(pages)), fullFlush, sharedCalls],
  judge: (results: Results) => {
    const ours = FLUSH_CYCLES_BY_PAGES.map(([pages]): readonly [number, number] => (
      [pages, results.get(`${pages}`, 'cycles') + TRACER_CYCLES]))
    const { slope } = fitLine(ours)
    const rows: Row[] = [
      within('slope', 'cycles a page', 249, slope, 15),
      ...FLUSH_CYCLES_BY_PAGES.map(([pages, cycles], i) => (
        within(`${pages} page${pages === 1 ? '' : 's'}`, 'cycles', cycles, ours[i]![1], 20))),
      shown('full flush', 'cycles', FULL_FLUSH_CYCLES, results.get('full', 'cycles') + TRACER_CYCLES),
      between('calls of at most 33 pages', '%', 98.6, shareOfShort(results), 98, 100),
    ]
    return {
      rows,
      figures: [{
        kind: 'chart',
        chart: {
          title: 'R1: flush of n pages, Core i5-3320M', x: { label: 'pages' }, y: { label: 'flush call (cycles)' },
          rules: [{ at: 33, label: 'ceiling' }],
          series: [
            { kind: 'band', name: 'accepted: published +-20 %', look: 1,
              points: FLUSH_CYCLES_BY_PAGES.map(([x, y]) => [x, y * 0.8, y * 1.2]) },
            { kind: 'line', name: 'simulated', look: 0, points: ours, marks: false },
            { kind: 'marker', name: 'published [v] HANSEN', look: 1, points: FLUSH_CYCLES_BY_PAGES },
          ],
        },
      }],
    }
  },
}
