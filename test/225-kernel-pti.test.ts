// Page-table isolation: two roots and two PCIDs for every address space, CR3 written on every way into
// the kernel and out of it, and what is flushed where and when.

import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { UserError } from '../src/base/errors.js'
import { Cluster } from '../src/engine/cluster.js'
import { dumpTables } from '../src/inspect/dump.js'
import { explainWalk } from '../src/inspect/explain-walk.js'
import type { RunResult } from '../src/engine/result.js'
import type { Instruction, ProgramImage } from '../src/kernel/abi.js'
import { PROT_EXEC, PROT_READ, PROT_WRITE } from '../src/kernel/abi.js'
import type { KernelConfig } from '../src/kernel/config.js'
import type { KernelCpu } from '../src/kernel/cpu.js'
import { FRAME_FREE } from '../src/kernel/pages/frames.js'
import { mmdropLazy } from '../src/kernel/mm/mm.js'
import { firstKernelSlot } from '../src/kernel/mm/pgtable.js'
import { POLICIES, POLICY_NAMES } from '../src/kernel/policies.js'
import type { MachineConfig } from '../src/machine/config.js'
import { entryGlobal, entryNx, entryPresent } from '../src/machine/entry.js'
import { ACCESS_EXEC, ACCESS_READ, PAGE_FAULT, peekWalk } from '../src/machine/mmu.js'
import type { TlbEntry } from '../src/machine/mmu.js'
import { parseScenario } from '../src/scenario/parse.js'
import { EVENT_VOCABULARY } from '../src/trace/vocabulary.js'
import { fingerprint } from './support/compare-runs.js'
import { KernelBench } from './support/kernel-bench.js'
import { TEST_COSTS, testConfig } from './support/machines.js'
import { area, compute, dontneed, giveWay, image, mmap, munmap, program, signal, sleep, spin, touch, unuseMm, useMm,
  wait } from './support/programs.js'
import type { ProcessSpec, Step } from './support/programs.js'
import { randomRunOf } from './support/random-programs.js'
import { alwaysIsolated } from './support/random-pti.js'
import { onCpu, sequence } from './support/sequence.js'
import { neighbours, twoCpus } from './support/two-cpus.js'

const RUNS = Number(process.env['FUZZ_RUNS'] ?? 200)
const SEED = Number(process.env['FUZZ_SEED'] ?? 1)
const TIMEOUT = { timeout: 3_600_000 }
const USER = 2048
const START = { at: { hi: 0, lo: 0x1000_0000 }, fixed: true }

const benchOf = (
  programs: ProgramImage, kernel: Partial<KernelConfig> = {}, machine: Partial<MachineConfig> = {},
): KernelBench => new KernelBench(testConfig({ cpus: 1, ...machine }, { pti: true, ...kernel }), programs)

const user = (comm: string, ...steps: Step[]): ProcessSpec =>
  ({ threads: [{ comm, cpus: [0], program: program(comm, ...steps) }] })

/** What the data TLB of CPU `id` holds: `2050: 0x10000 W`, page number in hex. */
function dataTlb(bench: KernelBench, id = 0): string[] {
  const lines: string[] = []
  bench.k.platform.mmu(id).forEachTlbEntry((entry: TlbEntry) => {
    if (entry.level !== 'l1d') return
    const page = (entry.hi * 2 ** 20 + (entry.lo >>> 12)).toString(16)
    lines.push(`${entry.pcid}: ${page}${entry.writable ? ' W' : ''}${entry.nx ? ' NX' : ''}`)
  })
  return lines.sort()
}

const cr3 = (bench: KernelBench, id = 0): [root: number, pcid: number] =>
  [bench.k.platform.mmu(id).rootPfn, bench.k.platform.mmu(id).pcid]

describe('roots', () => {
  const programs = image([user('a', mmap(0, 2, { ...START, prot: PROT_READ | PROT_WRITE | PROT_EXEC }),
    touch(area(0), 'write'), signal(0), compute(10_000))])

  for (const geometry of ['x86-64', 'x86-64-la57'] as const) {
    test(`${geometry}: two adjacent frames, the same user half, NX in the one of the kernel`, () => {
      const bench = benchOf(programs, {}, { geometry })
      bench.untilSignal(0)
      const { k } = bench
      const { pgdPfn } = bench.mmOf('a')
      expect(pgdPfn % 2).toBe(0)
      let present = 0
      for (let slot = 0; slot < firstKernelSlot(k); slot++) {
        expect(k.mem.loadLo(pgdPfn, slot)).toBe(k.mem.loadLo(pgdPfn + 1, slot))
        if (!entryPresent(k.mem.loadLo(pgdPfn, slot))) continue
        present += 1
        expect([entryNx(k.mem.loadHi(pgdPfn, slot)), entryNx(k.mem.loadHi(pgdPfn + 1, slot))]).toEqual([true, false])
      }
      expect(present).toBe(1)
      const walks = [pgdPfn, pgdPfn + 1].map(root => peekWalk(k.geometry, k.mem, root, 0, 0x1000_0000))
      expect(walks.map(({ reason, pfn, nx }) => [reason, pfn, nx])).toEqual(
        [['ok', walks[0]!.pfn, true], ['ok', walks[0]!.pfn, false]])
    })

    test(`${geometry}: of the kernel the user root has the entry code and the CPU entry areas`, () => {
      const bench = benchOf(programs, {}, { geometry, cpus: 2 })
      bench.untilSignal(0)
      const { k } = bench
      const { pgdPfn } = bench.mmOf('a')
      const at = (root: number, address: bigint): string =>
        peekWalk(k.geometry, k.mem, root, Number(address >> 32n) | 0, Number(address & 0xffff_ffffn) | 0).reason
      const image = k.layout.startMap + BigInt(k.layout.textOffset)
      const places = [image, image + 0x20_0000n, image + BigInt(k.layout.textBytes), k.layout.pageOffset,
        0xffff_fe00_0000_0000n, 0xffff_fe00_0000_6000n, 0xffff_fe00_0000_7000n]
      expect(places.map(place => at(pgdPfn, place))).toEqual(['huge', 'huge', 'huge', 'huge', 'ok', 'ok', 'none'])
      expect(places.map(place => at(pgdPfn + 1, place))).toEqual(['huge', 'none', 'none', 'none', 'ok', 'ok', 'none'])
    })
  }

  test('kernel mappings lose G, but what user mode shares keeps it', () => {
    const isGlobal = (pti: boolean, offset: number): boolean => {
      const { k } = benchOf(programs, { pti })
      const address = k.layout.startMap + BigInt(k.layout.textOffset + offset)
      const walk = peekWalk(k.geometry, k.mem, k.initMm.pgdPfn, Number(address >> 32n) | 0,
        Number(address & 0xffff_ffffn) | 0)
      return entryGlobal(walk.steps.at(-1)!.lo)
    }
    expect([isGlobal(false, 0), isGlobal(false, 0x20_0000)]).toEqual([true, true])
    expect([isGlobal(true, 0), isGlobal(true, 0x20_0000)]).toEqual([true, false])
  })

  test('without PCID the whole text is global and in both roots', () => {
    const { k } = benchOf(programs, { pcid: false })
    const address = k.layout.startMap + BigInt(k.layout.textOffset + 0x20_0000)
    for (const root of [k.initMm.pgdPfn, k.initMm.pgdPfn + 1]) {
      const walk = peekWalk(k.geometry, k.mem, root, Number(address >> 32n) | 0, Number(address & 0xffff_ffffn) | 0)
      expect([walk.reason, entryGlobal(walk.steps.at(-1)!.lo)]).toEqual(['huge', true])
    }
  })

  test('a kernel that went back to user mode under its own root would fault at the first fetch', () => {
    const bench = benchOf(programs)
    bench.untilSignal(0)
    bench.untilRunning(['a'])
    const mmu = bench.k.platform.mmu(0)
    const { pgdPfn } = bench.mmOf('a')
    mmu.loadCr3(pgdPfn, 2, true)
    expect([mmu.translate(0, 0x1000_0000, ACCESS_EXEC, true, false), mmu.errorCode]).toEqual([PAGE_FAULT, 0x15])
    mmu.loadCr3(pgdPfn + 1, 2 + USER, true)
    expect(mmu.translate(0, 0x1000_0000, ACCESS_EXEC, true, false)).not.toBe(PAGE_FAULT)
  })

  test('both frames come back, and so do the tables below', () => {
    const bench = benchOf(image([user('a', sleep(50_000), mmap(0, 9), touch(area(0), 'write'))]))
    bench.until(() => bench.cpu(0).isIdle)
    const { pgdPfn } = bench.mmOf('a')
    const { frames } = bench.k
    const free = frames.freeFrames
    bench.finish()
    // The idle task borrows the mm to the end.
    expect([frames.freeFrames, frames.refcount[pgdPfn], frames.order[pgdPfn]]).toEqual([free, 1, 1])
    mmdropLazy(bench.k, bench.cpu(0), bench.cpu(0).idleTask.activeMm!)
    expect([frames.freeFrames, frames.use[pgdPfn], frames.use[pgdPfn + 1]]).toEqual([free + 2, FRAME_FREE, FRAME_FREE])
  })

  test('a dump and an explanation show both roots', () => {
    const bench = benchOf(programs)
    bench.untilSignal(0)
    const mm = bench.mmOf('a')
    const hex = (pfn: number): string => `0x${pfn.toString(16).padStart(5, '0')}`
    const dump = dumpTables(bench.k, mm)
    expect(dump).toContain(`cr3 pfn ${hex(mm.pgdPfn)} (user ${hex(mm.pgdPfn + 1)})  pcid 2 (user 2050)`)
    expect(dump).toContain(`user root pfn ${hex(mm.pgdPfn + 1)}: the same user half without NX`)
    expect(dumpTables(bench.k, bench.k.initMm)).toMatch(/user root pfn .*:\npgd\[508\]/)
    const address = { hi: 0xffff_8880 | 0, lo: 0x1000 }
    expect(explainWalk(bench.k, mm, address.hi, address.lo)).toContain(
      `under the user root, frame ${hex(mm.pgdPfn + 1)}: stops: the pgd entry is empty`)
  })
})

describe('into the kernel and out of it', () => {
  const steps: Step[] = [mmap(0, 3, START), touch(area(0), 'write'), signal(0), touch(area(0), 'read'), signal(1),
    touch(area(0), 'read'), compute(100)]
  const run = (kernel: Partial<KernelConfig>): RunResult => benchOf(image([user('a', ...steps)]), kernel).finish()

  test('PCID: a call is two CR3 writes that flush nothing, and the TLB survives it', () => {
    const off = run({ pti: false })
    const on = run({})
    expect(on.counters.stlbMisses).toBe(off.counters.stlbMisses)
    // The start, then mmap, three faults and two signals both ways, and the way into exit.
    expect([off.counters.ptiSwitches, on.counters.ptiSwitches]).toEqual([0, 1 + 2 * 6 + 1])
    // The first way out flushes, because the slot is new; nothing else does.
    expect(on.counters.ptiUserFlushes).toBe(1)
    expect(on.cycle - off.cycle).toBe(150 + 13 * 50)
  })

  test('no PCID: every call loses the TLB', () => {
    const off = run({ pti: false, pcid: false })
    const on = run({ pcid: false })
    // Three pages are read after each of the two signals.
    expect(on.counters.stlbMisses - off.counters.stlbMisses).toBe(2 * 3)
    expect(on.counters.ptiSwitches).toBe(14)
    expect(on.counters.ptiUserFlushes).toBe(0)
    // And the paging caches are empty: the three walks read four entries, one and one.
    expect(on.cycle - off.cycle).toBe(14 * 150 + 2 * 6 * 10)
  })

  test('user mode runs under the user root and PCID, the kernel under its own', () => {
    const bench = benchOf(image([user('a', ...steps)]))
    bench.untilSignal(0)
    const { pgdPfn } = bench.mmOf('a')
    expect(cr3(bench)).toEqual([pgdPfn, 2])
    bench.untilRunning(['a'])
    expect(cr3(bench)).toEqual([pgdPfn + 1, 2 + USER])
    expect(dataTlb(bench)).toEqual(['2050: 10000 W NX', '2050: 10001 W NX', '2050: 10002 W NX'])
    bench.until(() => !bench.cpu(0).inUserMode)
    expect(cr3(bench)).toEqual([pgdPfn, 2])
  })

  test('an interrupt that arrives on the last steps to user mode waits until it is reached', () => {
    const other = program('other', spin(0), mmap(1, 1), touch(area(1), 'write'), signal(1), munmap(area(1)), signal(2),
      wait())
    const bench = benchOf(image([{ threads: [
      { comm: 'a', cpus: [0], program: program('a', signal(0), spin(2)) }, { comm: 'other', cpus: [1], program: other },
    ] }]), {}, { cpus: 2 })
    bench.until(() => bench.cpu(0).isLeavingKernel)
    expect([bench.cpu(0).irqsOff, bench.cpu(0).inUserMode]).toEqual([1, false])
    bench.untilRunning(['a'])
    expect(bench.cpu(0).isLeavingKernel).toBe(false)
    expect(bench.finish().end).toBe('finished')
  })

  test('who is told of a flush, and what is recorded, does not change', async () => {
    const cases: [Step[], Instruction[], 'running' | 'lazy' | 'exited'][] = [
      [neighbours(3), [munmap(area(0))], 'running'], [neighbours(40), [munmap(area(0))], 'running'],
      [neighbours(8), [dontneed(area(0))], 'lazy'], [neighbours(8), [dontneed(area(0))], 'exited']]
    for (const [setup, work, other] of cases) {
      const plain = await sequence(testConfig(), twoCpus(setup, work, other))
      const isolated = await sequence(testConfig({}, { pti: true }), twoCpus(setup, work, other))
      for (const id of [0, 1]) expect(onCpu(isolated, id)).toEqual(onCpu(plain, id))
    }
  })

  test('what an interrupt steals from a program includes the two CR3 writes', async () => {
    const stolen = (pti: boolean): number => {
      const bench = new KernelBench(testConfig({}, { pti }), twoCpus(neighbours(3), [munmap(area(0))], 'running'))
      bench.finish()
      return bench.k.counters.responderCycles
    }
    // The user halves of three pages as well.
    expect(stolen(true) - stolen(false)).toBe(2 * 50 + 3 * 100)
  })
})

describe('flushes', () => {
  /** Four pages with neighbours at 0x10004; `after` is what the program does then. */
  const programs = (...after: Step[]): ProgramImage => image([user('a',
    mmap(0, 4, START), mmap(1, 1, { at: { hi: 0, lo: 0x1000_4000 }, fixed: true }), touch(area(0), 'write'),
    touch(area(1), 'write'), signal(0), ...after, signal(1), compute(5000))])
  const run = (bench: KernelBench): { tlb: string[]; flushes: number } => {
    bench.untilSignal(0)
    const before = bench.k.counters.ptiUserFlushes
    bench.untilSignal(1)
    bench.untilRunning(['a'])
    return { tlb: dataTlb(bench), flushes: bench.k.counters.ptiUserFlushes - before }
  }

  test('a range is invalidated in both halves at once where INVPCID exists', () => {
    const bench = benchOf(programs(dontneed(area(0, 0, 3))))
    expect(run(bench)).toEqual({ tlb: ['2050: 10003 W NX', '2050: 10004 W NX'], flushes: 0 })
  })

  test('without INVPCID the whole user half goes, on the way out', () => {
    const bench = benchOf(programs(dontneed(area(0, 0, 3))), {}, { invpcid: false })
    expect(run(bench)).toEqual({ tlb: [], flushes: 1 })
  })

  test('a full flush leaves the user half to the way out', () => {
    const bench = benchOf(programs(dontneed(area(0, 0, 3))), { flushCeilingPages: 2 })
    bench.untilSignal(0)
    bench.until(() => bench.k.counters.nr_tlb_local_flush_all > 0)
    expect([bench.cpu(0).tlb6x.userFlushMask, bench.cpu(0).inUserMode]).toEqual([1 << 2, false])
    bench.untilSignal(1)
    bench.untilRunning(['a'])
    expect([bench.cpu(0).tlb6x.userFlushMask, dataTlb(bench)]).toEqual([0, []])
    expect(bench.k.counters.ptiUserFlushes).toBe(2)
  })

  test('a kernel thread caches user pages under the kernel half, not executable there; a flush reaches both', () => {
    const bench = benchOf(image([
      user('a', mmap(0, 2, START), touch(area(0), 'write'), signal(0), sleep(30_000), touch(area(0), 'read'),
        signal(2), munmap(area(0, 0, 1)), signal(3), compute(1000)),
      { kernelThread: true, ...user('kworker', sleep(10_000), useMm(0), touch(area(0), 'read'), signal(1), unuseMm()) },
    ]))
    bench.untilSignal(1)
    expect(dataTlb(bench)).toEqual(['2050: 10000 W NX', '2050: 10001 W NX', '2: 10000 W NX', '2: 10001 W NX'])
    bench.untilSignal(2)
    bench.untilSignal(3)
    expect(dataTlb(bench)).toEqual(['2050: 10001 W NX', '2: 10001 W NX'])
  })

  test('a slot that another mm gets is flushed in both halves', () => {
    const names = ['a', 'b', 'c', 'd', 'e', 'f']
    const bench = benchOf(image(names.map((comm, i) => user(comm, mmap(0, 1,
      { at: { hi: 0, lo: 0x1000_0000 + 0x1000 * i }, fixed: true }), touch(area(0), 'write'), signal(i), giveWay(),
      ...(i === 0 ? [giveWay(), compute(3000)] : []))), { flags: 6 }), { timeSliceCycles: 1_000_000 })
    for (const i of names.keys()) bench.untilSignal(i)
    // Slots 1 to 5 and 0; the sixth evicted init_mm.
    const pcids = dataTlb(bench).map(line => Number(line.split(':')[0]))
    expect(pcids.sort((x, y) => x - y)).toEqual([1, 2, 3, 4, 5, 6].map(pcid => pcid + USER))
    expect(bench.k.counters.ptiUserFlushes).toBe(6)
  })

  test('a lazy CPU that finds itself behind flushes both halves when it comes back', () => {
    const bench = benchOf(image([{ threads: [
      { comm: 'a', cpus: [0], program: program('a', mmap(0, 3, START), touch(area(0), 'write'), signal(0), spin(1),
        compute(5000), dontneed(area(0, 0, 1)), signal(2), compute(50_000)) },
      { comm: 'b', cpus: [1], program: program('b', spin(0), touch(area(0), 'read'), signal(1), sleep(20_000),
        compute(3000)) },
    ] }]), {}, { cpus: 2 })
    bench.untilSignal(2)
    expect(bench.cpu(1).tlb6x.isLazy).toBe(true)
    expect(dataTlb(bench, 1)).toEqual(['2050: 10000 W NX', '2050: 10001 W NX', '2050: 10002 W NX'])
    bench.untilRunning(['b'], bench.simulation.cycle)
    expect(dataTlb(bench, 1)).toEqual([])
  })

  test('a kernel page loses its entries of every slot: the other slots are flushed before their next use', () => {
    const bench = benchOf(image(['a', 'b'].map((comm, i) => user(comm, mmap(0, 1, START), touch(area(0), 'write'),
      signal(2 * i), giveWay(), touch(area(0), 'read'), signal(2 * i + 1), giveWay(), compute(3000)))),
    { timeSliceCycles: 1_000_000 })
    bench.untilSignal(2)
    bench.untilRunning(['b'])
    expect(dataTlb(bench)).toEqual(['2050: 10000 W NX', '2051: 10000 W NX'])
    bench.enterAll([0], (k, cpu: KernelCpu) => k.policy.flushKernelRange(k, cpu, 2 ** 51 + 5, 2 ** 51 + 7))
    const { tlb6x } = bench.cpu(0)
    expect([tlb6x.invalidateOther, bench.k.counters.nr_tlb_local_flush_one]).toEqual([true, 2])
    bench.untilSignal(1)
    expect(tlb6x.invalidateOther).toBe(false)
    const switches = bench.eventsSinceMark().filter(event => event.name === 'switch_mm').map(event => event.fields)
    expect(switches.at(-1)).toMatchObject({ flushed: 1 })
  })

  test('a broadcast flush names both halves of a global ASID, and costs twice', () => {
    const run = (pti: boolean): { cycles: number; here: string[]; there: string[] } => {
      const first = [mmap(0, 2, START), touch(area(0), 'write'), signal(0)]
      const threads = [0, 1, 2, 3].map(id => ({ comm: `t${id}`, cpus: [id],
        program: program(`t${id}`, ...(id === 0 ? first : [spin(0)]), touch(area(0), 'read'), compute(1e9)) }))
      // Slow clocks: a tick is 10 000 cycles.
      const machine = { cpus: 4, costs: { ...TEST_COSTS, frequencyGhz: 0.01 } }
      const bench = new KernelBench(testConfig(machine, { pti, policy: 'linux-6.x-invlpgb' }), image([{ threads }]))
      const comms = threads.map(({ comm }) => comm)
      const mm = bench.mmOf('t0')
      const flush = (vpn: number): void => {
        bench.enterAll([0], (k, cpu) => k.policy.flushPage(k, cpu, mm, vpn))
        bench.untilRunning(comms)
      }
      // The check for a candidate wants pid and tick to agree.
      bench.untilRunning(comms, 10_001)
      flush(0x20000)
      expect(bench.k.policy.globalAsids!.of(mm)).toBe(6)
      // Everybody changes to it.
      flush(0x20000)
      flush(0x20000)
      expect(bench.k.policy.globalAsids!.inTransition(mm)).toBe(false)
      for (const id of [0, 1, 2, 3]) {
        const { mmu } = bench.simulation.platform.cores[id]!
        for (const page of [0, 1]) mmu.translate(0, 0x1000_0000 + 4096 * page, ACCESS_READ, true, true)
      }
      // What is left of the ASID before does not count: nobody can reach it.
      const held = (id: number): string[] => dataTlb(bench, id).filter(line => !/^(2|2050):/.test(line))
      const before = bench.k.counters.initiatorCycles
      flush(0x10000)
      return { cycles: bench.k.counters.initiatorCycles - before, here: held(0), there: held(3) }
    }
    const [off, on] = [run(false), run(true)]
    expect([off.here, off.there]).toEqual([['7: 10001 W NX'], ['7: 10001 W NX']])
    expect([on.here, on.there]).toEqual([['2055: 10001 W NX'], ['2055: 10001 W NX']])
    expect(on.cycles - off.cycles).toBe(60)
  })
})

describe('where there is none', () => {
  const scenario = (kernel: string, machine = ''): string =>
    `${machine}kernel: ${kernel}\nprocesses: [{name: a, program: [{compute: 10}]}]\n`
  const noTrace = (): never => {
    throw new Error('no trace here')
  }
  const read = async (text: string): Promise<string> => {
    try {
      await parseScenario(text, 'x.yaml', { events: EVENT_VOCABULARY }, noTrace)
      return ''
    } catch (error) {
      if (error instanceof UserError) return error.format()
      throw error
    }
  }

  test.each([
    ['{era: linux-4.6, pti: true}', '', /x\.yaml:1:\d+: .*linux-4.6 has no page-table isolation/],
    ['{policy: xen, pti: true}', '', /xen has no page-table isolation: the hypervisor/],
    ['{pti: true}', 'machine: {geometry: i386-pae}\n', /for x86-64 only, not for i386-pae/],
  ])('%s %s is refused at its place', async (kernel, machine, message) => {
    expect(await read(scenario(kernel, machine))).toMatch(message)
  })

  test('false is fine everywhere', async () => {
    expect(await read(scenario('{era: linux-4.6, pti: false}'))).toBe('')
  })

  test('the kernel itself refuses as well', () => {
    expect(() => benchOf(image([user('a', compute(1))]), { era: 'linux-4.6', policy: 'linux-4.6', pcid: false }))
      .toThrow('linux-4.6 has no page-table isolation: set kernel.pti to false')
  })
})

const cluster = new Cluster()
afterAll(() => cluster.close())

test('random programs: all engines agree under every policy, with all invariants', TIMEOUT, async () => {
  const policies = POLICY_NAMES.filter(name => POLICIES[name]!.eras.includes('linux-6.x')
    && POLICIES[name]!.withoutPti === undefined)
  const runs = alwaysIsolated(randomRunOf(fc.constantFrom('linux-6.x', ...policies)))
  await fc.assert(fc.asyncProperty(runs, async run => {
    const reference = await fingerprint(run, { engine: 'reference', check: true })
    expect(await fingerprint(run, { engine: 'inline' })).toEqual(reference)
    const threads = await fingerprint(run, { engine: 'threads', cluster, shortestWorkerWindow: 0 })
    expect(threads).toEqual(reference)
  }), { numRuns: Math.ceil(RUNS / 4), seed: SEED })
})
