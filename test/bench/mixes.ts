// Bench: made-up mixes of pages, each of which stays at one depth: the youngest entry of an L1 set, any
// entry of it, the STLB, page walks. As records of a trace, which run as windows of cores do (in
// WebAssembly where the host has it), and by Mmu.translate, one call for each. The same records run in C,
// with the same TLBs and, like ours here, without paging-structure caches; one more row has them.
//
// An access is a load in four-level tables whose pages are all mapped, with A and D set. What the
// C program leaves out (permissions, tags, global pages, page sizes, cycles) we do.

import { createRandom } from '../../src/base/prng.js'
import { buildReplayTables } from '../../src/engine/replay-tables.js'
import { replayTrace, type ReplayResult } from '../../src/engine/replay.js'
import type { TraceRecords } from '../../src/kernel/abi.js'
import type { MachineConfig, TlbConfig } from '../../src/machine/config.js'
import { geometryOf, LEVEL_PTE } from '../../src/machine/geometry.js'
import {
  ACCESS_READ, COUNTER_L1D_LOOKUPS, COUNTER_L1D_MISSES, COUNTER_STLB_LOOKUPS, COUNTER_STLB_MISSES, LINUX_CONTROLS, Mmu,
  mmuCounters, mmuWords, TRANSLATED,
} from '../../src/machine/mmu.js'
import { MACHINE_PRESETS } from '../../src/machine/presets.js'
import { CBaseline, checkEqual, type BaselineCounts } from './c-baseline.js'
import { measure, type BenchRow, type BenchSuite } from './suite.js'

/** 64 entries in 16 sets, 1536 in 128 sets. `pages` decides where random accesses to them are found. */
const CASES = [
  { name: 'front of an L1 set', pages: 16 },
  { name: 'anywhere in an L1 set', pages: 64 },
  { name: 'STLB', pages: 1536 },
  { name: '60 % walks', pages: 3840 },
  { name: '60 % walks, paging caches', pages: 3840, pagingCaches: true },
] as const
const ACCESSES = 1 << 20
const PASSES = 11
const PAGE_BYTES = 4096
const FIRST_ADDRESS = 0x7000_0000
const LOAD = 1 << 30
const BYTES_8 = 8 << 16

/** `root`: the project's folder. */
export async function benchMixes(root: string): Promise<BenchSuite> {
  const rows: BenchRow[] = []
  let hasCompiler = true
  for (const { name, pages, ...rest } of CASES) {
    const trace = randomLoads(pages)
    const tlb = tlbConfig('pagingCaches' in rest)
    const mix = new Mix(trace, tlb)
    let replayed: ReplayResult | undefined
    const replay = (): number => {
      replayed = replayTrace(trace, { tlb, largePages: false, flushEvery: 0 })
      return replayed.seconds * 1000
    }
    const c = CBaseline.build(root, trace)
    const before = c?.run(tlb, false, PASSES)
    const measured = await measure([
      { name, operations: ACCESSES, unit: 'accesses', run: replay },
      { name: `${name}, Mmu.translate`, operations: ACCESSES, unit: 'accesses', run: () => mix.run() },
    ], PASSES)
    const after = c?.run(tlb, false, PASSES)
    c?.remove()
    if (!before || !after) {
      hasCompiler = false
      rows.push(...measured)
      continue
    }
    checkEqual(name, mix.counts(), before)
    checkEqual(name, replayed!, before)
    const baselineMs = (before.medianMs + after.medianMs) / 2
    for (const row of measured) rows.push({ ...row, ratio: baselineMs / row.medianMs, baseline: 'gcc -O3' })
  }
  const notes = [
    `${ACCESSES} random loads; L1D 64/4, STLB 1536/12, 4 KiB pages`,
    hasCompiler ? 'C baseline: gcc -O3, no paging caches, equal counts' : 'C baseline: skipped (no gcc)',
  ]
  return { name: 'mixes', notes, rows }
}

function tlbConfig(pagingCaches: boolean): TlbConfig {
  const level = (entries: number, ways: number): TlbConfig['l1d'] =>
    ({ arrays: [{ entries, ways }], base: 0, large: 0, giant: 0 })
  const { pagingCache } = MACHINE_PRESETS['skl-2s']!.tlb
  return {
    l1i: level(64, 8),
    l1d: level(64, 4),
    stlb: level(1536, 12),
    pagingCache: pagingCaches ? pagingCache : { pgd: 0, p4d: 0, pud: 0, pmd: 0 },
  }
}

function randomLoads(pages: number): TraceRecords {
  const { nextInt } = createRandom(pages, 'bench')
  const words = new Int32Array(new SharedArrayBuffer(ACCESSES * 8))
  for (let i = 0; i < ACCESSES; i++) {
    words[i * 2] = FIRST_ADDRESS + nextInt(pages) * PAGE_BYTES + nextInt(PAGE_BYTES / 8) * 8
    words[i * 2 + 1] = LOAD | BYTES_8
  }
  const range = {
    start: { hi: 0, lo: FIRST_ADDRESS }, end: { hi: 0, lo: FIRST_ADDRESS + pages * PAGE_BYTES },
  }
  return { file: `${pages} pages`, words, records: ACCESSES, ranges: [range] }
}

/** One CPU over the pages of a trace; its state is in shared memory, as that of every core. */
class Mix {
  private readonly records: Int32Array
  private readonly mmu: Mmu
  private readonly counters: Float64Array
  private readonly root: number

  constructor(trace: TraceRecords, tlb: TlbConfig) {
    const preset = MACHINE_PRESETS['skl-2s']!
    const g = geometryOf(preset.geometry)
    const tables = buildReplayTables(g, [trace], LEVEL_PTE)
    const machine: MachineConfig = { ...preset, preset: 'bench', memoryBytes: tables.memoryBytes, tlb }
    const words = new Int32Array(new SharedArrayBuffer(mmuWords(machine) * 4))
    this.counters = new Float64Array(new SharedArrayBuffer(mmuCounters() * 8))
    this.mmu = new Mmu(machine, tables.mem, words, this.counters)
    this.records = trace.words
    this.root = tables.roots[0]!
  }

  /** All accesses once, from empty TLBs. Returns the milliseconds of translating. */
  run(): number {
    const { mmu, records } = this
    mmu.reset(LINUX_CONTROLS)
    mmu.loadCr3(this.root, 0, false)
    let cycles = 0
    const started = performance.now()
    for (let at = 0; at < records.length; at += 2) {
      const status = mmu.translate(records[at + 1]! & 0xffff, records[at]!, ACCESS_READ, true, false)
      if (status !== TRANSLATED) throw new Error(`bench: status ${status}`)
      cycles += mmu.cycles
    }
    const elapsed = performance.now() - started
    if (cycles < ACCESSES) throw new Error('bench: accesses without a price')
    return elapsed
  }

  counts(): BaselineCounts {
    const [lookups = 0, misses = 0, stlbLookups = 0, stlbMisses = 0] = [
      COUNTER_L1D_LOOKUPS, COUNTER_L1D_MISSES, COUNTER_STLB_LOOKUPS, COUNTER_STLB_MISSES,
    ].map((counter) => this.counters[counter]!)
    return {
      l1i: { lookups: 0, misses: 0 },
      l1d: { lookups, misses },
      stlb: { lookups: stlbLookups, misses: stlbMisses },
    }
  }
}
