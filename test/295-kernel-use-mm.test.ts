// Kernel threads that take an address space, lockless walks of page tables, LDTs, and hardware that
// walks on its own.

import { describe, expect, test } from 'vitest'
import { simulateHere } from '../src/engine/simulate.js'
import type { SimulationConfig } from '../src/kernel/config.js'
import type { ProgramImage } from '../src/kernel/abi.js'
import { EVENT } from '../src/trace/events.js'
import { eventsOf } from '../src/trace/recorder.js'
import { testConfig } from './support/machines.js'
import { area, compute, gupFast, image, mmap, modifyLdt, munmap, program, signal, sleep, spin, touch, unuseMm, useMm,
} from './support/programs.js'

const LONG = compute(1_000_000)

/** Runs with checks, stops there, and lets the caller look. */
async function at(untilCycle: number, config: SimulationConfig, programs: ProgramImage) {
  const { simulation, result } = await simulateHere(config, programs, { untilCycle, check: true })
  return { k: simulation.kernel, result, events: [...eventsOf(result.trace)] }
}

describe.each(['linux-4.6', 'linux-6.x'] as const)('kthread_use_mm of %s', (era) => {
  const programs = image([
    { threads: [{ comm: 'app', cpus: [0], program: program('app',
      mmap(0, 4), touch(area(0), 'write', { count: 2 }), LONG) }] },
    { kernelThread: true, threads: [{ comm: 'worker', cpus: [1], program: program('worker',
      sleep(20_000), useMm(0), touch(area(0), 'write'), compute(100_000), unuseMm(), compute(100_000)) }] },
  ])

  test('a kernel thread is a user of the mm while it has it, and a borrower afterwards', async () => {
    const during = await at(100_000, testConfig({}, { era }), programs)
    const mm = during.k.tasks[0]!.mm!
    const worker = during.k.tasks[1]!
    expect([worker.mm, worker.activeMm]).toEqual([mm, mm])
    expect([mm.mmUsers, mm.mmCount, mm.mmCpumask.toHex()]).toEqual([2, 2, '3'])
    const after = await at(200_000, testConfig({}, { era }), programs)
    const [app, borrower] = after.k.tasks
    expect([borrower!.mm, borrower!.activeMm]).toEqual([undefined, app!.mm])
    expect([app!.mm!.mmUsers, app!.mm!.mmCount]).toEqual([1, 2])
  })

  test('its accesses fault in the kernel where nothing is mapped, and map the pages of the process', async () => {
    const { k, events } = await at(100_000, testConfig({}, { era }), programs)
    const faults = events.filter(each => each.kind === EVENT.pageFaultKernel)
    expect(faults.map(each => each.comm)).toEqual(['worker', 'worker'])
    expect(k.tasks[0]!.mm!.rssPages).toBe(4)
  })

  test('a process that is gone is ESRCH, a second mm EBUSY; exit gives it back', async () => {
    const { k, result } = await at(Infinity, testConfig({}, { era }), image([
      { threads: [{ comm: 'app', cpus: [0], program: program('app', mmap(0, 4), touch(area(0), 'write'), LONG) }] },
      { kernelThread: true, threads: [{ comm: 'worker', cpus: [1], program: program('worker',
        sleep(20_000), useMm(0), useMm(0), touch(area(0), 'read'), sleep(3_000_000), unuseMm(), useMm(0)) }] },
    ]))
    expect(result.end).toBe('finished')
    // The idle CPUs borrow what is left of it.
    expect([...k.mms.values()].slice(1).map(mm => [mm.mmUsers, mm.mmCount, mm.rssPages])).toEqual([[0, 2, 0]])
  })
})

describe('get_user_pages_fast', () => {
  const walker = program('walker', mmap(0, 64), mmap(1, 4), touch(area(0), 'write'), touch(area(1), 'write'),
    signal(0), gupFast(area(0)), LONG)
  const other = program('other', spin(0), compute(500), munmap(area(1)), munmap(area(0)), LONG)

  test('keeps a flush waiting, because its interrupts are off; pinned frames outlive the munmap', async () => {
    const { events, k } = await at(200_000, testConfig(), image([{ threads: [
      { comm: 'walker', cpus: [0], program: walker }, { comm: 'other', cpus: [1], program: other },
    ] }]))
    const of = (name: string, comm: string): number =>
      events.find(each => each.name === name && each.comm === comm)!.cycle
    const entered = events.find(each => each.name === 'sys_enter' && each.fields.name === 'gupFast')!.cycle
    const left = events.find(each => each.name === 'sys_exit' && each.fields.name === 'gupFast')!
    const sent = of('ipi_send_cpu', 'other')
    const handled = of('call_function_single_entry', 'walker')
    expect([entered < sent, handled > sent + 1000, left.fields]).toEqual([true, true, { name: 'gupFast', result: 64 }])
    expect(k.rcuTables).toEqual([])
    expect(k.tasks[0]!.mm!.rssPages).toBe(0)
  })

  test('without a mapping it is EFAULT, and what is not there yet is faulted in', async () => {
    const { events } = await at(Infinity, testConfig({ cpus: 1 }), image([{ threads: [
      { comm: 'walker', program: program('walker', gupFast(area(1)), mmap(0, 4), gupFast(area(0)), mmap(1, 4),
        munmap(area(1)), gupFast(area(1))) },
    ] }]))
    const results = events.filter(each => each.name === 'sys_exit' && each.fields.name === 'gupFast')
    // Pages that were never written are the zero page, which is not pinned.
    expect(results.map(each => each.fields)).toEqual([
      { name: 'gupFast', result: -14 }, { name: 'gupFast', result: 0 }, { name: 'gupFast', result: -14 }])
  })

  test("a driver's memory is EFAULT, also where its pages are mapped", async () => {
    const { events } = await at(Infinity, testConfig({ cpus: 1 }), image([{ threads: [
      { comm: 'walker', program: program('walker', mmap(0, 4, { device: true, populate: true }), gupFast(area(0))) },
    ] }]))
    const results = events.filter(each => each.name === 'sys_exit' && each.fields.name === 'gupFast')
    expect(results.map(each => each.fields)).toEqual([{ name: 'gupFast', result: -14 }])
  })
})

test.each(['linux-4.6', 'linux-6.x'] as const)('modify_ldt of %s reaches every CPU that runs the mm', async (era) => {
  const { k, events } = await at(100_000, testConfig({ cpus: 3 }, { era }), image([
    { threads: [
      { comm: 'main', cpus: [0], program: program('main',
        signal(0), compute(20_000), modifyLdt(8), modifyLdt(600), LONG) },
      { comm: 'runs', cpus: [1], program: program('runs', spin(0), LONG) },
    ] },
    { threads: [{ comm: 'rival', cpus: [2], program: program('rival', modifyLdt(4), LONG) }] },
  ]))
  const [main, , rival] = k.tasks
  expect(k.cpus.map(cpu => cpu.ldt)).toEqual([main!.mm!.ldt, main!.mm!.ldt, rival!.mm!.ldt])
  expect([main!.mm!.ldt?.entries, k.frames.order[main!.mm!.ldt!.pfn]]).toEqual([600, 1])
  expect(events.filter(each => each.name === 'ipi_send_cpu').map(each => each.cpu)).toEqual([0, 0])
})

test('with speculation a lazy CPU fills its TLB, and the run is a function of the seed', async () => {
  const programs = image([{ threads: [
    { comm: 'main', cpus: [0], program: program('main', mmap(0, 8), touch(area(0), 'write'), signal(0),
      ...Array.from({ length: 60 }, () => sleep(1000))) },
    { comm: 'lazy', cpus: [1], program: program('lazy', spin(0), sleep(0)) },
  ] }])
  const entries = async (speculation: boolean, seed: number): Promise<string[]> => {
    const { k } = await at(100_000, { ...testConfig({}, { speculation }), seed }, programs)
    const found: string[] = []
    k.platform.mmu(1).forEachTlbEntry(entry => found.push(`${entry.level} ${entry.lo}`))
    return found
  }
  expect(await entries(false, 1)).toEqual([])
  const filled = await entries(true, 1)
  expect(filled.length).toBeGreaterThan(0)
  expect(await entries(true, 1)).toEqual(filled)
  expect(await entries(true, 2)).not.toEqual(filled)
})
