// Addresses as page numbers and as text. Page numbers have at most 52 bits, so they are exact.

import { hex64 } from '../base/units.js'
import type { Geometry } from '../machine/geometry.js'

export interface Address {
  hi: number
  lo: number
}

export function vpnOf({ pageShift }: Geometry, { hi, lo }: Address): number {
  return (hi >>> 0) * 2 ** (32 - pageShift) + ((lo >>> 0) >>> pageShift)
}

export function addressOf({ pageShift }: Geometry, vpn: number): Address {
  const perHalf = 2 ** (32 - pageShift)
  const hi = Math.floor(vpn / perHalf)
  return { hi, lo: (vpn - hi * perHalf) * 2 ** pageShift }
}

/** `0x0000000010004000`. */
export function pageText(geometry: Geometry, vpn: number): string {
  const { hi, lo } = addressOf(geometry, vpn)
  return hex64(hi, lo)
}

/** The page of `0x...`; undefined when the text is no address. */
export function pageFromText(geometry: Geometry, text: string): number | undefined {
  const digits = /^(?:0x)?([0-9a-f]{1,16})$/i.exec(text.trim())?.[1]
  if (digits === undefined) return undefined
  const padded = digits.padStart(16, '0')
  return vpnOf(geometry, { hi: Number.parseInt(padded.slice(0, 8), 16), lo: Number.parseInt(padded.slice(8), 16) })
}
