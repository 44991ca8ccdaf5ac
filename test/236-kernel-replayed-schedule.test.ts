// A captured schedule as a workload: tasks run where and when the capture says, whatever the scheduler
// would have chosen, and the rest of the kernel does what it always does with such switches.

import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { simulate } from '../src/engine/simulate.js'
import type { RunResult } from '../src/engine/result.js'
import { parseScenario } from '../src/scenario/parse.js'
import { readSchedule } from '../src/study/captured-schedule.js'
import type { ScheduleOptions } from '../src/study/captured-schedule.js'
import { capturedSwitchFlushes, scheduleReport } from '../src/study/schedule-report.js'
import { scheduleScenario } from '../src/study/schedule-scenario.js'
import { readFtrace } from '../src/trace/ftrace-parse.js'
import { formatFtrace } from '../src/trace/ftrace-text.js'
import { formatTextTrace } from '../src/trace/text.js'

const captured = (name: string): string =>
  readFileSync(new URL(`./fixtures/ftrace/${name}.txt`, import.meta.url), 'utf8')

interface Replay {
  result: RunResult
  text: string
  /** `cpu: from -> to` of every switch, in order. */
  switches: string[]
}

async function replay(
  text: string, options: ScheduleOptions & {
    era?: string; policy?: string; engine?: 'reference' | 'inline' | 'threads'; pages?: number
  } = {},
): Promise<Replay> {
  const read = readSchedule(readFtrace(text, 'capture.txt'), options)
  const yaml = scheduleScenario(read, '/dev/null', {
    workingSetPages: options.pages ?? 4, stretch: 1, era: options.era ?? 'linux-6.x',
    ...(options.policy === undefined ? {} : { policy: options.policy }),
  })
  const { config, image } = await parseScenario(yaml, 'schedule.yaml', { loadSchedule: async () => read.schedule },
    () => { throw new Error('no traces') })
  const { result } = await simulate(config, image, { engine: options.engine ?? 'inline', check: true })
  expect(result.end).toBe('finished')
  const { cpus, costs: { frequencyGhz } } = config.machine
  const header = { scenario: 'replay', era: config.kernel.era, cpus, seed: config.seed, frequencyGhz }
  const records = readFtrace(formatFtrace(result.trace, header)).records
  return { result, text: formatTextTrace(result.trace, header), switches: switchesOf(records) }
}

function switchesOf(
  records: readonly { event: string; cpu: number; fields: Readonly<Record<string, string>> }[],
): string[] {
  const nameOf = (comm: string): string => comm.startsWith('swapper/') ? 'idle' : comm
  return records.filter(({ event }) => event === 'sched_switch').map(({ cpu, fields }) =>
    `${cpu}: ${nameOf(fields['prev_comm']!)} -> ${nameOf(fields['next_comm']!)}`)
}

/** A line of a capture; tasks are `name/pid`, idle is `idle`. */
function line(cpu: number, us: number, prev: string, next: string, state = 'S'): string {
  const [prevComm, prevPid] = prev === 'idle' ? [`swapper/${cpu}`, '0'] : prev.split('/')
  const [nextComm, nextPid] = next === 'idle' ? [`swapper/${cpu}`, '0'] : next.split('/')
  return `${prev === 'idle' ? '<idle>' : prevComm}-${prevPid} [00${cpu}] d..2. ${(us / 1e6).toFixed(6)}: sched_switch: `
    + `prev_comm=${prevComm} prev_pid=${prevPid} prev_prio=120 prev_state=${state} ==> next_comm=${nextComm} `
    + `next_pid=${nextPid} next_prio=120`
}

describe('a real capture', () => {
  test('of two processes on one CPU: every switch comes again and finds the slot that it found', async () => {
    const text = captured('pipe-pingpong')
    const { result, switches } = await replay(text)
    const real = switchesOf(readFtrace(text).records.filter(({ cpu }) => cpu === 0))
    expect(switches.filter(one => !one.includes('idle')).map(one => one.replace(/tlb_pong|tlb_main/g, 'task')))
      .toEqual(real.filter(one => !one.includes('idle')).map(one => one.replace(/tlb_pong|tlb_main/g, 'task')))
    const [ours] = scheduleReport(result.trace, 2).cpus
    const [theirs] = capturedSwitchFlushes(readFtrace(text))
    expect(ours!.slotsFresh).toBeGreaterThanOrEqual(theirs!.fresh)
    expect(ours!.slotsFlushed).toBeLessThanOrEqual(theirs!.flushed)
  })

  test('with silent idle tasks: the switches that are missing are inferred and told', async () => {
    const read = readSchedule(readFtrace(captured('munmap3-remote-spin'), 'capture'))
    expect(read.inferred[1]).toBe(1)
    expect(read.notes.some(note => note.startsWith('1 switch of CPU 1 is missing'))).toBe(true)
    // The thread that was flushed remotely shares the address space; the migration thread has none.
    expect(read.tasks.map(({ name, isKernelThread, group }) => [name, isKernelThread ? 'kernel' : group])).toEqual([
      ['tlb_main', 0], ['tlb_remote', 0], ['other', 'kernel'],
    ])
  })

  const kernels = ['linux-4.6', 'linux-6.x', 'eager', 'shoot-lazies']
  test.each(kernels)('is replayed under %s with every invariant', async (name) => {
    const { result } = await replay(captured('munmap3-remote-spin'),
      name.startsWith('linux') ? { era: name } : { policy: name })
    expect(result.counters.contextSwitches).toBeGreaterThan(15)
  })
})

describe('a replayed task', () => {
  test('is where and when the capture says, also when it moves, and its CPU idles in the gaps', async () => {
    const text = [
      line(0, 0, 'idle', 'a/10'), line(1, 50, 'idle', 'b/11'), line(0, 100, 'a/10', 'idle'),
      line(1, 200, 'b/11', 'a/10', 'R'),
      line(0, 250, 'idle', 'b/11'), line(0, 300, 'b/11', 'idle'), line(1, 300, 'a/10', 'idle'),
    ].join('\n')
    const { switches, result } = await replay(`${text}\n`)
    expect(switches.slice(0, 5)).toEqual([
      '0: idle -> a', '1: idle -> b', '0: a -> idle', '1: b -> a', '0: idle -> b',
    ])
    expect(switches.slice(5, 7).sort()).toEqual(['0: b -> idle', '1: a -> idle'])
    const { tasks } = scheduleReport(result.trace, 2)
    expect(tasks.map(({ comm, runs, migrations, cpus }) => [comm, runs, migrations, cpus])).toEqual([
      ['a', 3, 1, 2], ['b', 3, 1, 2],
    ])
  })

  test('that is a kernel thread borrows the address space: nothing is flushed on the way back', async () => {
    const text = [
      line(0, 0, 'idle', 'a/10'), line(0, 100, 'a/10', 'worker/20', 'R'), line(0, 150, 'worker/20', 'a/10', 'I'),
      line(0, 200, 'a/10', 'worker/20', 'R'), line(0, 230, 'worker/20', 'a/10', 'I'), line(0, 300, 'a/10', 'idle'),
    ].join('\n')
    const { result } = await replay(`${text}\n`)
    const { cpus: [cpu] } = scheduleReport(result.trace, 1)
    expect(cpu).toMatchObject({ slotsFlushed: 1, slotsFresh: 1 })
    expect(cpu!.lazyPeriods).toBeGreaterThanOrEqual(3)
    const asUser = readSchedule(readFtrace(text.replaceAll('prev_state=I', 'prev_state=S')))
    expect(asUser.tasks.map(task => task.isKernelThread)).toEqual([false, false])
    const named = readSchedule(readFtrace(text.replaceAll('prev_state=I', 'prev_state=S')), { kthreads: /^work/ })
    expect(named.tasks.map(task => task.isKernelThread)).toEqual([false, true])
  })

  test('shares its address space with those of its thread group, by the tgid column or as given', () => {
    const plain = [
      line(0, 0, 'idle', 'a/10'), line(0, 10, 'a/10', 'b/11'), line(0, 20, 'b/11', 'c/12'), line(0, 30, 'c/12', 'idle'),
    ].join('\n')
    const groups = (text: string, options: ScheduleOptions = {}): number[] =>
      readSchedule(readFtrace(text), options).tasks.map(task => task.group)
    expect(new Set(groups(plain)).size).toBe(3)
    expect(groups(plain, { threads: [['a', 'c']] })).toEqual([0, 1, 0])
    const tgids = plain.replace('<idle>-0 [', '<idle>-0 (-----) [').replace('a-10 [', 'a-10 (   10) [')
      .replace('b-11 [', 'b-11 (   10) [').replace('c-12 [', 'c-12 (   12) [')
    expect(groups(tgids)).toEqual([0, 0, 2])
  })

  test('comes to its turn on time: never early, and late only while it cannot run', async () => {
    const name = fc.constantFrom('a/10', 'b/11', 'c/12', 'idle')
    const step = fc.record({ cpu: fc.nat(1), next: name, gap: fc.integer({ min: 20, max: 200 }), asleep: fc.boolean() })
    await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 25 }), async (steps) => {
      const current = ['idle', 'idle']
      let us = 0
      const lines: string[] = []
      for (const { cpu, next, gap, asleep } of steps) {
        us += gap
        if (current[cpu] === next || (next !== 'idle' && current[1 - cpu] === next)) continue
        lines.push(line(cpu, us, current[cpu]!, next, asleep && current[cpu] !== 'idle' ? 'S' : 'R'))
        current[cpu] = next
      }
      if (!lines.some(text => /==> next_comm=[abc] /.test(text))) return
      const text = `${lines.join('\n')}\n`
      const { switches } = await replay(text, { pages: 0 })
      const wanted = switchesOf(readFtrace(text).records)
      // What runs at the end exits behind the last line.
      for (const cpu of [0, 1]) {
        const own = (all: readonly string[]): string[] => all.filter(one => one.startsWith(`${cpu}:`))
        expect(own(switches).slice(0, own(wanted).length)).toEqual(own(wanted))
      }
    }), { numRuns: 25 })
  })

  test('does the same on every engine, byte for byte', async () => {
    const text = captured('munmap3-remote-spin')
    const expected = (await replay(text, { engine: 'reference', pages: 2 })).text
    expect((await replay(text, { engine: 'inline', pages: 2 })).text).toBe(expected)
  })
})

test('a scenario replays a schedule with programs of its own; what does not fit is told at its place', async () => {
  const read = readSchedule(readFtrace(`${line(0, 0, 'idle', 'a/10')}\n${line(0, 90, 'a/10', 'b/11')}\n`, 'c.txt'))
  const load = (yaml: string) => parseScenario(yaml, 's.yaml', { loadSchedule: async () => read.schedule }, () => {
    throw new Error('no traces')
  })
  const program = '[repeat: {times: 1000000, do: [compute: 1us]}]'
  const good = 'cpus: 1\nschedule: {trace: /dev/null, tasks: {a: mine}}\n'
    + `processes: [{name: mine, program: ${program}}]\n`
  const { image, notes } = await load(good)
  expect(image.schedule?.turns[0]?.map(({ task }) => task)).toEqual(['', 'mine', ''])
  expect(notes.map(({ text }) => text)).toEqual(['no task is called b: the CPU is idle where the capture runs it'])
  await expect(load(good.replace('a: mine', 'x: mine'))).rejects.toThrow('the capture has no task "x"')
  await expect(load(good.replace('a: mine', 'a: other'))).rejects.toThrow('there is no task "other"')
  await expect(load(good.replace('/dev/null', 'none.txt'))).rejects.toThrow('there is no capture "none.txt"')
})
