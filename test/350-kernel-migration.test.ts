// Pages that change their frame, by migration and by NUMA balancing: which entries are flushed how,
// who waits, what stops a page, and that data, counts and permissions survive.

import { describe, expect, test } from 'vitest'
import type { KernelConfig, KernelEra } from '../src/kernel/config.js'
import { entryPfn } from '../src/machine/entry.js'
import type { Mm } from '../src/kernel/mm/mm.js'
import { $slot, findLeaf } from '../src/kernel/mm/pgtable.js'
import { checkFrames } from '../src/inspect/check-frames.js'
import { steppedRun } from './support/checked-run.js'
import { KernelBench } from './support/kernel-bench.js'
import { TEST_COSTS, testConfig } from './support/machines.js'
import { area, compute, dontneed, fork, gupFast, image, load, migrate, mmap, mprotect, munmap, numaHint, program,
  mremap, signal, spin, store, sync, touch, wait } from './support/programs.js'
import type { ProcessSpec, Step } from './support/programs.js'
import { neighbours, shootdowns } from './support/two-cpus.js'

const ERAS: readonly KernelEra[] = ['linux-4.6', 'linux-6.x']
const FILES = [{ name: 'data', bytes: 8 * 4096 }]
const LONG = compute(1_000_000)

const process = (comm: string, cpu: number, ...steps: Step[]): ProcessSpec =>
  ({ threads: [{ comm, cpus: [cpu], program: program(comm, ...steps) }] })

/** One process on CPU 0 that runs to the flag 3. */
function alone(era: KernelEra, ...steps: Step[]): KernelBench {
  const bench = new KernelBench(testConfig({}, { era }),
    image([process('a', 0, ...steps, signal(3), LONG)], { files: FILES }))
  bench.untilSignal(3)
  return bench
}

/** The frames that map the pages of an area. */
function framesOf(bench: KernelBench, mm: Mm, index: number): number[] {
  const { k } = bench
  const start = k.platform.areaStart(mm, index)
  return Array.from({ length: k.platform.areaPages(mm, index) }, (_, i) => {
    if (findLeaf(k, mm, start + i) < 0) return 0
    const { pfn, slot } = $slot
    return entryPfn(k.mem.loadLo(pfn, slot), k.mem.loadHi(pfn, slot), k.geometry.pageShift)
  })
}

describe.each(ERAS)('migration of %s', (era) => {
  // 4.6 flushes each entry; 6.x all of them together, on every CPU as a request of its own kind.
  const page46 = ['flush(4,1)', 'QUEUE 1', 'SEND 1']
  const batch = ['flush(4,-1)', 'QUEUE 1', 'SEND 1', 'flush(2,-1)']

  test('every page has another frame with the same data, and the old ones are free', () => {
    const bench = alone(era, mmap(0, 3), store(area(0), 5n), store(area(0, 2), 7n), touch(area(0), 'write'), signal(0),
      compute(100), migrate(area(0)), signal(1), load(area(0), 5n), load(area(0, 2), 7n), touch(area(0), 'write'))
    const { frames, failures, counters } = bench.k
    const mm = bench.mmOf('a')
    expect([failures, counters.pgmigrate_success, counters.pgmigrate_fail, mm.rssPages]).toEqual([[], 3, 0, 3])
    for (const pfn of framesOf(bench, mm, 0)) expect([frames.refcount[pfn], frames.mapcount[pfn]]).toEqual([1, 1])
    expect([bench.k.migration.entries.size, bench.k.migration.isolated.size, bench.k.pageLocks.size]).toEqual([0, 0, 0])
  })

  test('pages are flushed once, where another CPU may have them; putting entries back needs none', () => {
    const expected = era === 'linux-4.6' ? [...page46, ...page46] : batch
    expect(shootdowns(era, neighbours(2), migrate(area(0)))).toEqual(expected)
  })

  test('a page keeps being written while it moves: the writer waits for it, and nothing is lost', () => {
    const bench = new KernelBench(testConfig({}, { era }), image([{ threads: [
      { comm: 'a', cpus: [0], program: program('a', mmap(0, 2), touch(area(0), 'write'), signal(0),
        ...Array.from({ length: 20 }, (_, i) => [migrate(area(0)), compute(100 + 37 * i)]).flat(), signal(1), wait()) },
      { comm: 'b', cpus: [1], program: program('b', spin(0),
        ...Array.from({ length: 60 }, (_, i) => [store(area(0), BigInt(i)), load(area(0), BigInt(i))]).flat(),
        spin(1)) },
    ] }]))
    const result = bench.finish()
    expect([bench.k.failures, result.tasks.map(task => task.outcome)]).toEqual([[], ['exited', 'exited']])
    expect(bench.k.counters.pgmigrate_success).toBe(40)
  })

  test('a page of two processes moves for both, and stays shared by copy-on-write', () => {
    const bench = new KernelBench(testConfig({}, { era }), image(
      [process('a', 0, mmap(0, 1), store(area(0), 5n), fork(0, 'child', [1]), compute(20_000), migrate(area(0)),
        signal(0), spin(1), load(area(0), 5n), wait())],
      { children: [program('child', spin(0), load(area(0), 5n), store(area(0), 6n), load(area(0), 6n), signal(1))] }))
    bench.untilSignal(0)
    const [pfn] = framesOf(bench, bench.mmOf('a'), 0)
    expect(framesOf(bench, bench.mmOf('child'), 0)).toEqual([pfn])
    expect([bench.k.frames.mapcount[pfn!], bench.k.counters.pgmigrate_success]).toEqual([2, 1])
    bench.finish()
    expect([bench.k.failures, bench.k.counters.cowCopies]).toEqual([[], 1])
  })

  test('a page of a file takes its place in the page cache along, and what is dirty stays dirty', () => {
    const bench = alone(era, mmap(0, 2, { file: 0, shared: true }), store(area(0), 5n), touch(area(0, 1), 'read'),
      migrate(area(0)), load(area(0), 5n), munmap(area(0)), sync(0), mmap(1, 2, { file: 0 }), load(area(1), 5n))
    const [file] = bench.k.pageCache.files
    expect([bench.k.failures, bench.k.counters.pgmigrate_success, bench.k.counters.fileWrites]).toEqual([[], 2, 1])
    expect([...file!.pages.values()].map(pfn => bench.k.frames.refcount[pfn])).toEqual([2, 1])
  })

  test('a page that somebody has pinned is tried ten times, then stays: EAGAIN', () => {
    const bench = new KernelBench(testConfig({ cpus: 1 }, { era }), image([process('a', 0,
      mmap(0, 2), touch(area(0), 'write'), signal(0), compute(100), { ...migrate(area(0)), expectError: 'EAGAIN' },
      signal(1), LONG)]))
    bench.untilSignal(0)
    const before = framesOf(bench, bench.mmOf('a'), 0)
    bench.k.frames.get(before[0]!)
    bench.untilSignal(1)
    const after = framesOf(bench, bench.mmOf('a'), 0)
    expect([bench.k.failures, after[0] === before[0], after[1] === before[1]]).toEqual([[], true, false])
    expect([bench.k.counters.pgmigrate_success, bench.k.counters.pgmigrate_fail]).toEqual([1, 1])
    bench.k.frames.put(0, before[0]!)
  })

  test('a pin that ends in time only delays it', () => {
    const bench = new KernelBench(testConfig({}, { era }), image([{ threads: [
      { comm: 'a', cpus: [0], program: program('a', mmap(0, 8), touch(area(0), 'write'), signal(0), compute(1500),
        migrate(area(0, 0, 1)), signal(1)) },
      { comm: 'b', cpus: [1], program: program('b', spin(0), gupFast(area(0)), spin(1)) },
    ] }]))
    bench.finish()
    expect([bench.k.counters.pgmigrate_success, bench.k.counters.pgmigrate_fail]).toEqual([1, 0])
  })

  test('what is not there, the zero page and huge pages are left out', () => {
    const bench = alone(era, mmap(0, 4), touch(area(0, 0, 2), 'read'), migrate(area(0)),
      mmap(1, 512, { huge: true }), touch(area(1, 0, 1), 'write'), migrate(area(1)))
    expect([bench.k.failures, bench.k.counters.pgmigrate_success, bench.k.counters.failedSyscalls]).toEqual([[], 0, 0])
  })

  test('mprotect and a page that moves: the entry comes back as the area is then', () => {
    const bench = alone(era, mmap(0, 2), touch(area(0), 'write'), mprotect(area(0), 1), migrate(area(0)),
      touch(area(0), 'read'), mprotect(area(0), 3), store(area(0), 4n), load(area(0), 4n))
    expect(bench.k.failures).toEqual([])
  })

  test('mremap carries migration entries elsewhere: none is forgotten, whenever it comes', () => {
    let carried = 0
    const costs = { ...TEST_COSTS, ptePerPage: 500 }
    for (let pause = 0; pause < 12_000; pause += 250) {
      const { simulation, finish } = steppedRun(testConfig({ costs }, { era }), image([{ threads: [
        { comm: 'a', cpus: [0], program: program('a', mmap(0, 4), store(area(0), 5n), touch(area(0), 'write'),
          signal(0), migrate(area(0)), signal(1)) },
        { comm: 'b', cpus: [1], program: program('b', spin(0), compute(pause),
          mremap(area(0), 4, { at: { hi: 0, lo: 0x2000_0000 } }), spin(1), touch(area(0), 'read'), load(area(0), 5n)) },
      ] }]), ({ kernel, cycle }) => {
        checkFrames(kernel, cycle)
        for (const entries of kernel.migration.entries.values()) {
          if (entries.some(({ vpn }) => vpn >= 0x2_0000 && vpn < 0x2_0004)) carried += 1
        }
      })
      expect([pause, finish(), simulation.kernel.failures]).toEqual([pause, 'finished', []])
      expect(simulation.kernel.migration.entries.size).toBe(0)
    }
    expect(carried).toBeGreaterThan(0)
  })

  test('mprotect waits for a page whose flush is under way: after it nobody can write', () => {
    const steps = (comm: string, cpu: number, ...more: Step[]) =>
      ({ comm, cpus: [cpu], program: program(comm, ...more) })
    const costs = { ...TEST_COSTS, ptePerPage: 5000 }
    const bench = new KernelBench(testConfig({ cpus: 3, costs }, { era }), image([{ threads: [
      steps('a', 0, mmap(0, 1), touch(area(0), 'write'), signal(0), compute(3000), migrate(area(0)), signal(1)),
      steps('b', 1, spin(0), touch(area(0), 'write', { count: 1_000_000 })),
      steps('c', 2, spin(0), spin(2), mprotect(area(0), 1), signal(3)),
    ] }]))
    bench.until(() => bench.k.migration.entries.size > 0)
    bench.simulation.platform.raiseFlag(2)
    bench.untilSignal(3)
    const writable: number[] = []
    bench.k.platform.mmu(1).forEachTlbEntry((entry) => {
      if (entry.writable) writable.push(entry.pfn)
    })
    expect(writable).toEqual([])
  })

  test('without memory it is ENOMEM', () => {
    const bench = new KernelBench(testConfig({ cpus: 1 }, { era }), image([process('a', 0,
      mmap(0, 2), touch(area(0), 'write'), signal(0), compute(100), { ...migrate(area(0)), expectError: 'ENOMEM' },
      signal(1), touch(area(0), 'write'), signal(2), LONG)]))
    bench.untilSignal(0)
    const { frames } = bench.k
    const taken = Array.from({ length: frames.freeFrames }, () => frames.allocate(0, 0, 4))
    bench.untilSignal(2)
    expect([bench.k.failures, bench.k.counters.pgmigrate_success]).toEqual([[], 0])
    for (const pfn of taken) frames.put(0, pfn)
  })
})

/** Two sockets: `a` on CPU 0 of the first, `b` on CPU 2 of the second. */
function twoNodes(kernel: Partial<KernelConfig>, a: Step[], b: Step[], check = true): KernelBench {
  return new KernelBench(testConfig({ cpus: 4, sockets: 2 }, kernel), image([{ threads: [
    { comm: 'a', cpus: [0], program: program('a', ...a) }, { comm: 'b', cpus: [2], program: program('b', ...b) },
  ] }], { files: FILES }), { check })
}

describe.each(ERAS)('NUMA balancing of %s', (era) => {
  test('a scan flushes what it marked once; an access of the same node makes the entry present without a flush', () => {
    const range = era === 'linux-4.6' ? ['flush(3,8)', 'flush(4,8)', 'QUEUE 1', 'SEND 1']
      : ['flush(4,8)', 'QUEUE 1', 'SEND 1', 'flush(3,8)']
    expect(shootdowns(era, neighbours(8), numaHint(area(0)))).toEqual(range)
    const faults = shootdowns(era, neighbours(2), numaHint(area(0)), touch(area(0), 'read'))
    expect(faults.filter(line => line.startsWith('fault'))).toEqual(['fault 0x4', 'fault 0x4'])
    const bench = alone(era, mmap(0, 4), store(area(0), 5n), touch(area(0), 'write'), numaHint(area(0)), signal(0),
      load(area(0), 5n), touch(area(0), 'write'))
    const { counters, failures } = bench.k
    expect([failures, counters.numa_pte_updates, counters.numa_hint_faults, counters.numa_pages_migrated])
      .toEqual([[], 4, 4, 0])
    // Writable again at once: 4.6 kept RW in the marker, in 6.x the pages are this mm's alone.
    expect(counters.cowReuses).toBe(0)
  })

  test('entries that are marked already, the zero page and empty ones are not touched', () => {
    const bench = alone(era, mmap(0, 8), touch(area(0, 0, 2), 'write'), touch(area(0, 2, 2), 'read'),
      numaHint(area(0)), numaHint(area(0)))
    expect(bench.k.counters.numa_pte_updates).toBe(2)
  })

  test('an access from another node takes the page there', () => {
    const bench = twoNodes({ era }, [mmap(0, 2), store(area(0), 5n), touch(area(0), 'write'), signal(0),
      numaHint(area(0)), signal(1), LONG], [spin(0), spin(1), load(area(0), 5n), store(area(0), 6n), signal(2), LONG])
    bench.untilSignal(1)
    const [before, other] = framesOf(bench, bench.mmOf('a'), 0)
    bench.mark()
    bench.untilSignal(2)
    const [after, same] = framesOf(bench, bench.mmOf('a'), 0)
    const { k } = bench
    expect([k.failures, k.counters.numa_pages_migrated, after === before, same === other]).toEqual([[], 1, false, true])
    expect([k.frames.home[after!], k.frames.home[other!]]).toEqual([2, 0])
    // 4.6 makes the entry present first, so its migration must flush; 6.x moves a page that no TLB has.
    const requests = bench.eventsSinceMark().filter(event => event.name === 'flush_begin')
    expect(requests.length).toBe(era === 'linux-4.6' ? 1 : 0)
  })

  test('a page that cannot move becomes present where it is', () => {
    const bench = twoNodes({ era }, [mmap(0, 1), store(area(0), 5n), signal(0), numaHint(area(0)), signal(1), LONG],
      [spin(0), spin(1), load(area(0), 5n), signal(2), LONG], false)
    bench.untilSignal(1)
    const [pfn] = framesOf(bench, bench.mmOf('a'), 0)
    bench.k.frames.get(pfn!)
    bench.untilSignal(2)
    expect([bench.k.failures, framesOf(bench, bench.mmOf('a'), 0)]).toEqual([[], [pfn]])
    expect(bench.k.counters.numa_pages_migrated).toBe(0)
    bench.k.frames.put(0, pfn!)
  })

  test('markers and everything else that is done to memory', () => {
    const bench = alone(era, mmap(0, 8), touch(area(0), 'write'), store(area(0, 1), 9n), numaHint(area(0)),
      dontneed(area(0, 4, 2)), mprotect(area(0, 6, 2), 0), mprotect(area(0, 6, 2), 3), migrate(area(0, 0, 2)),
      load(area(0, 1), 9n), touch(area(0), 'write'), numaHint(area(0)), munmap(area(0)))
    expect([bench.k.failures, bench.mmOf('a').rssPages, bench.k.counters.sigsegv]).toEqual([[], 0, 0])
  })
})
