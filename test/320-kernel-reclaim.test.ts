// Reclaim and swap: what is unmapped, flushed, written and freed in which order, what comes back and
// how, in each era; and that memory pressure ends with every frame and slot returned.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { checkEverything } from '../src/inspect/check.js'
import { PROT_READ } from '../src/kernel/abi.js'
import type { ProgramImage } from '../src/kernel/abi.js'
import type { KernelConfig, KernelEra } from '../src/kernel/config.js'
import { isolate, LRU_INACTIVE_FILE, lruAdd, putback } from '../src/kernel/pages/lru.js'
import { scanControl, shrinkPageList } from '../src/kernel/reclaim/vmscan.js'
import { KernelBench } from './support/kernel-bench.js'
import { testConfig } from './support/machines.js'
import { advise, area, compute, fork, image, load, mmap, mprotect, munmap, program, reclaim, repeat, signal, sleep,
  spin, store, touch, wait } from './support/programs.js'
import type { Step } from './support/programs.js'
import { randomRun } from './support/random-programs.js'
import { underPressure } from './support/random-reclaim.js'
import { onCpu } from './support/sequence.js'
import { SETTLE } from './support/two-cpus.js'

const ERAS: readonly KernelEra[] = ['linux-4.6', 'linux-6.x']
const SWAP = 16 * 2 ** 20
const PAGE = 4096

function benchOf(
  era: KernelEra, programs: ProgramImage, kernel: Partial<KernelConfig> = {}, cpus = 2, check = true,
): KernelBench {
  const config = testConfig({ cpus, memoryBytes: 28 * 2 ** 20 }, { era, swapBytes: SWAP, ...kernel })
  return new KernelBench(config, programs, { check })
}

/** One process, `steps` on CPU 0. */
const alone = (...steps: Step[]): ProgramImage => image([{ threads: [{ comm: 'a', program: program('a', ...steps) }] }])

/** A second thread that has touched the area and stays on its CPU. */
const withOther = (other: Step[], ...steps: Step[]): ProgramImage => image([{ threads: [
  { comm: 'a', cpus: [0], program: program('a', ...steps) },
  { comm: 'b', cpus: [1], program: program('b', ...other) },
] }])

/** All frames are free that were free before the first process, no slot is in use. */
function expectClean(bench: KernelBench): void {
  const { swap, frames, lru, openBatches, pageLocks, mms } = bench.k
  expect([swap.freeSlots, swap.cache.size, swap.storage.size, openBatches.size, pageLocks.size])
    .toEqual([Math.max(0, swap.slots - 1), 0, 0, 0, 0])
  expect(lru.lists.map(list => list.size)).toEqual([0, 0, 0, 0])
  // A CPU that idles may still borrow the last address space.
  expect([...mms.values()].map(mm => [mm.rssPages, mm.swapPages])).toEqual([...mms.values()].map(() => [0, 0]))
  let used = 0
  for (let pfn = 0; pfn < frames.count; pfn++) if (frames.use[pfn] === 2) used += 1
  expect(used).toBe(0)
}

describe.each(ERAS)('%s', era => {
  const is46 = era === 'linux-4.6'

  test('a page that nobody used goes to swap and comes back with what was in it, in a slot that is then free', () => {
    const bench = benchOf(era, alone(mmap(0, 4), touch(area(0), 'write'), store(area(0, 1), 77n), reclaim(4), signal(0),
      load(area(0, 1), 77n), signal(1), store(area(0, 1), 78n), load(area(0, 1), 78n), signal(2), compute(1000)))
    bench.untilSignal(0)
    const mm = bench.mmOf('a')
    expect([mm.rssPages, mm.swapPages, bench.k.counters.pswpout]).toEqual([0, 4, 4])
    expect(bench.k.swap.freeSlots).toBe(SWAP / PAGE - 1 - 4)
    bench.untilSignal(1)
    expect([mm.rssPages, mm.swapPages, bench.k.counters.pswpin, bench.k.counters.pgmajfault]).toEqual([1, 3, 1, 1])
    // 6.x reads the page of a lone entry past the swap cache; 4.6 keeps page and slot together.
    expect(bench.k.swap.cache.size).toBe(is46 ? 1 : 0)
    const faults = bench.k.counters.pageFaults
    bench.untilSignal(2)
    // 6.x knew that the page is exclusive and mapped it writable; 4.6 finds out at the write, and takes the slot back.
    expect(bench.k.counters.pageFaults - faults).toBe(is46 ? 1 : 0)
    expect([bench.k.counters.cowCopies, bench.k.swap.cache.size]).toEqual([0, 0])
    expect(bench.finish().failures).toEqual([])
    expectClean(bench)
  })

  test('a write fault at a swap entry maps the page writable at once', () => {
    const bench = benchOf(era, alone(mmap(0, 1), store(area(0), 5n), reclaim(1), signal(0), store(area(0), 6n),
      load(area(0), 6n), signal(1), compute(100)))
    bench.untilSignal(0)
    const { pageFaults } = bench.k.counters
    bench.untilSignal(1)
    expect([bench.k.counters.pageFaults - pageFaults, bench.k.counters.cowCopies]).toEqual([1, 0])
    expect(bench.k.swap.cache.size).toBe(0)
    bench.finish()
    expectClean(bench)
  })

  test('without another CPU in the mask each page is flushed at once; with one, before its write starts', () => {
    const lone = benchOf(era, alone(mmap(0, 2), touch(area(0), 'write'), signal(0), reclaim(2), signal(1), compute(1)))
    lone.untilSignal(0)
    lone.mark()
    lone.untilSignal(1)
    // flush_tlb_page() of 4.6 leaves no record for its own CPU.
    expect(lone.sinceMark()).toEqual(is46 ? [] : ['0: flush(3,1)', '0: flush(3,1)'])
    expect(lone.k.counters.batchedFlushes).toBe(0)

    const bench = benchOf(era, withOther(
      [spin(0), touch(area(0), 'read'), signal(1), compute(200_000)],
      mmap(0, 2), touch(area(0), 'write'), signal(0), spin(1), signal(2), reclaim(2), signal(3), compute(1)))
    bench.untilSignal(2)
    bench.mark()
    bench.untilSignal(3)
    const lines = bench.sinceMark()
    const round = is46 ? ['flush(2,-1)', 'flush(4,-1)', 'QUEUE 1', 'SEND 1']
      : ['flush(4,-1)', 'QUEUE 1', 'SEND 1', 'flush(2,-1)']
    expect(onCpu(lines, 0)).toEqual([...round, ...round])
    expect(onCpu(lines, 1)).toEqual(['IRQ+', 'flush(1,-1)', 'IRQ-', 'IRQ+', 'flush(1,-1)', 'IRQ-'])
    expect(bench.k.counters).toMatchObject({ batchedFlushes: 2, pswpout: 2, pgsteal: 2 })
    bench.finish()
    expectClean(bench)
  })

  test('clean pages of a file are unmapped with one flush for all of them, and read again when they are needed', () => {
    const bench = benchOf(era, { ...withOther(
      [spin(0), touch(area(0), 'read'), signal(1), compute(100_000)],
      mmap(0, 8, { file: 0, prot: PROT_READ }), touch(area(0), 'read'), signal(0), spin(1), compute(50_000),
      touch(area(0), 'read'), signal(2), compute(1)),
    files: [{ name: 'f', bytes: 8 * PAGE }] })
    bench.untilSignal(1)
    bench.untilRunning(['a', 'b'], bench.simulation.cycle + 1)
    bench.mark()
    const gen = bench.mmOf('a').tlbGen
    bench.enterAll([0], function* (k, cpu) {
      const pages = [...k.lru.lists[LRU_INACTIVE_FILE]!]
      for (const pfn of pages) isolate(k, pfn)
      const sc = scanControl(k, cpu, 8, { ignoreReferences: true })
      yield* shrinkPageList(k, sc, pages)
      expect([sc.nrReclaimed, pages.length]).toEqual([8, 8])
    })
    const round = is46 ? ['flush(2,-1)', 'flush(4,-1)', 'QUEUE 1', 'SEND 1']
      : ['flush(4,-1)', 'QUEUE 1', 'SEND 1', 'flush(2,-1)']
    expect(onCpu(bench.sinceMark(), 0)).toEqual(round)
    expect(onCpu(bench.sinceMark(), 1)).toEqual(['IRQ+', 'flush(1,-1)', 'IRQ-'])
    // 6.x: one generation for every page, so that whoever is left out knows that it is behind.
    expect(bench.mmOf('a').tlbGen - gen).toBe(is46 ? 0 : 8)
    bench.untilSignal(2)
    expect(bench.k.counters).toMatchObject({ batchedFlushes: 1, pgsteal: 8, pswpout: 0, fileReads: 16, fileWrites: 0 })
    bench.finish()
  })

  test('whoever finds entries gone by a batch flushes the address space once, although the batch was flushed', () => {
    const bench = benchOf(era, withOther(
      [spin(0), touch(area(0), 'read'), signal(1), compute(100_000)],
      mmap(0, 4), touch(area(0), 'write'), signal(0), spin(1), reclaim(4), signal(2), mprotect(area(0), PROT_READ),
      advise(area(0), 'dontneed'), signal(3), compute(1)))
    bench.untilSignal(2)
    const mm = bench.mmOf('a')
    expect([mm.batchPending, mm.batchFlushed]).toEqual([4, 0])
    bench.mark()
    bench.untilSignal(3)
    expect([mm.batchPending, mm.batchFlushed, bench.k.counters.batchedPendingFlushes]).toEqual([4, 4, 1])
    // Nothing was present, so neither call has a flush of its own.
    expect(onCpu(bench.sinceMark(), 1)).toEqual(['IRQ+', 'flush(1,-1)', 'IRQ-'])
    bench.finish()
    expectClean(bench)
  })

  test('a page that parent and child share goes to one slot, comes back as one frame, and is copied at a write', () => {
    const bench = benchOf(era, image([{ threads: [{ comm: 'parent', cpus: [0], program: program('parent',
      mmap(0, 1), store(area(0), 5n), fork(0, 'child', [1]), SETTLE, reclaim(1), signal(0), spin(1),
      load(area(0), 5n), signal(2), wait(), load(area(0), 5n), signal(3), compute(1)) }] }], {
      children: [program('child',
        spin(0), load(area(0), 5n), signal(1), spin(2), store(area(0), 6n), load(area(0), 6n))],
    }))
    bench.untilSignal(0)
    const [parent, child] = [bench.mmOf('parent'), bench.mmOf('child')]
    expect([parent.swapPages, child.swapPages, bench.k.counters.pswpout]).toEqual([1, 1, 1])
    expect(Math.max(...bench.k.swap.counts)).toBe(2)
    bench.untilSignal(2)
    expect([parent.rssPages, child.rssPages, bench.k.counters.pswpin]).toEqual([1, 1, 1])
    expect(Math.max(...bench.k.frames.mapcount)).toBe(2)
    expect(bench.finish().failures).toEqual([])
    expect(bench.k.counters.cowCopies).toBe(1)
    expectClean(bench)
  })

  test('fork counts every slot once more; exit gives slots back without reading them', () => {
    const bench = benchOf(era, image([{ threads: [{ comm: 'parent', cpus: [0], program: program('parent',
      mmap(0, 8), touch(area(0), 'write'), reclaim(8), fork(0, 'child', [1]), signal(0), wait(), signal(1),
      compute(1)) }] }], {
      children: [program('child', sleep(50_000))],
    }))
    bench.untilSignal(0)
    expect([...bench.k.swap.counts].filter(count => count > 0)).toEqual([2, 2, 2, 2, 2, 2, 2, 2])
    bench.untilSignal(1)
    expect([...bench.k.swap.counts].filter(count => count > 0)).toEqual([1, 1, 1, 1, 1, 1, 1, 1])
    bench.finish()
    expect(bench.k.counters.pswpin).toBe(0)
    expectClean(bench)
  })

  test('MADV_FREE keeps page and content until reclaim finds the page clean; a write takes it back', () => {
    const bench = benchOf(era, withOther(
      [spin(0), touch(area(0), 'read'), signal(1), compute(500_000)],
      mmap(0, 4), store(area(0, 0), 1n), store(area(0, 1), 2n), touch(area(0), 'write'), signal(0), spin(1),
      advise(area(0), 'free'), signal(2), load(area(0, 0), 1n), store(area(0, 1), 3n), reclaim(4), signal(3),
      load(area(0, 0), 0n), load(area(0, 1), 3n), compute(1)))
    bench.untilSignal(1)
    bench.mark()
    bench.untilSignal(2)
    const mm = bench.mmOf('a')
    expect([mm.rssPages, bench.k.counters.pglazyfree]).toEqual([4, 4])
    expect(onCpu(bench.sinceMark(), 1)).toEqual(['IRQ+', 'flush(1,4)', 'IRQ-'])
    bench.untilSignal(3)
    expect(bench.k.counters).toMatchObject({ pglazyfreed: 3, pswpout: 1 })
    expect(bench.finish().failures).toEqual([])
    expectClean(bench)
  })

  test('MADV_FREE without swap drops pages at once in 4.6 and keeps them in 6.x', () => {
    const steps = [mmap(0, 4), touch(area(0), 'write'), advise(area(0), 'free'), signal(0), compute(1)]
    const bench = benchOf(era, alone(...steps), { swapBytes: 0 })
    bench.untilSignal(0)
    expect(bench.mmOf('a').rssPages).toBe(is46 ? 0 : 4)
    bench.finish()
    expectClean(bench)
  })

  test('MADV_FREE of a page in swap gives the slot back', () => {
    const bench = benchOf(era, alone(mmap(0, 4), touch(area(0), 'write'), reclaim(4), advise(area(0), 'free'),
      signal(0), load(area(0), 0n), compute(1)))
    bench.untilSignal(0)
    expect([bench.mmOf('a').swapPages, bench.k.swap.freeSlots]).toEqual([0, SWAP / PAGE - 1])
    expect(bench.finish().failures).toEqual([])
  })

  test('MADV_COLD clears A and flushes the span, MADV_PAGEOUT reclaims now; 4.6 knows neither', () => {
    const failing = (advice: 'cold' | 'pageout'): Step =>
      is46 ? { ...advise(area(0), advice), expectError: 'EINVAL' } : advise(area(0), advice)
    const bench = benchOf(era, withOther(
      [spin(0), touch(area(0), 'read'), signal(1), compute(200_000)],
      mmap(0, 4), touch(area(0), 'write'), signal(0), spin(1), failing('cold'), signal(2), failing('pageout'),
      signal(3), compute(1)))
    bench.untilSignal(1)
    bench.mark()
    bench.untilSignal(2)
    expect(onCpu(bench.sinceMark(), 1)).toEqual(is46 ? [] : ['IRQ+', 'flush(1,4)', 'IRQ-'])
    bench.untilSignal(3)
    expect([bench.mmOf('a').rssPages, bench.k.counters.pswpout]).toEqual(is46 ? [4, 0] : [0, 4])
    expect(bench.finish().failures).toEqual([])
    expectClean(bench)
  })

  test('reclaim that gets nothing says EAGAIN: no swap, nothing but anonymous pages', () => {
    const bench = benchOf(era, alone(mmap(0, 4), touch(area(0), 'write'), { ...reclaim(1), expectError: 'EAGAIN' }),
      { swapBytes: 0 })
    expect(bench.finish().failures).toEqual([])
    expect(bench.k.counters.pgscan).toBe(0)
  })

  test('swapped pages keep what was in them through more memory than there is, on four CPUs with many tasks', () => {
    const pages = 700
    const worker = (n: number): Step[] => [
      mmap(0, pages), touch(area(0), 'write'), store(area(0, n), BigInt(100 + n)), store(area(0, pages - 1), 9n),
      touch(area(0), 'read'), touch(area(0, 0, 100), 'write'),
      load(area(0, n), BigInt(100 + n)), load(area(0, pages - 1), 9n), munmap(area(0, 0, 350)),
    ]
    const bench = benchOf(era, image(Array.from({ length: 9 }, (_, n) => (
      { threads: [{ comm: `w${n}`, program: program(`w${n}`, ...worker(n + 1)) }] }))),
    { swapBytes: 64 * 2 ** 20 }, 4, false)
    expect(bench.finish()).toMatchObject({ failures: [], stall: [] })
    expect(bench.k.counters.oomKills).toBe(0)
    expect(bench.k.counters.pswpin).toBeGreaterThan(1000)
    expect(bench.k.counters.pageoutrun).toBeGreaterThan(0)
    expect(bench.k.tasks.filter(task => task.comm === 'kswapd0')).toHaveLength(1)
    checkEverything(bench.k)
    expectClean(bench)
  })

  test('when swap is full too, the process with most memory is killed and the others go on', () => {
    const bench = benchOf(era, image([
      { threads: [{ comm: 'small', cpus: [0], program: program('small', mmap(0, 50), touch(area(0), 'write'), spin(0),
        repeat(40, touch(area(0), 'write'), compute(20_000)), load(area(0)), signal(1)) }] },
      { threads: [{ comm: 'big', cpus: [1], program: program('big', mmap(0, 6000), signal(0), touch(area(0), 'write'),
        signal(2), compute(1)) }] },
    ]), { swapBytes: 2 ** 20 }, 2, false)
    const result = bench.finish()
    expect(result.stall).toEqual([])
    expect(bench.k.tasks.map(task => [task.comm, task.outcome]).filter(([comm]) => comm !== 'kswapd0'))
      .toEqual([['small', 'exited'], ['big', 'SIGKILL']])
    expect(bench.k.counters.oomKills).toBe(1)
    checkEverything(bench.k)
    expectClean(bench)
  })
})

test('random programs beside one that wants all memory: no hang, and every frame and slot comes back', () => {
  fc.assert(fc.property(randomRun, (run) => {
    const { config, image: programs } = underPressure(run, 5400)
    const bench = new KernelBench(config, programs, { check: false })
    expect(bench.finish().stall).toEqual([])
    expect(bench.k.counters.pageoutrun).toBeGreaterThan(0)
    checkEverything(bench.k)
    expect([bench.k.openBatches.size, bench.k.pageLocks.size, bench.k.swap.storage.size]).toEqual([0, 0, 0])
    expect(bench.k.swap.freeSlots).toBe(bench.k.swap.slots - 1)
  }), { numRuns: 2, seed: 11, endOnFailure: true })
}, 120_000)

test('a page that is mapped again while reclaim has it isolated ends up on one list', () => {
  const k = new KernelBench(testConfig({ cpus: 1 }, { swapBytes: 2 ** 20 }), image([{ threads: [{ comm: 'main',
    program: program('main', mmap(0, 1), touch(area(0), 'write'), signal(0), compute(1000)) }] }]))
  k.untilSignal(0)
  const [pfn] = k.k.rmap.keys()
  expect(isolate(k.k, pfn!)).toBe(true)
  lruAdd(k.k, pfn!)
  putback(k.k, pfn!, true)
  k.k.frames.put(0, pfn!)
  expect(k.k.lru.lists.filter(list => list.has(pfn!)).length).toBe(1)
  k.finish()
})
