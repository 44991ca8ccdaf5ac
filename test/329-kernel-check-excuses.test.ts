// What looks like a broken invariant and is none: moments in which a CPU may rightly hold an old entry,
// or a task a frame that no table names. Each was a false alarm of the checks once. What matters is a
// moment, so every story is run with several pauses.

import { expect, test } from 'vitest'
import { simulate } from '../src/engine/simulate.js'
import { checkEverything } from '../src/inspect/check.js'
import { checkPromises } from '../src/inspect/check-ranges.js'
import { watch } from '../src/inspect/watch.js'
import type { ProgramImage } from '../src/kernel/abi.js'
import type { KernelCounter } from '../src/kernel/counters.js'
import type { SimulationConfig } from '../src/kernel/config.js'
import { eventsOf } from '../src/trace/recorder.js'
import { steppedRun } from './support/checked-run.js'
import { TEST_COSTS, testConfig } from './support/machines.js'
import { area, compute, dontneed, gupFast, image, migrate, mmap, mprotect, munmap, program, reclaim,
  signal, sleep, spin, touch, useMm,
} from './support/programs.js'

/** Runs the program for every pause and checks everything after every step; the sum of one of the counters. */
function sweep(
  config: SimulationConfig, pauses: { to: number; by: number }, story: (pause: number) => ProgramImage,
  counter: KernelCounter,
): number {
  let sum = 0
  for (let pause = 1; pause < pauses.to; pause += pauses.by) {
    const programs = story(pause)
    let watched = false
    const { simulation, finish } = steppedRun(config, programs, ({ kernel, cycle }) => {
      if (!watched) watch(kernel)
      watched = true
      checkPromises(kernel, cycle)
      checkEverything(kernel, cycle)
    })
    expect(finish()).toBe('finished')
    sum += simulation.kernel.counters[counter]
  }
  return sum
}

test('a kernel thread that takes the mm it had borrowed is behind until it has compared generations', () => {
  const story = (pause: number): ProgramImage => image([
    { threads: [
      { comm: 'app', cpus: [0], program: program('app', mmap(0, 8), touch(area(0), 'write'), signal(0), spin(1),
        compute(3000 + pause), munmap(area(0, 0, 4)), compute(100_000)) },
      { comm: 'other', cpus: [1], program: program('other', spin(0), touch(area(0), 'read'), signal(1),
        sleep(50_000)) },
    ] },
    { kernelThread: true, threads: [{ comm: 'worker', cpus: [1], program: program('worker',
      sleep(14_000), compute(20_000), useMm(0), touch(area(0, 4), 'read'), compute(1000)) }] },
  ])
  const skipped = sweep(testConfig({}, { policy: 'linux-6.x' }), { to: 4000, by: 2000 }, story, 'lazySkipped')
  expect(skipped).toBeGreaterThan(0)
})

test('get_user_pages_fast keeps the pages it has pinned while it sleeps for mmap_lock', () => {
  const story = (pause: number): ProgramImage => image([{ threads: [
    { comm: 'writer', cpus: [0], program: program('writer', mmap(0, 4),
      mmap(1, 256, { populate: true }), touch(area(0), 'write', { count: 2 }), signal(0),
      munmap(area(1)), compute(20_000)) },
    { comm: 'walker', cpus: [1], program: program('walker', spin(0), compute(pause), gupFast(area(0)), compute(1000)) },
    { comm: 'busy', cpus: [1], program: program('busy', sleep(5000), compute(50_000)) },
  ] }])
  const config = testConfig({ cpus: 2 }, { era: 'linux-4.6', policy: 'linux-4.6' })
  const slept = sweep(config, { to: 200, by: 100 }, story, 'mmapLockSleeps')
  expect(slept).toBeGreaterThan(0)
})

test('what is cleared after a flush has returned, in the same cycle, is none of its business', () => {
  const story = (pause: number): ProgramImage => image([
    { threads: [{ comm: 'a', cpus: [0], program: program('a', mmap(0, 8), touch(area(0), 'write'), signal(0),
      compute(pause), munmap(area(0)), compute(1000)) }] },
    { threads: [{ comm: 'b', cpus: [1], program: program('b', spin(0), reclaim(4), compute(1000)) }] },
  ])
  const config = testConfig({ cpus: 2, memoryBytes: 28 * 2 ** 20 },
    { policy: 'hardware-coherent', swapBytes: 2 ** 24 })
  const pending = sweep(config, { to: 1500, by: 500 }, story, 'batchedPendingFlushes')
  expect(pending).toBeGreaterThan(0)
})

test('a responder that has acknowledged early flushes, and records it, after the request is over', async () => {
  const programs = image([{ threads: [
    { comm: 'a', cpus: [0], program: program('a', mmap(0, 8), touch(area(0), 'write'), signal(0), compute(2000),
      munmap(area(0, 0, 4)), compute(20_000)) },
    { comm: 'b', cpus: [1], program: program('b', spin(0), touch(area(0), 'read'), compute(40_000)) },
  ] }])
  const config = testConfig({}, { policy: 'linux-6.x', earlyAck: true, flushCeilingPages: 0 })
  const { result } = await simulate(config, programs, { engine: 'inline', check: true })
  const events = [...eventsOf(result.trace)]
  const done = events.findIndex(each => each.name === 'flush_done')
  const flushed = events.findIndex(each => each.name === 'tlb_flush' && each.cpu === 1 && each.fields.reason === 1)
  expect(flushed).toBeGreaterThan(done)
})

test('mprotect to the rights that are there promises nothing about a page that migrates', () => {
  const story = (pause: number): ProgramImage => image([{ threads: [
    { comm: 'owner', cpus: [0], program: program('owner', mmap(0, 4), touch(area(0), 'write'), signal(0),
      compute(pause), mprotect(area(0), 3), compute(20_000)) },
    { comm: 'mover', cpus: [1], program: program('mover', spin(0), migrate(area(0)), compute(1000)) },
  ] }])
  const moved = sweep(testConfig({}, { policy: 'linux-6.x' }), { to: 3000, by: 40 }, story, 'pgmigrate_success')
  expect(moved).toBeGreaterThan(0)
})

test('a CPU that stops being lazy compares generations when its store is out, not a line transfer later', () => {
  const story = (pause: number): ProgramImage => image([{ threads: [
    { comm: 'app', cpus: [0], program: program('app', mmap(0, 8), touch(area(0), 'write'), signal(0), spin(1),
      compute(3000 + pause), munmap(area(0, 0, 4)), compute(100_000)) },
    { comm: 'other', cpus: [1], program: program('other', spin(0), touch(area(0), 'read'), signal(1),
      sleep(14_000), compute(1000)) },
  ] }])
  const config = testConfig({ costs: { ...TEST_COSTS, lineTransfer: 700, lineTransferRemote: 900 } },
    { policy: 'linux-6.x', mmCpumask: 'per-cpu' })
  const skipped = sweep(config, { to: 4000, by: 2000 }, story, 'lazySkipped')
  expect(skipped).toBeGreaterThan(0)
})

test('LATR: a full flush that a CPU does later promises nothing there that another interrupt brings', () => {
  // The areas have tables of their own, so that nobody waits for the lock of one.
  const at = { hi: 0, lo: 0x4000_0000 }
  const story = (pause: number): ProgramImage => image([{ threads: [
    { comm: 'copier', cpus: [0], program: program('copier',
      mmap(0, 4), mmap(1, 40, { populate: true, at, fixed: true }), signal(0),
      spin(1), compute(1000), touch(area(0), 'write', { count: 1 }), compute(1000)) },
    { comm: 'reader', cpus: [1], program: program('reader', spin(0), touch(area(0), 'read'), signal(1),
      compute(10_000)) },
    { comm: 'giver', cpus: [2], program: program('giver', spin(1), compute(pause), dontneed(area(1)),
      compute(1000)) },
  ] }])
  const saved = sweep(testConfig({ cpus: 3 }, { policy: 'latr' }), { to: 1000, by: 50 }, story, 'savedStates')
  expect(saved).toBeGreaterThan(0)
})
