// R8: what it costs to know who has an mm. (a) Counting its lazy users: on many CPUs every switch to idle and back
// writes mm_count, and the line that it is in can be in one place at a time. (b) to (d) Keeping mm_cpumask: what a
// switch does not write down a flush has to find out.

import { MASK_FORMS } from '../../kernel/config.js'
import type { MaskForm } from '../../kernel/config.js'
import { contextSwitch1, hackbench, tlbFlush2 } from './mask-workloads.js'
import { runScenario } from './simulated.js'
import { between, holds, shown } from './target.js'
import type { Figure, Results, Row, Run, Size, Target } from './target.js'

const MACHINE = 'power8-16s'
const POLICIES = ['linux-6.x', 'shoot-lazies'] as const
type Policy = (typeof POLICIES)[number]
const CPUS = [12, 24, 48, 96, 192] as const
const TURNS = 24
const MILAN = 'milan'
const MILAN_CPUS = 72
const SKYLAKE = 'skl-2s-104'
const SKYLAKE_CPUS = 104
const GENOA = 'genoa-2s'
const GENOA_CPUS = 192
const POINTS = 10

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

function maskRuns(): Run[] {
  return [
    ...(['eager', 'lazy'] as const).map(form => hackbench(MILAN, MILAN_CPUS, form)),
    ...(['eager', 'lazy', 'trimmed'] as const).map(form => tlbFlush2(SKYLAKE, SKYLAKE_CPUS, form)),
    ...MASK_FORMS.flatMap(form => [contextSwitch1(GENOA, GENOA_CPUS, form), tlbFlush2(GENOA, GENOA_CPUS, form)]),
  ]
}

/** How much more of it there is under `form` than with bits that are set and cleared at every switch, in percent. */
function gain(results: Results, run: string, name: string, form: MaskForm): number {
  return 100 * (results.get(`${run} ${form}`, name) / results.get(`${run} eager`, name) - 1)
}

function maskRows(results: Results): Row[] {
  const bench = (name: string, form: MaskForm): number => results.get(`hackbench ${MILAN} ${form}`, name)
  const near = (label: string, published: number, simulated: number): Row => (
    between(label, '%', published, simulated, published - POINTS, published + POINTS))
  return [
    between('(b) hackbench: time saved by lazy', '%', 6.7, -gain(results, `hackbench ${MILAN}`, 'microseconds', 'lazy'),
      5, 8),
    near('(c) tlb_flush2: lazy against eager', -13.2, gain(results, `tlb_flush2 ${SKYLAKE}`, 'kps', 'lazy')),
    near('(d) context_switch1: no mask against eager', 50,
      gain(results, `context_switch1 ${GENOA}`, 'million', 'per-cpu')),
    near('(d) tlb_flush2: no mask against eager', -33, gain(results, `tlb_flush2 ${GENOA}`, 'kps', 'per-cpu')),
    shown('(b) switches a message', 'count', undefined, bench('switches', 'eager') / bench('messages', 'eager')),
    shown('(b) migrations a message', 'count', undefined, bench('migrations', 'eager') / bench('messages', 'eager')),
    shown('(c) eager', 'thousand iterations/s', 756.7, results.get(`tlb_flush2 ${SKYLAKE} eager`, 'kps')),
    shown('(c) lazy', 'thousand iterations/s', 656.8, results.get(`tlb_flush2 ${SKYLAKE} lazy`, 'kps')),
    shown('(c) tlb_flush2: trimmed against eager', '%', undefined,
      gain(results, `tlb_flush2 ${SKYLAKE}`, 'kps', 'trimmed')),
    shown('(c) switches an iteration, eager', 'count', 0.92, results.get(`tlb_flush2 ${SKYLAKE} eager`, 'switches')),
    ...MASK_FORMS.flatMap(form => [
      shown(`(d) ${form}: context_switch1`, 'million switches/s', undefined,
        results.get(`context_switch1 ${GENOA} ${form}`, 'million')),
      shown(`(d) ${form}: tlb_flush2`, 'thousand flushes/s', undefined,
        results.get(`tlb_flush2 ${GENOA} ${form}`, 'kps')),
    ]),
  ]
}

/** One dot for each form. */
function tradeOff(results: Results): Figure {
  return {
    kind: 'chart',
    chart: {
      title: 'R8: forms of mm_cpumask, 192 Zen 4 cores',
      x: { label: 'million switches a second', scale: 'log10' },
      y: { label: 'thousand flushes a second', min: 0 },
      series: MASK_FORMS.map(form => ({
        kind: 'marker' as const, name: `simulated: ${form}`,
        points: [[results.get(`context_switch1 ${GENOA} ${form}`, 'million'),
          results.get(`tlb_flush2 ${GENOA} ${form}`, 'kps')]] as [number, number][],
      })),
    },
  }
}

export const R8: Target = {
  id: 'R8',
  title: 'Knowing who has an mm',
  kind: 'gate',
  source: 'PIGGIN: 192-core POWER8; RIK-209954, LKP, DESNOYERS',
  mark: 'v',
  machines: [MACHINE, MILAN, SKYLAKE, GENOA],
  setup: 'As many threads of one process as CPUs, each sleeps and wakes; with a reference count for lazy users and '
    + 'with lazy CPUs that are interrupted at exit instead. hackbench, context_switch1 and tlb_flush2 with forms of '
    + 'mm_cpumask.',
  fitted: ['power8-16s lineTransfer: the 1 million switches a second of the counted variant'],
  departures: ['page tables are those of x86', 'a switch here is one sched_switch event',
    'a few dozen rounds of each program stand for seconds; 20 loops of hackbench for 10 000; results depend '
    + 'on it',
    'CPUs have no siblings: (b) 72 CPUs stand for 72 threads of 36 cores, (d) one CPU for each core, where both pairs '
    + 'of a core take turns on it',
    'pipes and sockets have no buffers: senders never wait',
    'every fault takes mmap_lock, where the measured kernels take the lock of the area',
    '(c) the swap test is not run: CPUs collect bits in its mask while threads that wait for the disk wake up '
    + 'elsewhere, and swap has no queue to wait in here'],
  missReason: '(b) every process of hackbench has a mask of its own, whose line is passed on only when the process '
    + 'migrates; locked operations on lines that a CPU owns, and misses to lines that fell out of its caches, are not '
    + 'priced apart from the switch. (c) the swap test is not modelled; tlb_flush2 depends on seed and length '
    + '(docs/reproduction.md). (d) nearly every switch here changes the address space and writes both masks, and their '
    + 'lines then allow so few switches that nothing else counts; why more gets through on the real machine, and why '
    + 'flushes without a mask cost more there, is not known.',
  runs: (size: Size) => [
    ...CPUS.filter(cpus => size === 'full' || cpus <= 48)
      .flatMap(cpus => POLICIES.map(policy => switches(cpus, policy))),
    ...(size === 'full' ? maskRuns() : []),
  ],
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
        ...(results.has(`tlb_flush2 ${SKYLAKE} lazy`) ? maskRows(results) : []),
        holds('(c) the swap test is run', false),
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
      }, ...(results.has(`tlb_flush2 ${GENOA} eager`) ? [tradeOff(results)] : [])],
    }
  },
}
