// mmap, mprotect and madvise over several areas, holes and ends of the address space: what is
// changed, what is refused and what is flushed, in each era.

import { describe, expect, test } from 'vitest'
import { simulateHere } from '../src/engine/simulate.js'
import type { AreaRef, ErrnoName, Instruction } from '../src/kernel/abi.js'
import { PROT_EXEC, PROT_NONE, PROT_READ, PROT_WRITE } from '../src/kernel/abi.js'
import type { KernelEra } from '../src/kernel/config.js'
import { needsFlush } from '../src/kernel/mm/mmap.js'
import { PAGE_ACCESSED, PAGE_DIRTY, PAGE_GLOBAL, PAGE_NX_HI, PAGE_PCD, PAGE_PRESENT, PAGE_PROTNONE, PAGE_PWT, PAGE_RW,
  PAGE_USER } from '../src/machine/entry.js'
import { KernelBench } from './support/kernel-bench.js'
import { testConfig } from './support/machines.js'
import { area, compute, dontneed, fork, image, load, mmap, mprotect, munmap, program, signal, sleep, spin, store, touch,
  wait } from './support/programs.js'
import type { Step } from './support/programs.js'
import { onCpu, sequence } from './support/sequence.js'
import { BEGIN, END, twoCpus } from './support/two-cpus.js'

const PAGE = 4096
const BASE = 0x1000_0000
const RW = PROT_READ | PROT_WRITE
const ERAS: readonly KernelEra[] = ['linux-4.6', 'linux-6.x']

const at = (page: number) => ({ at: { hi: 0, lo: BASE + page * PAGE }, fixed: true })
/** Pages by number, whatever areas they belong to. */
const pages = (first: number, count: number) =>
  ({ area: -1, address: { hi: 0, lo: BASE + first * PAGE }, offset: 0, bytes: count * PAGE })
const expecting = (step: Instruction, expectError: ErrnoName): Instruction => ({ ...step, expectError })

/** What CPU 0 flushes itself during `steps`, alone in the mask. */
async function flushes(setup: Step[], steps: Step[], era: KernelEra): Promise<string[]> {
  const lines = await sequence(testConfig({ cpus: 1 }, { era }), twoCpus(setup, steps, 'none'))
  return onCpu(lines, 0)
}

interface Outcome {
  failures: string[]
  sigsegv: number
}

async function outcome(era: KernelEra, ...steps: Step[]): Promise<Outcome> {
  const { result } = await simulateHere(
    testConfig({ cpus: 1 }, { era }), image([{ threads: [{ comm: 'a', program: program('a', ...steps) }] }]),
    { check: true })
  return { failures: result.failures.map(failure => failure.text), sigsegv: result.counters.sigsegv }
}

const fine: Outcome = { failures: [], sigsegv: 0 }
/** Pages 0 to 3 and 8 to 11 are mapped and touched, 4 to 7 are a hole. */
const hole: Step[] = [mmap(0, 12, at(0)), touch(area(0), 'write'), munmap(area(0, 4, 4))]

describe('mprotect', () => {
  for (const era of ERAS) {
    test(`${era}: works up to a hole, which is ENOMEM, and leaves what lies behind it`, async () => {
      const call = expecting(mprotect(pages(2, 10), PROT_READ), 'ENOMEM')
      expect(await outcome(era, ...hole, call, store(pages(8, 1), 1n))).toEqual(fine)
      expect(await outcome(era, ...hole, call, store(pages(2, 1), 1n))).toEqual({ ...fine, sigsegv: 1 })
    })

    test(`${era}: a range that starts in a hole changes nothing`, async () => {
      expect(await outcome(era, ...hole,
        expecting(mprotect(pages(6, 4), PROT_READ), 'ENOMEM'), store(pages(8, 1), 1n))).toEqual(fine)
    })

    test(`${era}: a cut into a huge page is EINVAL after the areas below it were changed`, async () => {
      const mixed = [
        mmap(0, 4, at(508)), mmap(1, 512, { ...at(512), huge: true }), store(area(0), 1n), store(area(1), 1n)]
      const call = expecting(mprotect(pages(508, 8), PROT_READ), 'EINVAL')
      expect(await outcome(era, ...mixed, call, store(area(1), 1n))).toEqual(fine)
      expect(await outcome(era, ...mixed, call, store(area(0), 1n))).toEqual({ ...fine, sigsegv: 1 })
    })
  }

  /** Three areas side by side: read-write, read-only, read-write. */
  const three: Step[] = [mmap(0, 12, at(0)), touch(area(0), 'write'), mprotect(area(0, 4, 4), PROT_READ)]

  test('over three areas, one of them so already: 6.x flushes the changed span, 4.6 each changed area', async () => {
    const call = [mprotect(pages(1, 9), PROT_READ)]
    expect(await flushes(three, call, 'linux-6.x')).toEqual(['flush(3,9)'])
    expect(await flushes(three, call, 'linux-4.6')).toEqual(['flush(3,3)', 'flush(3,2)'])
  })

  for (const era of ERAS) {
    test(`${era}: an area that has the protection already is not looked at, copy-on-write or not`, async () => {
      const shared: Step[] = [mmap(0, 4, at(0)), touch(area(0), 'write'), fork(0, 'child'), wait()]
      const run = image([{ threads: [{ comm: 'a', program: program('a', ...shared, signal(0), mprotect(area(0), RW),
        signal(1)) }] }], { children: [program('child')] })
      const bench = new KernelBench(testConfig({ cpus: 1 }, { era }), run)
      bench.untilSignal(0)
      const { tlbGen } = bench.mmOf('a')
      bench.untilSignal(1)
      expect(bench.mmOf('a').tlbGen).toBe(tlbGen)
    })
  }

  test('6.x does not make pages writable that were shared meanwhile: the write fault decides', async () => {
    const run = async (...between: Step[]): Promise<string[]> => onCpu(await sequence(testConfig({ cpus: 1 }), image(
      [{ threads: [{ comm: 'a', program: program('a', mmap(0, 4, at(0)), touch(area(0), 'write'), ...between,
        mprotect(area(0), PROT_READ), BEGIN, mprotect(area(0), RW), store(area(0), 1n), END) }] }],
      { children: [program('child')] })), 0)
    expect(await run()).toEqual(['flush(3,4)'])
    expect(await run(fork(0, 'child'), wait())).toEqual(['fault 0x7'])
    // A write after the child is gone makes its page exclusive again; the other three stay as they are.
    expect(await run(fork(0, 'child'), wait(), store(area(0), 2n))).toEqual(['flush(3,1)'])
  })

  test('of a huge area flushes always, in huge steps, and tells lazy CPUs too in 6.x', async () => {
    const huge: Step[] = [mmap(0, 1024, { ...at(0), huge: true }), mmap(1, 1, at(-1)), touch(area(1), 'write')]
    const lines = await sequence(testConfig(), twoCpus(huge, [mprotect(area(0), PROT_READ)], 'lazy'))
    // The other thread zeroes a huge page for longer than a writer spins on readers: this one slept for mmap_lock.
    const own = onCpu(lines, 0).filter(line => line !== 'switch')
    expect(own).toEqual(['flush(4,1024)', 'QUEUE 1', 'SEND 1', 'flush(3,2)'])
    expect(await flushes(huge, [mprotect(area(0), PROT_READ)], 'linux-4.6')).toEqual(['flush(3,-1)'])
  })
})

describe('pte_flags_need_flush', () => {
  const base = PAGE_PRESENT | PAGE_USER | PAGE_ACCESSED | 0x90000

  test('an entry that no TLB could hold needs none', () => {
    expect(needsFlush(0x90000 | PAGE_PROTNONE, 0, base | PAGE_RW, 0)).toBe(false)
    expect(needsFlush(0, 0, base, 0)).toBe(false)
  })

  test('clearing P or D, another frame, and any change of RW, US, PWT, PCD, G or NX need one', () => {
    const dirty = base | PAGE_DIRTY | PAGE_RW
    expect(needsFlush(dirty, 0, dirty & ~PAGE_DIRTY, 0)).toBe(true)
    expect(needsFlush(base, 0, base & ~PAGE_PRESENT, 0)).toBe(true)
    expect(needsFlush(base, 0, base + 0x1000, 0)).toBe(true)
    expect(needsFlush(base, 0, base, 1)).toBe(true)
    for (const bit of [PAGE_RW, PAGE_USER, PAGE_PWT, PAGE_PCD, PAGE_GLOBAL]) {
      expect(needsFlush(base & ~bit, 0, base | bit, 0)).toBe(true)
      expect(needsFlush(base | bit, 0, base & ~bit, 0)).toBe(true)
    }
    expect(needsFlush(base, 0, base, PAGE_NX_HI)).toBe(true)
    expect(needsFlush(base, PAGE_NX_HI, base, 0)).toBe(true)
  })

  test('setting D, changing A and software bits are free', () => {
    expect(needsFlush(base, 0, base | PAGE_DIRTY, 0)).toBe(false)
    expect(needsFlush(base, 0, base & ~PAGE_ACCESSED, 0)).toBe(false)
    expect(needsFlush(base & ~PAGE_ACCESSED, 0, base, 0)).toBe(false)
    for (const bit of [9, 10, 11]) expect(needsFlush(base, 0, base | (1 << bit), 0)).toBe(false)
    expect(needsFlush(base, 0, base, 1 << 26)).toBe(false)
  })
})

describe('madvise DONTNEED', () => {
  for (const era of ERAS) {
    test(`${era}: over a hole drops the pages on both sides, and is ENOMEM`, async () => {
      const filled = [...hole, store(pages(3, 1), 3n), store(pages(8, 1), 8n)]
      expect(await outcome(era, ...filled, expecting(dontneed(pages(2, 8)), 'ENOMEM'),
        load(pages(3, 1), 0n), load(pages(8, 1), 0n))).toEqual(fine)
    })
  }

  test('over two areas is one flush in 6.x and two in 4.6', async () => {
    const two = [mmap(0, 8, at(0)), touch(area(0), 'write'), mprotect(area(0, 4, 4), PROT_READ)]
    expect(await flushes(two, [dontneed(pages(1, 6))], 'linux-6.x')).toEqual(['flush(3,6)'])
    expect(await flushes(two, [dontneed(pages(1, 6))], 'linux-4.6')).toEqual(['flush(3,3)', 'flush(3,3)'])
  })

  test('of huge pages: 4.6 refuses; 6.x wants an aligned start and leaves what is cut off at the end', async () => {
    const huge = [mmap(0, 1024, { ...at(0), huge: true }), store(area(0), 1n), store(area(0, 512), 2n)]
    const refused = (where: AreaRef): Step[] => [...huge, expecting(dontneed(where), 'EINVAL'), load(area(0), 1n)]
    expect(await outcome('linux-4.6', ...refused(area(0)))).toEqual(fine)
    expect(await outcome('linux-6.x', ...refused(area(0, 1)))).toEqual(fine)
    expect(await outcome('linux-6.x', ...huge, dontneed(area(0, 0, 700)), load(area(0), 0n), load(area(0, 512), 2n)))
      .toEqual(fine)
  })
})

describe('mmap', () => {
  test('below mmap_min_addr a fixed mapping is EPERM and a hint is raised to it', async () => {
    const low = { at: { hi: 0, lo: 0x3000 } }
    expect(await outcome('linux-6.x',
      expecting(mmap(0, 1, { ...low, fixed: true }), 'EPERM'),
      expecting(mmap(0, 1, { ...low, noReplace: true }), 'EPERM'),
      mmap(0, 1, low), store({ ...pages(0, 1), address: { hi: 0, lo: 0x10000 } }, 5n), load(area(0), 5n),
    )).toEqual(fine)
  })

  test('beyond the user half a fixed mapping is ENOMEM, munmap is EINVAL, mprotect is ENOMEM', async () => {
    const last = { hi: 0x7fff, lo: 0xffff_e000 }
    const beyond = { area: -1, address: last, offset: 0, bytes: 2 * PAGE }
    expect(await outcome('linux-6.x',
      expecting(mmap(0, 2, { at: last, fixed: true }), 'ENOMEM'),
      expecting(munmap(beyond), 'EINVAL'),
      expecting(mprotect(beyond, PROT_READ), 'ENOMEM'),
      mmap(0, 1, { at: last, fixed: true }), store(area(0), 1n),
    )).toEqual(fine)
  })

  test('populates with mmap_lock held for reading: another thread takes its faults meanwhile', () => {
    const bench = new KernelBench(testConfig(), image([{ threads: [
      { comm: 'main', cpus: [0], program: program('main', mmap(0, 1), signal(0), mmap(1, 500, { populate: true }),
        signal(1)) },
      { comm: 'other', cpus: [1], program: program('other', spin(0), compute(3000), store(area(0), 1n), signal(2)) },
    ] }]))
    bench.untilSignal(2)
    expect(bench.simulation.platform.isFlagRaised(1)).toBe(false)
    expect(bench.k.counters.demandZero).toBeLessThan(500)
  })

  test('populate gives writable areas pages, others the zero page, and PROT_NONE nothing', async () => {
    const run = async (prot: number): Promise<number[]> => {
      const { result } = await simulateHere(testConfig({ cpus: 1 }), image([{ threads: [{ comm: 'a',
        program: program('a', mmap(0, 8, { populate: true, prot })) }] }]))
      return [result.counters.demandZero, result.counters.zeroPageFaults]
    }
    expect(await run(RW)).toEqual([8, 0])
    expect(await run(PROT_READ)).toEqual([0, 8])
    expect(await run(PROT_EXEC)).toEqual([0, 8])
    expect(await run(PROT_NONE)).toEqual([0, 0])
  })
})

describe('munmap', () => {
  test('of nothing is fine; of the middle of an area leaves both ends', async () => {
    expect(await outcome('linux-6.x', munmap(pages(0, 4)), mmap(0, 12, at(0)), store(area(0), 1n),
      munmap(pages(4, 4)), load(area(0), 1n), store(pages(8, 1), 2n), load(pages(8, 1), 2n))).toEqual(fine)
    expect(await outcome('linux-6.x', mmap(0, 12, at(0)), munmap(pages(4, 4)), load(pages(5, 1))))
      .toEqual({ ...fine, sigsegv: 1 })
  })

  test('lets readers in while it takes entries away in 6.x, not in 4.6', () => {
    const lead = (era: KernelEra): boolean => {
      const bench = new KernelBench(testConfig({}, { era }), image([{ threads: [
        { comm: 'main', cpus: [0], program: program('main', mmap(0, 1), mmap(1, 500, { populate: true }), signal(0),
          munmap(area(1)), signal(1), sleep(10_000)) },
        { comm: 'other', cpus: [1], program: program('other', spin(0), compute(1500), store(area(0), 1n), signal(2)) },
      ] }]))
      bench.until(() => [1, 2].some(flag => bench.simulation.platform.isFlagRaised(flag)))
      return bench.simulation.platform.isFlagRaised(2)
    }
    expect([lead('linux-6.x'), lead('linux-4.6')]).toEqual([true, false])
  })
})
