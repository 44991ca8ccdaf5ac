// Transparent huge pages: what a fault maps, which flushes follow when a part of a huge page is
// wanted, and that its frames are counted right however it is mapped.

import { describe, expect, test } from 'vitest'
import { simulateHere } from '../src/engine/simulate.js'
import { PROT_NONE, PROT_READ, PROT_WRITE } from '../src/kernel/abi.js'
import type { KernelConfig, KernelEra } from '../src/kernel/config.js'
import { FRAME_USER } from '../src/kernel/pages/frames.js'
import { pagesPerHugePage } from '../src/kernel/mm/pgtable.js'
import { splitFolio } from '../src/kernel/huge/split-huge.js'
import { geometryOf } from '../src/machine/geometry.js'
import type { GeometryName } from '../src/machine/config.js'
import { KernelBench } from './support/kernel-bench.js'
import { testConfig } from './support/machines.js'
import { advise, area, compute, dontneed, fork, image, load, mmap, mprotect, munmap, program, signal, spin, store,
  touch, wait } from './support/programs.js'
import type { Step } from './support/programs.js'
import { onCpu, sequence } from './support/sequence.js'
import { twoCpus } from './support/two-cpus.js'

const MIB = 2 ** 20
const ERAS: readonly KernelEra[] = ['linux-4.6', 'linux-6.x']
const RW = PROT_READ | PROT_WRITE

const at = (lo: number) => ({ at: { hi: 0, lo }, fixed: true })
const always = (era: KernelEra, more: Partial<KernelConfig> = {}) =>
  testConfig({ memoryBytes: 128 * MIB }, { era, thp: 'always', ...more })

/** One huge page at 1 GiB, and a base page beside it that keeps its pmd table. */
const oneHuge: Step[] = [mmap(0, 512, at(0x4000_0000)), mmap(1, 1, at(0x3fff_f000)), mmap(2, 1, at(0x4020_0000)),
  touch(area(1), 'write'), touch(area(2), 'write'), store(area(0), 7n)]

function benchOf(era: KernelEra, steps: Step[], more: Partial<KernelConfig> = {}): KernelBench {
  return new KernelBench(always(era, more), image([{ threads: [
    { comm: 'main', cpus: [0], program: program('main', ...steps) }] }]))
}

/** Runs to the end: every load was right, and no user frame or table is left but those of a borrowed root. */
function finish(bench: KernelBench) {
  bench.finish()
  const { failures, frames, mms, initMm, counters } = bench.k
  expect(failures).toEqual([])
  expect(frames.use.filter(use => use === FRAME_USER).length).toBe(0)
  for (const mm of mms.values()) {
    if (mm !== initMm) expect([mm.rssPages, mm.depositedTables.size]).toEqual([0, 0])
  }
  return counters
}

/** Runs one program and gives its counters. */
function countersOf(era: KernelEra, steps: Step[], more: Partial<KernelConfig> = {}) {
  return finish(benchOf(era, steps, more))
}

/** The same with 28 MiB of memory, of which somewhat less than 5,000 pages are free. */
async function smallRun(era: KernelEra, steps: Step[]) {
  const { result } = await simulateHere(testConfig({ cpus: 1, memoryBytes: 28 * MIB }, { era, thp: 'always' }),
    image([{ threads: [{ comm: 'main', program: program('main', ...steps) }] }]), { check: true, trace: false })
  expect(result.failures).toEqual([])
  return result
}

/** What happens on both CPUs, CPU 1 running the process. */
async function both(era: KernelEra, setup: Step[], steps: Step[]): Promise<{ own: string[]; other: string[] }> {
  const lines = await sequence(always(era), twoCpus(setup, steps, 'running'))
  const isFlush = (text: string): boolean => text.startsWith('flush')
  return { own: onCpu(lines, 0).filter(isFlush), other: onCpu(lines, 1).filter(isFlush) }
}

for (const era of ERAS) {
  const is46 = era === 'linux-4.6'
  /** A round that reaches the other CPU, in the order of the era. */
  const round = (...sizes: number[]) => ({
    own: sizes.flatMap(n => is46 ? [`flush(3,${n})`, `flush(4,${n})`] : [`flush(4,${n})`, `flush(3,${n})`]),
    other: sizes.map(n => `flush(1,${n})`),
  })

  describe(`${era}: the first touch`, () => {
    test('maps a huge page, with one table put aside, and needs no flush', () => {
      const bench = benchOf(era, [...oneHuge, signal(0), compute(100)])
      bench.untilSignal(0)
      const mm = bench.mmOf('main')
      expect(bench.k.counters.thpFaultAlloc).toBe(1)
      expect(mm.rssPages).toBe(514)
      // Root, pud, two pmd tables, two of base pages; one put aside.
      expect([mm.tablePages, [...mm.depositedTables.values()].flat().length]).toEqual([7, 1])
      expect(bench.k.counters.shootdowns).toBe(0)
    })

    test('never maps one, or only after madvise, as configured; an area must hold the whole range', () => {
      expect(countersOf(era, oneHuge, { thp: 'never' }).thpFaultAlloc).toBe(0)
      expect(countersOf(era, oneHuge, { thp: 'madvise' }).thpFaultAlloc).toBe(0)
      const [map, ...rest] = oneHuge
      expect(countersOf(era, [map!, advise(area(0), 'hugepage'), ...rest], { thp: 'madvise' }).thpFaultAlloc).toBe(1)
      expect(countersOf(era, [map!, advise(area(0), 'nohugepage'), ...rest]).thpFaultAlloc).toBe(0)
      expect(countersOf(era, [mmap(0, 512, at(0x4000_1000)), store(area(0), 7n)]).thpFaultAlloc).toBe(0)
    })

    test('falls back to a base page when there is no huge page', async () => {
      const { counters } = await smallRun(era, [mmap(3, 4500, at(0x5000_0000)), advise(area(3), 'nohugepage'),
        touch(area(3), 'write'), ...oneHuge, munmap(area(3)), dontneed(area(0)), store(area(0), 1n), load(area(0), 1n)])
      expect([counters.thpFaultFallback, counters.thpFaultAlloc]).toEqual([1, 0])
    })
  })

  describe(`${era}: a whole huge page`, () => {
    test('goes by munmap in one step: 6.x counts it as one unit of 2M, 4.6 names its first page', async () => {
      // The announcement counts base pages; 4.6 extends the range by one page for a huge entry.
      const expected = is46 ? round(1) : { own: ['flush(4,512)', 'flush(3,1)'], other: ['flush(1,1)'] }
      expect(await both(era, oneHuge, [munmap(area(0))])).toEqual(expected)
      expect(await both(era, oneHuge, [dontneed(area(0))])).toEqual(expected)
    })

    test('is protected by one huge entry; nothing is flushed when nothing changes', async () => {
      const expected = is46 ? round(-1) : { own: ['flush(4,512)', 'flush(3,1)'], other: ['flush(1,1)'] }
      expect(await both(era, oneHuge, [mprotect(area(0), PROT_READ)])).toEqual(expected)
      expect(await both(era, oneHuge, [mprotect(area(0), PROT_NONE)])).toEqual(expected)
      expect(await both(era, oneHuge, [mprotect(area(0), RW)])).toEqual({ own: [], other: [] })
      expect(countersOf(era, [...oneHuge, mprotect(area(0), PROT_READ)]).thpSplitPmd).toBe(0)
    })

    test('keeps its contents through PROT_NONE and back', () => {
      const counters = countersOf(era, [...oneHuge, mprotect(area(0), PROT_NONE), mprotect(area(0), RW),
        load(area(0), 7n), store(area(0), 8n), load(area(0), 8n)])
      expect([counters.thpSplitPmd, counters.cowCopies]).toEqual([0, 0])
    })
  })

  describe(`${era}: a part of a huge page`, () => {
    test('is unmapped after a split: first the huge entry is flushed everywhere, then the part', async () => {
      expect(await both(era, oneHuge, [munmap(area(0, 100, 3))])).toEqual(round(-1, 3))
      expect(await both(era, oneHuge, [dontneed(area(0, 100, 3))])).toEqual(round(-1, 3))
      expect(await both(era, oneHuge, [mprotect(area(0, 100, 3), PROT_READ)])).toEqual(round(-1, 3))
    })

    test('leaves the rest as it was, in base pages, dirty and readable', () => {
      const counters = countersOf(era, [...oneHuge, store(area(0, 511), 9n), munmap(area(0, 100, 3)),
        load(area(0), 7n), load(area(0, 511), 9n), store(area(0, 50), 1n), load(area(0, 50), 1n)])
      expect([counters.thpSplitPmd, counters.cowCopies, counters.thpDeferredSplitPage]).toEqual([1, 0, 1])
    })

    test('is given back at once only when the page itself is split', () => {
      const bench = benchOf(era, [...oneHuge, munmap(area(0, 100, 300)), signal(0), compute(10_000), load(area(0), 7n)])
      bench.untilSignal(0)
      const { k } = bench
      const [head] = k.deferredSplits
      const free = k.frames.freeFrames
      expect(k.frames.refcount[head!]).toBe(212)
      expect(splitFolio(k, bench.cpu(0), head!)).toBe(true)
      expect(k.frames.freeFrames - free).toBe(300)
      expect(k.frames.refcount[head!]).toBe(1)
      bench.finish()
      expect(k.failures).toEqual([])
    })

    test('is what memory is taken from when none is free', async () => {
      const partial = Array.from({ length: 6 }, (_, i) => [
        mmap(4, 512, at(0x4100_0000 + i * 0x20_0000)), store(area(4), 3n), munmap(area(4, 1, 511))]).flat()
      // 3,000 pages are more than there are without the 6 times 511 that nobody maps.
      const { counters, tasks } = await smallRun(era, [...partial, mmap(3, 3000, at(0x5000_0000)),
        advise(area(3), 'nohugepage'), touch(area(3), 'write'), load(area(4), 3n)])
      expect([counters.thpSplitPage, counters.thpDeferredSplitPage, tasks[0]!.outcome]).toEqual([6, 6, 'exited'])
    })

    test('keeps its old entry until the lock is free: a fault of another thread waits for the split', () => {
      const bench = new KernelBench(always(era), image([{ threads: [
        { comm: 'main', cpus: [0], program: program('main', ...oneHuge, signal(0), munmap(area(0, 0, 1)), signal(1)) },
        { comm: 'other', cpus: [1],
          program: program('other', spin(0), touch(area(0, 1, 511), 'write', { count: 4000 })) },
      ] }]))
      bench.finish()
      expect(bench.k.counters.thpSplitPmd).toBe(1)
      expect(bench.k.counters.sigsegv).toBe(0)
    })
  })

  describe(`${era}: fork`, () => {
    const child = (...steps: Step[]) => [program('child', ...steps)]
    const run = (steps: Step[], kid: Step[]) => {
      const bench = new KernelBench(always(era), image(
        [{ threads: [{ comm: 'main', cpus: [0], program: program('main', ...oneHuge, ...steps) }] }],
        { children: child(...kid), flags: 6 }))
      return { bench, end: () => finish(bench) }
    }

    test('shares a huge page by one entry on each side', () => {
      const { bench, end } = run(
        [fork(0, 'child', [1]), spin(1), signal(2), wait()], [signal(1), spin(2), load(area(0), 7n)])
      bench.untilSignal(1)
      const head = bench.k.frames.entireMapcount.findIndex(count => count > 0)
      expect([bench.k.frames.entireMapcount[head], bench.k.frames.refcount[head]]).toEqual([2, 2])
      expect(end().thpSplitPmd).toBe(0)
    })

    test(is46 ? 'and a write copies it whole' : 'and a write splits the entry and copies one base page', () => {
      const { end } = run([fork(0, 'child', [1]), store(area(0), 8n), load(area(0), 8n), signal(1), wait()],
        [spin(1), load(area(0), 7n), store(area(0), 9n), load(area(0), 9n)])
      const counters = end()
      // The second writer is alone with the old page in 4.6; in 6.x the first still has its other parts.
      expect([counters.thpSplitPmd, counters.thpFaultAlloc, counters.cowCopies]).toEqual(is46 ? [0, 2, 1] : [2, 1, 2])
    })

    test('a sole owner reuses the huge page without a flush', () => {
      const { end } = run([fork(0, 'child', [1]), wait(), store(area(0), 8n), load(area(0), 8n)], [load(area(0), 7n)])
      const counters = end()
      expect([counters.cowCopies, counters.cowReuses, counters.thpSplitPmd]).toEqual([0, 1, 0])
    })
  })
}

describe('on every shape of page tables', () => {
  const shapes: readonly GeometryName[] = ['x86-64', 'x86-64-la57', 'i386', 'i386-pae', 'granule-16k']
  for (const geometry of shapes) {
    test(`${geometry}: a huge page is mapped, cut, copied after fork and given back`, () => {
      const g = geometryOf(geometry)
      const pageBytes = 2 ** g.pageShift
      const huge = pagesPerHugePage(g)
      const part = (offset: number, pages: number) =>
        ({ area: 0, address: { hi: 0, lo: 0 }, offset: offset * pageBytes, bytes: pages * pageBytes })
      const bench = new KernelBench(
        testConfig({ geometry, memoryBytes: 256 * MIB },
          { era: 'linux-6.x', thp: 'always', pcid: geometry.startsWith('x') }),
        image([{ threads: [{ comm: 'main', cpus: [0], program: program('main',
          { ...mmap(0, 1, at(0x2000_0000)), bytes: huge * pageBytes } as Step, store(area(0), 5n), signal(0),
          munmap(part(1, 2)), fork(0, 'child', [1]), store(area(0), 6n), load(area(0), 6n), wait()) }] }],
        { children: [program('child', load(area(0), 5n))] }))
      bench.untilSignal(0)
      expect(bench.mmOf('main').rssPages).toBe(huge)
      expect(finish(bench).thpSplitPmd).toBe(1)
    })
  }
})

test('a big anonymous mapping is placed on a huge page boundary where huge pages are on (6.x, 64 bits)', () => {
  const place = (more: Partial<KernelConfig>, pages: number): number => {
    const bench = benchOf('linux-6.x', [mmap(1, 1), mmap(0, pages), signal(0), compute(10)], more)
    bench.untilSignal(0)
    return bench.simulation.platform.areaStart(bench.mmOf('main'), 0) % 512
  }
  expect(place({}, 1024)).toBe(0)
  expect(place({}, 1000)).not.toBe(0)
  expect(place({ thp: 'never' }, 1024)).not.toBe(0)
})
