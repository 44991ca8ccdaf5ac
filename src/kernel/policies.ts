// The catalogue of lazy-TLB and shootdown policies. Adding one is a module and a line here.

import type { KernelEra } from './config.js'
import { linux46 } from './tlb-flush-46.js'
import { linux6x } from './tlb-flush-6x.js'
import type { TlbPolicy } from './tlb-policy.js'

export const POLICIES: Readonly<Record<KernelEra, TlbPolicy>> = {
  'linux-4.6': linux46,
  'linux-6.x': linux6x,
}
