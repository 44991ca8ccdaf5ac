// R11: munmap of one page against the number of CPUs that use it (the benchmark of the LATR paper).

import { runScenario, times } from './simulated.js'
import type { Operation } from './simulated.js'
import { between, fitLine, holds, mean, shown, within } from './target.js'
import type { Results, Row, Run, Size, Target } from './target.js'

interface Machine {
  name: string
  cpus: number
  sockets: number
  /** Numbers of CPUs that use the page. */
  users: readonly number[]
  published: number
}

const TWO_SOCKETS: Machine = {
  name: 'hsw-2s', cpus: 16, sockets: 2, users: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16], published: 6,
}
const EIGHT_SOCKETS: Machine = {
  name: '8s-120c', cpus: 120, sockets: 8, users: [2, 8, 15, 16, 30, 45, 60, 75, 90, 105, 120], published: 80,
}
const ROUNDS = 6
/** The first rounds find nothing in caches and tables. */
const WARM_UP = 2

function unmapOf(machine: Machine, users: number, policy?: string): Run {
  return {
    key: `${machine.name} ${users}${policy === undefined ? '' : ` ${policy}`}`,
    measure: async () => {
      const main: Operation[] = times(ROUNDS, n => [
        { mmap: { name: 'page', pages: 1 } }, { write: 'page' }, { signal: `map${n}` },
        ...times(users - 1, user => [{ spin: `seen${n}_${user + 1}` }]),
        { munmap: 'page' }, { signal: `gone${n}` },
      ])
      const user = (id: number): Operation[] => times(ROUNDS, n => [
        { spin: `map${n}` }, { read: 'page' }, { signal: `seen${n}_${id}` }, { spin: `gone${n}` },
      ])
      const kernel = policy === undefined ? { era: 'linux-4.6' } : { policy }
      const done = await runScenario({
        machine: { preset: machine.name, cpus: machine.cpus, sockets: machine.sockets }, kernel,
        processes: [{ name: 'p', threads: [
          { name: 'main', cpu: 0, program: main },
          ...times(users - 1, n => [{ name: `t${n + 1}`, cpu: n + 1, program: user(n + 1) }]),
        ] }],
      })
      const flushes = done.shootdowns.filter(({ comm }) => comm === 'main').slice(WARM_UP)
      return {
        call: done.toMicroseconds(mean(done.calls('munmap').slice(WARM_UP))),
        shootdown: done.toMicroseconds(flushes.reduce((sum, { cycles }) => sum + cycles!, 0) / (ROUNDS - WARM_UP)),
      }
    },
  }
}

function usersOf(machine: Machine, size: Size): readonly number[] {
  return size === 'full' ? machine.users : machine.users.filter(users => users === machine.cpus || users % 8 === 0)
}

export const R11: Target = {
  id: 'R11',
  title: 'munmap against CPUs',
  kind: 'gate',
  source: 'LATR: Linux 4.10, 16 cores in 2 sockets and 120 cores in 8',
  mark: 'v2',
  machines: [TWO_SOCKETS.name, EIGHT_SOCKETS.name],
  setup: 'The main thread unmaps a page that n CPUs have just read and spin behind, nearest CPUs first.',
  fitted: ['ipiSend, ackTransfer, ackTransferRemote (mean of send and acknowledgement: 0.28 and 0.66 us a target)'],
  departures: ['Linux 4.6 stands for 4.10'],
  runs: size => [
    ...[TWO_SOCKETS, EIGHT_SOCKETS].flatMap(machine => usersOf(machine, size).map(users => unmapOf(machine, users))),
    unmapOf(TWO_SOCKETS, 16, 'linux-6.x'), unmapOf(TWO_SOCKETS, 16, 'latr'),
  ],
  judge: (results: Results) => {
    const measured = (machine: Machine, name: string): [number, number][] => machine.users
      .filter(users => results.has(`${machine.name} ${users}`))
      .map(users => [users, results.get(`${machine.name} ${users}`, name)])
    const two = measured(TWO_SOCKETS, 'shootdown')
    const eight = measured(EIGHT_SOCKETS, 'shootdown')
    const lazy = 1 - results.get('hsw-2s 16 latr', 'call') / results.get('hsw-2s 16', 'call')
    const rises = (points: readonly (readonly [number, number])[]): boolean => (
      points.every(([, y], i) => i === 0 || y >= points[i - 1]![1]))
    const near = fitLine(two.filter(([users]) => users <= 8)).slope
    const far = fitLine(two.filter(([users]) => users >= 9)).slope
    const rows: Row[] = [
      within('shootdown, 16 cores in 2 sockets', 'us', 6, results.get('hsw-2s 16', 'shootdown'), 25),
      within('shootdown, 120 cores in 8 sockets', 'us', 80, results.get('8s-120c 120', 'shootdown'), 30),
      holds('it never falls with more cores', rises(two) && rises(eight)),
      ...(two.length < 16 ? [] : [
        between('slope behind the border of the socket / before it', 'ratio', undefined, far / near, 1.2, Infinity)]),
      between('munmap that lazy coherence saves at 16 cores', '%', 70.8, 100 * lazy, 65, 75),
      shown('munmap, 16 cores', 'us', 8, results.get('hsw-2s 16', 'call')),
      shown('munmap, 120 cores', 'us', 120, results.get('8s-120c 120', 'call')),
    ]
    return {
      rows,
      figures: [TWO_SOCKETS, EIGHT_SOCKETS].map(machine => ({
        kind: 'chart' as const,
        chart: {
          title: `R11: munmap of a page, ${machine.cpus} cores in ${machine.sockets} sockets`,
          x: { label: 'CPUs that use the page' }, y: { label: 'mean (us)' },
          rules: times(machine.sockets - 1, n => [{
            at: (n + 1) * machine.cpus / machine.sockets + 0.5, label: n === 0 ? 'socket' : '',
          }]),
          series: [
            { kind: 'line' as const, name: 'simulated: munmap', look: 0, points: measured(machine, 'call') },
            { kind: 'line' as const, name: 'simulated: the shootdown in it', look: 1,
              points: measured(machine, 'shootdown') },
            { kind: 'marker' as const, name: 'published [v2] LATR: shootdown', look: 1,
              points: [[machine.cpus, machine.published] as const] },
          ],
        },
      })),
    }
  },
}
