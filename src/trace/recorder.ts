// Recording: a record is one row of words in a chunk of memory, so that it costs a dozen stores that lie side
// by side and no allocation. A full chunk stays where it is and another one is begun: nothing is ever copied to
// make room. `finish` turns the rows into columns, plain data that can be sent to another thread, in the total
// order (cycle, cpu, order of recording).
//
//   word   0, 1    2      3     4     5      6       7 to 12   13
//          cycle   kind   cpu   pid   comm   flags   a..f      spare, so that the next cycle is aligned
//
// What the words a..f mean is said by the table in events.ts. Nothing is formatted here.

import { fail } from '../base/assert.js'
import { EVENTS } from './events.js'
import type { TraceEvent } from './events.js'

/** A finished trace. Plain: survives structured clone; `traceBuffers` lists what can be moved instead of copied. */
export interface TraceData {
  readonly length: number
  readonly cycle: Float64Array<ArrayBuffer>
  readonly kind: Int32Array<ArrayBuffer>
  readonly cpu: Int32Array<ArrayBuffer>
  readonly pid: Int32Array<ArrayBuffer>
  /** Index into `strings`. */
  readonly comm: Int32Array<ArrayBuffer>
  /** Packed as in flags.ts. */
  readonly flags: Int32Array<ArrayBuffer>
  /** The words a..f, one column each. */
  readonly words: readonly Int32Array<ArrayBuffer>[]
  readonly strings: readonly string[]
}

/** Words a..f of a record. */
export const WORDS_PER_RECORD = 6

const KIND = 2
const CPU = 3
const PID = 4
const COMM = 5
const FLAGS = 6
const FIRST_WORD = 7
const ROW_WORDS = 14
/** Records of the first chunk; each following one has twice as many as the one before, up to the most. */
const FIRST_CHUNK = 1024
const LARGEST_CHUNK = 8192

/** Rows of records. In front of them is the last record of the chunk before, with which the first one is compared. */
class Chunk {
  /** Records that fit. */
  readonly capacity: number
  readonly words: Int32Array<ArrayBuffer>
  /** The same memory: the cycle of the row at word `at` is number `at / 2`. */
  readonly cycles: Float64Array<ArrayBuffer>

  constructor(capacity: number) {
    this.capacity = capacity
    this.words = new Int32Array((capacity + 1) * ROW_WORDS)
    this.cycles = new Float64Array(this.words.buffer)
  }
}

const NO_CHUNK = new Chunk(0)

/**
 * The largest chunks of recorders that were taken, for the recorders after them: whoever runs one simulation after the
 * other (tests, sweeps) has memory that is there already, and no garbage that must be collected for it.
 */
const spareChunks: Chunk[] = []
/** 15 MB, for 262,144 records. */
const SPARE_CHUNKS_MAX = 32

function newChunk(capacity: number): Chunk {
  return (capacity === LARGEST_CHUNK ? spareChunks.pop() : undefined) ?? new Chunk(capacity)
}

export class TraceRecorder {
  /** A recorder that is off costs one test per record. */
  enabled: boolean
  /** In order; all but the last are full. */
  #chunks: Chunk[] = []
  /** Records in the chunks before the last one. */
  #lengthBefore = 0
  // The last chunk: where its memory is, the word at which the next row begins, and at which no row does any more.
  #words = NO_CHUNK.words
  #cycles = NO_CHUNK.cycles
  #at = ROW_WORDS
  #end = ROW_WORDS
  #sorted = true
  readonly #strings: string[] = []
  readonly #ids = new Map<string, number>()
  /** Records that are kept at least; 0: all. */
  readonly #keepLast: number

  /** With `keepLast` only so many of the last records are kept, for {@link recent}; the trace itself stays empty. */
  constructor(options: { enabled?: boolean; keepLast?: number } = {}) {
    this.enabled = options.enabled ?? true
    this.#keepLast = options.keepLast ?? 0
  }

  /** Records so far. */
  get length(): number {
    return this.#lengthBefore + this.#at / ROW_WORDS - 1
  }

  /** The id of a string, the same for equal strings. Ids count from 0 in order of first use. Works while disabled. */
  intern(text: string): number {
    let id = this.#ids.get(text)
    if (id === undefined) {
      id = this.#strings.length
      this.#ids.set(text, id)
      this.#strings.push(text)
    }
    return id
  }

  /** Adds one event. `cycle` is the CPU's virtual time, `comm` an interned id, `flags` packed as in flags.ts. */
  record(
    kind: number, cycle: number, cpu: number, pid: number, comm: number, flags: number,
    a = 0, b = 0, c = 0, d = 0, e = 0, f = 0,
  ): void {
    if (!this.enabled) return
    if (this.#at === this.#end) this.#nextChunk()
    const at = this.#at
    const words = this.#words
    const cycles = this.#cycles
    const before = cycles[(at - ROW_WORDS) >> 1]!
    if (cycle <= before && (cycle < before || cpu < words[at - ROW_WORDS + CPU]!)) this.#sorted = false
    cycles[at >> 1] = cycle
    words[at + KIND] = kind
    words[at + CPU] = cpu
    words[at + PID] = pid
    words[at + COMM] = comm
    words[at + FLAGS] = flags
    words[at + FIRST_WORD] = a
    words[at + FIRST_WORD + 1] = b
    words[at + FIRST_WORD + 2] = c
    words[at + FIRST_WORD + 3] = d
    words[at + FIRST_WORD + 4] = e
    words[at + FIRST_WORD + 5] = f
    this.#at = at + ROW_WORDS
  }

  /** The trace so far, in the total order. The recorder can go on afterwards; the result does not change. */
  finish(): TraceData {
    return this.#keepLast > 0 ? emptyTrace(this.#strings) : this.recent()
  }

  /** As {@link finish}, for who needs the recorder no longer: it is empty afterwards. */
  take(): TraceData {
    const data = this.finish()
    for (const chunk of this.#chunks) {
      if (chunk.capacity === LARGEST_CHUNK && spareChunks.length < SPARE_CHUNKS_MAX) spareChunks.push(chunk)
    }
    this.#chunks = []
    this.#lengthBefore = 0
    this.#sorted = true
    this.#begin(NO_CHUNK)
    return data
  }

  /** As {@link finish}, with what a recorder of the last records has kept. */
  recent(): TraceData {
    const data = this.#columns(0, this.length)
    return this.#sorted ? data : inTotalOrder(data)
  }

  /**
   * Up to `count` records from number `from` on, as they are now. Undefined when the records are not in the total
   * order, which only finish() mends.
   */
  since(from: number, count: number): TraceData | undefined {
    if (!this.#sorted) return undefined
    return this.#columns(from, Math.min(this.length, from + count))
  }

  /** The last chunk is full. Of those that are kept the oldest goes, and its memory is used again. */
  #nextChunk(): void {
    const last = this.#chunks[this.#chunks.length - 1]
    let chunk: Chunk
    if (this.#keepLast > 0) {
      const oldest = this.#chunks.length === 2 ? this.#chunks.shift() : undefined
      chunk = oldest ?? newChunk(this.#keepLast)
      this.#lengthBefore = last === undefined ? 0 : this.#keepLast
    } else {
      chunk = newChunk(last === undefined ? FIRST_CHUNK : Math.min(2 * last.capacity, LARGEST_CHUNK))
      this.#lengthBefore += last?.capacity ?? 0
    }
    if (last === undefined) chunk.cycles[0] = -Infinity
    else chunk.words.set(last.words.subarray(last.words.length - ROW_WORDS))
    this.#chunks.push(chunk)
    this.#begin(chunk)
  }

  #begin({ words, cycles }: Chunk): void {
    this.#words = words
    this.#cycles = cycles
    this.#at = ROW_WORDS
    this.#end = words.length
  }

  /** The records [from, to), in the order in which they were made. */
  #columns(from: number, to: number): TraceData {
    const data = emptyTrace(this.#strings, Math.max(0, to - from))
    let first = 0
    for (const chunk of this.#chunks) {
      const begin = Math.max(from, first)
      const end = Math.min(to, first + chunk.capacity)
      if (begin < end) copyRows(chunk, begin - first, data, begin - from, end - begin)
      first += chunk.capacity
    }
    return data
  }
}

/** `count` records from number `from` of a chunk on, to `data` from number `to` on. */
function copyRows({ words, cycles }: Chunk, from: number, data: TraceData, to: number, count: number): void {
  const { cycle, kind, cpu, pid, comm, flags } = data
  const [a, b, c, d, e, f] = data.words
  // All columns at once: each row is read as it lies in memory.
  for (let i = to, at = (from + 1) * ROW_WORDS; i < to + count; i++, at += ROW_WORDS) {
    cycle[i] = cycles[at >> 1]!
    kind[i] = words[at + KIND]!
    cpu[i] = words[at + CPU]!
    pid[i] = words[at + PID]!
    comm[i] = words[at + COMM]!
    flags[i] = words[at + FLAGS]!
    a![i] = words[at + FIRST_WORD]!
    b![i] = words[at + FIRST_WORD + 1]!
    c![i] = words[at + FIRST_WORD + 2]!
    d![i] = words[at + FIRST_WORD + 3]!
    e![i] = words[at + FIRST_WORD + 4]!
    f![i] = words[at + FIRST_WORD + 5]!
  }
}

/** The same records sorted. */
function inTotalOrder(data: TraceData): TraceData {
  const { cycle, cpu, length } = data
  const order = new Uint32Array(length)
  for (let i = 0; i < length; i++) order[i] = i
  order.sort((x, y) => cycle[x]! - cycle[y]! || cpu[x]! - cpu[y]! || x - y)
  const pick = (column: Int32Array): Int32Array<ArrayBuffer> => Int32Array.from(order, (i) => column[i]!)
  return {
    length, cycle: Float64Array.from(order, (i) => cycle[i]!), kind: pick(data.kind), cpu: pick(cpu),
    pid: pick(data.pid), comm: pick(data.comm), flags: pick(data.flags), words: data.words.map(pick),
    strings: data.strings,
  }
}

/** A trace of `length` records that are all zero. */
function emptyTrace(strings: readonly string[], length = 0): TraceData {
  const column = (): Int32Array<ArrayBuffer> => new Int32Array(length)
  return {
    length, cycle: new Float64Array(length), kind: column(), cpu: column(), pid: column(), comm: column(),
    flags: column(), words: Array.from({ length: WORDS_PER_RECORD }, column), strings: [...strings],
  }
}

/** The buffers of a trace, for the transfer list of postMessage. */
export function traceBuffers(data: TraceData): ArrayBuffer[] {
  const columns = [data.cycle, data.kind, data.cpu, data.pid, data.comm, data.flags, ...data.words]
  return columns.map((column) => column.buffer)
}

/** Decodes the records one by one. Convenient, not fast: one object per event. */
export function* eventsOf(data: TraceData): Generator<TraceEvent, void, undefined> {
  for (let i = 0; i < data.length; i++) yield eventAt(data, i)
}

/** Decodes one record. `number`: its number in the whole trace, when `data` is a part of it. */
export function eventAt(data: TraceData, index: number, number = index): TraceEvent {
  const kind = data.kind[index]!
  const row = EVENTS[kind]
  if (row === undefined) fail(`trace record ${index} has the unknown kind ${kind}`)
  const fields: Record<string, number | string | bigint> = {}
  let word = 0
  for (const field of row.fields) {
    const value = data.words[word++]![index]!
    switch (field.type) {
      case 'string':
        fields[field.name] = data.strings[value] ?? ''
        break
      case 'address':
        fields[field.name] = (BigInt(value >>> 0) << 32n) | BigInt(data.words[word++]![index]! >>> 0)
        break
      case 'hex':
        fields[field.name] = value >>> 0
        break
      default:
        fields[field.name] = value
    }
  }
  return {
    index: number,
    cycle: data.cycle[index]!,
    cpu: data.cpu[index]!,
    pid: data.pid[index]!,
    comm: data.strings[data.comm[index]!] ?? '',
    flags: data.flags[index]!,
    kind,
    name: row.name,
    fields,
  } as unknown as TraceEvent
}
