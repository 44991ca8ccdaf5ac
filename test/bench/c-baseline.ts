// Builds and runs baseline.c, the same replay in plain C, when the host has a compiler. The ratio
// to it says more than a number of nanoseconds, because both are measured in the same minute.

import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TraceRecords } from '../../src/kernel/abi.js'
import type { TlbConfig } from '../../src/machine/config.js'
import type { TlbCounts } from '../../src/engine/replay.js'

/** What both programs count. */
export interface BaselineCounts {
  l1i: TlbCounts
  l1d: TlbCounts
  stlb: TlbCounts
}

export interface BaselineResult extends BaselineCounts {
  medianMs: number
}

/** The compiled program with a trace to run on. Call `remove()` when done. */
export class CBaseline {
  private readonly folder: string

  /** Undefined when there is no gcc. `root`: the project's folder. */
  static build(root: string, trace: TraceRecords): CBaseline | undefined {
    if (spawnSync('gcc', ['--version']).error) return undefined
    return new CBaseline(join(root, 'test', 'bench', 'baseline.c'), trace)
  }

  private constructor(source: string, trace: TraceRecords) {
    this.folder = mkdtempSync(join(tmpdir(), 'shootdown-bench-'))
    execFileSync('gcc', ['-O3', '-o', join(this.folder, 'baseline'), source])
    writeFileSync(join(this.folder, 'trace'), new Uint8Array(trace.words.buffer, 0, trace.records * 8))
  }

  run(tlb: TlbConfig, largePages: boolean, passes: number): BaselineResult {
    const geometry = [tlb.l1i, tlb.l1d, tlb.stlb].flatMap((level) => {
      const array = level.arrays[largePages ? level.large : level.base]!
      return [String(array.entries), String(array.ways)]
    })
    const output = execFileSync(join(this.folder, 'baseline'),
      [join(this.folder, 'trace'), String(passes), largePages ? '21' : '12', ...geometry], { encoding: 'utf8' })
    const result = JSON.parse(output) as BaselineResult & { seconds: number[] }
    const sorted = result.seconds.toSorted((a, b) => a - b)
    return { ...result, medianMs: sorted[sorted.length >> 1]! * 1000 }
  }

  remove(): void {
    rmSync(this.folder, { recursive: true })
  }
}

/** A ratio means nothing when the two did different work. */
export function checkEqual(name: string, ours: BaselineCounts, baseline: BaselineCounts): void {
  for (const level of ['l1i', 'l1d', 'stlb'] as const) {
    if (ours[level].misses === baseline[level].misses && ours[level].lookups === baseline[level].lookups) continue
    throw new Error(`bench ${name}: ${level} ${JSON.stringify(ours[level])}, in C ${JSON.stringify(baseline[level])}`)
  }
}
