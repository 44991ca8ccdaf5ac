// LATR: who frees memory interrupts nobody; the others find out at a tick or a switch.

import { describe, expect, test } from 'vitest'
import { PROT_READ } from '../src/kernel/abi.js'
import { findLeaf } from '../src/kernel/mm/pgtable.js'
import { KernelBench } from './support/kernel-bench.js'
import { testConfig } from './support/machines.js'
import { area, compute, dontneed, giveWay, load, mmap, mprotect, munmap, store, touch } from './support/programs.js'
import type { Step } from './support/programs.js'
import { onCpu } from './support/sequence.js'
import { neighbours, twoCpus } from './support/two-cpus.js'

/** One millisecond at the clock of the test machine. */
const TICK = 2_000_000

function benchOf(steps: Step[], other: 'running' | 'lazy' = 'running'): KernelBench {
  const made = new KernelBench(testConfig({}, { policy: 'latr', timeSliceCycles: 10 * TICK }),
    twoCpus(neighbours(4), steps, other))
  made.until(() => made.simulation.cycle > 50_000)
  return made
}

const untilSaved = (made: KernelBench): void => made.until(() => made.k.counters.savedStates > 0)

describe('munmap', () => {
  test('sends nothing, and keeps frames until the other CPU has ticked', () => {
    const made = benchOf([munmap(area(0)), compute(2 * TICK)])
    const free = made.k.frames.freeFrames
    made.mark()
    untilSaved(made)
    made.untilRunning(['main'])
    expect(onCpu(made.sinceMark(), 0)).toEqual(['flush(4,4)', 'flush(3,4)'])
    expect(made.k.deferredFrees.map(({ pages, waitFor }) => [pages.length, [...waitFor]])).toEqual([[4, [1]]])
    expect(made.k.frames.freeFrames).toBe(free)
    made.until(() => made.k.deferredFrees.length === 0)
    expect(Math.floor(made.simulation.cycle / TICK)).toBe(1)
    expect(onCpu(made.sinceMark(), 1)).toEqual(['flush(3,4)'])
    expect(made.k.frames.freeFrames).toBe(free + 4)
  })

  test('keeps the addresses as well: the next mmap goes elsewhere', () => {
    const made = benchOf([mmap(3, 4), touch(area(3), 'write'), munmap(area(3)), mmap(4, 4), compute(100_000)])
    untilSaved(made)
    const { start } = made.k.deferredFrees[0]!.freed
    made.until(() => made.simulation.platform.areaPages(made.mmOf('main'), 4) > 0)
    expect(made.simulation.platform.areaStart(made.mmOf('main'), 4)).toBe(start - 4)
  })

  test('is settled by an interrupt when a fixed mapping wants the addresses at once', () => {
    const again = mmap(0, 4, { at: { hi: 0, lo: 0x1000_0000 }, fixed: true })
    const made = benchOf([munmap(area(0)), again, compute(100_000)])
    made.until(() => made.k.counters.settledStates > 0)
    made.until(() => made.k.deferredFrees.length === 0)
    expect(made.k.counters.callFunctionIpis).toBe(1)
    expect(made.simulation.cycle).toBeLessThan(TICK)
  })

  test('that frees tables interrupts who holds the mm lazily, at once', () => {
    const made = benchOf([munmap(area(0)), munmap(area(1)), munmap(area(2)), compute(100_000)], 'lazy')
    made.mark()
    made.until(() => made.cpu(1).tlb6x.loadedMm === made.k.initMm)
    expect(onCpu(made.sinceMark(), 1)).toEqual(['IRQ+', expect.stringMatching(/^flush\(0,/), 'IRQ-'])
  })
})

describe('DONTNEED', () => {
  test('and a new touch: the other CPU lets the old frame go before the new one is mapped', () => {
    const made = benchOf([
      store(area(0), 7n), dontneed(area(0)), load(area(0), 0n), store(area(0), 9n), compute(100_000)])
    untilSaved(made)
    made.until(() => findLeaf(made.k, made.mmOf('main'), 0x10000) >= 0 && made.k.counters.settledStates > 0)
    made.until(() => made.k.deferredFrees.length === 0)
    expect(made.finish().failures).toEqual([])
  })
})

test('a context switch sweeps', () => {
  const made = benchOf([munmap(area(0)), compute(100_000)], 'running')
  untilSaved(made)
  made.untilRunning(['main', 'other'])
  made.enter(1, function* (k, cpu) {
    yield* k.policy.switchMm(k, cpu, made.mmOf('main'), made.mmOf('main'), cpu.current)
  })
  made.until(() => made.k.deferredFrees.length === 0)
  expect(made.simulation.cycle).toBeLessThan(TICK)
})

test('mprotect interrupts as ever', () => {
  const made = benchOf([giveWay(), mprotect(area(0), PROT_READ), compute(100_000)])
  made.mark()
  made.until(() => made.k.counters.callFunctionIpis > 0)
  expect(made.k.counters.savedStates).toBe(0)
})
