// Plain text for people: grouped numbers, colour only where somebody looks at it. Columns: base/table.ts.
// Every host prints the same, whatever its locale.

import { styleText } from 'node:util'

export { counted, grouped } from '../base/table.js'

export type Format = 'bold' | 'dim' | 'red' | 'green' | 'yellow'
/** Puts a format on text, or leaves it alone. */
export type Style = (format: Format, text: string) => string

/** Colour on a terminal; plain in files, in pipes and with NO_COLOR. */
export function styleFor(stream: NodeJS.WriteStream): Style {
  const hasColour = stream.isTTY === true && (process.env['NO_COLOR'] ?? '') === ''
  return hasColour ? (format, text) => styleText(format, text) : (_format, text) => text
}

/** Microseconds of virtual time, two decimals. */
export function microseconds(cycles: number, frequencyGhz: number): string {
  return `${(cycles / (frequencyGhz * 1000)).toFixed(2)} us`
}

/** `part` of `whole` in percent, or `-` of nothing. */
export function percentOf(part: number, whole: number): string {
  return whole === 0 ? '-' : `${((part / whole) * 100).toFixed(2)} %`
}
