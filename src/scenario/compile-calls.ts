// System calls and kernel work that compile one to one: what an operation says is checked and
// becomes one instruction of kernel/abi.ts. Operations with a body, with patterns, or that define
// areas are in compile-program.ts.

import type { ErrnoName, Instruction, SourceLine } from '../kernel/abi.js'
import { MAX_COUNT, MAX_CYCLES } from './fields.js'
import type { Names } from './names.js'
import { compileRange, rangeOf, type RangeContext, type RangeRules } from './ranges.js'
import type { RawOperation } from './schema-operations.js'
import { parseDuration, parseSize, parseU64, toCycles, toU64 } from './values.js'
import type { Path, YamlSource } from './yaml-source.js'

/** What compiling a call needs to know of the program around it. */
export interface CallContext {
  source: YamlSource
  names: Names
  ranges: RangeContext
  /** The task that makes the call. */
  comm: string
  frequencyGhz: number
  pageBytes: number
  /** Checks a `cpu`/`cpus` pair; undefined when neither is given. */
  cpus: (raw: { cpu?: number | undefined; cpus?: number[] | undefined }, path: Path) => number[] | undefined
}

type RawMap = Exclude<RawOperation, string>
type Compile<Key extends keyof RawMap> =
  (context: CallContext, raw: NonNullable<RawMap[Key]>, path: Path, at: SourceLine) => Instruction

/** The calls, by operation. */
const CALLS = {
  madvise: (context, raw, path, source) => ({
    op: 'madvise', where: pages(context, raw, path), advice: raw.advice, source, ...expecting(raw.expectError),
  }),
  mremap: (context, raw, path, source) => {
    if ((raw.to !== undefined) === (raw.toPages !== undefined) && raw.to !== undefined) {
      throw context.source.error('to and toPages exclude each other', [...path, 'toPages'], ['give the length once'])
    }
    const where = pages(context, raw, path)
    const bytes = raw.toPages !== undefined ? raw.toPages * context.pageBytes
      : raw.to === undefined ? where.bytes : parseSize(raw.to)
    const area = raw.name ?? rangeOf(raw).area
    return {
      op: 'mremap', where, bytes, mayMove: raw.mayMove ?? true,
      area: area === undefined ? -1 : context.names.area(area),
      ...(raw.newAt === undefined ? {} : { at: toU64(parseU64(raw.newAt)) }), source, ...expecting(raw.expectError),
    }
  },
  migrate: (context, raw, path, source) =>
    ({ op: 'migrate', where: pages(context, raw, path), source, ...expecting(errorOf(raw)) }),
  numaHint: (context, raw, path, source) =>
    ({ op: 'numaHint', where: pages(context, raw, path), source, ...expecting(errorOf(raw)) }),
  gupFast: (context, raw, path, source) =>
    ({ op: 'gupFast', where: pages(context, raw, path), source, ...expecting(errorOf(raw)) }),
  reclaim: (_context, raw, _path, source) => ({ op: 'reclaim', pages: raw.pages, source }),
  sync: (context, raw, path, source) => ({ op: 'sync', file: context.names.file(raw, path), source }),
  truncate: (context, raw, path, source) => {
    if ((raw.pages === undefined) === (raw.bytes === undefined)) {
      throw context.source.error('truncate needs the new length exactly once', path, ['expected pages or bytes'], 'key')
    }
    const bytes = raw.pages === undefined ? parseSize(raw.bytes!) : raw.pages * context.pageBytes
    return { op: 'truncate', file: context.names.file(raw.file, [...path, 'file']), bytes, source }
  },
  modifyLdt: (_context, raw, _path, source) => ({ op: 'modifyLdt', entries: raw.entries, source }),
  vmalloc: (context, raw, path, source) => {
    if ((raw.pages === undefined) === (raw.bytes === undefined)) {
      throw context.source.error('vmalloc needs its length exactly once', path, ['expected pages or bytes'], 'key')
    }
    const bytes = raw.pages === undefined ? parseSize(raw.bytes!) : raw.pages * context.pageBytes
    if (bytes === 0) throw context.source.error('the length is zero', path, [], 'key')
    return { op: 'vmalloc', buffer: context.names.defineBuffer(raw.name), bytes, source }
  },
  vfree: (context, raw, path, source) => ({ op: 'vfree', buffer: context.names.buffer(raw, path), source }),
  kernelTouch: (context, raw, path, source) => {
    const options = typeof raw === 'string' ? { buffer: raw } : raw
    const stride = options.stride === undefined ? context.pageBytes : parseSize(options.stride)
    if (stride < 1 || stride > MAX_COUNT) {
      throw context.source.error('a stride is 1 byte to 2G - 1', [...path, 'stride'])
    }
    return {
      op: 'kernelTouch', buffer: context.names.buffer(options.buffer, path), access: options.access ?? 'read',
      offset: parseSize(options.offset ?? 0), stride, count: options.count ?? 1, source,
    }
  },
  kill: (context, raw, path, source) => {
    context.names.taskReference(raw, path)
    return { op: 'kill', comm: raw, source }
  },
  setaffinity: (context, raw, path, source) => {
    const cpus = context.cpus(raw, path)
    if (cpus === undefined) throw context.source.error('setaffinity needs a CPU', path, ['expected cpu or cpus'], 'key')
    if (raw.task !== undefined) context.names.taskReference(raw.task, [...path, 'task'])
    return { op: 'setaffinity', comm: raw.task ?? '', cpus, source }
  },
  nice: (context, raw, path, source) => {
    const options = typeof raw === 'number' ? { value: raw, task: undefined } : raw
    if (options.task !== undefined) context.names.taskReference(options.task, [...path, 'task'])
    return { op: 'nice', comm: options.task ?? '', value: options.value, source }
  },
  irqsOff: (context, raw, path, source) => ({ op: 'irqsOff', cycles: cyclesOf(context, raw, path), source }),
  compute: (context, raw, path, source) => ({ op: 'compute', cycles: cyclesOf(context, raw, path), source }),
  sleep: (context, raw, path, source) => {
    if (raw === 'forever') {
      context.names.sleepForever(context.comm, path)
      return { op: 'sleep', cycles: 0, source }
    }
    if (typeof raw !== 'object') return { op: 'sleep', cycles: cyclesOf(context, raw, path), source }
    const given = Object.entries(raw).filter(([, value]) => value !== undefined)
    if (given.length !== 1) {
      throw context.source.error('sleep needs its duration exactly once', path,
        ['expected one of: cycles, ns, us, ms'], 'key')
    }
    const [unit, value] = given[0]!
    const cycles = toCycles(value!, unit, context.frequencyGhz)
    return { op: 'sleep', cycles: cyclesOf(context, cycles, [...path, unit]), source }
  },
} satisfies { [Key in keyof RawMap]?: Compile<Key> }

/** Compiles the operation if it is one of these calls. */
export function compileCall(
  context: CallContext, key: keyof RawMap, raw: RawMap, path: Path, source: SourceLine,
): Instruction | undefined {
  if (!(key in CALLS)) return undefined
  const compile = CALLS[key as keyof typeof CALLS] as Compile<keyof RawMap>
  return compile(context, raw[key]!, path, source)
}

/** An error that the writer expects relaxes what is checked beforehand. */
export function callRules(expectError: ErrnoName | undefined): RangeRules {
  return { kind: 'pages', mayFail: expectError !== undefined }
}

export function expecting(expectError: ErrnoName | undefined): { expectError?: ErrnoName } {
  return expectError === undefined ? {} : { expectError }
}

/** A positive number of cycles. */
function cyclesOf(context: CallContext, raw: number | string, path: Path): number {
  const cycles = parseDuration(raw, context.frequencyGhz)
  if (cycles >= 1 && cycles <= MAX_CYCLES) return cycles
  throw context.source.error(cycles < 1 ? 'the duration is less than one cycle' : 'the duration is too long', path,
    [`expected 1 to ${MAX_CYCLES} cycles`])
}

type RawPages = Parameters<typeof compileRange>[1]

function pages(context: CallContext, raw: RawPages, path: Path) {
  return compileRange(context.ranges, raw, path, callRules(errorOf(raw)))
}

function errorOf(raw: unknown): ErrnoName | undefined {
  return typeof raw === 'object' ? (raw as { expectError?: ErrnoName }).expectError : undefined
}
