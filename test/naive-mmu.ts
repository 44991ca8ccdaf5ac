// The TLBs and paging caches again, written for reading: lists of keys, youngest first, and page
// numbers as BigInt. It knows a mapping (address to page size and global bit), so it needs no
// tables; all permissions allow and A and D are set. Tests hold the real MMU's counts against it.

import type { MachineConfig, TlbLevelConfig } from '../src/machine/config.js'
import { LEVEL_PTE, type Geometry } from '../src/machine/geometry.js'
import { pagingCacheSizes } from '../src/machine/mmu-state.js'

export interface Mapping {
  /** 0 base, 1 large, 2 giant. */
  size: number
  global: boolean
}

type Tag = number | 'global'
interface Entry {
  size: number
  page: bigint
  tag: Tag
}

class NaiveLevel {
  lookups = 0
  misses = 0
  private readonly config: TlbLevelConfig
  private readonly shifts: readonly number[]
  private readonly addressMask: bigint
  /** By array, by set: entries, youngest first. */
  private sets: Map<number, Entry[]>[]

  constructor(config: TlbLevelConfig, shifts: readonly number[], vaBits: number) {
    this.config = config
    this.shifts = shifts
    this.addressMask = (1n << BigInt(vaBits)) - 1n
    this.sets = config.arrays.map(() => new Map<number, Entry[]>())
  }

  /** The list that an entry of this size lives in; undefined when the size is not cached. */
  private listFor(size: number, page: bigint): { list: Entry[]; ways: number } | undefined {
    const index = [this.config.base, this.config.large, this.config.giant][size]!
    const array = this.config.arrays[index]
    if (!array) return undefined
    const set = Number(page % BigInt(array.entries / array.ways))
    const sets = this.sets[index]!
    if (!sets.has(set)) sets.set(set, [])
    return { list: sets.get(set)!, ways: array.ways }
  }

  private page(va: bigint, size: number): bigint {
    return (va & this.addressMask) >> BigInt(this.shifts[size]!)
  }

  /** Looks up and, on a hit, makes the entry the youngest. */
  hit(va: bigint, pcid: number): Entry | undefined {
    this.lookups++
    for (let size = 0; size < this.shifts.length; size++) {
      const page = this.page(va, size)
      const list = this.listFor(size, page)?.list ?? []
      const at = list.findIndex((entry) =>
        entry.size === size && entry.page === page && (entry.tag === 'global' || entry.tag === pcid))
      if (at >= 0) {
        const [entry] = list.splice(at, 1)
        list.unshift(entry!)
        return entry
      }
    }
    this.misses++
    return undefined
  }

  fill(va: bigint, size: number, tag: Tag): void {
    const page = this.page(va, size)
    const found = this.listFor(size, page)
    if (!found) return
    found.list.unshift({ size, page, tag })
    found.list.length = Math.min(found.list.length, found.ways)
  }

  drop(wanted: (entry: Entry) => boolean): void {
    for (const sets of this.sets) {
      for (const [set, list] of sets) sets.set(set, list.filter((entry) => !wanted(entry)))
    }
  }

  covers(entry: Entry, va: bigint): boolean {
    return entry.page === this.page(va, entry.size)
  }
}

export class NaiveMmu {
  pcid = 0
  steps = 0
  readonly l1i: NaiveLevel
  readonly l1d: NaiveLevel
  readonly stlb: NaiveLevel
  private readonly g: Geometry
  private readonly cacheSizes: readonly number[]
  /** Paging-cache entries by level: `pcid:prefix`, youngest first. */
  private caches: string[][]
  private readonly leafLevels: readonly number[]

  constructor(config: MachineConfig, g: Geometry) {
    this.g = g
    this.leafLevels = g.levels.map((_, level) => level).filter((level) => g.levels[level]!.leaf).reverse()
    const shifts = this.leafLevels.map((level) => g.levels[level]!.shift)
    this.l1i = new NaiveLevel(config.tlb.l1i, shifts, g.vaBits)
    this.l1d = new NaiveLevel(config.tlb.l1d, shifts, g.vaBits)
    this.stlb = new NaiveLevel(config.tlb.stlb, shifts, g.vaBits)
    this.cacheSizes = pagingCacheSizes(config, g)
    this.caches = g.levels.map(() => [])
  }

  access(va: bigint, fetch: boolean, { size, global }: Mapping): void {
    const l1 = fetch ? this.l1i : this.l1d
    if (l1.hit(va, this.pcid)) return
    const second = this.stlb.hit(va, this.pcid)
    if (second) {
      l1.fill(va, second.size, second.tag)
      return
    }
    this.walk(va, this.leafLevels[size]!)
    const tag = global ? 'global' : this.pcid
    this.stlb.fill(va, size, tag)
    l1.fill(va, size, tag)
  }

  private walk(va: bigint, leafLevel: number): void {
    const real = this.g.levels.map((_, level) => level).filter((level) => !this.g.levels[level]!.folded)
    const key = (level: number): string => `${this.pcid}:${va >> BigInt(this.g.levels[level]!.shift)}`
    const above = real.filter((level) => level < leafLevel)
    const start = above.findLast((level) => this.caches[level]!.includes(key(level)))
    if (start !== undefined) {
      this.caches[start] = [key(start), ...this.caches[start]!.filter((other) => other !== key(start))]
    }
    for (const level of real.filter((other) => other > (start ?? -1) && other <= leafLevel)) {
      this.steps++
      if (level < leafLevel && level < LEVEL_PTE) {
        this.caches[level] = [key(level), ...this.caches[level]!].slice(0, this.cacheSizes[level]!)
      }
    }
  }

  /** Drops TLB entries, and the paging-cache entries of one PCID or of all. */
  drop(wanted: (entry: Entry, level: NaiveLevel) => boolean, cachesOf: number | 'all' | 'none'): void {
    for (const level of [this.l1i, this.l1d, this.stlb]) level.drop((entry) => wanted(entry, level))
    if (cachesOf === 'all') this.caches = this.caches.map(() => [])
    else this.caches = this.caches.map((list) => list.filter((key) => !key.startsWith(`${cachesOf}:`)))
  }

  counts(): number[] {
    const { l1i, l1d, stlb } = this
    return [l1i.lookups, l1i.misses, l1d.lookups, l1d.misses, stlb.lookups, stlb.misses, this.steps]
  }
}
