// R13: the notch at the ceiling. mprotect over n pages is cheaper at 34 than at 33, alone and with a remote CPU.

import { MPROTECT_CYCLES } from './published/own-guest.js'
import { runScenario } from './simulated.js'
import { between, fitLine, holds, shown, within } from './target.js'
import type { Results, Row, Run, Target } from './target.js'

const MACHINE = 'zen5-vm'
const MODES = ['alone', 'concurrent', 'serial'] as const
type Mode = (typeof MODES)[number]

function protect(pages: number, mode: Mode): Run {
  return {
    key: `${mode} ${pages}`,
    measure: async () => {
      const look = [{ spin: 'ready' }, { read: 'a' }, { signal: 'seen' }, { spin: 'end' }]
      const main = [
        { mmap: { name: 'a', pages } }, { write: 'a' }, { signal: 'ready' },
        ...(mode === 'alone' ? [] : [{ spin: 'seen' }]),
        { mprotect: { area: 'a', prot: 'r' } }, { signal: 'end' },
      ]
      const done = await runScenario({
        machine: MACHINE, cpus: 2,
        kernel: { era: 'linux-6.x', remoteFlush: mode === 'serial' ? 'serial' : 'concurrent' },
        processes: [{ name: 'p', threads: [
          { name: 'main', cpu: 0, program: main },
          ...(mode === 'alone' ? [] : [{ name: 'peer', cpu: 1, program: look }]),
        ] }],
      })
      return { cycles: done.calls('mprotect')[0]! }
    },
  }
}

function line(results: Results, mode: Mode, from: number, to: number): number {
  const sizes = MPROTECT_CYCLES.map(({ pages }) => pages).filter(pages => pages >= from && pages <= to)
  return fitLine(sizes.map(pages => [pages, results.get(`${mode} ${pages}`, 'cycles')])).slope
}

export const R13: Target = {
  id: 'R13',
  title: 'The notch at the ceiling',
  kind: 'gate',
  source: 'our own measurement: KVM guest, 2 CPUs, Zen 5, Linux 6.18',
  mark: 'o',
  machines: [MACHINE],
  setup: 'mprotect(PROT_READ) over n written pages, alone and while another thread that has read them spins.',
  fitted: [
    'zen5-vm invlpg, fullFlush, ptePerPage (their differences)', 'zen5-vm ipiSend (10 to 13 us for a remote CPU)',
  ],
  departures: [],
  runs: () => MODES.flatMap(mode => MPROTECT_CYCLES.map(({ pages }) => protect(pages, mode))),
  judge: (results: Results) => {
    const cost = (mode: Mode, pages: number): number => results.get(`${mode} ${pages}`, 'cycles')
    const ratio = (mode: Mode): number => cost(mode, 34) / cost(mode, 33)
    const added = (mode: Mode): number => line(results, mode, 1, 33) - line(results, 'alone', 1, 33)
    const rows: Row[] = [
      between('cost(34) / cost(33), alone', 'ratio', 0.77, ratio('alone'), 0.72, 0.82),
      between('cost(34) / cost(33), one remote', 'ratio', 0.895, ratio('concurrent'), 0.83, 0.96),
      within('slope up to 33 pages, alone', 'cycles a page', 334, line(results, 'alone', 1, 33), 10),
      within('slope from 34 pages, alone', 'cycles a page', 210, line(results, 'alone', 34, 64), 10),
      between('slope that a remote adds, concurrent', 'cycles a page', 40, added('concurrent'), -Infinity, 60),
      between('slope that a remote adds, serial', 'cycles a page', undefined, added('serial'), 100, Infinity),
      holds('34 pages are cheaper than 33 in every mode', MODES.every(mode => ratio(mode) < 1)),
      ...MPROTECT_CYCLES.flatMap(({ pages, alone, remoteA, remoteB }) => [
        shown(`${pages} pages, alone`, 'cycles', alone, cost('alone', pages)),
        shown(`${pages} pages, one remote`, 'cycles', (remoteA + remoteB) / 2, cost('concurrent', pages)),
      ]),
    ]
    const points = (mode: Mode): [number, number][] => MPROTECT_CYCLES.map(({ pages }) => [pages, cost(mode, pages)])
    return {
      rows,
      figures: [{
        kind: 'chart',
        chart: {
          title: 'R13: mprotect of n pages, Zen 5 guest', x: { label: 'pages', scale: 'log2' },
          y: { label: 'one call (TSC cycles)', scale: 'log10', min: 1000, max: 200_000 },
          rules: [{ at: 33.5, label: 'ceiling' }],
          series: [
            { kind: 'band', name: 'two runs [o] with a remote', look: 1,
              points: MPROTECT_CYCLES.map(({ pages, remoteA, remoteB }) => [pages, remoteA, remoteB]) },
            { kind: 'line', name: 'simulated, alone', look: 0, points: points('alone') },
            { kind: 'line', name: 'simulated, one remote', look: 1, points: points('concurrent') },
            { kind: 'line', name: 'simulated, one remote, serial', look: 2, points: points('serial') },
            { kind: 'marker', name: 'measured [o], alone', look: 0,
              points: MPROTECT_CYCLES.map(({ pages, alone }) => [pages, alone]) },
            { kind: 'marker', name: 'measured [o], one remote', look: 1,
              points: MPROTECT_CYCLES.map(({ pages, remoteA, remoteB }) => [pages, (remoteA + remoteB) / 2]) },
          ],
        },
      }],
    }
  },
}
