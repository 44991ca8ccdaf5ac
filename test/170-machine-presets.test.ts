// Presets: complete, consistent, and every price with its origin.

import { describe, expect, test } from 'vitest'
import { geometryOf } from '../src/machine/geometry.js'
import { Mmu, mmuCounters, mmuWords } from '../src/machine/mmu.js'
import { allocatePhysicalMemory, PhysMem } from '../src/machine/phys-mem.js'
import { COST_SOURCES, MACHINE_PRESETS, TLB_PRESETS } from '../src/machine/presets.js'

describe('machine presets', () => {
  test('are the six machines of the cost tables and those that differ from them in a few prices', () => {
    expect(Object.keys(MACHINE_PRESETS)).toEqual([
      'ivb-laptop', 'hsw-2s', 'skl-2s', '8s-120c', 'milan', 'zen5-vm', 'intel-2015', 'amd-2015', 'skl-guest',
        'kvm-guest',
      'power8-16s', 'skl-2s-104', 'genoa-2s', 'multimax-1989',
    ])
  })

  const presets = Object.entries(MACHINE_PRESETS)
  test.each(presets)('%s boots, and all of its prices are numbers with an origin', (name, preset) => {
    const machine = { ...preset, preset: name }
    const g = geometryOf(machine.geometry)
    const mem = new PhysMem(new Int32Array(allocatePhysicalMemory(2 ** 16)), g)
    const mmu = new Mmu(machine, mem, new Int32Array(mmuWords(machine)), new Float64Array(mmuCounters()))
    expect(mmu.geometry).toBe(g)
    for (const [cost, value] of Object.entries(machine.costs)) {
      expect([cost, Number.isFinite(value) && value >= 0]).toEqual([cost, true])
    }
    expect(Object.keys(COST_SOURCES[name]!)).toEqual(Object.keys(machine.costs))
    expect(machine.cpus % machine.sockets).toBe(0)
  })

  test('a row of the published table', () => {
    const column = (cost: 'invlpg' | 'fullFlush' | 'stlbHit'): number[] =>
      Object.values(MACHINE_PRESETS).slice(0, 6).map((machine) => machine.costs[cost])
    expect(column('invlpg')).toEqual([249, 225, 200, 225, 110, 124])
    expect(column('fullFlush')).toEqual([152, 152, 150, 152, 250, 730])
    expect(column('stlbHit')).toEqual([7, 9, 9, 9, 7, 8])
  })
})

describe('TLB presets', () => {
  test.each(Object.entries(TLB_PRESETS))('%s: ways divide entries, and every size names an array', (_, tlb) => {
    for (const level of [tlb.l1i, tlb.l1d, tlb.stlb]) {
      for (const { entries, ways } of level.arrays) expect(entries % ways).toBe(0)
      const named = [level.base, level.large, level.giant].filter((index) => index >= 0)
      expect([...new Set(named)].sort()).toEqual(level.arrays.map((_array, index) => index))
    }
  })
})
