// Who gets how much of a CPU, who is preempted for whom, and where tasks are placed: weights, wake-up
// preemption of both kernels, placement, balancing, and idle states.

import { describe, expect, test } from 'vitest'
import type { ProgramImage } from '../src/kernel/abi.js'
import type { KernelConfig, KernelEra } from '../src/kernel/config.js'
import { weightOf } from '../src/kernel/sched/fair.js'
import type { TraceEvent } from '../src/trace/events.js'
import { runWithoutLeaks } from './support/leaks.js'
import type { LeakFreeRun } from './support/leaks.js'
import { testConfig } from './support/machines.js'
import { area, compute, fork, giveWay, image, mark, mmap, munmap, nice, program, repeat, setaffinity, signal, sleep,
  spin, touch, wait, wake } from './support/programs.js'
import type { Step, ThreadSpec } from './support/programs.js'
import { onCpu, sequence } from './support/sequence.js'
import { BEGIN, END, SETTLE, twoCpus } from './support/two-cpus.js'

const ERAS: readonly KernelEra[] = ['linux-4.6', 'linux-6.x']
const thread = (comm: string, cpus: number[], ...steps: Step[]): ThreadSpec =>
  ({ comm, cpus, program: program(comm, ...steps) })
const each = (...threads: ThreadSpec[]): ProgramImage => image(threads.map(spec => ({ threads: [spec] })))

const run = (programs: ProgramImage, era: KernelEra, cpus: number, kernel: Partial<KernelConfig> = {}, sockets = 1) =>
  runWithoutLeaks(testConfig({ cpus, sockets }, { era, ...kernel }), programs)

/** Cycles that a task ran on any CPU before `until`. */
function runtime(events: readonly TraceEvent[], comm: string, until: number): number {
  let sum = 0
  const since = new Map<number, number>()
  for (const event of events) {
    if (event.name !== 'sched_switch') continue
    if (event.fields.nextComm === comm) since.set(event.cpu, Math.min(until, event.cycle))
    if (event.comm !== comm) continue
    sum += Math.min(until, event.cycle) - (since.get(event.cpu) ?? 0)
    since.delete(event.cpu)
  }
  for (const start of since.values()) sum += until - start
  return sum
}

const moves = ({ events }: LeakFreeRun): string[] => events.flatMap(event => event.name === 'sched_migrate_task'
  ? [`${event.fields.comm} ${event.fields.origCpu}->${event.fields.destCpu}`] : [])

describe('weights', () => {
  test('a step of nice is a quarter more or less', () => {
    const weight = (value: number): number => weightOf({ nice: value } as Parameters<typeof weightOf>[0])
    expect([weight(-20), weight(0), weight(1), weight(19)]).toEqual([88761, 1024, 820, 15])
    for (let value = -20; value < 19; value++) {
      const ratio = weight(value) / weight(value + 1)
      expect(ratio).toBeGreaterThan(1.15)
      expect(ratio).toBeLessThan(1.35)
    }
  })

  for (const era of ERAS) {
    const cases = [[[0, 0], 0.5], [[0, 5], 1024 / (1024 + 335)], [[-5, 0], 3121 / (3121 + 1024)]] as const
    for (const [values, share] of cases) {
      test(`${era}: tasks of nice ${values.join(' and ')} share a CPU by weight`, async () => {
        const { events } = await run(each(
          thread('a', [0], nice(values[0]), compute(4_000_000)), thread('b', [0], nice(values[1]), compute(4_000_000)),
        ), era, 1)
        const until = 3_000_000
        const [a, b] = [runtime(events, 'a', until), runtime(events, 'b', until)]
        expect(a / (a + b)).toBeGreaterThan(share - 0.03)
        expect(a / (a + b)).toBeLessThan(share + 0.03)
      })
    }

    test(`${era}: three tasks without weights take turns in the order of the queue`, async () => {
      const { events } = await run(each(
        thread('a', [0], compute(100_000)), thread('b', [0], compute(100_000)), thread('c', [0], compute(100_000)),
      ), era, 1)
      const order = events.flatMap(event => event.name === 'sched_switch' ? [event.fields.nextComm] : [])
      expect(order.slice(0, 9)).toEqual(['a', 'b', 'c', 'a', 'b', 'c', 'a', 'b', 'c'])
    })

    test(`${era}: a task that always gives way lets another run first`, async () => {
      const { events } = await run(each(
        thread('polite', [0], repeat(10, compute(100), giveWay())), thread('other', [0], compute(30_000)),
      ), era, 1)
      const [first, second, third] = events.flatMap(event => event.name === 'sched_switch' ? [event] : [])
      expect([first, second, third].map(event => event!.fields.nextComm)).toEqual(['polite', 'other', 'polite'])
      expect(second!.cycle).toBeLessThan(2000)
    })
  }

  test('in 4.6 the slice of a heavy task is longer, in 6.x it gets more of the same', async () => {
    const ticks = async (era: KernelEra): Promise<number[]> => {
      const { events } = await run(each(
        thread('heavy', [0], nice(-5), compute(2_000_000)), thread('light', [0], compute(2_000_000))), era, 1)
      const times = events.filter(event => event.name === 'local_timer_entry' && event.cycle < 1_000_000)
        .map(event => event.cycle)
      return times.slice(2).map((cycle, i) => cycle - times[i + 1]!)
    }
    // 20 000 is the slice: three quarters and one quarter of two of them, and what a switch takes.
    for (const cycles of await ticks('linux-4.6')) {
      expect(cycles > 25_000 ? cycles - 30_000 : cycles - 10_000).toBeLessThan(1000)
    }
    for (const cycles of await ticks('linux-6.x')) expect(Math.abs(cycles - 20_000)).toBeLessThan(1000)
  })
})

describe('a task that wakes up', () => {
  const late = (era: KernelEra, before: number) => run(image([{ threads: [
    thread('hog', [0], compute(400_000)),
    thread('sleeper', [0], sleep(before), mark('woken')),
  ] }]), era, 1)
  const delay = ({ events }: LeakFreeRun): number => {
    const woken = events.find(event => event.name === 'sched_wakeup')!
    return events.find(event => event.name === 'tracing_mark_write')!.cycle - woken.cycle
  }

  test('preempts in 4.6 at once, when the other has run for long', async () => {
    expect(delay(await late('linux-4.6', 100_000))).toBeLessThan(2000)
  })

  test('waits for the end of the slice in 6.x', async () => {
    const { events } = await run(each(
      thread('sleeper', [0], sleep(25_000), mark('woken')),
      thread('a', [0], compute(400_000)), thread('b', [0], compute(400_000)),
    ), 'linux-6.x', 1)
    const woken = events.find(event => event.name === 'sched_wakeup')!
    const ran = events.find(event => event.name === 'tracing_mark_write')!
    expect(ran.cycle - woken.cycle).toBeGreaterThan(5000)
    expect(ran.cycle - woken.cycle).toBeLessThan(42_000)
  })

  test('on another CPU is told of by a reschedule interrupt, in 4.6', async () => {
    const { events } = await run(image([{ threads: [
      thread('sleeper', [1], sleep(0), mark('woken')), thread('hog', [1], compute(400_000)),
      thread('waker', [0], compute(100_000), wake('sleeper')),
    ] }]), 'linux-4.6', 2)
    const after = events.slice(events.findIndex(event => event.name === 'sched_wakeup'))
    expect(after.filter(event => event.name === 'ipi_send_cpu').length).toBeGreaterThan(0)
    const toSleeper = after.find(event => event.name === 'sched_switch' && event.cpu === 1)
    expect(toSleeper!.comm).toBe('hog')
    expect(toSleeper!.name === 'sched_switch' && toSleeper!.fields.nextComm).toBe('sleeper')
  })

  for (const era of ERAS) {
    test(`${era}: goes to an idle CPU of the socket it ran on, never across sockets`, async () => {
      const busy = (comm: string, cpu: number): ThreadSpec => thread(comm, [cpu], sleep(60_000), compute(300_000))
      const sleeper = thread('sleeper', [1, 2, 3], sleep(100_000), mark('woken'))
      const same = await run(each(sleeper, busy('a', 1)), era, 4, {}, 1)
      expect(moves(same)).toEqual(['sleeper 1->2'])
      const other = await run(each(sleeper, busy('a', 1), busy('b', 0)), era, 4, {}, 2)
      const woken = other.events.flatMap(event => event.name === 'sched_wakeup' && event.fields.comm === 'sleeper'
        ? [event.fields.targetCpu] : [])
      expect(woken).toEqual([1])
    })
  }
})

describe('load balancing', () => {
  for (const era of ERAS) {
    test(`${era}: a CPU that goes idle takes a task that waits elsewhere`, async () => {
      const result = await run(each(
        thread('first', [0], compute(300_000)), thread('waits', [0, 1], compute(300_000)),
        thread('short', [1], compute(50_000)), thread('shorter', [1], compute(10_000)),
      ), era, 2)
      expect(moves(result)).toContain('waits 0->1')
    })

    test(`${era}: at the end of a slice a waiting task is given to an idle CPU, once it may run there`, async () => {
      const result = await run(each(
        thread('x', [0], compute(300_000)), thread('y', [0], compute(300_000)),
        thread('asks', [2], compute(100_000), setaffinity([0, 1], 'y'), mark('asked')),
      ), era, 3)
      expect(moves(result)).toEqual(['y 0->1'])
      const moved = result.events.find(event => event.name === 'sched_migrate_task')!
      const asked = result.events.find(event => event.name === 'tracing_mark_write')!
      expect(moved.cycle).toBeGreaterThan(asked.cycle)
      expect(moved.cycle - asked.cycle).toBeLessThan(65_000)
    })

    test(`${era}: four tasks on four CPUs end up with one each`, async () => {
      const { cycle } = await run(image([{ threads: [
        thread('main', [], fork(0, 'a'), fork(0, 'b'), fork(0, 'c'), compute(900_000), wait()),
      ] }], { children: [program('child', compute(900_000))] }), era, 4)
      expect(cycle).toBeLessThan(1_100_000)
    })
  }
})

describe('a CPU in deep idle', () => {
  for (const era of ERAS) {
    test(`${era}: has left the address space: nothing is sent to it, even for freed tables`, async () => {
      const steps = [mmap(0, 1), touch(area(0), 'write')]
      const deep = await sequence(testConfig({}, { era, idleDeep: true }), twoCpus(steps, [munmap(area(0))], 'lazy'))
      const halted = await sequence(testConfig({}, { era }), twoCpus(steps, [munmap(area(0))], 'lazy'))
      expect(onCpu(halted, 1)).toContain('IRQ+')
      expect(onCpu(deep, 1).filter(text => !text.startsWith('flush(5') && !text.startsWith('IRQ')))
        .toEqual([])
    })

    test(`${era}: takes longer to wake, and starts with an empty TLB`, async () => {
      const programs = image([{ threads: [
        thread('main', [0], mmap(0, 4), touch(area(0), 'write'), signal(0), SETTLE, BEGIN, wake('other'), END),
        thread('other', [1], spin(0), touch(area(0), 'read'), sleep(0), touch(area(0), 'read')),
      ] }])
      const misses = async (idleDeep: boolean): Promise<[number, number]> => {
        const { counters, events } = await run(programs, era, 2, { idleDeep, pcid: era === 'linux-6.x' })
        const sent = events.findIndex(event => event.name === 'sched_wakeup' && event.fields.comm === 'other')
        const ran = events.findIndex((event, i) => i > sent && event.name === 'sched_switch' && event.cpu === 1)
        return [counters.stlbMisses, events[ran]!.cycle - events[sent]!.cycle]
      }
      const [halted, deep] = [await misses(false), await misses(true)]
      expect(deep[0]).toBe(halted[0] + 4)
      expect(deep[1] - halted[1]).toBe(5000 - 600)
    })
  }
})
