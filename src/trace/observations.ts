// The words of what is observed of a run besides its events (inspect/run-recorder.ts writes them, reports
// show them): what a CPU does, which table entries were written, what a TLB was seen to hold.

/** What a CPU does. */
export const MODE_USER = 0
export const MODE_KERNEL = 1
/** In the kernel, held up: for acknowledgements, a lock, a barrier. */
export const MODE_WAITING = 2
export const MODE_INTERRUPT = 3
export const MODE_IDLE = 4
/** A virtual CPU that its host has taken away. */
export const MODE_AWAY = 5

/** `mm`: ctx_id of the loaded page tables, 1 for init_mm. `lazy`: they are borrowed, nobody here uses them. */
export const LANE_COLUMNS = ['cpu', 'mode', 'pid', 'mm', 'lazy'] as const
export type LaneColumn = (typeof LANE_COLUMNS)[number]

/** `slot` -1: the whole frame, which was a table before, is zero from here on. */
export const WRITE_COLUMNS = ['cpu', 'pfn', 'slot', 'lo', 'hi'] as const
export type WriteColumn = (typeof WRITE_COLUMNS)[number]

/**
 * `from`, `to`: looks, both included. `cache`: 0 to 2 as in CACHE_NAMES, 3 and more: the paging cache of level
 * `cache - 3`. `mm` 0: gone. `verdict`: as in VERDICTS.
 */
export const HELD_COLUMNS = [
  'from', 'to', 'cpu', 'cache', 'hi', 'lo', 'level', 'pcid', 'pfn', 'flags', 'mm', 'verdict', 'why',
] as const
export type HeldColumn = (typeof HELD_COLUMNS)[number]

export const CACHE_NAMES = ['l1i', 'l1d', 'stlb'] as const
/** `cache` of the paging cache of the pgd level; those of the other levels follow. */
export const FIRST_PAGING_CACHE = 3

export const HELD_WRITABLE = 1
export const HELD_USER = 2
export const HELD_DIRTY = 4
export const HELD_GLOBAL = 8
export const HELD_NX = 16

/** How an entry compares with the tables: inspect/tlb-verdict.ts. */
export const VERDICTS = ['ok', 'narrower', 'pending', 'STALE'] as const
