// Threads and processes: clone, vfork, execve, exit of one thread and of all, SIGKILL, waiting for
// children, and the limits on how many there may be.

import { describe, expect, test } from 'vitest'
import { PROT_READ } from '../src/kernel/abi.js'
import type { ProgramImage } from '../src/kernel/abi.js'
import type { KernelConfig, KernelEra } from '../src/kernel/config.js'
import { maxThreads } from '../src/kernel/sched/thread-group.js'
import { KernelBench } from './support/kernel-bench.js'
import { runWithoutLeaks } from './support/leaks.js'
import type { LeakFreeRun } from './support/leaks.js'
import { testConfig } from './support/machines.js'
import { area, barrier, clone, compute, execve, exit, exitGroup, fork, image, irqsOff, kill, load, mark, mmap, mprotect,
  munmap, program, repeat, setaffinity, signal, sleep, spin, store, touch, vfork, wait } from './support/programs.js'
import type { Step, ThreadSpec } from './support/programs.js'
import { SETTLE } from './support/two-cpus.js'

const ERAS: readonly KernelEra[] = ['linux-4.6', 'linux-6.x']
const thread = (comm: string, cpus: number[], ...steps: Step[]): ThreadSpec =>
  ({ comm, cpus, program: program(comm, ...steps) })
const one = (children: Step[][], ...steps: Step[]): ProgramImage => image(
  [{ threads: [thread('main', [0], ...steps)] }],
  { barriers: [2, 2], areas: 4, children: children.map((child, i) => program(`child${i}`, ...child)) })

const run = (programs: ProgramImage, era: KernelEra, cpus = 2, kernel: Partial<KernelConfig> = {}) =>
  runWithoutLeaks(testConfig({ cpus }, { era, ...kernel }), programs)

const outcomes = ({ tasks }: LeakFreeRun): Record<string, string> =>
  Object.fromEntries(tasks.map(task => [task.comm, task.outcome]))
/** Marks and exits in the order in which they happened. */
const story = ({ events }: LeakFreeRun): string[] => events.flatMap(event =>
  event.name === 'tracing_mark_write' ? [event.fields.text]
    : event.name === 'sched_process_exit' ? [`${event.comm} exits`] : [])
const errors = ({ failures }: LeakFreeRun): string[] => failures.map(failure => failure.text)

for (const era of ERAS) {
  describe(`${era}: clone`, () => {
    test('starts a thread in the same address space and thread group', async () => {
      const result = await run(one(
        [[load(area(0), 7n), store(area(0), 8n), signal(0)]],
        mmap(0, 1), store(area(0), 7n), clone(0, 'thread', [1]), spin(0), load(area(0), 8n)), era)
      expect(errors(result)).toEqual([])
      const [main, thread] = result.kernel.tasks
      expect([main!.tgid, thread!.tgid, thread!.pid]).toEqual([1, 1, 2])
    })

    test('wait does not wait for threads, only for children, and for those of any thread', async () => {
      const result = await run(one(
        [[fork(1, 'grandchild', [1]), compute(500), mark('thread done')], [compute(60_000)]],
        clone(0, 'thread', [1]), compute(30_000), wait(), mark('waited'), compute(1)), era)
      expect(story(result)).toEqual(['thread done', 'thread exits', 'grandchild exits', 'waited', 'main exits'])
    })

    test('a leader that exits first stays a zombie: the process is dead with its last thread', async () => {
      const parent = thread('parent', [0], fork(0, 'leader', [1]), wait(), mark('waited'))
      const result = await run(image([{ threads: [parent] }],
        { children: [program('leader', clone(1, 'thread', [1])), program('thread', compute(80_000))] }), era)
      expect(story(result)).toEqual(['leader exits', 'thread exits', 'waited', 'parent exits'])
      const dead = result.events.flatMap(event => event.name === 'sched_process_exit' ? [event.fields.groupDead] : [])
      expect(dead).toEqual([0, 1, 1])
    })
  })

  describe(`${era}: vfork`, () => {
    test('the parent sleeps until the child has exited; what the child wrote is there', async () => {
      const result = await run(one(
        [[store(area(0), 9n), compute(40_000), mark('child done')]],
        mmap(0, 1), store(area(0), 7n), vfork(0, 'child', [1]), mark('parent goes on'), load(area(0), 9n)), era)
      expect(errors(result)).toEqual([])
      expect(story(result)).toEqual(['child done', 'child exits', 'parent goes on', 'main exits'])
    })

    test('or until it has an address space of its own; that of the parent stays as it is', async () => {
      const result = await run(one(
        [[execve(1, 'other')], [mmap(0, 1), store(area(0), 1n), compute(50_000), mark('other done')]],
        mmap(0, 1), store(area(0), 7n), vfork(0, 'child', [1]), mark('parent goes on'), load(area(0), 7n), wait(),
        mark('waited')), era)
      expect(errors(result)).toEqual([])
      expect(story(result)).toEqual(['parent goes on', 'other done', 'other exits', 'waited', 'main exits'])
    })

    test('a chain of them unwinds from its end', async () => {
      const result = await run(one(
        [[vfork(1, 'second'), mark('first')], [vfork(2, 'third'), mark('second')], [mark('third')]],
        vfork(0, 'first'), mark('main')), era)
      expect(story(result).filter(text => !text.includes(' '))).toEqual(['third', 'second', 'first', 'main'])
    })

    test('a parent that is killed does not wait any longer, the child lives on', async () => {
      const result = await run(image([
        { threads: [thread('main', [0], vfork(0, 'child', [1]))] },
        { threads: [thread('killer', [2], SETTLE, kill('main'), compute(1))] },
      ], { children: [program('child', compute(200_000), mark('child done'))] }), era, 3)
      expect(story(result).slice(2)).toEqual(['child done', 'child exits'])
      expect(outcomes(result)).toEqual({ main: 'SIGKILL', killer: 'exited', child: 'exited' })
    })
  })

  describe(`${era}: execve`, () => {
    test('leaves no area of the old address space', async () => {
      const result = await run(one([[touch(area(0), 'read')]],
        mmap(0, 4), touch(area(0), 'write'), execve(0, 'new')), era)
      expect(outcomes(result)).toEqual({ new: 'SIGSEGV' })
    })

    test('switches to the new address space with interrupts off, then gives back the old one', async () => {
      const result = await run(one([[mmap(0, 1), touch(area(0), 'write')]],
        mmap(0, 4), touch(area(0), 'write'), execve(0, 'new')), era)
      const { events } = result
      const enter = events.findIndex(event => event.name === 'sys_enter' && event.fields.name === 'execve')
      const load = events.findIndex((event, i) => i > enter && event.name === 'switch_mm')
      const freed = events.findIndex((event, i) => i > enter && event.name === 'mm_free')
      const exec = events.findIndex(event => event.name === 'sched_process_exec')
      expect(enter < load && load < freed && freed < exec).toBe(true)
      // Bit 0: interrupts off.
      expect(events[load]!.flags & 1).toBe(1)
      expect(events[exec]!.comm).toBe('new')
    })

    test('ends the other threads first; a thread that is not the leader becomes it', async () => {
      const result = await run(image([{ threads: [
        thread('leader', [0], compute(10_000_000)),
        thread('caller', [1], SETTLE, execve(0, 'new')),
        thread('sleeper', [0], sleep(0)),
      ] }], { children: [program('new', compute(100))] }), era)
      expect(outcomes(result)).toEqual({ leader: 'exited', new: 'exited', sleeper: 'exited' })
      const exec = result.events.find(event => event.name === 'sched_process_exec')
      expect([exec?.pid, exec?.fields]).toEqual([1, { filename: 'new', oldPid: 2 }])
      const last = result.events.filter(event => event.name === 'sched_process_exit').map(event => event.pid)
      expect(last.slice(-1)).toEqual([1])
    })

    test('of two threads at a time only one gets through', async () => {
      const result = await run(image([{ threads: [
        thread('a', [0], spin(0), execve(0, 'new')), thread('b', [1], spin(0), execve(0, 'new')),
        thread('c', [2], SETTLE, signal(0), compute(1_000_000)),
      ] }], { children: [program('new', mark('new runs'))] }), era, 3)
      expect(story(result).filter(text => text === 'new runs')).toEqual(['new runs'])
    })

    test('a kill that comes while it waits for the others wins', async () => {
      const bench = new KernelBench(testConfig({ cpus: 3 }, { era }), image([
        { threads: [thread('leader', [0], mmap(0, 400, { populate: true }), munmap(area(0)), compute(10)),
          thread('caller', [1], compute(3000), execve(0, 'new'))] },
        { threads: [thread('killer', [2], compute(6000), kill('caller'))] },
      ], { children: [program('new', mark('new runs'))] }))
      const result = bench.finish()
      expect(result.tasks.map(task => task.outcome)).toEqual(['exited', 'SIGKILL', 'exited'])
      expect(bench.events().some(event => event.name === 'tracing_mark_write')).toBe(false)
    })
  })

  describe(`${era}: the end of a process`, () => {
    test('exitGroup ends every thread, wherever it is', async () => {
      const result = await run(image([
        { threads: [
          thread('running', [1], compute(10_000_000)), thread('queued', [1], compute(10_000_000)),
          thread('sleeping', [0], sleep(0)), thread('waiting', [0], fork(0, 'child', [1]), wait()),
          thread('arrived', [0], barrier(0)), thread('last', [0], SETTLE, exitGroup()),
        ] },
      ], { barriers: [2], children: [program('child', compute(300_000))] }), era, 2, { timeSliceCycles: 5000 })
      expect([...new Set(Object.values(outcomes(result)))]).toEqual(['exited'])
      expect(result.cycle).toBeLessThan(1_500_000)
    })

    test('SIGKILL reaches a process in user mode, asleep and in a queue, but no kernel thread', async () => {
      const result = await run(image([
        { threads: [thread('runs', [1], compute(10_000_000))] },
        { threads: [thread('sleeps', [1], sleep(0))] },
        { threads: [thread('queued', [0], compute(10_000_000))] },
        { kernelThread: true, threads: [thread('kworker', [1], sleep(200_000), compute(10))] },
        { threads: [thread('killer', [0], compute(1000), ...['runs', 'sleeps', 'queued', 'kworker'].map(kill))] },
      ]), era)
      expect(outcomes(result)).toEqual({
        runs: 'SIGKILL', sleeps: 'SIGKILL', queued: 'SIGKILL', kworker: 'exited', killer: 'exited',
      })
    })

    test('a task may kill itself, and nobody by a name that nobody has', async () => {
      const result = await run(one([], { ...kill('nobody'), expectError: 'ESRCH' }, kill('main'), mark('never')), era)
      expect([outcomes(result), story(result), errors(result)]).toEqual([{ main: 'SIGKILL' }, ['main exits'], []])
    })

    test('a task that is killed in the middle of a flush completes it first', async () => {
      const { events } = await run(image([{ threads: [
        thread('main', [0], mmap(0, 8), touch(area(0), 'write'), signal(0), SETTLE, munmap(area(0)), mark('never')),
        thread('other', [1], spin(0), touch(area(0), 'read'), irqsOff(150_000)),
      ] }, { threads: [thread('killer', [2], SETTLE, compute(20_000), kill('main'))] }]), era, 3)
      const at = (name: string, comm: string, from = 0): number =>
        events.findIndex((event, i) => i >= from && event.name === name && event.comm === comm)
      const begin = at('flush_begin', 'main')
      const killed = at('signal_generate', 'killer')
      const done = at('flush_done', 'main', begin)
      const ended = at('sched_process_exit', 'main')
      expect([begin < killed, killed < done, done < ended]).toEqual([true, true, true])
      expect(events.some(event => event.name === 'tracing_mark_write')).toBe(false)
    })
  })

  describe(`${era}: limits`, () => {
    test('EAGAIN when there are as many tasks as memory allows; zombies count until they are waited for', async () => {
      const config = testConfig({ memoryBytes: 32 * 2 ** 20 }, { era })
      const most = config.machine.memoryBytes / 2 ** 17
      const programs = one([[compute(10)]], repeat(most - 1, fork(0, 'child', [1])),
        { ...fork(0, 'child', [1]), expectError: 'EAGAIN' }, { ...clone(0, 'thread'), expectError: 'EAGAIN' },
        { ...vfork(0, 'child'), expectError: 'EAGAIN' }, wait(), fork(0, 'child', [1]), wait())
      const result = await runWithoutLeaks(config, programs)
      expect(maxThreads(result.kernel)).toBe(most)
      expect(errors(result)).toEqual([])
      expect(result.tasks.length).toBe(most + 1)
    })

    test('ENOMEM without memory for the address space, and nothing is kept of it', async () => {
      // MAP_POPULATE takes what there is and keeps quiet about the rest.
      const result = await runWithoutLeaks(testConfig({ memoryBytes: 32 * 2 ** 20 }, { era }), one([[compute(10)]],
        mmap(1, 1), touch(area(1), 'write'), mmap(0, 8000, { populate: true }),
        { ...fork(0, 'child'), expectError: 'ENOMEM' },
        munmap(area(0, 0, 3)), { ...fork(0, 'child'), expectError: 'ENOMEM' },
        munmap(area(0)), fork(0, 'child'), wait()))
      expect(errors(result)).toEqual([])
    })
  })

  describe(`${era}: interrupts off`, () => {
    test('a flush waits for the end of the stretch on its target', async () => {
      const cycles = async (stretch: number): Promise<number> => {
        const { events } = await run(image([{ threads: [
          thread('main', [0], mmap(0, 2), touch(area(0), 'write'), signal(0), compute(10_000),
            mprotect(area(0), PROT_READ)),
          thread('other', [1], spin(0), touch(area(0), 'read'), irqsOff(stretch), compute(1)),
        ] }]), era)
        return events.flatMap(event =>
          event.name === 'flush_done' && event.comm === 'main' ? [event.fields.cycles] : [])[0]!
      }
      const [short, long, longer] = [await cycles(1), await cycles(60_000), await cycles(70_000)]
      expect(long).toBeGreaterThan(short + 40_000)
      expect(longer - long).toBe(10_000)
    })
  })

  describe(`${era}: affinity`, () => {
    test('a task moves itself to a CPU that it may run on', async () => {
      const result = await run(one([], setaffinity([1]), mark('moved')), era)
      expect(result.events.find(event => event.name === 'tracing_mark_write')!.cpu).toBe(1)
      expect(result.events.filter(event => event.name === 'sched_migrate_task').map(event => event.fields))
        .toEqual([{ comm: 'main', pid: 1, origCpu: 0, destCpu: 1 }])
    })

    test('a running task is moved on its way to user mode, and whoever asked waits for that', async () => {
      const result = await run(image([
        { threads: [thread('moves', [1], compute(200_000))] },
        { threads: [thread('asks', [0], compute(5000), setaffinity([2], 'moves'), mark('asked'))] },
      ]), era, 3)
      const { events } = result
      const asked = events.findIndex(event => event.name === 'tracing_mark_write')
      const moved = events.findIndex(event => event.name === 'sched_migrate_task')
      expect([events[moved]!.cpu, events[moved]!.fields, moved < asked])
        .toEqual([1, { comm: 'moves', pid: 1, origCpu: 1, destCpu: 2 }, true])
      expect(events.slice(asked).filter(event => event.comm === 'moves').every(event => event.cpu === 2)).toBe(true)
    })

    test('a task in a queue is moved at once, one that sleeps when it wakes', async () => {
      const result = await run(image([
        { threads: [thread('sleeps', [1], sleep(300_000))] },
        { threads: [thread('hog', [1], compute(400_000))] },
        { threads: [thread('queued', [1], compute(1000))] },
        { threads: [thread('asks', [0], compute(100_000), setaffinity([2], 'queued'), setaffinity([3], 'sleeps'))] },
      ]), era, 4, { timeSliceCycles: 1_000_000 })
      const moves = result.events.flatMap(event => event.name === 'sched_migrate_task' ? [event] : [])
      expect(moves.map(event => [event.cpu, event.fields.comm, event.fields.destCpu]))
        .toEqual([[0, 'queued', 2], [1, 'sleeps', 3]])
    })
  })
}

test('a forked thread tree of sixteen tasks leaves nothing behind', async () => {
  const leaf = [mmap(1, 4), touch(area(1), 'write'), exit()]
  await run(one([[clone(1, 'x'), fork(1, 'y'), wait()], leaf],
    mmap(0, 4), touch(area(0), 'write'), repeat(4, fork(0, 'tree')), wait()), 'linux-6.x', 3)
})
