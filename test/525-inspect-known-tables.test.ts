// What checks remember of page tables from look to look is what stands in memory, whoever wrote it.

import { expect, test } from 'vitest'
import { simulateHere } from '../src/engine/simulate.js'
import { knownTablesOf } from '../src/inspect/known-tables.js'
import type { KernelState } from '../src/kernel/state.js'
import { GEOMETRY_NAMES, type GeometryName } from '../src/machine/config.js'
import { entriesAt, LEVEL_PTE } from '../src/machine/geometry.js'
import { testConfig } from './support/machines.js'
import { area, compute, image, mmap, program, touch } from './support/programs.js'

const programs = image([{ threads: [
  { comm: 'a', cpus: [0], program: program('a', mmap(0, 40), touch(area(0), 'write'), compute(10_000_000)) },
] }])

async function running(geometry: GeometryName): Promise<KernelState> {
  const config = testConfig({ geometry }, { pcid: geometry.startsWith('x86-64') })
  const { simulation } = await simulateHere(config, programs, { untilCycle: 5_000_000 })
  return simulation.kernel
}

function slotsInMemory(k: KernelState, table: number, level: number): number[] {
  return Array.from({ length: entriesAt(k.geometry, level) }, (_, slot) => slot)
    .filter((slot) => k.mem.loadLo(table, slot) !== 0 || k.mem.loadHi(table, slot) !== 0)
}

for (const geometry of GEOMETRY_NAMES) {
  test(`${geometry}: slots are those of the moment, after a write that nobody announced too`, async () => {
    const k = await running(geometry)
    const known = knownTablesOf(k)
    const { topLevel } = k.geometry
    const { pgdPfn } = [...k.mms.values()].at(-1)!
    const expectKnown = (): void =>
      expect(known.slotsOf(pgdPfn, topLevel)).toEqual(slotsInMemory(k, pgdPfn, topLevel))
    expectKnown()
    expect(known.slotsOf(pgdPfn, topLevel).length).toBeGreaterThan(0)
    const first = known.slotsOf(pgdPfn, topLevel)[0]!
    k.mem.store(pgdPfn, first, 0, 0)
    expectKnown()
    k.mem.store(pgdPfn, entriesAt(k.geometry, topLevel) - 1, 0, 1)
    k.mem.storeLo(pgdPfn, first, 0x20)
    expectKnown()
    // The same frame as a table with more entries.
    expect(known.slotsOf(pgdPfn, LEVEL_PTE)).toEqual(slotsInMemory(k, pgdPfn, LEVEL_PTE))
    expect(known.slotsOf(k.mem.frames, topLevel)).toEqual([])
  })
}

test('kernel halves are compared whole, and nothing but they', async () => {
  const k = await running('x86-64')
  const known = knownTablesOf(k)
  const { pgdPfn } = [...k.mms.values()].at(-1)!
  const { pgdPfn: kernelRoot } = k.initMm
  const last = entriesAt(k.geometry, k.geometry.topLevel) - 1
  expect(known.haveSameKernelHalf(pgdPfn, kernelRoot)).toBe(true)
  k.mem.store(pgdPfn, known.firstKernelSlot - 1, 0x20, 0)
  expect(known.haveSameKernelHalf(pgdPfn, kernelRoot)).toBe(true)
  for (const slot of [known.firstKernelSlot, last]) {
    const lo = k.mem.loadLo(pgdPfn, slot)
    k.mem.storeLo(pgdPfn, slot, lo ^ 0x40)
    expect(known.haveSameKernelHalf(pgdPfn, kernelRoot)).toBe(false)
    k.mem.storeLo(pgdPfn, slot, lo)
  }
  expect(known.haveSameKernelHalf(pgdPfn, kernelRoot)).toBe(true)
})
