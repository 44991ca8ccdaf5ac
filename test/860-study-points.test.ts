// Studies: which points they have, what is in a row, and what is refused.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { mean as referenceMean, quantileSorted, sampleWithReplacement } from 'simple-statistics'
import { describe, expect, test } from 'vitest'
import { createRandom } from '../src/base/prng.js'
import { UserError } from '../src/base/errors.js'
import { scenarioFiles } from '../src/cli/scenario-files.js'
import { parseScenario } from '../src/scenario/parse.js'
import { loadTrace } from '../src/scenario/trace-file.js'
import { bucketOf, histogramOf, mergeHistograms } from '../src/study/histogram.js'
import { bootstrapMean, quantile } from '../src/study/statistics.js'
import { applyParameters } from '../src/study/study-axes.js'
import { parseStudy } from '../src/study/study-file.js'
import { pointParameters } from '../src/study/study-plan.js'
import { loadSchedule } from '../src/study/schedule-scenario.js'
import { runPoint, type ResultRow } from '../src/study/sweep-point.js'
import { ROOT } from './support/cli.js'
import { SMALL_STUDY, SMALL_STUDY_POINTS } from './support/studies.js'

const SCENARIO = SMALL_STUDY.slice(SMALL_STUDY.indexOf('scenario:'))

async function refusal(text: string): Promise<string> {
  try {
    await parseStudy(text, 's.study.yaml')
  } catch (error) {
    if (error instanceof UserError) return error.format()
    throw error
  }
  return 'nothing'
}

test('a label is for a field that is varied', async () => {
  expect(await refusal(SMALL_STUDY.replace('vary:', 'labels: {page: size (pages)}\nvary:')))
    .toContain('"page" is not varied')
  const plan = await parseStudy(SMALL_STUDY.replace('vary:', 'labels: {pages: size (pages)}\nvary:'), 's.study.yaml')
  expect([plan.labels, plan.hash]).toEqual([{ pages: 'size (pages)' }, (await parseStudy(SMALL_STUDY, 's')).hash])
})

describe('points', () => {
  test('are all combinations, the first field slowest, each a function of its index', async () => {
    const plan = await parseStudy(SMALL_STUDY, 's.study.yaml')
    expect(plan.count).toBe(SMALL_STUDY_POINTS)
    expect(pointParameters(plan, 0)).toEqual({ policy: 'linux-4.6', pages: 1, seed: 1 })
    expect(pointParameters(plan, 17)).toEqual({ policy: 'linux-6.x', pages: 2, seed: 2 })
    const all = Array.from({ length: plan.count }, (_, index) => JSON.stringify(pointParameters(plan, index)))
    expect(new Set(all).size).toBe(plan.count)
  })

  test('of ranges go by steps or by factors and end where the range does', async () => {
    const plan = await parseStudy(`vary:\n  cpus: {from: 2, to: 20, times: 2}\n`
      + `  costs.ipiSend: {from: 0, to: 250, step: 100}\n  kernel.flushCeiling: {from: 1, to: 3}\n${SCENARIO}`, 's')
    expect(plan.axes.map(({ values }) => values)).toEqual([[2, 4, 8, 16], [0, 100, 200], [1, 2, 3]])
  })

  test('of a list may each set other fields', async () => {
    const plan = await parseStudy(`points:\n  - {cpus: 2}\n  - {cpus: 4, machine: milan}\n${SCENARIO}`, 's')
    expect([plan.count, pointParameters(plan, 1)]).toEqual([2, { cpus: 4, machine: 'milan' }])
  })

  test('change their fields and nothing else: short names, paths, anchors', async () => {
    const fields = { cpus: 6, policy: 'linux-4.6', ceiling: 5, 'costs.ipiSend': 17, pages: 9, 'machine.tlb.l1d': '32/4',
      'processes.app.threads.main.program.0.mmap.pages': 3, machine: 'milan' }
    const scenario = await parse(applyParameters((await parseStudy(SMALL_STUDY, 's')).scenarioText, fields))
    const { machine, kernel } = scenario.config
    expect([machine.cpus, machine.preset, machine.costs.ipiSend, machine.tlb.l1d.arrays[0]!.entries])
      .toEqual([6, 'milan', 17, 32])
    expect([kernel.policy, kernel.era, kernel.flushCeilingPages]).toEqual(['linux-4.6', 'linux-4.6', 5])
    expect(machine.memoryBytes).toBe(64 * 2 ** 20)
    const lengths = scenario.image.programs[0]!.code.flatMap((one) => one.op === 'mmap' ? [one.bytes] : [])
    expect(lengths).toEqual([3 * 4096, 9 * 4096])
  })

  test('are ordinary scenarios: every scenario is the same after a point has set nothing', { timeout: 120_000 },
    async () => {
      for (const file of scenarioFiles([join(ROOT, 'scenarios')])) {
        const text = readFileSync(file, 'utf8')
        const [before, after] = await Promise.all([parse(text, file), parse(applyParameters(text, {}), file)])
        expect(withoutPlaces(after)).toEqual(withoutPlaces(before))
      }
    })
})

describe('a row', () => {
  test('says what was run and what it cost, the same every time', async () => {
    const plan = await parseStudy(SMALL_STUDY, 's.study.yaml')
    const [first, again] = [await runPoint(plan, 5, '1.2.3'), await runPoint(plan, 5, '1.2.3')]
    expect(again).toEqual(first)
    const row = JSON.parse(first.line!) as ResultRow
    expect({ ...row, result: {}, latencies: [] }).toEqual({
      study: plan.hash, version: '1.2.3', index: 5, of: 24, seed: 2, problem: '', result: {}, latencies: [],
      parameters: { policy: 'linux-4.6', pages: 2, seed: 2 },
    })
    const { result } = row
    expect([result['flushes'], result['calls'], result['callFunctionIpis']]).toEqual([3, 2, 3])
    // The parts of calls are the calls, besides the flush of the exit, which is none.
    const parts = ['entry', 'tables', 'setup', 'send', 'local', 'wait', 'free'].map((one) => result[`${one}Cycles`]!)
    const rest = parts.reduce((sum, part) => sum + part, 0) - result['calls']! * result['callMean']!
    expect(row.latencies.map(([edge]) => edge)).toContain(bucketOf(rest))
    expect(result['irqCycles']! + result['handlerCycles']!).toBe(result['responderCycles'])
    expect(result['setupCycles']! + result['sendCycles']! + result['localCycles']! + result['waitCycles']!)
      .toBe(result['initiatorCycles'])
  })

  test('tells of an expectation that failed', async () => {
    const plan = await parseStudy(SMALL_STUDY.replace('failedSyscalls, equals: 0', 'syscalls, equals: 1'), 's')
    const row = JSON.parse((await runPoint(plan, 0, '1')).line!) as ResultRow
    expect(row.problem).toContain('syscalls')
  })
})

describe('a bad study', () => {
  const cases: readonly (readonly [what: string, text: string, message: string])[] = [
    ['an unknown field', `vary:\n  pagez: [1]\n${SCENARIO}`,
      's.study.yaml:2:3: unknown field "pagez"\n[^]*did you mean "pages"'],
    ['an unknown key of the kernel', `vary:\n  kernel.flushCeilin: [1]\n${SCENARIO}`,
      's.study.yaml:2:3: unknown key "flushCeilin"[^]*did you mean "flushCeiling"'],
    ['an unknown key of the study', `varry: {}\n${SCENARIO}`, 's.study.yaml:1:1: unknown key "varry"'],
    ['an empty list', `vary:\n  pages: []\n${SCENARIO}`, 's.study.yaml:2:3: the list of values is empty'],
    ['an empty grid', `vary: {}\n${SCENARIO}`, 's.study.yaml:1:1: no field is varied'],
    ['an empty range', `vary:\n  pages: {from: 4, to: 2}\n${SCENARIO}`, 's.study.yaml:2:3: the range is empty'],
    ['10^9 points', `vary:\n  pages: {from: 1, to: 100000}\n  seed: {from: 1, to: 10000}\n${SCENARIO}`,
      's.study.yaml:1:1: the study has 1,000,000,000 points, and at most 1,000,000'],
    ['a range of 10^9 values', `vary:\n  seed: {from: 1, to: 1000000000}\n${SCENARIO}`,
      's.study.yaml:2:3: the range has 1,000,000,000 values'],
    ['a value that the scenario refuses', `vary:\n  pages: [1, 2, none]\n${SCENARIO}`,
      's.study.yaml:2:17: expected an integer from 1 [^]*at point 2: pages=none'],
    ['a value that is there twice', `vary:\n  cpus: [1, 2, 1]\n${SCENARIO}`,
      's.study.yaml:2:16: 1 is in the list twice'],
    ['two kinds of points', `vary:\n  cpus: [1]\npoints: [{cpus: 1}]\n${SCENARIO}`, 's.study.yaml:3:1: .*exclude'],
    ['a mistake in its scenario', SMALL_STUDY.replace('- write: floor', '- wrte: floor'),
      's.study.yaml:16:15: unknown operation "wrte"'],
    ['a scenario that is not there', 'vary:\n  cpus: [1]\nscenario: no.yaml\n',
      's.study.yaml:3:11: the scenario "no.yaml" cannot be read'],
  ]
  for (const [what, text, message] of cases) {
    test(`is refused with its place: ${what}`, async () => {
      expect(await refusal(text)).toMatch(new RegExp(`^${message}`))
    })
  }
})

describe('statistics', () => {
  test('quantiles are those of simple-statistics', () => {
    const values = Array.from({ length: 101 }, (_, i) => i * i)
    for (const share of [0.01, 0.25, 0.5, 0.9, 0.99]) {
      expect(quantile(values, share)).toBe(quantileSorted(values, share))
    }
    expect(quantile([], 0.5)).toBe(0)
  })

  test('a bootstrap interval is about that of simple-statistics, and the same every time', () => {
    const random = createRandom(1, 'test')
    const values = Array.from({ length: 30 }, () => 100 + random.nextInt(50))
    const { mean, low, high } = bootstrapMean(values)
    const reference = referenceInterval(values)
    expect(mean).toBeCloseTo(referenceMean(values), 9)
    expect([low / reference.low, high / reference.high]).toEqual([expect.closeTo(1, 1.5), expect.closeTo(1, 1.5)])
    expect(low).toBeLessThan(mean)
    expect(bootstrapMean(values)).toEqual({ mean, low, high, count: 30 })
  })

  test('a histogram keeps small numbers exactly and large ones within 1/32, and adds up', () => {
    expect(histogramOf([3, 63, 3])).toEqual([[3, 2], [63, 1]])
    for (const value of [64, 1000, 12345, 999_999]) {
      expect(bucketOf(value)).toBeLessThanOrEqual(value)
      expect(bucketOf(value)).toBeGreaterThan(value * 31 / 32)
    }
    expect(mergeHistograms([histogramOf([1, 70]), histogramOf([70, 71])])).toEqual([[1, 1], [70, 3]])
  })
})

function referenceInterval(values: number[]): { low: number; high: number } {
  const means: number[] = []
  const draws = createRandom(9, 'reference')
  const draw = (): number => draws.nextFloat()
  for (let i = 0; i < 2000; i++) means.push(referenceMean(sampleWithReplacement(values, values.length, draw)))
  means.sort((a, b) => a - b)
  return { low: quantileSorted(means, 0.025), high: quantileSorted(means, 0.975) }
}

function parse(text: string, file = 's.yaml'): ReturnType<typeof parseScenario> {
  return parseScenario(text, file, { loadSchedule }, loadTrace)
}

/** Lines and columns differ after a file is written anew. */
function withoutPlaces(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (key, inner: unknown) => key === 'source' || key === 'position'
    || key === 'notes' ? undefined : inner))
}
