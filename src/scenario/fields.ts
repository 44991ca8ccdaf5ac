// The building blocks of the scenario schema: numbers, names and maps whose error messages say
// what was found, what was expected and what was probably meant. A message may have several
// lines: the first is the problem, the others are details (see schema-errors.ts).

import { z } from 'zod'
import { suggestionLines } from './suggest.js'
import {
  COMM_PATTERN, DURATION_PATTERN, NAME_PATTERN, PLACE_PATTERN, SIZE_PATTERN, TLB_ARRAY_PATTERN, U64_PATTERN,
} from './values.js'

export const MAX_COUNT = 2 ** 31 - 1
/** Cycles; about five minutes at 3 GHz. */
export const MAX_CYCLES = 1e12
const KEYS_LISTED = 12

/** What a value looks like in a message. */
export function describeValue(value: unknown): string {
  if (value === null) return 'nothing'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'a map'
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value)
  return text.length > 60 ? `${text.slice(0, 57)}...` : text
}

/** The `error` option of a zod schema: "expected <expected>, found <value>". */
export function wants(expected: string): { error: (issue: { input?: unknown }) => string } {
  return { error: (issue) => `expected ${expected}, found ${describeValue(issue.input)}` }
}

/** A map with exactly these keys. `noun` names a key in messages: "unknown key", "unknown operation". */
export function keys<Shape extends z.ZodRawShape>(shape: Shape, noun = 'key', hint?: (issue: KeyIssue) => string[]) {
  const names = Object.keys(shape)
  return z.strictObject(shape, {
    error: (issue) => {
      if (issue.code !== 'unrecognized_keys') {
        const listed = names.slice(0, KEYS_LISTED).join(', ') + (names.length > KEYS_LISTED ? ', ...' : '')
        return `expected a map, found ${describeValue(issue.input)}\nits keys: ${listed}`
      }
      const unknown = (issue as unknown as KeyIssue).keys[0]!
      const hints = hint?.(issue as unknown as KeyIssue) ?? []
      return [`unknown ${noun} "${unknown}"`, ...hints, ...suggestionLines(unknown, names, 60)].join('\n')
    },
  })
}

export interface KeyIssue {
  keys: string[]
  input: unknown
}

/** One of a closed set of words. */
export function oneOf<const Names extends readonly string[]>(what: string, names: Names) {
  return z.enum(names, {
    error: (issue) => {
      if (typeof issue.input !== 'string') return `expected ${what}, found ${describeValue(issue.input)}\n`
        + `expected one of: ${names.join(', ')}`
      return [`unknown ${what} "${issue.input}"`, ...suggestionLines(issue.input, names)].join('\n')
    },
  })
}

export function integer(min: number, max: number, unit = '') {
  const wording = wants(`an integer from ${min} to ${max}${unit === '' ? '' : ` ${unit}`}`)
  return z.int(wording).min(min, wording).max(max, wording)
}

const wantsSwitch = wants('true or false')
export const flag = z.boolean(wantsSwitch)
export const text = z.string(wants('text (quote it if it looks like a number)')).min(1, wants('text'))

/** Both members of such a union give the same message, so it does not matter which one zod reports. */
function numberOrText(expected: string, title: string, pattern: RegExp, min = 0, max = Number.MAX_SAFE_INTEGER) {
  const wording = { error: ({ input }: { input?: unknown }) =>
    [`expected ${expected}, found ${describeValue(input)}`, ...respelled(input, pattern)].join('\n') }
  const number = z.int(wording).min(min, wording).max(max, wording)
  return z.union([number, z.string(wording).regex(pattern, wording)], wording).meta({ title })
}

/** What a number that nearly fits was meant to be: 0xb1_7000, b17000, 256m, 4MiB, 10 M, 010. */
function respelled(input: unknown, pattern: RegExp): string[] {
  if (typeof input !== 'string' || !/[0-9]/.test(input)) return []
  const plain = input.replaceAll(/[_\s]/g, '')
  const shortUnit = plain.replace(/([kmg])(?:i?b)?$/i, (_, unit: string) => unit.toUpperCase())
  const variants = [plain, plain.replace(/^0+(?=[0-9])/, ''), shortUnit, `0x${plain}`]
  const meant = variants.find((variant) => variant !== input && pattern.test(variant) && /^[0-9]/.test(variant))
  return meant === undefined ? [] : [`did you mean ${meant}?`]
}

export const size = numberOrText(
  'a size in bytes: a number, hexadecimal, or with K, M or G (64K, 2M)', 'size', SIZE_PATTERN)
export const u64 = numberOrText('an unsigned 64-bit number, decimal or hexadecimal', '64-bit number', U64_PATTERN)
export const duration = numberOrText(
  "a duration: cycles, or text such as '10us', '3ms', '250ns'", 'duration', DURATION_PATTERN, 0, MAX_CYCLES)
export const tlbArray = numberOrText(
  "entries and ways as '64/4'; '64' alone is fully associative", "'entries/ways'", TLB_ARRAY_PATTERN, 1, 999_999)
/** An area by name, or an absolute address. */
export const place = numberOrText('the name of an area, or an address', 'area name or address', PLACE_PATTERN)

const wantsName = wants('a name (a letter, then letters, digits, "_", "-" or ".")')
export const name = z.string(wantsName).regex(NAME_PATTERN, wantsName).meta({ title: 'name' })

const wantsComm = wants('a task name: 1 to 15 printable characters without spaces')
export const comm = z.string(wantsComm).regex(COMM_PATTERN, wantsComm).meta({ title: 'task name' })

/** A list with at least one element. */
export function some<Item extends z.ZodType>(item: Item, what: string) {
  const wording = wants(`a list of ${what}`)
  return z.array(item, wording).min(1, { error: `the list of ${what} is empty` })
}
