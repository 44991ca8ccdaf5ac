// The invariants: they hold in random runs, and each way of breaking the kernel's state that they
// are there for makes them fire, with a message that names CPU, cycle, task and mm.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { AssertionError } from '../src/base/assert.js'
import { simulate, simulateHere } from '../src/engine/simulate.js'
import type { Simulation } from '../src/engine/simulation.js'
import { checkEverything, checkFrames, checkInvariants, checkTlbs } from '../src/inspect/check.js'
import { checkPromises } from '../src/inspect/check-ranges.js'
import { watch, watchOf } from '../src/inspect/watch.js'
import type { KernelCpu } from '../src/kernel/cpu.js'
import { TLBSTATE_LAZY, TLBSTATE_OK } from '../src/kernel/cpu.js'
import type { KernelOp } from '../src/kernel/kernel-op.js'
import { newFrame } from '../src/kernel/kernel-op.js'
import type { Mm } from '../src/kernel/mm/mm.js'
import { firstKernelSlot } from '../src/kernel/mm/pgtable.js'
import type { KernelState } from '../src/kernel/state.js'
import { entryPfn, makeEntryHi, makeEntryLo, PAGE_PSE, PAGE_RW } from '../src/machine/entry.js'
import { peekWalk } from '../src/machine/mmu.js'
import { steppedRun } from './support/checked-run.js'
import { testConfig } from './support/machines.js'
import { area, compute, dontneed, fork, image, mmap, munmap, program, repeat, signal, sleep, spin, touch, u64,
} from './support/programs.js'
import { randomRun } from './support/random-programs.js'

const AT = 0x1000_0000
const LONG = compute(10_000_000)
const STOP = 1_000_000

describe('random runs', () => {
  test('keep every invariant after every step, however far cores have run ahead', async () => {
    await fc.assert(fc.asyncProperty(randomRun, async (run) => {
      await simulate(run.config, run.image, { engine: 'inline', check: true, trace: false })
    }), { numRuns: 30, seed: 20, endOnFailure: true })
  })

  test('keep every invariant, what all TLBs hold included, whenever all cores stand still', () => {
    fc.assert(fc.property(randomRun, (run) => {
      let steps = 0
      const check = ({ kernel, cycle }: Simulation): void => {
        if (steps++ % 8 === 0) checkEverything(kernel, cycle)
      }
      const { simulation, finish } = steppedRun(run.config, run.image, check)
      finish()
      checkEverything(simulation.kernel, simulation.cycle)
    }), { numRuns: 20, seed: 21, endOnFailure: true })
  })
})

interface Broken {
  k: KernelState
  simulation: Simulation
  /** Of the process with threads on CPU 0 and 1. */
  mm: Mm
  cpus: readonly KernelCpu[]
  /** Of the first page of its area. */
  leaf: { pfn: number; slot: number; lo: number; hi: number }
  /** The frame of that page. */
  page: number
}

/** CPUs 0 and 1 run threads of mm 2 that share pages; CPU 2 is idle and borrows mm 3; mm 4 is its forked child's. */
async function threeCpus(era: 'linux-4.6' | 'linux-6.x' = 'linux-6.x'): Promise<Broken> {
  const { simulation } = await simulateHere(testConfig({ cpus: 4 }, { era }), image([
    { threads: [
      { comm: 'main', cpus: [0], program: program('main',
        mmap(0, 4, { at: { hi: 0, lo: AT }, fixed: true }), touch(area(0), 'write'), signal(0), LONG) },
      { comm: 'other', cpus: [1], program: program('other', spin(0), touch(area(0), 'write'), LONG) },
    ] },
    { threads: [{ comm: 'sleeper', cpus: [2], program: program('sleeper',
      mmap(0, 4, { at: { hi: 0, lo: AT }, fixed: true }), touch(area(0), 'write'), fork(0, 'child', [3]),
      sleep(0)) }] },
  ], { children: [program('child', touch(area(0), 'read'), LONG)] }), { untilCycle: STOP, check: true })
  const k = simulation.kernel
  const mm = k.tasks[0]!.mm!
  const walk = peekWalk(k.geometry, k.mem, mm.pgdPfn, 0, AT)
  return { k, simulation, mm, cpus: k.cpus, leaf: walk.steps.at(-1)!, page: walk.pfn }
}

/** What a check says; fails when it says nothing. */
function complaint(check: () => void): string {
  try {
    check()
  } catch (error) {
    expect(error).toBeInstanceOf(AssertionError)
    return (error as Error).message
  }
  return expect.unreachable('the check found nothing')
}

type Damage = (state: Broken) => void

/** Every invariant of CPU rows and counters: what is broken, and what the message says. */
const DAMAGES: readonly (readonly [what: string, damage: Damage, message: RegExp, era?: 'linux-4.6'])[] = [
  ['I3: the mm that a CPU runs is freed', ({ mm }) => { mm.isFreed = true },
    /^I3: cpu0 .* mm 2: runs on an mm that is freed/],
  ['I4: mm_count was dropped once too often', ({ k }) => { k.tasks[2]!.mm!.mmCount -= 1 },
    /^I4: cpu2 cycle \d+ task swapper\/2-0 mm 3: mm_count is 1, but 1 tasks borrow it and mm_users is 1: expected 2/],
  ['I4: mm_count was grabbed without a borrower', ({ mm }) => { mm.mmCount += 1 }, /^I4: cpu0 .* mm 2: mm_count is 2/],
  ['I5: mm_users misses a task', ({ mm }) => { mm.mmUsers -= 1 }, /^I5: .* mm 2: mm_users is 1, but 2 tasks share it/],
  ['I6: a CPU runs user code without its bit in the mask', ({ mm }) => mm.mmCpumask.clear(1),
    /^I6: cpu1 cycle \d+ task other-2 mm 2: runs user code, but mm_cpumask 1 is without its bit/],
  ['I9: a slot is flushed further than was asked', ({ cpus }) => { cpus[1]!.tlb6x.ctxs[1]!.tlbGen = 5 },
    /^I9: cpu1 .* mm 2: slot 1 has generation 5, the mm only 0/],
  ['I11: a generation went backwards', ({ k }) => { k.tasks[2]!.mm!.tlbGen = 0 }, /^I(9|11): .* mm 3: .*generation/],
  ['I12: CR3 names another root', ({ k, mm }) => {
    k.platform.mmu(0).loadCr3(k.initMm.pgdPfn, 2, true)
    expect(mm.pgdPfn).not.toBe(k.initMm.pgdPfn)
  }, /^I12: cpu0 .* task main-1 mm 2: CR3 names frame \d+, the mm's root is frame \d+/],
  ['I12: CR3 has another PCID', ({ k, mm }) => { k.platform.mmu(0).loadCr3(mm.pgdPfn, 3, true) },
    /^I12: cpu0 .* mm 2: CR3 has PCID 3, the mm's is 2/],
  ['I2: CR3 names a frame that was given back', ({ k, mm }) => { k.frames.use[mm.pgdPfn] = 0 },
    /^I2: cpu0 .*: CR3 names frame \d+, which is no page table any more/],
  ['I13: two slots of a CPU hold one mm', ({ cpus }) => { cpus[0]!.tlb6x.ctxs[4]!.ctxId = 2 },
    /^I13: cpu0 .* mm 2: slots 1 and 4 both hold it/],
  ['I13: a slot holds an mm that never was', ({ cpus }) => { cpus[0]!.tlb6x.ctxs[4]!.ctxId = 99 },
    /^I13: cpu0 .*: slot 4 holds mm 99, which never existed/],
  ['I15: a lazy CPU has init_mm loaded', ({ k, cpus }) => {
    cpus[2]!.tlb6x.loadedMm = k.initMm
    cpus[2]!.irqsOff = 1
  }, /^I15: cpu2 .* mm 1: lazy with init_mm loaded/],
  ['I15: an idle CPU borrows an mm and is not lazy', ({ cpus }) => { cpus[2]!.tlb6x.isLazy = false },
    /^I15: cpu2 .* mm 3: borrows an mm, but is not lazy/],
  ['I16: a lazy CPU runs user code', ({ cpus }) => { cpus[0]!.tlb6x.isLazy = true },
    /^I16: cpu0 .* task main-1 mm 2: lazy, but the task has an mm/],
  ['I17: state OK without the bit (4.6)', ({ k, cpus }) => {
    // In the middle of something: with interrupts on the root would be wrong as well.
    cpus[2]!.irqsOff = 1
    cpus[2]!.tlb46.state = TLBSTATE_OK
    k.tasks[2]!.mm!.mmCpumask.clear(2)
  }, /^I17: cpu2 .* mm 3: TLB state OK, but mm_cpumask 0 is without its bit/, 'linux-4.6'],
  ['I15: an idle CPU in state OK (4.6)', ({ cpus }) => { cpus[2]!.tlb46.state = TLBSTATE_OK },
    /^I15: cpu2 .* mm 3: a task without an mm runs in TLB state OK/, 'linux-4.6'],
  ['I16: a lazy TLB state in user mode (4.6)', ({ cpus }) => { cpus[0]!.tlb46.state = TLBSTATE_LAZY },
    /^I16: cpu0 .* mm 2: runs with its own mm, but the TLB state is lazy/, 'linux-4.6'],
  ['I7: a bit in the mask of an mm that the CPU does not have (4.6)', ({ mm }) => mm.mmCpumask.set(3),
    /^I7: cpu3 .* mm 2: its bit is set in mm_cpumask, but it holds mm 4/, 'linux-4.6'],
  ['I23: a kernel slot of a root was changed', ({ k, mm }) => { k.mem.store(mm.pgdPfn, firstKernelSlot(k) + 1, 1, 0) },
    /^I23: cpu0 .* mm 2: kernel slot 274 of its root/],
  ['I25: a request waits and nobody was told', ({ cpus }) => {
    const nothing = function* (): KernelOp { yield 1 }
    const frame = { ...newFrame(nothing(), 0), waiting: true }
    const completion = { remaining: 1, frame }
    cpus[2]!.callQueue.push({ sender: cpus[0]!, func: nothing, completion, sync: true, early: false })
  }, /^I25: cpu2 .*: 1 requests are queued, and no interrupt is on its way/],
  ['I26: user code runs with interrupts off', ({ cpus }) => { cpus[0]!.irqsOff = 1 },
    /^I26: cpu0 .* interrupts off 1 deep/],
  ['I29: a table is counted that is not there', ({ mm }) => { mm.tablePages += 1 },
    /^I29: cpu0 .* mm 2: the counters differ/],
  ['I29: a mapping is not counted', ({ k, page }) => { k.frames.mapcount[page] = 0 },
    /^I29: cpu0 .* mm 2 page 0x0000000010000000: counted too low: frame \d+ has 1 mappings, mapcount 0, refcount 1/],
  ['I29: a table was given back and is still in the tree', ({ k, leaf }) => { k.frames.refcount[leaf.pfn] = 2 },
    /^I29: cpu0 .* mm 2: its tree uses table frame \d+/],
  ['I29: a frame is referenced that nothing maps', ({ k }) => { k.frames.allocate(0, 0, 2) },
    /^I29: .*user frame \d+ is referenced 1 times, but nothing maps it/],
  ['I30: a page shared with the child is writable', ({ k }) => {
    const { pfn, slot, lo, hi } = peekWalk(k.geometry, k.mem, k.tasks[2]!.mm!.pgdPfn, 0, AT).steps.at(-1)!
    k.mem.store(pfn, slot, lo | PAGE_RW, hi)
  }, /^I30: cpu2 .* mm 3 page 0x0000000010000000: shared by copy-on-write and writable/],
]

describe('a broken kernel is caught', () => {
  for (const [what, damage, message, era] of DAMAGES) {
    test(what, async () => {
      const state = await threeCpus(era)
      const { kernel, cycle } = state.simulation
      checkEverything(kernel, cycle)
      damage(state)
      const text = complaint(() => checkEverything(kernel, cycle))
      expect(text).toMatch(message)
      expect(text).toMatch(new RegExp(`^I\\d+: cpu\\d cycle ${cycle} task [^ ]+-\\d+`))
    })
  }

  test('cheap checks fire at the step after the damage, the dear ones soon', async () => {
    for (const damage of [({ mm }: Broken) => mm.mmCpumask.clear(1), ({ mm }: Broken) => { mm.mmCount += 1 }]) {
      const state = await threeCpus()
      damage(state)
      expect(complaint(() => {
        for (let step = 0; step < 64; step++) checkInvariants(state.k)
      })).toMatch(/^I[46]: cpu\d cycle \d+ .* mm 2/)
    }
  })
})

describe('a stale translation is caught', () => {
  const damaged = async (change: (state: Broken) => void): Promise<string> => {
    const state = await threeCpus()
    checkTlbs(state.k)
    change(state)
    return complaint(() => checkTlbs(state.k, state.simulation.cycle))
  }

  test('I8: an entry was cleared and nobody flushed', async () => {
    expect(await damaged(({ k, leaf }) => k.mem.store(leaf.pfn, leaf.slot, 0, 0)))
      .toMatch(/^I8: cpu0 cycle \d+ task main-1 mm 2 page 0x0000000010000000: stale l1d entry .*: unmapped, no flush/)
  })

  test('I18: an entry lost its write permission and nobody flushed', async () => {
    expect(await damaged(({ k, leaf }) => k.mem.store(leaf.pfn, leaf.slot, leaf.lo & ~PAGE_RW, leaf.hi)))
      .toMatch(/^I18: cpu0 .* page 0x0000000010000000: stale .*: permits W, the table does not, no flush pending/)
  })

  test('I20: an entry lost its dirty bit and nobody flushed', async () => {
    expect(await damaged(({ k, leaf }) => k.mem.store(leaf.pfn, leaf.slot, leaf.lo & ~0x40, leaf.hi)))
      .toMatch(/^I20: cpu0 .*: D is set, in the table it is clear/)
  })

  test('I1: a frame went back to the allocator while a TLB reaches it', async () => {
    expect(await damaged(({ k, page }) => {
      k.frames.use[page] = 0
      k.frames.refcount[page] = 0
    })).toMatch(/^I1: cpu0 .* mm 2 page 0x0000000010000000: .* reaches a frame that was given back/)
  })

  test('I2: an upper entry names another table than a paging cache', async () => {
    expect(await damaged(({ k, mm, cpus }) => {
      // TLB entries of the page would be found first.
      for (const cpu of cpus) k.platform.mmu(cpu.id).invpcid(1, 2, 0, 0)
      k.platform.mmu(0).translate(0, AT, 0, true, true)
      const { pfn, slot, lo, hi } = peekWalk(k.geometry, k.mem, mm.pgdPfn, 0, AT).steps[1]!
      // The same pages through a copy of the pmd table.
      const copy = k.frames.allocate(0, 0, 3)
      k.mem.copyFrame(copy, entryPfn(lo, hi, 12))
      k.mem.store(pfn, slot, makeEntryLo(copy, lo & 0xfff, 12), makeEntryHi(copy, 0, 12))
    })).toMatch(/^I2: cpu0 .* mm 2 page 0x0000000000000000: stale paging-cache entry pud .*: the table there is frame/)
  })

  test('I2: a table was given back while a paging cache names it', async () => {
    expect(await damaged(({ k, mm }) => {
      const pmd = peekWalk(k.geometry, k.mem, mm.pgdPfn, 0, AT).steps[2]!
      k.frames.use[pmd.pfn] = 0
    })).toMatch(/^I2: cpu0 .* mm 2 page 0x0000000000000000: paging-cache entry pud .* table that was given back/)
  })

  test('I21: a page was split into small ones and nobody flushed the large one', async () => {
    const { simulation } = await simulateHere(testConfig({ cpus: 1 }), image([{ threads: [
      { comm: 'main', program: program('main',
        mmap(0, 512, { at: u64(0x4000_0000n), fixed: true, huge: true }), touch(area(0, 0, 1), 'write'), LONG) },
    ] }]), { untilCycle: STOP })
    const k = simulation.kernel
    const { mm } = k.tasks[0]!
    const { pfn, slot, lo, hi } = peekWalk(k.geometry, k.mem, mm!.pgdPfn, 0, 0x4000_0000).steps.at(-1)!
    const table = k.frames.allocate(0, 0, 3)
    for (let i = 0; i < 512; i++) k.mem.store(table, i, (lo & ~PAGE_PSE) + i * 4096, hi)
    k.mem.store(pfn, slot, makeEntryLo(table, 0x67, 12), 0)
    // As after a split of the page without a flush.
    expect(complaint(() => checkTlbs(k))).toMatch(/^I21: cpu0 .* mm 2 page 0x0000000040000000: .* another page size/)
  })

  test('a responder that does not execute its flush is caught in the run itself', async () => {
    const steps = [mmap(1, 1), munmap(area(1)), dontneed(area(0, 0, 2))]
    const { simulation, finish } = steppedRun(testConfig(), image([{ threads: [
      { comm: 'main', cpus: [0], program: program('main',
        mmap(0, 4, { at: u64(BigInt(AT)), fixed: true }), touch(area(0), 'write'), signal(0), compute(20_000),
        ...steps, LONG) },
      { comm: 'other', cpus: [1], program: program('other', spin(0), touch(area(0), 'read'), LONG) },
    ] }]), ({ kernel, cycle }) => checkTlbs(kernel, cycle))
    const mmu = simulation.kernel.platform.mmu(1)
    mmu.invlpg = () => undefined
    mmu.flushNonGlobal = () => undefined
    expect(complaint(finish)).toMatch(/^I[18]: cpu1 cycle \d+ task other-2 mm 2 page 0x000000001000[01]000: /)
  })

  test('I8: a sweep of LATR that does not flush breaks the promise that was put off for it', () => {
    const { finish } = steppedRun(testConfig({}, { policy: 'latr' }), image([{ threads: [
      { comm: 'main', cpus: [0], program: program('main',
        mmap(0, 4, { at: u64(BigInt(AT)), fixed: true }), touch(area(0), 'write'), signal(0), compute(20_000),
        dontneed(area(0, 0, 2)), LONG) },
      { comm: 'other', cpus: [1], program: program('other', spin(0), touch(area(0), 'read'), LONG) },
    ] }]), ({ kernel, cycle }) => {
      if (watchOf(kernel) === undefined) watch(kernel)
      checkPromises(kernel, cycle)
      const [kept] = kernel.deferredFrees
      if (kept?.isOpen === false && kept.waitFor.has(1)) kept.waitFor.delete(1)
    })
    expect(complaint(finish)).toMatch(
      /^I8: cpu1 cycle \d+ task other-2 mm 2 page 0x0000000010000000: the flush of cpu0 \(generation 1\) returned/)
  })

  test('an initiator that does not wait for the flush frees too early', async () => {
    const { simulation, finish } = steppedRun(testConfig(), image([{ threads: [
      { comm: 'main', cpus: [0], program: program('main',
        mmap(0, 4, { at: u64(BigInt(AT)), fixed: true }), touch(area(0), 'write'), signal(0), compute(20_000),
        repeat(3, dontneed(area(0)), touch(area(0), 'write')), LONG) },
      { comm: 'other', cpus: [1], program: program('other', spin(0), repeat(100, touch(area(0), 'read')), LONG) },
    ] }]), ({ kernel, cycle }) => checkEverything(kernel, cycle))
    // The mask loses the other CPU: nobody is told, as in the lost-bit bug of 4.4 (H1).
    const { kernel } = simulation
    const original = kernel.policy.flushMmRange
    const policy = kernel.policy as { flushMmRange: typeof original }
    policy.flushMmRange = function* lossy(k, cpu, mm, range) {
      const had = mm.mmCpumask.has(1)
      mm.mmCpumask.clear(1)
      yield* original(k, cpu, mm, range)
      if (had) mm.mmCpumask.set(1)
    }
    try {
      expect(complaint(finish)).toMatch(/^I[168]: cpu1 cycle \d+ task other-2 mm 2/)
    } finally {
      policy.flushMmRange = original
    }
  })
})

test('a recount of frames reads every table once and says how many there were', async () => {
  const { k } = await threeCpus()
  const tables = [...k.mms.values()].reduce((sum, mm) => sum + mm.tablePages, 0)
  expect(checkFrames(k)).toBe(tables)
})
