// Accesses of a program: `touch` in its forms, `store` and `load`. Recorded ones are compile-replay.ts.

import type {
  AccessKind, AreaRef, LoadInstruction, SourceLine, StoreInstruction, TouchInstruction, U64,
} from '../kernel/abi.js'
import type { ProgramSet, TaskContext } from './compile-context.js'
import { MAX_COUNT } from './fields.js'
import { compileRange, rangeOf, WORD_BYTES, type RangeContext, type RawPlace } from './ranges.js'
import type { RawOperation, RawTouch } from './schema-operations.js'
import { hex64, parseSize, parseU64, toU64 } from './values.js'
import type { Path, YamlSource } from './yaml-source.js'

type Operations = Exclude<RawOperation, string>

export interface AccessContext {
  set: ProgramSet
  task: TaskContext
  ranges: RangeContext
}

/** `fixedAccess`: the operation says itself what kind of access it is. */
export function compileTouch(
  { set, task, ranges }: AccessContext, raw: RawTouch, fixedAccess: AccessKind | undefined, at: SourceLine, path: Path,
): TouchInstruction {
  const { space, source } = set
  const options = typeof raw === 'object' ? raw : {}
  const where = compileRange(ranges, raw, path, { kind: 'touch' })
  const pattern = options.pattern ?? 'seq'
  const stride = options.stride === undefined ? space.pageBytes : parseSize(options.stride)
  if (stride < 1 || stride > MAX_COUNT) throw source.error('a stride is 1 byte to 2G - 1', [...path, 'stride'])
  if (options.access !== undefined && options.write !== undefined) {
    throw source.error('access and write exclude each other', [...path, 'write'],
      ['"write: true" is short for "access: write"'])
  }
  const bytes = knownBytes(task, raw, where)
  if (pattern === 'random' && bytes !== undefined && bytes < WORD_BYTES) {
    throw source.error(`a random pattern needs a range of at least ${WORD_BYTES} bytes`, [...path, 'pattern'])
  }
  const access = fixedAccess ?? options.access ?? (options.write === true ? 'write' : 'read')
  const count = touchCount(source, options, bytes, stride, path)
  return { op: 'touch', where, access, pattern, stride, count, seed: options.seed ?? set.seed, source: at }
}

/** Length of a range in bytes where it does not depend on the run. */
function knownBytes(task: TaskContext, raw: RawPlace, where: AreaRef): number | undefined {
  if (where.bytes > 0) return where.bytes
  const area = rangeOf(raw).area
  const whole = area === undefined ? undefined : task.areas.exactBytes(area)
  return whole === undefined ? undefined : whole - where.offset
}

function touchCount(
  source: YamlSource, options: { count?: number | undefined; passes?: number | undefined }, bytes: number | undefined,
  stride: number, path: Path,
): number {
  if (options.passes === undefined) return options.count ?? 0
  const at = [...path, 'passes']
  if (options.count !== undefined) throw source.error('count and passes exclude each other', at, ['give one of them'])
  if (bytes === undefined) {
    throw source.error('passes needs a known length, and this area is mapped with different sizes', at,
      ['give "pages" or "bytes"'])
  }
  const count = options.passes * Math.ceil(bytes / stride)
  if (count > MAX_COUNT) {
    throw source.error(`${count} accesses are too many for one operation`, at, ['put it into a repeat'])
  }
  return count
}

export function compileStore(
  { set, ranges }: AccessContext, raw: NonNullable<Operations['store']>, at: SourceLine, path: Path,
): StoreInstruction {
  const where = compileRange(ranges, raw, path, { kind: 'word' })
  return { op: 'store', where, value: word(set.source, raw.value, [...path, 'value']), source: at }
}

export function compileLoad(
  { set, ranges }: AccessContext, raw: NonNullable<Operations['load']>, at: SourceLine, path: Path,
): LoadInstruction {
  const where = compileRange(ranges, raw, path, { kind: 'word' })
  const expect = typeof raw === 'object' ? raw.expect : undefined
  const value = expect === undefined ? {} : { expect: word(set.source, expect, [...path, 'expect']) }
  return { op: 'load', where, source: at, ...value }
}

function word(source: YamlSource, raw: number | string, path: Path): U64 {
  const value = parseU64(raw)
  if (value >> 64n !== 0n) throw source.error(`${hex64(value)} does not fit into 64 bits`, path)
  return toU64(value)
}
