// Physical frames: a buddy allocator with per-CPU lists of single frames in front of it, and one
// row of counters per frame (struct page). A frame is handed out only after its reference count
// fell to zero, and callers drop the last reference only after the flush: that order is
// mmu-gather's business, this file only checks that nothing is freed twice.
//
// Simplified: one zone, no migration types; the lowest free block is taken first,
// so that runs are reproducible and dumps readable.

import { fail } from '../../base/assert.js'

/** Largest block of the allocator on 4 KiB pages, as an order (MAX_PAGE_ORDER). */
export const MAX_ORDER = 10
/** On 16 KiB pages, so that a 32 MiB huge page fits one block. */
export const MAX_ORDER_16K = 11

/** What a frame is used for. */
export const FRAME_FREE = 0
export const FRAME_RESERVED = 1
export const FRAME_USER = 2
export const FRAME_TABLE = 3
export const FRAME_KERNEL = 4

/** Single frames that move between a CPU's list and the buddy lists at a time (pcp batch). */
const PER_CPU_BATCH = 16
/** A CPU's list gives a batch back above this many frames (pcp high). */
const PER_CPU_HIGH = 3 * PER_CPU_BATCH

const NONE = -1

export class Frames {
  readonly count: number
  /** Page::_refcount of each frame; a compound page counts on its first frame, one for every entry that maps it. */
  readonly refcount: Int32Array
  /** How many entries of base pages map the frame, also as a part of a compound page (page->_mapcount). */
  readonly mapcount: Int32Array
  /** How many huge entries map the compound page, on its first frame (folio->_entire_mapcount). */
  readonly entireMapcount: Int32Array
  /** 1 on the first frame of a transparent huge page, however it is mapped now. */
  readonly isThp: Uint8Array
  /**
   * PageAnonExclusive (6.x): 1 while the page belongs to one mm and was not shared since, so that mprotect
   * may make it writable. Cleared by fork on both sides; set again when a write fault finds one owner left.
   */
  readonly anonExclusive: Uint8Array
  /** FRAME_* of each frame. */
  readonly use: Uint8Array
  /** The CPU that took the frame last; it is on the node of that CPU (kernel/mm/numa.ts). */
  readonly home: Uint16Array
  /** Order of the block that starts here if it is free; of the block that holds the frame if it is allocated. */
  readonly order: Uint8Array
  /** Told of every block that goes back, for reclaim's lists. */
  onRelease: ((pfn: number) => void) | undefined
  /** Single frames that are free but for a flush, and still count as referenced (unflushed.ts). */
  keptFree = 0
  /** Told of every block that goes back, for checks. */
  onFree: ((pfn: number, order: number) => void) | undefined

  /** 1 for frames that were given back once. */
  readonly #wasUsed: Uint8Array
  readonly #next: Int32Array
  readonly #previous: Int32Array
  /** 1 where a free buddy block starts. */
  readonly #freeHead: Uint8Array
  readonly #heads: Int32Array
  readonly #maxOrder: number
  readonly #perCpu: number[][]
  #freeFrames = 0

  constructor(count: number, cpus: number, maxOrder: number = MAX_ORDER) {
    this.count = count
    this.#maxOrder = maxOrder
    this.#heads = new Int32Array(maxOrder + 1).fill(NONE)
    this.refcount = new Int32Array(count)
    this.mapcount = new Int32Array(count)
    this.entireMapcount = new Int32Array(count)
    this.isThp = new Uint8Array(count)
    this.anonExclusive = new Uint8Array(count)
    this.use = new Uint8Array(count).fill(FRAME_RESERVED)
    this.order = new Uint8Array(count)
    this.home = new Uint16Array(count)
    this.#wasUsed = new Uint8Array(count)
    this.#next = new Int32Array(count)
    this.#previous = new Int32Array(count)
    this.#freeHead = new Uint8Array(count)
    this.#perCpu = Array.from({ length: cpus }, () => [])
  }

  /** Frames that nobody holds, per-CPU lists included. */
  get freeFrames(): number {
    return this.#freeFrames + this.keptFree
  }

  /** Hands [start, end) to the allocator (memblock_free_all), highest block first so that low blocks are used first. */
  release(start: number, end: number): void {
    let at = end
    while (at > start) {
      let order = 0
      while (order < this.#maxOrder && at % (2 << order) === 0 && at - (2 << order) >= start) order++
      at -= 1 << order
      this.use.fill(FRAME_FREE, at, at + (1 << order))
      this.#insert(at, order)
      this.#freeFrames += 1 << order
    }
  }

  /** alloc_pages(): the first frame of a block of 2^order frames with refcount 1, or -1 when memory is out. */
  allocate(cpu: number, order: number, use: number): number {
    let pfn = order === 0 ? this.#allocateSingle(cpu) : this.#takeBlock(order)
    if (pfn === NONE) {
      this.#drainPerCpu()
      pfn = order > this.#maxOrder ? this.#takeContiguous(order) : this.#takeBlock(order)
    }
    if (pfn === NONE) return NONE
    if (this.refcount[pfn] !== 0) fail(`frame ${pfn} handed out while referenced`)
    this.refcount[pfn] = 1
    this.entireMapcount[pfn] = 0
    this.isThp[pfn] = 0
    for (let part = pfn; part < pfn + (1 << order); part++) {
      this.mapcount[part] = 0
      this.anonExclusive[part] = 0
      this.order[part] = order
      this.home[part] = cpu
      this.use[part] = use
    }
    this.#freeFrames -= 1 << order
    return pfn
  }

  /** Nobody has used the frame before its present owner, who has not written to it: it holds zeroes. */
  isPristine(pfn: number): boolean {
    return this.#wasUsed[pfn] === 0
  }

  /** compound_head() of an allocated frame: blocks are aligned to their size. */
  headOf(pfn: number): number {
    return pfn - (pfn % (1 << this.order[pfn]))
  }

  /** get_page(), of any frame of a block. */
  get(pfn: number): void {
    const head = this.headOf(pfn)
    if (this.refcount[head] <= 0) fail(`frame ${pfn} referenced while free`)
    this.refcount[head] += 1
  }

  /** put_page(), of any frame of a block: true when this was the last reference and the block was freed. */
  put(cpu: number, page: number): boolean {
    const pfn = this.headOf(page)
    if (this.refcount[pfn] <= 0) fail(`frame ${pfn} freed twice`)
    this.refcount[pfn] -= 1
    if (this.refcount[pfn] > 0) return false
    const order = this.order[pfn]
    for (let part = pfn; part < pfn + (1 << order); part++) {
      this.use[part] = FRAME_FREE
      this.#wasUsed[part] = 1
    }
    this.onRelease?.(pfn)
    this.onFree?.(pfn, order)
    this.#freeFrames += 1 << order
    if (order > 0) {
      this.#freeBlock(pfn, order)
      return true
    }
    const list = this.#perCpu[cpu]
    list.push(pfn)
    if (list.length > PER_CPU_HIGH) for (const back of list.splice(0, PER_CPU_BATCH)) this.#freeBlock(back, 0)
    return true
  }

  /** split_page(): every frame of a block becomes a block of its own, with the references that its mappings hold. */
  splitBlock(cpu: number, head: number): number {
    const count = 1 << this.order[head]
    this.order.fill(0, head, head + count)
    this.isThp[head] = 0
    let freed = 0
    for (let pfn = head; pfn < head + count; pfn++) {
      this.refcount[pfn] = this.mapcount[pfn] + 1
      if (this.put(cpu, pfn)) freed += 1
    }
    return freed
  }

  #allocateSingle(cpu: number): number {
    const list = this.#perCpu[cpu]
    if (list.length === 0) {
      for (let i = 0; i < PER_CPU_BATCH; i++) {
        const pfn = this.#takeBlock(0)
        if (pfn === NONE) break
        list.push(pfn)
      }
      list.reverse()
    }
    return list.pop() ?? NONE
  }

  /** drain_all_pages(): single frames in the CPUs' lists may be the last, or keep blocks from merging. */
  #drainPerCpu(): void {
    for (const list of this.#perCpu) for (const back of list.splice(0)) this.#freeBlock(back, 0)
  }

  #takeBlock(order: number): number {
    let from = order
    while (from <= this.#maxOrder && this.#heads[from] === NONE) from++
    if (from > this.#maxOrder) return NONE
    const pfn = this.#heads[from]
    this.#remove(pfn, from)
    while (from > order) {
      from--
      this.#insert(pfn + (1 << from), from)
    }
    return pfn
  }

  /** alloc_contig_pages(): as many free largest blocks side by side, aligned to their size. */
  #takeContiguous(order: number): number {
    const step = 1 << this.#maxOrder
    const size = 2 ** order
    const isFree = (pfn: number): boolean => this.#freeHead[pfn] === 1 && this.order[pfn] === this.#maxOrder
    for (let start = 0; start + size <= this.count; start += size) {
      let end = start
      while (end < start + size && isFree(end)) end += step
      if (end < start + size) continue
      for (let pfn = start; pfn < end; pfn += step) this.#remove(pfn, this.#maxOrder)
      return start
    }
    return NONE
  }

  #freeBlock(start: number, startOrder: number): void {
    if (startOrder > this.#maxOrder) {
      const step = 1 << this.#maxOrder
      for (let pfn = start; pfn < start + 2 ** startOrder; pfn += step) this.#insert(pfn, this.#maxOrder)
      return
    }
    let pfn = start
    let order = startOrder
    while (order < this.#maxOrder) {
      const buddy = pfn ^ (1 << order)
      if (buddy >= this.count || this.#freeHead[buddy] === 0 || this.order[buddy] !== order) break
      this.#remove(buddy, order)
      pfn = Math.min(pfn, buddy)
      order++
    }
    this.#insert(pfn, order)
  }

  #insert(pfn: number, order: number): void {
    const head = this.#heads[order]
    this.#next[pfn] = head
    this.#previous[pfn] = NONE
    if (head !== NONE) this.#previous[head] = pfn
    this.#heads[order] = pfn
    this.#freeHead[pfn] = 1
    this.order[pfn] = order
  }

  #remove(pfn: number, order: number): void {
    const next = this.#next[pfn]
    const previous = this.#previous[pfn]
    if (previous === NONE) this.#heads[order] = next
    else this.#next[previous] = next
    if (next !== NONE) this.#previous[next] = previous
    this.#freeHead[pfn] = 0
  }
}
