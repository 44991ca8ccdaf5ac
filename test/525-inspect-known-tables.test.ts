// What checks remember of page tables from look to look is what stands in memory, whoever wrote it.

import { expect, test } from 'vitest'
import { simulateHere } from '../src/engine/simulate.js'
import { knownTablesOf } from '../src/inspect/known-tables.js'
import { allSlots, forEachEntry } from '../src/inspect/table-walk.js'
import { FRAME_TABLE, FRAME_USER } from '../src/kernel/pages/frames.js'
import type { KernelState } from '../src/kernel/state.js'
import { makeEntryHi, makeEntryLo, PAGE_PRESENT } from '../src/machine/entry.js'
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

test('a table is read again after a write of any kind', async () => {
  const k = await running('x86-64')
  const { mem } = k
  const known = knownTablesOf(k)
  const table = [...k.mms.values()].at(-1)!.pgdPfn
  const spare = k.frames.allocate(0, 0, FRAME_USER)
  const before = mem.readFrame(table)
  const writes: [string, () => void][] = [
    ['zeroFrame', () => mem.zeroFrame(table)],
    ['writeFrame', () => mem.writeFrame(table, before)],
    ['storeWord', () => mem.storeWord(table, 8, 0x40)],
    ['copyFrame', () => mem.copyFrame(table, spare)],
    ['store', () => mem.store(table, 3, 0, 7)],
    ['storeLo', () => mem.storeLo(table, 4, 0x20)],
  ]
  for (const [name, write] of writes) {
    const then = known.slotsOf(table, k.geometry.topLevel)
    expect(known.slotsOf(table, k.geometry.topLevel), name).toBe(then)
    write()
    const now = known.slotsOf(table, k.geometry.topLevel)
    expect(now, name).not.toBe(then)
    expect(now, name).toEqual(slotsInMemory(k, table, k.geometry.topLevel))
  }
})

test("the kernel's tables are those that a walk finds, before and after one is added", async () => {
  const k = await running('x86-64')
  const known = knownTablesOf(k)
  const walked = (): number[] => {
    const tables = [k.initMm.pgdPfn]
    forEachEntry(k, k.initMm, allSlots(k), (entry) => { if (!entry.isLeaf) tables.push(entry.pfn) })
    return tables
  }
  const before = known.kernelTables()
  expect(before).toEqual(walked())
  expect(before.length).toBeGreaterThan(2)
  expect(known.kernelTables()).toBe(before)
  // A table of the second level gets one more below it.
  const added = k.frames.allocate(0, 0, FRAME_TABLE)
  k.mem.zeroFrame(added)
  k.mem.store(before[1]!, entriesAt(k.geometry, k.geometry.topLevel) - 1,
    makeEntryLo(added, PAGE_PRESENT, k.geometry.pageShift), makeEntryHi(added, 0, k.geometry.pageShift))
  expect(known.kernelTables()).toEqual(walked())
  expect(known.kernelTables()).toContain(added)
})
