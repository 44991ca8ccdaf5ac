// What every CPU did over time, as stretches of one kind, and how the cycles of any range divide over
// the kinds: with sums up to every stretch that takes two binary searches, however many there are.

import { MODE_AWAY, MODE_IDLE, MODE_INTERRUPT, MODE_KERNEL, MODE_USER, MODE_WAITING } from '../trace/observations.js'
import type { RunData } from './run-data.js'

/** Kinds of stretches: the modes of observations.ts, and idle with borrowed page tables. */
export const KIND_LAZY = 6
export const KINDS = [
  { id: MODE_USER, name: 'user', doc: 'a program runs in user mode' },
  { id: MODE_KERNEL, name: 'kernel', doc: 'in the kernel, for the task that runs' },
  { id: MODE_WAITING, name: 'waiting', doc: 'in the kernel, held up: acknowledgements, a lock, a barrier' },
  { id: MODE_INTERRUPT, name: 'handler', doc: 'in an interrupt handler' },
  { id: KIND_LAZY, name: 'lazy', doc: 'idle, with the page tables of an mm still loaded' },
  { id: MODE_IDLE, name: 'idle', doc: 'idle, nothing borrowed' },
  { id: MODE_AWAY, name: 'away', doc: 'the host runs something else on this virtual CPU' },
] as const
export const KIND_COUNT = 7
/** Sums for every stretch would take more room than the stretches. */
const BLOCK = 16

export interface Lane {
  readonly cpu: number
  readonly length: number
  /** Cycle at which each stretch starts, ascending; the first is 0. It ends where the next one starts. */
  readonly start: Float64Array
  readonly kind: Uint8Array
  readonly pid: Int32Array
  /** ctx_id of what is loaded. */
  readonly mm: Int32Array
  readonly lazy: Int32Array
  /** For every BLOCK stretches the cycles before them, one number a kind. */
  readonly sums: Float64Array
}

export function buildLanes({ lanes }: RunData): Lane[] {
  return lanes.map((rows, cpu) => {
    // Before its first step a CPU is idle.
    const lead = rows.length === 0 || rows.cycle[0] > 0 ? 1 : 0
    const length = rows.length + lead
    const start = new Float64Array(length)
    const kind = new Uint8Array(length).fill(MODE_IDLE)
    const [pid, mm, lazy] = [new Int32Array(length), new Int32Array(length).fill(1), new Int32Array(length)]
    start.set(rows.cycle, lead)
    pid.set(rows.pid, lead)
    mm.set(rows.mm, lead)
    lazy.set(rows.lazy, lead)
    for (let i = 0; i < rows.length; i++) {
      kind[i + lead] = rows.mode[i] === MODE_IDLE && rows.lazy[i] === 1 ? KIND_LAZY : rows.mode[i]
    }
    return { cpu, length, start, kind, pid, mm, lazy, sums: sumsOf(start, kind) }
  })
}

/** The stretch that `cycle` lies in. */
export function stretchAt({ start, length }: Lane, cycle: number): number {
  return Math.max(0, countUpTo(start, cycle, length) - 1)
}

/** Where stretch `i` ends. */
export function stretchEnd({ start, length }: Lane, i: number, endCycle: number): number {
  return i + 1 < length ? start[i + 1] : Math.max(endCycle, start[i])
}

/** Cycles of [from, to) by kind, into `shares`. */
export function sharesOf(lane: Lane, from: number, to: number, shares: Float64Array): void {
  shares.fill(0)
  addUpTo(lane, to, 1, shares)
  addUpTo(lane, from, -1, shares)
}

/** The cycles of [0, cycle) by kind, times `sign`. */
function addUpTo(lane: Lane, cycle: number, sign: 1 | -1, shares: Float64Array): void {
  const { start, kind, sums } = lane
  const last = stretchAt(lane, cycle)
  const block = Math.floor(last / BLOCK)
  for (let each = 0; each < KIND_COUNT; each++) shares[each] += sign * sums[block * KIND_COUNT + each]
  for (let i = block * BLOCK; i < last; i++) shares[kind[i]] += sign * (start[i + 1] - start[i])
  shares[kind[last]] += sign * (cycle - start[last])
}

/** How many of the first `length` ascending values are at most `limit`. */
export function countUpTo(values: ArrayLike<number>, limit: number, length = values.length): number {
  let low = 0
  let high = length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (values[middle] <= limit) low = middle + 1
    else high = middle
  }
  return low
}

function sumsOf(start: Float64Array, kind: Uint8Array): Float64Array {
  const sums = new Float64Array((Math.floor(start.length / BLOCK) + 1) * KIND_COUNT)
  const now = new Float64Array(KIND_COUNT)
  for (let i = 0; i < start.length; i++) {
    if (i > 0) now[kind[i - 1]] += start[i] - start[i - 1]
    if (i % BLOCK === 0) sums.set(now, (i / BLOCK) * KIND_COUNT)
  }
  return sums
}
