// How an address splits into table indices and an offset, drawn for any geometry:
//
//    63              48 47       39 38       30 29       21 20       12 11          0
//   +------------------+-----------+-----------+-----------+-----------+--------------+
//   | 0000000000000000 | 000000000 | 000000000 | 000000101 | 100010111 | 000000010000 |
//   +------------------+-----------+-----------+-----------+-----------+--------------+
//          sign             pgd         pud         pmd         pte         offset
//
// and below it one line for each of the five names, folded ones included. What the tables of a
// live simulation make of the address is in explain-walk.ts.

import { formatBytes, hex64, hexNumber, toBigInt } from '../base/units.js'
import type { Geometry } from '../machine/geometry.js'
import { entriesAt, indexAt, isCanonical, lowestNameSharing, LEVEL_NAMES, offsetInPage } from '../machine/geometry.js'

/** One field of an address. */
interface Field {
  name: string
  /** Highest and lowest bit. */
  high: number
  low: number
}

/** The drawing and the list of names. Text of several lines that ends in a newline. */
export function explainAddress(geometry: Geometry, hi: number, lo: number): string {
  const fields = fieldsOf(geometry)
  return [
    `${hex64(hi, lo)}  ${titleOf(geometry)}`,
    `${judge(geometry, hi, lo)}`,
    '',
    ...draw(fields, toBigInt(hi, lo)),
    '',
    ...nameLines(geometry, hi, lo),
    '',
  ].join('\n')
}

/** `x86-64: 4 levels, 48 of 64 address bits are translated, 4K pages, 8-byte entries`. */
function titleOf(g: Geometry): string {
  const levels = g.levels.filter((level) => !level.folded).length
  const bits = g.canonical ? `${g.vaBits} of 64 address bits are translated` : `${g.vaBits}-bit addresses`
  return `${g.name}: ${levels} levels, ${bits}, ${formatBytes(2 ** g.pageShift)} pages, ${g.entryBytes}-byte entries`
}

function judge(g: Geometry, hi: number, lo: number): string {
  const top = g.vaBits - 1
  if (!g.canonical) {
    return hi === 0 ? 'every 32-bit address is valid' : 'not an address: bits 63..32 do not exist here'
  }
  if (!isCanonical(g, hi, lo)) {
    return `not canonical: bits 63..${top} differ; an access raises #GP and reads no table`
  }
  const sign = hi >>> 31
  return `canonical: bits 63..${top} are all ${sign}, so it lies in the ${sign === 0 ? 'lower' : 'upper'} half`
}

/** The fields from the top bit down; folded levels have no bits. */
function fieldsOf(g: Geometry): Field[] {
  const fields: Field[] = g.canonical ? [{ name: 'sign', high: 63, low: g.vaBits }] : []
  for (const level of g.levels) {
    if (!level.folded) fields.push({ name: level.name, high: level.shift + level.bits - 1, low: level.shift })
  }
  return [...fields, { name: 'offset', high: g.pageShift - 1, low: 0 }]
}

function draw(fields: readonly Field[], address: bigint): string[] {
  const cells = fields.map((field) => {
    const bits = field.high - field.low + 1
    const digits = BigInt.asUintN(bits, address >> BigInt(field.low)).toString(2).padStart(bits, '0')
    const width = Math.max(digits.length, field.name.length, `${field.high} ${field.low}`.length)
    return { ...field, digits, width }
  })
  const rule = `+${cells.map(({ width }) => '-'.repeat(width + 2)).join('+')}+`
  const numbers = cells.map(({ high, low, width }) => (
    high === low ? ` ${String(high).padEnd(width)} ` : ` ${high}${String(low).padStart(width - String(high).length)} `))
  return [
    ` ${numbers.join(' ')}`.trimEnd(),
    rule,
    `|${cells.map(({ digits, width }) => ` ${centred(digits, width)} `).join('|')}|`,
    rule,
    ` ${cells.map(({ name, width }) => ` ${centred(name, width)} `).join(' ')}`.trimEnd(),
  ]
}

function nameLines(g: Geometry, hi: number, lo: number): string[] {
  const lines = g.levels.map((level, index) => {
    const name = level.name.padEnd(6)
    if (level.folded) return `${name}  folded: it shares the table and the slot of ${LEVEL_NAMES[ownerOf(g, index)]}`
    const bits = bitRange(level.shift + level.bits - 1, level.shift)
    const slot = String(indexAt(g, index, hi, lo)).padStart(4)
    const leaf = level.leaf && level.name !== 'pte' ? ', may map a page of that size' : ''
    return `${name}  ${bits}  slot ${slot} of ${entriesAt(g, index)}, each covers ${span(level.shift)}${leaf}` +
      predicates(g, index)
  })
  const offset = offsetInPage(g, lo)
  return [...lines, `offset  ${bitRange(g.pageShift - 1, 0)}  ${hexNumber(offset, 3)}, byte ${offset} of the page`]
}

/** The level whose storage a folded one shares: the next above with a table, or for the top names the first below. */
function ownerOf(g: Geometry, folded: number): number {
  let owner = folded
  while (owner > 0 && g.levels[owner]!.folded) owner--
  return g.levels[owner]!.folded ? g.topLevel : owner
}

/** Where Linux tests this level's entries under another name. */
function predicates(g: Geometry, level: number): string {
  const lowest = lowestNameSharing(g, level)
  return lowest === level ? '' : `; tested as ${LEVEL_NAMES[lowest]}`
}

/** Bytes that an entry covers; five levels reach 256T. */
function span(shift: number): string {
  return shift < 40 ? formatBytes(2 ** shift) : `${2 ** (shift - 40)}T`
}

function bitRange(high: number, low: number): string {
  return `bits ${String(high).padStart(2)}..${low}`.padEnd(11)
}

function centred(text: string, width: number): string {
  const left = Math.floor((width - text.length) / 2)
  return text.padStart(text.length + left).padEnd(width)
}
