// One page-table entry, held as two 32-bit words (Intel SDM vol. 3, 4.5). Entries of 32-bit
// paging have only the first.
//
//   lo   31........12 11..9 8 7 6 5 4 3 2 1 0
//        pfn bits 19:0  sw  G S D A C T U W P      S: page size (above pte) or PAT (pte)
//   hi   31 30..27 26..20 19...............0
//        NX   key    sw   pfn bits 51:20
//
// The predicates are Linux's and belong to software: hardware looks only at P, then at reserved
// bits, which are in walker.ts. Nothing here touches memory. Flags of an entry describe the
// thing it points to. `Simplified:` frame numbers have 32 bits (44-bit physical addresses).

import {
  PAGE_ACCESSED, PAGE_DIRTY, PAGE_FLAGS_LO, PAGE_GLOBAL, PAGE_NX_HI, PAGE_PAT, PAGE_PAT_LARGE, PAGE_PCD,
  PAGE_PRESENT, PAGE_PROTNONE, PAGE_PSE, PAGE_PWT, PAGE_RW, PAGE_SAVED_DIRTY_HI, PAGE_SOFTW4_HI, PAGE_SOFT_DIRTY,
  PAGE_SPECIAL, PAGE_UFFD_WP, PAGE_USER, PFN_HI_MASK,
} from './entry-bits.js'
import { LEVEL_PTE } from './geometry.js'
import { hexNumber } from '../base/units.js'

export * from './entry-bits.js'

/** The flags of an entry without its frame number. */
export interface Protection {
  lo: number
  hi: number
}

const BASE_USER = PAGE_PRESENT | PAGE_USER | PAGE_ACCESSED
const BASE_KERNEL = PAGE_PRESENT | PAGE_ACCESSED | PAGE_GLOBAL
const BASE_TABLE = PAGE_PRESENT | PAGE_RW | PAGE_ACCESSED | PAGE_DIRTY

/** A shared mapping that may be written. Private writable ones get RW from the fault path, never from here. */
export const PAGE_SHARED: Protection = { lo: BASE_USER | PAGE_RW, hi: PAGE_NX_HI }
export const PAGE_SHARED_EXEC: Protection = { lo: BASE_USER | PAGE_RW, hi: 0 }
/** Private writable before its copy, and read-only: the same bits. */
export const PAGE_COPY: Protection = { lo: BASE_USER, hi: PAGE_NX_HI }
export const PAGE_COPY_EXEC: Protection = { lo: BASE_USER, hi: 0 }
export const PAGE_READONLY: Protection = PAGE_COPY
export const PAGE_READONLY_EXEC: Protection = PAGE_COPY_EXEC
/** PROT_NONE: not present, the frame kept. */
export const PAGE_NONE: Protection = { lo: PAGE_ACCESSED | PAGE_PROTNONE, hi: 0 }
/** An entry that names a table for user addresses, and one for kernel addresses. */
export const TABLE_USER: Protection = { lo: BASE_TABLE | PAGE_USER, hi: 0 }
export const TABLE_KERNEL: Protection = { lo: BASE_TABLE, hi: 0 }
export const PAGE_KERNEL: Protection = { lo: BASE_KERNEL | PAGE_RW | PAGE_DIRTY, hi: PAGE_NX_HI }
/** Kernel text: read-only, executable. */
export const PAGE_KERNEL_ROX: Protection = { lo: BASE_KERNEL, hi: 0 }

/** Low word of an entry for base-page number `pfn`. */
export function makeEntryLo(pfn: number, flagsLo: number, pageShift: number): number {
  return (pfn << pageShift) | flagsLo
}

/** High word; `nxFlag` is PAGE_NX_HI, 0, or any flags of the upper word. */
export function makeEntryHi(pfn: number, nxFlag: number, pageShift: number): number {
  return (pfn >>> (32 - pageShift)) | nxFlag
}

/** The base-page number in the entry. In a large leaf its low bits are flags: see {@link leafPfn}. */
export function entryPfn(lo: number, hi: number, pageShift: number): number {
  return ((lo >>> pageShift) | (hi << (32 - pageShift))) >>> 0
}

/** First base-page number of a leaf that maps `2^leafShift` bytes: PAT, bit 12, is not an address bit there. */
export function leafPfn(lo: number, hi: number, pageShift: number, leafShift: number): number {
  return (entryPfn(lo, hi, pageShift) & -(1 << (leafShift - pageShift))) >>> 0
}

/**
 * Which of the eight memory types of the PAT register a leaf names: PAT, PCD and PWT as a number. `isLarge`: a leaf
 * above the pte level, where PAT is bit 12.
 */
export function cacheIndex(lo: number, isLarge: boolean): number {
  const pat = lo & (isLarge ? PAGE_PAT_LARGE : PAGE_PAT)
  return ((lo & (PAGE_PWT | PAGE_PCD)) >>> 3) | (pat === 0 ? 0 : 4)
}

/** Flags of the low word of a table entry or base page. */
export function entryFlagsLo(lo: number): number {
  return lo & PAGE_FLAGS_LO
}

export function entryFlagsHi(hi: number): number {
  return hi & ~PFN_HI_MASK
}

// What hardware sees.
export const entryPresent = (lo: number): boolean => (lo & PAGE_PRESENT) !== 0
export const entryWritable = (lo: number): boolean => (lo & PAGE_RW) !== 0
export const entryUser = (lo: number): boolean => (lo & PAGE_USER) !== 0
export const entryAccessed = (lo: number): boolean => (lo & PAGE_ACCESSED) !== 0
export const entryDirty = (lo: number): boolean => (lo & PAGE_DIRTY) !== 0
export const entryGlobal = (lo: number): boolean => (lo & (PAGE_PRESENT | PAGE_GLOBAL)) === (PAGE_PRESENT | PAGE_GLOBAL)
export const entryNx = (hi: number): boolean => (hi & PAGE_NX_HI) !== 0

// What Linux asks (arch/x86/include/asm/pgtable.h). The *None family forgives stray A and D bits: a CPU erratum can
// leave them in an entry that was just cleared.
export const pteNone = (lo: number, hi: number): boolean =>
  (lo & ~(PAGE_ACCESSED | PAGE_DIRTY)) === 0 && hi === 0
export const pmdNone = pteNone
export const pudNone = pteNone
export const p4dNone = pteNone
/** The top level of five-level paging compares exactly. */
export const pgdNone = (lo: number, hi: number): boolean => lo === 0 && hi === 0

/** P, or the PROT_NONE marker. */
export const ptePresent = (lo: number): boolean => (lo & (PAGE_PRESENT | PAGE_PROTNONE)) !== 0
/** The PROT_NONE marker on an entry that hardware sees as absent. */
export const pteProtnone = (lo: number): boolean => (lo & (PAGE_PRESENT | PAGE_PROTNONE)) === PAGE_PROTNONE
/** May some TLB still hold this entry? `flushPending`: this mm has a flush under way. */
export const pteAccessible = (lo: number, flushPending: boolean): boolean =>
  entryPresent(lo) || (flushPending && pteProtnone(lo))
/** P, the marker, or PS: a huge page being split keeps PS while P is briefly clear. */
export const pmdPresent = (lo: number): boolean => (lo & (PAGE_PRESENT | PAGE_PROTNONE | PAGE_PSE)) !== 0
export const pudPresent = entryPresent
export const p4dPresent = entryPresent
export const pgdPresent = entryPresent
export const pmdLeaf = (lo: number): boolean => (lo & PAGE_PSE) !== 0
export const pudLeaf = pmdLeaf

/** Not what a kernel writes for a page table: huge, NX, read-only and soft bits all count. */
export const pmdBad = (lo: number, hi: number): boolean =>
  (lo & PAGE_FLAGS_LO & ~(PAGE_USER | PAGE_ACCESSED)) !== (BASE_TABLE & ~PAGE_ACCESSED) || entryFlagsHi(hi) !== 0
/** Linux 4.6: only U may differ, so A must be set. */
export const pmdBadLinux46 = (lo: number, hi: number): boolean =>
  (lo & PAGE_FLAGS_LO & ~PAGE_USER) !== BASE_TABLE || entryFlagsHi(hi) !== 0
/** Any flag outside P, W, U, A, D. */
export const pudBad = (lo: number, hi: number): boolean =>
  (lo & PAGE_FLAGS_LO & ~(BASE_TABLE | PAGE_USER)) !== 0 || entryFlagsHi(hi) !== 0
/** As pudBad, but NX is fine: page-table isolation sets it in user slots of kernel roots. The same for pgd. */
export const p4dBad = (lo: number, hi: number): boolean => pudBad(lo, hi & ~PAGE_NX_HI)
export const pgdBad = (lo: number, hi: number): boolean =>
  (lo & PAGE_FLAGS_LO & ~PAGE_USER) !== BASE_TABLE || entryFlagsHi(hi & ~PAGE_NX_HI) !== 0
/** Linux 4.6: not empty, and not a present table: absent hugetlb entries count as huge. */
export const pmdHuge = (lo: number, hi: number): boolean =>
  !pmdNone(lo, hi) && (lo & (PAGE_PRESENT | PAGE_PSE)) !== PAGE_PRESENT

const FLAG_WORDS: readonly (readonly [number, string])[] = [
  [PAGE_PRESENT, 'P'], [PAGE_RW, 'W'], [PAGE_USER, 'U'], [PAGE_PWT, 'PWT'], [PAGE_PCD, 'PCD'],
  [PAGE_ACCESSED, 'A'], [PAGE_DIRTY, 'D'], [PAGE_SPECIAL, 'special'], [PAGE_UFFD_WP, 'uffd-wp'],
  [PAGE_SOFT_DIRTY, 'soft-dirty'],
]

/** The entry in words, as dumps print it: `pfn 0x00042  P W U A`, `none`, `pfn 0x00090  A PROTNONE`. */
export function describeEntry(lo: number, hi: number, level: number, pageShift = 12): string {
  if (pteNone(lo, hi)) return 'none'
  const words = FLAG_WORDS.filter(([bit]) => (lo & bit) !== 0).map(([, word]) => word)
  const large = level < LEVEL_PTE && (lo & PAGE_PSE) !== 0
  if ((lo & PAGE_PSE) !== 0) words.push(level === LEVEL_PTE ? 'PAT' : 'PS')
  if (large && (lo & PAGE_PAT_LARGE) !== 0) words.push('PAT')
  if ((lo & PAGE_GLOBAL) !== 0) words.push(entryPresent(lo) ? 'G' : 'PROTNONE')
  if ((hi & PAGE_SOFTW4_HI) !== 0) words.push('soft57')
  if ((hi & PAGE_SAVED_DIRTY_HI) !== 0) words.push('saved-dirty')
  if (entryNx(hi)) words.push('NX')
  const pfn = entryPfn(large ? lo & ~PAGE_PAT_LARGE : lo, hi & PFN_HI_MASK, pageShift)
  return `pfn ${hexNumber(pfn, 5)}  ${words.join(' ')}`.trimEnd()
}
