// R6: flushing the own TLB while the others flush theirs (5.13), against doing it first: threads that write pages of a
// mapped file, which write-back cleans with a flush for each page.

import { runScenario, times } from './simulated.js'
import type { Operation } from './simulated.js'
import { between, holds, mean, shown, within } from './target.js'
import type { Results, Row, Run, Size, Target } from './target.js'

const MACHINE = 'hsw-2s'
const CPUS = 48
const FILE_PAGES = 1024
/** sysbench calls fdatasync after every 100 requests. */
const OPS_PER_SYNC = 100
const ROUNDS = 2
const ORDERS = ['serial', 'concurrent'] as const
type Order = (typeof ORDERS)[number]

/** AMIT-V3 [v], mitigations on: threads, thousand operations a second before and after. */
const PUBLISHED = [
  [1, 1268, 1299], [2, 1735, 1799], [4, 2821, 2919], [8, 4172, 4377], [16, 5591, 5830], [24, 6250, 6523],
  [32, 3994, 4078], [48, 4345, 4418],
] as const

function writers(threads: number, order: Order): Run {
  return {
    key: `${threads} ${order}`,
    measure: async () => {
      const program = (id: number): Operation[] => [
        { spin: 'go' }, { mark: 'begin' },
        ...times(ROUNDS, n => [
          { touch: { area: 'file', access: 'write', pattern: 'random', count: OPS_PER_SYNC, seed: 100 * n + id } },
          { compute: `${OPS_PER_SYNC * 700}ns` }, { sync: 'data' }, { mark: 'synced' },
        ]),
      ]
      const done = await runScenario({
        machine: { preset: MACHINE, cpus: CPUS, sockets: 2, costs: { pageWrite: 300, pageRead: 300 } },
        kernel: { era: 'linux-6.x', remoteFlush: order },
        files: [{ name: 'data', pages: FILE_PAGES }],
        processes: [{ name: 'sysbench', threads: [
          { name: 't0', cpu: 0, program: [
            { mmap: { name: 'file', pages: FILE_PAGES, file: 'data', shared: true } }, { read: 'file' },
              { signal: 'go' },
            ...program(0),
          ] },
          ...Array.from({ length: threads - 1 },
            (_, i) => ({ name: `t${i + 1}`, cpu: i + 1, program: program(i + 1) })),
        ] }],
      })
      const begin = Math.min(...done.marks('begin'))
      const ends = done.marks('synced')
      const flushes = done.shootdowns.flatMap(({ cycles }) => cycles === undefined ? [] : [cycles])
      return {
        kops: 1000 * threads * OPS_PER_SYNC / done.toMicroseconds(mean(ends.slice(-threads)) - begin) * ROUNDS,
        flushCycles: mean(flushes),
      }
    },
  }
}

export const R6: Target = {
  id: 'R6',
  title: 'Concurrent local and remote flush',
  kind: 'gate',
  source: 'AMIT-V3: 2 x 12-core Haswell, sysbench file I/O, random writes to mapped files',
  mark: 'v',
  machines: [MACHINE],
  setup: 'Every thread writes 100 random pages of a mapped file, computes 0.7 us for each, and calls fsync, which '
    + 'makes every dirty page clean with a flush of its own. Before: remoteFlush serial; after: concurrent.',
  fitted: [],
  departures: [
    'a file of 4 MB stands for 3 GB and storage of 300 cycles a page for emulated persistent memory (a setting of the '
      + 'scenario, not of the machine); operations per second are therefore shown only',
    'the series it belongs to has other changes too: one thread gains 2.4 % there and nothing here',
    'no hardware threads: 24 CPUs on each socket',
  ],
  runs: (size: Size) => PUBLISHED.filter(([threads]) => size === 'full' || threads <= 4)
    .flatMap(([threads]) => ORDERS.map(order => writers(threads, order))),
  judge: (results: Results) => {
    const kops = (threads: number, order: Order): number => results.get(`${threads} ${order}`, 'kops')
    const here = PUBLISHED.filter(([threads]) => results.has(`${threads} serial`))
    const gain = (threads: number): number => 100 * (kops(threads, 'concurrent') / kops(threads, 'serial') - 1)
    const rows: Row[] = [
      ...here.map(([threads, before, after]) => (
        between(`gain, ${threads} threads`, '%', 100 * (after / before - 1), gain(threads), 0, 8))),
      ...(here.length < PUBLISHED.length ? [] : [
        holds('two sockets gain less than one at its best', Math.max(gain(32), gain(48))
          < Math.max(...PUBLISHED.filter(([threads]) => threads <= 24).map(([threads]) => gain(threads)))),
        within('throughput, 32 threads / 24', 'ratio', 0.64, kops(32, 'serial') / kops(24, 'serial'), 20),
      ]),
      ...here.flatMap(([threads, before]) => [
        shown(`${threads} threads, serial`, 'thousand operations/s', before, kops(threads, 'serial')),
        shown(`${threads} threads, a flush, serial`, 'cycles', undefined,
          results.get(`${threads} serial`, 'flushCycles')),
        shown(`${threads} threads, a flush, concurrent`, 'cycles', undefined,
          results.get(`${threads} concurrent`, 'flushCycles')),
      ]),
    ]
    return {
      rows,
      figures: [{
        kind: 'chart',
        chart: {
          title: 'R6: gain of the concurrent flush', x: { label: 'threads', scale: 'log2' }, y: { label: 'gain (%)' },
          rules: [{ at: 28, label: 'two sockets' }],
          series: [
            { kind: 'band', name: 'accepted', look: 1, points: here.map(([threads]) => [threads, 0, 8]) },
            { kind: 'line', name: 'simulated', look: 0, points: here.map(([threads]) => [threads, gain(threads)]) },
            { kind: 'marker', name: 'published [v] AMIT-V3', look: 1,
              points: here.map(([threads, before, after]) => [threads, 100 * (after / before - 1)]) },
          ],
        },
      }],
    }
  },
}
