// Recording: one typed array per column, grown by doubling, so that a record costs twelve
// stores and no allocation. `finish` hands the columns over as plain data that can be sent to
// another thread, in the total order (cycle, cpu, order of recording).
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
const INITIAL_CAPACITY = 1024

export class TraceRecorder {
  /** A recorder that is off costs one test per record. */
  enabled: boolean
  #length = 0
  #capacity = 0
  #sorted = true
  #cycle = new Float64Array(0)
  #kind = new Int32Array(0)
  #cpu = new Int32Array(0)
  #pid = new Int32Array(0)
  #comm = new Int32Array(0)
  #flags = new Int32Array(0)
  #a = new Int32Array(0)
  #b = new Int32Array(0)
  #c = new Int32Array(0)
  #d = new Int32Array(0)
  #e = new Int32Array(0)
  #f = new Int32Array(0)
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
    return this.#length
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
    if (this.#keepLast > 0 && this.#length >= 2 * this.#keepLast) this.#forget()
    const i = this.#length
    if (i === this.#capacity) this.#resize(Math.max(INITIAL_CAPACITY, 2 * this.#capacity))
    if (i > 0 && this.#sorted) this.#sorted = inOrder(this.#cycle[i - 1]!, this.#cpu[i - 1]!, cycle, cpu)
    this.#cycle[i] = cycle
    this.#kind[i] = kind
    this.#cpu[i] = cpu
    this.#pid[i] = pid
    this.#comm[i] = comm
    this.#flags[i] = flags
    this.#a[i] = a
    this.#b[i] = b
    this.#c[i] = c
    this.#d[i] = d
    this.#e[i] = e
    this.#f[i] = f
    this.#length = i + 1
  }

  /** The trace so far, in the total order. The recorder can go on afterwards; the result does not change. */
  finish(): TraceData {
    return this.#keepLast > 0 ? this.#copy(0) : this.#copy(this.#length)
  }

  /** As {@link finish} without a copy, for who needs the recorder no longer: it is empty afterwards. */
  take(): TraceData {
    if (!this.#sorted || this.#keepLast > 0 || this.#length === 0) return this.finish()
    const length = this.#length
    const data: TraceData = {
      length, cycle: this.#cycle.subarray(0, length), kind: this.#kind.subarray(0, length),
      cpu: this.#cpu.subarray(0, length), pid: this.#pid.subarray(0, length), comm: this.#comm.subarray(0, length),
      flags: this.#flags.subarray(0, length), words: this.#words().map((column) => column.subarray(0, length)),
      strings: [...this.#strings],
    }
    this.#length = 0
    this.#resize(0)
    return data
  }

  /** Makes room for so many records in all, so that they need not be copied when their number grows. */
  reserve(records: number): void {
    if (records > this.#capacity) this.#resize(records)
  }

  /** As {@link finish}, with what a recorder of the last records has kept. */
  recent(): TraceData {
    return this.#copy(this.#length)
  }

  /**
   * What has been recorded so far, without copying it: valid until the next record. Undefined when the records are not
   * in the total order, which only finish() mends.
   */
  peek(): TraceData | undefined {
    if (!this.#sorted) return undefined
    return {
      length: this.#length, cycle: this.#cycle, kind: this.#kind, cpu: this.#cpu, pid: this.#pid, comm: this.#comm,
      flags: this.#flags, words: [this.#a, this.#b, this.#c, this.#d, this.#e, this.#f], strings: this.#strings,
    }
  }

  #copy(length: number): TraceData {
    if (length === 0) return emptyTrace(this.#strings)
    const order = this.#sorted ? undefined : this.#sortedOrder()
    return {
      length: this.#length,
      cycle: this.#pickCycles(order),
      kind: this.#pick(this.#kind, order),
      cpu: this.#pick(this.#cpu, order),
      pid: this.#pick(this.#pid, order),
      comm: this.#pick(this.#comm, order),
      flags: this.#pick(this.#flags, order),
      words: this.#words().map((column) => this.#pick(column, order)),
      strings: [...this.#strings],
    }
  }

  /** Drops the older half. */
  #forget(): void {
    const from = this.#length - this.#keepLast
    const columns = [this.#cycle, this.#kind, this.#cpu, this.#pid, this.#comm, this.#flags, ...this.#words()]
    for (const column of columns) column.copyWithin(0, from, this.#length)
    this.#length = this.#keepLast
  }

  #sortedOrder(): Uint32Array {
    const cycle = this.#cycle
    const cpu = this.#cpu
    const order = new Uint32Array(this.#length)
    for (let i = 0; i < order.length; i++) order[i] = i
    return order.sort((x, y) => cycle[x]! - cycle[y]! || cpu[x]! - cpu[y]! || x - y)
  }

  #pick(column: Int32Array<ArrayBuffer>, order: Uint32Array | undefined): Int32Array<ArrayBuffer> {
    if (!order) return column.slice(0, this.#length)
    const picked = new Int32Array(order.length)
    for (let i = 0; i < order.length; i++) picked[i] = column[order[i]!]!
    return picked
  }

  #pickCycles(order: Uint32Array | undefined): Float64Array<ArrayBuffer> {
    if (!order) return this.#cycle.slice(0, this.#length)
    const picked = new Float64Array(order.length)
    for (let i = 0; i < order.length; i++) picked[i] = this.#cycle[order[i]!]!
    return picked
  }

  #words(): Int32Array<ArrayBuffer>[] {
    return [this.#a, this.#b, this.#c, this.#d, this.#e, this.#f]
  }

  /** Columns of `capacity` records, with the records there are. */
  #resize(capacity: number): void {
    this.#capacity = capacity
    const cycle = new Float64Array(capacity)
    cycle.set(this.#cycle.subarray(0, this.#length))
    this.#cycle = cycle
    this.#kind = resized(this.#kind, this.#length, capacity)
    this.#cpu = resized(this.#cpu, this.#length, capacity)
    this.#pid = resized(this.#pid, this.#length, capacity)
    this.#comm = resized(this.#comm, this.#length, capacity)
    this.#flags = resized(this.#flags, this.#length, capacity)
    this.#a = resized(this.#a, this.#length, capacity)
    this.#b = resized(this.#b, this.#length, capacity)
    this.#c = resized(this.#c, this.#length, capacity)
    this.#d = resized(this.#d, this.#length, capacity)
    this.#e = resized(this.#e, this.#length, capacity)
    this.#f = resized(this.#f, this.#length, capacity)
  }
}

function emptyTrace(strings: readonly string[]): TraceData {
  const column = (): Int32Array<ArrayBuffer> => new Int32Array(0)
  return {
    length: 0, cycle: new Float64Array(0), kind: column(), cpu: column(), pid: column(), comm: column(),
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

/** Decodes one record. */
export function eventAt(data: TraceData, index: number): TraceEvent {
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
    index,
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

function inOrder(cycle: number, cpu: number, nextCycle: number, nextCpu: number): boolean {
  return cycle < nextCycle || (cycle === nextCycle && cpu <= nextCpu)
}

function resized(column: Int32Array<ArrayBuffer>, length: number, capacity: number): Int32Array<ArrayBuffer> {
  const other = new Int32Array(capacity)
  other.set(column.subarray(0, length))
  return other
}
