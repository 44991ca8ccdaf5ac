// Where migration entries stand, by the frame that the page leaves: what a walk of its reverse
// mappings finds in Linux while the frame itself is not mapped. An entry that was zapped meanwhile
// stays on the list; whoever takes it looks whether it is still there.

import type { Mm } from '../mm/mm.js'
import type { RmapEntry } from './rmap.js'
import type { KernelState } from '../state.js'

export interface Migration {
  readonly entries: Map<number, RmapEntry[]>
  /** Frames that somebody is about to move (off the LRU). */
  readonly isolated: Map<number, { isListed: boolean; active: boolean }>
}

export function makeMigration(): Migration {
  return { entries: new Map(), isolated: new Map() }
}

/** The entry of `mm` for page `vpn` stands in for frame `pfn` from now on. */
export function migrationStarts(k: KernelState, mm: Mm, vpn: number, pfn: number): void {
  const entries = k.migration.entries.get(pfn)
  if (entries === undefined) k.migration.entries.set(pfn, [{ mm, vpn, pages: 1 }])
  else entries.push({ mm, vpn, pages: 1 })
}

/** mremap carried such an entry elsewhere. */
export function migrationMoved(k: KernelState, mm: Mm, from: number, to: number, pfn: number): void {
  const entry = k.migration.entries.get(pfn)?.find(each => each.vpn === from && each.mm === mm)
  if (entry !== undefined) entry.vpn = to
}

/** The next of a frame's entries; undefined: there are no more. It stays on the list until {@link migrationEnds}. */
export function nextMigrationEntry(k: KernelState, pfn: number): RmapEntry | undefined {
  return k.migration.entries.get(pfn)?.[0]
}

/** The entry that {@link nextMigrationEntry} has named stands in for its frame no more, or is gone. */
export function migrationEnds(k: KernelState, pfn: number): void {
  const entries = k.migration.entries.get(pfn)
  entries?.shift()
  if (entries?.length === 0) k.migration.entries.delete(pfn)
}

/** Will somebody replace the entry of `mm` for page `vpn`, which stands in for frame `pfn`? */
export function isMigrating(k: KernelState, mm: Mm, vpn: number, pfn: number): boolean {
  return k.migration.entries.get(pfn)?.some(each => each.vpn === vpn && each.mm === mm) === true
}
