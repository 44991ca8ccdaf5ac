// struct mmu_gather: unhook, flush, free, in this order; how many flushes that takes, and what each covers.

import { describe, expect, test } from 'vitest'
import type { BugName } from '../src/kernel/bugs.js'
import type { KernelEra } from '../src/kernel/config.js'
import { gatherPagesMax, gatherTablesMax } from '../src/kernel/mm/mmu-gather.js'
import { geometryOf } from '../src/machine/geometry.js'
import { KernelBench } from './support/kernel-bench.js'
import { TEST_COSTS, testConfig } from './support/machines.js'
import { area, compute, dontneed, image, mmap, mprotect, munmap, program, signal, spin, touch,
} from './support/programs.js'
import type { Step } from './support/programs.js'
import { onCpu, sequence } from './support/sequence.js'
import { BEGIN, SETTLE, twoCpus } from './support/two-cpus.js'

const PAGE = 4096
const MIB = 2 ** 20
const ERAS: readonly KernelEra[] = ['linux-4.6', 'linux-6.x']

/** MAP_FIXED at an address. */
const at = (lo: number) => ({ at: { hi: 0, lo }, fixed: true })

/** What CPU 0 flushes itself during `steps`, alone in the mask. */
async function flushes(setup: Step[], steps: Step[], era: KernelEra = 'linux-6.x', memoryMib = 128): Promise<string[]> {
  const config = testConfig({ cpus: 1, memoryBytes: memoryMib * MIB }, { era })
  const lines = await sequence(config, twoCpus(setup, steps, 'none'))
  return onCpu(lines, 0).filter(text => !text.startsWith('fault'))
}

describe('a gather that is full', () => {
  const full = gatherPagesMax(geometryOf('x86-64'))
  const big: Step[] = [mmap(0, 10_240, { ...at(0x1000_0000), populate: true })]

  test('holds 8 pages, then 19 batches of 510 on x86-64; as many as fit into pages elsewhere', () => {
    expect(full).toBe(8 + 19 * 510)
    expect(gatherPagesMax(geometryOf('i386'))).toBe(8 + 9 * 1021)
    expect(gatherPagesMax(geometryOf('granule-16k'))).toBe(8 + 4 * 2046)
    expect(gatherTablesMax(geometryOf('x86-64'))).toBe(509)
  })

  for (const era of ERAS) {
    test(`${era}: is flushed and freed midway, inside a page table, and goes on there`, async () => {
      const lines = await flushes(big, [munmap(area(0, 0, full)), munmap(area(0, full, 20))], era)
      // Exactly full: everything went midway, the end finds only empty tables, 18 whole ones below the pages.
      expect(lines[0]).toBe('flush(3,-1)')
      const [, atTheEnd, next] = await flushes(big, [munmap(area(0, 0, full + 20)), munmap(area(0, full + 20, 5))], era)
      expect([atTheEnd, next]).toEqual(['flush(3,-1)', 'flush(3,5)'])
      const halves = await flushes([...big, mmap(1, 1, at(0x1000_0000 - PAGE)), touch(area(1), 'write')],
        [dontneed(area(0, 0, full + 20))], era)
      expect(halves).toEqual(['flush(3,-1)', 'flush(3,20)'])
    })
  }

  test('flushes midway while it holds the page-table lock, and frees after it let go', () => {
    const bench = new KernelBench(testConfig({ cpus: 1, memoryBytes: 128 * MIB }), image([{ threads: [
      { comm: 'main', program: program('main', ...big, signal(0), dontneed(area(0))) },
    ] }]), { check: false })
    const { k } = bench
    const mm = bench.mmOf('main')
    const isLocked = (): boolean => [...mm.pageTableLocks.values()].some(lock => lock.isHeld)
    const atRequest: boolean[] = []
    const atFree: boolean[] = []
    bench.untilSignal(0)
    let { tlbGen } = mm
    let freed = 0
    bench.until(() => {
      if (mm.tlbGen > tlbGen) atRequest.push(isLocked())
      if (k.counters.pagesFreed > freed) atFree.push(isLocked())
      tlbGen = mm.tlbGen
      freed = k.counters.pagesFreed
      return freed >= 10_240
    })
    expect(atRequest).toEqual([true, false])
    expect(atFree).toEqual([false, false])
  })
})

describe('tables that are freed', () => {
  const two: Step[] = [
    mmap(0, 4, at(0x1000_0000)), mmap(1, 4, at(0x1020_0000)), touch(area(0), 'write'), touch(area(1), 'write')]

  test('an empty page table is one page of range in steps of 2 MiB: announced as 1 page, executed as 0', async () => {
    expect(await flushes([...two, dontneed(area(0))], [munmap(area(0))])).toEqual(['flush(3,0)'])
    expect(await flushes([...two, dontneed(area(0))], [munmap(area(0))], 'linux-4.6')).toEqual(['flush(3,1)'])
  })

  test('and that one INVLPG drops the paging-structure caches of the CPUs that run the mm', () => {
    const bench = new KernelBench(testConfig(), image([{ threads: [
      { comm: 'main', cpus: [0], program: program('main', ...two, dontneed(area(0)), signal(0), SETTLE,
        signal(2), munmap(area(0)), signal(1)) },
      { comm: 'other', cpus: [1], program: program('other', spin(0), touch(area(1), 'read'), spin(1)) },
    ] }]))
    const cached = (): number => {
      let entries = 0
      bench.k.platform.mmu(1).forEachPagingCacheEntry(() => { entries += 1 })
      return entries
    }
    bench.untilSignal(2)
    expect(cached()).toBeGreaterThan(0)
    bench.mark()
    bench.untilSignal(1)
    expect(cached()).toBe(0)
    expect(onCpu(bench.sinceMark(), 0)).toEqual(['flush(4,1)', 'QUEUE 1', 'SEND 1', 'flush(3,0)'])
    expect(onCpu(bench.sinceMark(), 1)).toEqual(['IRQ+', 'flush(1,0)', 'IRQ-'])
  })

  test('a pmd table that has lost its page tables before counts in steps of 1 GiB', async () => {
    // Areas in three regions of 1 GiB; the page table of area 1 goes while area 3 keeps its pmd table.
    const setup = [
      mmap(0, 1, at(0x0fff_f000)), mmap(1, 1, at(0x4000_0000)), mmap(3, 1, at(0x5000_0000)),
      mmap(2, 1, at(0x8000_0000)),
      ...[0, 1, 2].map(index => touch(area(index), 'write')), munmap(area(1))]
    expect(await flushes(setup, [munmap(area(3))])).toEqual(['flush(3,0)'])
  })

  test('more than 509 of them are flushed and freed in parts by 6.x', async () => {
    const spread: Step[] = Array.from({ length: 600 }, (_, i) => [
      mmap(0, 1, at(0x1000_0000 + i * 2 * MIB)), touch(area(0), 'write')]).flat()
    const all = { area: -1, address: { hi: 0, lo: 0x1000_0000 }, offset: 0, bytes: 600 * 2 * MIB }
    const munmapAll = munmap(all)
    expect(await flushes(spread, [munmapAll])).toEqual(['flush(3,-1)', 'flush(3,-1)'])
    expect(await flushes(spread, [munmapAll], 'linux-4.6')).toEqual(['flush(3,-1)'])
  })
})

describe('huge pages', () => {
  const huge = (pages: number): Step[] => [
    mmap(0, pages, { ...at(0x1000_0000), huge: true }), mmap(1, 1, at(0x1000_0000 - PAGE)),
    mmap(2, 512, { ...at(0x1000_0000 + pages * PAGE), huge: true }),
    touch(area(0), 'write', { stride: 2 * MIB }), touch(area(1), 'write'), touch(area(2), 'write', { stride: 2 * MIB })]

  test('6.x announces them in base pages and executes them in huge ones', async () => {
    const lines = await sequence(testConfig(), twoCpus(huge(1536), [munmap(area(0))], 'running'))
    expect(onCpu(lines, 0)).toEqual(['flush(4,1536)', 'QUEUE 1', 'SEND 1', 'flush(3,3)'])
    expect(onCpu(lines, 1)).toEqual(['IRQ+', 'flush(1,3)', 'IRQ-'])
  })

  test('6.x: one base page in the same gather makes it count in base pages, and that is everything', async () => {
    const both = { area: -1, address: { hi: 0, lo: 0x1000_0000 - PAGE }, offset: 0, bytes: 1536 * PAGE + PAGE }
    const neighbour = [mmap(3, 1, at(0x1000_0000 - 2 * PAGE)), touch(area(3), 'write')]
    expect(await flushes([...huge(1536), ...neighbour], [munmap(both)])).toEqual(['flush(3,-1)'])
  })
})

describe('several areas in one call', () => {
  // Three areas with holes and different protections, neighbours on both sides keep the tables.
  const setup: Step[] = [
    mmap(0, 40, at(0x1000_0000)), touch(area(0), 'write'),
    munmap(area(0, 8, 2)), mprotect(area(0, 10, 4), 1), munmap(area(0, 20, 2))]

  for (const era of ERAS) {
    test(`${era}: munmap merges them into one flush of the span`, async () => {
      expect(await flushes(setup, [munmap(area(0, 4, 24))], era)).toEqual(['flush(3,24)'])
    })
  }
})

describe('a gather without anything', () => {
  test('munmap and DONTNEED of pages that were never touched flush nothing', async () => {
    const untouched = [mmap(0, 8, at(0x1000_0000)), mmap(1, 1, at(0x1000_0000 + 8 * PAGE)), touch(area(1), 'write')]
    for (const era of ERAS) expect(await flushes(untouched, [dontneed(area(0)), munmap(area(0))], era)).toEqual([])
  })

  test('exit of a process that touched nothing: 4.6 flushes all the same, 6.x does not', async () => {
    const idle = image([{ threads: [{ comm: 'main', cpus: [0], program: program('main', mmap(0, 4), BEGIN) }] }])
    const of = async (era: KernelEra): Promise<string[]> => sequence(testConfig({ cpus: 1 }, { era }), idle)
    expect(await of('linux-4.6')).toEqual(['0: flush(0,-1)', '0: switch'])
    expect(await of('linux-6.x')).toEqual(['0: switch'])
  })
})

describe('two gathers of one mm at a time', () => {
  const images = image([{ threads: [
    { comm: 'one', cpus: [0], program: program('one', mmap(0, 60), touch(area(0), 'write'), signal(0), BEGIN,
      dontneed(area(0, 0, 20))) },
    { comm: 'two', cpus: [1], program: program('two', spin(0), dontneed(area(0, 30, 20))) },
  ] }])
  const executed = (lines: string[]): string[] => lines.filter(line => /flush\((3|4),/.test(line)).slice(0, 4)

  test('6.x: the one that finishes while the other is open flushes everything', async () => {
    const lines = await sequence(testConfig(), images)
    expect(executed(lines)).toContain('0: flush(4,-1)')
    expect(executed(lines)).toContain('1: flush(4,-1)')
  })

  test('4.6: each flushes its own range', async () => {
    const lines = await sequence(testConfig({}, { era: 'linux-4.6' }), images)
    expect(executed(lines).sort()).toEqual(['0: flush(3,20)', '0: flush(4,20)', '1: flush(3,20)', '1: flush(4,20)'])
  })

  test('4.6: all that the call is about, as the other may have cleared it and not flushed yet', async () => {
    // CPU 0 has cleared its pages and waits for the acknowledgement when CPU 1 begins.
    const same = image([{ threads: [
      { comm: 'one', cpus: [0], program: program('one', mmap(0, 60), touch(area(0), 'write'), signal(0), BEGIN,
        dontneed(area(0, 0, 20))) },
      { comm: 'two', cpus: [1], program: program('two', spin(0), compute(1000), dontneed(area(0, 10, 20))) },
    ] }])
    const of = async (bugs: readonly BugName[], era: KernelEra): Promise<string[]> => {
      const costs = { ...TEST_COSTS, ipiWire: 20_000 }
      return executed(await sequence(testConfig({ costs }, { era, bugs }), same)).filter(line => line.startsWith('1'))
    }
    const found = Promise.all([of([], 'linux-4.6'), of(['h16-parallel-gather-not-flushed'], 'linux-4.6')])
    expect(await found).toEqual([['1: flush(3,20)', '1: flush(4,20)'], ['1: flush(3,10)', '1: flush(4,10)']])
  })
})
