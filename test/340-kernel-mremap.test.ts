// mremap: shrinking, growing, moving; who is flushed and how far, while which locks are held; errors.

import { describe, expect, test } from 'vitest'
import type { KernelEra } from '../src/kernel/config.js'
import type { ErrnoName, Instruction } from '../src/kernel/abi.js'
import { unpackFlags } from '../src/trace/flags.js'
import { KernelBench } from './support/kernel-bench.js'
import { testConfig } from './support/machines.js'
import { area, compute, image, load, mmap, mprotect, mremap, munmap, program, signal, spin, store, touch,
} from './support/programs.js'
import type { Step } from './support/programs.js'
import { onCpu } from './support/sequence.js'
import { neighbours, SETTLE, shootdowns, twoCpus } from './support/two-cpus.js'

const ERAS: readonly KernelEra[] = ['linux-4.6', 'linux-6.x']
const MIB = 2 ** 20
const at = (lo: number): { at: { hi: number; lo: number }; fixed: true } => ({ at: { hi: 0, lo }, fixed: true })
const to = (lo: number): { at: { hi: number; lo: number } } => ({ at: { hi: 0, lo } })
const fails = (step: Instruction, expectError: ErrnoName): Step => ({ ...step, expectError })

/** One process with one thread on CPU 0; runs to the end. */
function alone(era: KernelEra, ...steps: Step[]): KernelBench {
  const bench = new KernelBench(testConfig({}, { era }), image([
    { threads: [{ comm: 'a', cpus: [0], program: program('a', ...steps, signal(3), compute(100)) }] }],
  { files: [{ name: 'data', bytes: 8 * 4096 }] }))
  bench.untilSignal(3)
  return bench
}

/** Areas of a task as [first address, pages]. */
const areas = (bench: KernelBench): [number, number][] =>
  bench.mmOf('a').vmas.areas.map(vma => [vma.vmStart * 4096, vma.vmEnd - vma.vmStart])

const round = (pages: number): string[] => [`flush(4,${pages})`, 'QUEUE 1', 'SEND 1', `flush(3,${pages})`]
const round46 = (pages: number): string[] => [`flush(3,${pages})`, `flush(4,${pages})`, 'QUEUE 1', 'SEND 1']

describe.each(ERAS)('mremap of %s', (era) => {
  const flushed = era === 'linux-4.6' ? round46 : round

  test('to the same length does nothing; a shorter length unmaps the tail with one flush', () => {
    expect(shootdowns(era, neighbours(8), mremap(area(0), 8))).toEqual([])
    expect(shootdowns(era, neighbours(8), mremap(area(0), 5))).toEqual(flushed(3))
    const bench = alone(era, mmap(0, 8, at(0x1000_0000)), touch(area(0), 'write'), mremap(area(0), 5),
      touch(area(0), 'write'))
    expect([areas(bench), bench.mmOf('a').rssPages]).toEqual([[[0x1000_0000, 5]], 5])
  })

  test('a longer length grows the area where it is when the next pages are free', () => {
    const bench = alone(era, mmap(0, 4, at(0x1000_0000)), store(area(0), 7n), mremap(area(0), 9), load(area(0), 7n),
      touch(area(0), 'write'))
    expect([areas(bench), bench.mmOf('a').rssPages, bench.k.counters.mremapMoves]).toEqual([[[0x1000_0000, 9]], 9, 0])
  })

  test('else it moves, data and all, and the name follows', () => {
    const bench = alone(era, mmap(0, 4, at(0x1000_0000)), mmap(1, 1, { ...at(0x1000_4000), prot: 1 }),
      store(area(0, 3), 7n),
      fails(mremap(area(0), 9, { mayMove: false }), 'ENOMEM'), mremap(area(0), 9), load(area(0, 3), 7n),
      touch(area(0), 'write'))
    const [first, second] = areas(bench)
    expect([first, second![1]]).toEqual([[0x1000_4000, 1], 9])
    expect([bench.k.failures, bench.mmOf('a').rssPages, bench.k.counters.mremapMoves]).toEqual([[], 9, 1])
  })

  test('a move flushes the old place once, with both table locks held', () => {
    const bench = new KernelBench(testConfig({}, { era }), twoCpus(
      [...neighbours(8), mmap(3, 1, at(0x3000_0000)), touch(area(3), 'write')],
      [signal(2), mremap(area(0), 8, to(0x3000_1000)), signal(3)], 'running'))
    bench.untilSignal(2)
    bench.mark()
    bench.untilSignal(3)
    expect(onCpu(bench.sinceMark(), 0)).toEqual(flushed(8))
    const depths = bench.eventsSinceMark().filter(event => event.name === 'tlb_flush' && event.cpu === 0)
      .map(event => unpackFlags(event.flags).preemptDepth)
    // Two locks and the flush; the local part of 6.x runs inside the call.
    expect(depths).toEqual(era === 'linux-4.6' ? [3, 3] : [3, 4])
  })

  test('MREMAP_FIXED unmaps what is at the destination first: two rounds (G10)', () => {
    expect(shootdowns(era, [
      ...neighbours(8), mmap(3, 10, at(0x3000_0000)), touch(area(3), 'write'),
    ], mremap(area(0), 8, to(0x3000_1000)))).toEqual([...flushed(8), ...flushed(8)])
  })

  test('an empty area moves without a flush', () => {
    expect(shootdowns(era, [
      ...neighbours(8), mmap(3, 4, at(0x1000_f000)), mmap(4, 1, at(0x3000_0000)), touch(area(4), 'write'),
    ], mremap(area(3), 4, to(0x3000_1000)))).toEqual([])
  })

  test('a page without permissions is still in the table, and is flushed', () => {
    expect(shootdowns(era, [...neighbours(2), mmap(3, 1, at(0x3000_0000)), touch(area(3), 'write')],
      mprotect(area(0), 0), mremap(area(0), 2, to(0x3000_1000)))).toEqual([...flushed(2), ...flushed(2)])
  })

  test('more than 64 pages', () => {
    const sequence = shootdowns(era, [...neighbours(100), mmap(3, 1, at(0x3000_0000)), touch(area(3), 'write')],
      mremap(area(0), 100, to(0x3000_1000)))
    // 4.6 moves in steps of 64 pages, 6.x table by table; both are above the ceiling at first.
    expect(sequence).toEqual(era === 'linux-4.6' ? [...round46(-1), ...round46(-1)] : round(-1))
  })

  test('what lies in a table of its own', () => {
    const bench = alone(era, mmap(0, 512, at(0x1000_0000)), store(area(0, 511), 9n), store(area(0, 3), 8n),
      mremap(area(0), 512, to(0x2000_0000)), load(area(0, 511), 9n), load(area(0, 3), 8n))
    expect(bench.k.failures).toEqual([])
    expect(areas(bench)).toEqual([[0x2000_0000, 512]])
    expect([bench.mmOf('a').tablePages, bench.k.counters.pageTablesMoved]).toEqual([4, era === 'linux-6.x' ? 1 : 0])
    const sequence = shootdowns(era, [mmap(0, 512, at(0x1000_0000)), touch(area(0), 'write')],
      mremap(area(0), 512, to(0x2000_0000)))
    // 4.6 empties the table in steps, and frees it.
    const steps46 = [...Array.from({ length: 8 }, () => round46(-1)).flat(), ...round46(1)]
    expect(sequence).toEqual(era === 'linux-4.6' ? steps46 : round(-1))
  })

  test('a part moves out of the middle, and the area is two', () => {
    const bench = alone(era, mmap(0, 8, at(0x1000_0000)), touch(area(0), 'write'), store(area(0, 3), 5n),
      mremap(area(0, 2, 3), 3, { ...to(0x3000_0000), area: 1 }), load(area(1, 1), 5n), touch(area(0, 0, 2), 'read'))
    expect(areas(bench)).toEqual([[0x1000_0000, 2], [0x1000_5000, 3], [0x3000_0000, 3]])
    expect(bench.mmOf('a').rssPages).toBe(8)
  })

  test('a shared page of a file is moved, not copied; the file keeps its offset', () => {
    const bench = alone(era, mmap(0, 4, { ...at(0x1000_0000), file: 0, shared: true, fileOffset: 8192 }),
      store(area(0, 1), 6n), mremap(area(0, 1, 3), 5, to(0x3000_0000)), load(area(0), 6n), munmap(area(0)),
      mmap(1, 8, { file: 0, shared: true }), load(area(1, 3), 6n))
    expect(bench.k.failures).toEqual([])
    // Beyond the end of the file nothing was mapped: the area of five pages is one of the file's last.
    expect([bench.k.counters.fileReads, bench.k.counters.sigbus]).toEqual([1, 0])
  })

  test('without memory for the new tables it fails and leaves everything as it was', () => {
    const bench = new KernelBench(testConfig({ cpus: 1 }, { era }), image([{ threads: [{ comm: 'a', program: program(
      'a', mmap(0, 4, at(0x1ff_f000)), touch(area(0), 'write'), store(area(0, 3), 5n), signal(0), compute(5000),
      fails(mremap(area(0), 4, to(0x3fff_f000)), 'ENOMEM'), load(area(0, 3), 5n), signal(1), compute(100)) }] }]))
    bench.untilSignal(0)
    // 6.x moves the first table whole, 4.6 makes another; both want two more behind the border of 1 GiB.
    const taken = Array.from({ length: bench.k.frames.freeFrames - 1 }, () => bench.k.frames.allocate(0, 0, 4))
    bench.untilSignal(1)
    expect([bench.k.failures, areas(bench), bench.mmOf('a').rssPages]).toEqual([[], [[0x1ff_f000, 4]], 4])
    for (const pfn of taken) bench.k.frames.put(0, pfn)
    bench.finish()
  })

  test('errors', () => {
    const bench = alone(era, mmap(0, 8, at(0x1000_0000)), mmap(1, 8, { ...at(0x1000_8000), prot: 1 }),
      touch(area(0), 'write'),
      fails(mremap(area(0), 8, to(0x1000_4000)), 'EINVAL'),
      fails(mremap(area(0), 8, to(0x1000_4100)), 'EINVAL'),
      fails(mremap(area(0), 8, { ...to(0x3000_0000), mayMove: false }), 'EINVAL'),
      fails(mremap(area(5), 8), 'EFAULT'),
      fails(mremap({ area: -1, address: { hi: 0, lo: 0x5000_0000 }, offset: 0, bytes: 4096 }, 3), 'EFAULT'),
      fails(mremap(area(0, 4, 8), 16), 'EFAULT'),
      fails(mremap(area(0), 2 ** 24), 'ENOMEM'),
      fails(mremap(area(0), 8, to(0x1000)), 'EPERM'),
      mmap(2, 4, { device: true }), fails(mremap(area(2), 8), 'EFAULT'), mremap(area(2), 4, to(0x3000_0000)),
      touch(area(2), 'read'))
    expect(bench.k.failures).toEqual([])
  })

  test('what 4.6 finds out too late: the destination is gone although the move fails', () => {
    const bench = alone(era, mmap(0, 4, at(0x1000_0000)), mmap(1, 4, at(0x3000_0000)),
      fails(mremap(area(0, 2, 4), 8, to(0x3000_0000)), 'EFAULT'))
    expect(areas(bench).length).toBe(era === 'linux-4.6' ? 1 : 2)
  })

  test('a move over several areas, with the gap between them', () => {
    const over = mremap(area(0, 0, 5), 5, to(0x3000_0000))
    const bench = alone(era, mmap(0, 2, at(0x1000_0000)), mmap(1, 2, { ...at(0x1000_3000), prot: 1 }),
      store(area(0), 4n), era === 'linux-4.6' ? fails(over, 'EFAULT') : over)
    expect(bench.k.failures).toEqual([])
    expect(areas(bench)).toEqual(era === 'linux-4.6' ? [[0x1000_0000, 2], [0x1000_3000, 2]]
      : [[0x3000_0000, 2], [0x3000_3000, 2]])
  })

  test('huge pages', () => {
    const huge = { ...at(0x4000_0000), huge: true }
    const bench = alone(era, mmap(0, 1024, huge), store(area(0, 512), 3n),
      fails(mremap(area(0), 1536), 'EINVAL'), mremap(area(0), 1024))
    expect([bench.k.failures, areas(bench)]).toEqual([[], [[0x4000_0000, 1024]]])
    const moves = mremap(area(0), 1024, to(0x5000_0000))
    if (era === 'linux-4.6') {
      alone(era, mmap(0, 1024, huge), fails(moves, 'EINVAL'))
      return
    }
    const sequence = shootdowns(era, [mmap(0, 1024, huge), touch(area(0), 'write', { stride: 2 * MIB })], moves)
    // Entry by entry, one flush of two huge pages at the end; then the table of the old place goes.
    expect(sequence).toEqual(round(1024).map(text => text.replace('3,1024', '3,2')))
    const moved = alone(era, mmap(0, 1024, huge), store(area(0, 512), 3n), moves, load(area(0, 512), 3n))
    expect([moved.k.failures, areas(moved)]).toEqual([[], [[0x5000_0000, 1024]]])
  })
})

test('6.x starts a move at the boundary of a table when nothing lies below on both sides', () => {
  const move = (...more: Step[]): number => alone('linux-6.x',
    mmap(0, 1000, at(0x1000_5000)), touch(area(0, 0, 600), 'write'), ...more,
    mremap(area(0), 1000, to(0x2000_5000))).k.counters.pageTablesMoved
  expect(move()).toBe(1)
  expect(move(mmap(1, 1, at(0x2000_0000)))).toBe(0)
})

describe.each(['i386', 'i386-pae', 'x86-64-la57', 'granule-16k'] as const)('on %s', (geometry) => {
  test('moved pages keep their data, and every table comes back', () => {
    const page = geometry === 'granule-16k' ? 2 ** 14 : 4096
    const spot = (pages: number) => ({ area: 0, address: { hi: 0, lo: 0 }, offset: pages * page, bytes: 0 })
    const bench = new KernelBench(
      testConfig({ geometry, memoryBytes: 128 * MIB }, { pcid: geometry === 'x86-64-la57' }),
      image([{ threads: [{ comm: 'a', cpus: [0], program: program('a',
        mmap(0, 1, { ...at(0x1000_0000), bytes: 5000 * page }), signal(2), store(spot(1), 4n), store(spot(4500), 6n),
        mremap(area(0), 1, { ...to(0x2000_0000), bytes: 5000 * page }), load(spot(1), 4n), load(spot(4500), 6n),
        mremap(area(0), 1, { ...to(0x4000_5000 - (0x4000_5000 % page)), bytes: 5000 * page }),
        load(spot(1), 4n), load(spot(4500), 6n), munmap(area(0)), signal(3), compute(100)) }] }]))
    bench.untilSignal(2)
    const tables = bench.mmOf('a').tablePages
    bench.untilSignal(3)
    expect([bench.k.failures, bench.mmOf('a').tablePages, bench.mmOf('a').rssPages]).toEqual([[], tables, 0])
    expect(bench.k.counters.pageTablesMoved).toBeGreaterThan(0)
  })
})

test('threads that use the old place get SIGSEGV when it is gone', () => {
  const bench = new KernelBench(testConfig(), image([{ threads: [
    { comm: 'main', cpus: [0], program: program('main', mmap(0, 4, at(0x1000_0000)), touch(area(0), 'write'),
      signal(0), SETTLE, mremap(area(0), 4, { ...to(0x3000_0000), area: 1 }), spin(1)) },
    { comm: 'other', cpus: [1], program: program('other', spin(0), touch(area(0), 'read', { count: 200_000 })) },
  ] }]))
  bench.finish()
  expect(bench.k.tasks.map(task => task.outcome)).toEqual(['SIGSEGV', 'SIGSEGV'])
})
