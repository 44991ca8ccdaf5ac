// Kernel buffers in vmalloc space (mm/vmalloc.c): single frames that are contiguous only in the
// kernel's half of the address space, mapped by 4 KiB pages that are global where user mode does
// not see them.
//
//   vmalloc   an address range with a guard page behind it, frames, entries; nothing to flush
//   vfree     the entries are cleared, the frames go back at once; the range goes on a list
//   purge     when the list is long (lazy_max_pages): one flush from its lowest to its highest
//             address on every CPU, then the ranges may be used again
//
// So TLBs may hold freed frames for a while. That is safe because nobody has a reason to use the
// address before the purge, and a wrong access is a bug of its own.
//
// Simplified: whoever frees a buffer also purges; 6.x leaves that to a worker, so vfree is dearer
// here, and never at once. Page tables of the range stay, as in Linux. The tables that 6.x makes
// at boot are made only for the first slot of the root, and only when some program has buffers.

import { makeEntryHi, makeEntryLo, PAGE_ACCESSED, PAGE_DIRTY, PAGE_GLOBAL, PAGE_NX_HI, PAGE_PRESENT,
  PAGE_RW } from '../../machine/entry.js'
import { LEVEL_PTE } from '../../machine/geometry.js'
import type { Geometry } from '../../machine/geometry.js'
import { ERRNO } from '../abi.js'
import type { KernelCpu } from '../cpu.js'
import { FRAME_KERNEL } from '../pages/frames.js'
import type { KernelOp } from '../kernel-op.js'
import type { KernelLayout } from './layout.js'
import { Lock } from '../locking/lock.js'
import { $slot, allocTable, childLevel, findTable, setEntry } from './pgtable.js'
import type { KernelState } from '../state.js'
import { syncKernelMappings } from './vmalloc-sync.js'

/** struct vmap_area: page numbers; the guard page is not counted. */
export interface VmapArea {
  readonly start: number
  readonly pages: number
  readonly frames: number[]
  /** Freed and on the list of those to be purged; then nobody's. */
  state: 'used' | 'lazy' | 'purged'
}

export interface Vmalloc {
  /** VMALLOC_START and VMALLOC_END as page numbers. */
  readonly start: number
  readonly end: number
  /** The last area of each buffer name. */
  readonly buffers: (VmapArea | undefined)[]
  /** Ranges that are not free, ascending. */
  readonly areas: VmapArea[]
  readonly lazy: VmapArea[]
  /** vmap_lazy_nr: pages of the areas on the list, guard pages included. */
  lazyPages: number
  /** vmap_purge_lock. */
  readonly purgeLock: Lock
}

const GUARD_PAGES = 1
/** lazy_max_pages() lets so much wait for each doubling of the number of CPUs. */
const LAZY_BYTES = 32 * 2 ** 20

export function makeVmalloc(layout: KernelLayout, g: Geometry, buffers: number): Vmalloc {
  const pageOf = (address: bigint): number => Number(address >> BigInt(g.pageShift))
  return {
    start: pageOf(layout.vmallocStart), end: pageOf(layout.vmallocEnd),
    buffers: Array.from({ length: buffers }, () => undefined), areas: [], lazy: [], lazyPages: 0,
    purgeLock: new Lock('vmap_purge_lock', 0),
  }
}

/** preallocate_vmalloc_pages() of 6.x: roots made from now on have the slot, and it never changes. */
export function preallocateVmalloc(k: KernelState): void {
  const isUsed = k.image.programs.some(({ code }) => code.some(({ op }) => op === 'vmalloc'))
  if (!isUsed || k.config.kernel.era === 'linux-4.6' || k.geometry.entryBytes === 4) return
  allocTable(k, k.cpus[0], k.initMm, k.vmalloc.start, childLevel(k.geometry, k.geometry.topLevel))
}

/** vmalloc(): 0, or ENOMEM; EEXIST when there is a buffer of this name. */
export function* vmalloc(k: KernelState, cpu: KernelCpu, buffer: number, bytes: number): KernelOp<number> {
  if (k.vmalloc.buffers[buffer]?.state === 'used') return -ERRNO.EEXIST
  const pages = Math.ceil(bytes / k.geometry.pageBytes)
  yield k.costs.vmaOperation
  let area = allocVmapArea(k, pages)
  if (area === undefined) {
    yield* k.vmalloc.purgeLock.acquire(cpu, true)
    yield* purgeLazyAreas(k, cpu)
    k.vmalloc.purgeLock.release(cpu, true)
    area = allocVmapArea(k, pages)
  }
  if (area === undefined) return -ERRNO.ENOMEM
  const isComplete = allocateFrames(k, cpu, area) && mapArea(k, cpu, area)
  yield area.frames.length * k.costs.ptePerPage
  if (!isComplete) {
    yield* freeArea(k, cpu, area)
    return -ERRNO.ENOMEM
  }
  yield* syncKernelMappings(k, cpu, area.start, area.start + pages)
  k.vmalloc.buffers[buffer] = area
  k.counters.vmallocs += 1
  return 0
}

/** vfree(): 0, or EINVAL when there is no such buffer (any more). */
export function* vfree(k: KernelState, cpu: KernelCpu, buffer: number): KernelOp<number> {
  const area = k.vmalloc.buffers[buffer]
  if (area?.state !== 'used') return -ERRNO.EINVAL
  yield* freeArea(k, cpu, area)
  return 0
}

/** Why a TLB may still have page `vpn` although the tables have not; empty when it may not. */
export function lazilyFreed(k: KernelState, vpn: number): string {
  const isLazy = k.vmalloc.lazy.some(area => area.start <= vpn && vpn < area.start + area.pages)
  return isLazy ? 'the kernel range was freed and is flushed before it is used again' : ''
}

/** Of kernel buffers and nothing else. */
export function isVmallocVpn(k: KernelState, vpn: number): boolean {
  const { start, end } = k.vmalloc
  return start <= vpn && vpn < end
}

/** remove_vm_area(), then the frames. */
function* freeArea(k: KernelState, cpu: KernelCpu, area: VmapArea): KernelOp {
  area.state = 'lazy'
  k.vmalloc.lazy.push(area)
  k.vmalloc.lazyPages += area.pages + GUARD_PAGES
  for (let i = 0; i < area.frames.length; i++) {
    if (!findTable(k, k.initMm, area.start + i, LEVEL_PTE)) continue
    if (k.mem.loadLo($slot.pfn, $slot.slot) !== 0) setEntry(k, cpu, k.initMm, $slot.pfn, $slot.slot, 0, 0)
  }
  yield k.costs.vmaOperation + area.frames.length * k.costs.ptePerPage
  if (k.vmalloc.lazyPages > lazyMaxPages(k)) yield* tryPurgeLazyAreas(k, cpu)
  for (const pfn of area.frames) if (k.frames.put(cpu.id, pfn)) k.counters.pagesFreed += 1
  yield area.frames.length * k.costs.freePage
}

/** try_purge_vmap_area_lazy(): not while another CPU is at it. */
function* tryPurgeLazyAreas(k: KernelState, cpu: KernelCpu): KernelOp {
  const { purgeLock } = k.vmalloc
  if (purgeLock.isHeld) return
  yield* purgeLock.acquire(cpu, true)
  yield* purgeLazyAreas(k, cpu)
  purgeLock.release(cpu, true)
}

/** __purge_vmap_area_lazy(): one flush for the whole list, with vmap_purge_lock held. */
function* purgeLazyAreas(k: KernelState, cpu: KernelCpu): KernelOp {
  const { vmalloc: state } = k
  const areas = [...state.lazy]
  if (areas.length === 0) return
  const start = Math.min(...areas.map(area => area.start))
  const end = Math.max(...areas.map(area => area.start + area.pages + GUARD_PAGES))
  const begin = cpu.now
  yield* k.policy.flushKernelRange(k, cpu, start, end)
  for (const area of areas) {
    area.state = 'purged'
    state.lazy.splice(state.lazy.indexOf(area), 1)
    state.areas.splice(state.areas.indexOf(area), 1)
    state.lazyPages -= area.pages + GUARD_PAGES
  }
  k.counters.vmapPurges += 1
  k.observer?.kernelRangeFlushed(cpu, start, end, begin)
}

/** lazy_max_pages(): 32 MiB for one CPU, one more share for each doubling. */
function lazyMaxPages(k: KernelState): number {
  const shares = Math.floor(Math.log2(k.cpus.length)) + 1
  return k.config.kernel.vmapLazyPages ?? shares * LAZY_BYTES / k.geometry.pageBytes
}

/** alloc_vmap_area(): the lowest hole that is large enough, a guard page included. */
function allocVmapArea(k: KernelState, pages: number): VmapArea | undefined {
  const { areas, end } = k.vmalloc
  let { start } = k.vmalloc
  let index = 0
  for (; index < areas.length; index++) {
    if (areas[index].start - start >= pages + GUARD_PAGES) break
    start = areas[index].start + areas[index].pages + GUARD_PAGES
  }
  if (start + pages + GUARD_PAGES > end) return undefined
  const area: VmapArea = { start, pages, frames: [], state: 'used' }
  areas.splice(index, 0, area)
  return area
}

function allocateFrames(k: KernelState, cpu: KernelCpu, area: VmapArea): boolean {
  for (let i = 0; i < area.pages; i++) {
    const pfn = k.frames.allocate(cpu.id, 0, FRAME_KERNEL)
    if (pfn < 0) return false
    k.counters.pagesAllocated += 1
    area.frames.push(pfn)
  }
  return true
}

/** vmap_pages_range(): kernel data, global unless user mode has tables of its own. False: no memory for tables. */
function mapArea(k: KernelState, cpu: KernelCpu, area: VmapArea): boolean {
  const { pageShift, entryBytes } = k.geometry
  const global = k.config.kernel.pti ? 0 : PAGE_GLOBAL
  const flags = PAGE_PRESENT | PAGE_RW | PAGE_ACCESSED | PAGE_DIRTY | global
  const noExec = entryBytes === 8 ? PAGE_NX_HI : 0
  for (const [i, pfn] of area.frames.entries()) {
    if (!allocTable(k, cpu, k.initMm, area.start + i, LEVEL_PTE)) return false
    const lo = makeEntryLo(pfn, flags, pageShift)
    setEntry(k, cpu, k.initMm, $slot.pfn, $slot.slot, lo, makeEntryHi(pfn, noExec, pageShift))
  }
  return true
}
