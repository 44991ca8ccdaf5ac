// TLBs: sets, ways, true LRU, two levels, page sizes, tags. Small examples first, then random
// accesses against the naive model of naive-mmu.ts: lookups, misses and walk steps agree to the unit.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createRandom } from '../src/base/prng.js'
import type { TlbConfig, TlbLevelConfig } from '../src/machine/config.js'
import { LEVEL_PMD, LEVEL_PTE, LEVEL_PUD } from '../src/machine/geometry.js'
import { ACCESS_EXEC, ACCESS_READ, TRANSLATED } from '../src/machine/mmu.js'
import { TLB_PRESETS } from '../src/machine/presets.js'
import { fromBigInt } from '../src/base/units.js'
import { ACC, bootMachine, D, G, NO_PAGING_CACHE, P, U, W, type TestMachine } from './machine-fixtures.js'
import { NaiveMmu, type Mapping } from './naive-mmu.js'

const one = (entries: number, ways: number): TlbLevelConfig =>
  ({ arrays: [{ entries, ways }], base: 0, large: 0, giant: 0 })
const NONE: TlbLevelConfig = { arrays: [], base: -1, large: -1, giant: -1 }

describe('one set', () => {
  test('the least recently used way is replaced', () => {
    const tlb: TlbConfig = { l1i: NONE, l1d: one(3, 3), stlb: NONE, pagingCache: NO_PAGING_CACHE }
    const t = bootMachine({ tlb })
    for (let page = 1; page <= 4; page++) t.map(BigInt(page) << 12n, page)
    for (const page of [1, 2, 3, 1, 4, 1, 3]) t.read(BigInt(page) << 12n)
    expect(t.cached('l1d')).toEqual(['0x3000 pcid 0', '0x1000 pcid 0', '0x4000 pcid 0'])
    expect(t.counts().slice(2, 4)).toEqual([7, 4])
  })

  test('pages of one set compete, pages of another do not', () => {
    const tlb: TlbConfig = { l1i: NONE, l1d: one(4, 1), stlb: NONE, pagingCache: NO_PAGING_CACHE }
    const t = bootMachine({ tlb })
    for (const page of [0, 4, 1]) t.map(BigInt(page) << 12n, page + 1)
    for (const page of [0, 1, 4, 1, 0]) t.read(BigInt(page) << 12n)
    expect(t.counts().slice(2, 4)).toEqual([5, 4])
  })
})

describe('two levels', () => {
  const tlb: TlbConfig = { l1i: one(1, 1), l1d: one(1, 1), stlb: one(2, 2), pagingCache: NO_PAGING_CACHE }
  const two = (): TestMachine => {
    const t = bootMachine({ tlb })
    for (let page = 1; page <= 3; page++) t.map(BigInt(page) << 12n, page)
    return t
  }

  test('a walk fills both, a second-level hit fills the first and costs its price', () => {
    const t = two()
    t.read(0x1000n)
    t.read(0x2000n)
    t.read(0x1000n)
    expect(t.mmu.cycles).toBe(1 + 10)
    expect(t.counts()).toEqual([0, 0, 3, 3, 3, 2, 8])
    expect(t.cached('l1d')).toEqual(['0x1000 pcid 0'])
  })

  test('eviction from the second level leaves the first alone', () => {
    const t = two()
    t.read(0x1000n)
    t.exec(0x2000n)
    t.exec(0x3000n)
    expect(t.cached('stlb')).toEqual(['0x3000 pcid 0', '0x2000 pcid 0'])
    t.read(0x1000n)
    expect(t.mmu.cycles).toBe(1)
  })

  test('a first-level hit does not refresh the second level', () => {
    const t = two()
    t.read(0x1000n)
    t.exec(0x2000n)
    t.read(0x1000n)
    t.exec(0x3000n)
    expect(t.cached('stlb')).toEqual(['0x3000 pcid 0', '0x2000 pcid 0'])
  })

  test('fetches and data have first levels of their own', () => {
    const t = two()
    t.exec(0x1000n)
    t.read(0x1000n)
    expect(t.counts()).toEqual([1, 1, 1, 1, 2, 1, 4])
  })
})

describe('page sizes', () => {
  test('one large entry serves every address inside the page', () => {
    const t = bootMachine()
    t.map(0x40000000n, 0x400, { level: LEVEL_PMD })
    t.read(0x40000000n)
    expect(t.read(0x401ff000n)).toBe('pfn 0x5ff')
    expect(t.counts().slice(2, 6)).toEqual([2, 1, 1, 1])
    expect(t.tlb('l1d')).toMatchObject([{ hi: 0, lo: 0x40000000, pageLevel: LEVEL_PMD, pfn: 0x400 }])
  })

  test('a size without an array is walked every time', () => {
    const t = bootMachine({ tlb: { l1i: NONE, l1d: NONE, stlb: NONE, pagingCache: NO_PAGING_CACHE } })
    t.map(0x1000n, 1)
    t.read(0x1000n)
    t.read(0x1000n)
    expect(t.counts()).toEqual([0, 0, 2, 2, 2, 2, 8])
  })

  test('the dump gives back the address of a page in the upper half', () => {
    const t = bootMachine({ geometry: 'x86-64-la57' })
    const va = 0xff91234567812000n
    t.map(va, 7)
    t.read(va)
    expect(t.cached()).toEqual(['0xff91234567812000 pcid 0'])
    expect(t.pagingCache()).toEqual([
      'pgd 0xff91000000000000 pcid 0', 'p4d 0xff91230000000000 pcid 0', 'pud 0xff91234540000000 pcid 0',
      'pmd 0xff91234567800000 pcid 0',
    ])
  })
})

describe('paging-structure caches', () => {
  test('the longest cached prefix shortens the walk', () => {
    const t = bootMachine()
    for (const va of [0x1000n, 0x2000n, 0x200000n, 0x40000000n]) t.map(va, 9)
    const steps = [0x1000n, 0x2000n, 0x200000n, 0x40000000n].map((va) => {
      const before = t.counts()[6]!
      t.read(va)
      return t.counts()[6]! - before
    })
    expect(steps).toEqual([4, 1, 2, 3])
  })

  test('restrictions collected above a cached entry still count', () => {
    const t = bootMachine()
    t.map(0x1000n, 1, { tables: { lo: P | U | ACC, hi: 0 } })
    t.map(0x2000n, 2)
    t.read(0x1000n)
    expect(t.write(0x2000n)).toBe('#PF 0x7')
  })

  test('a walk through a stale cached entry uses the freed table: why freeing a table needs a flush', () => {
    const t = bootMachine()
    t.map(0x1000n, 1)
    t.map(0x2000n, 2)
    t.read(0x1000n)
    const pmd = t.place(0n, LEVEL_PMD)
    t.set(pmd, { lo: 0 })
    expect(t.read(0x2000n)).toBe('pfn 0x2')
    t.mmu.flushNonGlobal()
    expect(t.read(0x2000n)).toBe('#PF 0x4')
  })

  test('the four top entries of PAE are never cached; names folded into one table share a cache', () => {
    const tlb: TlbConfig = { l1i: NONE, l1d: NONE, stlb: NONE, pagingCache: { pgd: 8, p4d: 0, pud: 0, pmd: 2 } }
    const cachedLevels = [['i386-pae', ['pmd']], ['i386', ['pgd']], ['x86-64', ['pgd', 'pmd']]] as const
    for (const [geometry, expected] of cachedLevels) {
      const t = bootMachine({ geometry, tlb })
      t.map(0x1000n, 1)
      t.mmu.flushNonGlobal()
      t.read(0x1000n)
      expect(t.pagingCache().map((entry) => entry.split(' ')[0])).toEqual(expected)
    }
  })
})

const MAPPING_LEVELS = [LEVEL_PTE, LEVEL_PMD, LEVEL_PUD]

/** Pages of all sizes, some global, in both halves of the address space. */
function mapRandomly(t: TestMachine, random: (below: number) => number, count: number): [bigint, Mapping][] {
  const regions: bigint[] = [0n, 0x7f0000000000n, 0xffff880000000000n]
  const pages: [bigint, Mapping][] = []
  for (let i = 0; i < count; i++) {
    const size = random(10) < 7 ? 0 : 1 + random(2)
    const global = random(4) === 0
    const base = regions[random(regions.length)]! + (BigInt(size) << 38n)
    const va = base + (BigInt(random([800, 60, 12][size]!)) << BigInt([12, 21, 30][size]!))
    if (pages.some(([other]) => other === va)) continue
    const flags = { lo: P | W | U | ACC | D | (global ? G : 0) }
    t.map(va, [i, i * 512, i * 2 ** 18][size]!, { level: MAPPING_LEVELS[size]!, flags })
    pages.push([va, { size, global }])
  }
  return pages
}

/** Random accesses, with a switch or an invalidation at 10 in `rarity` of them; counts agree all the way. */
function compare(tlb: TlbConfig, seed: number, accesses: number, pageCount: number, rarity = 400): void {
  const t = bootMachine({ tlb, controls: { pcide: true } })
  const naive = new NaiveMmu(t.config, t.g)
  const { nextInt: random } = createRandom(seed, 'accesses')
  const pages = mapRandomly(t, random, pageCount)
  const sizeMask = [0xfffn, 0x1fffffn, 0x3fffffffn]
  for (let i = 0; i < accesses; i++) {
    const [base, mapping] = pages[random(2) === 0 ? random(pages.length) : random(Math.min(20, pages.length))]!
    const va = base + (BigInt(random(2 ** 30)) & sizeMask[mapping.size]!)
    const { hi, lo } = fromBigInt(va)
    const what = random(rarity)
    if (what === 0) {
      naive.pcid = random(3)
      t.mmu.loadCr3(t.root, naive.pcid, true)
    } else if (what === 1) {
      naive.pcid = random(3)
      t.mmu.loadCr3(t.root, naive.pcid, false)
      naive.drop((entry) => entry.tag === naive.pcid, naive.pcid)
    } else if (what === 2) {
      t.mmu.flushGlobal()
      naive.drop(() => true, 'all')
    } else if (what < 8) {
      t.mmu.invlpg(hi | 0, lo | 0)
      naive.drop((entry, level) =>
        level.covers(entry, va) && (entry.tag === 'global' || entry.tag === naive.pcid), naive.pcid)
    } else if (what < 10) {
      const pcid = random(3)
      t.mmu.invpcid(0, pcid, hi | 0, lo | 0)
      naive.drop((entry, level) => level.covers(entry, va) && entry.tag === pcid, pcid)
    }
    const fetch = random(3) === 0
    const status = t.mmu.translate(hi | 0, lo | 0, fetch ? ACCESS_EXEC : ACCESS_READ, true, random(2) === 0)
    if (status !== TRANSLATED) expect.fail(`access ${i}: status ${status}`)
    naive.access(va, fetch, mapping)
    if (i % 1024 === 0) expect(t.counts()).toEqual(naive.counts())
  }
  expect(t.counts()).toEqual(naive.counts())
}

describe('counts equal those of a naive model', () => {
  test.each(Object.keys(TLB_PRESETS))('%s, all page sizes, tags and invalidations', (name) => {
    compare(TLB_PRESETS[name]!, 7, 8_000, 600)
  })

  test('1536 entries in 12 ways behind 64 in 4, pages more than fit', () => {
    const tlb: TlbConfig = {
      l1i: one(64, 8), l1d: one(64, 4), stlb: one(1536, 12), pagingCache: { pgd: 2, p4d: 4, pud: 4, pmd: 8 },
    }
    compare(tlb, 1, 60_000, 2_300)
  })

  test('a few pages, and nearly as many invalidations as accesses', () => {
    for (let seed = 0; seed < 20; seed++) compare(TLB_PRESETS['skylake']!, seed, 1_000, 8, 24)
  })

  test('sizes and ways of any kind, sets that are no power of two', () => {
    const index = fc.integer({ min: -1, max: 2 })
    const level = fc.record({
      sets: fc.array(fc.tuple(fc.integer({ min: 1, max: 13 }), fc.integer({ min: 1, max: 9 })), {
        minLength: 1, maxLength: 3,
      }),
      picks: fc.tuple(index, index, index),
    }).map(({ sets, picks }): TlbLevelConfig => {
      const pick = (wanted: number): number => (wanted < sets.length ? wanted : -1)
      return {
        arrays: sets.map(([count, ways]) => ({ entries: count * ways, ways })),
        base: pick(picks[0]), large: pick(picks[1]), giant: pick(picks[2]),
      }
    })
    const size = fc.integer({ min: 0, max: 5 })
    const config = fc.record({
      l1i: level, l1d: level, stlb: level, pagingCache: fc.record({ pgd: size, p4d: size, pud: size, pmd: size }),
    })
    fc.assert(fc.property(config, fc.nat(), (tlb, seed) => compare(tlb, seed, 600, 60)), { numRuns: 60 })
  })
})
