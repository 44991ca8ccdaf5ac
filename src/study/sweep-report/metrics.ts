// Numbers of rows as people read them: what they are called, and cycles as microseconds of the machine of the row.

import { bootstrapMean, type Interval } from '../statistics.js'
import type { ResultRow } from '../sweep-point.js'
import type { Group } from '../sweep-summary.js'

/** Metrics that a report plots unless the study says which. */
export const DEFAULT_METRICS = ['latencyMean', 'cycles'] as const

const TITLES: Readonly<Record<string, string>> = {
  latencyMean: 'mean latency of a flush',
  latencyP50: 'median latency of a flush',
  latencyP90: '90th percentile of flush latency',
  latencyP99: '99th percentile of flush latency',
  latencyMax: 'longest flush',
  callMean: 'mean system call that flushes',
  callP99: '99th percentile of system calls that flush',
  cycles: 'whole run',
  ipisSent: 'interrupts sent',
  callFunctionIpis: 'interrupts sent for flushes',
  ipisAvoided: 'CPUs left out of flushes',
  stlbMisses: 'page walks',
  l1dMisses: 'misses of the first data TLB',
  initiatorCycles: 'total time of initiators',
  responderCycles: 'total time taken from interrupted CPUs',
  walkCycles: 'total time of page walks',
}

/** Is it counted in cycles, and shown in microseconds? */
export function isTime(metric: string): boolean {
  return /^(cycles|latency\w+|callMean|callP99)$|Cycles$/.test(metric)
}

/** `mean latency of a flush (us)` */
export function metricLabel(metric: string): string {
  return `${nameOf(metric)}${isTime(metric) ? ' (us)' : ''}`
}

export function metricTitle(metric: string): string {
  const title = nameOf(metric)
  return title.charAt(0).toUpperCase() + title.slice(1)
}

/** `pageFaults` is "page faults". */
function nameOf(metric: string): string {
  const known = TITLES[metric]
  if (known !== undefined) return known
  return metric.replace(/Cycles$/, 'Time').replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
}

/** Of one row: microseconds, or a count. */
export function valueOf({ result }: ResultRow, metric: string): number {
  const value = result[metric] ?? 0
  return isTime(metric) ? value / (result['frequencyGhz']! * 1000) : value
}

/** The mean over the seeds of a group, with its interval. */
export function groupValue({ rows }: Group, metric: string): Interval {
  return bootstrapMean(rows.map((row) => valueOf(row, metric)))
}
