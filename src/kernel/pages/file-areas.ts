// Areas of files as they come and go: what kind of file an mmap maps, how a forked child gets its
// areas, and how areas leave their files (unlink_file_vma) before their page tables go.

import { entryPfn, PAGE_PRESENT, PAGE_PROTNONE } from '../../machine/entry.js'
import { ERRNO } from '../abi.js'
import type { KernelCpu } from '../cpu.js'
import { NOTHING } from '../kernel-op.js'
import type { KernelOp } from '../kernel-op.js'
import type { Mm } from '../mm/mm.js'
import type { MmuGather } from '../mm/mmu-gather.js'
import { flushMmuTlbonly } from '../mm/mmu-gather.js'
import { addFile, cachePlace, fileMapped, fileOf } from './page-cache.js'
import { forEachLeaf } from '../mm/pgtable.js'
import type { KernelState } from '../state.js'
import { anonymousArea, makeVma, NO_FILE } from '../mm/vma.js'
import type { Vma, VmaAttributes } from '../mm/vma.js'

/** What of an mmap decides what it maps. */
export interface MappingRequest {
  prot: number
  huge: boolean
  giant: boolean
  shared: boolean
  /** Index into the files of the scenario, or -1. */
  file: number
  /** First byte of the file. */
  fileOffset: number
  device: boolean
}

/** Refuses what cannot be mapped: huge pages of an ordinary file or of a device. 0, or a negative error number. */
export function checkMapping(k: KernelState, request: MappingRequest): number {
  if (request.huge && (request.file >= 0 || request.device)) return -ERRNO.EINVAL
  if (request.fileOffset % k.geometry.pageBytes !== 0) return -ERRNO.EINVAL
  return 0
}

/**
 * Attributes of a new area of `pages` base pages, `unit` of them in a page. Shared anonymous memory and devices get a
 * file of their own. Drivers do not offer private mappings, so those of a device are shared.
 */
export function mappedArea(k: KernelState, request: MappingRequest, pages: number, unit: number): VmaAttributes {
  const { huge, giant, device } = request
  const shared = request.shared || device
  const area = { ...anonymousArea(request.prot), huge, giant, shared, device }
  if (request.file >= 0) {
    return { ...area, file: request.file, pgoff: request.fileOffset / k.geometry.pageBytes }
  }
  if (!shared) return area
  const kind = device ? 'device' : huge ? 'hugetlb' : 'shmem'
  const name = `${kind} ${k.pageCache.files.length}`
  return { ...area, file: addFile(k.pageCache, kind, name, pages * k.geometry.pageBytes, unit).index }
}

/** The child's copy of an area (dup_mmap), linked to its file behind the parent's. */
export function* linkChildArea(k: KernelState, cpu: KernelCpu, to: Mm, vma: Vma): KernelOp {
  const file = fileOf(k, vma)
  if (file !== undefined) yield* file.rmapLock.acquire(cpu, true)
  to.vmas.insert(makeVma(vma.vmStart, vma.vmEnd, vma))
  fileMapped(k, vma, vma.vmEnd - vma.vmStart)
  file?.rmapLock.release(cpu, true)
}

/**
 * vma_needs_copy(): does fork copy the entries of this area? Those of files can be faulted in again,
 * unless some page of a private area was written to.
 */
export function needsCopy(k: KernelState, mm: Mm, vma: Vma): boolean {
  if (vma.file === NO_FILE || vma.device) return true
  // 4.6 copies the entries of shared huge pages too (6.0: hugetlb: lazy page table copies in fork()).
  if (vma.huge) return !vma.shared || k.config.kernel.era === 'linux-4.6'
  if (vma.shared) return false
  let hasCopies = false
  forEachLeaf(k, mm, vma.vmStart, vma.vmEnd, (_vpn, _level, _pfn, _slot, lo, hi) => {
    const isPresent = (lo & (PAGE_PRESENT | PAGE_PROTNONE)) !== 0
    hasCopies ||= !isPresent || cachePlace(k, entryPfn(lo, hi, k.geometry.pageShift)) === undefined
  })
  return hasCopies
}

/**
 * unlink_file_vma() of areas whose entries are cleared, before their tables go: waits for whoever walks the mappings
 * of the file. A driver may free its memory once no area leads to it any more, and no count holds its frames; so what
 * was cleared is flushed first.
 */
export function unlinkFileAreas(k: KernelState, cpu: KernelCpu, gather: MmuGather, areas: readonly Vma[]): KernelOp {
  return areas.every(vma => vma.file === NO_FILE) ? NOTHING : unlinkFromFiles(k, cpu, gather, areas)
}

function* unlinkFromFiles(k: KernelState, cpu: KernelCpu, gather: MmuGather, areas: readonly Vma[]): KernelOp {
  const isFlushed = areas.some(vma => vma.device) && !k.bugs.has('h10-device-area-unlinked-before-flush')
  if (isFlushed) yield* flushMmuTlbonly(k, cpu, gather)
  for (const vma of areas) {
    const file = fileOf(k, vma)
    if (file === undefined) continue
    yield* file.rmapLock.acquire(cpu, true)
    gather.mm.unlinking = gather.mm.unlinking.filter(other => other !== vma)
    file.rmapLock.release(cpu, true)
  }
}

/** Areas were taken from the list of `mm`; those of files can still be found until they are unlinked. */
export function beginUnlink(mm: Mm, areas: readonly Vma[]): void {
  for (const vma of areas) if (vma.file !== NO_FILE) mm.unlinking.push(vma)
}
