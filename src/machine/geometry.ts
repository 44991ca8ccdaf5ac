// The shape of an address: how its bits split into five table indices and an offset.
//
//   x86-64   63.......48 47....39 38....30 29....21 20....12 11........0
//            sign         pgd      pud      pmd      pte      offset      (p4d folded into pgd)
//
// There are always five names. A folded level has no table of its own: it has one slot, the same
// shift as the level above, and shares that level's storage; walks visit only levels that are not
// folded. What an entry looks like is in entry.ts; the bits an entry must not set are in walker.ts.

import type { GeometryName } from './config.js'
import { unreachable } from '../base/assert.js'

export const LEVEL_PGD = 0
export const LEVEL_P4D = 1
export const LEVEL_PUD = 2
export const LEVEL_PMD = 3
export const LEVEL_PTE = 4
export const LEVEL_NAMES = ['pgd', 'p4d', 'pud', 'pmd', 'pte'] as const
export type LevelName = (typeof LEVEL_NAMES)[number]

export interface LevelShape {
  name: LevelName
  /** Lowest address bit of the index: one entry maps `2^shift` bytes. */
  shift: number
  /** Base pages that one entry maps or covers: `2^(shift - pageShift)`. */
  pages: number
  /** Index width; 0 when folded. */
  bits: number
  folded: boolean
  /** An entry here may map a page: always for pte, with PS set above it. */
  leaf: boolean
}

export interface Geometry {
  name: GeometryName
  /** log2 of the base page and of a table's size in bytes. */
  pageShift: number
  pageBytes: number
  /** Base pages in 4 GiB: what one step of the upper half of an address is worth. */
  pagesPerHi: number
  entryBytes: 4 | 8
  /** Five, pgd first. */
  levels: readonly LevelShape[]
  /** Bits of an address that are translated. */
  vaBits: number
  /** The bits above `vaBits - 1` must all equal bit `vaBits - 1`. False: addresses have 32 bits. */
  canonical: boolean
  /** The first level that is not folded: the table that CR3 names. */
  topLevel: number
}

/** One row of the drawing of an address. */
export interface AddressPart {
  name: LevelName
  index: number
  folded: boolean
}

type Row = readonly [shift: number, bits: number, leaf: boolean]
const FOLDED = undefined

function buildGeometry(
  name: GeometryName, vaBits: number, entryBytes: 4 | 8, rows: readonly (Row | undefined)[],
): Geometry {
  const pageShift = rows[LEVEL_PTE]![0]
  let shift = vaBits
  const levels = LEVEL_NAMES.map((levelName, level): LevelShape => {
    const row = rows[level]
    if (row !== FOLDED) shift = row[0]
    const pages = 2 ** (shift - pageShift)
    if (row === FOLDED) return { name: levelName, shift, pages, bits: 0, folded: true, leaf: false }
    return { name: levelName, shift, pages, bits: row[1], folded: false, leaf: row[2] }
  })
  const topLevel = levels.findIndex((level) => !level.folded)
  return {
    name, pageShift, pageBytes: 2 ** pageShift, pagesPerHi: 2 ** (32 - pageShift), entryBytes, levels, vaBits,
    canonical: vaBits > 32, topLevel,
  }
}

const X86_64 = buildGeometry('x86-64', 48, 8,
  [[39, 9, false], FOLDED, [30, 9, true], [21, 9, true], [12, 9, true]])
const X86_64_LA57 = buildGeometry('x86-64-la57', 57, 8,
  [[48, 9, false], [39, 9, false], [30, 9, true], [21, 9, true], [12, 9, true]])
// The 4 MiB leaf of i386 is an entry of the page directory, which is the pgd (the pmd is folded into it).
const I386 = buildGeometry('i386', 32, 4, [[22, 10, true], FOLDED, FOLDED, FOLDED, [12, 10, true]])
const I386_PAE = buildGeometry('i386-pae', 32, 8, [[30, 2, false], FOLDED, FOLDED, [21, 9, true], [12, 9, true]])
// Simplified: the 16 KiB granule of arm64 with 47-bit addresses, but with x86 entries and one root for both
// halves (bit 46 is the sign). Index arithmetic and table counts are arm64's; flag bits are not.
const GRANULE_16K = buildGeometry('granule-16k', 47, 8,
  [[36, 11, false], FOLDED, FOLDED, [25, 11, true], [14, 11, true]])

export function geometryOf(name: GeometryName): Geometry {
  switch (name) {
    case 'x86-64': return X86_64
    case 'x86-64-la57': return X86_64_LA57
    case 'i386': return I386
    case 'i386-pae': return I386_PAE
    case 'granule-16k': return GRANULE_16K
    default: return unreachable(name)
  }
}

/** The address bits from `shift` up, low 32 of them. `shift` is 1..63. */
export function bitsFrom(hi: number, lo: number, shift: number): number {
  return shift < 32 ? (lo >>> shift) | (hi << (32 - shift)) : hi >>> (shift - 32)
}

/** The slot of this address in its table of `level`; 0 for a folded level. */
export function indexAt(g: Geometry, level: number, hi: number, lo: number): number {
  const shape = g.levels[level]!
  return bitsFrom(hi, lo, shape.shift) & ((1 << shape.bits) - 1)
}

/** Byte offset inside the base page. */
export function offsetInPage(g: Geometry, lo: number): number {
  return lo & ((1 << g.pageShift) - 1)
}

/** Where the sign starts, in the upper half: see {@link isCanonical}. */
export function canonicalBias(g: Geometry): number {
  return g.canonical ? 1 << (g.vaBits - 33) : 0
}

/**
 * True when the bits above the translated ones repeat the highest translated bit (SDM vol. 1, 3.3.7.1). Adding the
 * weight of the sign bit carries a canonical upper half to all zeros above it. With 32-bit addresses: `hi` is 0.
 */
export function isCanonical(g: Geometry, hi: number, lo: number): boolean {
  void lo
  const bias = canonicalBias(g)
  return ((hi + bias) & canonicalMask(g)) === 0
}

/** The bits of `hi + canonicalBias` that are zero in a canonical address. */
export function canonicalMask(g: Geometry): number {
  return g.canonical ? -(2 << (g.vaBits - 33)) : -1
}

/** The five indices, pgd first. The offset is {@link offsetInPage}. */
export function splitAddress(g: Geometry, hi: number, lo: number): AddressPart[] {
  return g.levels.map((shape, level) => ({
    name: shape.name,
    index: indexAt(g, level, hi, lo),
    folded: shape.folded,
  }))
}

/** Entries in a table of `level`: 1 for a folded level. */
export function entriesAt(g: Geometry, level: number): number {
  return 1 << g.levels[level]!.bits
}

/** Base pages that one entry of `level` covers. */
export function pagesPerEntry(g: Geometry, level: number): number {
  return 2 ** (g.levels[level]!.shift - g.pageShift)
}

/** The next level with a table of its own below `level`; `level` must not be the pte level. */
export function nextLevel(g: Geometry, level: number): number {
  let next = level + 1
  while (g.levels[next]!.folded) next++
  return next
}

/**
 * The lowest name that shares the storage of `level`. Linux runs the real predicate there: on x86-64 without LA57
 * the PML4 entry is tested by the p4d predicates, on i386 the directory entry by the pmd predicates.
 */
export function lowestNameSharing(g: Geometry, level: number): number {
  let name = level
  while (name < LEVEL_PTE && g.levels[name + 1]!.folded) name++
  return name
}
