// The invariants of kernel-behaviour.md section 8, checked while a simulation runs (`--check`).
// A broken one throws InvariantViolation with CPU, cycle, task, mm, page and what led there.
//
//   I1, I2, I8, I18, I20, I21, I22   check-tlb.ts      caches against tables, frames against caches
//   I3, I6, I9, I12, I13, I15, I16,
//   I17, I24, I25, I26, I27          check-cpu.ts      the row of each CPU
//   I4, I5, I7 (4.6), I11, I23       check-mm.ts       references, masks, generations, kernel halves
//   I29, I30, I18 (areas)            check-frames.ts   frames and tables recounted
//   I7 (6.x), I10, I11, I14, I19,
//   I27 (locks of tables), I31       watch.ts          single facts, at the moment of each
//   I8, I18, I20 at a promise        check-ranges.ts   what a flush or call has just declared clean
//   I2 at a promise                                    tables that were just given back
//   I28, I32                         check-trace.ts    the finished trace, at the end of the run
//
// Windows: cores in user mode may have run ahead of the kernel when checkInvariants is called, so
// it looks into caches only of CPUs that are in the kernel. checkTlbs looks into all of them and
// wants every core to stand at the present cycle.
//
// What costs little is checked after every step; the rest in turns, each as often as its cost
// allows. The turns count steps, so two runs check the same things at the same steps.

import type { KernelState } from '../kernel/state.js'
import { ChangedRows } from './changed-rows.js'
import { checkInterrupts, checkRow, checkSlots } from './check-cpu.js'
import { checkFrames } from './check-frames.js'
import type { Counting } from './check-mm.js'
import { checkKernelHalves, checkMms, newCounting, noteHolders } from './check-mm.js'
import { checkTlbsOf } from './check-tlb.js'

export { checkFrames } from './check-frames.js'
export { checkTlbs, checkTlbsOf } from './check-tlb.js'

/** Share of a step's work that each of the dear checks may add: 1 / PACE of its cost units. */
const PACE = 16
/** Cost units (about 50 ns each): reading a table, a TLB's arrays, one of their entries. */
const TABLE_UNITS = 64
const TLB_UNITS = 256
const TLB_ENTRY_UNITS = 16
const FRAMES_PER_UNIT = 64
/** Steps between two looks at the rows of all CPUs, whatever changed-rows.ts says. */
const STEPS_PER_ALL_ROWS = 64

/** When each of the dear checks comes next, in steps. */
interface Turns {
  step: number
  mms: number
  kernelHalves: number
  tlbs: number
  frames: number
  /** CPU whose TLB was looked at last. */
  cpu: number
  changed: ChangedRows
  counting: Counting
}

const turnsOf = new WeakMap<KernelState, Turns>()

/** To be called after every step. `cycle`: the present one, for messages. */
export function checkInvariants(k: KernelState, cycle?: number): void {
  const turns = turnsFor(k)
  turns.step += 1
  checkRows(k, turns, cycle)
  checkSlots(k, k.cpus[turns.step % k.cpus.length]!, cycle)
  if (turns.step >= turns.mms) {
    checkMms(k, turns.counting, cycle)
    turns.mms = turns.step + steps(k.cpus.length + k.tasks.length + k.mms.size)
  }
  if (turns.step >= turns.kernelHalves) {
    checkKernelHalves(k, cycle)
    turns.kernelHalves = turns.step + steps(k.mms.size * TABLE_UNITS)
  }
  if (turns.step >= turns.tlbs) turns.tlbs = turns.step + steps(checkKernelModeTlb(k, turns, cycle))
  if (turns.step >= turns.frames) {
    const tables = checkFrames(k, cycle)
    turns.frames = turns.step + steps(tables * TABLE_UNITS + k.frames.count / FRAMES_PER_UNIT)
  }
}

/** Rows that may have changed, and now and then all of them: nothing but time is lost by that. */
function checkRows(k: KernelState, { step, changed, counting }: Turns, cycle: number | undefined): void {
  const isAllDue = step % STEPS_PER_ALL_ROWS === 0
  if (isAllDue) counting.isStale = true
  const areAll = changed.areAll(k) || isAllDue
  for (const cpu of k.cpus) {
    if (!areAll && !changed.includes(cpu)) continue
    changed.noteLook(cpu)
    noteHolders(counting, cpu)
    checkRow(k, cpu, cycle)
    checkInterrupts(k, cpu, cycle)
  }
}

/** Everything at once, when every core stands at the present cycle: at the end of a run, or at a stop for a look. */
export function checkEverything(k: KernelState, cycle?: number): void {
  const { changed, counting } = turnsFor(k)
  for (const cpu of k.cpus) {
    changed.noteLook(cpu)
    checkRow(k, cpu, cycle)
    checkInterrupts(k, cpu, cycle)
    checkSlots(k, cpu, cycle)
    checkTlbsOf(k, cpu, cycle)
  }
  counting.isStale = true
  checkMms(k, counting, cycle)
  checkKernelHalves(k, cycle)
  checkFrames(k, cycle)
}

/** The TLB of the next CPU that is in the kernel, where no core can be ahead. Returns what it cost. */
function checkKernelModeTlb(k: KernelState, turns: Turns, cycle: number | undefined): number {
  for (let i = 0; i < k.cpus.length; i++) {
    turns.cpu = (turns.cpu + 1) % k.cpus.length
    const cpu = k.cpus[turns.cpu]!
    if (!cpu.inUserMode) return TLB_UNITS + TLB_ENTRY_UNITS * checkTlbsOf(k, cpu, cycle)
  }
  return 0
}

function turnsFor(k: KernelState): Turns {
  let turns = turnsOf.get(k)
  if (turns === undefined) {
    turns = {
      step: 0, mms: 0, kernelHalves: 0, tlbs: 0, frames: 0, cpu: -1,
      changed: new ChangedRows(k.cpus.length), counting: newCounting(k),
    }
    turnsOf.set(k, turns)
  }
  return turns
}

function steps(cost: number): number {
  return Math.max(1, Math.ceil(cost / PACE))
}
