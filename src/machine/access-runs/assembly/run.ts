// What a run of accesses may do, and what it has done so far.

import {
  COUNTER_L1D_LOOKUPS, COUNTER_L1D_MISSES, COUNTER_L1I_LOOKUPS, COUNTER_L1I_MISSES, COUNTER_STLB_LOOKUPS,
  COUNTER_STLB_MISSES, COUNTER_WALK_STEPS, UNDO_ARMED, WORD_LIVE, WORD_UNDO,
} from '../../mmu-layout'
import { PLAN_FRONT_CLASS, PLAN_IS_FIT, RUN_ACCESSES, RUN_CLOCK, RUN_LAST_START, RUN_POSITION } from '../plan-layout'
import { word } from './arrays'

/** Instead of cycles: the access is the caller's. */
export const NOT_HERE: i32 = -1
/** Cycles, or accesses, of one run: the caller starts the next one. */
const RUN_MAX: f64 = 0x4000_0000

// Counted.
let codeMisses: i32 = 0
let dataMisses: i32 = 0
let walks: i32 = 0
let walkSteps: i32 = 0

/** No copy of the MMU's words is due before their first change. */
export let mayChange: bool = false
/** And every page that any TLB holds is of the class in front and not global. */
export let isSimple: bool = false

export function begin(plan: usize, mmu: usize): void {
  mayChange = word(mmu, WORD_UNDO) != UNDO_ARMED
  noteLive(plan, mmu)
  codeMisses = 0
  dataMisses = 0
  walks = 0
  walkSteps = 0
}

/** The live words may have changed. */
export function noteLive(plan: usize, mmu: usize): void {
  const live = word(mmu, WORD_LIVE) | word(mmu, WORD_LIVE + 1) | word(mmu, WORD_LIVE + 2)
  isSimple = mayChange && word(plan, PLAN_IS_FIT) != 0 && (live & ~(1 << word(plan, PLAN_FRONT_CLASS))) == 0
}

/** The first level was missed. */
export function countMiss(isCode: bool): void {
  if (isCode) codeMisses++
  else dataMisses++
}

/** Both levels were missed, and a walk read so many entries. */
export function countWalk(isCode: bool, steps: i32): void {
  countMiss(isCode)
  walks++
  walkSteps += steps
}

/** Writes down what a run has done. */
export function finish(
  counters: usize, run: usize, accesses: i32, fetches: i32, positions: i32, spent: i32, last: i32,
): void {
  if (accesses == 0) return
  add(counters, COUNTER_L1I_LOOKUPS, fetches)
  add(counters, COUNTER_L1I_MISSES, codeMisses)
  add(counters, COUNTER_L1D_LOOKUPS, accesses - fetches)
  add(counters, COUNTER_L1D_MISSES, dataMisses)
  add(counters, COUNTER_STLB_LOOKUPS, codeMisses + dataMisses)
  add(counters, COUNTER_STLB_MISSES, walks)
  add(counters, COUNTER_WALK_STEPS, walkSteps)
  add(run, RUN_CLOCK, spent)
  add(run, RUN_POSITION, positions)
  add(run, RUN_ACCESSES, accesses)
  store<f64>(run, load<f64>(run, RUN_CLOCK * 8) - <f64>last, RUN_LAST_START * 8)
}

/** As a number of cycles or accesses that one run can do. */
export function toRun(amount: f64): i32 {
  return <i32>min(ceil(amount), RUN_MAX)
}

/** Adds to one of an array of doubles. */
export function add(doubles: usize, index: usize, amount: i32): void {
  store<f64>(doubles + index * 8, load<f64>(doubles + index * 8) + <f64>amount)
}
