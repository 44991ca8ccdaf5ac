// R8: the price of counting lazy users of an mm: on many CPUs every switch to idle and back writes mm_count, and the
// line that it is in can be in one place at a time.

import { runScenario } from './simulated.js'
import { between, holds, shown } from './target.js'
import type { Results, Run, Size, Target } from './target.js'

const MACHINE = 'power8-16s'
const POLICIES = ['linux-6.x', 'shoot-lazies'] as const
type Policy = (typeof POLICIES)[number]
const CPUS = [12, 24, 48, 96, 192] as const
const TURNS = 24

/** One thread a CPU; all of one process sleep and wake, each wake-up from idle and back. */
function switches(cpus: number, policy: Policy): Run {
  return {
    key: `${cpus} ${policy}`,
    measure: async () => {
      const program = [{ repeat: { times: TURNS, do: [{ sleep: '300ns' }] } }]
      const done = await runScenario({
        machine: { preset: MACHINE, cpus, sockets: Math.max(1, cpus / 12) },
        kernel: { policy, idle: 'poll' },
        processes: [{ name: 'p',
          threads: Array.from({ length: cpus }, (_, id) => ({ name: `t${id}`, cpu: id, program })) }],
      })
      const cycles = [...done.events()].filter(event => event.name === 'sched_switch').map(({ cycle }) => cycle)
      const [from, to] = [Math.floor(cycles.length / 4), Math.floor(cycles.length * 3 / 4)]
      return {
        million: (to - from) / done.toMicroseconds(cycles[to]! - cycles[from]!),
          ipis: done.result.counters.callFunctionIpis,
      }
    },
  }
}

export const R8: Target = {
  id: 'R8',
  title: 'Counting lazy users of an mm',
  kind: 'gate',
  source: 'PIGGIN: 192-core POWER8; RIK-209954, LKP, DESNOYERS',
  mark: 'v',
  machines: [MACHINE],
  setup: 'As many threads of one process as CPUs, each sleeps and wakes; with a reference count for lazy users and '
    + 'with lazy CPUs that are interrupted at exit instead.',
  fitted: ['power8-16s lineTransfer: the 1 million switches a second of the counted variant'],
  departures: ['page tables are those of x86', 'a switch here is one sched_switch event'],
  missReason: 'parts (b), (c) and (d) of the rule (hackbench 5 to 8 %, tlb_flush2 -13.2 %, a swap test -40.7 %, a '
    + 'per-CPU mask '
    + '+50 % and -33 %) compare kernels that differ in how mm_cpumask is cleared and trimmed; only the 6.18 form of '
    + 'it is '
    + 'modelled. Part (a) holds.',
  runs: (size: Size) => CPUS.filter(cpus => size === 'full' || cpus <= 48)
    .flatMap(cpus => POLICIES.map(policy => switches(cpus, policy))),
  judge: (results: Results) => {
    const here = CPUS.filter(cpus => results.has(`${cpus} linux-6.x`))
    const rate = (cpus: number, policy: Policy): number => results.get(`${cpus} ${policy}`, 'million')
    const most = here.at(-1)!
    const points = (policy: Policy): [number, number][] => here.map(cpus => [cpus, rate(cpus, policy)])
    return {
      rows: [
        ...(most < 192 ? [] : [between('(a) not counted / counted, 192 CPUs', 'ratio', 118,
          rate(192, 'shoot-lazies') / rate(192, 'linux-6.x'), 30, Infinity)]),
        between('(a) counted: most CPUs / fewest', 'ratio', undefined, rate(most, 'linux-6.x') / rate(12, 'linux-6.x'),
          0.5, 2),
        shown('(a) counted', 'million switches/s', 1, rate(most, 'linux-6.x')),
        shown('(a) not counted', 'million switches/s', 118, rate(most, 'shoot-lazies')),
        shown('(a) interrupts at exit', 'count', 314, results.get(`${most} shoot-lazies`, 'ipis')),
        holds('(b), (c), (d): lazily cleared masks', false),
      ],
      figures: [{
        kind: 'chart',
        chart: {
          title: 'R8: switches to idle and back', x: { label: 'CPUs', scale: 'log2' },
          y: { label: 'million switches a second', scale: 'log10', min: 0.5, max: 300 },
          series: [
            { kind: 'line', name: 'simulated: counted', look: 0, points: points('linux-6.x') },
            { kind: 'line', name: 'simulated: not counted', look: 1, points: points('shoot-lazies') },
            { kind: 'marker', name: 'published [v]: counted', look: 0, points: [[192, 1]] },
            { kind: 'marker', name: 'published [v]: not counted', look: 1, points: [[192, 118]] },
          ],
        },
      }],
    }
  },
}
