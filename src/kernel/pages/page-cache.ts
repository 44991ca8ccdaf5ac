// The page cache (struct address_space): the frames that hold a file's pages, whoever maps them.
// The cache owns one reference of each; every mapping owns another. Shared anonymous memory is a
// file without a name (shmem), so is a shared huge mapping (hugetlbfs), and so is a driver's
// memory, whose frames have no struct page to users (device). Those three live as long as some
// area maps them.
//
// Not here: what a fault does with a page (fault-file.ts), write-back and truncation (file-ops.ts).
//
// Simplified: a page is read and written by the CPU that wants it, at a fixed price, without a
// disk queue; there is no readahead, and no fault-around (Linux maps up to 16 cached neighbours at
// a read fault). More faults, and no write-back behind a program's back.

import { fail } from '../../base/assert.js'
import { PAGE_DIRTY } from '../../machine/entry.js'
import type { KernelCpu } from '../cpu.js'
import { FRAME_KERNEL, FRAME_USER } from './frames.js'
import type { KernelOp } from '../kernel-op.js'
import { SAVED_DIRTY_HI } from '../mm/leaf.js'
import { Lock } from '../locking/lock.js'
import type { Mm } from '../mm/mm.js'
import type { KernelState } from '../state.js'
import { NO_FILE } from '../mm/vma.js'
import type { Vma } from '../mm/vma.js'

/**
 * file     a file of the scenario: its writes are tracked and written back (page_mkwrite)
 * shmem    shared anonymous memory
 * hugetlb  the same, of huge pages
 * device   a driver's memory: mapped without reference or map counts (VM_PFNMAP)
 */
export type FileKind = 'file' | 'shmem' | 'hugetlb' | 'device'

export interface MappedFile {
  /** Place in `PageCache.files`, what `Vma.file` names. */
  readonly index: number
  readonly name: string
  readonly kind: FileKind
  /** i_size. */
  bytes: number
  /** Base pages in one page of the cache: 1, or those of a huge page. */
  readonly unit: number
  /** First frame of each page that is in the cache. */
  readonly pages: Map<number, number>
  readonly dirty: Set<number>
  /** What was written back, by page; anything else reads as zeroes. */
  readonly storage: Map<number, Int32Array>
  /** i_mmap_rwsem: held while mappings of the file are walked, and for writing while areas leave it. */
  readonly rmapLock: Lock
  /** PG_locked of the pages that are being read. */
  readonly pageLocks: Map<number, Lock>
  /** Base pages of all areas that map it. */
  mappedPages: number
}

/** What a frame of the cache holds (page->mapping and page->index). */
export interface CachePlace {
  readonly file: MappedFile
  readonly page: number
}

export interface PageCache {
  /** Files of the scenario first, in their order. */
  readonly files: MappedFile[]
  readonly places: Map<number, CachePlace>
}

export function makePageCache(files: readonly { name: string; bytes: number }[]): PageCache {
  const cache: PageCache = { files: [], places: new Map() }
  for (const { name, bytes } of files) addFile(cache, 'file', name, bytes, 1)
  return cache
}

/** A new file; without a name it goes with its last mapping. */
export function addFile(cache: PageCache, kind: FileKind, name: string, bytes: number, unit: number): MappedFile {
  const file: MappedFile = {
    index: cache.files.length, name, kind, bytes, unit, pages: new Map(), dirty: new Set(), storage: new Map(),
    rmapLock: new Lock(`i_mmap_rwsem of ${name}`, 0), pageLocks: new Map(), mappedPages: 0,
  }
  cache.files.push(file)
  return file
}

/** The file that an area maps; undefined: private anonymous memory. */
export function fileOf(k: KernelState, vma: Vma): MappedFile | undefined {
  return vma.file === NO_FILE ? undefined : k.pageCache.files[vma.file]
}

/** Which page of which file a frame holds; undefined for anonymous pages and everything else. */
export function cachePlace(k: KernelState, pfn: number): CachePlace | undefined {
  return k.pageCache.places.get(pfn)
}

/** Pages of the cache that the file has room for. */
export function filePages(k: KernelState, file: MappedFile): number {
  return Math.ceil(file.bytes / (file.unit * 2 ** k.geometry.pageShift))
}

/** An area that maps a file was made or grew by `pages` (get_file, vma_link). */
export function fileMapped(k: KernelState, vma: Vma, pages: number): void {
  const file = fileOf(k, vma)
  if (file !== undefined) file.mappedPages += pages
}

/** fput() of areas that are gone, after their flush: a file without a name ends with its last area. */
export function filesUnmapped(k: KernelState, cpu: KernelCpu, areas: readonly Vma[]): void {
  for (const vma of areas) {
    const file = fileOf(k, vma)
    if (file === undefined) continue
    file.mappedPages -= vma.vmEnd - vma.vmStart
    if (file.mappedPages < 0) fail(`${file.name} is mapped ${file.mappedPages} times`)
    // A driver gives its memory up when no area leads to it: one that is being unmapped was flushed before it left.
    const isUnused = file.kind === 'device' ? areasOf(k, file).length === 0 : file.mappedPages === 0
    if (isUnused && file.kind !== 'file') dropPagesFrom(k, cpu, file, 0)
  }
}

/**
 * filemap_fault(): the frame of a page, read into the cache if it is not there. -1: out of memory;
 * -2: behind the end of the file. The caller looks again under the page-table lock.
 */
export function* findOrReadPage(k: KernelState, cpu: KernelCpu, file: MappedFile, page: number): KernelOp<number> {
  if (page >= filePages(k, file)) return -2
  const cached = file.pages.get(page)
  if (cached !== undefined) return cached
  const lock = pageLock(file, page)
  yield* lock.acquire(cpu, true)
  const pfn = yield* readPage(k, cpu, file, page)
  lock.release(cpu, true)
  return pfn
}

/** Is frame `pfn` still page `page` of the file, within its length? */
export function isCachedAs(k: KernelState, file: MappedFile, page: number, pfn: number): boolean {
  return file.pages.get(page) === pfn && page < filePages(k, file)
}

/** Takes pages from `first` on out of the cache (truncate_inode_pages); nobody maps them any more. */
export function dropPagesFrom(k: KernelState, cpu: KernelCpu, file: MappedFile, first: number): number {
  let dropped = 0
  for (const [page, pfn] of file.pages) {
    if (page < first) continue
    dropPage(k, cpu, file, page, pfn)
    dropped += 1
  }
  for (const page of file.storage.keys()) if (page >= first) file.storage.delete(page)
  return dropped
}

/** __filemap_remove_folio() and the put of the cache's reference. */
export function dropPage(k: KernelState, cpu: KernelCpu, file: MappedFile, page: number, pfn: number): void {
  file.pages.delete(page)
  file.dirty.delete(page)
  k.pageCache.places.delete(pfn)
  const pages = 1 << k.frames.order[pfn]
  if (k.frames.put(cpu.id, pfn)) k.counters.pagesFreed += pages
}

/** Writes a page to the file's storage; it is clean from now on. */
export function* writePage(k: KernelState, file: MappedFile, page: number, pfn: number): KernelOp {
  file.dirty.delete(page)
  file.storage.set(page, k.mem.readFrame(pfn))
  k.counters.fileWrites += 1
  yield k.costs.pageWrite
}

/** set_page_dirty() for an entry that is taken away: what the hardware noted in it is kept with the page. */
export function keepDirty(k: KernelState, pfn: number, lo: number, hi: number): void {
  if ((lo & PAGE_DIRTY) === 0 && (hi & SAVED_DIRTY_HI) === 0) return
  const place = cachePlace(k, pfn)
  if (place !== undefined) place.file.dirty.add(place.page)
}

/** Areas of every mm that map the file, also those that are on their way out and still have entries. */
export function areasOf(k: KernelState, file: MappedFile): { mm: Mm; vma: Vma }[] {
  const found: { mm: Mm; vma: Vma }[] = []
  for (const mm of k.mms.values()) {
    for (const vma of mm.vmas.areas) if (vma.file === file.index) found.push({ mm, vma })
    for (const vma of mm.unlinking) if (vma.file === file.index) found.push({ mm, vma })
  }
  return found
}

/** With the page lock held. Somebody else may have read the page before, or cut the file off meanwhile. */
function* readPage(k: KernelState, cpu: KernelCpu, file: MappedFile, page: number): KernelOp<number> {
  const cached = file.pages.get(page)
  if (cached !== undefined) return cached
  if (page >= filePages(k, file)) return -2
  const pfn = k.frames.allocate(cpu.id, Math.log2(file.unit), file.kind === 'device' ? FRAME_KERNEL : FRAME_USER)
  if (pfn < 0) return -1
  k.counters.pagesAllocated += file.unit
  yield file.kind === 'file' ? k.costs.pageRead : file.unit * k.costs.zeroPage
  if (page >= filePages(k, file)) {
    if (k.frames.put(cpu.id, pfn)) k.counters.pagesFreed += file.unit
    return -2
  }
  const stored = file.storage.get(page)
  if (stored !== undefined) k.mem.writeFrame(pfn, stored)
  else for (let i = 0; i < file.unit; i++) if (!k.frames.isPristine(pfn + i)) k.mem.zeroFrame(pfn + i)
  file.pages.set(page, pfn)
  k.pageCache.places.set(pfn, { file, page })
  if (file.kind === 'file') k.counters.fileReads += 1
  return pfn
}

function pageLock(file: MappedFile, page: number): Lock {
  let lock = file.pageLocks.get(page)
  if (lock === undefined) {
    lock = new Lock(`page ${page} of ${file.name}`, 0)
    file.pageLocks.set(page, lock)
  }
  return lock
}
