// The rules by which a flush request is sent and executed, one by one: Linux 6.x decides by
// generations, Linux 4.6 by what the CPU runs. Requests that no system call makes are made here.

import { describe, expect, test } from 'vitest'
import type { ProgramImage } from '../src/kernel/abi.js'
import type { KernelEra } from '../src/kernel/config.js'
import type { KernelOp } from '../src/kernel/kernel-op.js'
import type { Mm } from '../src/kernel/mm/mm.js'
import { $slot, findLeaf } from '../src/kernel/mm/pgtable.js'
import { FLUSH_ALL } from '../src/kernel/tlb/tlb-policy.js'
import type { FlushTlbInfo } from '../src/kernel/tlb/tlb-policy.js'
import { entryPresent, entryWritable } from '../src/machine/entry.js'
import { flagCharacters } from '../src/trace/flags.js'
import { KernelBench } from './support/kernel-bench.js'
import { testConfig } from './support/machines.js'
import { area, compute, dontneed, fork, giveWay, image, mmap, munmap, program, repeat, signal, sleep, spin, store,
  touch, wait, wake } from './support/programs.js'
import type { ProcessSpec, Step } from './support/programs.js'
import { onCpu, sequence } from './support/sequence.js'
import { BEGIN, END, neighbours, SETTLE, twoCpus } from './support/two-cpus.js'

const ERAS: readonly KernelEra[] = ['linux-4.6', 'linux-6.x']
const LONG = compute(100_000)
const AT = { at: { hi: 0, lo: 0x1000_0000 }, fixed: true }
const VPN = 0x10000

/** One process with a thread on each CPU, all in user mode from cycle 60 000 on, with 8 pages at VPN. */
function together(cpus: number): ProgramImage {
  const begin = (i: number): Step[] =>
    i === 0 ? [mmap(0, 8, AT), touch(area(0), 'write'), signal(0)] : [spin(0), touch(area(0), 'read')]
  return image([{ threads: Array.from({ length: cpus }, (_, i) => (
    { comm: `t${i}`, cpus: [i], program: program('t', ...begin(i), LONG) })) }])
}

/** Two processes: `a` on CPU 0, `b` on CPU 1. */
function apart(): ProgramImage {
  return image(['a', 'b'].map((comm, cpu): ProcessSpec => (
    { threads: [{ comm, cpus: [cpu], program: program(comm, mmap(0, 8, AT), touch(area(0), 'write'), LONG) }] })))
}

function benchOf(programs: ProgramImage, cpus: number, era: KernelEra = 'linux-6.x'): KernelBench {
  const bench = new KernelBench(testConfig({ cpus }, { era, timeSliceCycles: 10_000_000 }), programs)
  const tasks = bench.k.tasks.map(task => task.comm)
  bench.untilRunning(tasks, 60_000)
  bench.mark()
  return bench
}

const onePage = (start: number) => ({ start, end: start + 1, stridePages: 1, freedTables: false, hugetlb: false })

/** A request as flush_tlb_func gets it. */
function request(bench: KernelBench, mm: Mm | undefined, more: Partial<FlushTlbInfo> = {}): FlushTlbInfo {
  return { mm, start: 0, end: FLUSH_ALL, stridePages: 1, freedTables: false, newTlbGen: 0, initiator: bench.cpu(0),
    trimCpumask: false, ...more }
}

/** Executes a request on CPU `id` at once, as if in its interrupt. */
function execute(bench: KernelBench, id: number, info: FlushTlbInfo): string[] {
  const cpu = bench.cpu(id)
  // Behind everything that is in the trace already.
  cpu.now = bench.simulation.cycle + 1
  bench.mark()
  for (const step of bench.k.policy.flushFunc(bench.k, cpu, info)) expect(step).toBeGreaterThanOrEqual(0)
  return bench.sinceMark()
}

describe('flush_tlb_func of 6.x, row by row', () => {
  test('the mm is not loaded: the bit in its mask is cleared, reason 5', () => {
    const bench = benchOf(apart(), 2)
    const b = bench.mmOf('b')
    b.mmCpumask.set(0)
    b.tlbGen += 1
    expect(execute(bench, 0, request(bench, b, { newTlbGen: 1, initiator: bench.cpu(1) }))).toEqual(['0: flush(5,0)'])
    expect(b.mmCpumask.has(0)).toBe(false)
    expect(bench.k.counters).toMatchObject({ wrongCpu: 1, nr_tlb_remote_flush_received: 1 })
  })

  test('init_mm is loaded: nothing', () => {
    const bench = benchOf(together(1), 2)
    expect(bench.cpu(1).tlb6x.loadedMm).toBe(bench.k.initMm)
    expect(execute(bench, 1, request(bench, undefined))).toEqual([])
  })

  test('lazy: the CPU leaves the mm, and its slot keeps the generation that it had', () => {
    const bench = new KernelBench(testConfig(), twoCpus(neighbours(4), [LONG], 'lazy'))
    bench.until(() => bench.simulation.cycle > 60_000)
    const mm = bench.mmOf('main')
    const { tlb6x } = bench.cpu(1)
    const asid = tlb6x.loadedMmAsid
    const { tlbGen } = tlb6x.ctxs[asid]!
    expect(tlb6x.isLazy).toBe(true)
    mm.tlbGen += 1
    expect(execute(bench, 1, request(bench, mm, { newTlbGen: mm.tlbGen })))
      .toEqual([expect.stringMatching(/^1: flush\(0,/)])
    expect([tlb6x.loadedMm, tlb6x.isLazy]).toEqual([bench.k.initMm, false])
    expect(tlb6x.ctxs[asid]).toEqual({ ctxId: mm.ctxId, tlbGen })
  })

  test('an older request than what was done already: nothing', () => {
    const bench = benchOf(together(1), 1)
    const mm = bench.mmOf('t0')
    bench.enterAll([0], (k, cpu) => k.policy.flushMmRange(k, cpu, mm, onePage(VPN)))
    expect(execute(bench, 0, request(bench, mm, { newTlbGen: mm.tlbGen }))).toEqual([])
  })

  test('a batch on a CPU that has nothing to catch up with: 0 pages, reason 1 from afar, 2 at home', () => {
    const bench = benchOf(apart(), 2)
    expect(execute(bench, 0, request(bench, undefined))).toEqual(['0: flush(2,0)'])
    expect(execute(bench, 1, request(bench, undefined))).toEqual(['1: flush(1,0)'])
    expect(bench.k.counters.uselessFlushes).toBe(2)
  })

  test('a batch on a CPU that is behind: everything', () => {
    const bench = benchOf(apart(), 2)
    const mm = bench.mmOf('b')
    mm.tlbGen += 1
    expect(execute(bench, 1, request(bench, undefined))).toEqual(['1: flush(1,-1)'])
    expect(bench.cpu(1).tlb6x.ctxs[bench.cpu(1).tlb6x.loadedMmAsid]).toEqual({ ctxId: mm.ctxId, tlbGen: mm.tlbGen })
  })

  test('a range that is exactly the next and the newest request: its pages', () => {
    const bench = benchOf(together(2), 2)
    const mm = bench.mmOf('t0')
    bench.enterAll([0], (k, cpu) => k.policy.flushMmRange(k, cpu, mm, { ...onePage(VPN), end: VPN + 8 }))
    expect(onCpu(bench.sinceMark(), 0)).toEqual(['flush(4,8)', 'QUEUE 1', 'SEND 1', 'flush(3,8)'])
    expect(onCpu(bench.sinceMark(), 1)).toEqual(['IRQ+', 'flush(1,8)', 'IRQ-'])
    expect(bench.k.counters.nr_tlb_local_flush_one).toBe(8)
  })

  test('a range behind which a request is missing: everything, lest the missing one be skipped', () => {
    const bench = benchOf(together(1), 1)
    const mm = bench.mmOf('t0')
    mm.tlbGen += 2
    const info = request(bench, mm, { start: VPN, end: VPN + 1, newTlbGen: mm.tlbGen })
    expect(execute(bench, 0, info)).toEqual(['0: flush(3,-1)'])
  })

  test('the next range, but not the newest: everything, and the newest then finds nothing to do', () => {
    const bench = benchOf(together(1), 1)
    const mm = bench.mmOf('t0')
    const { tlbGen } = mm
    mm.tlbGen += 2
    const range = { start: VPN, end: VPN + 1 }
    expect(execute(bench, 0, request(bench, mm, { ...range, newTlbGen: tlbGen + 1 }))).toEqual(['0: flush(3,-1)'])
    expect(execute(bench, 0, request(bench, mm, { ...range, newTlbGen: tlbGen + 2 }))).toEqual([])
  })
})

describe('two CPUs that ask for one page each at the same time', () => {
  const flush = (mm: Mm, bench: KernelBench): void => bench.enterAll([0, 1],
    (k, cpu): KernelOp => k.policy.flushPage(k, cpu, mm, VPN + cpu.id))

  test('6.x: everybody flushes everything once and has then seen both', () => {
    const bench = benchOf(together(3), 3)
    flush(bench.mmOf('t0'), bench)
    const executed = (cpu: number): string[] =>
      onCpu(bench.sinceMark(), cpu).filter(text => /flush\([13],/.test(text))
    expect([executed(0), executed(1), executed(2)]).toEqual([['flush(3,-1)'], ['flush(3,-1)'], ['flush(1,-1)']])
  })

  test('6.x: whose list is not empty is not interrupted again', () => {
    const bench = benchOf(together(3), 3)
    flush(bench.mmOf('t0'), bench)
    const sent = (cpu: number): string[] => onCpu(bench.sinceMark(), cpu).filter(text => /QUEUE|SEND/.test(text))
    expect(sent(0)).toEqual(['QUEUE 1', 'QUEUE 2', 'SEND mask 6'])
    // CPU 2 has the request of CPU 0 on its list already.
    expect(sent(1)).toEqual(['QUEUE 0', 'QUEUE 2', 'SEND 0'])
    expect(onCpu(bench.sinceMark(), 2).filter(text => text === 'IRQ+').length).toBe(1)
  })

  test('4.6: everybody flushes both pages, and everybody is interrupted for both', () => {
    const bench = benchOf(together(3), 3, 'linux-4.6')
    flush(bench.mmOf('t0'), bench)
    const of = (cpu: number, pattern: RegExp): string[] =>
      onCpu(bench.sinceMark(), cpu).filter(text => pattern.test(text))
    expect(of(2, /flush/)).toEqual(['flush(1,1)', 'flush(1,1)'])
    expect(of(0, /SEND/)).toEqual(['SEND mask 6'])
    expect(of(1, /SEND/)).toEqual(['SEND mask 5'])
  })
})

describe('a request for another mm than the one that is loaded', () => {
  test('6.x: goes to the CPUs that have it, as a range', () => {
    const bench = benchOf(apart(), 2)
    bench.enterAll([0], (k, cpu) => k.policy.flushMmRange(k, cpu, bench.mmOf('b'), onePage(VPN)))
    expect(onCpu(bench.sinceMark(), 0)).toEqual(['flush(4,1)', 'QUEUE 1', 'SEND 1'])
    expect(onCpu(bench.sinceMark(), 1)).toEqual(['IRQ+', 'flush(1,1)', 'IRQ-'])
  })

  test('4.6: becomes a full flush over there, whatever the range; a single page stays one', () => {
    const bench = benchOf(apart(), 2, 'linux-4.6')
    bench.enterAll([0], (k, cpu) => k.policy.flushMmRange(k, cpu, bench.mmOf('b'), onePage(VPN)))
    expect(onCpu(bench.sinceMark(), 0)).toEqual(['flush(4,-1)', 'QUEUE 1', 'SEND 1'])
    expect(onCpu(bench.sinceMark(), 1)).toEqual(['IRQ+', 'flush(1,-1)', 'IRQ-'])
    bench.mark()
    bench.enterAll([0], (k, cpu) => k.policy.flushPage(k, cpu, bench.mmOf('b'), VPN))
    expect(onCpu(bench.sinceMark(), 0)).toEqual(['flush(4,1)', 'QUEUE 1', 'SEND 1'])
    expect(onCpu(bench.sinceMark(), 1)).toEqual(['IRQ+', 'flush(1,1)', 'IRQ-'])
  })

  test('4.6: that arrives after its CPU has switched away is ignored and not even counted', () => {
    const bench = benchOf(apart(), 2, 'linux-4.6')
    expect(execute(bench, 1, request(bench, bench.mmOf('a')))).toEqual([])
    expect(bench.k.counters.nr_tlb_remote_flush_received).toBe(0)
  })
})

describe('whom 6.x interrupts', () => {
  test('a CPU in the middle of a switch, because it may be loading the mm', () => {
    const bench = new KernelBench(testConfig(), image([
      { threads: [
        { comm: 'main', cpus: [0], program: program('main', mmap(0, 4, AT), touch(area(0), 'write'), LONG) },
        { comm: 'other', cpus: [1], program: program('other', sleep(60_000), LONG) },
      ] },
      { threads: [{ comm: 'foreign', cpus: [1], program: program('foreign',
        sleep(30_000), compute(100), sleep(10_000)) }] },
    ]))
    const { tlb6x } = bench.cpu(1)
    const mm = bench.mmOf('main')
    bench.untilRunning(['main', 'foreign'], 20_000)
    bench.until(() => tlb6x.loadedMm === undefined && bench.cpu(1).switchingTo?.comm === 'other')
    bench.mark()
    bench.enterAll([0], (k, cpu) => k.policy.flushMmRange(k, cpu, mm, onePage(VPN)))
    expect(onCpu(bench.sinceMark(), 0)).toEqual(['flush(4,1)', 'QUEUE 1', 'SEND 1', 'flush(3,1)'])
  })

  test('for freed tables also one whose bit is stale: it clears the bit', async () => {
    const setup = [mmap(0, 1, AT), touch(area(0), 'write')]
    const lines = await sequence(testConfig(), twoCpus(setup, [munmap(area(0))], 'another mm'))
    expect(onCpu(lines, 0)).toEqual(['flush(4,-1)', 'QUEUE 1', 'SEND 1', 'flush(3,-1)'])
    expect(onCpu(lines, 1)).toEqual(['IRQ+', 'flush(5,0)', 'IRQ-'])
  })
})

describe('coming back to an mm in 6.x', () => {
  const other = (...steps: Step[]): ProcessSpec['threads'][number] =>
    ({ comm: 'other', cpus: [1], program: program('other', spin(0), touch(area(0), 'read'), ...steps) })
  const main = (...steps: Step[]): ProcessSpec['threads'][number] =>
    ({ comm: 'main', cpus: [0], program: program('main', ...neighbours(4), signal(0), SETTLE, ...steps) })

  test('lazily held and nothing missed: not even the root is loaded', async () => {
    const lines = await sequence(testConfig(), image([{ threads: [
      main(BEGIN, wake('other'), SETTLE, END), other(sleep(0), LONG)] }]))
    expect(onCpu(lines, 1)).toEqual(['switch'])
  })

  test('lazily held and a flush missed: the slot is flushed', async () => {
    const lines = await sequence(testConfig(), image([{ threads: [
      main(BEGIN, dontneed(area(0)), wake('other'), SETTLE, END), other(sleep(0), LONG)] }]))
    expect(onCpu(lines, 1)).toEqual(['switch', 'flush(0,-1)'])
  })

  for (const missed of [false, true]) {
    test(`from another mm, ${missed ? 'a flush missed: the slot is flushed' : 'nothing missed: its entries are kept'}`,
      async () => {
        const lines = await sequence(testConfig(), image([
          { threads: [main(BEGIN, ...(missed ? [dontneed(area(0))] : []), signal(1), SETTLE, END),
            other(sleep(0), LONG)] },
          { threads: [{ comm: 'foreign', cpus: [1], program: program('foreign', spin(1), wake('other')) }] },
        ]))
        expect(onCpu(lines, 1)).toEqual(['switch', missed ? 'flush(0,-1)' : 'flush(0,0)'])
      })
  }
})

describe('ASID slots of 6.x', () => {
  const players = (count: number, turns: number): ProgramImage => image(Array.from({ length: count }, (_, i) => (
    { threads: [{ comm: `p${i}`, program: program(`p${i}`, repeat(turns, compute(100), giveWay()), sleep(0)) }] })))

  /** [slot, flushed] of each load of a root, in order. */
  function loads(count: number, turns: number): [number, number][] {
    const bench = new KernelBench(testConfig({ cpus: 1 }), players(count, turns))
    bench.finish()
    return bench.events().flatMap((event): [number, number][] =>
      event.name === 'switch_mm' ? [[event.fields.asid, event.fields.flushed]] : [])
  }

  test('are handed out in turn: 1 to 5, then that of init_mm, then that of the first again', () => {
    const first = loads(7, 2).slice(0, 14)
    expect(first.map(([asid]) => asid)).toEqual([1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5, 0, 1, 2])
    // Seven take turns in six slots: each comes too late to find its own.
    expect(first.every(([, flushed]) => flushed === 1)).toBe(true)
  })

  test('are found again by six', () => {
    const six = loads(6, 3).slice(0, 18)
    expect(six.map(([asid]) => asid)).toEqual([1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5, 0])
    expect(six.map(([, flushed]) => flushed)).toEqual([...Array(6).fill(1), ...Array(12).fill(0)])
  })

  test('belong to CPUs: the same mm has another one elsewhere', () => {
    const bench = new KernelBench(testConfig(), image([
      { threads: [0, 1].map(cpu => ({ comm: `t${cpu}`, cpus: [cpu], program: program('t', sleep(20_000), LONG) })) },
      { threads: [{ comm: 'other', cpus: [1], program: program('other', sleep(100)) }] },
    ]))
    bench.untilRunning(['t0', 't1'], 30_000)
    expect([0, 1].map(cpu => bench.cpu(cpu).tlb6x.ctxs.findIndex(slot => slot.ctxId === bench.mmOf('t0').ctxId)))
      .toEqual([1, 1])
    const other = bench.k.nextCtxId - 1
    expect([0, 1].map(cpu => bench.cpu(cpu).tlb6x.ctxs.findIndex(slot => slot.ctxId === other))).toEqual([-1, 2])
  })
})

describe('copy-on-write', () => {
  const steps = (...last: Step[]): Step[] => [mmap(0, 4, AT), touch(area(0), 'write'), fork(0, 'child', [2]),
    signal(0), SETTLE, signal(1), BEGIN, store(area(0), 1n), END, signal(2), ...last]
  const programs = image([{ threads: [
    { comm: 'main', cpus: [0], program: program('main', ...steps(wait())) },
    { comm: 'other', cpus: [1], program: program('other', spin(0), touch(area(0), 'read'), spin(2)) },
  ] }], { children: [program('child', spin(2))] })

  test.each(ERAS)('%s: the entry is cleared, flushed everywhere and set anew, all under the table lock', era => {
    const bench = new KernelBench(testConfig({ cpus: 3 }, { era }), programs)
    const { k } = bench
    bench.untilSignal(1)
    const mm = bench.mmOf('main')
    const received = k.counters.nr_tlb_remote_flush_received
    const states: string[] = []
    bench.until(() => {
      const isThere = findLeaf(k, mm, VPN) >= 0
      const lo = k.mem.loadLo($slot.pfn, $slot.slot)
      const entry = !isThere || !entryPresent(lo) ? 'empty' : entryWritable(lo) ? 'writable' : 'read-only'
      const flushed = k.counters.nr_tlb_remote_flush_received > received ? 'flushed' : 'not flushed'
      const lock = mm.pageTableLocks.get($slot.pfn)?.isHeld === true ? 'locked' : 'unlocked'
      const state = `${entry}, ${flushed}, ${lock}`
      if (states.at(-1) !== state) states.push(state)
      return bench.simulation.platform.isFlagRaised(2)
    })
    expect(states).toEqual([
      'read-only, not flushed, unlocked', 'empty, not flushed, locked', 'empty, flushed, locked',
      'writable, flushed, unlocked',
    ])
  })

  test('6.x prints its flush with preemption off two and three deep: the table lock, the request, the call', () => {
    const bench = new KernelBench(testConfig({ cpus: 3 }), programs)
    bench.untilSignal(1)
    bench.mark()
    bench.untilSignal(2)
    const flushes = bench.eventsSinceMark().filter(event => event.name === 'tlb_flush' && event.cpu === 0)
    expect(flushes.map(event => flagCharacters(event.flags))).toEqual(['...2.', 'd..3.'])
  })
})
