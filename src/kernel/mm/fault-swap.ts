// Faults at entries that are neither empty nor present (mm/memory.c: do_swap_page): the page is on
// its way to another frame and is waited for, or it is in swap and comes back.
//
//   the slot                        the page comes back
//   is in the swap cache            as that frame, after whoever has it locked
//   named by this entry alone, 6.x  as a new frame, past the cache; the slot is free then
//   else                            as a new frame in the cache, for the others too
//
// It is writable at once where nobody else can have it: 6.x knows from the entry's exclusive bit or
// because the slot was its alone, 4.6 finds out at a write (reuse_swap_page). Else a write copies.

import { PAGE_DIRTY, PAGE_RW } from '../../machine/entry.js'
import { EVENT } from '../../trace/events.js'
import { PROT_WRITE } from '../abi.js'
import type { KernelCpu } from '../cpu.js'
import { settleRange } from '../pages/deferred-free.js'
import type { FaultAccess, FaultResult } from './fault.js'
import type { FaultSlot } from './fault-file.js'
import { FRAME_USER } from '../pages/frames.js'
import type { KernelOp } from '../kernel-op.js'
import { leafFlags, storeLeaf } from './leaf.js'
import type { Mm } from './mm.js'
import { makeRoom } from '../pages/page-alloc.js'
import { lockPage, trylockPage, unlockPage, waitOnPageLocked } from '../locking/page-lock.js'
import { pageAddRmap } from '../pages/rmap.js'
import type { KernelState } from '../state.js'
import { emit, vpnHi, vpnLo } from '../state.js'
import { isMigrationEntry, isSwapExclusive, isSwapPte, swapValue } from '../reclaim/swap-entry.js'
import { addToSwapCache, beginReading, endReading, freeSwapOf, swapFree, swapReadPage } from '../reclaim/swap.js'
import type { Vma } from './vma.js'
import { pageTableLock } from './zap.js'

/** The frame that will be mapped: locked, and one reference held. */
interface SwappedIn {
  pfn: number
  slot: number
  /** In the swap cache, or read past it. */
  cached: boolean
}

/** do_swap_page(). `done` also means: look again; `shared`: the page is mapped, but a write must copy it. */
export function* doSwapPage(
  k: KernelState, cpu: KernelCpu, mm: Mm, vma: Vma, at: FaultSlot, access: FaultAccess,
): KernelOp<FaultResult | 'shared'> {
  const lo = k.mem.loadLo(at.table, at.slot)
  const hi = k.mem.loadHi(at.table, at.slot)
  if (!isSwapPte(lo, hi)) return 'done'
  if (isMigrationEntry(lo, hi)) {
    yield* migrationEntryWait(k, cpu, mm, at)
    return 'done'
  }
  const page = yield* findOrSwapIn(k, cpu, at, lo, hi)
  if (page === 'done' || page === 'oom') return page
  const lock = pageTableLock(mm, at.table)
  yield* lock.acquire(cpu, true)
  yield* settleRange(k, cpu, mm, at.vpn, at.vpn + 1)
  const isSame = isStill(k, at, lo, hi)
  const isWritable = isSame && mapSwappedIn(k, cpu, mm, vma, at, access, page, isSwapExclusive(lo))
  lock.release(cpu, true)
  if (!page.cached) endReading(k, page.slot)
  // An entry that went meanwhile left the cache to us, because the page was locked.
  else if (k.frames.mapcount[page.pfn] === 0) freeSwapOf(k, cpu, page.pfn)
  unlockPage(k, cpu, page.pfn)
  if (!isSame) putFrame(k, cpu, page.pfn)
  yield k.costs.ptePerPage
  return isSame && access.write && !isWritable ? 'shared' : 'done'
}

/** swap_cache_get_folio(), else swapin: the page of the entry, or what the fault ends with. */
function* findOrSwapIn(
  k: KernelState, cpu: KernelCpu, at: FaultSlot, lo: number, hi: number,
): KernelOp<SwappedIn | 'done' | 'oom'> {
  const slot = swapValue(lo, hi)
  const cached = k.swap.cache.get(slot)
  if (cached !== undefined) {
    k.frames.get(cached)
    yield* lockPage(k, cpu, cached)
    if (k.swap.cache.get(slot) === cached) return { pfn: cached, slot, cached: true }
    unlockPage(k, cpu, cached)
    putFrame(k, cpu, cached)
    return 'done'
  }
  if (!(yield* makeRoom(k, cpu, 1))) return outOfMemory(k, cpu)
  const reading = k.swap.reading.get(slot)
  if (reading !== undefined) {
    yield* waitOnPageLocked(k, cpu, reading)
    return 'done'
  }
  // Making room takes time: the entry may have changed, the page may be in the cache now.
  if (!isStill(k, at, lo, hi) || k.swap.cache.has(slot)) return 'done'
  const pfn = k.frames.allocate(cpu.id, 0, FRAME_USER)
  if (pfn < 0) return outOfMemory(k, cpu)
  k.counters.pagesAllocated += 1
  k.counters.pgmajfault += 1
  trylockPage(k, pfn)
  const isAlone = k.config.kernel.era === 'linux-6.x' && k.swap.counts[slot] === 1
  if (isAlone) beginReading(k, slot, pfn)
  else addToSwapCache(k, slot, pfn)
  yield* swapReadPage(k, slot, pfn)
  return { pfn, slot, cached: !isAlone }
}

/** Under the lock of the table: the entry becomes the page's, the slot loses an entry. Is the page this mm's alone? */
function mapSwappedIn(
  k: KernelState, cpu: KernelCpu, mm: Mm, vma: Vma, at: FaultSlot, access: FaultAccess, page: SwappedIn,
  wasExclusive: boolean,
): boolean {
  const { pfn, slot } = page
  const is46 = k.config.kernel.era === 'linux-4.6'
  swapFree(k, slot)
  // A writer wants the page for itself, and swap that is half full its slots: the cache gives it up if it can.
  const isLastEntry = k.swap.counts[slot] === 0 && k.frames.mapcount[pfn] === 0
  const isWanted = (access.write && k.frames.refcount[pfn] === 2) || k.swap.freeSlots * 2 < k.swap.slots
  if (page.cached && isLastEntry && isWanted) freeSwapOf(k, cpu, pfn)
  const isAlone = !page.cached || (k.frames.refcount[pfn] === 1 && !k.swap.slotOf.has(pfn))
  const isExclusive = is46 ? access.write && isAlone : wasExclusive || isAlone
  const flags = leafFlags(k, vma.prot, at.level, false)
  if (isExclusive && (vma.prot & PROT_WRITE) !== 0) flags.lo |= PAGE_RW | (access.write ? PAGE_DIRTY : 0)
  storeLeaf(k, cpu, mm, at.table, at.slot, pfn, flags)
  pageAddRmap(k, mm, at.vpn, pfn)
  k.frames.anonExclusive[pfn] = isExclusive ? 1 : 0
  mm.rssPages += 1
  mm.swapPages -= 1
  emit(k, cpu, EVENT.pageMap, vpnHi(k, at.vpn), vpnLo(k, at.vpn), pfn, 0)
  return isExclusive
}

/** migration_entry_wait(): until whoever migrates the page unlocks it; then the access is tried again. */
function* migrationEntryWait(k: KernelState, cpu: KernelCpu, mm: Mm, at: FaultSlot): KernelOp {
  const lock = pageTableLock(mm, at.table)
  yield* lock.acquire(cpu, true)
  const lo = k.mem.loadLo(at.table, at.slot)
  const hi = k.mem.loadHi(at.table, at.slot)
  lock.release(cpu, true)
  yield k.costs.ptePerPage
  if (isMigrationEntry(lo, hi)) yield* waitOnPageLocked(k, cpu, swapValue(lo, hi))
}

function isStill(k: KernelState, at: FaultSlot, lo: number, hi: number): boolean {
  return k.mem.loadLo(at.table, at.slot) === lo && k.mem.loadHi(at.table, at.slot) === hi
}

function putFrame(k: KernelState, cpu: KernelCpu, pfn: number): void {
  if (k.frames.put(cpu.id, pfn)) k.counters.pagesFreed += 1
}

function outOfMemory(k: KernelState, cpu: KernelCpu): 'oom' {
  emit(k, cpu, EVENT.oom, k.trace.intern('page of swap'))
  return 'oom'
}
