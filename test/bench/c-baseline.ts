// Builds and runs baseline.c, the same replay in plain C, when the host has a compiler. The ratio
// to it says more than a number of nanoseconds, because both are measured in the same minute.

import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TraceRecords } from '../../src/kernel/abi.js'
import type { TlbConfig } from '../../src/machine/config.js'
import type { TlbCounts } from '../../src/engine/replay.js'

export interface BaselineResult {
  medianMs: number
  l1i: TlbCounts
  l1d: TlbCounts
  stlb: TlbCounts
}

/** The compiled program with a trace to run on. Call `remove()` when done. */
export class CBaseline {
  private readonly folder: string

  /** Undefined when there is no gcc. */
  static build(source: string, trace: TraceRecords): CBaseline | undefined {
    if (spawnSync('gcc', ['--version']).error) return undefined
    return new CBaseline(source, trace)
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
