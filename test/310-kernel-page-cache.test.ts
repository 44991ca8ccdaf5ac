// Files and shared memory: one page of the cache under every mapping, copies of private writes,
// dirty tracking, write-back, truncation, a driver's memory; and that every frame comes back.

import { describe, expect, test } from 'vitest'
import type { KernelEra } from '../src/kernel/config.js'
import { PROT_READ, PROT_WRITE } from '../src/kernel/abi.js'
import { dumpTasks } from '../src/inspect/dump.js'
import { KernelBench } from './support/kernel-bench.js'
import { testConfig } from './support/machines.js'
import { area, compute, dontneed, fork, image, load, mmap, mprotect, munmap, program, signal, spin, store, sync, touch,
  truncate, wait } from './support/programs.js'
import type { ProcessSpec, Step } from './support/programs.js'
import { onCpu } from './support/sequence.js'
import type { Program } from '../src/kernel/abi.js'

const PAGE = 4096
const ERAS: readonly KernelEra[] = ['linux-4.6', 'linux-6.x']
const FILES = [{ name: 'data', bytes: 8 * PAGE }, { name: 'odd', bytes: 2 * PAGE + 100 }]
const SHARED = { shared: true, file: 0 }
const PRIVATE = { file: 0 }

const thread = (comm: string, cpu: number, ...steps: Step[]): ProcessSpec['threads'][number] =>
  ({ comm, cpus: [cpu], program: program(comm, ...steps) })

function benchOf(era: KernelEra, processes: ProcessSpec[], children: Program[] = []): KernelBench {
  return new KernelBench(testConfig({}, { era }), image(processes, { files: FILES, children }))
}

/** One process with one thread on CPU 0. */
const alone = (era: KernelEra, ...steps: Step[]): KernelBench => benchOf(era, [{ threads: [thread('a', 0, ...steps)] }])

/** Runs to the end: no failed expectation, and every frame but the page cache's is back. */
function finish(bench: KernelBench, free: number): void {
  bench.finish()
  expect(bench.k.failures).toEqual([])
  expect(accounted(bench)).toBe(free)
}

/** Free frames, those of the page cache, and the root tables that lazy CPUs still borrow. */
const accounted = (bench: KernelBench): number => bench.k.frames.freeFrames + cached(bench) + bench.k.mms.size

const cached = (bench: KernelBench): number => [...bench.k.pageCache.places.values()].length

for (const era of ERAS) {
  describe(`${era}: pages of a file`, () => {
    test('a read maps the page of the cache, for everybody the same frame', () => {
      const bench = benchOf(era, [
        { threads: [thread('a', 0, mmap(0, 4, SHARED), touch(area(0), 'read'), signal(0), spin(1))] },
        { threads: [thread('b', 1, spin(0), mmap(0, 4, PRIVATE), touch(area(0), 'read'), signal(2), spin(1))] }])
      const free = accounted(bench)
      bench.untilSignal(2)
      const { frames, counters } = bench.k
      expect(counters.fileReads).toBe(4)
      expect(counters.fileFaults).toBe(8)
      for (const pfn of bench.k.pageCache.files[0]!.pages.values()) {
        expect([frames.refcount[pfn], frames.mapcount[pfn]]).toEqual([3, 2])
      }
      bench.simulation.platform.raiseFlag(1)
      finish(bench, free)
      expect(cached(bench)).toBe(4)
    })

    test('a private write copies, a shared one is seen by all', () => {
      const bench = benchOf(era, [
        { threads: [thread('a', 0, mmap(0, 4, SHARED), store(area(0), 7n), signal(0), spin(1),
          load(area(0), 7n), load(area(0, 1), 0n))] },
        { threads: [thread('b', 1, spin(0), mmap(0, 4, PRIVATE), load(area(0), 7n), store(area(0), 9n),
          load(area(0), 9n), store(area(0, 1), 5n), load(area(0, 1), 5n), signal(1))] }])
      const free = accounted(bench)
      finish(bench, free)
      // One fault that copied at once, one that broke a mapping of the cache's page.
      expect(bench.k.counters.cowCopies).toBe(2)
    })

    test('the first write to a shared page makes it writable and dirty without a flush', () => {
      const bench = alone(era, mmap(0, 2, SHARED), touch(area(0), 'read'), signal(0), touch(area(0), 'write'),
        signal(1), compute(100))
      bench.untilSignal(0)
      expect([...bench.k.pageCache.files[0]!.dirty]).toEqual([])
      bench.mark()
      bench.untilSignal(1)
      expect(bench.sinceMark()).toEqual(['0: fault 0x7', '0: fault 0x7'])
      expect(bench.k.counters.sharedWriteFaults).toBe(2)
      expect([...bench.k.pageCache.files[0]!.dirty]).toEqual([0, 1])
    })

    test('behind the end of the file is SIGBUS, in the page that holds the end it is not', () => {
      const bench = alone(era, mmap(0, 4, { file: 1, shared: true }), touch(area(0, 2, 1), 'read'), signal(0),
        touch(area(0, 3, 1), 'read'))
      bench.untilSignal(0)
      bench.finish()
      expect(bench.k.tasks.map(task => task.outcome)).toEqual(['SIGBUS'])
    })

    test('the offset counts, and MAP_POPULATE reads shared pages in without making them writable', () => {
      const bench = alone(era, mmap(0, 8, SHARED), store(area(0, 5), 55n),
        mmap(1, 2, { ...SHARED, fileOffset: 4 * PAGE, populate: true }), signal(0), load(area(1, 1), 55n), signal(1),
        touch(area(1), 'write'), signal(2), compute(100))
      bench.untilSignal(0)
      bench.mark()
      bench.untilSignal(1)
      expect(bench.sinceMark()).toEqual([])
      bench.untilSignal(2)
      // The one store, then both pages of the second mapping.
      expect(bench.sinceMark()).toEqual(['0: fault 0x7', '0: fault 0x7'])
    })

    test('huge pages of an ordinary file are refused, and a page that is dropped comes back from the cache', () => {
      const bench = alone(era, { ...mmap(0, 512, { file: 0, huge: true }), expectError: 'EINVAL' },
        mmap(1, 4, SHARED), store(area(1), 3n), dontneed(area(1)), load(area(1), 3n))
      finish(bench, accounted(bench))
      expect(bench.k.counters.fileReads).toBe(1)
    })
  })

  describe(`${era}: fork`, () => {
    test('shares what is shared without protecting it, and leaves files to be faulted in', () => {
      const child = program('child', load(area(0), 1n), store(area(0), 2n), load(area(1), 3n), store(area(1), 4n))
      const bench = benchOf(era, [{ threads: [thread('a', 0,
        mmap(0, 2, { shared: true }), mmap(1, 2, SHARED), store(area(0), 1n), store(area(1), 3n),
        fork(0, 'child', [1]), signal(0), store(area(0, 1), 8n), wait(), load(area(0), 2n), load(area(1), 4n))] }],
      [child])
      const free = accounted(bench)
      bench.untilSignal(0)
      const to = [...bench.k.mms.values()].at(-1)!
      // Only the pages that the child has touched itself by now.
      expect(to.rssPages).toBeLessThanOrEqual(2)
      finish(bench, free)
      expect(bench.k.counters.cowCopies).toBe(0)
      // Shared anonymous memory ended with its last area; the file stays.
      expect(cached(bench)).toBe(1)
    })

    test('copies the entries of a private area that was written to', () => {
      const child = program('child', load(area(0), 5n), load(area(0, 1), 0n), store(area(0), 6n))
      const bench = benchOf(era, [{ threads: [thread('a', 0,
        mmap(0, 2, PRIVATE), store(area(0), 5n), touch(area(0, 1), 'read'), fork(0, 'child', [1]), wait(),
        load(area(0), 5n))] }], [child])
      finish(bench, accounted(bench))
    })
  })

  describe(`${era}: sync`, () => {
    test('cleans each mapping with a flush of its own, and the next write faults again', () => {
      const bench = benchOf(era, [{ threads: [
        thread('a', 0, mmap(0, 2, SHARED), touch(area(0), 'write'), signal(0), spin(1), sync(0), signal(2), spin(3)),
        thread('b', 1, spin(0), touch(area(0), 'write'), signal(1), spin(2), touch(area(0), 'write'), signal(3))] }])
      const free = accounted(bench)
      bench.untilSignal(1)
      bench.mark()
      bench.untilSignal(2)
      const round = era === 'linux-6.x' ? ['flush(4,1)', 'QUEUE 1', 'SEND 1', 'flush(3,1)']
        : ['flush(4,1)', 'QUEUE 1', 'SEND 1']
      expect(onCpu(bench.sinceMark(), 0)).toEqual([...round, ...round])
      expect([...bench.k.pageCache.files[0]!.dirty]).toEqual([])
      expect(bench.k.counters.fileWrites).toBe(2)
      bench.untilSignal(3)
      expect([...bench.k.pageCache.files[0]!.dirty]).toEqual([0, 1])
      finish(bench, free)
    })

    test('finds nothing to do the second time', () => {
      const bench = alone(era, mmap(0, 2, SHARED), touch(area(0), 'write'), sync(0), signal(0), sync(0), signal(1),
        compute(100))
      bench.untilSignal(0)
      bench.mark()
      bench.untilSignal(1)
      expect(bench.sinceMark()).toEqual([])
      expect(bench.k.counters.fileWrites).toBe(2)
    })

    test('keeps what an unmapped entry knew of writes', () => {
      const bench = alone(era, mmap(0, 2, SHARED), touch(area(0), 'write'), sync(0), touch(area(0, 1, 1), 'write'),
        munmap(area(0)), sync(0))
      finish(bench, accounted(bench))
      expect(bench.k.counters.fileWrites).toBe(3)
    })
  })

  describe(`${era}: truncate`, () => {
    test('takes the pages away in every address space, private copies too, and frees them', () => {
      const bench = benchOf(era, [
        { threads: [thread('a', 0, mmap(0, 8, SHARED), touch(area(0), 'write'), spin(0), truncate(0, 3), signal(1),
          touch(area(0, 0, 3), 'read'))] },
        { threads: [thread('b', 1, mmap(0, 8, PRIVATE), touch(area(0), 'write'), signal(0), spin(1),
          touch(area(0, 0, 3), 'read'), touch(area(0, 3, 1), 'read'))] }])
      const free = accounted(bench)
      bench.untilSignal(0)
      bench.mark()
      bench.untilSignal(1)
      expect(onCpu(bench.sinceMark(), 0).filter(text => text.startsWith('flush('))).not.toEqual([])
      expect([...bench.k.mms.values()].map(mm => mm.rssPages)).toEqual([0, 3, 3])
      finish(bench, free)
      expect(bench.k.tasks.map(task => task.outcome)).toEqual(['exited', 'SIGBUS'])
      expect(cached(bench)).toBe(3)
    })

    test('what lay behind the end reads as zero when the file grows again', () => {
      const bench = alone(era, mmap(0, 8, SHARED), store(area(0, 6), 6n), store(area(0), 1n), sync(0), truncate(0, 2),
        truncate(0, 8), load(area(0, 6), 0n), load(area(0), 1n))
      finish(bench, accounted(bench))
    })
  })

  describe(`${era}: a driver's memory`, () => {
    const device = { device: true }

    test('is mapped without counts, shared with children, and goes with its last area', () => {
      const child = program('child', load(area(0), 4n), store(area(0), 5n))
      const bench = benchOf(era, [{ threads: [thread('a', 0, mmap(0, 4, device), store(area(0), 4n), signal(0),
        fork(0, 'child', [1]), wait(), load(area(0), 5n))] }], [child])
      const free = accounted(bench)
      bench.untilSignal(0)
      const [pfn] = bench.k.pageCache.files.at(-1)!.pages.values()
      expect([bench.k.frames.refcount[pfn!], bench.k.frames.mapcount[pfn!]]).toEqual([1, 0])
      expect(bench.mmOf('a').rssPages).toBe(0)
      finish(bench, free)
      expect(cached(bench)).toBe(0)
    })

    test('is flushed before its areas leave the file, apart from the rest of the munmap', () => {
      const at = (lo: number) => ({ at: { hi: 0, lo }, fixed: true })
      const bench = alone(era, mmap(0, 2, { ...device, ...at(0x1000_0000) }), touch(area(0), 'write'),
        mmap(1, 1, at(0x1000_2000)), touch(area(1), 'write'),
        signal(0), munmap(area(0)), signal(1), { ...dontneed(area(0)), expectError: 'ENOMEM' }, compute(10))
      bench.untilSignal(0)
      bench.mark()
      bench.untilSignal(1)
      expect(bench.sinceMark()).toEqual(['0: flush(3,2)'])
    })
  })
}

test('mprotect of a written shared page gives it its write permission back, of a clean one it does not', () => {
  const bench = alone('linux-6.x', mmap(0, 2, SHARED), touch(area(0, 0, 1), 'write'), touch(area(0, 1, 1), 'read'),
    mprotect(area(0), PROT_READ), mprotect(area(0), PROT_READ | PROT_WRITE), signal(0), touch(area(0), 'write'),
    signal(1), compute(100))
  bench.untilSignal(0)
  bench.mark()
  bench.untilSignal(1)
  expect(bench.sinceMark()).toEqual(['0: fault 0x7'])
})

test('areas of files show in dumps with the file and where it begins', () => {
  const bench = alone('linux-6.x', mmap(0, 2, { ...SHARED, fileOffset: 2 * PAGE }), mmap(1, 1, { shared: true }),
    mmap(2, 1, PRIVATE), signal(0), compute(100))
  bench.untilSignal(0)
  const text = dumpTasks(bench.k)
  expect(text).toMatch(/8K {2}rw-s {2}file data\+8K/)
  expect(text).toMatch(/4K {2}rw-p {2}file data\n/)
  expect(text).toMatch(/4K {2}rw-s {2}shmem 2/)
})
