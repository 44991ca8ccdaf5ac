// Collapse: base pages become a huge page, by madvise or by khugepaged, with the flush, the interrupt
// for walkers without locks, and nothing lost.

import { describe, expect, test } from 'vitest'
import type { Instruction } from '../src/kernel/abi.js'
import type { KernelConfig, KernelEra } from '../src/kernel/config.js'
import { FRAME_USER } from '../src/kernel/pages/frames.js'
import { KernelBench } from './support/kernel-bench.js'
import { testConfig } from './support/machines.js'
import { advise, area, compute, fork, gupFast, image, load, mmap, munmap, program, signal, sleep, spin, store, touch,
  wait } from './support/programs.js'
import type { Step } from './support/programs.js'
import { onCpu, sequence } from './support/sequence.js'
import { twoCpus } from './support/two-cpus.js'

const at = (lo: number) => ({ at: { hi: 0, lo }, fixed: true })
const config = (era: KernelEra, more: Partial<KernelConfig> = {}, cpus = 2) =>
  testConfig({ cpus, memoryBytes: 64 * 2 ** 20 }, { era, thp: 'madvise', ...more })
const collapse = (): Instruction => advise(area(0), 'collapse')
const failing = (step: Instruction, expectError: 'EINVAL' | 'EAGAIN' | 'ENOMEM'): Step => ({ ...step, expectError })

/** Base pages in an area that could have huge ones, a hundred of them used. */
const base: Step[] = [mmap(0, 512, at(0x4000_0000)), touch(area(0, 0, 100), 'write'), store(area(0, 7, 1), 7n)]

function run(era: KernelEra, steps: Step[], more: Partial<KernelConfig> = {}, children = [program('child')]) {
  const bench = new KernelBench(config(era, more), image([{ threads: [
    { comm: 'main', cpus: [0], program: program('main', ...steps) }] }], { children }))
  bench.finish()
  const { failures, frames, counters, liveTasks } = bench.k
  expect([failures, liveTasks]).toEqual([[], 0])
  expect(frames.use.filter(use => use === FRAME_USER).length).toBe(0)
  return counters
}

describe('madvise collapse of 6.x', () => {
  test('flushes the range as a freed table, interrupts every CPU once more, then copies', async () => {
    // All pages are there, so that CPU 1 has read them when the collapse begins, and does not wait for mmap_lock.
    const setup = [...base, touch(area(0), 'read')]
    const lines = await sequence(config('linux-6.x', {}, 3), twoCpus(setup, [collapse()], 'running'))
    expect(onCpu(lines, 0)).toEqual(
      ['flush(4,-1)', 'QUEUE 1', 'SEND 1', 'flush(3,-1)', 'QUEUE 1', 'QUEUE 2', 'SEND mask 6'])
    expect(onCpu(lines, 1)).toEqual(['IRQ+', 'flush(1,-1)', 'IRQ-', 'IRQ+', 'IRQ-'])
    // CPU 2 has nothing to do with the mm: it could be walking its tables all the same.
    expect(onCpu(lines, 2)).toEqual(['IRQ+', 'IRQ-'])
  })

  test('keeps the contents, fills what was empty with zeroes, and puts the page table aside', () => {
    const bench = new KernelBench(config('linux-6.x'), image([{ threads: [{ comm: 'main', cpus: [0],
      program: program('main', ...base, signal(0), collapse(), signal(1), load(area(0, 7, 1), 7n),
        load(area(0, 300, 1), 0n), store(area(0, 300, 1), 3n), munmap(area(0, 0, 5)), load(area(0, 300, 1), 3n)) }] }]))
    bench.untilSignal(0)
    const mm = bench.mmOf('main')
    const tables = mm.tablePages
    bench.untilSignal(1)
    expect([mm.rssPages, mm.tablePages, [...mm.depositedTables.values()].flat().length]).toEqual([512, tables, 1])
    bench.finish()
    expect(bench.k.failures).toEqual([])
    expect(bench.k.counters.thpSplitPmd).toBe(1)
  })

  test('works without thp being on, not after nohugepage; a range without pages is EINVAL, a huge one done', () => {
    expect(run('linux-6.x', [...base, collapse(), collapse()], { thp: 'never' }).thpCollapseAlloc).toBe(1)
    run('linux-6.x', [...base, advise(area(0), 'nohugepage'), failing(collapse(), 'EINVAL')])
    run('linux-6.x', [mmap(0, 512, at(0x4000_0000)), failing(collapse(), 'EINVAL')])
  })

  test('puts the table back when somebody takes a page before the table was out of reach', () => {
    const bench = new KernelBench(config('linux-6.x'), image([{ threads: [{ comm: 'main', cpus: [0],
      program: program('main', ...base, signal(0), compute(1000), failing(collapse(), 'EAGAIN'),
        load(area(0, 7, 1), 7n), signal(1), compute(1000)) }] }]), { check: false })
    bench.untilSignal(0)
    const [pfn] = bench.k.rmap.keys()
    bench.until(() => bench.k.counters.thpCollapseAlloc === 1)
    bench.k.frames.get(pfn!)
    bench.untilSignal(1)
    bench.k.frames.put(0, pfn!)
    bench.finish()
    expect([bench.k.failures, bench.k.counters.thpCollapseAlloc]).toEqual([[], 1])
  })

  test('a page that a child shares is copied for the caller alone', () => {
    const steps = [...base, fork(0, 'child', [1]), collapse(), store(area(0, 7, 1), 8n), signal(0), wait(),
      load(area(0, 7, 1), 8n)]
    const counters = run('linux-6.x', steps, {}, [program('child', spin(0), load(area(0, 7, 1), 7n))])
    expect([counters.thpCollapseAlloc, counters.cowCopies]).toEqual([1, 0])
  })

  test('waits for a walker without locks, who is never in the table that it takes', () => {
    const walk = gupFast(area(0, 0, 20))
    const walker = program('walker', spin(0), walk, walk, walk)
    let collapses = 0
    const cases = [['linux-6.x', 1000], ['xen', 3000], ['linux-6.x-invlpgb', 5000], ['xen', 40_000]] as const
    for (const [policy, delay] of cases) {
      const pcid = policy !== 'xen'
      const bench = new KernelBench(config('linux-6.x', { policy, pcid }, 4), image([{ threads: [
        { comm: 'main', cpus: [0],
          program: program('main', ...base, signal(0), compute(delay), collapse(), munmap(area(0))) },
        { comm: 'walker', cpus: [1], program: walker },
      ] }]))
      bench.finish()
      collapses += bench.k.counters.thpCollapseAlloc
    }
    expect(collapses).toBeGreaterThan(0)
  })

  test('is unknown to 4.6', () => {
    run('linux-4.6', [...base, failing(collapse(), 'EINVAL')])
  })
})

describe('khugepaged', () => {
  const khugepaged = { scanSleepCycles: 50_000, pagesToScan: 4096, maxPtesNone: 511 }
  for (const era of ['linux-4.6', 'linux-6.x'] as const) {
    test(`${era}: collapses in the background what programs advise, and ends with them`, () => {
      const steps = [...base, advise(area(0), 'hugepage'), sleep(400_000), load(area(0, 7, 1), 7n)]
      expect(run(era, steps, { khugepaged }).thpCollapseAlloc).toBe(1)
      expect(run(era, [...base, sleep(400_000)], { khugepaged }).thpCollapseAlloc).toBe(0)
      expect(run(era, steps, { khugepaged: { ...khugepaged, maxPtesNone: 411 } }).thpCollapseAlloc).toBe(0)
      expect(run(era, steps, { khugepaged: { ...khugepaged, maxPtesNone: 412 } }).thpCollapseAlloc).toBe(1)
    })

    test(`${era}: a process that exits meanwhile waits for it`, () => {
      const steps = [...base, advise(area(0), 'hugepage'), compute(48_000)]
      for (let scanSleepCycles = 20_000; scanSleepCycles < 200_000; scanSleepCycles += 30_000) {
        run(era, steps, { khugepaged: { ...khugepaged, scanSleepCycles } })
      }
    })
  }
})
