// Kernel buffers: global pages in the half of the address space that all share, how old roots learn
// of new tables, freed ranges that are flushed many at a time, and what becomes of wrong accesses.

import { describe, expect, test } from 'vitest'
import type { GeometryName } from '../src/machine/config.js'
import { indexAt } from '../src/machine/geometry.js'
import { hex64 } from '../src/base/units.js'
import type { KernelConfig, KernelEra } from '../src/kernel/config.js'
import { vpnHi, vpnLo } from '../src/kernel/state.js'
import { KernelBench } from './support/kernel-bench.js'
import { testConfig } from './support/machines.js'
import { compute, image, kernelTouch, mark, program, signal, spin, useMm, vfree, vmalloc } from './support/programs.js'
import type { ProcessSpec, Step } from './support/programs.js'

const ERAS: readonly KernelEra[] = ['linux-4.6', 'linux-6.x']
const LONG = compute(1_000_000)

const process = (comm: string, cpu: number, ...steps: Step[]): ProcessSpec =>
  ({ threads: [{ comm, cpus: [cpu], program: program(comm, ...steps) }] })

function benchOf(
  kernel: Partial<KernelConfig>, processes: ProcessSpec[], geometry: GeometryName = 'x86-64',
): KernelBench {
  const is64 = geometry.startsWith('x86-64')
  return new KernelBench(
    testConfig({ geometry }, { ...kernel, pcid: is64 && kernel.era !== 'linux-4.6' }), image(processes, { buffers: 3 }))
}

/** Kernel translations of a CPU that are not of the direct map or the image: address and frame. */
function bufferEntries(bench: KernelBench, cpu: number): string[] {
  const found = new Set<string>()
  bench.k.platform.mmu(cpu).forEachTlbEntry((entry) => {
    if (!entry.user) found.add(`${hex64(entry.hi, entry.lo)}${entry.global ? ' G' : ''}${entry.nx ? ' NX' : ''}`)
  })
  return [...found].toSorted()
}

describe.each(ERAS)('vmalloc of %s', (era) => {
  const two = (...steps: Step[]): ProcessSpec[] => [
    process('a', 0, vmalloc(0, 4), kernelTouch(0, { access: 'write', count: 4 }), signal(0), spin(1), ...steps,
      signal(2), LONG),
    process('b', 1, spin(0), kernelTouch(0, { count: 4 }), signal(1), spin(2), LONG),
  ]

  test('maps global pages that no program may execute, at the start of its range, for every process', () => {
    const bench = benchOf({ era }, two())
    bench.untilSignal(1)
    const pages = [0, 1, 2, 3].map(i => `0xffffc9000000${i}000 G NX`)
    expect([bufferEntries(bench, 0), bufferEntries(bench, 1)]).toEqual([pages, pages])
    expect(bench.k.frames.use[bench.k.vmalloc.buffers[0]!.frames[0]!]).toBe(4)
  })

  test('a root that is older than the table learns of it at the first access (4.6), or has it from boot (6.x)', () => {
    const bench = benchOf({ era }, two())
    const { k } = bench
    const slot = indexAt(k.geometry, k.geometry.topLevel, vpnHi(k, k.vmalloc.start), vpnLo(k, k.vmalloc.start))
    expect(slot).toBe(402)
    const rootEntries = (): boolean[] => [...k.mms.values()].map(mm => k.mem.loadLo(mm.pgdPfn, slot) !== 0)
    expect(rootEntries()).toEqual(era === 'linux-4.6' ? [false, false, false] : [true, true, true])
    bench.untilSignal(1)
    expect(rootEntries()).toEqual([true, true, true])
    // Both processes are older than the buffer.
    expect(k.counters.vmallocFaults).toBe(era === 'linux-4.6' ? 2 : 0)
    const faults = bench.events().filter(event => event.name === 'page_fault_kernel')
    expect(faults.map(event => [event.cpu, event.fields.errorCode])).toEqual(
      era === 'linux-4.6' ? [[0, 2], [1, 0]] : [])
  })

  test('vfree gives the frames back at once and flushes nothing; the range stays taken', () => {
    const bench = benchOf({ era }, two(mark('FREE'), vfree(0), vmalloc(1, 4)))
    bench.untilSignal(1)
    const { k } = bench
    const free = k.frames.freeFrames
    bench.mark()
    bench.untilSignal(2)
    expect(bench.sinceMark()).toEqual([])
    expect([k.frames.freeFrames, k.vmalloc.lazyPages, k.counters.vmapPurges]).toEqual([free, 5, 0])
    expect(k.vmalloc.buffers[1]!.start - k.vmalloc.start).toBe(5)
    // CPU 1 still has what it read, and no invariant minds.
    expect(bufferEntries(bench, 1).length).toBe(4)
  })

  test('when too much waits, one flush on every CPU covers all of it, and the range is free', () => {
    const bench = benchOf({ era, vmapLazyPages: 5 }, two(vmalloc(1, 2), vfree(0), signal(3), vfree(1), vmalloc(2, 1)))
    bench.untilSignal(3)
    bench.mark()
    bench.untilSignal(2)
    const { k } = bench
    const events = bench.eventsSinceMark()
    const begin = events.find(event => event.name === 'flush_begin')!
    // Both areas and the guard pages behind them: 4 + 1 + 2 + 1.
    expect([begin.fields.mm, begin.fields.pages, begin.fields.start]).toEqual([-1, 8, 0xffff_c900_0000_0000n])
    expect(bench.sinceMark()).toEqual(['0: QUEUE 1', '0: SEND 1', '1: IRQ+', '1: IRQ-'])
    expect([bufferEntries(bench, 0), bufferEntries(bench, 1)]).toEqual([[], []])
    expect([k.vmalloc.lazyPages, k.counters.vmapPurges, k.vmalloc.buffers[2]!.start]).toEqual([0, 1, k.vmalloc.start])
    expect(k.counters.nr_tlb_local_flush_one).toBe(era === 'linux-4.6' ? 0 : 16)
  })

  test('above the ceiling everything goes, global entries of all kinds included', () => {
    const bench = benchOf({ era, vmapLazyPages: 0, flushCeilingPages: 4 }, two(vfree(0)))
    bench.untilSignal(1)
    bench.mark()
    bench.untilSignal(2)
    const begin = bench.eventsSinceMark().find(event => event.name === 'flush_begin')!
    expect(begin.fields.pages).toBe(-1)
    expect(bench.k.counters.nr_tlb_remote_flush_received).toBe(2)
    expect([bufferEntries(bench, 0), bufferEntries(bench, 1)]).toEqual([[], []])
  })

  test('an access to a freed buffer is an oops that ends the task, unless the TLB still has the page', () => {
    const bench = benchOf({ era }, [
      process('a', 0, vmalloc(0, 4), kernelTouch(0), vfree(0), kernelTouch(0), signal(0),
        kernelTouch(0, { offset: 4096 })),
      process('b', 1, spin(0), kernelTouch(0), LONG),
    ])
    const result = bench.finish()
    expect(result.tasks.map(task => task.outcome)).toEqual(['SIGSEGV', 'SIGSEGV'])
    expect([bench.k.counters.kernelUseAfterFree, bench.k.counters.kernelOopses]).toEqual([1, 2])
    const signals = bench.events().filter(event => event.name === 'signal')
    expect(signals.map(event => [event.comm, event.fields.name, event.fields.address])).toEqual([
      ['a', 'kernel oops', 0xffff_c900_0000_1000n], ['b', 'kernel oops', 0xffff_c900_0000_0000n]])
  })

  test('the guard page, a buffer that never was, and a kernel thread that dies with an mm in its hands', () => {
    const bench = benchOf({ era }, [
      process('a', 0, vmalloc(0, 2), signal(0), LONG),
      { kernelThread: true, threads: [{ comm: 'worker', cpus: [1], program: program('worker',
        useMm(0), compute(50_000), kernelTouch(0, { count: 3 })) }] },
      process('b', 1, kernelTouch(1)),
    ])
    const result = bench.finish()
    expect(result.tasks.map(task => task.outcome)).toEqual(['exited', 'SIGSEGV', 'SIGSEGV'])
    expect(bench.k.counters.kernelOopses).toBe(2)
  })

  test('a name in use is EEXIST, a buffer that is gone EINVAL, no memory ENOMEM with everything given back', () => {
    const bench = benchOf({ era }, [process('a', 0,
      vmalloc(0, 2), { ...vmalloc(0, 2), expectError: 'EEXIST' }, vfree(0), { ...vfree(0), expectError: 'EINVAL' },
      { ...vfree(1), expectError: 'EINVAL' }, signal(0), { ...vmalloc(1, 100_000), expectError: 'ENOMEM' },
      signal(1), LONG)])
    bench.untilSignal(0)
    const free = bench.k.frames.freeFrames
    bench.untilSignal(1)
    expect([bench.k.failures, bench.k.frames.freeFrames]).toEqual([[], free])
  })

  test('on i386 the roots get the entry with the buffer in 6.x; PAE roots have it from the start', () => {
    for (const geometry of ['i386', 'i386-pae'] as const) {
      const bench = benchOf({ era, vmapLazyPages: 0 }, two(vfree(0)), geometry)
      bench.untilSignal(1)
      const isFaulting = era === 'linux-4.6' && geometry === 'i386'
      expect([geometry, bench.k.counters.vmallocFaults]).toEqual([geometry, isFaulting ? 2 : 0])
      expect(bufferEntries(bench, 1)[0]).toMatch(/^0x00000000f8800000 G/)
      bench.untilSignal(2)
      expect(bufferEntries(bench, 1)).toEqual([])
    }
  })
})

test('with five levels too', () => {
  const bench = benchOf({ era: 'linux-6.x' }, [
    process('a', 0, vmalloc(0, 1), kernelTouch(0), signal(0), LONG)], 'x86-64-la57')
  bench.untilSignal(0)
  expect(bufferEntries(bench, 0)).toEqual(['0xffa0000000000000 G NX'])
})

test('with page-table isolation the pages are not global, and a flush reaches them all the same', () => {
  const bench = benchOf({ era: 'linux-6.x', pti: true, vmapLazyPages: 0 }, [
    process('a', 0, vmalloc(0, 2), kernelTouch(0, { count: 2 }), signal(0), spin(1), vfree(0), signal(2), LONG),
    process('b', 1, spin(0), kernelTouch(0, { count: 2 }), signal(1), spin(2), LONG),
  ])
  bench.untilSignal(1)
  expect(bufferEntries(bench, 1)).toEqual(['0xffffc90000000000 NX', '0xffffc90000001000 NX'])
  bench.untilSignal(2)
  expect([bufferEntries(bench, 0), bufferEntries(bench, 1)]).toEqual([[], []])
})
