// The four vmstat counters of flushing (nr_tlb_*), for every kind of request and everything that the
// other CPU may be doing, in both kernels (kernel-behaviour.md 4.0, 4.2, 4.6, 4.7).

import { describe, expect, test } from 'vitest'
import type { KernelEra } from '../src/kernel/config.js'
import { FLUSH_ALL } from '../src/kernel/tlb/tlb-policy.js'
import { KernelBench } from './support/kernel-bench.js'
import { testConfig } from './support/machines.js'
import { area, compute, image, mmap, program, signal, sleep, spin, touch } from './support/programs.js'
import type { ProcessSpec, Step } from './support/programs.js'

const VPN = 0x10000
const LONG = compute(400_000)

/** What CPU 1 does when CPU 0 asks. */
type Other = 'runs it' | 'is lazy' | 'has another mm' | 'never had it'

function benchOf(era: KernelEra, other: Other): KernelBench {
  const second: Record<Other, Step[]> = {
    'runs it': [LONG], 'is lazy': [sleep(1_000_000)], 'has another mm': [sleep(1_000_000)], 'never had it': [],
  }
  const main = program('main', mmap(0, 64, { at: { hi: 0, lo: 0x1000_0000 }, fixed: true }), touch(area(0), 'write'),
    signal(0), LONG)
  const threads = [{ comm: 'main', cpus: [0], program: main }]
  if (other !== 'never had it') {
    threads.push({ comm: 'other', cpus: [1], program: program('other', spin(0), touch(area(0), 'read'),
      ...second[other]) })
  }
  const foreign: ProcessSpec = { threads: [{ comm: 'foreign', cpus: [1], program: program('foreign', spin(0), LONG) }] }
  const bench = new KernelBench(testConfig({}, { era, timeSliceCycles: 10_000_000 }),
    image([{ threads }, ...(other === 'has another mm' ? [foreign] : [])]))
  const comms = ['main', ...(other === 'runs it' ? ['other'] : []), ...(other === 'has another mm' ? ['foreign'] : [])]
  bench.untilRunning(comms, 60_000)
  return bench
}

/** How far a request of CPU 0 moves them: remote_flush, remote_flush_received, local_flush_all, local_flush_one. */
function counts(bench: KernelBench, pages: number, freedTables: boolean, comm = 'main'): number[] {
  const values = (): number[] => {
    const { counters } = bench.k
    return [counters.nr_tlb_remote_flush, counters.nr_tlb_remote_flush_received, counters.nr_tlb_local_flush_all,
      counters.nr_tlb_local_flush_one]
  }
  const before = values()
  const mm = bench.mmOf(comm)
  bench.enterAll([0], (k, cpu) => pages === 1
    ? k.policy.flushPage(k, cpu, mm, VPN)
    : k.policy.flushMmRange(k, cpu, mm, {
      start: pages === Infinity ? 0 : VPN, end: pages === Infinity ? FLUSH_ALL : VPN + pages, stridePages: 1,
      freedTables, hugetlb: false,
    }))
  return values().map((value, i) => value - before[i]!)
}

const kinds = ['one page', '33 pages', '34 pages', 'everything, tables freed'] as const

describe.each<[KernelEra, Other, number[][]]>([
  ['linux-4.6', 'runs it', [[1, 1, 0, 1], [1, 1, 0, 33], [1, 1, 1, 0], [1, 1, 1, 0]]],
  // Interrupted each time it has not left yet, so each row is a run of its own.
  ['linux-4.6', 'is lazy', [[1, 1, 0, 1], [1, 1, 0, 33], [1, 1, 1, 0], [1, 1, 1, 0]]],
  ['linux-4.6', 'has another mm', [[0, 0, 0, 1], [0, 0, 0, 33], [0, 0, 1, 0], [0, 0, 1, 0]]],
  ['linux-4.6', 'never had it', [[0, 0, 0, 1], [0, 0, 0, 33], [0, 0, 1, 0], [0, 0, 1, 0]]],
  ['linux-6.x', 'runs it', [[1, 1, 0, 1], [1, 1, 0, 33], [1, 1, 1, 0], [1, 1, 1, 0]]],
  ['linux-6.x', 'is lazy', [[1, 0, 0, 1], [1, 0, 0, 33], [1, 0, 1, 0], [1, 1, 1, 0]]],
  // Its bit is stale: announced, and interrupted only for tables; the wrong CPU counts as received.
  ['linux-6.x', 'has another mm', [[1, 0, 0, 1], [1, 0, 0, 33], [1, 0, 1, 0], [1, 1, 1, 0]]],
  ['linux-6.x', 'never had it', [[0, 0, 0, 1], [0, 0, 0, 33], [0, 0, 1, 0], [0, 0, 1, 0]]],
])('%s, the other CPU %s', (era, other, rows) => {
  test.each(kinds.map((kind, i) => [kind, rows[i]!] as const))('%s', (kind, row) => {
    const pages = kind === 'one page' ? 1 : kind === '33 pages' ? 33 : kind === '34 pages' ? 34 : Infinity
    expect(counts(benchOf(era, other), pages, pages === Infinity)).toEqual(row)
  })
})

describe('further requests', () => {
  test('4.6: a CPU that left is not asked again', () => {
    const bench = benchOf('linux-4.6', 'is lazy')
    expect([counts(bench, 3, false), counts(bench, 3, false)]).toEqual([[1, 1, 0, 3], [0, 0, 0, 3]])
  })

  test('6.x: a lazy CPU is announced to for ever, a CPU that left for init_mm as well', () => {
    const bench = benchOf('linux-6.x', 'is lazy')
    expect(counts(bench, 3, false)).toEqual([1, 0, 0, 3])
    expect(counts(bench, Infinity, true)).toEqual([1, 1, 1, 0])
    // Behind a full one the range is next in turn again.
    expect(counts(bench, 3, false)).toEqual([1, 0, 0, 3])
  })

  test('6.x: a stale bit goes with the one interrupt for freed tables', () => {
    const bench = benchOf('linux-6.x', 'has another mm')
    expect(counts(bench, Infinity, true)).toEqual([1, 1, 1, 0])
    expect(counts(bench, 3, false)).toEqual([0, 0, 0, 3])
  })

  test('of an mm that the own CPU has not loaded do nothing at home', () => {
    // 4.6 interrupts whoever has it for a full flush, 6.x for the range; neither is counted as local.
    for (const era of ['linux-4.6', 'linux-6.x'] as const) {
      expect(counts(benchOf(era, 'has another mm'), 3, false, 'foreign')).toEqual([1, 1, 0, 0])
    }
  })
})
