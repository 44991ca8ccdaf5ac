// Stress: what happens at a bad moment, or too often, must end, break no invariant and give everything
// back. The moments are swept: every run of a sweep differs from the last by a few hundred cycles.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { PROT_READ } from '../src/kernel/abi.js'
import type { KernelEra } from '../src/kernel/config.js'
import type { PerturbationConfig } from '../src/kernel/perturbation.js'
import { POLICIES, POLICY_NAMES } from '../src/kernel/policies.js'
import { simulateHere } from '../src/engine/simulate.js'
import { expectNoLeaks, runWithoutLeaks } from './support/leaks.js'
import { testConfig } from './support/machines.js'
import { area, clone, compute, dontneed, execve, exit, exitGroup, fork, image, kill, mmap, modifyLdt, mprotect, munmap,
  program, reclaim, repeat, signal, sleep, spin, touch, vfork, wait } from './support/programs.js'
import type { Step, ThreadSpec } from './support/programs.js'
import { randomRunOfAnyPolicy } from './support/random-programs.js'

const ERAS: readonly KernelEra[] = ['linux-4.6', 'linux-6.x']
const RUNS = Number(process.env['FUZZ_RUNS'] ?? 60)
const thread = (comm: string, cpus: number[], ...steps: Step[]): ThreadSpec =>
  ({ comm, cpus, program: program(comm, ...steps) })
const config = (era: KernelEra, cpus: number) => testConfig({ cpus }, { era })

/** Moments from 0 to `to`, in uneven steps. */
function* moments(to: number, step: number): Generator<number> {
  for (let at = 1; at < to; at += step) yield at
}

for (const era of ERAS) {
  describe(era, () => {
    test('a thread that exits at any moment of a shootdown: it is answered, or not asked', async () => {
      for (const at of moments(6000, 370)) {
        const { counters } = await runWithoutLeaks(config(era, 3), image([{ threads: [
          thread('main', [0], mmap(0, 40), touch(area(0), 'write'), signal(0), compute(3000), munmap(area(0))),
          thread('leaves', [1], spin(0), touch(area(0), 'read'), compute(at)),
          thread('stays', [2], spin(0), touch(area(0), 'read'), compute(20_000)),
        ] }]))
        expect(counters.shootdowns).toBeGreaterThan(0)
      }
    })

    test('the last thread exits while another CPU of the process is still flushing for it', async () => {
      for (const at of moments(8000, 590)) {
        await runWithoutLeaks(config(era, 3), image([
          { threads: [
            thread('a', [0], mmap(0, 20), touch(area(0), 'write'), signal(0), compute(2000), dontneed(area(0))),
            thread('b', [1], spin(0), touch(area(0), 'write'), compute(at), exitGroup()),
            thread('c', [2], spin(0), touch(area(0), 'read'), sleep(at)),
          ] },
        ]))
      }
    })

    test('a task that is killed at any moment while it holds mmap_lock for a flush lets others go on', async () => {
      for (const at of moments(9000, 610)) {
        const { tasks } = await runWithoutLeaks(config(era, 4), image([
          { threads: [
            thread('victim', [0], mmap(0, 30), touch(area(0), 'write'), signal(0), compute(2000),
              mprotect(area(0), PROT_READ), munmap(area(0)), compute(100_000)),
            thread('reader', [1], spin(0), touch(area(0), 'read', { count: 400 }), compute(100_000)),
            thread('writer', [2], spin(0), compute(2100), mmap(1, 4), touch(area(1), 'write'), compute(100_000)),
          ] },
          { threads: [thread('killer', [3], spin(0), compute(at), kill('victim'))] },
        ]))
        expect(tasks.map(task => task.outcome)).toEqual(['SIGKILL', 'SIGKILL', 'SIGKILL', 'exited'])
      }
    })

    test('a fork bomb runs into EAGAIN, and every task of it ends', async () => {
      const bomb = (next: number): Step[] => [repeat(4, fork(next, 'bomb')), touch(area(0), 'write'), wait()]
      const { tasks, counters, kernel } = await runWithoutLeaks(
        testConfig({ cpus: 4, memoryBytes: 32 * 2 ** 20 }, { era }),
        image([{ threads: [thread('bomb', [], mmap(0, 2), touch(area(0), 'write'), ...bomb(0))] }],
          { children: [1, 2, 3, 4].map(next => program('bomb', ...bomb(next))).concat(program('bomb', compute(100))) }))
      expect(counters.failedSyscalls).toBeGreaterThan(0)
      expect(tasks.length).toBeGreaterThan(256)
      expect(kernel.threads).toBe(kernel.tasks.filter(task => task.state !== 'Z').length)
    })

    test('thousands of areas are mapped, changed and given back', async () => {
      const { kernel } = await runWithoutLeaks(testConfig({ cpus: 2, memoryBytes: 128 * 2 ** 20 }, { era }), image([
        { threads: [
          thread('main', [0], repeat(1200, mmap(0, 1), touch(area(0), 'write'), mmap(1, 1, { prot: PROT_READ }),
            touch(area(1), 'read')), fork(0, 'child', [1]), munmap(area(0)), wait()),
          thread('other', [1], compute(1000)),
        ] },
      ], { children: [program('child', touch(area(0), 'write'), munmap(area(1)), exit())] }))
      expect(kernel.counters.demandZero).toBe(1200)
    })

    test('processes that start and exec on all CPUs, with kernel threads that borrow what they leave', async () => {
      const work: Step[] = [mmap(0, 6), touch(area(0), 'write'), munmap(area(0, 0, 3))]
      const kworker = (cpu: number): ThreadSpec => thread(`kworker${cpu}`, [cpu], repeat(40, sleep(2500), compute(300)))
      const { events } = await runWithoutLeaks(config(era, 3), image([
        { threads: [thread('shell', [0], mmap(1, 8), touch(area(1), 'write'),
          repeat(12, fork(0, 'forked'), vfork(0, 'vforked')), wait())] },
        ...[0, 1, 2].map(cpu => ({ kernelThread: true, threads: [kworker(cpu)] })),
      ], { children: [
        program('starts', execve(1, 'program')),
        program('program', ...work, clone(2, 'thread'), compute(3000), ...work),
        program('thread', mmap(2, 4), touch(area(2), 'write'), compute(500)),
      ] }))
      expect(events.filter(event => event.name === 'sched_process_exec').length).toBe(24)
    })

    test('chains of vfork end in exec, exit and SIGKILL', async () => {
      const { tasks } = await runWithoutLeaks(config(era, 2), image([
        { threads: [thread('main', [0], mmap(0, 4), touch(area(0), 'write'), repeat(5, vfork(0, 'first')), wait())] },
        { threads: [thread('killer', [1], repeat(15, compute(9000), kill('second'), kill('third')))] },
      ], { children: [
        program('first', touch(area(0), 'write'), vfork(1, 'second'), wait()),
        program('second', vfork(2, 'third'), touch(area(0), 'read'), compute(4000)),
        program('third', clone(4, 'helper'), compute(2000), execve(3, 'new')),
        program('new', mmap(0, 2), touch(area(0), 'write'), compute(3000)),
        program('helper', touch(area(0), 'write'), compute(50_000)),
      ] }))
      expect(tasks.filter(task => task.comm === 'first').every(task => task.outcome === 'exited')).toBe(true)
    })
  })
}

for (const policy of POLICY_NAMES) {
  test(`${policy}: execs, exits and kills in a storm of flushes`, async () => {
    const { eras: [era], usesPcid, defersFrees } = POLICIES[policy]!
    const churn: Step[] = [repeat(6, mmap(1, 12), touch(area(1), 'write'), munmap(area(1)))]
    const made = testConfig({ cpus: 4 }, { era: era!, policy, pcid: usesPcid })
    const { simulation, result } = await simulateHere(made, image([
      { threads: [0, 1, 2].map(cpu => thread(`t${cpu}`, [cpu], ...(cpu === 0 ? [signal(0)] : [spin(0)]), ...churn,
        fork(0, `child${cpu}`), clone(1, `thread${cpu}`), ...churn, wait())) },
      { threads: [thread('killer', [3], compute(150_000), kill('child1'), compute(60_000), kill('thread2'))] },
    ], { children: [program('child', ...churn, execve(1, 'image'), compute(10)), program('thread', mmap(2, 3),
      touch(area(2), 'write'), compute(20_000))] }), { check: true })
    expect([result.end, result.stall]).toEqual(['finished', []])
    if (defersFrees === undefined) expectNoLeaks(simulation.kernel)
  })

  // Timings in which mach-1989 once waited for a request to be taken by a CPU that it held itself.
  test(`${policy}: flushes of a process and batches of reclaim cross in a CPU's handlers, and end`, async () => {
    const { eras: [era], usesPcid } = POLICIES[policy]!
    const made = testConfig({ cpus: 3, memoryBytes: 28 * 2 ** 20 },
      { era: era!, policy, pcid: usesPcid, swapBytes: 2 ** 24 })
    for (const seed of [13, 22, 27, 55, 77, 79, 84, 99]) {
      const perturbation: PerturbationConfig = { seed, kinds: ['steps', 'stalls', 'interrupts'] }
      const { result } = await simulateHere({ ...made, perturbation }, image([
        { threads: [
          thread('giver', [1], mmap(0, 64), mmap(1, 2), touch(area(0), 'write'), signal(0), compute(1 + seed),
            repeat(12, touch(area(1), 'write'), dontneed(area(1)))),
          thread('reader', [0], spin(0), repeat(10, touch(area(0), 'read'), compute(2000))),
        ] },
        { threads: [thread('taker', [2], spin(0), repeat(10, reclaim(4)), compute(1000))] },
      ]), { check: true })
      expect([result.end, result.stall]).toEqual(['finished', []])
    }
  })

  // Timings in which it once relied on the interrupt of a sender that it held before that was sent.
  test(`${policy}: flushes and other calls of a process cross between queueing and sending, and end`, async () => {
    const { eras: [era], usesPcid } = POLICIES[policy]!
    const made = testConfig({ cpus: 3 }, { era: era!, policy, pcid: usesPcid })
    for (const seed of [11, 47, 49, 52, 57, 63, 80, 83]) {
      const perturbation: PerturbationConfig = { seed, kinds: ['steps', 'stalls', 'interrupts'] }
      const { result } = await simulateHere({ ...made, perturbation }, image([{ threads: [
        thread('giver', [0], mmap(0, 8), mmap(1, 2), touch(area(0), 'write'), signal(0), compute(1 + seed),
          repeat(12, touch(area(1), 'write'), dontneed(area(1)))),
        thread('other', [1], spin(0), repeat(12, modifyLdt(8), modifyLdt(16))),
        thread('reader', [2], spin(0), repeat(20, touch(area(0), 'read'), compute(2000))),
      ] }]), { check: true })
      expect([result.end, result.stall]).toEqual(['finished', []])
    }
  })
}

test(`${RUNS} random programs under any policy leave nothing behind`, { timeout: 600_000 }, async () => {
  await fc.assert(fc.asyncProperty(randomRunOfAnyPolicy, async ({ config: made, image: programs }) => {
    const { simulation, result } = await simulateHere(made, programs, { check: true })
    expect([result.end, result.stall]).toEqual(['finished', []])
    if (POLICIES[made.kernel.policy]!.defersFrees === undefined) expectNoLeaks(simulation.kernel)
  }), { numRuns: RUNS, seed: 11 })
})
