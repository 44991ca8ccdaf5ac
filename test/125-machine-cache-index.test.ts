// The cache index of a page, PAT, PCD and PWT of its leaf (SDM vol. 3, 4.9.2): carried from the
// tables through the TLBs to whoever asks. The MMU decides nothing by it.

import { describe, expect, test } from 'vitest'
import { cacheIndex, PAGE_PAT, PAGE_PAT_LARGE, PAGE_PCD, PAGE_PWT } from '../src/machine/entry.js'
import { LEVEL_PGD, LEVEL_PMD, LEVEL_PTE, LEVEL_PUD } from '../src/machine/geometry.js'
import { peekWalk } from '../src/machine/mmu.js'
import { fromBigInt } from '../src/base/units.js'
import { ACC, bootMachine, D, NO_PAGING_CACHE, P, U, W, type TestMachine } from './machine-fixtures.js'

const BASE = 0x1000n
const INDICES = [0, 1, 2, 3, 4, 5, 6, 7]
const LARGER = [['x86-64', LEVEL_PMD], ['x86-64', LEVEL_PUD], ['i386', LEVEL_PGD], ['i386-pae', LEVEL_PMD]] as const

/** Flags of a leaf with this index. */
function flagsOf(index: number, isLarge: boolean): number {
  const pat = isLarge ? PAGE_PAT_LARGE : PAGE_PAT
  return P | W | U | ACC | D | ((index & 1) * PAGE_PWT) | (((index >> 1) & 1) * PAGE_PCD) | ((index >> 2) * pat)
}

/** What everything that carries it says after an access. */
function carried(t: TestMachine, va: bigint): { translate: number; tlb: number[]; peek: number } {
  const { hi, lo } = fromBigInt(va)
  return {
    translate: t.mmu.cacheIndex,
    tlb: t.tlb().map((entry) => entry.cacheIndex),
    peek: peekWalk(t.g, t.mem, t.root, hi, lo).cacheIndex,
  }
}

describe('the cache index', () => {
  test('is bits 3, 4 and 7 of a base page, and 3, 4 and 12 of a large one', () => {
    for (let bit = 0; bit < 32; bit++) {
      expect([bit, cacheIndex(1 << bit, false)]).toEqual([bit, { 3: 1, 4: 2, 7: 4 }[bit] ?? 0])
      expect([bit, cacheIndex(1 << bit, true)]).toEqual([bit, { 3: 1, 4: 2, 12: 4 }[bit] ?? 0])
    }
  })

  test.each(INDICES)('%i of a base page comes through walk, L1 and STLB', (index) => {
    const l1 = { arrays: [{ entries: 2, ways: 2 }], base: 0, large: 0, giant: 0 }
    const stlb = { arrays: [{ entries: 8, ways: 8 }], base: 0, large: 0, giant: 0 }
    const t = bootMachine({ tlb: { l1i: l1, l1d: l1, stlb, pagingCache: NO_PAGING_CACHE } })
    t.map(BASE, 1, { flags: { lo: flagsOf(index, false) } })
    for (const page of [2n, 3n]) t.map(page << 12n, Number(page), { flags: { lo: flagsOf(7 - index, false) } })
    t.read(BASE)
    expect(carried(t, BASE)).toEqual({ translate: index, tlb: [index, index], peek: index })
    t.read(BASE)
    expect([t.mmu.cycles, t.mmu.cacheIndex]).toEqual([1, index])
    t.read(0x2000n)
    expect(t.mmu.cacheIndex).toBe(7 - index)
    t.read(BASE)
    expect([t.mmu.cycles, t.mmu.cacheIndex]).toEqual([1, index])
    for (const va of [0x2000n, 0x3000n, BASE]) t.read(va)
    expect([t.mmu.cycles, t.mmu.cacheIndex]).toEqual([1 + 10, index])
    t.exec(BASE)
    expect([t.mmu.cycles, t.mmu.cacheIndex]).toEqual([1 + 10, index])
    expect(t.tlb('l1i').map((entry) => entry.cacheIndex)).toEqual([index])
  })

  test.each(LARGER)('of a large page of %s, level %i, comes through walk, L1 and STLB', (geometry, level) => {
    for (const index of INDICES) {
      const t = bootMachine({ geometry })
      const va = 0x40000000n
      t.map(va, 0x40000, { level, flags: { lo: flagsOf(index, true) } })
      // PAE reads its top entries when CR3 is loaded.
      t.mmu.flushNonGlobal()
      t.read(va)
      const { translate, tlb, peek } = carried(t, va)
      expect([translate, peek, new Set(tlb)]).toEqual([index, index, new Set([index])])
      t.read(va + 0x1000n)
      expect([t.mmu.cacheIndex, t.mmu.pageSizeLevel, t.mmu.pfn]).toEqual([index, level, 0x40001])
      t.exec(va)
      expect([t.mmu.cacheIndex, t.mmu.pageSizeLevel]).toEqual([index, level])
    }
  })

  test('stays with a page whose D is set later, and follows the tables when the entry is renewed', () => {
    const t = bootMachine()
    const pte = t.map(BASE, 1, { flags: { lo: flagsOf(5, false) & ~D } })
    t.read(BASE)
    t.write(BASE)
    expect(carried(t, BASE)).toEqual({ translate: 5, tlb: [5, 5], peek: 5 })
    t.set(pte, { lo: 0x1000 | flagsOf(2, false) })
    t.read(BASE)
    expect(carried(t, BASE)).toEqual({ translate: 5, tlb: [5, 5], peek: 2 })
    t.invlpg(BASE)
    t.read(BASE)
    expect(carried(t, BASE)).toEqual({ translate: 2, tlb: [2, 2], peek: 2 })
  })

  test('is that of the leaf alone, and forbids nothing', () => {
    const t = bootMachine()
    t.map(BASE, 1, { tables: { lo: P | W | U | ACC | PAGE_PWT | PAGE_PCD, hi: 0 } })
    expect([t.write(BASE), t.mmu.cacheIndex, t.mmu.pageSizeLevel]).toEqual(['pfn 0x1', 0, LEVEL_PTE])
  })
})
