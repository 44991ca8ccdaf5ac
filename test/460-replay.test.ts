// Replaying memory traces: the counts of the simulated TLBs against a model that is too simple to
// be wrong (lists of page numbers, one at a time), and against the counts of the real trace.

import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { UserError } from '../src/base/errors.js'
import { parseTlbOption } from '../src/cli/tlb-option.js'
import { replayTrace, type AsidMode, type ReplayOptions, type TlbCounts } from '../src/engine/replay.js'
import { buildReplayTables } from '../src/engine/replay-tables.js'
import type { TraceRecords } from '../src/kernel/abi.js'
import type { MachineConfig, TlbConfig } from '../src/machine/config.js'
import { LEVEL_PMD, LEVEL_PTE, geometryOf } from '../src/machine/geometry.js'
import {
  ACCESS_EXEC, ACCESS_READ, ACCESS_WRITE, LINUX_CONTROLS, Mmu, TRANSLATED, mmuCounters, mmuWords,
} from '../src/machine/mmu.js'
import { MACHINE_PRESETS, TLB_PRESETS } from '../src/machine/presets.js'
import { ReplayLoop } from '../src/machine/replay-loop.js'
import { loadTrace } from '../src/scenario/trace-file.js'
import { packed, temporaryFile, type Access, type Kind } from './trace-fixtures.js'

const TESTS = dirname(fileURLToPath(import.meta.url))
const REFERENCE = resolve(TESTS, '../../shared/traces')
const LEVELS = ['l1i', 'l1d', 'stlb'] as const
const PAGE_BITS = { '4k': 12n, '2m': 21n } as const

type Page = keyof typeof PAGE_BITS
type Counts = Record<(typeof LEVELS)[number], TlbCounts>

const GEOMETRIES = [
  'l1i=64/8,l1d=64/4,stlb=1536/12',
  'l1i=16,l1d=16,stlb=64/4',
  'l1i=1,l1d=1,stlb=1',
  'l1i=2/1,l1d=4/2,stlb=8/4',
  'l1i=12/4,l1d=18/3,stlb=84/12',
  'l1i=3/1,l1d=5/1,stlb=7/1',
  'l1i=8,l1d=4/2,stlb=2',
]

/** True LRU, lists oldest first; keys are address space and page number. */
class NaiveTlbs {
  readonly counts: Counts = {
    l1i: { lookups: 0, misses: 0 }, l1d: { lookups: 0, misses: 0 }, stlb: { lookups: 0, misses: 0 },
  }
  private readonly sets = new Map<string, string[]>()
  private readonly tlb: ReturnType<typeof parseTlbOption>
  private readonly page: Page

  constructor(tlb: string, page: Page) {
    this.tlb = parseTlbOption(tlb)
    this.page = page
  }

  access({ kind, address, size }: Access, space: number): void {
    const level = kind === 'fetch' ? 'l1i' : 'l1d'
    const bits = PAGE_BITS[this.page]
    for (let page = address >> bits; page <= (address + BigInt(size) - 1n) >> bits; page++) {
      if (this.lookUp(level, page, space)) continue
      if (!this.lookUp('stlb', page, space)) this.fill('stlb', page, space)
      this.fill(level, page, space)
    }
  }

  flush(): void {
    this.sets.clear()
  }

  private lookUp(level: keyof Counts, page: bigint, space: number): boolean {
    const set = this.setOf(level, page)
    const at = set.indexOf(`${space}:${page}`)
    this.counts[level].lookups++
    if (at < 0) this.counts[level].misses++
    else set.push(...set.splice(at, 1))
    return at >= 0
  }

  private fill(level: keyof Counts, page: bigint, space: number): void {
    const set = this.setOf(level, page)
    if (set.length === this.tlb[level].arrays[0]!.ways) set.shift()
    set.push(`${space}:${page}`)
  }

  private setOf(level: keyof Counts, page: bigint): string[] {
    const { entries, ways } = this.tlb[level].arrays[0]!
    const key = `${level} ${page % BigInt(entries / ways)}`
    if (!this.sets.has(key)) this.sets.set(key, [])
    return this.sets.get(key)!
  }
}

interface Run {
  tlb: string
  page: Page
  flushEvery: number
}
interface Turns {
  accesses: readonly Access[]
  quantum: number
  asid: AsidMode
}

function naiveCounts(accesses: readonly Access[], { tlb, page, flushEvery }: Run, turns?: Turns): Counts {
  const model = new NaiveTlbs(tlb, page)
  const spaces = turns ? [accesses, turns.accesses] : [accesses]
  const length = Math.min(...spaces.map((list) => list.length))
  const quantum = turns?.quantum ?? length
  let done = 0
  for (let from = 0; from < length; from += quantum) {
    for (const [space, list] of spaces.entries()) {
      if (turns?.asid === 'flushed') model.flush()
      for (const access of list.slice(from, Math.min(from + quantum, length))) {
        model.access(access, space)
        done++
        if (flushEvery > 0 && done % flushEvery === 0) model.flush()
      }
    }
  }
  return model.counts
}

async function traceOf(accesses: readonly Access[]): Promise<TraceRecords> {
  return loadTrace(temporaryFile('trace', packed(accesses)))
}

function countsOf(trace: TraceRecords, run: Run, other?: ReplayOptions['other']): Counts {
  const { l1i, l1d, stlb, walks } = replayTrace(trace, optionsOf(run, other))
  expect(walks).toBe(stlb.misses)
  expect(stlb.lookups).toBe(l1i.misses + l1d.misses)
  return { l1i, l1d, stlb }
}

function optionsOf({ tlb, page, flushEvery }: Run, other?: ReplayOptions['other']): ReplayOptions {
  const options: ReplayOptions = { tlb: parseTlbOption(tlb), largePages: page === '2m', flushEvery }
  return other ? { ...options, other } : options
}

/** Accesses that hit, miss, cross pages and share sets, in all corners of the user address space. */
const someAccess = fc.record({
  kind: fc.constantFrom<Kind>('fetch', 'load', 'store'),
  address: fc.tuple(
    fc.constantFrom(0n, 0x40_0000n, 0xffff_f000n, 0x1000_0000_0000n, 0x7fff_ffe0_0000n),
    fc.bigInt(0n, 40n),
    fc.oneof(fc.bigInt(0n, 4095n), fc.bigInt(4080n, 4095n)),
  ).map(([base, page, offset]) => base + page * 4096n + offset),
  size: fc.oneof(fc.integer({ min: 1, max: 16 }), fc.integer({ min: 1, max: 0x3fff })),
})
const someTrace = fc.array(someAccess, { minLength: 1, maxLength: 400, size: 'max' })
const someRun = fc.record({
  tlb: fc.constantFrom(...GEOMETRIES),
  page: fc.constantFrom<Page>('4k', '2m'),
  flushEvery: fc.constantFrom(0, 0, 1, 7, 100),
})

describe('the TLBs count what a list of pages counts', () => {
  test('for any trace, geometry, page size and flush interval, with and without WebAssembly', async () => {
    await fc.assert(fc.asyncProperty(someTrace, someRun, async (accesses, run) => {
      const trace = await traceOf(accesses)
      const result = replayTrace(trace, { ...optionsOf(run), webAssembly: false })
      expect(replayTrace(trace, optionsOf(run))).toEqual({ ...result, seconds: expect.any(Number) })
      expect(countsOf(trace, run)).toEqual(naiveCounts(accesses, run))
    }), { numRuns: 120 })
  })

  test('for two address spaces in turns, tagged or flushed', async () => {
    await fc.assert(fc.asyncProperty(
      someTrace, someTrace, someRun, fc.constantFrom(1, 2, 17, 1000), fc.constantFrom<AsidMode>('tagged', 'flushed'),
      async (a, b, run, quantum, asid) => {
        const trace = await traceOf(b)
        expect(countsOf(await traceOf(a), run, { trace, quantum, asid }))
          .toEqual(naiveCounts(a, run, { accesses: b, quantum, asid }))
      }), { numRuns: 120 })
  })
})

describe('the fast loop over records', () => {
  /** Everything that an MMU remembers, after a trace, with `translate` choosing the way. */
  function stateAfter(trace: TraceRecords, tlb: TlbConfig, page: Page, isFast: boolean): unknown {
    const g = geometryOf('x86-64')
    const tables = buildReplayTables(g, [trace], page === '2m' ? LEVEL_PMD : LEVEL_PTE)
    const machine: MachineConfig = { ...MACHINE_PRESETS['skl-2s']!, preset: 'test', tlb }
    const words = new Int32Array(mmuWords(machine))
    const counters = new Float64Array(mmuCounters())
    const mmu = new Mmu(machine, tables.mem, words, counters)
    mmu.reset(LINUX_CONTROLS)
    mmu.loadCr3(tables.roots[0]!, 0, false)
    if (isFast) new ReplayLoop(machine, mmu, words, counters, page === '2m').run(trace.words, 0, trace.records)
    else translateEach(mmu, trace, PAGE_BITS[page])
    return { words, counters }
  }

  function translateEach(mmu: Mmu, trace: TraceRecords, pageBits: bigint): void {
    for (let record = 0; record < trace.records; record++) {
      const lo = BigInt(trace.words[record * 2]! >>> 0)
      const tagged = trace.words[record * 2 + 1]!
      const address = (BigInt(tagged & 0xffff) << 32n) | lo
      const last = address + BigInt((tagged >>> 16) & 0x3fff) - 1n
      const access = [ACCESS_EXEC, ACCESS_READ, ACCESS_WRITE][tagged >>> 30]!
      for (let number = address >> pageBits; number <= last >> pageBits; number++) {
        const at = number << pageBits
        expect(mmu.translate(Number(at >> 32n), Number(BigInt.asIntN(32, at)), access, true, true)).toBe(TRANSLATED)
      }
    }
  }

  test('leaves TLBs, paging caches and counters as translating each access alone does', async () => {
    const configs = [...Object.values(TLB_PRESETS), ...GEOMETRIES.map(parseTlbOption)]
    await fc.assert(fc.asyncProperty(
      someTrace, fc.constantFrom(...configs), fc.constantFrom<Page>('4k', '2m'), async (accesses, tlb, page) => {
        const trace = await traceOf(accesses)
        expect(stateAfter(trace, tlb, page, true)).toEqual(stateAfter(trace, tlb, page, false))
      }), { numRuns: 100 })
  })
})

test('code that hits what data brought into the second level is forgotten by a flush, as all else', () => {
  const g = geometryOf('x86-64')
  const page = { start: { hi: 0, lo: 0x1000 }, end: { hi: 0, lo: 0x2000 } }
  const trace: TraceRecords = { file: 'none', words: new Int32Array(0), records: 0, ranges: [page] }
  const tables = buildReplayTables(g, [trace], LEVEL_PTE)
  const machine: MachineConfig = { ...MACHINE_PRESETS['skl-2s']!, preset: 'test' }
  const mmu = new Mmu(machine, tables.mem, new Int32Array(mmuWords(machine)), new Float64Array(mmuCounters()))
  mmu.reset(LINUX_CONTROLS)
  mmu.loadCr3(tables.roots[0]!, 0, false)
  for (const access of [ACCESS_READ, ACCESS_EXEC] as const) mmu.translate(0, 0x1000, access, true, true)
  mmu.flushGlobal()
  const left: string[] = []
  mmu.forEachTlbEntry((entry) => left.push(entry.level))
  expect(left).toEqual([])
})

describe('rules of counting', () => {
  const run: Run = { tlb: 'l1i=4,l1d=4,stlb=8', page: '4k', flushEvery: 0 }

  test('an access that ends in the next page looks up both, the lower one first', async () => {
    const accesses: Access[] = [
      { kind: 'load', address: 0x1fffn, size: 2 },
      { kind: 'load', address: 0x2000n, size: 1 },
    ]
    const oneEntry: Run = { ...run, tlb: 'l1i=1,l1d=1,stlb=1' }
    expect(countsOf(await traceOf(accesses), oneEntry).l1d).toEqual({ lookups: 3, misses: 2 })
  })

  test('an access on the last bytes of a page looks up that page alone', async () => {
    const trace = await traceOf([{ kind: 'fetch', address: 0x1ff8n, size: 8 }])
    expect(countsOf(trace, run).l1i).toEqual({ lookups: 1, misses: 1 })
  })

  test('fetches and data have first levels of their own and share the second', async () => {
    const trace = await traceOf([
      { kind: 'fetch', address: 0x1000n, size: 4 }, { kind: 'load', address: 0x1000n, size: 4 },
      { kind: 'store', address: 0x1004n, size: 4 },
    ])
    expect(countsOf(trace, run)).toEqual({
      l1i: { lookups: 1, misses: 1 }, l1d: { lookups: 2, misses: 1 }, stlb: { lookups: 2, misses: 1 },
    })
  })

  test('the same page of two address spaces is two translations, which tags keep apart', async () => {
    const accesses = Array.from({ length: 10 }, (): Access => ({ kind: 'load', address: 0x1000n, size: 8 }))
    const trace = await traceOf(accesses)
    const other = (asid: AsidMode): ReplayOptions['other'] => ({ trace, quantum: 5, asid })
    expect(countsOf(trace, run, other('tagged')).l1d).toEqual({ lookups: 20, misses: 2 })
    expect(countsOf(trace, run, other('flushed')).l1d).toEqual({ lookups: 20, misses: 4 })
  })

  test('two traces of different lengths run up to the shorter one', async () => {
    const accesses = Array.from({ length: 12 }, (_, index): Access =>
      ({ kind: 'load', address: BigInt(index) << 12n, size: 8 }))
    const long = await traceOf(accesses)
    const short = await traceOf(accesses.slice(0, 7))
    const options = optionsOf(run, { trace: short, quantum: 5, asid: 'tagged' })
    expect(replayTrace(long, options)).toMatchObject({ records: 14, l1d: { lookups: 14, misses: 14 } })
  })

  test('pages in more places than a small memory holds are all mapped', async () => {
    const accesses = Array.from({ length: 3000 }, (_, index): Access =>
      ({ kind: 'store', address: BigInt(index) << 33n, size: 8 }))
    const trace = await traceOf(accesses)
    expect(countsOf(trace, run).stlb).toEqual({ lookups: 3000, misses: 3000 })
    expect(countsOf(trace, { ...run, page: '2m' }).stlb).toEqual({ lookups: 3000, misses: 3000 })
  })
})

interface Expected extends Counts, Run {
  name: string
}

describe('an excerpt of a real trace', () => {
  const data = join(TESTS, 'data')
  const { runs, records } = JSON.parse(readFileSync(join(data, 'pyjson-200k.expected.json'), 'utf8')) as {
    runs: Expected[], records: number
  }

  test.each(runs)('$name', async (expected) => {
    const trace = await loadTrace(join(data, 'pyjson-200k.trace.xz'))
    expect(trace.records).toBe(records)
    const { l1i, l1d, stlb } = expected
    expect(countsOf(trace, expected)).toEqual({ l1i, l1d, stlb })
  })
})

describe.skipIf(!existsSync(REFERENCE))('the reference trace (skipped where shared/traces is not there)', () => {
  interface Reference {
    expected: Record<'G1' | 'G3' | 'G5', Counts>
    flushEvery: { '100000': Counts }
  }
  const reference = existsSync(REFERENCE)
    ? JSON.parse(readFileSync(join(REFERENCE, 'pyjson-12m.expected.json'), 'utf8')) as Reference
    : undefined
  const g1: Run = { tlb: 'l1i=64/8,l1d=64/4,stlb=1536/12', page: '4k', flushEvery: 0 }

  test('has the published counts in every geometry', async () => {
    const trace = await loadTrace(join(REFERENCE, 'pyjson-12m.trace.xz'))
    const { expected, flushEvery } = reference!
    expect(countsOf(trace, g1)).toEqual(expected.G1)
    expect(countsOf(trace, { tlb: 'l1i=16,l1d=16,stlb=64/4', page: '4k', flushEvery: 0 })).toEqual(expected.G3)
    expect(countsOf(trace, { tlb: 'l1i=8,l1d=32/4,stlb=512/8', page: '2m', flushEvery: 0 })).toEqual(expected.G5)
    expect(countsOf(trace, { ...g1, flushEvery: 100_000 })).toEqual(flushEvery['100000'])
  })
})

describe('the TLBs of a replay as a person types them', () => {
  test('a preset by its name, and the nearest one for a misspelt name', () => {
    expect(parseTlbOption('skylake').stlb.arrays[0]).toEqual({ entries: 1536, ways: 12 })
    expect(() => parseTlbOption('skilake')).toThrow(expect.objectContaining({
      details: expect.arrayContaining(['did you mean "skylake"?']) as unknown,
    }) as Error)
  })

  test('entries alone are fully associative, and a level that is not mentioned keeps its default', () => {
    const tlb = parseTlbOption('l1d=16')
    expect(tlb.l1d.arrays).toEqual([{ entries: 16, ways: 16 }])
    expect(tlb.stlb.arrays).toEqual([{ entries: 1536, ways: 12 }])
  })

  test.each([
    ['l1d=64/5', '--tlb: "l1d=64/5": ways must divide entries: 64 is not a multiple of 5'],
    ['l1d=64/128', '--tlb: "l1d=64/128": ways must be 1 to the number of entries, 64'],
    ['l1d=0', '--tlb: "l1d=0": entries must be 1 to 1048576'],
    ['l1d=4/0', '--tlb: "l1d=4/0": ways must be 1 to the number of entries, 4'],
    ['l1d=64x4', '--tlb: "l1d=64x4": expected entries/ways, such as 64/8, or entries alone for fully associative'],
    ['l2=64/4', '--tlb: "l2=64/4": expected l1i=, l1d=, stlb='],
    ['l1d=64/4,', '--tlb: "": expected l1i=, l1d=, stlb='],
    ['l1d=64/4,l1d=32', '--tlb: "l1d=32": l1d is given twice'],
    ['pentum', '--tlb: no preset is named "pentum"'],
  ])('%s', (text, message) => {
    expect(() => parseTlbOption(text)).toThrow(UserError)
    expect(() => parseTlbOption(text)).toThrow(message)
  })
})
