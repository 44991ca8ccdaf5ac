// Everything about a stopped simulation as text. Each part is in a file of its own; this one puts
// them together. No dump changes anything: not a bit, not a counter, not the time.

import type { KernelState } from '../kernel/state.js'
import { dumpRanges, dumpTables, tableTitle } from './dump-tables.js'
import { dumpCpus, dumpTasks, type ClockOf } from './dump-tasks.js'
import { dumpTlbs } from './dump-tlbs.js'

export { dumpRanges, dumpTables, tableTitle } from './dump-tables.js'
export { dumpCpus, dumpMm, dumpTasks, type ClockOf } from './dump-tasks.js'
export { dumpTlb, dumpTlbs } from './dump-tlbs.js'

/** CPUs, tasks, address spaces, page tables (the kernel's as ranges only) and TLBs. */
export function dumpAll(k: KernelState, clockOf?: ClockOf): string {
  return [dumpCpus(k, clockOf), dumpTasks(k), dumpAllTables(k), dumpTlbs(k)].join('\n')
}

/** The trees and ranges of every mm; of init_mm, whose tree is long, the ranges. */
export function dumpAllTables(k: KernelState): string {
  return [...k.mms.values()].map((mm) => {
    const ranges = dumpRanges(k, mm)
    const head = mm === k.initMm ? `${tableTitle(k, mm)}\n` : dumpTables(k, mm)
    return ranges === '' ? head : mm === k.initMm ? head + ranges : `${head}\n${ranges}`
  }).join('\n')
}
