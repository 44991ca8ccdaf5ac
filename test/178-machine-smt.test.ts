// Hardware threads: two CPUs of a core have half of its TLBs each, in every engine alike.

import { describe, expect, test } from 'vitest'
import { UserError } from '../src/base/errors.js'
import { simulate } from '../src/engine/simulate.js'
import { TLB_PRESETS } from '../src/machine/presets.js'
import { halfOf } from '../src/machine/smt.js'
import { parseScenario } from '../src/scenario/parse.js'
import type { Scenario } from '../src/scenario/scenario.js'
import { loadTrace } from '../src/scenario/trace-file.js'
import { traceBuffers } from '../src/trace/recorder.js'

/** Both CPUs go through so many pages again and again. */
function scenario(machine: string, pages: number, cpus = 2): Promise<Scenario> {
  const program = `[mmap: {name: set, pages: ${pages}}, write: set, read: {area: set, passes: 10}, munmap: set]`
  return parseScenario(`cpus: ${cpus}
machine: {preset: skl-2s, memory: 64M, ${machine}}
processes:
  - name: app
    threads:
      - {name: one, cpu: 0, program: ${program.replaceAll('set', 'a')}}
      - {name: two, cpu: ${Math.min(1, cpus - 1)}, program: ${program.replaceAll('set', 'b')}}
`, 's.yaml', {}, loadTrace)
}

async function misses(machine: string, pages: number): Promise<{ l1d: number; stlb: number }> {
  const { config, image } = await scenario(machine, pages)
  const { result: { counters } } = await simulate(config, image, { engine: 'inline' })
  return { l1d: counters.l1dMisses, stlb: counters.stlbMisses }
}

describe('half of a TLB', () => {
  test('has half of the sets, or half of the ways where sets are odd, in every preset', () => {
    const skl = halfOf(TLB_PRESETS['skylake']!)!
    expect(skl.l1d.arrays[0]).toEqual({ entries: 32, ways: 4 })
    for (const [name, tlb] of Object.entries(TLB_PRESETS)) {
      const half = halfOf(tlb)!
      for (const level of ['l1i', 'l1d', 'stlb'] as const) {
        for (const [i, { entries, ways }] of tlb[level].arrays.entries()) {
          const array = half[level].arrays[i]!
          expect([name, array.entries, array.entries % array.ways]).toEqual([name, entries / 2, 0])
          expect(entries / ways % 2 === 0 ? array.ways : 2 * array.ways, name).toBe(ways)
        }
        const { arrays: _, ...sizes } = half[level]
        expect(sizes).toEqual({ base: tlb[level].base, large: tlb[level].large, giant: tlb[level].giant })
      }
      for (const [level, entries] of Object.entries(tlb.pagingCache)) {
        expect(half.pagingCache[level as 'pmd']).toBe(Math.ceil(entries / 2))
      }
    }
  })

  test('misses where the whole would not, and not where half is enough', async () => {
    const one = 'tlb: {l1d: 64/64, stlb: 128/128}'
    const both = `${one}, smt: partitioned`
    // 48 pages fit into 64 entries; half of them, used in turns with LRU, never finds one of 48 again.
    const [whole, half] = [await misses(one, 48), await misses(both, 48)]
    expect(half.l1d - whole.l1d).toBe(2 * 48 * 10)
    expect(half.stlb).toBe(whole.stlb)
    expect((await misses(both, 24)).l1d).toBe((await misses(one, 24)).l1d)
  })

  test('is the same in every engine', { timeout: 60_000 }, async () => {
    const traces = await Promise.all((['reference', 'inline', 'threads'] as const).map(async (engine) => {
      const { config, image } = await scenario('smt: partitioned', 200)
      const { result } = await simulate(config, image, { engine })
      const trace = Buffer.concat(traceBuffers(result.trace).map((buffer) => Buffer.from(buffer)))
      return { counters: result.counters, trace }
    }))
    expect(traces[1]).toEqual(traces[0])
    expect(traces[2]).toEqual(traces[0])
  })
})

test('what has no halves is refused', async () => {
  const refusal = (machine: string, cpus: number): Promise<string> => scenario(machine, 4, cpus)
    .then(() => 'nothing', (error: unknown) => error instanceof UserError ? error.message : String(error))
  expect(await refusal('smt: partitioned', 1)).toBe('one CPU is no whole number of cores')
  expect(await refusal('smt: partitioned', 3)).toBe('3 CPUs are no whole number of cores')
  expect(await refusal('smt: partitioned, tlb: {l1d: 3/1}', 2))
    .toBe('a TLB with one way and an odd number of sets cannot be halved')
  expect(await refusal('smt: shared', 2)).toBe('unknown way of sharing TLBs "shared"')
})
