// A machine for tests of the machine layer: one MMU over 64 MiB of memory, four-level tables that
// a test builds page by page, and accesses that answer in words. The defaults are a small
// Skylake-like machine with all protections on; a test mentions only what it is about.

import { fromBigInt, type Word64 } from '../src/base/units.js'
import type { GeometryName, MachineConfig, TlbConfig } from '../src/machine/config.js'
import {
  makeEntryHi, makeEntryLo, PAGE_PRESENT, PAGE_PSE, TABLE_USER, type Protection,
} from '../src/machine/entry.js'
import { geometryOf, indexAt, LEVEL_PTE, nextLevel, type Geometry } from '../src/machine/geometry.js'
import {
  ACCESS_EXEC, ACCESS_READ, ACCESS_WRITE, LINUX_CONTROLS, Mmu, mmuCounters, mmuWords, NEEDS_WRITE, PAGE_FAULT,
  TRANSLATED, type AccessKind, type Controls, type TlbEntry,
} from '../src/machine/mmu.js'
import { allocatePhysicalMemory, PhysMem } from '../src/machine/phys-mem.js'
import { MACHINE_PRESETS, TLB_PRESETS } from '../src/machine/presets.js'

export const P = 1
export const W = 2
export const U = 4
export const ACC = 0x20
export const D = 0x40
export const PS = 0x80
export const G = 0x100
export const NX: Protection['hi'] = 1 << 31

/** One array of each kind and no giant pages: small enough to overflow in a test. */
export const NO_PAGING_CACHE: TlbConfig['pagingCache'] = { pgd: 0, p4d: 0, pud: 0, pmd: 0 }

export interface MachineOptions {
  geometry?: GeometryName
  tlb?: TlbConfig
  vendor?: 'intel' | 'amd'
  maxPhysAddrBits?: number
  controls?: Partial<Controls>
  memoryBytes?: number
  costs?: Partial<MachineConfig['costs']>
  /** Where memory and state are; default: anywhere. */
  place?: (machine: MachineConfig) => MachineViews
}

export interface MachineViews {
  memory: Int32Array
  words: Int32Array
  counters: Float64Array
  undo?: Int32Array
}

export interface Access {
  user?: boolean
  mayWrite?: boolean
}

export interface MapOptions {
  /** Level of the leaf; the pte level when absent. */
  level?: number
  /** Flags of the leaf, and of the tables above it. */
  flags?: Partial<Protection>
  tables?: Protection
}

export interface Place {
  pfn: number
  slot: number
}

function anywhere(machine: MachineConfig): MachineViews {
  return {
    memory: new Int32Array(allocatePhysicalMemory(machine.memoryBytes)),
    words: new Int32Array(mmuWords(machine)),
    counters: new Float64Array(mmuCounters()),
  }
}

export class TestMachine {
  readonly config: MachineConfig
  readonly g: Geometry
  readonly mem: PhysMem
  readonly words: Int32Array
  readonly counters: Float64Array
  readonly mmu: Mmu
  readonly root: number
  private nextFrame = 1

  constructor(options: MachineOptions = {}) {
    const preset = MACHINE_PRESETS['skl-2s']!
    const memoryBytes = options.memoryBytes ?? 64 * 2 ** 20
    this.config = {
      ...preset,
      preset: 'test',
      memoryBytes,
      geometry: options.geometry ?? 'x86-64',
      vendor: options.vendor ?? 'intel',
      invpcid: true,
      maxPhysAddrBits: options.maxPhysAddrBits ?? 40,
      tlb: options.tlb ?? TLB_PRESETS['skylake']!,
      costs: { ...preset.costs, access: 1, stlbHit: 10, walkStep: 100, setAccessedDirty: 1000, ...options.costs },
    }
    this.g = geometryOf(this.config.geometry)
    const { memory, words, counters, undo } = options.place?.(this.config) ?? anywhere(this.config)
    this.mem = new PhysMem(memory, this.g)
    this.words = words
    this.counters = counters
    this.mmu = new Mmu(this.config, this.mem, words, counters, undo)
    this.mmu.reset({ ...LINUX_CONTROLS, ...options.controls })
    this.root = this.newFrame()
    this.mmu.loadCr3(this.root, 0, false)
  }

  newFrame(): number {
    return this.nextFrame++
  }

  /** Where the entry of `level` for this address is, making the tables above it. */
  place(va: bigint, level = LEVEL_PTE, tables: Protection = TABLE_USER, root = this.root): Place {
    const { hi, lo } = fromBigInt(va)
    let table = root
    let at = this.g.topLevel
    while (at < level) {
      const slot = indexAt(this.g, at, hi, lo)
      let entry = this.mem.loadLo(table, slot)
      if ((entry & PAGE_PRESENT) === 0) {
        const isPaeTop = this.g.name === 'i386-pae' && at === this.g.topLevel
        entry = makeEntryLo(this.newFrame(), isPaeTop ? PAGE_PRESENT : tables.lo, this.g.pageShift)
        this.mem.store(table, slot, entry, isPaeTop ? 0 : tables.hi)
      }
      table = entry >>> this.g.pageShift
      at = nextLevel(this.g, at)
    }
    return { pfn: table, slot: indexAt(this.g, level, hi, lo) }
  }

  /** Maps `pfn` at `va`: present, writable, user, accessed, dirty unless told otherwise. */
  map(va: bigint, pfn: number, { level = LEVEL_PTE, flags = {}, tables = TABLE_USER }: MapOptions = {}): Place {
    const place = this.place(va, level, tables)
    const lo = (flags.lo ?? P | W | U | ACC | D) | (level < LEVEL_PTE ? PAGE_PSE : 0)
    this.mem.store(place.pfn, place.slot, makeEntryLo(pfn, lo, this.g.pageShift),
      makeEntryHi(pfn, flags.hi ?? 0, this.g.pageShift))
    return place
  }

  entry(place: Place): Word64 {
    return { lo: this.mem.loadLo(place.pfn, place.slot), hi: this.mem.loadHi(place.pfn, place.slot) }
  }

  set(place: Place, { lo, hi }: Partial<Word64>): void {
    const old = this.entry(place)
    this.mem.store(place.pfn, place.slot, lo ?? old.lo, hi ?? old.hi)
  }

  read(va: bigint, access: Access = {}): string {
    return this.access(va, ACCESS_READ, access)
  }

  write(va: bigint, access: Access = {}): string {
    return this.access(va, ACCESS_WRITE, access)
  }

  exec(va: bigint, access: Access = {}): string {
    return this.access(va, ACCESS_EXEC, access)
  }

  /** `pfn 0x90`, `needs write`, `#PF 0x7` or `#GP`. */
  access(va: bigint, kind: AccessKind, { user = true, mayWrite = true }: Access = {}): string {
    const { hi, lo } = fromBigInt(va)
    const status = this.mmu.translate(hi | 0, lo | 0, kind, user, mayWrite)
    if (status === TRANSLATED) return `pfn 0x${this.mmu.pfn.toString(16)}`
    if (status === NEEDS_WRITE) return 'needs write'
    return status === PAGE_FAULT ? `#PF 0x${this.mmu.errorCode.toString(16)}` : '#GP'
  }

  invlpg(va: bigint): void {
    const { hi, lo } = fromBigInt(va)
    this.mmu.invlpg(hi | 0, lo | 0)
  }

  tlb(level?: TlbEntry['level']): TlbEntry[] {
    const entries: TlbEntry[] = []
    this.mmu.forEachTlbEntry((entry) => entries.push(entry))
    return entries.filter((entry) => level === undefined || entry.level === level)
  }

  /** Addresses cached in a level, as hex, in order of the sets. */
  cached(level: TlbEntry['level'] = 'stlb'): string[] {
    return this.tlb(level).map(({ hi, lo, pcid, global }) =>
      `0x${((BigInt(hi) << 32n) | BigInt(lo)).toString(16)}${global ? ' global' : ` pcid ${pcid}`}`)
  }

  /** Paging-cache entries as `level@first address`, top level first. */
  pagingCache(): string[] {
    const entries: string[] = []
    this.mmu.forEachPagingCacheEntry(({ level, hi, lo, pcid }) => entries.push(
      `${this.g.levels[level]!.name} 0x${((BigInt(hi) << 32n) | BigInt(lo)).toString(16)} pcid ${pcid}`))
    return entries
  }

  /** [L1I lookups, misses, L1D lookups, misses, STLB lookups, misses, walk steps]. */
  counts(): number[] {
    return [...this.counters]
  }

  /** Everything an MMU remembers, and the memory, to be compared later. */
  snapshot(): { words: string; counters: string; memory: string } {
    const hash = (view: Int32Array | Float64Array): string => Buffer.from(view.slice().buffer).toString('base64')
    const tables = this.mem.words.subarray(0, this.nextFrame << (this.g.pageShift - 2))
    return { words: hash(this.words), counters: hash(this.counters), memory: hash(tables) }
  }
}

/** The machine whose TLB sizes and tables are all defaults. */
export function bootMachine(options: MachineOptions = {}): TestMachine {
  return new TestMachine(options)
}
