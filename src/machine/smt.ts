// Hardware threads: two CPUs of one core share its TLBs. Static partitioning, as some arrays of real cores have it
// while both threads run: each thread has half of every array to itself, so what one does never moves an entry of the
// other, and a CPU's TLB stays a function of its own accesses (docs/determinism.md).
//
// Simplified: shared arrays are halved, too. In real cores threads compete for some of them by tags, where a thread
// alone may use nearly all; here its misses are those of the half. Competition would make a TLB depend on the order of
// accesses of two CPUs, so windows could not run apart. The threads share nothing else: execution units are their own,
// and an interrupt or a line takes as long to a sibling as to any CPU of the socket.

import type { TlbArrayConfig, TlbConfig, TlbLevelConfig } from './config.js'

/** How CPUs of one core share its TLBs. */
export const SMT_MODES = ['partitioned'] as const
export type SmtMode = (typeof SMT_MODES)[number]

/** What one of two threads has of `tlb`; undefined when an array has neither two ways nor an even number of sets. */
export function halfOf({ l1i, l1d, stlb, pagingCache }: TlbConfig): TlbConfig | undefined {
  const levels = [l1i, l1d, stlb]
  if (levels.some(({ arrays }) => arrays.some(({ entries, ways }) => ways < 2 && entries % 2 !== 0))) return undefined
  const [halfL1i, halfL1d, halfStlb] = levels.map(halfLevel)
  return {
    l1i: halfL1i!, l1d: halfL1d!, stlb: halfStlb!,
    pagingCache: {
      pgd: halfEntries(pagingCache.pgd), p4d: halfEntries(pagingCache.p4d), pud: halfEntries(pagingCache.pud),
      pmd: halfEntries(pagingCache.pmd),
    },
  }
}

function halfLevel(level: TlbLevelConfig): TlbLevelConfig {
  return { ...level, arrays: level.arrays.map(halfArray) }
}

/** Half of the sets; of a fully associative array, or an odd number of sets, half of the ways. */
function halfArray({ entries, ways }: TlbArrayConfig): TlbArrayConfig {
  const sets = entries / ways
  if (sets % 2 === 0) return { entries: entries / 2, ways }
  const half = Math.floor(ways / 2)
  return { entries: sets * half, ways: half }
}

/** A cache that is there keeps an entry. */
function halfEntries(entries: number): number {
  return Math.ceil(entries / 2)
}
