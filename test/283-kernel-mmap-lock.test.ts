// mmap_lock (rwsem.ts): who spins, who sleeps, who gets it next, and what that means for TLBs: the CPU
// of a sleeper goes idle and is lazy.

import { describe, expect, test } from 'vitest'
import type { KernelEra } from '../src/kernel/config.js'
import type { KernelCpu } from '../src/kernel/cpu.js'
import type { KernelOp } from '../src/kernel/kernel-op.js'
import type { RwSem } from '../src/kernel/locking/rwsem.js'
import { sleepOn, wakeUp } from '../src/kernel/sched/sched.js'
import { sendSigkill } from '../src/kernel/sched/signal.js'
import type { KernelState } from '../src/kernel/state.js'
import { KernelBench } from './support/kernel-bench.js'
import { testConfig } from './support/machines.js'
import { compute, image, program } from './support/programs.js'

const ERAS: readonly KernelEra[] = ['linux-4.6', 'linux-6.x']
const CPUS = 5

/** One process with a thread on each CPU, and one more on CPU 0 where asked. */
function bench(era: KernelEra, more: boolean = false): KernelBench {
  const threads = Array.from({ length: CPUS }, (_, cpu) => (
    { comm: `t${cpu}`, cpus: [cpu], program: program(`t${cpu}`, compute(3_000_000)) }))
  if (more) threads.push({ comm: 'second', cpus: [1], program: program('second', compute(3_000_000)) })
  const made = new KernelBench(testConfig({ cpus: CPUS }, { era }), image([{ threads }]))
  made.untilRunning(['t0', 't1', 't2', 't3', 't4'].slice(0, CPUS), 5000)
  return made
}

/** What happened, in order. */
class Story {
  readonly lines: string[] = []
  readonly #lock: RwSem

  constructor(lock: RwSem) {
    this.#lock = lock
  }

  holds(name: string, exclusive: boolean, cycles: number, delay = 0) {
    const { lines } = this
    const lock = this.#lock
    return function* (_k: KernelState, cpu: KernelCpu): KernelOp {
      if (delay > 0) yield delay
      yield* lock.acquire(cpu, exclusive)
      lines.push(`${name} has it`)
      yield cycles
      lines.push(`${name} lets go`)
      lock.release(cpu, exclusive)
    }
  }
}

function startAll(b: KernelBench, ops: readonly ((k: KernelState, cpu: KernelCpu) => KernelOp)[]): void {
  const statuses = ops.map((op, id) => b.enter(id, op))
  b.until(() => statuses.every(status => status.done))
}

for (const era of ERAS) {
  describe(era, () => {
    test('a writer spins while the writer that has it runs: no switch, no sleep', () => {
      const b = bench(era)
      const story = new Story(b.mmOf('t0').mmapLock)
      b.mark()
      startAll(b, [story.holds('a', true, 5000), story.holds('b', true, 100, 50), story.holds('c', true, 100, 90)])
      expect(story.lines).toEqual(['a has it', 'a lets go', 'b has it', 'b lets go', 'c has it', 'c lets go'])
      expect(b.eventsSinceMark().filter(event => event.name === 'sched_switch')).toEqual([])
      expect([b.k.counters.mmapLockContended, b.k.counters.mmapLockSleeps]).toEqual([2, 0])
      expect(b.k.counters.mmapLockWaitCycles).toBeGreaterThan(9000)
    })

    test('a reader sleeps in state D; its CPU goes idle and holds the address space lazily', () => {
      const b = bench(era)
      const story = new Story(b.mmOf('t0').mmapLock)
      b.mark()
      startAll(b, [story.holds('a', true, 9000), story.holds('r', false, 100, 50)])
      expect(story.lines).toEqual(['a has it', 'a lets go', 'r has it', 'r lets go'])
      const events = b.eventsSinceMark().filter(event => event.cpu === 1)
      const [away, back] = events.flatMap(event => event.name === 'sched_switch' ? [event] : [])
      expect([away!.fields.prevState, away!.fields.nextComm, back!.fields.nextComm]).toEqual(['D', 'swapper/1', 't1'])
      expect(events.some(event => event.name === 'enter_lazy_tlb')).toBe(true)
      expect([b.k.counters.mmapLockContended, b.k.counters.mmapLockSleeps]).toEqual([1, 1])
    })

    test('readers share it; one that comes while a writer is queued waits behind it', () => {
      const b = bench(era)
      const story = new Story(b.mmOf('t0').mmapLock)
      startAll(b, [
        story.holds('r0', false, 120_000), story.holds('r1', false, 100, 300), story.holds('w', true, 100, 500),
        story.holds('r2', false, 100, 90_000),
      ])
      expect(story.lines).toEqual([
        'r0 has it', 'r1 has it', 'r1 lets go', 'r0 lets go', 'w has it', 'w lets go', 'r2 has it', 'r2 lets go'])
    })

    test('a release lets in the readers of the queue: 4.6 up to the next writer, 6.x all of them', () => {
      const b = bench(era)
      const story = new Story(b.mmOf('t0').mmapLock)
      startAll(b, [
        story.holds('a', true, 200_000), story.holds('r1', false, 100, 100),
        function* sleeper(k, cpu) {
          // Not spinning: its CPU has something else to run.
          yield 300
          cpu.needResched = true
          yield* story.holds('w', true, 100)(k, cpu)
        },
        story.holds('r2', false, 100, 60_000), story.holds('r3', false, 100, 70_000),
      ])
      const got = story.lines.filter(line => line.endsWith('has it')).map(line => line.split(' ')[0])
      expect(got[0]).toBe('a')
      const order = got.slice(1)
      if (era === 'linux-4.6') expect(order).toEqual(['r1', 'w', 'r2', 'r3'])
      else expect([order.slice(0, 3).toSorted(), order[3]]).toEqual([['r1', 'r2', 'r3'], 'w'])
    })

    test('nobody spins on an owner that sleeps', () => {
      const b = bench(era)
      const lock = b.mmOf('t0').mmapLock
      const story = new Story(lock)
      startAll(b, [
        function* owner(k, cpu) {
          yield* lock.acquire(cpu, true)
          yield 3000
          yield* sleepOn(k, cpu, 'the test', 'uninterruptible')
          story.lines.push('owner awake')
          lock.release(k.cpus[cpu.id]!, true)
        },
        story.holds('w', true, 100, 50),
        function* waker(k, cpu) {
          yield 60_000
          story.lines.push(`w ${k.tasks[1]!.state}`)
          wakeUp(k, cpu, k.tasks[0]!)
        },
      ])
      expect(story.lines).toEqual(['w D', 'owner awake', 'w has it', 'w lets go'])
      expect(b.k.counters.mmapLockSleeps).toBe(1)
    })

    test('spinning ends when the CPU of the spinner has something else to run, which then runs', () => {
      const b = bench(era, true)
      const story = new Story(b.mmOf('t0').mmapLock)
      b.until(() => b.cpu(1).inUserMode && b.cpu(1).current.comm === 't1' && b.cpu(0).inUserMode)
      b.mark()
      startAll(b, [story.holds('a', true, 100_000), story.holds('w', true, 100, 50)])
      expect(story.lines).toEqual(['a has it', 'a lets go', 'w has it', 'w lets go'])
      const to = b.eventsSinceMark().flatMap(event =>
        event.name === 'sched_switch' && event.cpu === 1 ? [event.fields.nextComm] : [])
      expect(to[0]).toBe('second')
      expect(b.k.counters.mmapLockSleeps).toBeGreaterThan(0)
    })

    test('a sleeper wakes up on the CPU it slept on, whatever is idle elsewhere', () => {
      const b = bench(era)
      for (const task of b.k.tasks) task.cpus = [0, 1, 2, 3, 4]
      const story = new Story(b.mmOf('t0').mmapLock)
      b.mark()
      startAll(b, [
        story.holds('a', true, 50_000), story.holds('r1', false, 100, 50), story.holds('r2', false, 100, 60),
      ])
      expect(b.eventsSinceMark().filter(event => event.name === 'sched_migrate_task')).toEqual([])
    })

    test('SIGKILL ends the wait in 6.x and not in 4.6; nobody behind it waits for nothing', () => {
      const b = bench(era)
      const lock = b.mmOf('t0').mmapLock
      const story = new Story(lock)
      const results: (boolean | number)[] = []
      startAll(b, [
        story.holds('r0', false, 150_000),
        function* writer(_k, cpu) {
          yield 100
          const got = yield* lock.acquireKillable(cpu, true)
          story.lines.push(got ? 'w has it' : 'w gives up')
          results.push(got)
          if (got) lock.release(cpu, true)
        },
        story.holds('r1', false, 100, 90_000),
        function* killer(k, cpu) {
          yield 100_000
          const other = k.tasks[1]!
          other.killedBy = undefined
          sendSigkill(k, cpu, other)
        },
      ])
      expect(story.lines).toEqual(era === 'linux-4.6'
        ? ['r0 has it', 'r0 lets go', 'w has it', 'r1 has it', 'r1 lets go']
        : ['r0 has it', 'w gives up', 'r1 has it', 'r1 lets go', 'r0 lets go'])
      expect(results).toEqual([era === 'linux-4.6'])
    })
  })
}

test('6.x: a writer spins on readers for 10 to 25 us, then sleeps; 4.6 sleeps at once', () => {
  const sleepsAfter = (era: KernelEra): number => {
    const b = bench(era)
    const lock = b.mmOf('t0').mmapLock
    let begin = 0
    b.mark()
    startAll(b, [new Story(lock).holds('r', false, 300_000), function* writer(_k, cpu) {
      yield 500
      begin = cpu.now
      yield* lock.acquire(cpu, true)
      lock.release(cpu, true)
    }])
    return b.eventsSinceMark().find(event => event.name === 'sched_switch' && event.cpu === 1)!.cycle - begin
  }
  // 25 us at 2 GHz, after the 20 cycles of trying.
  expect([sleepsAfter('linux-4.6'), sleepsAfter('linux-6.x')]).toEqual([20, 50_020])
})

test('downgrade lets readers in and keeps writers out', () => {
  const b = bench('linux-6.x')
  const lock = b.mmOf('t0').mmapLock
  const story = new Story(lock)
  startAll(b, [
    function* owner(_k, cpu) {
      yield* lock.acquire(cpu, true)
      yield 9000
      story.lines.push('downgrades')
      lock.downgrade(cpu)
      yield 20_000
      story.lines.push('owner lets go')
      lock.release(cpu, false)
    },
    story.holds('r', false, 100, 50),
    story.holds('w', true, 100, 500),
  ])
  expect(story.lines).toEqual(['downgrades', 'r has it', 'r lets go', 'owner lets go', 'w has it', 'w lets go'])
})
