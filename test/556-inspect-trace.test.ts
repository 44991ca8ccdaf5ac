// A trace is checked against itself at the end of a run with checks: good traces pass, and each way
// of spoiling one is found.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { InvariantViolation } from '../src/base/assert.js'
import { simulate, simulateHere } from '../src/engine/simulate.js'
import { checkTrace } from '../src/inspect/check-trace.js'
import { EVENT } from '../src/trace/events.js'
import type { TraceData } from '../src/trace/recorder.js'
import { testConfig } from './support/machines.js'
import { area, mprotect, munmap } from './support/programs.js'
import { randomRun } from './support/random-programs.js'
import { neighbours, twoCpus } from './support/two-cpus.js'

async function goodTrace(era: 'linux-4.6' | 'linux-6.x'): Promise<TraceData> {
  const image = twoCpus(neighbours(8), [mprotect(area(0), 1), munmap(area(0))], 'running')
  const { result } = await simulateHere(testConfig({}, { era }), image, { check: true })
  return result.trace
}

/** The index of the n-th event of a kind, on any CPU. */
function find(data: TraceData, kind: number, accept: (index: number) => boolean = () => true): number {
  const index = [...data.kind].findIndex((each, i) => each === kind && accept(i))
  return index < 0 ? expect.unreachable(`no event ${kind}`) : index
}

/** The trace without one record. */
function without(data: TraceData, index: number): TraceData {
  const cut = <Column extends Int32Array<ArrayBuffer> | Float64Array<ArrayBuffer>>(column: Column): Column =>
    column.filter((_, i) => i !== index) as Column
  return {
    ...data, length: data.length - 1, cycle: cut(data.cycle), kind: cut(data.kind), cpu: cut(data.cpu),
    pid: cut(data.pid), comm: cut(data.comm), flags: cut(data.flags), words: data.words.map(cut),
  }
}

function complaint(data: TraceData): string {
  try {
    checkTrace(data)
  } catch (error) {
    expect(error).toBeInstanceOf(InvariantViolation)
    return (error as InvariantViolation).message
  }
  return expect.unreachable('nothing was found')
}

test('random runs leave good traces', async () => {
  await fc.assert(fc.asyncProperty(randomRun, async (run) => {
    await simulate(run.config, run.image, { engine: 'inline', check: true })
  }), { numRuns: 30, seed: 56, endOnFailure: true })
})

test('responders that are held flush after the request is over: no fault of mach-1989, but of others', async () => {
  const image = twoCpus(neighbours(8), [mprotect(area(0), 1), munmap(area(0))], 'running')
  const { result } = await simulateHere(testConfig({}, { policy: 'mach-1989' }), image, { check: true })
  checkTrace(result.trace, { areRespondersHeld: true })
  expect(complaint(result.trace)).toMatch(/^I28: .*(never acknowledged|no announced request|no request that waits)/)
})

const isRemote = (data: TraceData) => (i: number): boolean => data.words[1]![i] === 1
const isAnnouncement = (data: TraceData) => (i: number): boolean => data.words[1]![i] === 4

describe.each(['linux-4.6', 'linux-6.x'] as const)('of %s', (era) => {
  test('a good trace passes', async () => {
    checkTrace(await goodTrace(era))
  })

  test('I28: a remote flush without an announcement', async () => {
    const data = await goodTrace(era)
    expect(complaint(without(data, find(data, EVENT.tlbFlush, isAnnouncement(data)))))
      .toMatch(/^I28: cpu1 cycle \d+ task other-2: tlb_flush: no announced request waits for this CPU\n {2}should be/)
  })

  test('I28: a request that was never queued is acknowledged, one that was queued is not', async () => {
    const data = await goodTrace(era)
    expect(complaint(without(data, find(data, EVENT.csdQueueCpu)))).toMatch(/^I28: cpu1 .*: no announced request waits/)
    expect(complaint(without(data, find(data, EVENT.flushAck))))
      .toMatch(/^I28: cpu0 .* task main-1: flush_done: cpu1 never acknowledged it/)
  })

  test('I28: a handler is entered twice, a switch comes from nowhere, a call returns that was not made', async () => {
    const data = await goodTrace(era)
    const exit = find(data, EVENT.callFunctionSingleExit)
    expect(complaint(without(data, exit))).toMatch(/^I28: cpu1 .*_entry: the CPU is in a handler already/)
    expect(complaint(without(data, find(data, EVENT.sysEnter))))
      .toMatch(/^I28: cpu0 .* sys_exit: the task is in no such/)
    data.words[2]![find(data, EVENT.schedSwitch, i => data.cpu[i] === 0)] = 99
    expect(complaint(data)).toMatch(/^I28: cpu0 .* sched_switch: the CPU had switched to task 99/)
  })

  test('I32: a record that is earlier than the one before it', async () => {
    const data = await goodTrace(era)
    const late = find(data, EVENT.tlbFlush, isRemote(data))
    data.cycle[late] = data.cycle[late - 1]! - 1
    expect(complaint(data)).toMatch(/^I32: cpu1 .* tlb_flush: it comes after a later event/)
  })
})
