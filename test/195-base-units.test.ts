// Numbers as text and bits: 64-bit words as halves, hex, alignment, counts of bits.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import * as units from '../src/base/units.js'

const WORDS = Array.from({ length: 64 }, (_, bit) => 1n << BigInt(bit))

test('every single bit of a 64-bit word survives halves, text and back', () => {
  for (const word of [0n, ...WORDS, 2n ** 64n - 1n]) {
    const { hi, lo } = units.fromBigInt(word)
    expect(units.toBigInt(hi | 0, lo | 0)).toBe(word)
    expect(units.parse64(units.hex64(hi, lo))).toEqual({ hi, lo })
    expect(units.parse64(units.hexShort(hi | 0, lo | 0))).toEqual({ hi, lo })
    expect(units.parse64(word.toString())).toEqual({ hi, lo })
    expect(units.hexShort(hi, lo)).toBe(`0x${word.toString(16)}`)
  }
})

test('any word is printed with 16 digits', () => {
  fc.assert(fc.property(fc.bigInt(0n, 2n ** 64n - 1n), (word) => {
    const { hi, lo } = units.fromBigInt(word)
    expect(units.hex64(hi, lo)).toBe(`0x${word.toString(16).padStart(16, '0')}`)
  }))
})

test.each(['', '0x', '0x1_0', '-1', '1.5', '0x11111111111111111', '18446744073709551616', 'ten'])(
  '%o is no 64-bit number', (text) => expect(units.parse64(text)).toBeUndefined())

test('numbers up to 2^53 are words', () => {
  for (const value of [0, 1, 2 ** 32 - 1, 2 ** 32, 2 ** 47 + 4096, 2 ** 53 - 1]) {
    const { hi, lo } = units.fromNumber(value)
    expect(units.toNumber(hi | 0, lo | 0)).toBe(value)
  }
})

test('bits are counted and found, for every pair of bits', () => {
  expect([units.popcount32(0), units.popcount32(-1), units.lowestBit32(0)]).toEqual([0, 32, 32])
  for (let a = 0; a < 32; a++) {
    for (let b = 0; b < 32; b++) {
      const word = (1 << a) | (1 << b)
      expect([a, b, units.popcount32(word), units.lowestBit32(word)]).toEqual([a, b, a === b ? 1 : 2, Math.min(a, b)])
    }
  }
})

test('alignment holds beyond 32 bits', () => {
  expect([units.alignDown(2 ** 40 + 5, 4096), units.alignUp(2 ** 40 + 5, 4096)]).toEqual([2 ** 40, 2 ** 40 + 4096])
  expect([units.isAligned(2 ** 40, 4096), units.isAligned(2 ** 40 + 8, 4096)]).toEqual([true, false])
  expect([units.isPowerOfTwo(1), units.isPowerOfTwo(4096), units.isPowerOfTwo(0), units.isPowerOfTwo(12)])
    .toEqual([true, true, false, false])
})

test('sizes are printed in the largest unit that divides them', () => {
  expect([0, 100, 8192, 2 ** 21, 3 * 2 ** 30, 2 ** 20 + 1].map(units.formatBytes))
    .toEqual(['0', '100', '8K', '2M', '3G', '1048577'])
})
