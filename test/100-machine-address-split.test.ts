// How an address splits into indices, in every geometry, with folded levels; which addresses are
// canonical. Vectors: the kernel specification, 1.2 and 1.3.

import { describe, expect, test } from 'vitest'
import { fromBigInt } from '../src/base/units.js'
import { GEOMETRY_NAMES, type GeometryName } from '../src/machine/config.js'
import {
  entriesAt, geometryOf, indexAt, isCanonical, LEVEL_NAMES, lowestNameSharing, nextLevel, offsetInPage, pagesPerEntry,
  splitAddress,
} from '../src/machine/geometry.js'

function split(name: GeometryName, address: bigint): string {
  const g = geometryOf(name)
  const { hi, lo } = fromBigInt(address)
  const parts = splitAddress(g, hi, lo).filter((part) => !part.folded)
  return `${parts.map((part) => `${part.name} ${part.index}`).join(' ')} offset 0x${offsetInPage(g, lo).toString(16)}`
}

function canonical(name: GeometryName, address: bigint): boolean {
  const { hi, lo } = fromBigInt(address)
  const g = geometryOf(name)
  expect(isCanonical(g, hi | 0, lo | 0)).toBe(isCanonical(g, hi, lo))
  return isCanonical(g, hi, lo)
}

describe('the split of an address', () => {
  test('0xb17010 is pgd 0, pud 0, pmd 5, pte 279, offset 16', () => {
    expect(split('x86-64', 0xb17010n)).toBe('pgd 0 pud 0 pmd 5 pte 279 offset 0x10')
  })

  test.each([
    [0x00007fffffffefffn, 'pgd 255 pud 511 pmd 511 pte 510 offset 0xfff'],
    [0xffff880000000000n, 'pgd 272 pud 0 pmd 0 pte 0 offset 0x0'],
    [0xffff888000000000n, 'pgd 273 pud 0 pmd 0 pte 0 offset 0x0'],
    [0xffffc90000000000n, 'pgd 402 pud 0 pmd 0 pte 0 offset 0x0'],
    [0xffffea0000000000n, 'pgd 468 pud 0 pmd 0 pte 0 offset 0x0'],
    [0xffffffff81000000n, 'pgd 511 pud 510 pmd 8 pte 0 offset 0x0'],
  ])('four levels: 0x%s splits as the specification computes', (address, expected) => {
    expect(split('x86-64', address)).toBe(expected)
  })

  test.each([
    [0xff11000000000000n, 'pgd 273 p4d 0 pud 0 pmd 0 pte 0 offset 0x0'],
    [0xffffffff81000000n, 'pgd 511 p4d 511 pud 510 pmd 8 pte 0 offset 0x0'],
  ])('five levels: 0x%s has an index at every name', (address, expected) => {
    expect(split('x86-64-la57', address)).toBe(expected)
  })

  test('32-bit paging splits 10/10, PAE 2/9/9, and 16 KiB granules 11/11/11', () => {
    expect(split('i386', 0xc0101234n)).toBe('pgd 768 pte 257 offset 0x234')
    expect(split('i386-pae', 0xc0101234n)).toBe('pgd 3 pmd 0 pte 257 offset 0x234')
    expect(split('granule-16k', 0x123456789abcn)).toBe('pgd 291 pmd 555 pte 482 offset 0x1abc')
  })

  test.each(GEOMETRY_NAMES)('%s: five names always, folded ones with index 0 and the shift above', (name) => {
    const g = geometryOf(name)
    expect(g.levels.map((level) => level.name)).toEqual(LEVEL_NAMES)
    g.levels.forEach((level, index) => {
      if (!level.folded) return
      expect(indexAt(g, index, -1, -1)).toBe(0)
      expect(entriesAt(g, index)).toBe(1)
      expect(level.shift).toBe(g.levels[index - 1]!.shift)
    })
  })

  test.each(GEOMETRY_NAMES)('%s: indices and offset together are the translated bits', (name) => {
    const g = geometryOf(name)
    for (let bit = 0; bit < g.vaBits; bit++) {
      const { hi, lo } = fromBigInt(1n << BigInt(bit))
      const rebuilt = g.levels.reduce((sum, level, index) =>
        sum + (BigInt(indexAt(g, index, hi, lo)) << BigInt(level.shift)), BigInt(offsetInPage(g, lo)))
      expect(rebuilt).toBe(1n << BigInt(bit))
    }
  })

  test('tables of every level fill one page, except the four entries of PAE', () => {
    for (const name of GEOMETRY_NAMES) {
      const g = geometryOf(name)
      const sizes = g.levels.filter((level) => !level.folded).map((level) => 2 ** level.bits * g.entryBytes)
      const full = 2 ** g.pageShift
      expect(sizes).toEqual(name === 'i386-pae' ? [32, full, full] : sizes.map(() => full))
    }
  })

  test('an entry of each level covers the pages of the table below it', () => {
    const g = geometryOf('x86-64')
    expect([0, 2, 3, 4].map((level) => pagesPerEntry(g, level))).toEqual([2 ** 27, 2 ** 18, 512, 1])
    expect([nextLevel(g, 0), nextLevel(g, 2), nextLevel(g, 3)]).toEqual([2, 3, 4])
  })

  test('the real predicate of a folded level runs at the lowest name that shares its table', () => {
    expect(LEVEL_NAMES[lowestNameSharing(geometryOf('x86-64'), 0)]).toBe('p4d')
    expect(LEVEL_NAMES[lowestNameSharing(geometryOf('x86-64-la57'), 0)]).toBe('pgd')
    expect(LEVEL_NAMES[lowestNameSharing(geometryOf('i386'), 0)]).toBe('pmd')
    expect(LEVEL_NAMES[lowestNameSharing(geometryOf('i386-pae'), 0)]).toBe('pud')
  })
})

describe('canonical addresses', () => {
  test('with 48 bits, bits 63 to 47 are equal', () => {
    expect(canonical('x86-64', 0x00007fffffffffffn)).toBe(true)
    expect(canonical('x86-64', 0x0000800000000000n)).toBe(false)
    expect(canonical('x86-64', 0xffff7fffffffffffn)).toBe(false)
    expect(canonical('x86-64', 0xffff800000000000n)).toBe(true)
    expect(canonical('x86-64', 0xffffffffffffffffn)).toBe(true)
  })

  test('with 57 bits, bits 63 to 56 are equal', () => {
    expect(canonical('x86-64-la57', 0x00ffffffffffffffn)).toBe(true)
    expect(canonical('x86-64-la57', 0x0100000000000000n)).toBe(false)
    expect(canonical('x86-64-la57', 0xfeffffffffffffffn)).toBe(false)
    expect(canonical('x86-64-la57', 0xff00000000000000n)).toBe(true)
  })

  test('every single bit above the sign makes a low address non-canonical', () => {
    for (let bit = 47; bit < 64; bit++) expect(canonical('x86-64', 1n << BigInt(bit))).toBe(false)
    for (let bit = 0; bit < 47; bit++) expect(canonical('x86-64', 1n << BigInt(bit))).toBe(true)
    for (let bit = 47; bit < 64; bit++) expect(canonical('x86-64', ~(1n << BigInt(bit)))).toBe(false)
  })

  test('a 32-bit machine has no upper half', () => {
    expect(canonical('i386', 0xffffffffn)).toBe(true)
    expect(canonical('i386', 0x100000000n)).toBe(false)
  })
})
