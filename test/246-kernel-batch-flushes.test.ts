// Flushes that are about no single address space: the batch of reclaim, kernel ranges, everything.
// What each era does, in records, interrupts and counters.

import { describe, expect, test } from 'vitest'
import type { KernelEra } from '../src/kernel/config.js'
import { CpuMask } from '../src/kernel/cpumask.js'
import type { KernelOp } from '../src/kernel/kernel-op.js'
import { FLUSH_ALL } from '../src/kernel/tlb/tlb-policy.js'
import { runScenario } from '../src/study/reproduce/simulated.js'
import { KernelBench } from './support/kernel-bench.js'
import { testConfig } from './support/machines.js'
import { area, compute, image, mmap, program, signal, sleep, spin, touch } from './support/programs.js'
import type { Step } from './support/programs.js'
import { onCpu } from './support/sequence.js'

const LONG = compute(100_000)
const KERNEL_VPN = 0xffff_c900_0000_0

/** One process with a thread on each CPU, all in user mode; the last one does `last` instead. */
function benchOf(cpus: number, era: KernelEra, last: Step = LONG): KernelBench {
  const begin = (i: number): Step[] =>
    i === 0 ? [mmap(0, 8), touch(area(0), 'write'), signal(0)] : [spin(0), touch(area(0), 'read')]
  const threads = Array.from({ length: cpus }, (_, i) => (
    { comm: `t${i}`, cpus: [i], program: program('t', ...begin(i), i === cpus - 1 ? last : LONG, LONG) }))
  const bench = new KernelBench(testConfig({ cpus }, { era, timeSliceCycles: 10_000_000 }), image([{ threads }]))
  const running = threads.slice(0, last === LONG ? cpus : cpus - 1)
  bench.untilRunning(running.map(thread => thread.comm), 60_000)
  bench.mark()
  return bench
}

/** CPU 0 flushes a batch of two pages of the process. */
function batch(bench: KernelBench): { here: string[]; there: string[] } {
  const mm = bench.mmOf('t0')
  bench.enterAll([0], function* (k, cpu): KernelOp {
    const mask = new CpuMask(k.cpus.length)
    for (let page = 0; page < 2; page++) k.policy.batchAdd(k, cpu, mask, mm)
    expect(mask.toHex()).toBe(mm.mmCpumask.toHex())
    yield* k.policy.flushBatch(k, cpu, mask, [mm])
  })
  return { here: onCpu(bench.sinceMark(), 0), there: onCpu(bench.sinceMark(), 1) }
}

describe('a batch of two pages', () => {
  test('4.6: a full flush here, then one request to the others, who take a flush of no mm as theirs', () => {
    const bench = benchOf(2, 'linux-4.6')
    expect(batch(bench)).toEqual({
      here: ['flush(2,-1)', 'flush(4,-1)', 'QUEUE 1', 'SEND 1'], there: ['IRQ+', 'flush(1,-1)', 'IRQ-'],
    })
    expect(bench.k.counters).toMatchObject({ nr_tlb_local_flush_all: 1, nr_tlb_remote_flush: 1 })
  })

  test('4.6: a lazy CPU is interrupted and leaves the mm', () => {
    const bench = benchOf(2, 'linux-4.6', sleep(1_000_000))
    expect(batch(bench).there).toEqual(['IRQ+', 'flush(0,-1)', 'IRQ-'])
    expect(bench.mmOf('t0').mmCpumask.toArray()).toEqual([0])
  })

  test('6.x: one generation a page, one full flush, reason 2 here and 1 there', () => {
    const bench = benchOf(2, 'linux-6.x')
    const mm = bench.mmOf('t0')
    const before = mm.tlbGen
    expect(batch(bench)).toEqual({
      here: ['flush(4,-1)', 'QUEUE 1', 'SEND 1', 'flush(2,-1)'], there: ['IRQ+', 'flush(1,-1)', 'IRQ-'],
    })
    expect(mm.tlbGen).toBe(before + 2)
  })

  test('6.x: a lazy CPU is skipped and finds itself behind when it comes back', () => {
    const bench = benchOf(2, 'linux-6.x', sleep(100_000))
    expect(batch(bench)).toEqual({ here: ['flush(4,-1)', 'flush(2,-1)'], there: [] })
    expect(bench.k.policy.ownerOf(bench.k, bench.cpu(1), bench.k.platform.mmu(1).pcid).behind).toBe('generation 0 < 2')
    bench.untilRunning(['t1'], bench.simulation.cycle + 1)
    expect(onCpu(bench.sinceMark(), 1)).toEqual(['switch', 'flush(0,-1)'])
  })

  test('6.x: only the own CPU in the mask: no request', () => {
    const bench = benchOf(1, 'linux-6.x')
    expect(batch(bench).here).toEqual(['flush(2,-1)'])
    expect(bench.k.counters.nr_tlb_remote_flush).toBe(0)
  })
})

describe.each<KernelEra>(['linux-4.6', 'linux-6.x'])('kernel pages, %s', era => {
  const flushed = (pages: number): { bench: KernelBench; events: string[] } => {
    const bench = benchOf(3, era)
    bench.enterAll([0], (k, cpu) => k.policy.flushKernelRange(k, cpu, KERNEL_VPN, KERNEL_VPN + pages))
    return { bench, events: bench.sinceMark().filter(line => /QUEUE|SEND|IRQ\+|flush/.test(line)) }
  }

  test('up to the ceiling every CPU drops them page by page, without a record', () => {
    const { bench, events } = flushed(33)
    expect(events).toEqual(['0: QUEUE 1', '0: QUEUE 2', '0: SEND mask 6', '1: IRQ+', '2: IRQ+'])
    expect(bench.k.counters).toMatchObject({
      nr_tlb_local_flush_one: era === 'linux-6.x' ? 99 : 0, nr_tlb_remote_flush: 0, nr_tlb_remote_flush_received: 0,
    })
  })

  test('beyond it every CPU drops everything', () => {
    const { bench } = flushed(34)
    expect(bench.k.counters).toMatchObject({ nr_tlb_remote_flush: 0, nr_tlb_remote_flush_received: 3 })
    let left = 0
    for (const cpu of bench.k.cpus) bench.k.platform.mmu(cpu.id).forEachTlbEntry(() => { left += 1 })
    expect(left).toBe(0)
  })

  test('flush_tlb_all counts as a request', () => {
    const bench = benchOf(2, era)
    bench.enterAll([0], (k, cpu) => k.policy.flushAll(k, cpu))
    expect(bench.k.counters).toMatchObject({ nr_tlb_remote_flush: 1, nr_tlb_remote_flush_received: 2 })
  })

  test('everything is a range, too', () => {
    const bench = benchOf(2, era)
    bench.enterAll([0], (k, cpu) => k.policy.flushKernelRange(k, cpu, 0, FLUSH_ALL))
    expect(bench.k.counters.nr_tlb_remote_flush_received).toBe(2)
  })
})

describe('reclaim that flushes every page by itself (before 4.3)', () => {
  async function reclaimed(flushEachUnmap: boolean): Promise<{ taken: number; ipis: number; batches: number }> {
    const { result } = await runScenario({
      machine: 'skl-2s', cpus: 3, kernel: { flushEachUnmap }, files: [{ name: 'data', pages: 64 }],
      processes: [
        { name: 'p', threads: [
          { name: 'a', cpu: 0, program: [
            { mmap: { name: 'view', file: 'data', pages: 64, prot: 'r', shared: true } }, { read: 'view' },
              { signal: 'go' },
            { spin: 'end' },
          ] },
          { name: 'b', cpu: 1, program: [{ spin: 'end' }] },
        ] },
        { name: 'r', cpu: 2, program: [{ spin: 'go' }, { reclaim: { pages: 32 } }, { signal: 'end' }] },
      ],
    })
    const { pgsteal, callFunctionIpis, batchedFlushes } = result.counters
    return { taken: pgsteal, ipis: callFunctionIpis, batches: batchedFlushes }
  }

  test('interrupts every CPU for every page, where batches do it once for 32 pages', async () => {
    const [each, batched] = [await reclaimed(true), await reclaimed(false)]
    // Old pages come in two rounds of 32, one page of which is still in use.
    expect([each.taken, batched.taken]).toEqual([63, 63])
    expect([each.batches > 0, batched.batches > 0]).toEqual([false, true])
    expect(each.ipis).toBeGreaterThanOrEqual(2 * 63)
    expect(batched.ipis).toBeLessThan(each.ipis / 4)
  })
})
