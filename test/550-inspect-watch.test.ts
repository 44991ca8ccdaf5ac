// What checks see while it happens (inspect/watch.ts), and the story that a violation tells. Each
// test breaks the kernel at one place of a run with checks and reads the complaint.

import { describe, expect, test } from 'vitest'
import { InvariantViolation } from '../src/base/assert.js'
import { simulateHere } from '../src/engine/simulate.js'
import { openSimulation } from '../src/engine/scheduler-loop.js'
import { allocateSharedState } from '../src/engine/shared-state.js'
import type { Simulation } from '../src/engine/simulation.js'
import type { KernelCpu } from '../src/kernel/cpu.js'
import type { Mm } from '../src/kernel/mm/mm.js'
import { setEntry } from '../src/kernel/mm/pgtable.js'
import type { KernelState } from '../src/kernel/state.js'
import type { FlushTlbInfo } from '../src/kernel/tlb/tlb-policy.js'
import { makeEntryLo } from '../src/machine/entry.js'
import { peekWalk } from '../src/machine/mmu.js'
import { pageTableLock } from '../src/kernel/mm/zap.js'
import { testConfig } from './support/machines.js'
import { area, compute, dontneed, image, mmap, program, signal, spin, touch } from './support/programs.js'

const AT = 0x1000_0000
const VPN = AT / 4096
const LONG = compute(10_000_000)

const twoThreads = image([{ threads: [
  { comm: 'main', cpus: [0], program: program('main',
    mmap(0, 4, { at: { hi: 0, lo: AT }, fixed: true }), touch(area(0), 'write'), signal(0), compute(20_000),
    dontneed(area(0)), touch(area(0), 'write'), LONG) },
  { comm: 'other', cpus: [1], program: program('other', spin(0), touch(area(0), 'read'), LONG) },
] }])

interface Stopped {
  k: KernelState
  simulation: Simulation
  cpu: KernelCpu
  mm: Mm
  /** The leaf entry of the first page. */
  leaf: { pfn: number; slot: number; lo: number; hi: number }
}

/** Two threads of one mm, both in user mode, checks on. */
async function stopped(): Promise<Stopped> {
  const { simulation } = await simulateHere(testConfig({ cpus: 2 }), twoThreads, { untilCycle: 1_000_000, check: true })
  const k = simulation.kernel
  const mm = k.tasks[0]!.mm!
  return { k, simulation, cpu: k.cpus[0]!, mm, leaf: peekWalk(k.geometry, k.mem, mm.pgdPfn, 0, AT).steps.at(-1)! }
}

function complaint(act: () => void): InvariantViolation {
  try {
    act()
  } catch (error) {
    expect(error).toBeInstanceOf(InvariantViolation)
    return error as InvariantViolation
  }
  return expect.unreachable('nothing was found')
}

describe('facts that only the moment shows', () => {
  test('I10: a range flush may not skip a request', async () => {
    const { k, cpu, mm } = await stopped()
    const { ctxs, loadedMmAsid } = cpu.tlb6x
    mm.tlbGen = ctxs[loadedMmAsid]!.tlbGen + 2
    const info: FlushTlbInfo = {
      mm, start: VPN, end: VPN + 1, stridePages: 1, freedTables: false, newTlbGen: mm.tlbGen, initiator: cpu,
      trimCpumask: false,
    }
    k.observer!.flushBegun(cpu, info)
    expect(complaint(() => k.observer!.slotAdvanced(cpu, mm, loadedMmAsid, info, mm.tlbGen, false)).message)
      .toMatch(/^I10: cpu0 .* mm 2: slot 1 goes to generation 3 without request 2, which was never made/)
    k.observer!.slotAdvanced(cpu, mm, loadedMmAsid, info, mm.tlbGen, true)
  })

  test('I11: two requests have one generation', async () => {
    const { k, cpu, mm } = await stopped()
    const info: FlushTlbInfo = {
      mm, start: VPN, end: VPN + 1, stridePages: 1, freedTables: false, newTlbGen: 9, initiator: cpu,
      trimCpumask: false,
    }
    k.observer!.flushBegun(cpu, info)
    expect(complaint(() => k.observer!.flushBegun(cpu, info)).message).toMatch(/^I11: cpu0 .* two requests have gen/)
  })

  test('I14: CR3 is loaded without a flush into a slot that was behind when the switch was announced', async () => {
    const { k, cpu, mm } = await stopped()
    mm.tlbGen += 1
    k.observer!.switchBegun(cpu, mm)
    k.observer!.slotLoaded(cpu, mm, 1, true)
    expect(complaint(() => k.observer!.slotLoaded(cpu, mm, 1, false)).message)
      .toMatch(/^I14: cpu0 .* mm 2: loads CR3 without a flush, but slot 1 has generation \d+, the mm had \d+ already/)
  })

  test('I19: a present entry gets another frame at once, or after a clear without a flush', async () => {
    for (const clear of [false, true]) {
      const { k, cpu, mm, leaf } = await stopped()
      const lock = pageTableLock(mm, leaf.pfn)
      for (const step of lock.acquire(cpu, true)) expect(step).toBeGreaterThan(0)
      if (clear) setEntry(k, cpu, mm, leaf.pfn, leaf.slot, 0, 0)
      const other = makeEntryLo(k.zeroPagePfn, leaf.lo & 0xfff, 12)
      expect(complaint(() => setEntry(k, cpu, mm, leaf.pfn, leaf.slot, other, leaf.hi)).message)
        .toMatch(clear ? /^I19: .* page 0x0000000010000000: the entry of frame \d+ was cleared, and becomes frame/
          : /^I19: cpu0 .* page 0x0000000010000000: a present entry goes from frame \d+ to \d+ without being cleared/)
    }
  })

  test('I27: an entry is written without any lock', async () => {
    const { k, cpu, mm, leaf } = await stopped()
    expect(complaint(() => setEntry(k, cpu, mm, leaf.pfn, leaf.slot, leaf.lo & ~2, leaf.hi)).message)
      .toMatch(/^I27: cpu0 .* page 0x0000000010000000: writes table frame \d+ and holds neither its lock nor mmap_lock/)
  })

  test('I31: a table is freed under a walker, or read after it was freed', async () => {
    const { k, mm, leaf } = await stopped()
    const walker = k.cpus[1]!
    walker.walkedTables.push(leaf.pfn)
    expect(complaint(() => k.observer!.tableFreed(k.cpus[0]!, mm, leaf.pfn)).message)
      .toMatch(/^I31: cpu1 .* mm 2: table frame \d+ is freed under its walker/)
    k.frames.use[leaf.pfn] = 0
    expect(complaint(() => k.observer!.walkerReads(walker, mm, leaf.pfn)).message)
      .toMatch(/^I31: cpu1 .* a walker with interrupts off reads table frame \d+, which was freed/)
  })

  test('I7 of 6.x: a stale bit outlives the flush that should have trimmed it', async () => {
    const { k, cpu, mm } = await stopped()
    const other = k.cpus[1]!
    other.tlb6x.loadedMm = k.initMm
    const period = k.costs.frequencyGhz * 1e9
    const flush = (at: number): void => {
      const info: FlushTlbInfo = {
        mm, start: VPN, end: VPN + 1, stridePages: 1, freedTables: false, newTlbGen: at, initiator: cpu,
        trimCpumask: false,
      }
      cpu.now = at
      k.observer!.flushBegun(cpu, info)
      k.observer!.flushEnded(cpu, info, at)
    }
    flush(2_000_000)
    flush(2_000_000 + period)
    expect(complaint(() => flush(2_000_001 + period)).message)
      .toMatch(/^I7: cpu1 .* mm 2: its bit is set in mm_cpumask since cycle 2000000 at least, without the mm/)
  })
})

describe('the story of a violation', () => {
  const lossyRun = (trace: boolean): InvariantViolation => {
    const config = testConfig({ cpus: 2 })
    const { simulation } = openSimulation({
      config, image: twoThreads, memory: allocateSharedState(config.machine, twoThreads), trace, check: true,
      untilCycle: Infinity, workers: 1, workersAtOnce: 0, parallel: 0, shortestWorkerWindow: 0, grainCycles: 1,
      randomDelayMs: 0, dieAtWindow: 0,
    }, 'inline')
    // CPU 1 takes its interrupts and flushes nothing.
    const mmu = simulation.kernel.platform.mmu(1)
    mmu.invlpg = () => undefined
    mmu.flushNonGlobal = () => undefined
    return complaint(() => {
      while (simulation.run(1000) === 'running');
    })
  }

  test('names the promise, what should have been, the writes of the entry and the request, in order', () => {
    const { message, invariant } = lossyRun(true)
    expect(invariant).toBe('I8')
    expect(message).toMatch(/^I8: cpu1 cycle \d+ task other-2 mm 2 page 0x0000000010000000: the flush of cpu0 /)
    expect(message).toContain('\n  should be: when a flush of a range has returned, no CPU ')
    const story = message.slice(message.indexOf('what led there:'))
    const order = [
      'main-1 writes the pte entry of 0x10000000: none -> pfn', 'main-1 sys_enter name=madvise',
      'main-1 writes the pte entry of 0x10000000: pfn', '-> none', 'flush_begin mm=2', 'csd_queue_cpu cpu=1',
      'other-2 tlb_flush pages=4 reason=TLB_REMOTE_SHOOTDOWN', 'flush_ack cpu=0', 'flush_done mm=2',
    ].map(text => story.indexOf(text))
    expect(order).not.toContain(-1)
    expect([...order].sort((a, b) => a - b)).toEqual(order)
  })

  test('is the same when no trace is recorded: the last events are kept for it', () => {
    expect(lossyRun(false).message).toBe(lossyRun(true).message)
  })
})
