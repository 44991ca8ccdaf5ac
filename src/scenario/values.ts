// How a scenario writes numbers: sizes (64K), 64-bit addresses and values, durations (10us) and
// TLB arrays (64/8). The patterns are the schema's; the functions turn a value that matches its
// pattern into what the kernel takes. Range and alignment are the compiler's business. No pattern
// lets a leading zero through (yaml-source.ts says why).

import type { U64 } from '../kernel/abi.js'
import type { TlbArrayConfig } from '../machine/config.js'
import { assert } from '../base/assert.js'

export const SIZE_PATTERN = /^(?:0[xX][0-9a-fA-F]{1,13}|(?!0[0-9])[0-9]{1,15}[KMG]?)$/
export const U64_PATTERN = /^(?:0[xX][0-9a-fA-F]+|(?!0[0-9])[0-9]+)$/
export const DURATION_PATTERN = /^(?!0[0-9])[0-9]{1,15}(?:\.[0-9]{1,9})? ?(?:cycles|ns|us|ms|s)$/
export const TLB_ARRAY_PATTERN = /^[1-9][0-9]{0,5}(?:\/[1-9][0-9]{0,5})?$/
/** Areas, flags and barriers. Never mistaken for an address. */
export const NAME_PATTERN = /^[A-Za-z_][A-Za-z0-9_.-]{0,63}$/
export const PLACE_PATTERN = new RegExp(`${U64_PATTERN.source}|${NAME_PATTERN.source}`)
/** A comm: printable ASCII without spaces, as traces separate fields by them. */
export const COMM_PATTERN = /^[\x21-\x7e]{1,15}$/

const SIZE_UNITS: Record<string, number> = { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 }
const NANOSECONDS: Record<string, number> = { ns: 1, us: 1e3, ms: 1e6, s: 1e9 }

/** Bytes. */
export function parseSize(text: number | string): number {
  if (typeof text === 'number') return text
  assert(SIZE_PATTERN.test(text), `a size that the schema let through: ${text}`)
  const unit = SIZE_UNITS[text.at(-1)!]
  return unit === undefined || /^0x/i.test(text) ? Number(text) : Number(text.slice(0, -1)) * unit
}

/** An exact unsigned integer; it may exceed 64 bits, which is the caller's to refuse. */
export function parseU64(text: number | string): bigint {
  return BigInt(text)
}

export function toU64(value: bigint): U64 {
  return { hi: Number((value >> 32n) & 0xffff_ffffn), lo: Number(value & 0xffff_ffffn) }
}

/** `0x` and 16 digits. */
export function hex64(value: bigint): string {
  return `0x${value.toString(16).padStart(16, '0')}`
}

/** Cycles at `frequencyGhz`, rounded to the nearest; a plain number is cycles already. */
export function parseDuration(text: number | string, frequencyGhz: number): number {
  if (typeof text === 'number') return text
  assert(DURATION_PATTERN.test(text), `a duration that the schema let through: ${text}`)
  return toCycles(Number.parseFloat(text), text.replace(/^[0-9.]+ ?/, ''), frequencyGhz)
}

/** Cycles in `value` of a unit of time, or of `cycles`, rounded to the nearest. */
export function toCycles(value: number, unit: string, frequencyGhz: number): number {
  return Math.round(unit === 'cycles' ? value : value * NANOSECONDS[unit]! * frequencyGhz)
}

/** `entries/ways`; `entries` alone is fully associative. Undefined when the ways do not divide the entries. */
export function parseTlbArray(text: number | string): TlbArrayConfig | undefined {
  const [entries, ways] = String(text).split('/').map(Number)
  const array = { entries: entries!, ways: ways ?? entries! }
  return array.entries % array.ways === 0 ? array : undefined
}
