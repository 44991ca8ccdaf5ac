// Invariants that tie page tables, areas and frames together: I29 (nothing is freed too early or
// forgotten) and I30 (copy-on-write). They recount everything from the tables, so they are for
// now and then. Memory holds only what was committed, whatever cores have run ahead, so they are
// right at every step.
//
// Between two steps an operation may be half done: a gather holds frames that are unhooked and
// not yet freed, a fault has a frame that is not yet mapped. So counters may be higher than what
// the tables show, never lower; where nothing is under way they must be equal.

import { entryPresent, entryWritable } from '../machine/entry.js'
import { LEVEL_NAMES } from '../machine/geometry.js'
import { PROT_WRITE } from '../kernel/abi.js'
import { FRAME_KERNEL, FRAME_TABLE, FRAME_USER } from '../kernel/pages/frames.js'
import { PAGE_SPECIAL } from '../kernel/mm/leaf.js'
import type { Mm } from '../kernel/mm/mm.js'
import { isMigrating } from '../kernel/pages/migration-entries.js'
import { cachePlace } from '../kernel/pages/page-cache.js'
import { rootOrder, userRoot } from '../kernel/tlb/pti.js'
import type { KernelState } from '../kernel/state.js'
import { isMigrationEntry, isSwapPte, swapValue } from '../kernel/reclaim/swap-entry.js'
import { swapCacheSlot } from '../kernel/reclaim/swap.js'
import { knownTablesOf } from './known-tables.js'
import type { TableEntry } from './table-walk.js'
import { allSlots, forEachEntry } from './table-walk.js'
import { violated } from './violation.js'

/** What the tables say about one frame, or about one compound page as a whole. */
interface Mapping {
  /** Entries of base pages, or huge entries. */
  count: number
  /** The first mm that maps it, and where. */
  mm: Mm
  vpn: number
  /** One of the entries that map it permits writes. */
  isWritable: boolean
}

interface Recount {
  /** Entries that name each swap slot. */
  swapped: Map<number, number>
  /** Compound pages that huge entries map, by first frame. */
  huge: Map<number, Mapping>
  pages: Map<number, Mapping>
  tables: Map<number, Mm>
  /** References that the policy keeps until it has flushed. */
  kept: Map<number, number>
}

/** Recounts frames and tables from the roots. Returns how many tables it read. */
export function checkFrames(k: KernelState, cycle?: number): number {
  const recount: Recount = { swapped: new Map(), huge: new Map(), pages: new Map(), tables: new Map(), kept: new Map() }
  for (const { pages, tables } of k.deferredFrees) {
    for (const pfn of [...pages, ...tables].map(page => k.frames.headOf(page))) {
      recount.kept.set(pfn, (recount.kept.get(pfn) ?? 0) + 1)
    }
  }
  for (const { frames } of k.unflushed) for (const pfn of frames) recount.kept.set(pfn, 1)
  for (const mm of k.mms.values()) checkTree(k, mm, recount, cycle)
  const quiet = isQuiet(k)
  checkSwap(k, recount, quiet, cycle)
  const totals = new Map<number, number>()
  for (const [pfn, mapping] of recount.pages) checkPage(k, pfn, mapping, recount, totals, quiet, cycle)
  for (const [pfn, mapping] of recount.huge) checkHugePage(k, pfn, mapping, totals, quiet, cycle)
  for (const [head, total] of totals) checkReferences(k, head, total, recount, quiet, cycle)
  if (quiet) checkLeaks(k, recount, totals, cycle)
  return recount.tables.size
}

/** No operation is under way: every CPU runs a program, or is halted in the idle loop, and nobody sleeps in one. */
function isQuiet(k: KernelState): boolean {
  if (k.tasks.some(task => task.isMidway && task.state !== 'Z')) return false
  return k.cpus.every((cpu) => cpu.inUserMode || (cpu.isIdle && cpu.stack.length === 1 && cpu.stack[0]!.halted))
}

function checkTree(k: KernelState, mm: Mm, recount: Recount, cycle: number | undefined): void {
  const known = knownTablesOf(k)
  const isSettled = mm.gathersPending === 0 && !mm.mmapLock.isHeldForWriting && !isAnyTableLocked(mm)
  let tables = 1 << rootOrder(k)
  let rssPages = 0
  let swapPages = 0
  addTable(k, mm, mm.pgdPfn, recount, cycle)
  for (const deposited of mm.depositedTables.values()) {
    tables += deposited.length
    for (const table of deposited) addTable(k, mm, table, recount, cycle)
  }
  if (mm === k.initMm) tables += addKernelTables(k, recount, cycle)
  else forEachEntry(k, mm, { from: 0, to: known.firstKernelSlot }, (entry) => {
    if (!entry.isLeaf) {
      tables += 1
      // What a table holds that several address spaces share is counted once.
      const isKnown = k.sharedTables.has(entry.pfn) && recount.tables.has(entry.pfn)
      addTable(k, mm, entry.pfn, recount, cycle)
      return !isKnown
    }
    checkArea(k, mm, entry, cycle)
    if (isSwapPte(entry.lo, entry.hi)) {
      if (isMigrationEntry(entry.lo, entry.hi)) rssPages += countMigrating(k, mm, entry, cycle)
      else swapPages += countSwapped(entry, recount)
      return true
    }
    // A driver's memory: nobody counts its mappings.
    if ((entry.lo & PAGE_SPECIAL) !== 0) return true
    if (entry.pfn === k.zeroPagePfn) {
      if (entryWritable(entry.lo)) violated(k, 'I30', { mm, vpn: entry.vpn, cycle }, 'the zero page is writable')
    } else {
      if (!k.sharedTables.has(entry.table)) rssPages += entry.pages
      addPage(mm, entry, recount)
    }
    return true
  }, { known })
  const isBelow = tables > mm.tablePages || rssPages > mm.rssPages || swapPages > mm.swapPages
  const isOther = tables !== mm.tablePages || rssPages !== mm.rssPages || swapPages !== mm.swapPages
  if (!isBelow && !(isSettled && isOther)) return
  const counts = `table_pages ${mm.tablePages}, rss ${mm.rssPages}, swapped ${mm.swapPages}; ` +
    `the tree has ${tables} tables, ${rssPages} pages, ${swapPages} swapped`
  violated(k, 'I29', { mm, cycle },
    isBelow ? `the counters are below what is mapped: ${counts}` : `the counters differ from what is mapped: ${counts}`)
}

/** The kernel's own tables without the root; nobody counts what their leaves map. Returns how many they are. */
function addKernelTables(k: KernelState, recount: Recount, cycle: number | undefined): number {
  const { initMm } = k
  const known = knownTablesOf(k)
  const found = known.kernelTables()
  for (let i = 1; i < found.length; i++) addTable(k, initMm, found[i]!, recount, cycle)
  let tables = found.length - 1
  if (!k.config.kernel.pti) return tables
  // What user roots share of the kernel hangs below tables of their own, some of it below the kernel's.
  forEachEntry(k, initMm, allSlots(k), (entry) => {
    if (entry.isLeaf || recount.tables.has(entry.pfn)) return false
    tables += 1
    addTable(k, initMm, entry.pfn, recount, cycle)
    return true
  }, { root: userRoot(k, initMm), known })
  return tables
}

function isAnyTableLocked({ pageTableLocks }: Mm): boolean {
  for (const lock of pageTableLocks.values()) if (lock.isHeld) return true
  return false
}

/** An entry that names a swap slot: the slot counts at least as many. */
function countSwapped(entry: TableEntry, recount: Recount): number {
  const slot = swapValue(entry.lo, entry.hi)
  recount.swapped.set(slot, (recount.swapped.get(slot) ?? 0) + 1)
  return 1
}

/** A migration entry: whoever moves the page will replace it. Without an area it is about to be zapped. */
function countMigrating(k: KernelState, mm: Mm, { vpn, lo, hi, pages }: TableEntry, cycle: number | undefined): number {
  const frame = swapValue(lo, hi)
  if (mm.vmas.find(vpn) !== undefined && !isMigrating(k, mm, vpn, frame)) {
    violated(k, 'I29', { mm, vpn, cycle },
      `the migration entry for frame ${frame} was forgotten: nobody will replace it`)
  }
  return pages
}

/** An entry lies in an area and permits no more than it; an area goes first, its entries while a gather is open. */
function checkArea(k: KernelState, mm: Mm, entry: TableEntry, cycle: number | undefined): void {
  if (mm.gathersPending > 0) return
  const area = mm.vmas.find(entry.vpn)
  const name = LEVEL_NAMES[entry.level]
  if (area === undefined) {
    violated(k, 'I29', { mm, vpn: entry.vpn, cycle }, `a ${name} entry is left, frame ${entry.pfn}, outside every area`)
  }
  if (entryPresent(entry.lo) && entryWritable(entry.lo) && !area.shared && cachePlace(k, entry.pfn) !== undefined) {
    violated(k, 'I30', { mm, vpn: entry.vpn, cycle }, `the ${name} entry of a private area permits writes to the file`)
  }
  if (entryPresent(entry.lo) && entryWritable(entry.lo) && (area.prot & PROT_WRITE) === 0) {
    violated(k, 'I18', { mm, vpn: entry.vpn, cycle }, `the ${name} entry permits writes, its area does not`)
  }
}

function addTable(k: KernelState, mm: Mm, pfn: number, recount: Recount, cycle: number | undefined): void {
  const other = recount.tables.get(pfn)
  const shared = k.sharedTables.get(pfn)
  if (shared !== undefined) {
    recount.tables.set(pfn, mm)
    if (k.frames.use[pfn] === FRAME_TABLE && k.frames.refcount[pfn] === shared.sharers.length) return
    violated(k, 'I29', { mm, cycle },
      `table frame ${pfn} has ${shared.sharers.length} users, refcount ${k.frames.refcount[pfn]}`)
  }
  if (other !== undefined) {
    violated(k, 'I29', { mm, cycle }, `table frame ${pfn} is in two places, also in mm ${other.ctxId}`)
  }
  recount.tables.set(pfn, mm)
  if (k.frames.use[pfn] === FRAME_TABLE && k.frames.refcount[pfn] === 1) return
  violated(k, 'I29', { mm, cycle }, `its tree uses table frame ${pfn}, which was given back`)
}

function addPage(mm: Mm, entry: TableEntry, recount: Recount): void {
  const isWritable = entryPresent(entry.lo) && entryWritable(entry.lo)
  const mappings = entry.pages > 1 ? recount.huge : recount.pages
  const known = mappings.get(entry.pfn)
  if (known === undefined) {
    mappings.set(entry.pfn, { count: 1, mm, vpn: entry.vpn, isWritable })
    return
  }
  known.count += 1
  known.isWritable ||= isWritable
}

/** Mappings of one frame, or of a part of a compound page. */
function checkPage(
  k: KernelState, pfn: number, mapping: Mapping, recount: Recount, totals: Map<number, number>, quiet: boolean,
  cycle: number | undefined,
): void {
  const { mm, vpn, count } = mapping
  const { use, mapcount } = k.frames
  const head = k.frames.headOf(pfn)
  totals.set(head, (totals.get(head) ?? 0) + count)
  const counts = (): string => countsOf(k, pfn, count)
  if (use[pfn] !== FRAME_USER) violated(k, 'I29', { mm, vpn, cycle }, `mapped, but no user frame: ${counts()}`)
  if (count > mapcount[pfn]!) violated(k, 'I29', { mm, vpn, cycle }, `counted too low: ${counts()}`)
  if (quiet && count !== mapcount[pfn]) {
    violated(k, 'I29', { mm, vpn, cycle }, `nothing is under way, but the counts differ: ${counts()}`)
  }
  const whole = recount.huge.get(head)
  const isWritable = mapping.isWritable || whole?.isWritable === true
  if (count + (whole?.count ?? 0) > 1 && isWritable && cachePlace(k, head) === undefined) {
    const also = whole === undefined ? '' : `, and ${whole.count} huge mappings`
    violated(k, 'I30', { mm, vpn, cycle }, `shared by copy-on-write and writable: ${counts()}${also}`)
  }
  const slot = swapCacheSlot(k, pfn)
  if (slot !== undefined && k.swap.counts[slot]! > 0 && mapping.isWritable) {
    violated(k, 'I30', { mm, vpn, cycle }, `shared through its swap slot and writable: ${counts()}`)
  }
}

/** Mappings of a compound page by huge entries. */
function checkHugePage(
  k: KernelState, head: number, mapping: Mapping, totals: Map<number, number>, quiet: boolean,
  cycle: number | undefined,
): void {
  const { mm, vpn, count, isWritable } = mapping
  const { use, entireMapcount } = k.frames
  totals.set(head, (totals.get(head) ?? 0) + count)
  const counts = (): string => `compound page ${head} has ${count} huge mappings, ` +
    `entire mapcount ${entireMapcount[head]}, refcount ${k.frames.refcount[head]}`
  if (use[head] !== FRAME_USER || k.frames.headOf(head) !== head) {
    violated(k, 'I29', { mm, vpn, cycle }, `mapped, but no user page of this size: ${counts()}`)
  }
  if (count > entireMapcount[head]!) violated(k, 'I29', { mm, vpn, cycle }, `counted too low: ${counts()}`)
  if (quiet && count !== entireMapcount[head]) {
    violated(k, 'I29', { mm, vpn, cycle }, `nothing is under way, but the counts differ: ${counts()}`)
  }
  if (count > 1 && isWritable && cachePlace(k, head) === undefined) {
    violated(k, 'I30', { mm, vpn, cycle }, `shared by copy-on-write and writable: ${counts()}`)
  }
}

/** Every slot counts the entries that name it; what neither an entry nor the swap cache knows is free. */
function checkSwap(k: KernelState, recount: Recount, quiet: boolean, cycle: number | undefined): void {
  const { slots, counts, cache, reading, freeSlots } = k.swap
  if (slots === 0) return
  let used = 0
  for (let slot = 1; slot < slots; slot++) {
    const found = recount.swapped.get(slot) ?? 0
    if (counts[slot]! > 0 || cache.has(slot) || reading.has(slot)) used += 1
    if (found > counts[slot]! || (quiet && found !== counts[slot])) {
      violated(k, 'I29', { cycle }, `swap slot ${slot} counts ${counts[slot]} entries, the tables have ${found}`)
    }
  }
  if (used + freeSlots !== slots - 1) {
    violated(k, 'I29', { cycle }, `${used} of ${slots - 1} swap slots are in use, but ${freeSlots} are free`)
  }
}

/** Every mapping of any part of a block holds a reference, so do the page cache and the swap cache. */
function checkReferences(
  k: KernelState, head: number, total: number, recount: Recount, quiet: boolean, cycle: number | undefined,
): void {
  const { refcount } = k.frames
  const references = total + (recount.kept.get(head) ?? 0) + (isCached(k, head) ? 1 : 0)
  if (references <= refcount[head]! && (!quiet || references === refcount[head])) return
  const first = recount.huge.get(head) ?? partOf(k, recount, head)
  const text = refcount[head]! < references ? 'counted too low' : 'nothing is under way, but the counts differ'
  violated(k, 'I29', { ...(first === undefined ? {} : { mm: first.mm, vpn: first.vpn }), cycle },
    `${text}: ${countsOf(k, head, total)}`)
}

/** The first part of a block that a base-page entry maps. */
function partOf(k: KernelState, { pages }: Recount, head: number): Mapping | undefined {
  for (let pfn = head; pfn < head + 2 ** k.frames.order[head]!; pfn++) {
    const mapping = pages.get(pfn)
    if (mapping !== undefined) return mapping
  }
  return undefined
}

function countsOf(k: KernelState, pfn: number, count: number): string {
  const cached = cachePlace(k, pfn)
  const slot = swapCacheSlot(k, pfn)
  const { mapcount, refcount } = k.frames
  return `frame ${pfn} has ${count} mappings, mapcount ${mapcount[pfn]}, refcount ${refcount[k.frames.headOf(pfn)]}` +
    (cached === undefined ? '' : `, page ${cached.page} of ${cached.file.name}`) +
    (slot === undefined ? '' : `, in the swap cache as slot ${slot}`)
}

/** The page cache or the swap cache holds a reference. */
function isCached(k: KernelState, head: number): boolean {
  return cachePlace(k, head) !== undefined || swapCacheSlot(k, head) !== undefined
}

/** A page of a file that nobody maps belongs to the cache alone; a driver's memory always. */
function checkCached(k: KernelState, recount: Recount, cycle: number | undefined): void {
  const { use, refcount } = k.frames
  for (const [pfn, { file, page }] of k.pageCache.places) {
    if (recount.pages.has(pfn) || recount.huge.has(pfn)) continue
    const references = 1 + (recount.kept.get(pfn) ?? 0)
    const isCounted = refcount[pfn] === references && use[pfn] === (file.kind === 'device' ? FRAME_KERNEL : FRAME_USER)
    if (isCounted && file.pages.get(page) === pfn && (file.kind === 'file' || file.mappedPages > 0)) continue
    violated(k, 'I29', { cycle }, `page ${page} of ${file.name} is in the cache, but frame ${pfn} has ` +
      `${refcount[pfn]} references and ${file.mappedPages} pages of the file are mapped`)
  }
}

/** Nobody maps it, but entries that name its slot will find it in the swap cache. */
function isKeptInSwap(k: KernelState, pfn: number): boolean {
  const slot = swapCacheSlot(k, pfn)
  return slot !== undefined && k.frames.refcount[pfn] === 1 && k.swap.counts[slot]! > 0
}

/** Nothing is under way: every frame that is in use is in some tree, or in the page cache. */
function checkLeaks(
  k: KernelState, recount: Recount, totals: ReadonlyMap<number, number>, cycle: number | undefined,
): void {
  checkCached(k, recount, cycle)
  const { use, refcount, count } = k.frames
  for (let pfn = 0; pfn < count; pfn++) {
    if (refcount[pfn]! === 0 || recount.kept.has(pfn)) continue
    const isCached = cachePlace(k, pfn) !== undefined || isKeptInSwap(k, pfn)
    if (use[pfn] === FRAME_USER && !totals.has(pfn) && !isCached) {
      violated(k, 'I29', { cycle }, `user frame ${pfn} is referenced ${refcount[pfn]} times, but nothing maps it`)
    }
    if (use[pfn] === FRAME_TABLE && !recount.tables.has(pfn)) {
      violated(k, 'I29', { cycle }, `table frame ${pfn} is in no tree`)
    }
  }
}
