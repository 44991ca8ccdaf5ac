// Replays recorded memory traces on one simulated CPU, to count what its TLBs do. One trace runs
// in one address space; two traces take turns on the CPU, as two processes would, with the TLBs
// either tagged by address space (PCID) or emptied at every switch.
//
//   one trace    0 ........ flushEvery ........ 2 * flushEvery ........ records
//   two traces   A: Q records | B: Q records | A: next Q | B: next Q | ... up to the shorter trace
//
// Rules of counting: an access is one lookup per page it touches, lowest page first; fetches look
// up the L1I, loads and stores the L1D, misses of both the STLB; a miss there is a walk. All TLBs
// start empty. Every page is mapped before the clock starts, so there are no page faults and
// `seconds` is the time of translating alone.

import { fail } from '../base/assert.js'
import { defineLayout, float64, int32 } from '../base/shared-layout.js'
import type { TraceRecords } from '../kernel/abi.js'
import type { MachineConfig, TlbConfig } from '../machine/config.js'
import { AccessRuns } from '../machine/access-runs/access-runs.js'
import { writePlan } from '../machine/access-runs/plan.js'
import { PLAN_WORDS, RUN_DOUBLES } from '../machine/access-runs/plan-layout.js'
import { LEVEL_PMD, LEVEL_PTE, geometryOf } from '../machine/geometry.js'
import { CLASS_BASE, CLASS_LARGE } from '../machine/mmu-state.js'
import {
  COUNTER_L1D_LOOKUPS, COUNTER_L1D_MISSES, COUNTER_L1I_LOOKUPS, COUNTER_L1I_MISSES, COUNTER_STLB_LOOKUPS,
  COUNTER_STLB_MISSES, LINUX_CONTROLS, Mmu, mmuCounters, mmuWords,
} from '../machine/mmu.js'
import { MACHINE_PRESETS } from '../machine/presets.js'
import { ReplayLoop } from '../machine/replay-loop.js'
import { RecordsAtHand, RECORD_FIELDS } from './records-at-hand.js'
import { ReplayRuns } from './replay-runs.js'
import { buildReplayTables } from './replay-tables.js'

/** What happens to the TLBs when the CPU turns to the other address space. */
export type AsidMode = 'tagged' | 'flushed'

export interface ReplayOptions {
  tlb: TlbConfig
  /** Map 2 MiB pages instead of 4 KiB ones. */
  largePages: boolean
  /** Empty every TLB after each so many records; 0: never. */
  flushEvery: number
  /** A second address space and how the two share the CPU. */
  other?: {
    trace: TraceRecords
    /** Records until the other one's turn. */
    quantum: number
    asid: AsidMode
  }
  /** Called between stretches of the replay, with the records done and to do. */
  onProgress?: (done: number, total: number) => void
  /** False: without WebAssembly, as on hosts that have none. */
  webAssembly?: boolean
}

export interface TlbCounts {
  lookups: number
  misses: number
}

export interface ReplayResult {
  /** Records replayed, of both traces together. */
  records: number
  l1i: TlbCounts
  l1d: TlbCounts
  stlb: TlbCounts
  /** Page walks: what the STLB missed. */
  walks: number
  /** Host time of translating: neither decoding nor building page tables. */
  seconds: number
}

/** Records between two calls of `onProgress`. */
const STRETCH_RECORDS = 1 << 22
/** Prices and the width of physical addresses come from here; no count depends on them. */
const PRESET = 'skl-2s'

/** Replays `trace`, alone or in turns with `options.other`. */
export function replayTrace(trace: TraceRecords, options: ReplayOptions): ReplayResult {
  const traces = options.other ? [trace, options.other.trace] : [trace]
  const cpu = new ReplayCpu(traces, options)
  const started = performance.now()
  if (options.other) {
    replayInTurns(cpu, traces, options.other)
  } else {
    cpu.enter(0, false)
    cpu.replay(0, trace.records, trace.records)
  }
  const seconds = Math.round((performance.now() - started) * 1000) / 1e6
  return { ...cpu.counts(), seconds }
}

function replayInTurns(
  cpu: ReplayCpu, traces: readonly TraceRecords[], other: NonNullable<ReplayOptions['other']>,
): void {
  if (other.quantum < 1) fail(`replay: quantum of ${other.quantum} records`)
  const records = Math.min(...traces.map((trace) => trace.records))
  const total = records * traces.length
  for (let from = 0; from < records; from += other.quantum) {
    const to = Math.min(from + other.quantum, records)
    for (let space = 0; space < traces.length; space++) {
      cpu.enter(space, other.asid === 'tagged')
      cpu.replay(from, to, total)
    }
  }
}

/** What the CPU needs beside the memory of its machine. */
function layoutFor(machine: MachineConfig, start: number) {
  return defineLayout({
    plan: { doc: 'what WebAssembly must know of the machine', fields: { words: int32(PLAN_WORDS) } },
    cpu: {
      doc: 'state of the CPU',
      fields: { run: float64(RUN_DOUBLES), counters: float64(mmuCounters()), mmu: int32(mmuWords(machine)) },
    },
    records: { doc: 'records at hand', fields: RECORD_FIELDS },
  }, start)
}

/** The CPU, its MMU and the address spaces that are mapped for it. */
class ReplayCpu {
  private readonly mmu: Mmu
  private readonly counters: Float64Array
  private readonly loop: ReplayLoop | ReplayRuns
  private readonly roots: readonly number[]
  private readonly traces: readonly TraceRecords[]
  private readonly options: ReplayOptions
  private space = 0
  private done = 0
  private untilFlush: number
  private untilProgress = STRETCH_RECORDS

  constructor(traces: readonly TraceRecords[], options: ReplayOptions) {
    this.traces = traces
    this.options = options
    this.untilFlush = options.flushEvery > 0 ? options.flushEvery : Infinity
    const preset = MACHINE_PRESETS[PRESET]!
    const g = geometryOf(preset.geometry)
    const blank = { ...preset, preset: PRESET, cpus: 1, sockets: 1, tlb: options.tlb }
    const tables = buildReplayTables(
      g, traces, options.largePages ? LEVEL_PMD : LEVEL_PTE, layoutFor(blank, 0).byteLength)
    const { memoryBytes, memory: { buffer, wasm } } = tables
    const machine: MachineConfig = { ...blank, memoryBytes }
    const layout = layoutFor(machine, memoryBytes)
    const { run, counters, mmu: words } = layout.row(buffer, 'cpu')
    this.counters = counters
    this.mmu = new Mmu(machine, tables.mem, words, counters)
    this.roots = tables.roots
    this.mmu.reset({ ...LINUX_CONTROLS, pcide: options.other?.asid === 'tagged' })
    const loop = new ReplayLoop(machine, this.mmu, words, counters, options.largePages)
    const plan = layout.view(buffer, 'plan', 'words')
    const recordClass = options.largePages ? CLASS_LARGE : CLASS_BASE
    writePlan(plan, machine, { memoryBytes, recordClass })
    this.loop = wasm === undefined || options.webAssembly === false ? loop : new ReplayRuns(
      new AccessRuns(wasm, { plan, mmu: words, counters, run }), run, new RecordsAtHand(layout.row(buffer, 'records')),
      loop)
  }

  /** Loads CR3: with bit 63 set and PCID `space + 1` when tagged, else emptying all TLBs (no page is global). */
  enter(space: number, tagged: boolean): void {
    this.space = space
    this.mmu.loadCr3(this.roots[space]!, tagged ? space + 1 : 0, tagged)
  }

  /** Replays records [from, to) of the current space, emptying the TLBs when it is time to. */
  replay(from: number, to: number, total: number): void {
    const { words } = this.traces[this.space]!
    for (let at = from; at < to;) {
      const count = Math.min(to - at, this.untilFlush, this.untilProgress)
      this.loop.run(words, at, at + count)
      at += count
      this.done += count
      this.untilFlush -= count
      this.untilProgress -= count
      if (this.untilFlush === 0) {
        this.mmu.flushGlobal()
        this.untilFlush = this.options.flushEvery
      }
      if (this.untilProgress === 0) {
        this.options.onProgress?.(this.done, total)
        this.untilProgress = STRETCH_RECORDS
      }
    }
  }

  counts(): Omit<ReplayResult, 'seconds'> {
    const counter = (index: number): number => this.counters[index]!
    return {
      records: this.done,
      l1i: { lookups: counter(COUNTER_L1I_LOOKUPS), misses: counter(COUNTER_L1I_MISSES) },
      l1d: { lookups: counter(COUNTER_L1D_LOOKUPS), misses: counter(COUNTER_L1D_MISSES) },
      stlb: { lookups: counter(COUNTER_STLB_LOOKUPS), misses: counter(COUNTER_STLB_MISSES) },
      walks: counter(COUNTER_STLB_MISSES),
    }
  }
}
