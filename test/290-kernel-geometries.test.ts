// The same stories on every shape of page tables: which tables are made and given back, who is
// told, and that parent and child of a fork keep apart.

import { describe, expect, test } from 'vitest'
import type { MmapInstruction, ProgramImage } from '../src/kernel/abi.js'
import type { KernelEra } from '../src/kernel/config.js'
import { pagesPerHugePage } from '../src/kernel/mm/pgtable.js'
import { geometryOf } from '../src/machine/geometry.js'
import type { GeometryName } from '../src/machine/config.js'
import { KernelBench } from './support/kernel-bench.js'
import { testConfig } from './support/machines.js'
import { area, compute, fork, image, load, mmap, munmap, program, signal, sleep, spin, store, touch,
  wait } from './support/programs.js'
import type { Step } from './support/programs.js'
import { onCpu } from './support/sequence.js'
import { SETTLE } from './support/two-cpus.js'

interface Shape {
  geometry: GeometryName
  eras: readonly KernelEra[]
  /** Tables of a mm with one page at 0x1000_0000, the root included. */
  tables: number
  /** Of those, what stays when that page is unmapped. */
  stays: number
}

const BOTH: readonly KernelEra[] = ['linux-4.6', 'linux-6.x']
const SHAPES: readonly Shape[] = [
  { geometry: 'x86-64', eras: BOTH, tables: 4, stays: 1 },
  { geometry: 'x86-64-la57', eras: ['linux-6.x'], tables: 5, stays: 1 },
  { geometry: 'i386', eras: BOTH, tables: 2, stays: 1 },
  // The three pmd tables of the user half are there from the start.
  { geometry: 'i386-pae', eras: BOTH, tables: 5, stays: 4 },
  { geometry: 'granule-16k', eras: BOTH, tables: 3, stays: 1 },
]
const CASES = SHAPES.flatMap(shape => shape.eras.map(era => ({ ...shape, era, name: `${shape.geometry}, ${era}` })))

function benchOf({ geometry, era }: { geometry: GeometryName; era: KernelEra }, programs: ProgramImage): KernelBench {
  const is64 = geometry.startsWith('x86-64')
  return new KernelBench(
    testConfig({ cpus: 3, geometry, memoryBytes: 128 * 2 ** 20 }, { era, pcid: is64 && era === 'linux-6.x' }), programs)
}

describe.each(CASES)('$name', ({ geometry, era, tables, stays }) => {
  const g = geometryOf(geometry)
  const page = 2 ** g.pageShift
  const huge = pagesPerHugePage(g)
  const AT = { at: { hi: 0, lo: 0x1000_0000 }, fixed: true }
  /** Lengths in pages of this geometry. */
  const map = (index: number, pages: number, lo: number, more: Partial<MmapInstruction> = {}): Step =>
    mmap(index, 1, { at: { hi: 0, lo }, fixed: true, bytes: pages * page, ...more })
  const part = (index: number, from: number, pages: number) =>
    ({ area: index, address: { hi: 0, lo: 0 }, offset: from * page, bytes: pages * page })
  const every = { stride: page }
  const is46 = era === 'linux-4.6'

  test('tables are made on demand and given back with the last area in their region', () => {
    const bench = benchOf({ geometry, era }, image([{ threads: [{ comm: 'a', program: program('a',
      mmap(0, 1, AT), touch(area(0), 'write'), signal(0), munmap(area(0)), signal(1), compute(100)) }] }]))
    bench.untilSignal(0)
    const mm = bench.mmOf('a')
    expect([mm.tablePages, mm.rssPages]).toEqual([tables, 1])
    bench.untilSignal(1)
    expect([mm.tablePages, mm.rssPages]).toEqual([stays, 0])
  })

  test('a shootdown of three pages, of a table that a lazy CPU may walk, and of everything by fork', () => {
    const bench = benchOf({ geometry, era }, image([{ threads: [
      { comm: 'main', cpus: [0], program: program('main',
        map(0, 8, 0x1000_0000), touch(area(0), 'write', every), signal(0), SETTLE,
        signal(2), munmap(part(0, 2, 3)), signal(3),
        SETTLE, munmap(area(0)), signal(4),
        map(1, 2, 0x1000_0000), touch(area(1), 'write', every), fork(0, 'child', [2]), signal(5), compute(100_000)) },
      { comm: 'other', cpus: [1], program: program('other',
        spin(0), touch(area(0), 'read', every), spin(3), sleep(0)) },
    ] }], { children: [program('child', load(area(1)))], flags: 6 }))
    bench.untilSignal(2)
    bench.mark()
    bench.untilSignal(3)
    const round = ['flush(4,3)', 'QUEUE 1', 'SEND 1']
    expect(onCpu(bench.sinceMark(), 0)).toEqual(is46 ? ['flush(3,3)', ...round] : [...round, 'flush(3,3)'])
    expect(onCpu(bench.sinceMark(), 1)).toEqual(['IRQ+', 'flush(1,3)', 'IRQ-'])
    bench.mark()
    bench.untilSignal(4)
    const sent = bench.sinceMark().filter(line => line.startsWith('0: SEND'))
    expect(sent).toEqual(['0: SEND 1'])
    bench.mark()
    bench.untilSignal(5)
    expect(onCpu(bench.sinceMark(), 0).filter(text => text.startsWith('flush(3'))).toEqual(['flush(3,-1)'])
  })

  test('a huge page takes no page table, is copied whole on write, and goes in one step', () => {
    const steps: Step[] = [
      map(0, huge, 0x2000_0000, { huge: true }), store(area(0), 1n), signal(0), fork(0, 'child', [1]), compute(5000),
      store(area(0), 2n), signal(1), wait(), load(area(0), 2n), munmap(area(0)), signal(2), compute(100)]
    const bench = benchOf({ geometry, era }, image(
      [{ threads: [{ comm: 'a', cpus: [0], program: program('a', ...steps) }] }],
      { children: [program('child', load(area(0), 1n), sleep(100_000_000), load(area(0), 1n))] }))
    bench.untilSignal(0)
    const mm = bench.mmOf('a')
    expect([mm.tablePages, mm.rssPages]).toEqual([Math.max(tables - 1, stays), huge])
    bench.untilSignal(1)
    expect(bench.k.counters.cowCopies).toBe(1)
    bench.untilSignal(2)
    expect([mm.tablePages, mm.rssPages]).toEqual([stays, 0])
    expect(bench.k.failures).toEqual([])
  })

  test('exit gives back every table but the borrowed root', () => {
    const bench = benchOf({ geometry, era }, image([{ threads: [{ comm: 'a', program: program('a',
      ...[0, 1, 2].map(i => map(i, 3, 0x1000_0000 + i * 0x3000_0000)),
      ...[0, 1, 2].map(i => touch(area(i), 'write', every))) }] }]))
    const free = bench.k.frames.freeFrames
    bench.finish()
    expect(bench.k.frames.freeFrames).toBe(free)
  })
})

describe('five levels', () => {
  // Beyond 2^47, where only a hint or a fixed address leads.
  const far = { hi: 0x0080_0000, lo: 0x1000_0000 }

  const bench5 = (...steps: Step[]): KernelBench => benchOf({ geometry: 'x86-64-la57', era: 'linux-6.x' },
    image([{ threads: [{ comm: 'a', program: program('a', ...steps, compute(100)) }] }]))

  test('a mapping beyond 2^47 has a path of its own below the root, and takes it along', () => {
    const bench = bench5(mmap(0, 1), touch(area(0), 'write'), signal(0),
      mmap(1, 4, { at: far, fixed: true }), touch(area(1), 'write'), signal(1), munmap(area(1)), signal(2))
    const mm = bench.mmOf('a')
    const tables = [0, 1, 2].map(flag => {
      bench.untilSignal(flag)
      return mm.tablePages
    })
    expect(tables).toEqual([5, 9, 5])
  })

  test('the kernel picks addresses below 2^47 unless the hint is above it', () => {
    const bench = bench5(mmap(0, 1), mmap(1, 1, { at: far }), signal(0))
    bench.untilSignal(0)
    const [low, high] = bench.mmOf('a').vmas.areas
    expect(low!.vmStart).toBeLessThan(2 ** 35)
    expect(high!.vmStart).toBe(far.hi * 2 ** 20 + 0x10000)
  })
})
