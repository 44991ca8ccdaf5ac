// R12: unmapping long kernel ranges: linear in pages where each is invalidated by itself, flat behind a ceiling.

import { UNMAP_US } from './published/illumos.js'
import { runScenario } from './simulated.js'
import { between, fitLine, shown, within } from './target.js'
import type { Results, Run, Target } from './target.js'

const MACHINE = 'hsw-2s'
const CPUS = 16
const NO_CEILING = 4096
const PAGES = UNMAP_US.map(([pages]) => pages)
const NOTCH = [30, 33, 34, 40, 48] as const

/**
 * One vfree, flushed at once; the other CPUs spin. `eachPage`: as before illumos 5498, one cross-call for each page.
 */
function unmap(pages: number, flushCeiling: number, eachPage = false): Run {
  return {
    key: `${pages} ${eachPage ? 'each' : flushCeiling}`,
    measure: async () => {
      const buffers = eachPage ? Array.from({ length: pages }, (_, i) => `b${i}`) : ['b']
      const main = [
        ...buffers.map(name => ({ vmalloc: { name, pages: eachPage ? 1 : pages } })),
        ...buffers.map(name => ({ kernelTouch: { buffer: name, count: eachPage ? 1 : pages } })),
        ...buffers.map(name => ({ vfree: name })), { signal: 'end' },
      ]
      const done = await runScenario({
        machine: { preset: MACHINE, cpus: CPUS, sockets: 2 },
          kernel: { era: 'linux-6.x', flushCeiling, vmapLazyPages: 0 },
        processes: [{ name: 'p', threads: [
          { name: 'main', cpu: 0, program: main },
          ...Array.from({ length: CPUS - 1 }, (_, i) => ({ name: `t${i}`, cpu: i + 1, program: [{ spin: 'end' }] })),
        ] }],
      })
      return { us: done.toMicroseconds(done.calls('vfree').reduce((sum, cycles) => sum + cycles, 0)) }
    },
  }
}

export const R12: Target = {
  id: 'R12',
  title: 'Latency against pages, long ranges',
  kind: 'gate',
  source: 'ILLUMOS: a production machine, 2015, kernel heap',
  mark: 'v',
  machines: [MACHINE],
  setup: `vfree of n pages on ${CPUS} busy CPUs in 2 sockets, one cross-call for the range, every page by itself.`,
  fitted: [],
  departures: ['the machine is not named: hsw-2s with 16 CPUs stands for it',
    'Linux\'s vfree stands for illumos\' unmap'],
  runs: () => [
    ...PAGES.map(pages => unmap(pages, NO_CEILING)), ...[...PAGES, ...NOTCH].map(pages => unmap(pages, 33)),
    ...[2, 16].map(pages => unmap(pages, NO_CEILING, true)),
  ],
  judge: (results: Results) => {
    const ours = PAGES.map((pages): [number, number] => [pages, results.get(`${pages} ${NO_CEILING}`, 'us')])
    const { slope, intercept } = fitLine(ours)
    const limited = [...PAGES, ...NOTCH].sort((a, b) => a - b)
      .map((pages): [number, number] => [pages, results.get(`${pages} 33`, 'us')])
    const at = (pages: number): number => results.get(`${pages} 33`, 'us')
    const rest = fitLine(limited.filter(([pages]) => pages >= 34)).slope
    return {
      rows: [
        within('slope', 'us a page', 0.27, slope, 25),
        between('intercept', 'us', 8, intercept, 5, 11),
        between('with a ceiling of 33: step from 33 to 34 pages / slope without', 'ratio', undefined,
          (at(34) - at(33)) / slope, -Infinity, 0.75),
        between('with a ceiling of 33: slope behind it / slope without', 'ratio', undefined, rest / slope, 0, 0.75),
        between('one cross-call for each of 16 pages / one for all', 'ratio', 16,
          results.get('16 each', 'us') / results.get(`16 ${NO_CEILING}`, 'us'), 8, 24),
        ...UNMAP_US.map(([pages, least, most], i) => shown(`${pages} pages`, 'us', (least + most) / 2, ours[i]![1])),
      ],
      figures: [{
        kind: 'chart',
        chart: {
          title: 'R12: unmapping a kernel range', x: { label: 'pages', scale: 'log2' },
          y: { label: 'one call (us)', scale: 'log10', min: 1, max: 1000 },
            rules: [{ at: 33.5, label: 'ceiling of Linux' }],
          series: [
            { kind: 'line', name: 'simulated, every page', look: 0, points: ours },
            { kind: 'line', name: 'simulated, ceiling of 33', look: 2, points: limited },
            { kind: 'marker', name: 'published [v] ILLUMOS (middle)', look: 1,
              points: UNMAP_US.map(([pages, least, most]) => [pages, (least + most) / 2]) },
          ],
        },
      }],
    }
  },
}
