// LUF (the policy reuse-deferred): what reclaim takes from where nobody can write to it is not flushed
// before its frames are used again, or something in the same mm or file may be written to.

import { describe, expect, test } from 'vitest'
import { simulateHere } from '../src/engine/simulate.js'
import { PROT_READ, PROT_WRITE } from '../src/kernel/abi.js'
import type { KernelConfig } from '../src/kernel/config.js'
import { KernelBench } from './support/kernel-bench.js'
import { testConfig } from './support/machines.js'
import { area, compute, image, load, mmap, program, reclaim, signal, spin, store, touch, truncate,
} from './support/programs.js'
import type { ProcessSpec, Step } from './support/programs.js'

const FILES = [{ name: 'data', bytes: 16 * 4096 }]
const VIEW = { at: { hi: 0, lo: 0x1000_0000 }, fixed: true, file: 0, shared: true, prot: PROT_READ }
const LONG = compute(60_000)

const configOf = (kernel: Partial<KernelConfig> = {}) =>
  testConfig({ cpus: 3, memoryBytes: 28 * 2 ** 20 }, { policy: 'reuse-deferred', swapBytes: 2 ** 20, ...kernel })

const RECLAIMER: ProcessSpec = { threads: [
  { comm: 'reclaimer', cpus: [2], program: program('reclaimer', spin(0), LONG, reclaim(16), signal(1)) }] }

/** Two threads that have read the file through a read-only mapping; a third process reclaims its pages. */
function readers(main: Step[], other: Step[] = [spin(3)], prot = PROT_READ) {
  return image([
    { threads: [
      { comm: 'main', cpus: [0], program: program('main', mmap(0, 16, { ...VIEW, prot }), touch(area(0), 'read'),
        signal(0), spin(1), LONG, signal(2), ...main, signal(3)) },
      { comm: 'other', cpus: [1], program: program('other', spin(0), touch(area(0), 'read'), ...other) },
    ] },
    RECLAIMER,
  ], { files: FILES, flags: 6 })
}

function reclaimed(main: Step[], other?: Step[], prot?: number): KernelBench {
  const bench = new KernelBench(configOf({ timeSliceCycles: 10_000_000 }), readers(main, other, prot))
  bench.untilSignal(2)
  return bench
}

describe('pages of a file that nobody can write to', () => {
  test('are freed without an interrupt, and their frames are kept', () => {
    const bench = reclaimed([compute(10)])
    const { counters, unflushed, frames } = bench.k
    expect([counters.pgsteal, counters.unflushedFrames, counters.callFunctionIpis, counters.batchedFlushes])
      .toEqual([16, 16, 0, 0])
    expect(frames.keptFree).toBe(16)
    expect(unflushed.flatMap(one => one.frames).map(pfn => frames.refcount[pfn])).toEqual(Array(16).fill(1))
  })

  test('are read through old entries meanwhile, with the contents that they have', () => {
    const bench = reclaimed([load(area(0), 0n), compute(10)])
    const faults = bench.k.counters.pageFaults
    expect(bench.finish().failures).toEqual([])
    expect(bench.k.counters.pageFaults).toBe(faults)
  })

  test('are flushed in one go when the other free frames fall to the min watermark', () => {
    const bench = reclaimed([mmap(1, 4), touch(area(1), 'write')])
    const watermarks = bench.k.watermarks as { min: number }
    watermarks.min = bench.k.frames.freeFrames - 8
    bench.finish()
    expect([bench.k.frames.keptFree, bench.k.unflushed.length, bench.k.counters.batchedFlushes]).toEqual([0, 0, 1])
  })

  test('are flushed when the same mm touches something that may be written to', () => {
    const bench = reclaimed([mmap(1, 1), store(area(1), 1n)])
    bench.untilSignal(3)
    const { batchedFlushes, callFunctionIpis } = bench.k.counters
    expect([bench.k.frames.keptFree, batchedFlushes, callFunctionIpis]).toEqual([0, 1, 1])
  })
})

test('a write by another process to the same file is seen by who read it before', async () => {
  const writer = program('writer', spin(2), mmap(0, 16, { file: 0, shared: true, prot: PROT_READ | PROT_WRITE }),
    store(area(0), 9n), signal(4))
  const programs = readers([spin(4), load(area(0), 9n)], [spin(4), load(area(0), 9n)])
  const { processes, programs: all } = programs
  const { result, simulation } = await simulateHere(configOf(), {
    ...programs, programs: [...all, writer],
    processes: [...processes, { name: 'w', kernelThread: false, traceMappings: [],
      threads: [{ comm: 'writer', cpus: [2], program: all.length }] }],
  }, { check: true, trace: false })
  expect(result.failures).toEqual([])
  expect([result.counters.unflushedFrames, simulation.kernel.frames.keptFree]).toEqual([16, 0])
})

test('a file that was cut and grown again reads as zeroes, whatever was read before', async () => {
  const programs = readers(
    [truncate(0, 0), truncate(0, 16), signal(4), load(area(0), 0n)], [spin(4), load(area(0), 0n)])
  const { result } = await simulateHere(configOf(), programs, { check: true, trace: false })
  expect(result.failures).toEqual([])
})

test('pages of memory that was written to are flushed before they are freed', async () => {
  const programs = image([
    { threads: [
      { comm: 'main', cpus: [0], program: program('main', mmap(0, 16), touch(area(0), 'write'), signal(0), spin(1)) },
      { comm: 'other', cpus: [1], program: program('other', spin(0), touch(area(0), 'read'), spin(1)) },
    ] },
    RECLAIMER,
  ])
  const { result } = await simulateHere(configOf(), programs, { check: true, trace: false })
  expect([result.counters.pgsteal, result.counters.unflushedFrames]).toEqual([16, 0])
})
