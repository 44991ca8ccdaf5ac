// The story of one event: its causes, the request and the operation around it, who waited, who caught
// up later, and what followed, all from the trace of a run.

import { beforeAll, describe, expect, test } from 'vitest'
import { simulate } from '../src/engine/simulate.js'
import { loadScenario } from '../src/scenario/parse.js'
import { EVENTS } from '../src/trace/events.js'
import { momentAt, describeMoment } from '../src/trace/moment.js'
import { eventAt, type TraceData } from '../src/trace/recorder.js'
import { recordsAt, storyOf, type Story } from '../src/trace/story.js'

const scenario = new URL('../scenarios/tour/02-shootdown.yaml', import.meta.url).pathname
let data: TraceData
beforeAll(async () => {
  const { config, image } = await loadScenario(scenario, {}, () => { throw new Error('no traces here') })
  data = (await simulate(config, image, { engine: 'inline' })).result.trace
})

const names = (indices: readonly number[]): string[] => indices.map(index => EVENTS[data.kind[index]!]!.name)

/** The story of the n-th event of this kind on this CPU. */
function story(name: string, cpu: number, number = 0): Story {
  const found: number[] = []
  for (let i = 0; i < data.length; i++) if (data.cpu[i] === cpu && names([i])[0] === name) found.push(i)
  return storyOf(data, found.at(number)!)
}

describe('a flush in a handler', () => {
  test('goes back over the interrupt and the request to the system call', () => {
    const { causes } = story('flush_ack', 1)
    expect(names(causes)).toEqual(['sys_enter', 'flush_begin'])
    expect(names(story('call_function_exit', 1).causes))
      .toEqual(['sys_enter', 'flush_begin', 'ipi_send_cpumask', 'call_function_entry'])
    const flush = recordsAt(data, 263_787, { name: 'tlb_flush' })
    expect(names(storyOf(data, flush[0]!).causes))
      .toEqual(['sys_enter', 'flush_begin', 'ipi_send_cpumask', 'call_function_entry'])
  })

  test('belongs to the request of the CPU that interrupted it, inside its munmap', () => {
    const { request, operation } = story('flush_ack', 2)
    expect(request).toMatchObject({ initiatorCpu: 0, pages: 3, cycles: 4946 })
    expect(operation).toMatchObject({ name: 'munmap', comm: 'main', startCycle: 256_382, endCycle: 265_668 })
    expect(operation!.requests).toEqual([request])
  })
})

describe('who waited', () => {
  test('the initiator from its own flush to the last acknowledgement, and the others in their handlers', () => {
    expect(story('flush_begin', 0).delays).toEqual([
      { cpu: 0, comm: 'main', pid: 1, what: 'waited for acknowledgements', startCycle: 262_122, cycles: 2946 },
      { cpu: 1, comm: 'one', pid: 2, what: 'handled an interrupt', startCycle: 263_037, cycles: 750 },
      { cpu: 2, comm: 'two', pid: 3, what: 'handled an interrupt', startCycle: 263_837, cycles: 750 },
    ])
  })

  test('a CPU that was left out catches up when its thread comes back', () => {
    expect(story('flush_begin', 0).caughtUp).toEqual([{ cpu: 3, why: 'lazy', flushCycle: 272_368 }])
  })

  test('a task that is woken had slept, and waits for its CPU', () => {
    const { delays } = story('sched_wakeup', 0)
    expect(delays.map(({ what, startCycle, cycles }) => [what, startCycle, startCycle + cycles])).toEqual([
      ['slept', 26_187, 266_718], ['waited for a CPU', 266_718, 271_218],
    ])
    expect(story('sched_switch', 3, 2).delays).toEqual([delays[1]])
  })
})

describe('what followed', () => {
  test('of a request: everything it sent, its flushes and its end', () => {
    expect(names(story('flush_begin', 0).effects)).toEqual([
      'tlb_flush', 'flush_skip', 'csd_queue_cpu', 'csd_queue_cpu', 'ipi_send_cpumask', 'tlb_flush', 'flush_ack',
      'flush_ack', 'flush_done',
    ])
  })

  test('every effect names the event as its cause, in every place of the trace', () => {
    for (let i = 0; i < data.length; i++) {
      for (const effect of storyOf(data, i).effects) expect(storyOf(data, effect).causes.at(-1)).toBe(i)
    }
  })
})

describe('an operation', () => {
  test('a page fault lasts until its page is mapped', () => {
    const { operation } = story('page_map', 0)
    expect(operation).toMatchObject({ name: 'page fault', startCycle: 1750, endCycle: 3190, requests: [] })
  })

  test('an exit lasts until the task is switched away for good', () => {
    const { operation } = story('sched_process_exit', 3)
    const { cycle } = eventAt(data, data.length - 1)
    expect(operation).toMatchObject({ name: 'exit', comm: 'sleeper', startCycle: 272_518 })
    expect(operation!.endCycle).toBeLessThanOrEqual(cycle)
    expect(operation!.requests).toHaveLength(1)
  })
})

describe('choosing an event', () => {
  test('of one cycle the most telling comes first, and CPU and kind can be named', () => {
    expect(names(recordsAt(data, 263_787))).toEqual(['tlb_flush', 'flush_ack', 'call_function_exit'])
    expect(names(recordsAt(data, 263_787, { name: 'flush_ack' }))).toEqual(['flush_ack'])
    expect(names(recordsAt(data, 1150, { cpu: 2 }))).toEqual(['tlb_flush', 'switch_mm'])
  })

  test('a cycle without events means the last one before it, and before the first there is none', () => {
    expect(recordsAt(data, 263_786)).toEqual(recordsAt(data, 263_037))
    expect(recordsAt(data, 10 ** 9)).toEqual(recordsAt(data, data.cycle[data.length - 1]!))
    expect(recordsAt(data, -1)).toEqual([])
  })
})

test('a CPU that has switched to idle is idle, whatever the switch still records in the name of the old task', () => {
  const moments = momentAt(data, recordsAt(data, 260_122)[0]!, 4)
  expect(describeMoment(moments[3]!)).toBe('cpu3 <idle>-0 lazy on mm 2')
})
