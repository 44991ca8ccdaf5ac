// R15: a historical line, from memory and drawn only: what a shootdown of Mach cost on an Encore Multimax.

import { runScenario, times } from './simulated.js'
import type { Operation } from './simulated.js'
import { fitLine, shown } from './target.js'
import type { Results, Run, Target } from './target.js'

const MACHINE = 'multimax-1989'
const CPUS = [2, 3, 4, 6, 8, 10, 12, 14, 16] as const
const ROUNDS = 3
/** BLACK [m:m]. */
const BASE_US = 430
const EACH_US = 55

function shootdown(cpus: number): Run {
  return {
    key: `${cpus}`,
    measure: async () => {
      const main: Operation[] = times(ROUNDS, n => [
        { mmap: { name: 'page', pages: 1 } }, { write: 'page' }, { signal: `map${n}` },
        ...times(cpus - 1, id => [{ spin: `seen${n}_${id + 1}` }]), { mprotect: { area: 'page', prot: 'r' } },
        { munmap: 'page' }, { signal: `gone${n}` },
      ])
      const user = (id: number): Operation[] => times(ROUNDS, n => [
        { spin: `map${n}` }, { read: 'page' }, { signal: `seen${n}_${id}` }, { spin: `gone${n}` },
      ])
      const done = await runScenario({
        machine: { preset: MACHINE, cpus, sockets: 1, memory: '64M' }, kernel: { policy: 'mach-1989' },
        processes: [{ name: 'p', threads: [
          { name: 'main', cpu: 0, program: main },
          ...times(cpus - 1, n => [{ name: `t${n + 1}`, cpu: n + 1, program: user(n + 1) }]),
        ] }],
      })
      const flushes = done.shootdowns.filter(({ comm }) => comm === 'main')
      return { us: done.toMicroseconds(Math.max(...flushes.map(({ cycles }) => cycles ?? 0))) }
    },
  }
}

export const R15: Target = {
  id: 'R15',
  title: 'Mach on a Multimax, 1989',
  kind: 'show',
  source: 'BLACK: Encore Multimax, from memory',
  mark: 'm',
  machines: [MACHINE],
  setup: 'One thread changes the protection of a page that the others have read; responders are held until it is done.',
  fitted: ['multimax-1989 flushSetup and ipiSend'],
  departures: ['the bus has no contention, so nothing bends beyond 12 CPUs',
    'the Barrelfish figure is not drawn: message '
    + 'passing is not modelled'],
  runs: () => CPUS.map(shootdown),
  judge: (results: Results) => {
    const ours = CPUS.map((cpus): [number, number] => [cpus - 1, results.get(`${cpus}`, 'us')])
    const { slope, intercept } = fitLine(ours.filter(([targets]) => targets <= 12))
    return {
      rows: [
        shown('base', 'us', BASE_US, intercept), shown('for each processor', 'us', EACH_US, slope),
        shown('for each / base', 'ratio', 0.13, slope / intercept),
      ],
      figures: [{
        kind: 'chart',
        chart: {
          title: 'R15: a shootdown of Mach', x: { label: 'processors that are shot at' }, y: { label: 'time (us)' },
          series: [
            { kind: 'line', name: 'simulated', look: 0, points: ours },
            { kind: 'line', name: 'from memory [m]: 430 us + 55 us each', look: 1, dashed: true, marks: false,
              points: [[1, BASE_US + EACH_US], [12, BASE_US + 12 * EACH_US]] },
          ],
        },
      }],
    }
  },
}
