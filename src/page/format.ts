// What a report carries: one JSON object and packed columns behind it, as one block of bytes.
//
//   bytes 0..3   length of the JSON text, little endian
//   then         the JSON text (RunMeta), then the columns that it lists (packed.ts)
//
// Columns of the trace are stored in the order in which they compress best: pid and comm by CPU, the
// words a..f by kind of event. The order is that of a stable sort, so it follows from other columns.

import type { GeometryName } from '../machine/config.js'
import type { TraceEra } from '../trace/events.js'
import type { ColumnShape } from './packed.js'

/** Raised when a page could not read reports of the version before. */
export const REPORT_VERSION = 1

/** Which geometry (machine/geometry.ts), and where the kernel begins. */
export interface ReportGeometry {
  name: GeometryName
  /** First slot of a root table that belongs to the kernel. */
  firstKernelSlot: number
}

export interface ReportMm {
  ctxId: number
  root: number
  userRoot: number
  cycle: number
  name: string
}

export interface ReportTask {
  pid: number
  comm: string
  outcome: string
}

export interface RunMeta {
  version: number
  title: string
  question: string
  /** Lines of the head: machine, kernel, end. */
  facts: [string, string][]
  lookFor: string[]
  expectations: { ok: boolean; text: string }[]
  command: string
  era: TraceEra
  cpus: number
  frequencyGhz: number
  /** Shortest flight of an interrupt. */
  flightCycles: number
  /** Last cycle that is shown. */
  endCycle: number
  tasks: ReportTask[]
  mms: ReportMm[]
  geometry: ReportGeometry
  strings: string[]
  /** Rows of lanes by CPU. */
  laneCounts: number[]
  /** Set when entry writes were remembered only up to this cycle. */
  writesEnd: number | undefined
  /** Looks at TLBs: 1 when there was one after every event. */
  lookStride: number
  reasons: string[]
  columns: ColumnShape[]
}

export const TRACE_WORDS = 6
/** Of lanes, which are kept by CPU. */
export const LANE_WORDS = ['mode', 'pid', 'mm', 'lazy'] as const

/** Columns of cycles, which may be larger than 32 bits. */
export function isCycleColumn(name: string): boolean {
  return name.endsWith('.cycle')
}

/** Indices sorted by `key`, equal ones in their order. Keys are small whole numbers. */
export function stableOrder(key: Int32Array): Int32Array<ArrayBuffer> {
  let largest = -1
  for (const value of key) if (value > largest) largest = value
  const next = new Int32Array(largest + 2)
  for (const value of key) next[value + 1]!++
  for (let value = 0; value <= largest; value++) next[value + 1]! += next[value]!
  const order = new Int32Array(key.length)
  for (let i = 0; i < key.length; i++) order[next[key[i]!]!++] = i
  return order
}
