// Plain numbers and 64-bit words as two halves: formatting, parsing, alignment, bit counts.
// A 64-bit word travels as (hi, lo), each half any int32 or uint32 with the right bits. Nothing
// here knows about pages or entries; parsing and printing may be slow, the rest is arithmetic.

/** A 64-bit word as two unsigned halves, for parsing and printing. */
export interface Word64 {
  hi: number
  lo: number
}

const TWO_32 = 2 ** 32

/** `0x` and 16 digits: addresses. */
export function hex64(hi: number, lo: number): string {
  return `0x${hex32Digits(hi)}${hex32Digits(lo)}`
}

/** `0x` and no leading zeros: values. */
export function hexShort(hi: number, lo: number): string {
  const upper = hi >>> 0
  return upper === 0 ? `0x${(lo >>> 0).toString(16)}` : `0x${upper.toString(16)}${hex32Digits(lo)}`
}

/** `0x` and at least `digits` digits of a non-negative integer: frame numbers, masks. */
export function hexNumber(value: number, digits = 1): string {
  return `0x${value.toString(16).padStart(digits, '0')}`
}

function hex32Digits(half: number): string {
  return (half >>> 0).toString(16).padStart(8, '0')
}

const HEX = /^0[xX][0-9a-fA-F]{1,16}$/
const DECIMAL = /^[0-9]{1,20}$/

/** Reads `0x...` (1 to 16 digits) or an unsigned decimal below 2^64; undefined when it is neither. */
export function parse64(text: string): Word64 | undefined {
  if (HEX.test(text)) {
    if (text.length <= 10) return { hi: 0, lo: Number.parseInt(text, 16) }
    return { hi: Number.parseInt(text.slice(2, -8), 16), lo: Number.parseInt(text.slice(-8), 16) }
  }
  if (!DECIMAL.test(text)) return undefined
  const value = BigInt(text)
  return value >> 64n === 0n ? fromBigInt(value) : undefined
}

/** The low 64 bits of a BigInt (negative numbers as two's complement). */
export function fromBigInt(value: bigint): Word64 {
  const word = BigInt.asUintN(64, value)
  return { hi: Number(word >> 32n), lo: Number(word & 0xffff_ffffn) }
}

/** The unsigned value. */
export function toBigInt(hi: number, lo: number): bigint {
  return (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0)
}

/** A non-negative integer up to 2^53 as a word. */
export function fromNumber(value: number): Word64 {
  return { hi: Math.floor(value / TWO_32), lo: value % TWO_32 }
}

/** The value as a number; exact up to 2^53, so the caller knows that the upper 11 bits are zero. */
export function toNumber(hi: number, lo: number): number {
  return (hi >>> 0) * TWO_32 + (lo >>> 0)
}

/** Number of one bits in a 32-bit word. */
export function popcount32(word: number): number {
  let bits = word - ((word >>> 1) & 0x5555_5555)
  bits = (bits & 0x3333_3333) + ((bits >>> 2) & 0x3333_3333)
  bits = (bits + (bits >>> 4)) & 0x0f0f_0f0f
  return Math.imul(bits, 0x0101_0101) >>> 24
}

/** Number of the lowest one bit, 32 for zero. */
export function lowestBit32(word: number): number {
  return word === 0 ? 32 : 31 - Math.clz32(word & -word)
}

export function isPowerOfTwo(value: number): boolean {
  return value > 0 && Number.isInteger(Math.log2(value))
}

/** Rounds down to a multiple of `size`; any non-negative integers up to 2^53. */
export function alignDown(value: number, size: number): number {
  return value - (value % size)
}

/** Rounds up to a multiple of `size`. */
export function alignUp(value: number, size: number): number {
  return alignDown(value + size - 1, size)
}

export function isAligned(value: number, size: number): boolean {
  return value % size === 0
}

const SIZE_UNITS: readonly (readonly [string, number])[] = [
  ['G', 2 ** 30],
  ['M', 2 ** 20],
  ['K', 2 ** 10],
]

/** `8K`, `2M`, `1G`, or plain bytes when no unit divides the size. */
export function formatBytes(bytes: number): string {
  for (const [name, unit] of SIZE_UNITS) {
    if (bytes >= unit && bytes % unit === 0) return `${bytes / unit}${name}`
  }
  return `${bytes}`
}
