// The catalogue of lazy-TLB and shootdown policies. Adding one is a module and a line here.

import type { KernelEra } from './config.js'
import { linux46 } from './tlb-flush-46.js'
import { linux6x } from './tlb-flush-6x.js'
import type { TlbPolicy } from './tlb-policy.js'

const ALL: readonly TlbPolicy[] = [
  linux46,
  linux6x,
]

/** By name, in the order in which comparisons show them. */
export const POLICIES: Readonly<Record<string, TlbPolicy>> = Object.fromEntries(ALL.map(one => [one.name, one]))

export const POLICY_NAMES: readonly string[] = ALL.map(one => one.name)

/** What a kernel of this era does when nothing else is said. */
export function nativePolicy(era: KernelEra): string {
  return era
}
