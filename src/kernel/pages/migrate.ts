// Pages that change their frame (mm/migrate.c), whoever maps them:
//
//   lock the page; replace every entry that maps it by a migration entry; flush
//   nobody else has a reference?   copy, and entries for the new frame
//   somebody has (a pin, a gather) the old entries come back, and it is tried again later
//
// A program that touches the page meanwhile faults, finds the migration entry, and waits for the
// page's lock.
//
//            4.6                                  6.x
//   pages    one after the other                  512 are unmapped, then copied; who did not
//                                                 succeed is tried again alone
//   retries  from the start, with a new flush     of the copy alone, the page stays unmapped
//   flush    of each entry, its table's lock held one for all, where other CPUs have the mm
//
// Simplified: huge pages stay where they are. A page that is mapped by several address spaces moves
// without further ado (MPOL_MF_MOVE_ALL).

import { entryPfn, PAGE_ACCESSED, PAGE_DIRTY, PAGE_RW, pteAccessible, ptePresent } from '../../machine/entry.js'
import { LEVEL_PTE } from '../../machine/geometry.js'
import { ERRNO, PROT_WRITE } from '../abi.js'
import type { KernelCpu } from '../cpu.js'
import { isWritableAtOnce } from '../mm/fault-file.js'
import { FRAME_USER } from './frames.js'
import type { KernelOp } from '../kernel-op.js'
import { leafFlags, PAGE_SPECIAL, parksDirty, SAVED_DIRTY_HI, storeLeaf } from '../mm/leaf.js'
import { isActive, isolate as isolateLru, lruMove, putback, setPageDirty } from './lru.js'
import type { Mm } from '../mm/mm.js'
import { cachePlace, keepDirty } from './page-cache.js'
import { lockPage, trylockPage, unlockPage } from '../locking/page-lock.js'
import { migrationEnds, migrationStarts, nextMigrationEntry } from './migration-entries.js'
import { forEachLeaf, setEntry } from '../mm/pgtable.js'
import type { RmapEntry } from './rmap.js'
import { pageAddRmap, pageRemoveRmap, rmapWalk } from './rmap.js'
import { lockEntry } from './rmap-walk.js'
import type { KernelState } from '../state.js'
import { isMigrationDirty, isMigrationEntry, isMigrationYoung, isWritableMigrationEntry, makeMigrationEntry,
  SWP_MIGRATION_READ, SWP_MIGRATION_READ_EXCLUSIVE, SWP_MIGRATION_WRITE, swapType, swapValue,
} from '../reclaim/swap-entry.js'
import { freeSwapCache, moveSwapCache, swapCacheSlot } from '../reclaim/swap.js'
import type { UnmapBatch } from '../reclaim/unmap-batch.js'
import { batchUnmap, flushBatch, makeUnmapBatch, shouldDefer } from '../reclaim/unmap-batch.js'
import type { Vma } from '../mm/vma.js'

/** NR_MAX_MIGRATE_PAGES_RETRY: how often a page that somebody holds is tried. */
const RETRIES = 10
/** NR_MAX_MIGRATE_ASYNC_RETRY of 6.x: how many of them are made for all pages together. */
const ASYNC_RETRIES = 3
/** The passes of 4.6 that wait for nobody's page lock. */
const FORCE_AFTER = 3
/** NR_MAX_BATCHED_MIGRATION. */
const BATCH_PAGES = 512

/** Frames that have not moved, and whether that is for want of memory. */
interface Left {
  frames: number[]
  isOutOfMemory: boolean
}

/** A page on its way. */
interface Moving {
  readonly old: number
  readonly fresh: number
}

/** move_pages() to wherever there is room: pages that moved; EAGAIN when somebody held one; ENOMEM. */
export function* movePages(k: KernelState, cpu: KernelCpu, mm: Mm, start: number, end: number): KernelOp<number> {
  if (end <= start || end > k.layout.userEndVpn) return -ERRNO.EINVAL
  yield* mm.mmapLock.acquire(cpu, false)
  const frames = isolate(k, mm, start, end)
  yield k.costs.vmaOperation + frames.length * k.costs.ptePerPage
  mm.mmapLock.release(cpu, false)
  const left = yield* migratePages(k, cpu, frames, 'sync')
  for (const pfn of left.frames) putbackPage(k, cpu, pfn)
  if (left.isOutOfMemory) return -ERRNO.ENOMEM
  return left.frames.length > 0 ? -ERRNO.EAGAIN : frames.length
}

/**
 * migrate_pages(): moves frames, of each of which the caller gives away one reference; those of the frames that are
 * left come back to him. `async`: waits for nobody's page lock.
 */
export function* migratePages(
  k: KernelState, cpu: KernelCpu, frames: readonly number[], mode: 'sync' | 'async',
): KernelOp<Left> {
  const left: Left = { frames: [...frames], isOutOfMemory: false }
  if (k.config.kernel.era === 'linux-4.6') {
    for (let pass = 0; pass < RETRIES && left.frames.length > 0 && !left.isOutOfMemory; pass++) {
      yield* migrateEach(k, cpu, left, 1, mode === 'async' || pass < FORCE_AFTER)
    }
  } else {
    const todo = left.frames.splice(0)
    for (let at = 0; at < todo.length; at += BATCH_PAGES) {
      const batch: Left = { frames: todo.slice(at, at + BATCH_PAGES), isOutOfMemory: left.isOutOfMemory }
      if (!batch.isOutOfMemory) yield* migrateBatch(k, cpu, batch, mode === 'async' ? RETRIES : ASYNC_RETRIES, true)
      left.frames.push(...batch.frames)
      left.isOutOfMemory = batch.isOutOfMemory
    }
    if (mode === 'sync') yield* migrateEach(k, cpu, left, RETRIES - ASYNC_RETRIES, false)
  }
  k.counters.pgmigrate_fail += left.frames.length
  return left
}

/** Whoever is left, one after the other. */
function* migrateEach(k: KernelState, cpu: KernelCpu, left: Left, passes: number, tryOnly: boolean): KernelOp {
  for (const pfn of left.frames.splice(0)) {
    const one: Left = { frames: [pfn], isOutOfMemory: left.isOutOfMemory }
    if (!one.isOutOfMemory) yield* migrateBatch(k, cpu, one, passes, tryOnly)
    left.frames.push(...one.frames)
    left.isOutOfMemory = one.isOutOfMemory
  }
}

/** May this frame be moved at all? */
export function isMovable(k: KernelState, pfn: number): boolean {
  const { order, use } = k.frames
  return pfn !== k.zeroPagePfn && order[pfn] === 0 && use[pfn] === FRAME_USER && !k.migration.isolated.has(pfn)
}

/** isolate_lru_page(): takes a reference; nobody else may isolate the page meanwhile. */
export function isolatePage(k: KernelState, pfn: number): void {
  const active = isActive(k, pfn)
  const isListed = isolateLru(k, pfn)
  if (!isListed) k.frames.get(pfn)
  k.migration.isolated.set(pfn, { isListed, active })
}

/** putback_movable_pages(): back on its list, unless it is freed. */
export function putbackPage(k: KernelState, cpu: KernelCpu, pfn: number): void {
  const isolated = k.migration.isolated.get(pfn)
  k.migration.isolated.delete(pfn)
  if (isolated?.isListed === true && k.frames.refcount[pfn] > 1) putback(k, pfn, isolated.active)
  putPage(k, cpu, pfn)
}

/** add_page_for_migration(): the frames of the range, with a reference to each. */
function isolate(k: KernelState, mm: Mm, start: number, end: number): number[] {
  const frames = new Set<number>()
  forEachLeaf(k, mm, start, end, (_vpn, level, _table, _slot, lo, hi) => {
    if (level !== LEVEL_PTE || !ptePresent(lo) || (lo & PAGE_SPECIAL) !== 0) return
    const pfn = entryPfn(lo, hi, k.geometry.pageShift)
    if (isMovable(k, pfn)) frames.add(pfn)
  })
  for (const pfn of frames) isolatePage(k, pfn)
  return [...frames]
}

/**
 * migrate_pages_batch(), or with one page and one pass unmap_and_move(). Takes the pages that moved out of `left`. A
 * page that somebody holds stays unmapped while it is tried again.
 */
function* migrateBatch(k: KernelState, cpu: KernelCpu, left: Left, passes: number, tryOnly: boolean): KernelOp {
  const batch = makeUnmapBatch(k)
  const moving: Moving[] = []
  const failed: number[] = []
  let todo = left.frames.splice(0)
  for (let pass = 0; pass < passes && todo.length > 0; pass++) {
    const again: number[] = []
    for (const pfn of todo) {
      const fresh = left.isOutOfMemory ? NO_MEMORY : yield* beginMove(k, cpu, pfn, tryOnly)
      left.isOutOfMemory ||= fresh === NO_MEMORY
      if (fresh === NO_MEMORY) failed.push(pfn)
      if (fresh === LOCKED) again.push(pfn)
      if (fresh < 0) continue
      yield* tryToMigrate(k, cpu, pfn, batch)
      moving.push({ old: pfn, fresh })
    }
    todo = again
  }
  yield* flushBatch(k, cpu, batch)
  const held = yield* moveAll(k, cpu, moving, passes)
  for (const { old, fresh } of held) {
    yield* removeMigrationEntries(k, cpu, old, old)
    unlockPage(k, cpu, old)
    freeSwapCache(k, cpu, old)
    putPage(k, cpu, fresh)
  }
  left.frames.push(...failed, ...todo, ...held.map(({ old }) => old))
}

/** migrate_folios_move(): the pages that somebody else still has a reference to. */
function* moveAll(k: KernelState, cpu: KernelCpu, moving: Moving[], passes: number): KernelOp<Moving[]> {
  let todo = moving
  for (let pass = 0; pass < passes && todo.length > 0; pass++) {
    const again: Moving[] = []
    for (const page of todo) {
      const { old, fresh } = page
      if (!moveToNewPage(k, cpu, old, fresh)) {
        yield Math.max(1, k.costs.lock)
        again.push(page)
        continue
      }
      yield k.costs.copyPage
      yield* removeMigrationEntries(k, cpu, old, fresh)
      unlockPage(k, cpu, old)
      // Its entries may have been zapped while it was locked.
      freeSwapCache(k, cpu, fresh)
      putPage(k, cpu, fresh)
      putbackPage(k, cpu, old)
      k.counters.pgmigrate_success += 1
    }
    todo = again
  }
  return todo
}

const LOCKED = -1
const NO_MEMORY = -2
const GONE = -3

/** Locks the page and finds a frame for it; or one of the values above, with nothing locked. */
function* beginMove(k: KernelState, cpu: KernelCpu, pfn: number, tryOnly: boolean): KernelOp<number> {
  if (k.frames.refcount[pfn] === 1) {
    // Everybody else has let go of it.
    putbackPage(k, cpu, pfn)
    return GONE
  }
  if (tryOnly && !trylockPage(k, pfn)) return LOCKED
  if (!tryOnly) yield* lockPage(k, cpu, pfn)
  const fresh = k.frames.allocate(cpu.id, 0, FRAME_USER)
  if (fresh < 0) {
    unlockPage(k, cpu, pfn)
    return NO_MEMORY
  }
  k.counters.pagesAllocated += 1
  return fresh
}

/** try_to_migrate(): from here on whoever touches the page waits. */
function* tryToMigrate(k: KernelState, cpu: KernelCpu, pfn: number, batch: UnmapBatch): KernelOp {
  const file = cachePlace(k, pfn)?.file
  if (file !== undefined) yield* file.rmapLock.acquire(cpu, false)
  for (const entry of rmapWalk(k, pfn)) yield* unmapEntry(k, cpu, entry, pfn, batch)
  file?.rmapLock.release(cpu, false)
}

/**
 * try_to_migrate_one(). An entry that is not present needs no flush, unless a flush of it is on its way: then a CPU
 * may still write through the entry that it was (pte_accessible; bug h02).
 */
function* unmapEntry(k: KernelState, cpu: KernelCpu, entry: RmapEntry, pfn: number, batch: UnmapBatch): KernelOp {
  const { pageShift } = k.geometry
  const at = yield* lockEntry(k, cpu, entry, (lo, hi) => ptePresent(lo) && entryPfn(lo, hi, pageShift) === pfn)
  if (at === undefined) return
  const { mm, vpn } = entry
  const { lo, hi } = at
  cpu.preemptCount += 1
  const isPending = mm.gathersPending > 0 && !k.bugs.has('h02-numa-marker-with-flush-pending')
  const needsFlush = pteAccessible(lo, isPending)
  const migration = migrationEntryFor(k, pfn, lo, hi)
  const isDirty = (lo & PAGE_DIRTY) !== 0 || (hi & SAVED_DIRTY_HI) !== 0
  if (isDirty && cachePlace(k, pfn) === undefined) setPageDirty(k, pfn)
  keepDirty(k, pfn, lo, hi)
  pageRemoveRmap(k, mm, vpn, pfn)
  migrationStarts(k, mm, vpn, pfn)
  // Linux clears the entry, flushes, and then sets this one: with the lock held nobody can tell.
  setEntry(k, cpu, mm, at.table, at.slot, migration.lo, migration.hi)
  yield k.costs.ptePerPage
  // The bug of device migration: the flush comes when the lock is gone.
  const isLate = k.bugs.has('h13-flush-after-page-table-unlock')
  if (needsFlush && !isLate) yield* flushOrDefer(k, cpu, mm, vpn, isDirty, batch)
  cpu.preemptCount -= 1
  at.lock.release(cpu, true)
  if (needsFlush && isLate) yield* k.policy.flushPage(k, cpu, mm, vpn)
  putPage(k, cpu, pfn)
}

/** should_defer_flush() and set_tlb_ubc_flush_pending() of 6.x; at once in 4.6 and where only this CPU has the mm. */
function* flushOrDefer(
  k: KernelState, cpu: KernelCpu, mm: Mm, vpn: number, dirty: boolean, batch: UnmapBatch,
): KernelOp {
  if (k.config.kernel.era === 'linux-4.6' || !shouldDefer(k, cpu, mm)) yield* k.policy.flushPage(k, cpu, mm, vpn)
  else batchUnmap(k, cpu, batch, mm, vpn, dirty)
}

/** What stands in for the entry (lo, hi) meanwhile. A and D are kept in it in 6.x on 64-bit machines. */
function migrationEntryFor(k: KernelState, pfn: number, lo: number, hi: number): { lo: number; hi: number } {
  const is6x = k.config.kernel.era === 'linux-6.x'
  const isExclusive = is6x && k.frames.anonExclusive[pfn] === 1
  const type = (lo & PAGE_RW) !== 0 ? SWP_MIGRATION_WRITE
    : isExclusive ? SWP_MIGRATION_READ_EXCLUSIVE : SWP_MIGRATION_READ
  const keepsBits = is6x && k.geometry.name.startsWith('x86-64')
  const isDirty = (lo & PAGE_DIRTY) !== 0 || (hi & SAVED_DIRTY_HI) !== 0
  return makeMigrationEntry(type, pfn, keepsBits && (lo & PAGE_ACCESSED) !== 0, keepsBits && isDirty)
}

/** folio_migrate_mapping() and the copy. False: somebody else has a reference. */
function moveToNewPage(k: KernelState, cpu: KernelCpu, old: number, fresh: number): boolean {
  const place = cachePlace(k, old)
  const isSwapCached = swapCacheSlot(k, old) !== undefined
  const expected = 1 + (place === undefined ? 0 : 1) + (isSwapCached ? 1 : 0)
  if (k.frames.refcount[old] !== expected || k.frames.mapcount[old] > 0) return false
  if (place !== undefined) {
    const { file, page } = place
    k.pageCache.places.delete(old)
    k.pageCache.places.set(fresh, place)
    file.pages.set(page, fresh)
    k.frames.get(fresh)
    putPage(k, cpu, old)
  }
  if (isSwapCached) {
    moveSwapCache(k, old, fresh)
    k.frames.get(fresh)
    putPage(k, cpu, old)
  }
  lruMove(k, old, fresh)
  const isolated = k.migration.isolated.get(old)
  if (isolated?.isListed === true) putback(k, fresh, isolated.active)
  k.mem.copyFrame(fresh, old, 1)
  k.frames.anonExclusive[fresh] = k.frames.anonExclusive[old]
  return true
}

/** remove_migration_ptes(): the entries that stood in for frame `old` map frame `to`. */
function* removeMigrationEntries(k: KernelState, cpu: KernelCpu, old: number, to: number): KernelOp {
  const file = cachePlace(k, to)?.file
  if (file !== undefined) yield* file.rmapLock.acquire(cpu, false)
  for (;;) {
    // A fork may add entries on the way, and until its table is locked mremap may carry this one elsewhere.
    const entry = nextMigrationEntry(k, old)
    if (entry === undefined) break
    const at = yield* lockEntry(k, cpu, entry, (lo, hi) => isMigrationEntry(lo, hi) && swapValue(lo, hi) === old)
    migrationEnds(k, old)
    if (at === undefined) continue
    const { mm, vpn } = entry
    const vma = mm.vmas.find(vpn) ?? mm.unlinking.find(area => area.vmStart <= vpn && vpn < area.vmEnd)
    if (vma !== undefined) {
      const flags = restoredFlags(k, vma, at.lo, at.hi)
      if (swapType(at.lo) === SWP_MIGRATION_READ) k.frames.anonExclusive[to] = 0
      k.frames.get(to)
      pageAddRmap(k, mm, vpn, to)
      storeLeaf(k, cpu, mm, at.table, at.slot, to, flags)
      yield k.costs.ptePerPage
    }
    // Without an area the entry is about to be zapped.
    at.lock.release(cpu, true)
  }
  file?.rmapLock.release(cpu, false)
}

/** remove_migration_pte(): the protection is that of the area as it is now. */
function restoredFlags(k: KernelState, vma: Vma, lo: number, hi: number): { lo: number; hi: number } {
  const flags = leafFlags(k, vma.prot, LEVEL_PTE, false)
  if (!isMigrationYoung(lo)) flags.lo &= ~PAGE_ACCESSED
  const isWritable = isWritableMigrationEntry(lo, hi) || isWritableAtOnce(k, vma)
  if (isWritable && (vma.prot & PROT_WRITE) !== 0) flags.lo |= PAGE_RW
  if (isMigrationDirty(lo)) {
    if (parksDirty(k) && (flags.lo & PAGE_RW) === 0) flags.hi |= SAVED_DIRTY_HI
    else flags.lo |= PAGE_DIRTY
  }
  return flags
}

function putPage(k: KernelState, cpu: KernelCpu, pfn: number): void {
  if (k.frames.put(cpu.id, pfn)) k.counters.pagesFreed += 1
}
