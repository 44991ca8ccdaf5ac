// Dumps of small stopped runs: what a reader sees, in every geometry, and that looking changes
// nothing.

import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { simulateHere } from '../src/engine/simulate.js'
import type { Simulation } from '../src/engine/simulation.js'
import { dumpAll, dumpAllTables, dumpCpus, dumpRanges, dumpTables, dumpTasks, dumpTlbs } from '../src/inspect/dump.js'
import { PROT_READ } from '../src/kernel/abi.js'
import { pageTableLock } from '../src/kernel/mm/zap.js'
import { peekWalk } from '../src/machine/mmu.js'
import { testConfig } from './support/machines.js'
import { area, compute, fork, image, mmap, mprotect, munmap, program, signal, sleep, spin, touch, u64,
} from './support/programs.js'
import type { Step } from './support/programs.js'

const AT = 0x00b1_7000n
const LATE = 1_000_000
const LONG = compute(10 * LATE)

/** The seed's example: pages at 0xb17000, by a task called reader. */
const SEED_PAGES: Step[] = [mmap(0, 2, { at: u64(AT), fixed: true }), touch(area(0), 'write')]

async function stop(steps: Step[], config = testConfig({ cpus: 1 }), at = LATE): Promise<Simulation> {
  const { simulation } = await simulateHere(config, image([{ threads: [
    { comm: 'reader', program: program('reader', ...steps, LONG) },
  ] }]), { untilCycle: at, check: true })
  return simulation
}

const mmOf = ({ kernel }: Simulation): NonNullable<Simulation['kernel']['tasks'][number]['mm']> => kernel.tasks[0]!.mm!

describe('page tables', () => {
  test('print as a tree with one line an entry, folded names passed over', async () => {
    const simulation = await stop(SEED_PAGES)
    expect(dumpTables(simulation.kernel, mmOf(simulation))).toMatchInlineSnapshot(`
      "mm 2 "reader"  cr3 pfn 0x00106  pcid 2  4 levels
      pgd[  0] pfn 0x00107  P W U A D
      . pud[  0] pfn 0x00108  P W U A D
      . . pmd[  5] pfn 0x00109  P W U A D
      . . . pte[279] pfn 0x0010a  P W U A D NX   va 0x0000000000b17000
      . . . pte[280] pfn 0x0010b  P W U A D NX   va 0x0000000000b18000
      pgd[273..511] the kernel half, as in init_mm
      "
    `)
  })

  test('print as ranges of equal neighbours', async () => {
    const simulation = await stop([
      mmap(0, 8, { at: u64(AT), fixed: true }), touch(area(0), 'write'), mprotect(area(0, 3, 2), PROT_READ),
      mmap(1, 512, { at: u64(0x4000_0000n), fixed: true, huge: true }), touch(area(1), 'write'),
    ])
    expect(dumpRanges(simulation.kernel, mmOf(simulation))).toMatchInlineSnapshot(`
      "0x0000000000b17000-0x0000000000b1a000   12K  pte  W U A D NX
      0x0000000000b1a000-0x0000000000b1c000    8K  pte  U A saved-dirty NX
      0x0000000000b1c000-0x0000000000b1f000   12K  pte  W U A D NX
      0x0000000040000000-0x0000000040200000    2M  pmd  W U A D NX
      "
    `)
  })

  test('of i386 have two levels, of PAE three', async () => {
    for (const [geometry, names] of [['i386', ['pgd', 'pte']], ['i386-pae', ['pgd', 'pmd', 'pte']]] as const) {
      const simulation = await stop(SEED_PAGES, testConfig({ cpus: 1, geometry }, { pcid: false }))
      const text = dumpTables(simulation.kernel, mmOf(simulation))
      const path = text.split('\n').filter((line) => line.includes('[')).map((line) => /([a-z0-9]+)\[/.exec(line)![1])
      expect([...new Set(path)].sort()).toEqual([...names].sort())
      expect(text).toMatch(/pte\[ *\d+\] .* va 0x0000000000b17000$/m)
    }
  })

  test('with five levels show the p4d too', async () => {
    const simulation = await stop(SEED_PAGES, testConfig({ cpus: 1, geometry: 'x86-64-la57' }))
    const text = dumpTables(simulation.kernel, mmOf(simulation))
    expect(text).toContain('5 levels')
    expect(text).toMatch(/^\. p4d\[ {2}0\]/m)
    expect(text).toMatch(/^\. \. \. \. pte\[279\]/m)
  })

  test('of the kernel have signed addresses', async () => {
    const { kernel } = await stop(SEED_PAGES)
    expect(dumpRanges(kernel, kernel.initMm)).toMatchInlineSnapshot(`
      "0xffff888000000000-0xffff888004000000   64M  pmd  W A D G NX
      0xffffffff81000000-0xffffffff81400000    4M  pmd  A G
      0xffffffff81400000-0xffffffff81800000    4M  pmd  W A D G NX
      "
    `)
  })
})

describe('TLBs', () => {
  /** Both CPUs have the first page cached. */
  async function twoReaders(): Promise<Simulation> {
    const { simulation } = await simulateHere(testConfig(), image([{ threads: [
      { comm: 'writer', cpus: [0], program: program('writer', ...SEED_PAGES, signal(0), LONG) },
      { comm: 'other', cpus: [1], program: program('other', spin(0), touch(area(0, 0, 1), 'read'), LONG) },
    ] }]), { untilCycle: LATE })
    return simulation
  }

  /** Where the entry of the first page stands. */
  function leafOf({ kernel }: Simulation): { pfn: number; slot: number; lo: number; hi: number } {
    return peekWalk(kernel.geometry, kernel.mem, kernel.tasks[0]!.mm!.pgdPfn, 0, Number(AT)).steps.at(-1)!
  }

  test('that agree with the tables are ok', async () => {
    expect(dumpTlbs((await twoReaders()).kernel)).toMatchInlineSnapshot(`
      "cpu0  cr3 pfn 0x00106  pcid 2  mm 2 "writer" "other"
        l1d   0x0000000000b18000    4K  pfn 0x0010b    W U D NX  pcid 2  mm 2  ok
        l1d   0x0000000000b17000    4K  pfn 0x0010a    W U D NX  pcid 2  mm 2  ok
        stlb  0x0000000000b18000    4K  pfn 0x0010b    W U D NX  pcid 2  mm 2  ok
        stlb  0x0000000000b17000    4K  pfn 0x0010a    W U D NX  pcid 2  mm 2  ok
        pgd   0x0000000000000000  512G  table 0x00107            pcid 2  mm 2  ok
        pud   0x0000000000000000    1G  table 0x00108            pcid 2  mm 2  ok
        pmd   0x0000000000a00000    2M  table 0x00109            pcid 2  mm 2  ok

      cpu1  cr3 pfn 0x00106  pcid 2  mm 2 "writer" "other"
        l1d   0x0000000000b17000    4K  pfn 0x0010a    W U D NX  pcid 2  mm 2  ok
        stlb  0x0000000000b17000    4K  pfn 0x0010a    W U D NX  pcid 2  mm 2  ok
        pgd   0x0000000000000000  512G  table 0x00107            pcid 2  mm 2  ok
        pud   0x0000000000000000    1G  table 0x00108            pcid 2  mm 2  ok
        pmd   0x0000000000a00000    2M  table 0x00109            pcid 2  mm 2  ok
      "
    `)
  })

  test('that permit less than the tables are narrower, which is legal', async () => {
    const simulation = await twoReaders()
    const { pfn, slot, lo, hi } = leafOf(simulation)
    simulation.kernel.mem.store(pfn, slot, lo, hi & 0x7fff_ffff)
    expect(dumpTlbs(simulation.kernel)).toMatch(/l1d +0x0000000000b17000 .* narrower$/m)
  })

  test('that differ are STALE, unless a flush is on its way: each reason by name', async () => {
    const simulation = await twoReaders()
    const { kernel } = simulation
    const { pfn, slot } = leafOf(simulation)
    const mm = mmOf(simulation)
    const verdict = (): string => /cpu1 [^]*?l1d +0x0000000000b17000 .* mm 2 {2}(.*)/.exec(dumpTlbs(kernel))![1]!
    kernel.mem.store(pfn, slot, 0, 0)
    expect(verdict()).toBe('STALE (unmapped, no flush pending)')
    mm.gathersPending += 1
    expect(verdict()).toBe('pending (unmapped; a gather is open)')
    mm.gathersPending -= 1
    // A generation alone excuses nothing on a CPU that is in the mm: nothing makes it compare.
    mm.tlbGen += 1
    expect(verdict()).toBe('STALE (unmapped, no flush pending)')
    mm.batchGen = mm.tlbGen
    expect(verdict()).toBe('pending (unmapped; generation 0 < 1)')
    mm.batchGen = 0
    mm.tlbGen -= 1
    pageTableLock(mm, pfn).acquire(kernel.cpus[0]!, true).next()
    expect(verdict()).toBe('pending (unmapped; the page-table lock is held)')
    pageTableLock(mm, pfn).release(kernel.cpus[0]!, true)
    mm.tlbGen = 0
    kernel.mms.delete(mm.ctxId)
    expect(dumpTlbs(kernel)).toContain('pending (mm 2 is gone, its slot is flushed before reuse)')
  })

  test('of a CPU that was lazy during an munmap are pending: the generation is compared on its way back', async () => {
    const { simulation } = await simulateHere(testConfig(), image([{ threads: [
      { comm: 'main', cpus: [0], program: program('main', ...SEED_PAGES,
        mmap(1, 1, { at: u64(AT + 0x2000n), fixed: true }), touch(area(1), 'write'), signal(0), compute(50_000),
        munmap(area(0)), LONG) },
      { comm: 'sleeper', cpus: [1], program: program('sleeper', spin(0), touch(area(0), 'read'), sleep(0)) },
    ] }]), { untilCycle: LATE, check: true })
    const text = dumpTlbs(simulation.kernel)
    expect(text).toMatch(/cpu1 [^]*l1d +0x0000000000b17000 .* pending \(unmapped; generation 0 < 1\)/)
    expect(text).not.toContain('STALE')
    expect(dumpCpus(simulation.kernel)).toMatch(/^cpu1 .* halted +idle +mm 2 +lazy +1:0 \[2:0\]/m)
  })
})

describe('tasks', () => {
  async function family(era: 'linux-4.6' | 'linux-6.x'): Promise<Simulation> {
    const { simulation } = await simulateHere(testConfig({}, { era }), image([
      { threads: [{ comm: 'parent', cpus: [0], program: program('parent',
        ...SEED_PAGES, fork(0, 'child', [1]), LONG) }] },
      { kernelThread: true, threads: [{ comm: 'kworker', cpus: [1], program: program('kworker', sleep(0)) }] },
    ], { children: [program('child', touch(area(0, 0, 1), 'write'), sleep(0))] }), { untilCycle: LATE, check: true })
    return simulation
  }

  test('CPUs, tasks and address spaces are rows with their counters', async () => {
    const { kernel, platform } = await family('linux-6.x')
    const clockOf = (cpu: { id: number }): number => platform.cores[cpu.id]!.clock
    expect(`${dumpCpus(kernel, clockOf)}\n${dumpTasks(kernel)}`).toMatchInlineSnapshot(`
      "cpu     cycle  mode    task      loaded  lazy  slots mm:gen
      cpu0  1000024  user    parent-1  mm 2    -     1:0 [2:1] - - - -
      cpu1     6896  halted  idle      mm 3    lazy  1:0 [3:1] - - - -

      pid  tgid  comm       state  cpu   mm  active_mm  doing
        0     0  swapper/0  R      cpu0  -   -          -
        0     0  swapper/1  R      cpu1  -   3          runs
        1     1  parent     R      cpu0  2   2          runs
        2     2  kworker    S      cpu1  -   -          sleeps, waiting for a wake-up
        3     3  child      S      cpu1  3   3          sleeps, waiting for a wake-up

      mm 1 init_mm  pgd pfn 0x00100  pcid 1  mm_users 2  mm_count 1  mm_cpumask 0  tlb_gen 0  rss 0  tables 5

      mm 2 "parent"  pgd pfn 0x00106  pcid 2  mm_users 1  mm_count 1  mm_cpumask 1  tlb_gen 1  rss 8K  tables 4
        0x0000000000b17000-0x0000000000b19000  8K  rw-p

      mm 3 "child"  pgd pfn 0x0010c  pcid 2  mm_users 1  mm_count 2  mm_cpumask 2  tlb_gen 1  rss 8K  tables 4
        0x0000000000b17000-0x0000000000b19000  8K  rw-p
      "
    `)
  })

  test('Linux 4.6 has a TLB state instead of slots', async () => {
    expect(dumpCpus((await family('linux-4.6')).kernel)).toMatchInlineSnapshot(`
      "cpu   cycle  mode    task      loaded  state
      cpu0      -  user    parent-1  mm 2    OK
      cpu1   6896  halted  idle      mm 3    LAZY
      "
    `)
  })
})

test('looking changes nothing: not memory, not a TLB, not a counter', async () => {
  const { simulation, memory } = await simulateHere(testConfig(), image([{ threads: [
    { comm: 'reader', program: program('reader', ...SEED_PAGES, touch(area(0), 'read'), LONG) },
  ] }]), { untilCycle: LATE })
  const { kernel, platform } = simulation
  const digest = (): string => createHash('sha256').update(memory)
    .update(JSON.stringify(kernel.counters))
    .update(platform.cores.map((core) => `${core.clock} ${core.mmu.rootPfn} ${core.mmu.pcid}`).join()).digest('hex')
  const before = digest()
  const first = dumpAll(kernel)
  expect(dumpAll(kernel)).toBe(first)
  expect(first).toContain(dumpAllTables(kernel))
  expect(digest()).toBe(before)
})
