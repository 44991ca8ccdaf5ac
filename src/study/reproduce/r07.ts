// R7: the CPU that a migrating thread leaves behind: does a flush interrupt it while it is idle with the mm loaded?

import { runScenario, times } from './simulated.js'
import type { Operation } from './simulated.js'
import { between, shown, within } from './target.js'
import type { Results, Run, Target } from './target.js'

const MACHINE = 'skl-guest'
const ROUNDS = 12
const WARM_UP = 4
/** 4.6 interrupts a lazy CPU, 6.x looks at generations when it comes back. */
const KERNELS = ['linux-4.6', 'linux-6.x'] as const
type Kernel = (typeof KERNELS)[number]

function wander(kernel: Kernel): Run {
  return {
    key: `move ${kernel}`,
    measure: async () => {
      const program: Operation[] = [
        { mmap: { name: 'a', pages: 1 } }, { write: 'a' },
        ...times(ROUNDS, n => [
          { mark: 'round' }, { madvise: { area: 'a', advice: 'dontneed' } }, { write: 'a' },
          { setaffinity: { cpu: (n + 1) % 2 } },
        ]), { mark: 'round' },
      ]
      const done = await runScenario({
        machine: MACHINE, cpus: 2, kernel, processes: [{ name: 'p', cpus: [0, 1], program }],
      })
      const rounds = done.marks('round').slice(WARM_UP)
      const begin = rounds[0]!
      const ipis = [...done.events()].filter(event => event.cycle >= begin && event.cycle <= rounds.at(-1)!
        && event.name === 'call_function_single_entry')
      return {
        us: done.toMicroseconds((rounds.at(-1)! - begin) / (rounds.length - 1)),
          ipis: ipis.length / (rounds.length - 1),
      }
    },
  }
}

/** Eight threads on four CPUs touch memory of their own, drop it and wait for each other. */
function mapping(kernel: Kernel): Run {
  return {
    key: `mmap ${kernel}`,
    measure: async () => {
      const program = (n: number): Operation[] => [{ mmap: { name: `a${n}`, pages: 16 } }, ...times(6, () => [
        { write: `a${n}` }, { madvise: { area: `a${n}`, advice: 'dontneed' } }, { barrier: 'round' },
      ])]
      const { result } = await runScenario({
        machine: MACHINE, cpus: 4, kernel, processes: [{ name: 'p', threads: times(8, n => [
          { name: `t${n}`, cpu: n % 4, program: program(n) },
        ]) }],
      }, { trace: false })
      return { us: result.cycle / 2300 }
    },
  }
}

export const R7: Target = {
  id: 'R7',
  title: 'Lazy TLB behind a migrating thread',
  kind: 'gate',
  source: 'LUTO: the machine of R3, Linux before and after tlb_gen',
  mark: 'v',
  machines: [MACHINE],
  setup: 'One thread drops a page, touches it and moves to the other CPU, again and again; the CPU behind goes '
    + 'idle. And '
    + '8 threads on 4 CPUs that touch and drop.',
  fitted: [],
  departures: [
    'Linux 4.6 stands for the kernel before the series, 6.x for the one after it',
    'the program of the second part (pthread_mmap) is not known to us: threads that write and drop 16 pages of '
      + 'their own '
      + 'and meet at a barrier stand for it',
  ],
  runs: () => KERNELS.flatMap(kernel => [wander(kernel), mapping(kernel)]),
  judge: (results: Results) => {
    const us = (what: string, kernel: Kernel): number => results.get(`${what} ${kernel}`, 'us')
    const [before, after] = [us('move', 'linux-4.6'), us('move', 'linux-6.x')]
    return {
      rows: [
        within('what the interrupt costs', 'us a round', 8.2, before - after, 30),
        within('before / after', 'ratio', 1.61, before / after, 20),
        between('interrupts before', 'a round', 1, results.get('move linux-4.6', 'ipis'), 1, Infinity),
        between('interrupts after', 'a round', 0, results.get('move linux-6.x', 'ipis'), 0, 0),
        within('threads at a barrier: before / after', 'ratio', 1.73,
          us('mmap', 'linux-4.6') / us('mmap', 'linux-6.x'), 25),
        shown('before', 'us a round', 21.6, before), shown('after', 'us a round', 13.4, after),
      ],
      figures: [{
        kind: 'bars',
        chart: {
          title: 'R7: drop a page, touch it, move on', y: { label: 'a round (us)' },
            categories: ['interrupted', 'generations'],
          series: [{ name: 'simulated', values: [before, after] }],
          marks: [{ name: 'published [v] LUTO', values: [21.6, 13.4] }],
        },
      }],
    }
  },
}
