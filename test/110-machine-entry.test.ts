// Page-table entries as two words: every single bit, the frame number, Linux's predicates, words.

import { describe, expect, test } from 'vitest'
import * as entry from '../src/machine/entry.js'
import { LEVEL_PMD, LEVEL_PTE, LEVEL_PUD } from '../src/machine/geometry.js'

const BITS = Array.from({ length: 32 }, (_, bit) => 1 << bit)
/** Bit numbers of the low word for which a predicate is true when only that bit is set. */
const trueFor = (predicate: (lo: number) => boolean): number[] =>
  BITS.flatMap((word, bit) => (predicate(word) ? [bit] : []))

describe('flags of an entry', () => {
  test('hardware predicates look at exactly their own bit', () => {
    expect(trueFor(entry.entryPresent)).toEqual([0])
    expect(trueFor(entry.entryWritable)).toEqual([1])
    expect(trueFor(entry.entryUser)).toEqual([2])
    expect(trueFor(entry.entryAccessed)).toEqual([5])
    expect(trueFor(entry.entryDirty)).toEqual([6])
    expect(BITS.flatMap((word, bit) => (entry.entryNx(word) ? [bit] : []))).toEqual([31])
    expect(trueFor((lo) => entry.entryGlobal(lo | entry.PAGE_PRESENT))).toEqual([8])
    expect(trueFor((lo) => entry.entryGlobal(lo & ~entry.PAGE_PRESENT))).toEqual([])
  })

  test('every named flag is one bit, at the place the manual gives it', () => {
    expect([
      entry.PAGE_PRESENT, entry.PAGE_RW, entry.PAGE_USER, entry.PAGE_PWT, entry.PAGE_PCD, entry.PAGE_ACCESSED,
      entry.PAGE_DIRTY, entry.PAGE_PSE, entry.PAGE_GLOBAL, entry.PAGE_SPECIAL, entry.PAGE_UFFD_WP,
      entry.PAGE_SOFT_DIRTY, entry.PAGE_PAT_LARGE,
    ]).toEqual(BITS.slice(0, 13))
    expect([entry.PAGE_SOFTW4_HI, entry.PAGE_SAVED_DIRTY_HI, entry.PAGE_NX_HI]).toEqual([BITS[25], BITS[26], BITS[31]])
    expect([entry.PAGE_PROTNONE, entry.PAGE_PAT]).toEqual([BITS[8], BITS[7]])
  })

  test('a frame number goes in and comes out whole, for every bit and both page sizes', () => {
    for (const pageShift of [12, 14]) {
      for (const pfn of [...BITS.map((word) => word >>> 0), 0, 0xffffffff, 0xb17]) {
        const lo = entry.makeEntryLo(pfn, entry.PAGE_PRESENT | entry.PAGE_SOFT_DIRTY, pageShift)
        const hi = entry.makeEntryHi(pfn, entry.PAGE_NX_HI, pageShift)
        expect(entry.entryPfn(lo, hi & entry.PFN_HI_MASK, pageShift)).toBe(pfn)
        expect(entry.entryFlagsLo(lo)).toBe(entry.PAGE_PRESENT | entry.PAGE_SOFT_DIRTY)
      }
    }
  })

  test('bit 12 of a large leaf is PAT and not part of its frame', () => {
    const lo = entry.makeEntryLo(0x400, entry.PAGE_PRESENT | entry.PAGE_PSE | entry.PAGE_PAT_LARGE, 12)
    expect(entry.leafPfn(lo, 0, 12, 21)).toBe(0x400)
    expect(entry.leafPfn(lo, 0x40, 12, 30)).toBe(0x4000000)
  })
})

describe('predicates of Linux', () => {
  test('an entry with nothing but stray A and D bits is none, except at the top of five levels', () => {
    expect(trueFor((lo) => entry.pteNone(lo, 0))).toEqual([5, 6])
    expect(entry.pteNone(entry.PAGE_ACCESSED | entry.PAGE_DIRTY, 0)).toBe(true)
    expect(BITS.some((hi) => entry.pteNone(0, hi))).toBe(false)
    expect(trueFor((lo) => entry.pgdNone(lo, 0))).toEqual([])
    expect(entry.pgdNone(0, 0)).toBe(true)
  })

  test('present means P or the PROT_NONE marker; for a pmd also PS; for a pud only P', () => {
    expect(trueFor(entry.ptePresent)).toEqual([0, 8])
    expect(trueFor(entry.pmdPresent)).toEqual([0, 7, 8])
    expect(trueFor(entry.pudPresent)).toEqual([0])
    expect(trueFor(entry.pteProtnone)).toEqual([8])
    expect(entry.pteProtnone(entry.PAGE_PRESENT | entry.PAGE_GLOBAL)).toBe(false)
  })

  test('a PROT_NONE entry is reachable only while its mm has a flush pending', () => {
    expect(entry.pteAccessible(entry.PAGE_NONE.lo, false)).toBe(false)
    expect(entry.pteAccessible(entry.PAGE_NONE.lo, true)).toBe(true)
    expect(entry.pteAccessible(entry.PAGE_PRESENT, false)).toBe(true)
  })

  test('a pmd is bad when anything but U and A differs from P, W, D', () => {
    const good = entry.TABLE_KERNEL.lo
    const changed = BITS.flatMap((word, bit) => (entry.pmdBad(good ^ word, 0) ? [bit] : []))
    expect(changed).toEqual([0, 1, 3, 4, 6, 7, 8, 9, 10, 11])
    expect(entry.pmdBad(entry.TABLE_USER.lo, 0)).toBe(false)
    expect(entry.pmdBad(good, entry.PAGE_NX_HI)).toBe(true)
    expect(BITS.flatMap((word, bit) => (entry.pmdBadLinux46(good ^ word, 0) ? [bit] : []))).toContain(5)
  })

  test('a pud tolerates any mixture of P, W, U, A, D and nothing else', () => {
    expect(trueFor((lo) => entry.pudBad(lo, 0))).toEqual([3, 4, 7, 8, 9, 10, 11])
    expect(entry.pudBad(0, entry.PAGE_NX_HI)).toBe(true)
    expect(entry.pgdBad(entry.TABLE_USER.lo, 0)).toBe(false)
    expect(entry.pgdBad(entry.TABLE_USER.lo & ~entry.PAGE_ACCESSED, 0)).toBe(true)
  })

  test('standard protections never give write permission to a private page', () => {
    expect(entry.entryWritable(entry.PAGE_COPY.lo)).toBe(false)
    expect(entry.PAGE_SHARED).toEqual({ lo: 0x27, hi: entry.PAGE_NX_HI })
    expect(entry.PAGE_READONLY_EXEC).toEqual({ lo: 0x25, hi: 0 })
    expect(entry.PAGE_NONE).toEqual({ lo: 0x120, hi: 0 })
    expect([entry.TABLE_KERNEL.lo, entry.TABLE_USER.lo]).toEqual([0x63, 0x67])
    expect([entry.PAGE_KERNEL.lo, entry.PAGE_KERNEL_ROX.lo]).toEqual([0x163, 0x121])
  })
})

describe('an entry in words', () => {
  test('flags by name, a frame in hex', () => {
    expect(entry.describeEntry(0x42067, 0, LEVEL_PUD)).toBe('pfn 0x00042  P W U A D')
    expect(entry.describeEntry(0x90025, entry.PAGE_NX_HI, LEVEL_PTE)).toBe('pfn 0x00090  P U A NX')
    expect(entry.describeEntry(0x4010e3 | 0x1000, 0, LEVEL_PMD)).toBe('pfn 0x00400  P W A D PS PAT')
    expect(entry.describeEntry(0x90080 | 1, 0, LEVEL_PTE)).toBe('pfn 0x00090  P PAT')
    expect(entry.describeEntry(0x163, 0, LEVEL_PTE)).toBe('pfn 0x00000  P W A D G')
  })

  test('absent entries', () => {
    expect(entry.describeEntry(0, 0, LEVEL_PTE)).toBe('none')
    expect(entry.describeEntry(entry.PAGE_ACCESSED, 0, LEVEL_PTE)).toBe('none')
    expect(entry.describeEntry(0x90120, 0, LEVEL_PTE)).toBe('pfn 0x00090  A PROTNONE')
  })
})
