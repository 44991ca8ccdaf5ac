// Run queues: who runs where and for how long, how an idle CPU learns of work, and what a wake-up
// or a fatal signal does to a task that waits.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { simulateHere } from '../src/engine/simulate.js'
import type { RunResult } from '../src/engine/result.js'
import type { ProgramImage } from '../src/kernel/abi.js'
import type { KernelConfig, KernelEra, SimulationConfig } from '../src/kernel/config.js'
import type { TraceEvent } from '../src/trace/events.js'
import { eventsOf } from '../src/trace/recorder.js'
import { testConfig } from './support/machines.js'
import { area, barrier, compute, fork, giveWay, image, load, mmap, munmap, program, repeat, signal, sleep, spin, touch,
  wait, wake } from './support/programs.js'
import type { Step, ThreadSpec } from './support/programs.js'
import { steppedRun } from './support/checked-run.js'
import { randomRun } from './support/random-programs.js'
import { onCpu, sequence } from './support/sequence.js'
import { BEGIN, END, neighbours, SETTLE, twoCpus } from './support/two-cpus.js'

const ERAS: readonly KernelEra[] = ['linux-4.6', 'linux-6.x']

async function run(
  programs: ProgramImage, cpus = 2, kernel: Partial<KernelConfig> = {},
): Promise<RunResult & { events: TraceEvent[] }> {
  const { result } = await simulateHere(testConfig({ cpus }, kernel), programs, { check: true })
  return { ...result, events: [...eventsOf(result.trace)] }
}

const process = (...threads: ThreadSpec[]): ProgramImage => image([{ threads }], { barriers: [2, 2], areas: 4 })
const thread = (comm: string, cpus: number[], ...steps: Step[]): ThreadSpec =>
  ({ comm, cpus, program: program(comm, ...steps) })

/** Who a CPU went to, in order. */
const order = (events: readonly TraceEvent[], cpu: number): string[] =>
  events.flatMap(event => event.cpu === cpu && event.name === 'sched_switch' ? [event.fields.nextComm] : [])

describe('an idle CPU', () => {
  const freeing = [mmap(0, 1), touch(area(0), 'write')]

  test('that halts is interrupted for a freed table', async () => {
    const lines = await sequence(testConfig(), twoCpus(freeing, [munmap(area(0))], 'lazy'))
    expect(onCpu(lines, 0)).toEqual(['flush(4,-1)', 'QUEUE 1', 'SEND 1', 'flush(3,-1)'])
    expect(onCpu(lines, 1)).toEqual(['IRQ+', expect.stringMatching(/^flush\(0,/), 'IRQ-'])
  })

  test('that polls is not, in 6.x: it finds the request on its list and leaves the mm in the idle loop', async () => {
    const lines = await sequence(testConfig({}, { idlePoll: true }), twoCpus(freeing, [munmap(area(0))], 'lazy'))
    expect(onCpu(lines, 0)).toEqual(['flush(4,-1)', 'QUEUE 1', 'flush(3,-1)'])
    expect(onCpu(lines, 1)).toEqual([expect.stringMatching(/^flush\(0,/)])
  })

  test('that polls is interrupted by 4.6, and by 6.x when others are interrupted with it', async () => {
    const one = await sequence(testConfig({}, { idlePoll: true, era: 'linux-4.6' }),
      twoCpus(freeing, [munmap(area(0))], 'lazy'))
    expect(onCpu(one, 1)).toEqual(['IRQ+', 'flush(0,-1)', 'IRQ-'])
    const lazy = (comm: string, cpu: number): ThreadSpec =>
      thread(comm, [cpu], spin(0), touch(area(0), 'read'), sleep(0))
    const two = await sequence(testConfig({ cpus: 3 }, { idlePoll: true }), process(
      thread('main', [0], ...freeing, signal(0), SETTLE, BEGIN, munmap(area(0)), END), lazy('a', 1), lazy('b', 2)))
    expect(onCpu(two, 0)).toEqual(['flush(4,-1)', 'QUEUE 1', 'QUEUE 2', 'SEND mask 6', 'flush(3,-1)'])
    expect([onCpu(two, 1)[0], onCpu(two, 2)[0]]).toEqual(['IRQ+', 'IRQ+'])
  })

  for (const idlePoll of [false, true]) {
    test(`that ${idlePoll ? 'polls is not' : 'halts is'} sent a reschedule interrupt for a task`, async () => {
      const { events, counters } = await run(process(
        thread('waker', [0], SETTLE, wake('sleeper')), thread('sleeper', [1], sleep(0))), 2, { idlePoll })
      expect(counters.rescheduleIpis).toBe(idlePoll ? 0 : 1)
      const entries = events.filter(event => event.cpu === 1 && event.name === 'reschedule_entry')
      expect(entries.length).toBe(idlePoll ? 0 : 1)
      expect(order(events, 1)).toEqual(['sleeper', 'swapper/1', 'sleeper', 'swapper/1'])
    })
  }

  test('that is on its way into another task is no longer idle: the next task goes elsewhere', async () => {
    // Both may run on CPUs 1 and 2; the second is woken while CPU 1 switches to the first.
    const { events } = await run(process(
      thread('waker', [0], SETTLE, wake('a'), compute(1050), wake('b'), compute(9000)),
      thread('a', [1, 2], sleep(0), compute(5000)), thread('b', [1, 2], sleep(0), compute(5000))), 3)
    const last = (comm: string): number[] => events.flatMap(event =>
      event.name === 'sched_switch' && event.fields.nextComm === comm ? [event.cpu] : []).slice(-1)
    expect([...last('a'), ...last('b')].sort()).toEqual([1, 2])
  })
})

describe('a time slice', () => {
  test('is not cut short by the interrupt for a second task: each runs to its end when it is short', async () => {
    for (const pause of [1, 300, 600, 900, 1200, 1500, 1800]) {
      const { events } = await run(process(
        thread('waker', [0], SETTLE, wake('a'), compute(pause), wake('b')),
        thread('a', [1], sleep(0), compute(5000)), thread('b', [1], sleep(0), compute(5000))))
      expect(order(events, 1).slice(-3)).toEqual(['a', 'b', 'swapper/1'])
    }
  })

  test('ends with a timer interrupt only while others wait', async () => {
    const long = compute(100_000)
    const alone = await run(process(thread('a', [0], long)), 1)
    expect(alone.events.filter(event => event.name === 'local_timer_entry')).toEqual([])
    const both = await run(process(thread('a', [0], long), thread('b', [0], long)), 1)
    expect(order(both.events, 0).slice(0, 6)).toEqual(['a', 'b', 'a', 'b', 'a', 'b'])
    const turns = both.events.filter(event => event.name === 'sched_switch').map(event => event.cycle)
    for (let i = 1; i < 6; i++) expect(turns[i]! - turns[i - 1]!).toBeGreaterThanOrEqual(20_000)
  })

  test('that ends inside a system call lets the call finish', async () => {
    const { events } = await run(process(
      thread('caller', [0], mmap(0, 500, { populate: true })), thread('other', [0], compute(200))), 1)
    const exit = events.findIndex(event => event.name === 'sys_exit')
    const ticks = events.flatMap((event, i) => event.name === 'local_timer_entry' ? [i] : [])
    expect(ticks[0]).toBeLessThan(exit)
    const before = events.slice(0, exit).filter(event => event.name === 'sched_switch')
    expect(before.map(event => event.comm)).toEqual(['<idle>'])
    expect(events[exit + 1]!.name).toBe('sched_switch')
  })

  test('that ends inside a kernel thread lets it finish what it computes', async () => {
    const { events } = await run(image([
      { kernelThread: true, threads: [thread('kworker', [0], compute(70_000), compute(10))] },
      { threads: [thread('user', [0], compute(100))] },
    ]), 1)
    const [, toUser] = events.filter(event => event.name === 'sched_switch')
    expect(toUser!.comm).toBe('kworker')
    expect(toUser!.cycle).toBeGreaterThan(70_000)
  })
})

test('a slice shorter than the way to user mode, with page-table isolation, is for one action', async () => {
  const busy = (comm: string) => ({ comm, program: program(comm, mmap(0, 4), repeat(10, touch(area(0), 'read'))) })
  const { result } = await simulateHere(
    testConfig({ cpus: 1 }, { pti: true, pcid: true, timeSliceCycles: 10 }),
    image([{ threads: [busy('one')] }, { threads: [busy('two')] }]), { untilCycle: 20_000_000 })
  expect(result.end).toBe('finished')
})

describe('affinity', () => {
  test('no program ever runs on a CPU that it may not run on, and a child keeps to its own', () => {
    fc.assert(fc.property(randomRun, ({ config, image: programs }) => {
      steppedRun(config, programs, ({ kernel }) => {
        for (const cpu of kernel.cpus) {
          if (!cpu.inUserMode || cpu.current.mayRunOn(cpu.id)) continue
          // Its affinity was changed: an interrupt is on its way to tell it.
          expect(cpu.needResched && cpu.nextInterrupt < Infinity).toBe(true)
        }
      }).finish()
    }), { numRuns: 40, seed: 4 })
  })

  test('a child may be sent to CPUs its parent may not use, in any order', async () => {
    const { events } = await run(image([{ threads: [thread('parent', [0], fork(0, 'child', [2, 1]), wait())] }],
      { children: [program('child', compute(10))] }), 3)
    expect(order(events, 1)).toContain('child')
  })
})

describe('sleep and wake', () => {
  test('a wake-up of a task that waits for something else is remembered until it sleeps', async () => {
    for (const other of [barrier(0), wait()]) {
      const programs = image([{ threads: [
        thread('sleeper', [0], fork(0, 'child', [0]), other, sleep(0)),
        thread('waker', [1], compute(30_000), wake('sleeper'), compute(60_000),
          ...(other.op === 'barrier' ? [barrier(0)] : [])),
      ] }], { barriers: [2], children: [program('child', compute(80_000))] })
      const { end, cycle } = await run(programs)
      expect(end).toBe('finished')
      expect(cycle).toBeGreaterThan(80_000)
    }
  })

  test('is remembered once, however often it came', async () => {
    const { stall } = await run(process(
      thread('sleeper', [0], compute(50_000), sleep(0), sleep(0)),
      thread('waker', [1], wake('sleeper'), wake('sleeper'))))
    expect(stall).toEqual(['sleeper-1 sleeps, waiting for a wake-up'])
  })

  test('a barrier lets everybody go when the last arrives, again and again', async () => {
    const rounds = (n: number): Step => repeat(20, compute(100 * n), barrier(0))
    const { end } = await run(process(thread('a', [0], rounds(1)), thread('b', [1], rounds(7))))
    expect(end).toBe('finished')
  })
})

describe('a fatal signal', () => {
  const BAD = load({ area: -1, address: { hi: 0, lo: 0x5000_0000 }, offset: 0, bytes: 8 })

  for (const era of ERAS) {
    test(`${era}: ends every thread of the process, wherever it is, and nobody else`, async () => {
      const { tasks, end, events } = await run(image([
        { threads: [
          thread('running', [1], compute(10_000_000)),
          thread('queued', [1], compute(10_000_000)),
          thread('sleeping', [2], sleep(0)),
          thread('timer', [2], sleep(10_000_000)),
          thread('arrived', [2], barrier(0)),
          thread('waiting', [2], fork(0, 'child', [3]), wait()),
          thread('polling', [3], spin(1)),
          thread('fatal', [0], mmap(0, 1), touch(area(0), 'write'), SETTLE, BAD),
        ] },
        { threads: [thread('stranger', [3], compute(200_000), barrier(0))] },
      ], { barriers: [2], children: [program('child', compute(300_000))] }), 4, { era, timeSliceCycles: 5000 })
      expect(end).toBe('finished')
      expect(Object.fromEntries(tasks.map(task => [task.comm, task.outcome]))).toEqual({
        running: 'SIGSEGV', queued: 'SIGSEGV', sleeping: 'SIGSEGV', timer: 'SIGSEGV', arrived: 'SIGSEGV',
        waiting: 'SIGSEGV', polling: 'SIGSEGV', fatal: 'SIGSEGV', stranger: 'exited', child: 'exited',
      })
      const last = events.filter(event => event.name === 'sched_process_exit' && event.fields.groupDead === 1)
      expect(last.length).toBe(3)
    })

    test(`${era}: a task that is killed at a barrier has arrived: the others go on`, async () => {
      const { end } = await run(image([
        { threads: [thread('victim', [0], barrier(0)), thread('fatal', [1], SETTLE, BAD)] },
        { threads: [thread('other', [1], compute(200_000), barrier(0))] },
      ], { barriers: [2] }), 2, { era })
      expect(end).toBe('finished')
    })

    test(`${era}: a task that is killed before it arrives leaves the others waiting`, async () => {
      const { end, stall } = await run(image([
        { threads: [thread('victim', [0], SETTLE, BAD, barrier(0))] },
        { threads: [thread('other', [1], barrier(0))] },
      ], { barriers: [2] }), 2, { era })
      expect([end, stall]).toEqual(['stalled', ['other-2 sleeps, waiting for barrier barrier0']])
    })
  }

  test('that two threads of a process run into at a time is one signal', async () => {
    const { counters, tasks, events } = await run(process(
      thread('a', [0], spin(0), BAD), thread('b', [1], spin(0), BAD),
      thread('c', [2], compute(20_000), signal(0), compute(20_000))), 3)
    expect(tasks.map(task => task.outcome)).toEqual(['SIGSEGV', 'SIGSEGV', 'SIGSEGV'])
    expect(events.filter(event => event.name === 'signal').length).toBe(1)
    expect(counters.sigsegv).toBe(1)
  })
})

describe('every round trip of a task through the scheduler', () => {
  const player = (n: number): Step[] => [repeat(4, compute(100 * n), giveWay(), sleep(500 * n))]
  const programs = process(...[1, 2, 3, 4, 5].map(n => thread(`t${n}`, [], ...neighboursOf(n), ...player(n))))

  function neighboursOf(n: number): Step[] {
    return n === 1 ? neighbours(2) : []
  }

  for (const era of ERAS) {
    test(`${era}: each sched_switch starts from the task that the CPU went to before`, async () => {
      const config: SimulationConfig = testConfig({ cpus: 3 }, { era })
      const { result } = await simulateHere(config, programs, { check: true })
      const running = new Map<number, number>()
      for (const event of eventsOf(result.trace)) {
        if (event.name !== 'sched_switch') continue
        expect(event.pid).toBe(running.get(event.cpu) ?? 0)
        running.set(event.cpu, event.fields.nextPid)
      }
      expect([...running.values()]).toEqual([0, 0, 0])
    })
  }
})
