// The flush requests of a run for the page: which one a CPU works on at a cycle, what each cost, and
// what every CPU lost by them. The pairing itself is trace/summary.ts.

import type { TraceData } from '../trace/recorder.js'
import { summarizeShootdowns } from '../trace/summary.js'
import type { Shootdown } from '../trace/summary.js'
import { countUpTo } from './lanes.js'

/** What flushes took from one CPU, cycles. */
export interface Stolen {
  /** In handlers for requests of others. */
  responder: number
  /** From the begin to the end of its own requests. */
  initiator: number
  /** Requests that it answered and made. */
  answered: number
  made: number
}

interface Stretch {
  from: number
  to: number
  request: number
}

export interface Requests {
  readonly all: readonly Shootdown[]
  /** Numbers of requests that waited for other CPUs and ended, with what they took, ascending. */
  readonly latencies: readonly { request: number; cycles: number }[]
  /** The same of requests that concerned the own CPU alone. */
  readonly localLatencies: readonly { request: number; cycles: number }[]
  readonly stolen: readonly Stolen[]
  /** The request that `cpu` makes or answers at `cycle`; -1: none. */
  at: (cpu: number, cycle: number) => number
}

export function findRequests(trace: TraceData, cpus: number): Requests {
  const all = summarizeShootdowns(trace)
  const stretches: Stretch[][] = Array.from({ length: cpus }, () => [])
  const stolen: Stolen[] = Array.from({ length: cpus }, () => ({ responder: 0, initiator: 0, answered: 0, made: 0 }))
  all.forEach((one, request) => {
    const { initiatorCpu, startCycle, endCycle, responders } = one
    stretches[initiatorCpu].push({ from: startCycle, to: endCycle ?? Infinity, request })
    stolen[initiatorCpu].made += 1
    stolen[initiatorCpu].initiator += one.cycles ?? 0
    for (const { cpu, startCycle: from, ackCycle, cycles } of responders) {
      if (from !== undefined) stretches[cpu].push({ from, to: ackCycle ?? Infinity, request })
      if (ackCycle === undefined) continue
      stolen[cpu].answered += 1
      stolen[cpu].responder += cycles
    }
  })
  for (const list of stretches) list.sort((a, b) => a.from - b.from)
  const starts = stretches.map((list) => Float64Array.from(list, ({ from }) => from))
  return {
    all, stolen,
    latencies: latenciesOf(all, true),
    localLatencies: latenciesOf(all, false),
    at: (cpu, cycle) => newestAt(stretches[cpu], starts[cpu], cycle),
  }
}

/** A CPU answers while it waits, so stretches may lie in each other: the one that began last counts. */
function newestAt(list: readonly Stretch[], starts: Float64Array, cycle: number): number {
  const last = countUpTo(starts, cycle) - 1
  for (let i = last; i >= 0 && i > last - NESTED_MAX; i--) if (list[i].to >= cycle) return list[i].request
  return -1
}

const NESTED_MAX = 64

function latenciesOf(all: readonly Shootdown[], isRemote: boolean): { request: number; cycles: number }[] {
  return all
    .flatMap(({ cycles, responders }, request) =>
      cycles !== undefined && (responders.length > 0) === isRemote ? [{ request, cycles }] : [])
    .sort((a, b) => a.cycles - b.cycles)
}

/** The value that `share` of the ascending values do not exceed (nearest rank). */
export function quantile(ascending: readonly { cycles: number }[], share: number): number {
  return ascending[Math.max(0, Math.ceil(share * ascending.length) - 1)]?.cycles ?? 0
}

/** One bar of a histogram: [from, to) cycles. */
export interface Bin {
  from: number
  to: number
  count: number
  /** The first request in it. */
  request: number
}

/** Bins of a round width, about `wanted` of them over all values. */
export function binsOf(ascending: readonly { request: number; cycles: number }[], wanted: number): Bin[] {
  if (ascending.length === 0) return []
  const low = ascending[0].cycles
  const high = ascending[ascending.length - 1].cycles
  const width = roundWidth((high - low + 1) / wanted)
  const first = Math.floor(low / width)
  const bins = Array.from({ length: Math.floor(high / width) - first + 1 }, (_, i): Bin =>
    ({ from: (first + i) * width, to: (first + i + 1) * width, count: 0, request: -1 }))
  for (const { cycles, request } of ascending) {
    const bin = bins[Math.floor(cycles / width) - first]
    if (bin.count === 0) bin.request = request
    bin.count += 1
  }
  return bins
}

function roundWidth(least: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, least)))
  const digit = least / power
  return power * (digit <= 1 ? 1 : digit <= 2 ? 2 : digit <= 5 ? 5 : 10)
}
