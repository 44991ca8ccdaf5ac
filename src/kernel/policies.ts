// The catalogue of lazy-TLB and shootdown policies. Adding one is a module and a line here.

import type { GeometryName } from '../machine/config.js'
import type { KernelEra, MaskForm } from './config.js'
import { linux46 } from './tlb/tlb-flush-46.js'
import { linux6x } from './tlb/tlb-flush-6x.js'
import { eager } from './tlb/tlb-eager.js'
import { hardwareCoherent } from './tlb/tlb-coherent.js'
import { kvmPv } from './tlb/tlb-kvm-pv.js'
import { linux6xInvlpgb } from './tlb/tlb-invlpgb.js'
import { latr } from './tlb/tlb-latr.js'
import { reuseDeferred } from './tlb/tlb-luf.js'
import { mach1989 } from './tlb/tlb-mach.js'
import { shootLazies } from './tlb/tlb-shoot-lazies.js'
import { xen } from './tlb/tlb-xen.js'
import type { TlbPolicy } from './tlb/tlb-policy.js'

const ALL: readonly TlbPolicy[] = [
  linux46,
  linux6x,
  linux6xInvlpgb,
  shootLazies,
  eager,
  xen,
  kvmPv,
  mach1989,
  latr,
  reuseDeferred,
  hardwareCoherent,
]

/** By name, in the order in which comparisons show them. */
export const POLICIES: Readonly<Record<string, TlbPolicy>> = Object.fromEntries(ALL.map(one => [one.name, one]))

export const POLICY_NAMES: readonly string[] = ALL.map(one => one.name)

/** What a kernel of this era does when nothing else is said. */
export function nativePolicy(era: KernelEra): string {
  return era
}

/** Why a kernel cannot isolate page tables (pti.ts); empty when it can. */
export function whyNoPti(era: KernelEra, policy: string, geometry: GeometryName): string {
  if (era === 'linux-4.6') return 'linux-4.6 has no page-table isolation'
  const { withoutPti } = POLICIES[policy]!
  if (withoutPti !== undefined) return `${policy} has no page-table isolation: ${withoutPti}`
  if (!geometry.startsWith('x86-64')) return `page-table isolation is modelled for x86-64 only, not for ${geometry}`
  return ''
}

/** How a kernel keeps mm_cpumask when nothing else is said. */
export function nativeMaskForm(era: KernelEra): MaskForm {
  return era === 'linux-4.6' ? 'eager' : 'trimmed'
}

/** Why a kernel cannot keep mm_cpumask in that form (tlb/mm-cpumask.ts); empty when it can. */
export function whyNoMaskForm(era: KernelEra, policy: string, form: MaskForm): string {
  if (form === nativeMaskForm(era)) return ''
  if (era === 'linux-4.6') return 'linux-4.6 clears a bit of mm_cpumask at every switch'
  const { withoutMaskForms } = POLICIES[policy]!
  return withoutMaskForms === undefined ? '' : `${policy} needs mmCpumask trimmed: ${withoutMaskForms}`
}
