// Runs of accesses in WebAssembly against the MMU, access by access: the same words, counters, clock and
// position, and an end in front of the same access, on any machine, tables, TLBs and pattern.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { hash32 } from '../src/base/prng.js'
import { defineLayout, float64, int32 } from '../src/base/shared-layout.js'
import { AccessRuns, allocateMachineMemory } from '../src/machine/access-runs/access-runs.js'
import {
  PLAN_WORDS, RUN_ACCESSES, RUN_CLOCK, RUN_DOUBLES, RUN_LAST_START, RUN_POSITION,
} from '../src/machine/access-runs/plan-layout.js'
import { writePlan } from '../src/machine/access-runs/plan.js'
import { GEOMETRY_NAMES, type MachineConfig, type TlbConfig } from '../src/machine/config.js'
import { LEVEL_NAMES } from '../src/machine/geometry.js'
import { HEADER_WORDS, UNDO_ARMED, UNDO_KEPT, WORD_UNDO } from '../src/machine/mmu-layout.js'
import {
  ACCESS_EXEC, ACCESS_READ, ACCESS_WRITE, mmuCounters, mmuWords, TRANSLATED, type AccessKind,
} from '../src/machine/mmu.js'
import { PagingCache } from '../src/machine/paging-cache.js'
import { TLB_PRESETS } from '../src/machine/presets.js'
import { TlbLevels } from '../src/machine/tlb-levels.js'
import { ACC, D, G, NX, P, TestMachine, U, W, type MachineOptions, type MachineViews } from './machine-fixtures.js'

const MEMORY_BYTES = 16 * 2 ** 20
const RECORDS = 64
/** Page numbers that programs use: near each other, far apart, and in the next large page. */
const PAGES = [0, 1, 2, 3, 4, 5, 6, 7, 8, 17, 511, 512, 513, 1024, 1025]
const FIRST_ADDRESS = 0x4000_0000
/**
 * Upper words of addresses: of pages, and of an access that may be meant for others. The lower half, the upper one,
 * what is not canonical in 48 bits, and bits that would be the class, the global bit or the PCID in a key.
 */
const UPPER_WORDS = [
  [0, 0], [0x7fff, 0], [0xffff_8000, 0xffff_8000], [0xffff_8000, 0x8000], [0x8000, 0x8000], [0, 0x0200_0000],
  [0, 0x0800_0000], [0, 0x1000_0000], [0xffff_ffff, 0xffff_ffff],
] as const

interface Mapping {
  page: number
  level: number
  flags: { lo: number; hi: number }
  tables: { lo: number; hi: number }
}

type Pattern =
  | { kind: 'strided'; access: AccessKind; page: number; stride: number; length: number; count: number }
  | { kind: 'random'; access: AccessKind; page: number; slots: number; seed: number; count: number }
  | { kind: 'records'; records: { page: number; offset: number; size: number; kind: number }[] }

interface Story {
  options: MachineOptions
  upper: readonly [pages: number, others: number]
  mappings: Mapping[]
  runs: { pattern: Pattern; isElsewhere: boolean; cycles: number; isArmed: boolean }[]
}

const lesser = <T>(value: T): fc.Arbitrary<T> => fc.constant(value)
const someFlags = fc.record({
  lo: fc.tuple(fc.integer({ min: 0, max: 20 }), fc.subarray([W, U, ACC, D, G, 8, 16])).map(([rare, bits]) =>
    (rare === 0 ? 0 : P) | (rare > 6 ? P | W | U | ACC | D : bits.reduce((sum, bit) => sum | bit, 0))),
  hi: fc.oneof({ weight: 8, arbitrary: lesser(0) }, lesser(NX), { weight: 1, arbitrary: lesser(1 << 19) }),
})
const someTables = fc.oneof(
  { weight: 6, arbitrary: lesser({ lo: P | W | U | ACC, hi: 0 }) },
  fc.record({ lo: fc.subarray([W, U, ACC]).map((bits) => bits.reduce((sum, bit) => sum | bit, P)), hi: lesser(0) }),
  lesser({ lo: P | W | U | ACC, hi: NX }))
const someMapping: fc.Arbitrary<Mapping> = fc.record({
  page: fc.constantFrom(...PAGES),
  level: fc.oneof({ weight: 8, arbitrary: lesser(4) }, lesser(3), lesser(2)),
  flags: someFlags,
  tables: someTables,
})
const someAccess = fc.constantFrom<AccessKind>(ACCESS_READ, ACCESS_WRITE, ACCESS_EXEC)
const somePattern: fc.Arbitrary<Pattern> = fc.oneof(
  fc.record({
    kind: lesser('strided' as const), access: someAccess, page: fc.constantFrom(...PAGES),
    stride: fc.constantFrom(8, 64, 4096, 4104, 16_384, 2 ** 21), length: fc.constantFrom(4096, 9000, 65_536, 2 ** 22),
    count: fc.integer({ min: 1, max: 200 }),
  }),
  fc.record({
    kind: lesser('random' as const), access: someAccess, page: fc.constantFrom(...PAGES),
    slots: fc.constantFrom(1, 512, 1500, 8192, 2 ** 33), seed: fc.integer({ min: 0, max: 2 ** 31 - 1 }),
    count: fc.integer({ min: 1, max: 200 }),
  }),
  fc.record({
    kind: lesser('records' as const),
    records: fc.array(fc.record({
      page: fc.constantFrom(...PAGES), offset: fc.oneof(fc.integer({ min: 0, max: 4095 }), lesser(4090)),
      size: fc.oneof({ weight: 8, arbitrary: fc.integer({ min: 1, max: 64 }) }, fc.integer({ min: 1, max: 16_383 })),
      kind: fc.integer({ min: 0, max: 2 }),
    }), { minLength: 1, maxLength: RECORDS }),
  }))
const array = fc.constantFrom(
  { entries: 4, ways: 2 }, { entries: 8, ways: 4 }, { entries: 6, ways: 2 }, { entries: 3, ways: 3 },
  { entries: 16, ways: 4 }, { entries: 1, ways: 1 }, { entries: 24, ways: 12 })
const someLevel = fc.tuple(array, array, fc.integer({ min: -1, max: 1 }), fc.integer({ min: -1, max: 1 }))
  .map(([one, other, large, giant]): TlbConfig['l1d'] => ({ arrays: [one, other], base: 0, large, giant }))
const someTlb: fc.Arbitrary<TlbConfig> = fc.oneof(
  fc.constantFrom(...Object.values(TLB_PRESETS)),
  fc.record({
    l1i: someLevel, l1d: someLevel, stlb: someLevel,
    pagingCache: fc.record({
      pgd: fc.integer({ min: 0, max: 2 }), p4d: fc.integer({ min: 0, max: 2 }), pud: fc.integer({ min: 0, max: 3 }),
      pmd: fc.integer({ min: 0, max: 4 }),
    }),
  }))
const someStory: fc.Arbitrary<Story> = fc.record({
  options: fc.record({
    geometry: fc.oneof({ weight: 3, arbitrary: lesser('x86-64' as const) }, fc.constantFrom(...GEOMETRY_NAMES)),
    tlb: someTlb,
    controls: fc.record({ wp: fc.boolean(), nxe: fc.boolean(), pge: fc.boolean(), pse: fc.boolean() }),
    costs: fc.record({ access: fc.constantFrom(0, 1, 5), stlbHit: fc.constantFrom(0, 7), walkStep: lesser(30) }),
    memoryBytes: lesser(MEMORY_BYTES),
  }),
  upper: fc.constantFrom(...UPPER_WORDS),
  mappings: fc.array(someMapping, { minLength: 1, maxLength: 24 }),
  runs: fc.array(fc.record({
    pattern: somePattern,
    isElsewhere: fc.boolean(),
    cycles: fc.oneof(lesser(Infinity), fc.integer({ min: 1, max: 3000 })),
    isArmed: fc.boolean(),
  }), { minLength: 1, maxLength: 6 }),
})

test('WebAssembly and the MMU agree access by access', () => {
  let inWasm = 0
  let all = 0
  fc.assert(fc.property(someStory, ({ options, upper, mappings, runs }) => {
    const here = new Bench(options, mappings, false, upper[0])
    const there = new Bench(options, mappings, true, upper[0])
    for (const { pattern, isElsewhere, cycles, isArmed } of runs) {
      for (const bench of [here, there]) bench.begin(isArmed, upper[isElsewhere ? 1 : 0])
      const stop = here.run[RUN_CLOCK]! + cycles
      for (let faults = 0; faults < 4; faults++) {
        const status = here.goOn(pattern, stop)
        expect(there.goOn(pattern, stop)).toBe(status)
        expectSame(there, here)
        if (status === TRANSLATED) break
        expect(there.commit(pattern)).toBe(here.commit(pattern))
      }
    }
    inWasm += there.inWasm
    all += there.run[RUN_ACCESSES]!
  }), { numRuns: Number(process.env.FUZZ_RUNS ?? 2000), seed: Number(process.env.FUZZ_SEED ?? 1) })
  // Most accesses do not fault, and those that do not are answered there.
  expect(inWasm / all).toBeGreaterThan(0.5)
})

/** Comparing bytes is fast; what differs is looked for only when something does. */
function expectSame(there: Bench, here: Bench): void {
  if (!there.bytes().equals(here.bytes())) expect(there.state()).toEqual(here.state())
}

function layoutOf(machine: MachineConfig) {
  return defineLayout({
    plan: { doc: 'plan', fields: { words: int32(PLAN_WORDS) } },
    cpu: {
      doc: 'CPU',
      fields: { run: float64(RUN_DOUBLES), counters: float64(mmuCounters()), mmu: int32(mmuWords(machine)) },
    },
    undo: { doc: 'undo', fields: { mmu: int32(mmuWords(machine)) } },
    records: { doc: 'records', fields: { words: int32(RECORDS * 2) } },
  }, MEMORY_BYTES)
}

/** A machine that runs patterns, by WebAssembly as far as that goes or by the MMU alone. */
class Bench {
  run!: Float64Array
  inWasm = 0
  /** Upper word of the addresses of the present pattern. */
  #hi = 0
  readonly #machine: TestMachine
  readonly #runs: AccessRuns | undefined
  #records!: Int32Array
  #undo!: Int32Array

  /** `hi`: upper word of the pages, on machines that have one. */
  constructor(options: MachineOptions, mappings: readonly Mapping[], isWasm: boolean, hi = 0) {
    let runs: AccessRuns | undefined
    const place = (machine: MachineConfig): MachineViews => {
      const layout = layoutOf(machine)
      const { buffer, wasm } = allocateMachineMemory(layout.byteLength)
      const { run, counters, mmu } = layout.row(buffer, 'cpu')
      this.run = run
      this.#records = layout.view(buffer, 'records', 'words')
      this.#undo = layout.view(buffer, 'undo', 'mmu')
      const plan = layout.view(buffer, 'plan', 'words')
      writePlan(plan, machine, { memoryBytes: MEMORY_BYTES })
      if (isWasm) runs = new AccessRuns(wasm!, { plan, mmu, counters, run })
      return { memory: new Int32Array(buffer, 0, MEMORY_BYTES / 4), words: mmu, counters, undo: this.#undo }
    }
    this.#machine = new TestMachine({ ...options, place })
    this.#runs = runs
    const { g } = this.#machine
    for (const { page, level, flags, tables } of mappings) {
      const leafLevel = g.levels[level]!.leaf && !g.levels[level]!.folded ? level : LEVEL_NAMES.length - 1
      try {
        const upper = g.vaBits > 32 ? BigInt(hi >>> 0) << 32n : 0n
        this.#machine.map(upper | BigInt(addressOf(page)), 64 + page * 512, { level: leafLevel, flags, tables })
      } catch {
        // A large page is where the table should be.
      }
    }
    this.#machine.mmu.loadCr3(this.#machine.root, 0, false)
  }

  begin(isArmed: boolean, hi: number): void {
    this.#hi = hi
    this.run[RUN_POSITION] = 0
    if (isArmed) this.#machine.words[WORD_UNDO] = UNDO_ARMED
  }

  /** Until the pattern is done, the clock has come to `stop`, or an access may not be done. */
  goOn(pattern: Pattern, stop: number): number {
    const end = endOf(pattern)
    while (this.run[RUN_POSITION]! < end && this.run[RUN_CLOCK]! < stop) {
      if (this.#runs !== undefined) {
        const before = this.run[RUN_ACCESSES]!
        this.#runWasm(this.#runs, pattern, stop, end)
        this.inWasm += this.run[RUN_ACCESSES]! - before
        if (this.run[RUN_POSITION]! >= end || this.run[RUN_CLOCK]! >= stop) break
      }
      const status = this.#access(pattern, false)
      if (status !== TRANSLATED) return status
    }
    return TRANSLATED
  }

  /** The access that may not be done is done, or faults and is left out. */
  commit(pattern: Pattern): number {
    const status = this.#access(pattern, true)
    if (status === TRANSLATED) return status
    this.run[RUN_POSITION]! += accessAt(pattern, this.run[RUN_POSITION]!, this.#machine.g.pageBytes).taken
    return status
  }

  /** What the second level and the paging caches stamped last. */
  setClocks(stamp: number): void {
    const { config, g, words } = this.#machine
    const tlbs = new TlbLevels(words, HEADER_WORDS, config.tlb, g)
    const cache = new PagingCache(words, tlbs.end, config, g)
    words[tlbs.stlb.base.clock] = stamp
    for (const level of cache.levels) words[cache.arrayOf(level).array.clock] = stamp
  }

  state(): Record<string, Int32Array | Float64Array> {
    const { words, counters } = this.#machine
    return { words, counters, run: this.run, ...(words[WORD_UNDO] === UNDO_KEPT ? { undo: this.#undo } : {}) }
  }

  bytes(): Buffer {
    return Buffer.concat(Object.values(this.state())
      .map(({ buffer, byteOffset, byteLength }) => Buffer.from(buffer, byteOffset, byteLength)))
  }

  #runWasm(runs: AccessRuns, pattern: Pattern, stop: number, end: number): void {
    if (pattern.kind === 'records') {
      writeRecords(this.#records, pattern, this.#hi)
      runs.replay(stop, end, this.#records.byteOffset)
      return
    }
    const start = addressOf(pattern.page)
    const { access } = pattern
    if (pattern.kind === 'random') {
      runs.touchRandom(stop, end, access, this.#hi | 0, start | 0, pattern.slots, pattern.seed)
    } else {
      const { length, stride } = pattern
      const offset = (this.run[RUN_POSITION]! * stride) % length
      runs.touchStrided(stop, end, access, this.#hi | 0, start | 0, length, stride, offset)
    }
  }

  /** One access, by the MMU. */
  #access(pattern: Pattern, mayWrite: boolean): number {
    const { mmu, g } = this.#machine
    const position = this.run[RUN_POSITION]!
    const { address, access, taken } = accessAt(pattern, position, g.pageBytes)
    const upper = pattern.kind === 'records' ? this.#hi & 0xffff : this.#hi
    const status = mmu.translate((upper + Math.floor(address / 2 ** 32)) | 0, address | 0, access, true, mayWrite)
    if (status !== TRANSLATED) return status
    this.run[RUN_LAST_START] = this.run[RUN_CLOCK]!
    this.run[RUN_CLOCK]! += mmu.cycles
    this.run[RUN_POSITION]! += taken
    this.run[RUN_ACCESSES]! += 1
    return TRANSLATED
  }
}

function addressOf(page: number): number {
  return FIRST_ADDRESS + page * 4096
}

function endOf(pattern: Pattern): number {
  return pattern.kind === 'records' ? pattern.records.length * 2 : pattern.count
}

function accessAt(
  pattern: Pattern, position: number, pageBytes: number,
): { address: number; access: AccessKind; taken: number } {
  if (pattern.kind === 'strided') {
    const offset = (position * pattern.stride) % pattern.length
    return { address: addressOf(pattern.page) + offset, access: pattern.access, taken: 1 }
  }
  if (pattern.kind === 'random') {
    const offset = (hash32(pattern.seed, position) % pattern.slots) * 8
    return { address: addressOf(pattern.page) + offset, access: pattern.access, taken: 1 }
  }
  const { page, offset, size, kind } = pattern.records[position >> 1]!
  const address = addressOf(page) + offset
  const access = ([ACCESS_EXEC, ACCESS_READ, ACCESS_WRITE] as const)[kind]!
  const start = Math.floor(address / pageBytes) * pageBytes
  if (position % 2 === 1) return { address: start + pageBytes, access, taken: 1 }
  return { address, access, taken: address + size > start + pageBytes ? 1 : 2 }
}

function writeRecords(words: Int32Array, pattern: Pattern & { kind: 'records' }, hi: number): void {
  for (const [index, { page, offset, size, kind }] of pattern.records.entries()) {
    words[index * 2] = addressOf(page) + offset
    words[index * 2 + 1] = (kind << 30) | (size << 16) | (hi & 0xffff)
  }
}

test('a stamp that is the last is left to the MMU, which numbers its array anew', () => {
  const options: MachineOptions = { memoryBytes: MEMORY_BYTES }
  const mappings = Array.from({ length: 8 }, (_, page): Mapping =>
    ({ page, level: 4, flags: { lo: P | W | U | ACC | D, hi: 0 }, tables: { lo: P | W | U | ACC, hi: 0 } }))
  const here = new Bench(options, mappings, false)
  const there = new Bench(options, mappings, true)
  for (const bench of [here, there]) bench.setClocks(2 ** 31 - 3 * 2048)
  const pattern: Pattern = { kind: 'strided', access: ACCESS_READ, page: 0, stride: 4096, length: 8 * 4096, count: 64 }
  for (const bench of [here, there]) expect(bench.goOn(pattern, Infinity)).toBe(TRANSLATED)
  expect(there.state()).toEqual(here.state())
})
