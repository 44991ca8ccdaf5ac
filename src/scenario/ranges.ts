// The memory that an operation names: `area: buf, offset: 4K, pages: 2` or `at: 0xb17000` as an
// AreaRef of the kernel's interface, with every check that does not need the run: known names,
// alignment, length, user addresses only.

import type { AreaRef } from '../kernel/abi.js'
import { userAddress, type AddressSpace, type VisibleAreas } from './address-space.js'
import type { Names } from './names.js'
import type { RawRange } from './schema-operations.js'
import { suggestionLines } from './suggest.js'
import { hex64, parseSize, parseU64, toU64, U64_PATTERN } from './values.js'
import type { Path, YamlSource } from './yaml-source.js'

/** Bytes of a data access. */
export const WORD_BYTES = 8
const NO_AREAS = 'no area has a name here; expected "- mmap: {name: ...}" before'
const WORD_ALIGNED_HINT = `expected a multiple of ${WORD_BYTES}`

export interface RangeRules {
  /**
   * word: one aligned 64-bit word. touch: any address; without a length a single access.
   * pages: page aligned, the length given or (for an area) to its end.
   */
  kind: 'word' | 'touch' | 'pages'
  /** The call is meant to fail: alignment and user range are not checked. */
  mayFail?: boolean
}

export interface RangeContext {
  source: YamlSource
  space: AddressSpace
  names: Names
  areas: VisibleAreas
  /** Why an area that is mapped elsewhere in the scenario is unknown here, or undefined. */
  whyUnknown: (area: string) => string | undefined
}

export type RawPlace = string | number | RawRange

/** `buf`, `0xb17000` or a map, as the map. */
export function rangeOf(raw: RawPlace): RawRange {
  if (typeof raw === 'object') return raw
  return typeof raw === 'number' || U64_PATTERN.test(raw) ? { at: raw } : { area: raw }
}

export function compileRange(context: RangeContext, raw: RawPlace, path: Path, rules: RangeRules): AreaRef {
  const { source } = context
  const range = rangeOf(raw)
  const inMap = typeof raw === 'object'
  const at = (key: string): Path => inMap ? [...path, key] : path
  if ((range.area === undefined) === (range.at === undefined)) {
    const message = range.area === undefined
      ? 'which memory? Neither area nor at is given' : 'area and at exclude each other'
    throw source.error(message, path, ['expected "area: <name>" or "at: <address>"'], 'key')
  }
  if (range.pages !== undefined && range.bytes !== undefined) {
    throw source.error('pages and bytes exclude each other', at('bytes'), ['give the length once'])
  }
  const offset = parseSize(range.offset ?? 0)
  const given = range.pages !== undefined ? range.pages * context.space.pageBytes
    : range.bytes !== undefined ? parseSize(range.bytes) : undefined
  if (given === 0 && !rules.mayFail) {
    throw source.error('the length is zero', at('bytes'), ['expected at least one byte'])
  }
  checkAlignment(context, range, at, rules)
  return range.area !== undefined
    ? areaRange(context, range.area, offset, given, at, rules)
    : absoluteRange(context, range.at!, offset, given, at, rules)
}

function areaRange(
  context: RangeContext, name: string, offset: number, given: number | undefined, at: (key: string) => Path,
  rules: RangeRules,
): AreaRef {
  const { source, areas } = context
  if (!areas.has(name)) {
    const why = context.whyUnknown(name)
    throw why === undefined
      ? source.error(`unknown area "${name}"`, at('area'), suggestionLines(name, areas.names(), undefined, NO_AREAS))
      : source.error(`the area "${name}" is not mapped here: ${why}`, at('area'))
  }
  const bytes = rules.kind === 'word' ? WORD_BYTES : given ?? 0
  const largest = areas.maxBytes(name)
  if (!rules.mayFail && offset + Math.max(bytes, 1) > largest) {
    const last = offset + Math.max(bytes, 1) - 1
    throw source.error(`the area "${name}" has ${largest} bytes; byte ${last} is beyond its end`,
      given === undefined ? at('offset') : at('area'), ['to go beyond on purpose, give an address with "at:"'])
  }
  return { area: context.names.area(name), address: { hi: 0, lo: 0 }, offset, bytes }
}

function absoluteRange(
  context: RangeContext, text: number | string, offset: number, given: number | undefined, at: (key: string) => Path,
  rules: RangeRules,
): AreaRef {
  const { source, space } = context
  if (rules.kind === 'pages' && given === undefined) {
    throw source.error('an absolute range needs a length', at('at'), ['expected "pages: <n>" or "bytes: <n>"'])
  }
  const bytes = given ?? WORD_BYTES
  const start = parseU64(text)
  if (rules.mayFail) {
    if (start >> 64n !== 0n) throw source.error(`${hex64(start)} does not fit into 64 bits`, at('at'))
  } else {
    userAddress(source, space, text, offset + bytes, at('at'))
  }
  return { area: -1, address: toU64(start), offset, bytes: Math.max(bytes, 1) }
}

function checkAlignment(context: RangeContext, range: RawRange, at: (key: string) => Path, rules: RangeRules): void {
  if (rules.mayFail || rules.kind === 'touch') return
  const unit = rules.kind === 'word' ? WORD_BYTES : context.space.pageBytes
  const hint = rules.kind === 'word' ? WORD_ALIGNED_HINT : `expected a multiple of the page size, ${unit}`
  for (const key of ['at', 'offset'] as const) {
    const text = range[key]
    if (text === undefined) continue
    const value = key === 'at' ? parseU64(text) : BigInt(parseSize(text))
    if (value % BigInt(unit) !== 0n) {
      const what = key === 'at' ? `the address ${hex64(value)}` : `the offset ${value}`
      const start = hex64(value - value % BigInt(unit))
      throw context.source.error(`${what} is not aligned`, at(key),
        [hint, key === 'at' ? `the nearest below is ${start}` : ''].filter(Boolean))
    }
  }
}
