// What a report carries: whatever goes in comes out, in few bytes; and what the page derives from it:
// how time divides over kinds, which interrupt led to which handler, what requests took.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { simulate } from '../src/engine/simulate.js'
import { stableOrder } from '../src/page/format.js'
import { buildLanes, countUpTo, KIND_COUNT, KIND_LAZY, sharesOf, stretchAt } from '../src/page/lanes.js'
import { ARROW_ACK, ARROW_FLUSH, findArrows } from '../src/page/links.js'
import { packColumns, unpackColumns } from '../src/page/packed.js'
import { binsOf, findRequests, quantile } from '../src/page/requests.js'
import { readRun } from '../src/page/run-data.js'
import type { RunData } from '../src/page/run-data.js'
import { hashOf, viewOf } from '../src/page/view-hash.js'
import { packRun } from '../src/report/pack-run.js'
import { metaOf } from '../src/report/run-meta.js'
import { MODE_USER, MODE_WAITING } from '../src/trace/observations.js'
import { TraceRecorder } from '../src/trace/recorder.js'
import { formatTextTrace } from '../src/trace/text.js'
import { tourScenario } from './support/tour.js'

describe('packed columns', () => {
  test('whole numbers of any sign and up to 52 bits come back as they were', () => {
    const words = fc.array(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), { maxLength: 40 })
    const cycles = fc.array(fc.maxSafeInteger().map((value) => Math.trunc(value / 4)), { maxLength: 40 })
    fc.assert(fc.property(words, cycles, (a, b) => {
      const { shapes, bytes } = packColumns({ a: Int32Array.from(a), b: Float64Array.from(b) })
      const back = unpackColumns(shapes, bytes, (name, length) =>
        name === 'a' ? new Int32Array(length) : new Float64Array(length))
      expect([...back.get('a')!]).toEqual(a)
      expect([...back.get('b')!]).toEqual(b.map((value) => value + 0))
    }))
  })

  test('cycles that grow slowly take one byte each, a column of zeros none', () => {
    const cycle = Float64Array.from({ length: 1000 }, (_, i) => 5_000_000_000 + i * 100)
    const { shapes } = packColumns({ cycle: cycle.subarray(1), none: new Int32Array(1000) })
    expect(shapes.map(({ isDelta }) => isDelta)).toEqual([true, false])
    expect(packColumns({ steps: cycle.map((value) => value - 5_000_000_000) }).shapes[0]!.planes).toBe(1)
    expect(shapes[1]!.planes).toBe(0)
  })

  test('an order by key keeps equal ones in their order', () => {
    expect([...stableOrder(Int32Array.from([2, 0, 2, 1, 0]))]).toEqual([1, 4, 3, 0, 2])
    expect([...stableOrder(new Int32Array(0))]).toEqual([])
  })
})

describe('a packed run', () => {
  test('has the same trace, line for line, and the same lanes, writes and looks', async () => {
    for (const name of ['02-shootdown', '09-reclaim']) {
      const { scenario, result, run } = await packed(name)
      const header = { scenario: name, era: scenario.config.kernel.era, cpus: 4, seed: 1, frequencyGhz: 1 }
      expect(formatTextTrace(run.trace, header)).toBe(formatTextTrace(result.trace, header))
      const { lanes, writes, looks } = result.recording!
      expect(run.lanes.reduce((sum, lane) => sum + lane.length, 0)).toBe(lanes.length)
      const rows = Array.from(lanes.columns.cpu.keys()).filter((row) => lanes.columns.cpu[row] === 1)
      expect([...run.lanes[1]!.cycle]).toEqual(rows.map((row) => lanes.cycle[row]))
      expect([...run.lanes[1]!.mode]).toEqual(rows.map((row) => lanes.columns.mode[row]))
      expect([run.writes.cycle, run.writes.pfn, run.writes.lo, run.writes.hi])
        .toEqual([writes.cycle, writes.columns.pfn, writes.columns.lo, writes.columns.hi])
      expect([run.lookCycles, run.held.from, run.held.why])
        .toEqual([looks.cycles, looks.held.columns.from, looks.held.columns.why])
    }
  })

  test('a page refuses a report of another version', async () => {
    const { block } = await packed('01-first-walk')
    const json = 4 + new DataView(block.buffer).getUint32(0, true)
    const meta = JSON.parse(new TextDecoder().decode(block.subarray(4, json))) as { version: number }
    const text = new TextEncoder().encode(JSON.stringify({ ...meta, version: 99 }))
    const other = new Uint8Array(4 + text.length)
    new DataView(other.buffer).setUint32(0, text.length, true)
    other.set(text, 4)
    expect(() => readRun(other)).toThrow('this report is of version 99, its page of version 1')
  })
})

describe('lanes', () => {
  test('the cycles of any range divide over the kinds without a rest', async () => {
    const { run } = await packed('02-shootdown')
    const lanes = buildLanes(run)
    const shares = new Float64Array(KIND_COUNT)
    fc.assert(fc.property(fc.nat(run.meta.endCycle), fc.nat(run.meta.endCycle), fc.nat(3), (a, b, cpu) => {
      const [from, to] = [Math.min(a, b), Math.max(a, b)]
      sharesOf(lanes[cpu]!, from, to, shares)
      expect(shares.reduce((sum, each) => sum + each, 0)).toBe(to - from)
      let user = 0
      for (let cycle = from; cycle < to; cycle += 1 + ((to - from) >> 6)) {
        if (lanes[cpu]!.kind[stretchAt(lanes[cpu]!, cycle)] === MODE_USER) user += 1
      }
      if (user === 0) expect(shares[MODE_USER]).toBeLessThan((to - from) / 2 + 1)
    }))
  })

  test('the sleeper of the tour is lazy while the others work, and who unmaps waits for acknowledgements', async () => {
    const { run } = await packed('02-shootdown')
    const lanes = buildLanes(run)
    expect(lanes[3]!.kind[stretchAt(lanes[3]!, 200_000)]).toBe(KIND_LAZY)
    expect(lanes[0]!.kind[stretchAt(lanes[0]!, 263_500)]).toBe(MODE_WAITING)
  })

  test('countUpTo counts the values up to a limit', () => {
    expect([0, 1, 2, 3, 9].map((limit) => countUpTo([1, 2, 2, 5], limit))).toEqual([0, 1, 3, 3, 4])
  })
})

describe('arrows', () => {
  test('the two interrupts of the tour end in their handlers, and each is acknowledged', async () => {
    const { run } = await packed('02-shootdown')
    const arrows = findArrows(run.trace, buildLanes(run), run.meta.flightCycles)
    const first = Array.from(arrows.request.keys()).filter((i) => arrows.request[i] === 0)
    expect(first.map((i) => [arrows.kind[i], arrows.fromCpu[i], arrows.toCpu[i]])).toEqual([
      [ARROW_FLUSH, 0, 1], [ARROW_FLUSH, 0, 2], [ARROW_ACK, 1, 0], [ARROW_ACK, 2, 0],
    ])
    for (const i of first) expect(arrows.to[i]).toBeGreaterThanOrEqual(arrows.from[i]!)
    const lanes = buildLanes(run)
    expect(arrows.to[first[0]!]).toBe(lanes[1]!.start[stretchAt(lanes[1]!, arrows.to[first[0]!]!)])
  })

  test('one handler takes every interrupt that has arrived, and none that is still on its way', () => {
    const recorder = new TraceRecorder()
    const callback = recorder.intern('generic_smp_call_function_single_interrupt')
    const at = (kind: number, cycle: number, cpu: number, a = 0, b = 0): void =>
      recorder.record(kind, cycle, cpu, 1, 0, 0, a, b)
    at(7, 100, 0, 2, callback)
    at(7, 150, 1, 2, callback)
    at(7, 950, 3, 2, callback)
    at(10, 1000, 2)
    at(11, 1200, 2)
    at(10, 1960, 2)
    const [word, start, kind] = [new Int32Array(1), new Float64Array(1), Uint8Array.of(4)]
    const lanes = [0, 1, 2, 3].map((cpu) =>
      ({ cpu, length: 1, start, kind, pid: word, mm: word, lazy: word, sums: start }))
    const arrows = findArrows(recorder.finish(), lanes, 500)
    expect([...arrows.to]).toEqual([1000, 1000, 1960])
    expect([...arrows.reach]).toEqual([1000, 1000, 1960])
  })
})

describe('requests', () => {
  test('the request of a cycle is the one that the CPU makes or answers', async () => {
    const { run } = await packed('02-shootdown')
    const requests = findRequests(run.trace, 4)
    const { startCycle, responders } = requests.all[0]!
    expect(requests.at(0, startCycle)).toBe(0)
    expect(requests.at(1, responders[0]!.startCycle!)).toBe(0)
    expect(requests.at(3, startCycle)).toBe(-1)
    expect(requests.stolen[1]!.responder).toBeGreaterThanOrEqual(750)
    expect(requests.latencies.map(({ cycles }) => cycles)).toContain(4946)
  })

  test('bins have round widths and hold every latency once', () => {
    const values = [120, 130, 180, 260, 999].map((cycles, request) => ({ cycles, request }))
    const bins = binsOf(values, 5)
    expect(bins.map(({ from, count }) => [from, count])).toEqual([[0, 3], [200, 1], [400, 0], [600, 0], [800, 1]])
    expect([quantile(values, 0.5), quantile(values, 1), quantile([], 0.5)]).toEqual([180, 999, 0])
    expect(binsOf([], 5)).toEqual([])
  })
})

describe('a shared view', () => {
  const view = { from: 10, to: 90, cursor: 40, event: 3, cpu: 1, request: 2, mm: 2, page: '0x10000000' }

  test('comes back from its hash', () => {
    expect(viewOf(hashOf(view, 100), 100, 4, 50)).toEqual(view)
  })

  test('what makes no sense in a hash is left out', () => {
    expect(viewOf('#c=101&from=50&to=20&cpu=9&event=x&page=0xzz&mm=0', 100, 4, 50)).toEqual({})
  })
})

async function packed(name: string): Promise<{
  scenario: Awaited<ReturnType<typeof tourScenario>>
  result: Awaited<ReturnType<typeof simulate>>['result']
  block: Uint8Array
  run: RunData
}> {
  const scenario = await tourScenario(name)
  const { result } = await simulate(scenario.config, scenario.image, { engine: 'inline', record: true })
  const recording = result.recording!
  const meta = metaOf({ scenario, result, recording, expectations: [], command: `shootdown run ${name}` })
  const block = packRun(meta, result.trace, recording)
  return { scenario, result, block, run: readRun(block) }
}
