// Random runs with page-table isolation, wherever kernel and machine have it.

import fc from 'fast-check'
import { whyNoPti } from '../../src/kernel/policies.js'
import type { RandomRun } from './random-programs.js'

/** The same run with isolated page tables where that is possible, on a machine with or without INVPCID. */
export function isolated(run: RandomRun, invpcid: boolean): RandomRun {
  const { kernel, machine } = run.config
  const pti = whyNoPti(kernel.era, kernel.policy, machine.geometry) === ''
  return { ...run, config: { ...run.config, kernel: { ...kernel, pti }, machine: { ...machine, invpcid } } }
}

/** One run in four. */
export function sometimesIsolated(runs: fc.Arbitrary<RandomRun>): fc.Arbitrary<RandomRun> {
  return fc.tuple(runs, fc.integer({ min: 0, max: 7 })).map(([run, n]) => n < 2 ? isolated(run, n === 0) : run)
}

export function alwaysIsolated(runs: fc.Arbitrary<RandomRun>): fc.Arbitrary<RandomRun> {
  return fc.tuple(runs, fc.boolean()).map(([run, invpcid]) => isolated(run, invpcid))
}
