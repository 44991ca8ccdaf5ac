// The programs of R8 (b) to (d), as they are in their sources, shortened.
//
//   tlbFlush2        will-it-scale tests/tlb_flush2.c: 256 pages are mapped; each is written, dropped with
//                    MADV_DONTNEED and read; then all are unmapped; one thread for each CPU
//   contextSwitch1   will-it-scale tests/context_switch1.c: pairs of threads that pass a byte to and fro, two processes
//                    at once, a pair of each on every CPU
//   hackbench        20 groups of 20 senders and 20 receivers, each a process of its own; every sender writes to every
//                    receiver of its group
//
// Simplified: a pipe or socket is a wake-up and the price of its call, without a buffer, so senders never wait and a
// receiver reads at once what came while it was runnable.

import type { MaskForm } from '../../kernel/config.js'
import { runScenario } from './simulated.js'
import type { SimulatedRun } from './simulated.js'
import type { Run } from './target.js'

const PAGES = 256
const PAGE_BYTES = 4096
/** Iterations of each thread; threads start spread over their mapping, so munmap comes as often as in a long run. */
const ITERATIONS = 64
/** Prime to every number of threads used here: neighbours start far apart. */
const SPREAD = 97
const ROUNDS = 40
const FDS = 20
const GROUPS = 20
const LOOPS = 20

/** Thousand iterations a second of all threads, and what came with each. */
export function tlbFlush2(preset: string, threads: number, form: MaskForm): Run {
  return {
    key: `tlb_flush2 ${preset} ${form}`,
    measure: async () => {
      const step = (area: string, page: number) => {
        const where = { area, offset: page * PAGE_BYTES, pages: 1 }
        return [{ write: where }, { madvise: { ...where, advice: 'dontneed' } }, { read: where }]
      }
      const done = await runScenario({
        machine: { preset, cpus: threads, sockets: 2 }, kernel: { mmCpumask: form },
        processes: [{ name: 'p', threads: Array.from({ length: threads }, (_, i) => {
          const name = `m${i}`
          const map = { mmap: { name, pages: PAGES, at: 0x1000_0000 + i * 0x20_0000, fixed: true } }
          const first = Math.floor(i * SPREAD % threads * PAGES / threads)
          const steps = Array.from({ length: ITERATIONS }, (_unused, n) => [
            ...(first + n === PAGES ? [{ munmap: name }, map] : []), ...step(name, (first + n) % PAGES)]).flat()
          return { name: `t${i}`, cpu: i, program: [map, { barrier: { name: 'go', tasks: threads } }, ...steps] }
        }) }],
      })
      const ends = [...done.events()].filter(event => event.name === 'sys_exit' && event.fields.name === 'madvise')
        .map(({ cycle }) => cycle)
      const { callFunctionIpis, contextSwitches, wrongCpu } = done.result.counters
      return {
        kps: 1000 * middleRate(done, ends), ipis: callFunctionIpis / ends.length, wrong: wrongCpu / ends.length,
        switches: contextSwitches / ends.length,
      }
    },
  }
}

/** Million switches a second of all CPUs. */
export function contextSwitch1(preset: string, cpus: number, form: MaskForm): Run {
  return {
    key: `context_switch1 ${preset} ${form}`,
    measure: async () => {
      const pair = (process: string, cpu: number) => {
        const [parent, child] = [`${process}p${cpu}`, `${process}c${cpu}`]
        return [
          { name: parent, cpu, program: [{ repeat: { times: ROUNDS, do: [{ wake: child }, { sleep: 'forever' }] } }] },
          { name: child, cpu, program: [{ repeat: { times: ROUNDS, do: [{ sleep: 'forever' }, { wake: parent }] } }] },
        ]
      }
      const done = await runScenario({
        machine: { preset, cpus, sockets: 2 }, kernel: { mmCpumask: form },
        processes: ['a', 'b'].map(name => ({
          name, threads: Array.from({ length: cpus }, (_, cpu) => pair(name, cpu)).flat() })),
      })
      const cycles = [...done.events()].filter(event => event.name === 'sched_switch').map(({ cycle }) => cycle)
      return { million: middleRate(done, cycles) }
    },
  }
}

/** Microseconds until all senders have sent everything. */
export function hackbench(preset: string, cpus: number, form: MaskForm): Run {
  return {
    key: `hackbench ${preset} ${form}`,
    measure: async () => {
      const all = { tasks: GROUPS * FDS + 1 }
      const each = <T>(make: (group: number, n: number) => T): T[] => Array.from({ length: GROUPS * FDS }, (_, i) => (
        make(Math.floor(i / FDS), i % FDS)))
      const done = await runScenario({
        machine: { preset, cpus, sockets: 2 }, kernel: { mmCpumask: form },
        processes: [
          ...each((group, n) => ({ name: `s${group}.${n}`, program: [
            { barrier: { name: 'go', ...all } },
            { repeat: { times: LOOPS, do: Array.from({ length: FDS }, (_, to) => (
              [{ compute: '500ns' }, { wake: `r${group}.${to}` }])).flat() } },
            { barrier: { name: 'end', ...all } }] })),
          ...each((group, n) => ({ name: `r${group}.${n}`, program: [
            { repeat: { times: LOOPS * FDS, do: [{ sleep: 'forever' }, { compute: '500ns' }] } }, { sleep: 'forever' }],
          })),
          { name: 'main', program: [
            { barrier: { name: 'go', ...all } }, { mark: 'begin' },
            { barrier: { name: 'end', ...all } }, { mark: 'end' },
            ...each((group, n) => ({ kill: `r${group}.${n}` }))] },
        ],
      }, { areKilled: true })
      const [begin, end] = [done.marks('begin')[0]!, done.marks('end')[0]!]
      const within = [...done.events()].filter(({ cycle }) => cycle >= begin && cycle <= end)
      const count = (name: string): number => within.filter(event => event.name === name).length
      return {
        microseconds: done.toMicroseconds(end - begin), switches: count('sched_switch'),
        migrations: count('sched_migrate_task'), messages: GROUPS * FDS * FDS * LOOPS,
      }
    },
  }
}

/** Events a microsecond in the middle half, while all CPUs are at it. */
function middleRate(done: SimulatedRun, cycles: readonly number[]): number {
  const [from, to] = [Math.floor(cycles.length / 4), Math.floor(cycles.length * 3 / 4)]
  return (to - from) / done.toMicroseconds(cycles[to]! - cycles[from]!)
}
