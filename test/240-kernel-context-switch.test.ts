// The four kinds of context switch: who has which mm afterwards, what mm_count does on the way, and
// who frees an address space that nobody needs any more.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { KernelEra } from '../src/kernel/config.js'
import { FRAME_FREE, FRAME_TABLE } from '../src/kernel/pages/frames.js'
import type { Mm } from '../src/kernel/mm/mm.js'
import type { KernelState } from '../src/kernel/state.js'
import type { Task } from '../src/kernel/sched/task.js'
import { steppedRun } from './support/checked-run.js'
import { KernelBench } from './support/kernel-bench.js'
import { testConfig } from './support/machines.js'
import { area, compute, giveWay, image, mmap, program, repeat, signal, sleep, touch } from './support/programs.js'
import type { ProcessSpec, Step } from './support/programs.js'
import { randomRun } from './support/random-programs.js'

const ERAS: readonly KernelEra[] = ['linux-4.6', 'linux-6.x']
const both = <T>(era: KernelEra, in46: T, in6x: T): T => (era === 'linux-4.6' ? in46 : in6x)

const user = (comm: string, ...steps: Step[]) => ({ threads: [{ comm, cpus: [0], program: program(comm, ...steps) }] })
const kernel = (comm: string, ...steps: Step[]) => ({ kernelThread: true, ...user(comm, ...steps) })

function oneCpu(era: KernelEra, processes: readonly ProcessSpec[]): KernelBench {
  return new KernelBench(testConfig({ cpus: 1 }, { era }), image(processes))
}

/** Every value that mm_count takes from now on. */
function watchCount(mm: Mm, onChange: () => void = () => undefined): number[] {
  const values: number[] = []
  let count = mm.mmCount
  Object.defineProperty(mm, 'mmCount', {
    get: () => count,
    set: (value: number) => {
      count = value
      values.push(value)
      onChange()
    },
  })
  return values
}

/** Time for the others to go to sleep; flag 2 says that this task runs again. */
const SETTLED: Step[] = [sleep(10_000), signal(2), compute(100)]

describe.each(ERAS)('%s', era => {
  test('user to user, same mm: nothing is counted and nothing is switched', () => {
    const threads = ['a', 'b'].map((comm, flag) => ({ comm, cpus: [0], program: program(comm,
      compute(100), giveWay(), giveWay(), signal(flag), giveWay(), compute(5000)) }))
    const bench = oneCpu(era, [{ threads }])
    bench.untilRunning(['a'])
    const counts = watchCount(bench.mmOf('a'))
    bench.mark()
    bench.untilSignal(1)
    expect(bench.sinceMark().slice(0, 3)).toEqual(['0: switch', '0: switch', '0: switch'])
    expect(counts).toEqual([])
  })

  test('user to user, other mm: the root is switched, nothing is counted', () => {
    const steps = [compute(100), giveWay(), compute(100), giveWay(), compute(100)]
    const bench = oneCpu(era, [user('a', ...steps), user('b', ...steps, signal(0), compute(5000))])
    bench.untilRunning(['a'])
    const counts = [watchCount(bench.mmOf('a')), watchCount(bench.mmOf('b'))]
    const { current } = bench.cpu(0)
    bench.untilRunning(['b'])
    expect([current.activeMm, bench.cpu(0).current.activeMm]).toEqual([bench.mmOf('a'), bench.mmOf('b')])
    expect(counts).toEqual([[], []])
  })

  test('user to kernel borrows the mm for one reference; back to the same mm returns it', () => {
    const bench = oneCpu(era, [user('a', compute(100), sleep(20_000), signal(0), compute(5000))])
    bench.untilRunning(['a'])
    const mm = bench.mmOf('a')
    const counts = watchCount(mm)
    const idle = bench.cpu(0).idleTask
    expect(idle.activeMm).toBeUndefined()
    bench.until(() => bench.cpu(0).isIdle)
    expect([idle.activeMm, idle.mm, mm.mmCount, mm.mmUsers]).toEqual([mm, undefined, 2, 1])
    bench.mark()
    bench.untilSignal(0)
    expect(idle.activeMm).toBeUndefined()
    expect(counts).toEqual([2, 1])
    // Nothing was missed meanwhile, so the root is not even touched.
    expect(bench.sinceMark()).toEqual(['0: switch'])
  })

  test('kernel to kernel passes the borrowed mm on: counted up and down in 4.6, moved in 6.x', () => {
    const bench = oneCpu(era, [
      user('a', ...SETTLED, sleep(60_000), signal(0), compute(5000)),
      kernel('kworker', sleep(30_000), compute(500), signal(1), compute(500), sleep(100_000)),
    ])
    bench.untilSignal(2)
    const mm = bench.mmOf('a')
    const counts = watchCount(mm)
    const { idleTask } = bench.cpu(0)
    const kworker = bench.k.tasks.find(task => task.comm === 'kworker')!
    bench.until(() => bench.cpu(0).isIdle)
    expect([idleTask.activeMm, kworker.activeMm]).toEqual([mm, undefined])
    bench.untilSignal(1)
    expect([idleTask.activeMm, kworker.activeMm]).toEqual([undefined, mm])
    bench.untilSignal(0)
    expect([idleTask.activeMm, kworker.activeMm]).toEqual([undefined, undefined])
    // To idle; idle to kworker; kworker to idle; idle to a.
    expect(counts).toEqual(both(era, [2, 3, 2, 3, 2, 1], [2, 1]))
  })

  test('kernel to user, other mm: the borrowed one is dropped after the other root is loaded', () => {
    const bench = oneCpu(era, [
      user('a', ...SETTLED, sleep(90_000)), user('b', sleep(30_000), signal(0), compute(5000))])
    bench.untilSignal(2)
    const roots: number[] = []
    const counts = watchCount(bench.mmOf('a'), () => roots.push(bench.k.platform.mmu(0).rootPfn))
    bench.untilSignal(0)
    expect(counts).toEqual([2, 1])
    expect(roots).toEqual([bench.mmOf('a').pgdPfn, bench.mmOf('b').pgdPfn])
  })

  test('the last drop frees the root, on the stack of a task that has nothing to do with it', () => {
    const bench = oneCpu(era, [
      user('a', mmap(0, 1), touch(area(0), 'write'), ...SETTLED),
      user('b', sleep(60_000), signal(0), compute(5000))])
    bench.untilSignal(2)
    const mm = bench.mmOf('a')
    const counts = watchCount(mm)
    bench.until(() => mm.mmUsers === 0 && bench.cpu(0).isIdle)
    const { idleTask } = bench.cpu(0)
    expect([idleTask.activeMm, mm.isFreed, bench.k.frames.use[mm.pgdPfn]]).toEqual([mm, false, FRAME_TABLE])
    // All its user tables are gone, the borrowed root is not.
    expect(mm.tablePages).toBe(1)
    bench.untilSignal(0)
    expect([idleTask.activeMm, mm.isFreed, bench.k.frames.use[mm.pgdPfn]]).toEqual([undefined, true, FRAME_FREE])
    // exit_mm takes a lazy reference, mmput gives back that of the users, then as in the tests above.
    expect(counts).toEqual(both(era, [2, 1, 2, 1, 0], [2, 1, 0]))
    const free = bench.events().find(event => event.name === 'mm_free')!
    expect([free.comm, free.fields]).toEqual(['b', { mm: mm.ctxId }])
    const before = bench.events().slice(0, free.index).filter(event => event.cycle > free.cycle - 2000)
    expect(before.map(event => event.name).filter(name => name === 'sched_switch' || name === 'tlb_flush'))
      .toEqual(['sched_switch', 'tlb_flush'])
  })

  test('a thread that exits leaves its CPU lazy on the mm of the others, until another mm comes', () => {
    const bench = new KernelBench(testConfig({}, { era }), image([
      { threads: [
        { comm: 'stays', cpus: [0], program: program('stays', compute(300_000)) },
        { comm: 'exits', cpus: [1], program: program('exits', compute(20_000)) },
      ] },
      { threads: [{ comm: 'next', cpus: [1], program: program('next', sleep(80_000), signal(0), compute(1000)) }] },
    ]))
    bench.untilRunning(['stays', 'exits'])
    const mm = bench.mmOf('stays')
    expect([mm.mmUsers, mm.mmCount]).toEqual([2, 1])
    bench.until(() => mm.mmUsers === 1 && bench.cpu(1).isIdle)
    expect([mm.mmUsers, mm.mmCount, bench.cpu(1).idleTask.activeMm]).toEqual([1, 2, mm])
    expect(mm.mmCpumask.has(1)).toBe(true)
    bench.untilSignal(0)
    expect([mm.mmUsers, mm.mmCount, bench.cpu(1).idleTask.activeMm]).toEqual([1, 1, undefined])
    // 6.x leaves the bit for the next flush to trim.
    expect(mm.mmCpumask.has(1)).toBe(both(era, false, true))
  })

  test('init_mm has a reference for each idle task, and gets them back when the CPUs are idle on it', () => {
    const bench = new KernelBench(testConfig({ cpus: 3 }, { era }), image([user('a', compute(5000))]))
    const { initMm } = bench.k
    expect([initMm.mmUsers, initMm.mmCount]).toEqual([2, 4])
    bench.untilRunning(['a'])
    expect(initMm.mmCount).toBe(3)
    expect(bench.cpu(1).idleTask.activeMm).toBe(initMm)
  })
})

describe('mm and activeMm', () => {
  /** kernel-behaviour.md 3.4. In the middle of a switch both tasks may hold the mm that moves. */
  function check(k: KernelState): void {
    for (const task of [...k.tasks, ...k.cpus.map(cpu => cpu.idleTask)]) {
      const cpu = k.cpus.find(each => each.current === task)
      if (cpu !== undefined) {
        expect(task.activeMm).toBeDefined()
        if (task.mm !== undefined) expect(task.activeMm).toBe(task.mm)
      } else if (!isGoingOn(k, task)) {
        expect(task.activeMm).toBe(task.mm)
      }
    }
  }
  const isGoingOn = (k: KernelState, task: Task): boolean => k.cpus.some(cpu => cpu.running === task)

  test('a user task has its own, a running kernel task borrows one, a kernel task that does not run has none', () => {
    fc.assert(fc.property(randomRun, ({ config, image: programs }) => {
      let steps = 0
      steppedRun(config, programs, ({ kernel: k }) => {
        if (steps++ % 4 === 0) check(k)
      }).finish()
    }), { numRuns: 20, seed: 9, endOnFailure: true })
  })

  test('are counted right through long chains of borrowing, in both eras', () => {
    for (const era of ERAS) {
      const chain = (n: number): Step => repeat(10, compute(70 * n), sleep(900 * n))
      const bench = new KernelBench(testConfig({ cpus: 2 }, { era }), image([
        ...[1, 2, 3].map(n => ({ threads: [{ comm: `u${n}`, program: program(`u${n}`, chain(n)) }] })),
        ...[1, 2].map(n => ({ kernelThread: true, threads: [{ comm: `k${n}`, program: program(`k${n}`, chain(n)) }] })),
      ]))
      expect(bench.finish().end).toBe('finished')
      // What is left is borrowed by idle CPUs.
      const { k } = bench
      for (const mm of k.mms.values()) {
        const lazy = k.cpus.filter(cpu => cpu.idleTask.activeMm === mm).length
        expect([mm.mmUsers, mm.mmCount]).toEqual(mm === k.initMm ? [2, 1 + lazy] : [0, lazy])
      }
    }
  })
})
