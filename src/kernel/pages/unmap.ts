// Taking one page out of every address space that maps it (mm/rmap.c: try_to_unmap), and asking
// whether it was used (folio_referenced). Both go through the reverse mappings, with no more than
// the lock of each table; the page is locked.
//
//   the entry of      becomes            its D bit goes to
//   page with slot    a swap entry       the page
//   lazyfree page     nothing            if it is set, the page was used again and stays
//   page of a file    nothing            the file
//
// Simplified: Linux clears the entry, reads D from what it cleared, and then stores the swap entry;
// here one store does both, so that whoever copies all entries under mmap_lock (fork) never meets
// the empty one. The order for TLBs is the same: the entry stops being present, then the flush.

import { entryPfn, PAGE_ACCESSED, PAGE_DIRTY, PAGE_PRESENT, PAGE_RW, ptePresent } from '../../machine/entry.js'
import { LEVEL_PTE } from '../../machine/geometry.js'
import { PROT_EXEC } from '../abi.js'
import type { KernelCpu } from '../cpu.js'
import type { KernelOp } from '../kernel-op.js'
import { SAVED_DIRTY_HI } from '../mm/leaf.js'
import type { Lock } from '../locking/lock.js'
import { clearLazyfree, isLazyfree, setPageDirty } from './lru.js'
import type { Mm } from '../mm/mm.js'
import { cachePlace, keepDirty } from './page-cache.js'
import { $slot, findLeaf, setEntry } from '../mm/pgtable.js'
import type { RmapEntry } from './rmap.js'
import { pageRemoveRmap, rmapWalk } from './rmap.js'
import type { KernelState } from '../state.js'
import { makeSwapEntry } from '../reclaim/swap-entry.js'
import { swapCacheSlot, swapDuplicate } from '../reclaim/swap.js'
import type { UnmapBatch } from '../reclaim/unmap-batch.js'
import { batchUnmap, makeUnmapBatch, mergeBatch, shouldDefer } from '../reclaim/unmap-batch.js'
import { NO_FILE } from '../mm/vma.js'
import { pageTableLock } from '../mm/zap.js'

/** An entry that maps the page, its table locked. */
interface Mapped {
  readonly mm: Mm
  readonly vpn: number
  readonly table: number
  readonly slot: number
  readonly lo: number
  readonly hi: number
  readonly lock: Lock
}

/** try_to_unmap() with TTU_BATCH_FLUSH: true when nobody maps the page any more. */
export function* tryToUnmap(k: KernelState, cpu: KernelCpu, pfn: number, batch: UnmapBatch): KernelOp<boolean> {
  const file = cachePlace(k, pfn)?.file
  if (file !== undefined) yield* file.rmapLock.acquire(cpu, false)
  const own = k.policy.keepsUnflushed === true ? makeUnmapBatch(k) : batch
  let isReadOnly = !isLazyfree(k, pfn)
  for (const entry of rmapWalk(k, pfn)) {
    const at = yield* lockMapping(k, cpu, entry, pfn)
    if (at === undefined) continue
    isReadOnly &&= (at.lo & (PAGE_RW | PAGE_DIRTY)) === 0 && (at.hi & SAVED_DIRTY_HI) === 0
    cpu.preemptCount += 1
    const isUnmapped = yield* unmapOne(k, cpu, pfn, at, own)
    cpu.preemptCount -= 1
    at.lock.release(cpu, true)
    if (!isUnmapped) break
  }
  file?.rmapLock.release(cpu, false)
  const isGone = k.frames.mapcount[pfn] === 0
  if (own !== batch && own.pages.size > 0) foldPage(k, pfn, own, batch, isGone && isReadOnly)
  return isGone
}

/** can_luf_test(): a page that nobody could write to goes to the read-only batch, any other to the usual one. */
function foldPage(k: KernelState, pfn: number, own: UnmapBatch, batch: UnmapBatch, isReadOnly: boolean): void {
  if (!isReadOnly) {
    mergeBatch(k, own, batch)
    return
  }
  own.frames.set(pfn, cachePlace(k, pfn)?.file.index ?? NO_FILE)
  batch.readOnly ??= makeUnmapBatch(k)
  mergeBatch(k, own, batch.readOnly)
}

/** folio_referenced(): entries that had A set; it is clear in all of them now. No flush: a stale A costs nothing. */
export function* pageReferenced(
  k: KernelState, cpu: KernelCpu, pfn: number,
): KernelOp<{ count: number; isExecutable: boolean }> {
  const file = cachePlace(k, pfn)?.file
  if (file !== undefined) yield* file.rmapLock.acquire(cpu, false)
  let count = 0
  let isExecutable = false
  for (const entry of rmapWalk(k, pfn)) {
    const at = yield* lockMapping(k, cpu, entry, pfn)
    if (at === undefined) continue
    const { mm, vpn, table, slot, lo, hi, lock } = at
    if ((lo & PAGE_ACCESSED) !== 0) {
      setEntry(k, cpu, mm, table, slot, lo & ~PAGE_ACCESSED, hi)
      count += 1
      isExecutable ||= ((mm.vmas.find(vpn)?.prot ?? 0) & PROT_EXEC) !== 0
    }
    yield k.costs.ptePerPage
    lock.release(cpu, true)
  }
  file?.rmapLock.release(cpu, false)
  return { count, isExecutable }
}

/** try_to_unmap_one(): false when the page has to stay. */
function* unmapOne(
  k: KernelState, cpu: KernelCpu, pfn: number, at: Mapped, batch: UnmapBatch,
): KernelOp<boolean> {
  const { mm, lo, hi } = at
  const isDirty = (lo & PAGE_DIRTY) !== 0 || (hi & SAVED_DIRTY_HI) !== 0
  const isAnonymous = cachePlace(k, pfn) === undefined
  if (!isAnonymous) keepDirty(k, pfn, lo, hi)
  else if (isDirty) setPageDirty(k, pfn)
  const isGone = isAnonymous ? unmapAnonymous(k, cpu, pfn, at, isDirty) : clearMapping(k, cpu, pfn, at, 0, 0)
  yield* flushUnmapped(k, cpu, at, batch, isDirty)
  if (isGone) mm.rssPages -= 1
  return isGone
}

/** The flush is put off where others would be interrupted for it; nobody can have what was not present. */
function* flushUnmapped(
  k: KernelState, cpu: KernelCpu, { mm, vpn, lo }: Mapped, batch: UnmapBatch, isDirty: boolean,
): KernelOp {
  const isAccessible = (lo & PAGE_PRESENT) !== 0 || mm.gathersPending > 0
  const isDeferred = shouldDefer(k, cpu, mm)
  if (isAccessible && isDeferred) batchUnmap(k, cpu, batch, mm, vpn, isDirty)
  yield k.costs.ptePerPage
  if (isAccessible && !isDeferred) yield* k.policy.flushPage(k, cpu, mm, vpn)
}

function unmapAnonymous(k: KernelState, cpu: KernelCpu, pfn: number, at: Mapped, isDirty: boolean): boolean {
  const is46 = k.config.kernel.era === 'linux-4.6'
  if (isLazyfree(k, pfn)) {
    const isPinned = !is46 && k.frames.refcount[pfn] !== 1 + k.frames.mapcount[pfn]
    if (!isDirty && !isPinned) return clearMapping(k, cpu, pfn, at, 0, 0)
    // Used again since it was given up. 4.6 has a slot for it already.
    if (isDirty) clearLazyfree(k, pfn)
    if (!is46) return false
  }
  const slot = swapCacheSlot(k, pfn)
  if (slot === undefined) return false
  const isExclusive = !is46 && k.frames.anonExclusive[pfn] === 1
  swapDuplicate(k, slot)
  at.mm.swapPages += 1
  k.frames.anonExclusive[pfn] = 0
  const entry = makeSwapEntry(slot, isExclusive)
  return clearMapping(k, cpu, pfn, at, entry.lo, entry.hi)
}

/** The entry becomes (hi, lo); the mapping's reference goes. */
function clearMapping(k: KernelState, cpu: KernelCpu, pfn: number, at: Mapped, lo: number, hi: number): boolean {
  setEntry(k, cpu, at.mm, at.table, at.slot, lo, hi)
  pageRemoveRmap(k, at.mm, at.vpn, pfn)
  k.frames.put(cpu.id, pfn)
  return true
}

/** page_vma_mapped_walk(): the entry under its table's lock, if it still maps the page. */
function* lockMapping(
  k: KernelState, cpu: KernelCpu, { mm, vpn }: RmapEntry, pfn: number,
): KernelOp<Mapped | undefined> {
  if (mm.isFreed || findLeaf(k, mm, vpn) !== LEVEL_PTE) return undefined
  const { pfn: table } = $slot
  const lock = pageTableLock(mm, table)
  yield* lock.acquire(cpu, true)
  // While it waited, the entry may have gone, and the table and the mm with it.
  if (!mm.isFreed && mm.pageTableLocks.get(table) === lock && findLeaf(k, mm, vpn) === LEVEL_PTE) {
    const { slot } = $slot
    const lo = k.mem.loadLo($slot.pfn, slot)
    const hi = k.mem.loadHi($slot.pfn, slot)
    const isMapped = $slot.pfn === table && ptePresent(lo) && entryPfn(lo, hi, k.geometry.pageShift) === pfn
    if (isMapped) return { mm, vpn, table, slot, lo, hi, lock }
  }
  lock.release(cpu, true)
  return undefined
}
