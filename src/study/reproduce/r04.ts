// R4: broadcast invalidation against interrupts: threads of one process that map a page, write it and drop it again.

import { LOOPS } from './published/invlpgb.js'
import { runScenario } from './simulated.js'
import { between, holds, mean, shown } from './target.js'
import type { Results, Row, Run, Size, Target } from './target.js'

const MACHINE = 'milan'
const CPUS = 72
const LOOPS_EACH = 32
/** The kernel looks at a process every 32nd millisecond tick or so whether it deserves a global ASID. */
const TICKS = 33
const WAYS = ['linux-6.x', 'linux-6.x-invlpgb'] as const
type Way = (typeof WAYS)[number]

function loops(threads: number, policy: Way): Run {
  return {
    key: `${threads} ${policy}`,
    measure: async () => {
      const round = (name: string) => [{ write: name }, { madvise: { area: name, advice: 'dontneed' } }]
      const measured = (id: number) => [
        { mark: 'begin' }, { repeat: { times: LOOPS_EACH, do: round(`p${id}`) } }, { mark: 'end' },
      ]
      // Until the process has its ASID, one thread flushes once a tick and the others spin.
      const warm = policy === 'linux-6.x' ? [] : [{ repeat: { times: TICKS,
        do: [...round('p0'), { compute: '1ms' }] } }]
      const map = (id: number) => ({ mmap: { name: `p${id}`, pages: 1, at: 0x1000_0000 + id * 0x20_0000 } })
      const done = await runScenario({
        machine: { preset: MACHINE, cpus: CPUS, sockets: 2 }, kernel: { policy },
        processes: [{ name: 'p', threads: [
          { name: 't0', cpu: 0, program: [map(0), ...warm, { signal: 'go' }, ...measured(0)] },
          ...Array.from({ length: threads - 1 }, (_, i) => ({
            name: `t${i + 1}`, cpu: i + 1, program: [map(i + 1), { spin: 'go' }, ...measured(i + 1)],
          })),
        ] }],
      })
      const begin = Math.min(...done.marks('begin'))
      const loopEnds = [...done.events()].filter(event => (
        event.name === 'sys_exit' && event.fields.name === 'madvise' && event.cycle >= begin)).map(({ cycle }) => cycle)
      // The middle half, while all threads are at it.
      const [from, to] = [Math.floor(loopEnds.length / 4), Math.floor(loopEnds.length * 3 / 4)]
      return { kps: (to - from) / done.toMicroseconds(loopEnds[to]! - loopEnds[from]!) * 1000 }
    },
  }
}

export const R4: Target = {
  id: 'R4',
  title: 'INVLPGB against interrupts',
  kind: 'gate',
  source: 'INVLPGB: 72-CPU AMD Milan, will-it-scale tlb_flush2_threads',
  mark: 'v',
  machines: [MACHINE],
  setup: 'Every thread writes a page of its own and drops it with MADV_DONTNEED, in a loop, all in one address space.',
  fitted: ['milan lineTransfer, lineTransferRemote (saturation), handler (interrupts), syscall, vmaOperation, '
    + 'pageFault, '
    + 'zeroPage and freePage (one thread)'],
  departures: ['36 CPUs on each of two sockets stand for 72 threads of 36 cores',
    'the LRU lock of the variant before the '
    + 'drain was removed (527 thousand loops) is not modelled'],
  runs: (size: Size) => LOOPS.filter(([threads]) => size === 'full' || threads <= 4)
    .flatMap(([threads]) => WAYS.map(way => loops(threads, way))),
  judge: (results: Results) => {
    const ours = (threads: number, way: Way): number => results.get(`${threads} ${way}`, 'kps')
    const here = LOOPS.filter(([threads]) => results.has(`${threads} linux-6.x`))
    const ratio = (threads: number): number => ours(threads, 'linux-6.x-invlpgb') / ours(threads, 'linux-6.x')
    const busy = here.filter(([threads]) => threads >= 4).map(([threads]) => ours(threads, 'linux-6.x'))
    const level = mean(busy)
    const peak = (way: Way): number => here.reduce((best, [threads]) => (
      ours(threads, way) > ours(best, way) ? threads : best), here[0]![0])
    const rows: Row[] = [
      ...here.map(([threads, interrupts, broadcast]) => {
        const published = broadcast / interrupts
        const percent = threads >= 4 ? 25 : 5
        return between(`broadcast / interrupts, ${threads} threads`, 'ratio', published, ratio(threads),
          published * (1 - percent / 100), published * (1 + percent / 100))
      }),
      between('interrupts from 4 threads on: furthest from their mean', '%', undefined,
        100 * Math.max(...busy.map(value => Math.abs(value / level - 1))), 0, 25),
      ...(here.length < LOOPS.length ? [] : [
        holds('both lines peak between 16 and 32 threads', WAYS.every(way => peak(way) >= 16 && peak(way) <= 32))]),
      ...here.flatMap(([threads, interrupts, broadcast]) => [
        shown(`${threads} threads, interrupts`, 'thousand loops/s', interrupts, ours(threads, 'linux-6.x')),
        shown(`${threads} threads, broadcast`, 'thousand loops/s', broadcast, ours(threads, 'linux-6.x-invlpgb')),
      ]),
    ]
    const points = (way: Way): [number, number][] => here.map(([threads]) => [threads, ours(threads, way)])
    return {
      rows,
      figures: [
        { kind: 'chart', chart: {
          title: 'R4: loops of all threads, AMD Milan', x: { label: 'threads', scale: 'log2' },
          y: { label: 'thousand loops a second' },
          series: [
            { kind: 'line', name: 'simulated: interrupts', look: 0, points: points('linux-6.x') },
            { kind: 'line', name: 'simulated: INVLPGB', look: 1, points: points('linux-6.x-invlpgb') },
            { kind: 'marker', name: 'published [v]: interrupts', look: 0, points: here.map(([x, y]) => [x, y]) },
            { kind: 'marker', name: 'published [v]: INVLPGB', look: 1, points: here.map(([x, , y]) => [x, y]) },
          ],
        } },
        { kind: 'chart', chart: {
          title: 'R4: the ratio', x: { label: 'threads', scale: 'log2' }, y: { label: 'INVLPGB / interrupts' },
            height: 280,
          series: [
            { kind: 'band', name: 'accepted', look: 1, points: here.map(([x, a, b]) => (
              [x, b / a * (x >= 4 ? 0.75 : 0.95), b / a * (x >= 4 ? 1.25 : 1.05)])) },
            { kind: 'line', name: 'simulated', look: 0, points: here.map(([x]) => [x, ratio(x)]) },
            { kind: 'marker', name: 'published [v]', look: 1, points: here.map(([x, a, b]) => [x, b / a]) },
          ],
        } },
      ],
    }
  },
}
