// Bench: replaying a real memory trace, in the geometries of its reference counts, against the
// same replay in C. The long trace is used when it is there, else the excerpt in test/data.

import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseTlbOption } from '../../src/cli/tlb-option.js'
import { replayTrace, type ReplayResult } from '../../src/engine/replay.js'
import type { TraceRecords } from '../../src/kernel/abi.js'
import { loadTrace } from '../../src/scenario/trace-file.js'
import { CBaseline, checkEqual, type BaselineResult } from './c-baseline.js'
import { measure, type BenchCase, type BenchRow, type BenchSuite } from './suite.js'

const CASES = [
  { name: 'G1', tlb: 'l1i=64/8,l1d=64/4,stlb=1536/12', largePages: false, flushEvery: 0 },
  { name: 'G1, flushed every 100,000', tlb: 'l1i=64/8,l1d=64/4,stlb=1536/12', largePages: false, flushEvery: 100_000 },
  { name: 'G3', tlb: 'l1i=16,l1d=16,stlb=64/4', largePages: false, flushEvery: 0 },
  { name: 'G5, 2 MiB pages', tlb: 'l1i=8,l1d=32/4,stlb=512/8', largePages: true, flushEvery: 0 },
] as const
const PASSES = 11

/** The first case with all that `shootdown replay` does: reading, decoding, page tables. */
async function withReading(trace: TraceRecords, xz: string): Promise<BenchRow[]> {
  const folder = mkdtempSync(join(tmpdir(), 'shootdown-bench-'))
  const packed = join(folder, 'packed.trace')
  writeFileSync(packed, new Uint8Array(trace.words.buffer, 0, trace.records * 8))
  const options = { tlb: parseTlbOption(CASES[0].tlb), largePages: false, flushEvery: 0 }
  const replayFile = (name: string, file: string): BenchCase => ({
    name, isAsync: true, operations: trace.records, unit: 'references', run: async () => {
      replayTrace(await loadTrace(file), options)
      return undefined
    },
  })
  try {
    return await measure([
      replayFile('G1 with reading packed records', packed), replayFile('G1 with reading them from xz', xz),
    ], PASSES)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** `root`: the project's folder. */
export async function benchReplay(root: string): Promise<BenchSuite> {
  const long = join(root, '..', 'shared', 'traces', 'pyjson-12m.trace.xz')
  const file = existsSync(long) ? long : join(root, 'test', 'data', 'pyjson-200k.trace.xz')
  const trace = await loadTrace(file)
  const notes = [`${trace.records} records; decoding and page-table construction are not timed where it is not said`]

  const c = CBaseline.build(root, trace)
  const rows: BenchRow[] = []
  for (const { name, tlb, largePages, flushEvery } of CASES) {
    const options = { tlb: parseTlbOption(tlb), largePages, flushEvery }
    // The C program does not flush. It runs before and after, because a busy host slows both.
    const runC = (): BaselineResult | undefined =>
      flushEvery === 0 ? c?.run(options.tlb, largePages, PASSES) : undefined
    const before = runC()
    let ours: ReplayResult | undefined
    const [row] = await measure([{
      name,
      operations: trace.records,
      unit: 'references',
      run: (): number => {
        ours = replayTrace(trace, options)
        return ours.seconds * 1000
      },
    }], PASSES)
    const after = runC()
    if (!before || !after) {
      rows.push(row!)
      continue
    }
    checkEqual(name, ours!, before)
    const baselineMs = (before.medianMs + after.medianMs) / 2
    rows.push({ ...row!, ratio: baselineMs / row!.medianMs, baseline: 'gcc -O3' })
  }
  c?.remove()
  rows.push(...await withReading(trace, file))
  notes.push(c ? 'C baseline: gcc -O3, equal counts' : 'C baseline: skipped (no gcc)')
  return { name: 'replay', notes, rows }
}
