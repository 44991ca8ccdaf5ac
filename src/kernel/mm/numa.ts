// NUMA balancing (kernel/sched/fair.c, mm/memory.c): a scan makes entries inaccessible; the next
// access to each faults, tells who uses the page, and brings it to the node of that CPU.
//
//   scan    present -> marker (PROT_NONE with the frame), under the table's lock; the flush comes
//           later, and until then other CPUs still use what they have
//   fault   marker -> present again, without a flush: no TLB has a marker
//           or, when the page is on another node, first to a frame of this one (migrate.ts)
//
//            4.6                                       6.x
//   scan     flushes the range of an area at once      flushes what changed, at the end
//   marker   keeps RW                                  drops RW; the fault decides anew
//   fault    restores the entry, then moves the page   moves the page; restores it if that fails
//
// Simplified: a node is a socket, and a frame is on the node of the CPU that took it from the
// allocator last: memory has no places, and any frame serves any node. A page moves at the first
// fault from another node, without Linux's second look at who used it before. Huge pages are left alone.

import { entryPfn, makeEntryHi, makeEntryLo, PAGE_ACCESSED, PAGE_DIRTY, PAGE_PROTNONE, PAGE_RW, ptePresent,
  pteProtnone } from '../../machine/entry.js'
import { LEVEL_PTE } from '../../machine/geometry.js'
import { ERRNO, PROT_EXEC, PROT_NONE, PROT_READ, PROT_WRITE } from '../abi.js'
import type { KernelCpu } from '../cpu.js'
import { isWritableAtOnce } from './fault-file.js'
import type { FaultSlot } from './fault-file.js'
import type { FaultResult } from './fault.js'
import type { KernelOp } from '../kernel-op.js'
import { leafFlags, PAGE_SPECIAL, parksDirty, SAVED_DIRTY_HI } from './leaf.js'
import type { LeafFlags } from './leaf.js'
import { isMovable, isolatePage, migratePages, putbackPage } from '../pages/migrate.js'
import type { Mm } from './mm.js'
import { finishMmu, gatherEntry, gatherMmu } from './mmu-gather.js'
import type { MmuGather } from './mmu-gather.js'
import { cachePlace, fileOf } from '../pages/page-cache.js'
import { $slot, findLeaf, hugeLevel, pagesPerEntry, setEntry } from './pgtable.js'
import type { KernelState } from '../state.js'
import type { Vma } from './vma.js'
import { partOf } from './vma.js'
import { pageTableLock } from './zap.js'

/** change_prot_numa() of every area that task_numa_work() would scan: entries that became markers. */
export function* changeProtNuma(k: KernelState, cpu: KernelCpu, mm: Mm, start: number, end: number): KernelOp<number> {
  if (end <= start || end > k.layout.userEndVpn) return -ERRNO.EINVAL
  yield* mm.mmapLock.acquire(cpu, false)
  yield k.costs.vmaOperation
  const gather = gatherMmu(mm, false)
  let updated = 0
  for (const vma of mm.vmas.overlapping(start, end).map(each => partOf(each, start, end))) {
    if (!isScanned(k, vma)) continue
    const marked = yield* markArea(k, cpu, gather, vma)
    updated += marked
    if (marked === 0 || k.config.kernel.era === 'linux-6.x') continue
    yield* k.policy.flushMmRange(k, cpu, mm, {
      start: vma.vmStart, end: vma.vmEnd, stridePages: 1, freedTables: true, hugetlb: false,
    })
  }
  yield* finishMmu(k, cpu, gather)
  mm.mmapLock.release(cpu, false)
  k.counters.numa_pte_updates += updated
  return updated
}

/** do_numa_page(): the entry at `at` is a marker in an area that permits access. */
export function* doNumaPage(
  k: KernelState, cpu: KernelCpu, mm: Mm, vma: Vma, at: FaultSlot,
): KernelOp<FaultResult> {
  const lock = pageTableLock(mm, at.table)
  yield* lock.acquire(cpu, true)
  const lo = k.mem.loadLo(at.table, at.slot)
  const hi = k.mem.loadHi(at.table, at.slot)
  if (!pteProtnone(lo)) {
    lock.release(cpu, true)
    return 'done'
  }
  k.counters.numa_hint_faults += 1
  const pfn = entryPfn(lo, hi, k.geometry.pageShift)
  const isMoving = isMisplaced(k, cpu, vma, pfn) && isMovable(k, pfn)
  if (isMoving) isolatePage(k, pfn)
  if (!isMoving || k.config.kernel.era === 'linux-4.6') restore(k, cpu, mm, vma, at, lo, hi)
  lock.release(cpu, true)
  yield k.costs.ptePerPage
  if (!isMoving) return 'done'
  const { frames } = yield* migratePages(k, cpu, [pfn], 'async')
  k.counters.numa_pages_migrated += 1 - frames.length
  for (const left of frames) putbackPage(k, cpu, left)
  if (frames.length === 0 || k.config.kernel.era === 'linux-4.6') return 'done'
  yield* lock.acquire(cpu, true)
  const isSame = k.mem.loadLo(at.table, at.slot) === lo && k.mem.loadHi(at.table, at.slot) === hi
  if (isSame) restore(k, cpu, mm, vma, at, lo, hi)
  lock.release(cpu, true)
  yield k.costs.ptePerPage
  return 'done'
}

/** Areas that balancing leaves alone: huge pages, a driver's memory, code of files, what nobody may access. */
function isScanned(k: KernelState, vma: Vma): boolean {
  const access = vma.prot & (PROT_READ | PROT_WRITE | PROT_EXEC)
  const isReadOnlyFile = fileOf(k, vma)?.kind === 'file' && (vma.prot & (PROT_READ | PROT_WRITE)) === PROT_READ
  return access !== PROT_NONE && !vma.huge && !vma.device && !isReadOnlyFile
}

/** change_pte_range() of one area, table by table, each under its lock. */
function* markArea(k: KernelState, cpu: KernelCpu, gather: MmuGather, vma: Vma): KernelOp<number> {
  const { mm } = gather
  const span = pagesPerEntry(k.geometry, hugeLevel(k.geometry))
  let marked = 0
  for (let vpn = vma.vmStart; vpn < vma.vmEnd;) {
    const next = Math.min(vma.vmEnd, vpn + span - vpn % span)
    if (findLeaf(k, mm, vpn) === LEVEL_PTE) {
      const { pfn: table, slot } = $slot
      const lock = pageTableLock(mm, table)
      yield* lock.acquire(cpu, true)
      let count = 0
      for (let i = 0; i < next - vpn; i++) {
        if (!markEntry(k, cpu, gather, vma, table, slot + i)) continue
        count += 1
        if (k.config.kernel.era === 'linux-6.x') gatherEntry(gather, vpn + i, 1)
      }
      if (count > 0) yield count * k.costs.ptePerPage
      lock.release(cpu, true)
      marked += count
    }
    vpn = next
  }
  return marked
}

/** False: empty, a marker already, or a page that is not to be moved. */
function markEntry(
  k: KernelState, cpu: KernelCpu, gather: MmuGather, vma: Vma, table: number, slot: number,
): boolean {
  const lo = k.mem.loadLo(table, slot)
  const hi = k.mem.loadHi(table, slot)
  if (!ptePresent(lo) || pteProtnone(lo) || (lo & PAGE_SPECIAL) !== 0) return false
  const pfn = entryPfn(lo, hi, k.geometry.pageShift)
  if (pfn === k.zeroPagePfn) return false
  const is46 = k.config.kernel.era === 'linux-4.6'
  const place = cachePlace(k, pfn)
  const isSharedCopy = !vma.shared && k.frames.mapcount[pfn] !== 1
  const isDirtyFile = place?.file.kind === 'file' && place.file.dirty.has(place.page)
  if (!is46 && (isSharedCopy || isDirtyFile)) return false
  const kept = lo & (PAGE_ACCESSED | PAGE_DIRTY | (is46 ? PAGE_RW : 0))
  const marker = withDirty(k, pfn, { lo: PAGE_PROTNONE | kept, hi: 0 }, (hi & SAVED_DIRTY_HI) !== 0)
  setEntry(k, cpu, gather.mm, table, slot, marker.lo, marker.hi)
  return true
}

/** Present again, as the area has it now. */
function restore(
  k: KernelState, cpu: KernelCpu, mm: Mm, vma: Vma, at: FaultSlot, lo: number, hi: number,
): void {
  const pfn = entryPfn(lo, hi, k.geometry.pageShift)
  const flags = leafFlags(k, vma.prot, LEVEL_PTE, false)
  const isDirty = (lo & PAGE_DIRTY) !== 0 || (hi & SAVED_DIRTY_HI) !== 0
  const is46 = k.config.kernel.era === 'linux-4.6'
  const wasWritable = is46 ? (lo & PAGE_RW) !== 0
    : vma.shared ? isDirty : k.frames.anonExclusive[pfn] === 1
  if ((vma.prot & PROT_WRITE) !== 0 && (wasWritable || isWritableAtOnce(k, vma))) flags.lo |= PAGE_RW
  const entry = withDirty(k, pfn, flags, isDirty)
  setEntry(k, cpu, mm, at.table, at.slot, entry.lo, entry.hi)
}

/** The entry of frame `pfn` with `flags`; D goes where the kernel keeps it. */
function withDirty(k: KernelState, pfn: number, flags: LeafFlags, isDirty: boolean): LeafFlags {
  const { pageShift } = k.geometry
  const parked = parksDirty(k) && (flags.lo & PAGE_RW) === 0
  const dirty = isDirty || (flags.lo & PAGE_DIRTY) !== 0
  const lo = (flags.lo & ~PAGE_DIRTY) | (dirty && !parked ? PAGE_DIRTY : 0)
  const hi = dirty && parked ? SAVED_DIRTY_HI : 0
  return { lo: makeEntryLo(pfn, lo, pageShift), hi: makeEntryHi(pfn, flags.hi, pageShift) | hi }
}

/** mpol_misplaced(): on another node than this CPU's. Code of a file that several processes map stays. */
function isMisplaced(k: KernelState, cpu: KernelCpu, vma: Vma, pfn: number): boolean {
  const isSharedCode = (vma.prot & PROT_EXEC) !== 0 && cachePlace(k, pfn) !== undefined && k.frames.mapcount[pfn] > 1
  return k.cpus[k.frames.home[pfn]].socket !== cpu.socket && !isSharedCode
}
