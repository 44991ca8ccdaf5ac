// The library as programs use it: a run is awaited for its result and iterated for its events, both at
// once if need be; it is aborted by a signal; scenarios come from files, text and objects.

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  eventsOf, formatTextTrace, loadScenario, parseScenario, parseTextTrace, simulate, UserError,
} from '../src/index.js'
import type { Run, ScenarioSource, TraceEvent } from '../src/index.js'
import { ROOT } from './support/cli.js'

const TOUR = join(ROOT, 'scenarios/tour')
const SHOOTDOWN = join(TOUR, '02-shootdown.yaml')

/** Runs for seconds of host time: long enough to be looked at on the way. */
const LONG: ScenarioSource = {
  name: 'long',
  cpus: 2,
  processes: [{
    name: 'app',
    threads: ['one', 'two'].map((name, cpu) => ({
      name, cpu, program: [
        { mmap: { name: `buf-${name}`, pages: 64 } },
        { repeat: { times: 100_000, do: [
          { write: `buf-${name}` }, { madvise: { area: `buf-${name}`, advice: 'dontneed' } },
        ] } },
      ],
    })),
  }],
}

async function collect(run: Run): Promise<TraceEvent[]> {
  const events: TraceEvent[] = []
  for await (const event of run) events.push(event)
  return events
}

describe('a run', () => {
  test('is awaited for its result', async () => {
    const { ok, end, cycle, microseconds, counters, tasks, shootdowns, expectations, header } =
      await simulate(await loadScenario(SHOOTDOWN))
    expect({ ok, end, cycle }).toEqual({ ok: true, end: 'finished', cycle: 304_259 })
    expect(microseconds).toBeCloseTo(132.29, 2)
    expect(counters.callFunctionIpis).toBe(5)
    expect(tasks.map(({ comm, outcome }) => `${comm} ${outcome}`)).toContain('sleeper exited')
    expect(shootdowns.map(({ ipiCpus }) => ipiCpus)).toEqual([[1, 2], [0, 1, 2]])
    expect(expectations).toHaveLength(7)
    expect(header).toEqual({ scenario: 'shootdown', era: 'linux-6.x', cpus: 4, seed: 1, frequencyGhz: 2.3 })
  })

  test('is iterated for its events, and kinds of events have their fields', async () => {
    const flushed: number[] = []
    for await (const event of simulate(await loadScenario(SHOOTDOWN))) {
      if (event.name === 'tlb_flush' && event.cpu === 1) flushed.push(event.fields.pages)
    }
    expect(flushed).toEqual([-1, 3, 0])
  })

  test.each(readdirSync(TOUR).filter(file => file.endsWith('.yaml')))(
    'gives the events of its trace, in the same order: %s', async (file) => {
      const run = simulate(await loadScenario(join(TOUR, file)))
      const [events, { trace, ok }] = await Promise.all([collect(run), run])
      expect(ok).toBe(true)
      expect(events).toEqual([...eventsOf(trace)])
    })

  test('gives the same events and counters with every engine', async () => {
    const scenario = await loadScenario(SHOOTDOWN)
    const runs = await Promise.all((['inline', 'reference', 'threads'] as const).map(async (engine) => {
      const run = simulate(scenario, { engine })
      return { events: await collect(run), counters: (await run).counters }
    }))
    expect(runs[1]).toEqual(runs[0])
    expect(runs[2]).toEqual(runs[0])
  })

  test('gives its events while it goes on', async () => {
    const controller = new AbortController()
    const run = simulate(await parseScenario(LONG), { signal: controller.signal })
    let count = 0
    for await (const event of run) {
      expect(event.index).toBe(count)
      count += 1
      if (count > 5000) break
    }
    let hasEnded = false
    void run.finally(() => { hasEnded = true }).catch(() => undefined)
    await Promise.resolve()
    expect(hasEnded).toBe(false)
    controller.abort()
    await expect(run).rejects.toThrow('abort')
  })

  test('starts every loop at the first event, and one that was left early does not stop it', async () => {
    const run = simulate(await loadScenario(SHOOTDOWN))
    for await (const event of run) if (event.index === 3) break
    expect(await collect(run)).toHaveLength(136)
    expect((await run).ok).toBe(true)
  })
})

describe('stopping', () => {
  test('a signal ends the run and every loop over it, with its reason', async () => {
    const controller = new AbortController()
    const run = simulate(await parseScenario(LONG), { signal: controller.signal })
    const loop = collect(run)
    setTimeout(() => controller.abort(new Error('enough')), 50)
    await expect(loop).rejects.toThrow('enough')
    await expect(run).rejects.toThrow('enough')
  })

  test('a signal that has been given starts nothing', async () => {
    await expect(simulate(await parseScenario(LONG), { signal: AbortSignal.abort() }))
      .rejects.toMatchObject({ name: 'AbortError' })
  })

  test('a signal takes down the threads', async () => {
    const run = simulate(await parseScenario(LONG), { engine: 'threads', signal: AbortSignal.timeout(300) })
    await expect(run).rejects.toMatchObject({ name: 'TimeoutError' })
  })

  test('untilCycle stops at a cycle; expectations then mean nothing yet', async () => {
    const { end, cycle, expectations, ok } = await simulate(await loadScenario(SHOOTDOWN), { untilCycle: 100_000 })
    expect({ end, cycle, ok }).toEqual({ end: 'until', cycle: 100_000, ok: true })
    expect(expectations).toBeUndefined()
  })
})

describe('what goes wrong', () => {
  test('an expectation that does not hold is a result', async () => {
    const scenario = await parseScenario({
      processes: [{ name: 'app', program: [{ compute: '1us' }] }], expect: [{ counter: 'pageFaults', equals: 1 }],
    })
    const { ok, expectations } = await simulate(scenario)
    expect(ok).toBe(false)
    expect(expectations).toMatchObject([{ ok: false }])
  })

  test('a mistake in an object has its place in the JSON of the object', async () => {
    const source = { processes: [{ name: 'app', program: [{ compute: 'soon' }] }] }
    const error: unknown = await parseScenario(source, { file: 'mine' }).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(UserError)
    expect((error as UserError).position).toMatchObject({ file: 'mine', line: 7 })
  })

  test('a run without a trace cannot be iterated, but counts', async () => {
    const run = simulate(await loadScenario(SHOOTDOWN), { trace: false })
    await expect(collect(run)).rejects.toThrow('records no events')
    expect((await run).counters.callFunctionIpis).toBe(5)
  })

  test('options change what the scenario says', async () => {
    const scenario = await loadScenario(SHOOTDOWN, { policy: 'eager', seed: 7 })
    const { counters, header } = await simulate(scenario)
    expect(header.seed).toBe(7)
    expect(counters.lazySkipped).toBe(0)
  })
})

test('a result is written as the canonical text, which is read again', async () => {
  const { trace, header } = await simulate(await loadScenario(SHOOTDOWN))
  const text = formatTextTrace(trace, header)
  const read = parseTextTrace(text, 'memory')
  expect(formatTextTrace(read.data, header)).toBe(text)
})
