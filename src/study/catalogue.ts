// Which plain program each bug of the catalogue is looked for in, and the search itself: orders until
// the first that fails, seeds until the first that fails, and how small the failure becomes.
//
// The programs (scenarios/hunt) stretch no price and name no bug; several bugs share one.

import type { BugName } from '../kernel/bugs.js'
import type { KernelEra } from '../kernel/config.js'
import { searchOrders } from './exhaust.js'
import type { OrderOutcome, OrderTask } from './exhaust.js'
import type { ExploreOutcome, ExploreTask } from './explore.js'
import { PERTURBATION_KINDS } from './perturb.js'
import { searchSeeds } from './seed-search.js'
import type { RunTask } from './seed-search.js'
import { failingTree, shrink } from './shrink.js'

export interface Hunt {
  /** File below scenarios/hunt. */
  file: string
  era: KernelEra
  /** The era's own, unless the bug shows itself in the kernel of a guest only. */
  policy?: string
}

export const HUNTS: Readonly<Record<BugName, Hunt>> = {
  'h01-mask-bit-in-store-buffer': { file: 'munmap-and-sleep.yaml', era: 'linux-4.6' },
  'h02-numa-marker-with-flush-pending': { file: 'numa-and-migrate.yaml', era: 'linux-6.x' },
  'h03-batched-flush-not-seen': { file: 'reclaim-and-mprotect.yaml', era: 'linux-6.x' },
  'h04-mremap-flush-after-unlock': { file: 'mremap-and-truncate.yaml', era: 'linux-4.6' },
  'h05-mapcount-not-atomic-against-split': { file: 'split-and-cow.yaml', era: 'linux-4.6' },
  'h06-lazy-cpu-skips-freed-tables': { file: 'munmap-and-sleep.yaml', era: 'linux-6.x' },
  'h07-lazy-ldt-not-reloaded': { file: 'munmap-and-sleep.yaml', era: 'linux-4.6' },
  'h08-switching-cpu-skipped': { file: 'switch-and-dontneed.yaml', era: 'linux-6.x' },
  'h09-use-mm-with-interrupts-on': { file: 'kthread-and-munmap.yaml', era: 'linux-4.6' },
  'h10-device-area-unlinked-before-flush': { file: 'device-and-munmap.yaml', era: 'linux-6.x' },
  'h11-hugetlb-unshare-without-flush': { file: 'hugetlb-and-munmap.yaml', era: 'linux-6.x' },
  'h12-pae-top-entry-without-full-flush': { file: 'tables-and-munmap.yaml', era: 'linux-6.x' },
  'h13-flush-after-page-table-unlock': { file: 'numa-and-migrate.yaml', era: 'linux-6.x' },
  'h14-invlpg-keeps-globals-with-pcid': { file: 'kernel-buffers.yaml', era: 'linux-6.x' },
  // Elsewhere the flush of the collapse interrupts the walker's CPU, which answers when the walk is over.
  'h15-collapse-without-sync-ipi': { file: 'collapse-and-gup.yaml', era: 'linux-6.x', policy: 'xen' },
  'h16-parallel-gather-not-flushed': { file: 'dontneed-and-dontneed.yaml', era: 'linux-4.6' },
}

export interface HuntLimits {
  seeds: number
  /** Seeds for a bug that an order has shown already. */
  seedsWhenFound: number
  orders: number
  /** 0: failures are not shrunk. */
  shrinkRuns: number
  jobs: number
  signal?: AbortSignal
}

export interface HuntRunners {
  seeds: RunTask<ExploreTask, ExploreOutcome>
  orders: RunTask<OrderTask, OrderOutcome>
}

export interface HuntResult extends Hunt {
  bug: BugName
  /** Seeds run, the failing one included; undefined: none of them failed. */
  seeds?: number
  /** Orders run, the failing one included; undefined: none of them failed. */
  orders?: number
  invariants: string[]
  operationsBefore?: number
  operations?: number
  /** The shrunk scenario fails under the plain prices. */
  isPlain?: boolean
}

/** Looks for one bug. `text` is that of the program, `path` where it stands. */
export async function hunt(
  bug: BugName, one: Hunt, { text, path }: { text: string; path: string }, run: HuntRunners, limits: HuntLimits,
): Promise<HuntResult> {
  const { jobs, signal } = limits
  const control = { jobs, ...(signal === undefined ? {} : { signal }) }
  const overrides = { bugs: [bug], era: one.era, ...(one.policy === undefined ? {} : { policy: one.policy }) }
  const task = { text, file: path, overrides, kinds: PERTURBATION_KINDS, expectations: true }
  const result: HuntResult = { bug, ...one, invariants: [] }
  const names = new Set<string>()
  const byOrders = await searchOrders(task, run.orders, { maxRuns: limits.orders, depth: Infinity, ...control })
  if (byOrders.failure !== undefined) {
    names.add(byOrders.failure.name)
    result.orders = byOrders.runs
  }
  const count = byOrders.failure === undefined ? limits.seeds : limits.seedsWhenFound
  const bySeeds = await searchSeeds(task, run.seeds, { first: 0, count, bail: true, ...control })
  const [failure] = bySeeds.failures
  if (failure !== undefined) {
    names.add(failure.name)
    result.seeds = bySeeds.runs
  }
  if (failure !== undefined && limits.shrinkRuns > 0) {
    const shrunk = await shrink({ tree: failingTree(task), failure, kinds: task.kinds },
      { ...task, seeds: [], bail: true, wanted: '', plainMustPass: false }, run.seeds,
      { maxRuns: limits.shrinkRuns, ...control })
    Object.assign(result, {
      operationsBefore: shrunk.operationsBefore, operations: shrunk.operations,
      isPlain: shrunk.failure.seed === 0,
    })
  }
  return { ...result, invariants: [...names] }
}
