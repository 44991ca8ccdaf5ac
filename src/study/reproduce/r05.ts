// R5: one flush for a batch of pages that reclaim unmaps, against one for every page.

import { runScenario, times } from './simulated.js'
import { between, shown, within } from './target.js'
import type { Results, Run, Target } from './target.js'

const MACHINE = 'hsw-2s'
const FILE_PAGES = 1536
const ROUNDS = 24
const BATCH_PAGES = 32

interface Place {
  name: string
  cpus: number
  sockets: number
  /** MEL [v]: interrupts before / after, and how much system time the batches saved, percent. */
  factor: number
  saved: number
}

const PLACES: readonly Place[] = [
  { name: '4 nodes', cpus: 48, sockets: 4, factor: 5, saved: 30.5 },
  { name: '1 socket', cpus: 8, sockets: 1, factor: 11, saved: 28.7 },
]

function reclaim(place: Place, each: boolean): Run {
  return {
    key: `${place.name} ${each ? 'each' : 'batch'}`,
    measure: async () => {
      const { result } = await runScenario({
        machine: { preset: MACHINE, cpus: place.cpus, sockets: place.sockets },
        kernel: { era: 'linux-6.x', flushEachUnmap: each }, files: [{ name: 'data', pages: FILE_PAGES }],
        processes: [
          { name: 'reader', threads: times(place.cpus - 1, id => [{ name: `t${id}`, cpu: id, program: id === 0
            ? [{ mmap: { name: 'view', pages: FILE_PAGES, file: 'data', prot: 'r', shared: true } }, { read: 'view' },
              { signal: 'go' }, { spin: 'end' }]
            : [{ spin: 'go' }, { spin: 'end' }] }]) },
          { name: 'kswapd', cpu: place.cpus - 1, program: [
            { spin: 'go' }, ...times(ROUNDS, () => [{ reclaim: { pages: BATCH_PAGES } }]), { signal: 'end' },
          ] },
        ],
      }, { trace: false })
      const { counters } = result
      return {
        ipis: counters.callFunctionIpis / counters.pgsteal, taken: counters.pgsteal,
        system: (counters.initiatorCycles + counters.responderCycles) / counters.pgsteal,
      }
    },
  }
}

export const R5: Target = {
  id: 'R5',
  title: 'Batched unmap flush in reclaim',
  kind: 'gate',
  source: 'MEL: 4 nodes with 48 CPUs, and one socket',
  mark: 'v',
  machines: [MACHINE],
  setup: 'A file is read by one thread while the others of its process spin; reclaim takes its pages, with a flush '
    + 'for every '
    + `page and with a flush for each batch of ${BATCH_PAGES}.`,
  fitted: [],
  departures: ['reclaim in a task of its own stands for kswapd', 'system time is that of the flushes alone'],
  missReason: 'the published interrupts are all interrupts of the machine, those of disks and timers too, of which '
    + 'nothing is '
    + 'simulated: what is left of 900 thousand after batching (180, and 60 in the final series) is mostly others. The '
    + 'flushes themselves fall by the size of a batch. System time has no other parts here.',
  runs: () => PLACES.flatMap(place => [reclaim(place, true), reclaim(place, false)]),
  judge: (results: Results) => {
    const get = (place: Place, way: string, name: string): number => results.get(`${place.name} ${way}`, name)
    return {
      rows: PLACES.flatMap(place => [
        within(`${place.name}: interrupts, each / batch`, 'ratio', place.factor,
          get(place, 'each', 'ipis') / get(place, 'batch', 'ipis'), 30),
        between(`${place.name}: system time saved`, '%', place.saved,
          100 * (1 - get(place, 'batch', 'system') / get(place, 'each', 'system')), place.saved - 8, place.saved + 8),
        shown(`${place.name}: interrupts of a page, each`, 'count', undefined, get(place, 'each', 'ipis')),
        shown(`${place.name}: interrupts of a page, batch`, 'count', undefined, get(place, 'batch', 'ipis')),
      ]),
      figures: [{
        kind: 'bars',
        chart: {
          title: 'R5: interrupts with a flush for every page / for every batch', y: { label: 'ratio' },
          categories: PLACES.map(({ name }) => name),
          series: [{ name: 'simulated',
            values: PLACES.map(place => get(place, 'each', 'ipis') / get(place, 'batch', 'ipis')) }],
          marks: [{ name: 'published [v] MEL', values: PLACES.map(({ factor }) => factor),
            ranges: PLACES.map(({ factor }) => [factor * 0.7, factor * 1.3] as const) }],
        },
      }],
    }
  },
}
