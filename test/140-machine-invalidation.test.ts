// What each invalidating operation removes, and what it leaves: the table of the kernel
// specification, 1.8. Every operation must remove exactly the required set, so that a flush that
// a kernel forgets stays visible.

import { beforeEach, describe, expect, test } from 'vitest'
import { LEVEL_PMD } from '../src/machine/geometry.js'
import { ACC, bootMachine, D, G, P, U, W, type TestMachine } from './machine-fixtures.js'

/** `user` is mapped in two address spaces, 1 and 2; `kernel` is global. */
const USER = 0x1000n
const OTHER = 0x2000n
const KERNEL = 0xffff888000001000n
const LARGE = 0x40000000n

let t: TestMachine

/** TLB content as `page@tag`, and the PCIDs that have paging-cache entries. */
function held(): string {
  const names = new Map([[USER, 'user'], [OTHER, 'other'], [KERNEL, 'kernel'], [LARGE, 'large']])
  const entries = t.tlb('stlb').map(({ hi, lo, pcid, global }) =>
    `${names.get((BigInt(hi) << 32n) | BigInt(lo))}@${global ? 'global' : pcid}`)
  const pcids = new Set(t.pagingCache().map((entry) => entry.split(' ').at(-1)))
  return `${entries.sort().join(' ')} | ${[...pcids].sort().join(' ')}`.trim()
}

function fill(pcide: boolean): void {
  t = bootMachine({ controls: { pcide } })
  t.map(USER, 1)
  t.map(OTHER, 2)
  t.map(LARGE, 0x400, { level: LEVEL_PMD })
  t.map(KERNEL, 3, { flags: { lo: P | W | U | ACC | D | G } })
  for (const pcid of pcide ? [1, 2] : [0]) {
    t.mmu.loadCr3(t.root, pcid, true)
    for (const va of [USER, OTHER, LARGE]) t.read(va)
  }
  t.read(KERNEL)
}

describe('with PCIDs, running under PCID 2', () => {
  beforeEach(() => fill(true))
  const everything = 'kernel@global large@1 large@2 other@1 other@2 user@1 user@2 | 1 2'

  test('entries of several PCIDs live side by side', () => {
    expect(held()).toBe(everything)
    expect(t.mmu.pcid).toBe(2)
  })

  test('INVLPG: the page under the current PCID, and every paging-cache entry of that PCID', () => {
    t.invlpg(USER + 0xabcn)
    expect(held()).toBe('kernel@global large@1 large@2 other@1 other@2 user@1 | 1')
  })

  test('INVLPG of a global page drops it', () => {
    t.invlpg(KERNEL)
    expect(held()).toBe('large@1 large@2 other@1 other@2 user@1 user@2 | 1')
  })

  test('INVLPG anywhere inside a large page drops the whole translation', () => {
    t.invlpg(LARGE + 0x123456n)
    expect(held()).toBe('kernel@global large@1 other@1 other@2 user@1 user@2 | 1')
    expect(t.tlb('l1d').filter((entry) => entry.pageLevel === LEVEL_PMD && entry.pcid === 2)).toEqual([])
  })

  test('INVPCID 0: one page of one PCID, not global ones', () => {
    t.mmu.invpcid(0, 1, 0, Number(USER))
    expect(held()).toBe('kernel@global large@1 large@2 other@1 other@2 user@2 | 2')
    t.mmu.invpcid(0, 2, Number(KERNEL >> 32n), Number(KERNEL & 0xffffffffn))
    expect(held()).toBe('kernel@global large@1 large@2 other@1 other@2 user@2 |')
  })

  test('INVPCID 1: everything of one PCID, not global ones', () => {
    t.mmu.invpcid(1, 1, 0, 0)
    expect(held()).toBe('kernel@global large@2 other@2 user@2 | 2')
  })

  test('INVPCID 2: everything', () => {
    t.mmu.invpcid(2, 0, 0, 0)
    expect(held()).toBe('|')
  })

  test('INVPCID 3: everything that is not global', () => {
    t.mmu.invpcid(3, 0, 0, 0)
    expect(held()).toBe('kernel@global |')
  })

  test('MOV CR3 with bit 63 clear: what is not global of the new PCID', () => {
    t.mmu.loadCr3(t.root, 1, false)
    expect(held()).toBe('kernel@global large@2 other@2 user@2 | 2')
    expect(t.mmu.pcid).toBe(1)
  })

  test('MOV CR3 with bit 63 set: nothing, and the old translations are used again', () => {
    t.mmu.loadCr3(t.root, 1, true)
    expect(held()).toBe(everything)
    t.read(USER)
    expect(t.mmu.cycles).toBeLessThan(100)
  })

  test('rewriting CR3 with its own value: what is not global of the current PCID', () => {
    t.mmu.flushNonGlobal()
    expect(held()).toBe('kernel@global large@1 other@1 user@1 | 1')
    expect([t.mmu.rootPfn, t.mmu.pcid]).toEqual([t.root, 2])
  })

  test('toggling CR4.PGE: everything of every PCID', () => {
    t.mmu.flushGlobal()
    expect(held()).toBe('|')
  })

  test('a page fault drops the page under the current PCID and the upper entries of its walk', () => {
    t.map(USER, 1, { flags: { lo: P | U | ACC } })
    t.invlpg(USER)
    t.read(USER)
    expect(t.write(USER)).toBe('#PF 0x7')
    expect(held()).toBe('kernel@global large@1 large@2 other@1 other@2 user@1 | 1')
    t.map(USER, 1)
    expect(t.write(USER)).toBe('pfn 0x1')
  })

  test('a fault through a stale upper entry does not come back when the tables allow the access', () => {
    const pmd = t.place(USER, LEVEL_PMD)
    const { lo } = t.entry(pmd)
    t.set(pmd, { lo: lo & ~W })
    t.mmu.flushGlobal()
    t.read(OTHER)
    t.set(pmd, { lo })
    expect(t.write(USER)).toBe('#PF 0x7')
    expect(t.write(USER)).toBe('pfn 0x1')
  })
})

describe('without PCIDs', () => {
  beforeEach(() => fill(false))

  test('every CR3 load drops what is not global, and all upper entries', () => {
    expect(held()).toBe('kernel@global large@0 other@0 user@0 | 0')
    t.mmu.loadCr3(t.root, 5, true)
    expect(held()).toBe('kernel@global |')
    expect(t.mmu.pcid).toBe(0)
  })

  test('G counts only while CR4.PGE is set', () => {
    const off = bootMachine({ controls: { pge: false } })
    off.map(KERNEL, 3, { flags: { lo: P | W | U | ACC | D | G } })
    off.read(KERNEL)
    expect(off.tlb('stlb').map((entry) => entry.global)).toEqual([false])
    off.mmu.flushNonGlobal()
    expect(off.tlb()).toEqual([])
  })
})

describe('an entry that came from the second level', () => {
  const flushes: [string, (machine: TestMachine) => void][] = [
    ['INVLPG', (machine) => machine.invlpg(USER)],
    ['a CR3 load', (machine) => machine.mmu.flushNonGlobal()],
    ['toggling CR4.PGE', (machine) => machine.mmu.flushGlobal()],
    ['INVPCID', (machine) => machine.mmu.invpcid(1, 0, 0, 0)],
  ]
  test.each(flushes)('into a first level that was empty is dropped by %s', (_, flush) => {
    const one = bootMachine()
    one.map(USER, 1)
    one.read(USER)
    one.exec(USER)
    expect(one.cached('l1i')).toEqual(['0x1000 pcid 0'])
    flush(one)
    expect(one.tlb()).toEqual([])
  })
})

describe('global pages', () => {
  test('match under any PCID', () => {
    fill(true)
    t.mmu.loadCr3(t.root, 7, true)
    t.read(KERNEL)
    expect(t.mmu.cycles).toBe(1)
  })

  test('a translation stays usable after its table entry is gone, until it is invalidated', () => {
    fill(true)
    t.set(t.place(KERNEL), { lo: 0, hi: 0 })
    t.mmu.loadCr3(t.root, 2, false)
    expect(t.read(KERNEL)).toBe('pfn 0x3')
    t.invlpg(KERNEL)
    expect(t.read(KERNEL)).toBe('#PF 0x4')
  })

  test('a page that turns global while a clean entry is cached is replaced by the write that sets D', () => {
    const one = bootMachine({ controls: { pcide: true } })
    const pte = one.map(USER, 1, { flags: { lo: P | W | U | ACC } })
    one.mmu.loadCr3(one.root, 1, false)
    one.read(USER)
    one.set(pte, { lo: one.entry(pte).lo | G })
    one.write(USER)
    expect(one.cached('stlb')).toEqual(['0x1000 global'])
    expect(one.cached('l1d')).toEqual(['0x1000 global'])
  })
})
