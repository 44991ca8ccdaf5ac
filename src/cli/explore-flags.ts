// The flags of `shootdown explore`, and the command line that has the same ones.

import type { BugName } from '../kernel/bugs.js'
import type { KernelEra } from '../kernel/config.js'
import { PERTURBATION_KINDS, type PerturbationKind } from '../study/perturb.js'

export interface ExploreFlags {
  seeds: number
  seed?: number
  jobs: number
  bugs?: readonly BugName[]
  policy?: string
  era?: KernelEra
  cpus?: number
  perturb?: readonly PerturbationKind[]
  expect: boolean
  keepGoing?: boolean
  exhaustive?: boolean
  maxRuns: number
  depth?: number
  choices?: string
  shrink: boolean
  shrinkRuns: number
  output?: string
  json?: boolean
}

/** What to type to see the failure of `seed` again; without a seed, up to where the way to it is named. */
export function commandFor({ file, flags }: {
  file: string
  flags: Pick<ExploreFlags, 'bugs' | 'policy' | 'era' | 'cpus' | 'perturb' | 'expect'>
}, seed: number | undefined): string {
  const { bugs, policy, era, cpus, perturb, expect } = flags
  const isEverything = perturb === undefined || perturb.length === PERTURBATION_KINDS.length
  return [
    'shootdown explore', shellWord(file), ...(seed === undefined ? [] : [`--seed ${seed}`]),
    ...(bugs === undefined ? [] : [`--bugs ${bugs.join(',')}`]),
    ...(policy === undefined ? [] : [`--policy ${policy}`]),
    ...(era === undefined ? [] : [`--era ${era}`]),
    ...(cpus === undefined ? [] : [`--cpus ${cpus}`]),
    ...(isEverything ? [] : [`--perturb ${perturb.join(',')}`]),
    ...(expect ? [] : ['--no-expect']),
  ].join(' ')
}

export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}
