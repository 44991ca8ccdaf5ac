// Virtual memory areas of one mm, ordered by address: find, insert, split, merge, and the search
// for a free gap. Ranges are half-open page numbers [vmStart, vmEnd) in base pages. Page tables
// are not touched here.

/** Attributes of an area; areas merge only when all are equal and a file goes on where it stopped. */
export interface VmaAttributes {
  /** PROT_* bits. */
  prot: number
  /** Backed by 2 MiB pages (VM_HUGETLB). */
  huge: boolean
  /** With `huge`: by 1 GiB pages. */
  giant: boolean
  /** VM_SHARED: writes reach the file and every other mapping of it. */
  shared: boolean
  /** vm_file: index of the file that it maps, or NO_FILE for anonymous memory. */
  file: number
  /** vm_pgoff: page of the file at vmStart; 0 without a file. */
  pgoff: number
  /** VM_PFNMAP: a driver's memory, without struct pages. */
  device: boolean
  /** VM_HUGEPAGE and VM_NOHUGEPAGE, as madvise set them. */
  thp: 'default' | 'hugepage' | 'nohugepage'
}

export const NO_FILE = -1

/** Private anonymous memory of base pages. */
export function anonymousArea(prot: number): VmaAttributes {
  return { prot, huge: false, giant: false, shared: false, file: NO_FILE, pgoff: 0, device: false, thp: 'default' }
}

export interface Vma extends VmaAttributes {
  vmStart: number
  vmEnd: number
}

/** Areas are all made by this one literal: looking at them is fast as long as they have one shape. */
export function makeVma(vmStart: number, vmEnd: number, attributes: VmaAttributes): Vma {
  const { prot, huge, giant, shared, file, pgoff, device, thp } = attributes
  return { vmStart, vmEnd, prot, huge, giant, shared, file, pgoff, device, thp }
}

export class VmaList {
  readonly #areas: Vma[] = []

  /** Ascending, never overlapping. */
  get areas(): readonly Vma[] {
    return this.#areas
  }

  /** find_vma_intersection for one page: the area that holds `vpn`. */
  find(vpn: number): Vma | undefined {
    const index = this.#firstEndingAfter(vpn)
    const area = this.#areas[index]
    return area !== undefined && area.vmStart <= vpn ? area : undefined
  }

  /** The areas that intersect [start, end), ascending. */
  overlapping(start: number, end: number): Vma[] {
    const found: Vma[] = []
    for (let i = this.#firstEndingAfter(start); i < this.#areas.length && this.#areas[i].vmStart < end; i++) {
      found.push(this.#areas[i])
    }
    return found
  }

  /** Is every page of [start, end) inside some area? */
  covers(start: number, end: number): boolean {
    let at = start
    for (const area of this.overlapping(start, end)) {
      if (area.vmStart > at) return false
      at = area.vmEnd
    }
    return at >= end
  }

  /** Adds an area into free space and merges it with equal neighbours (vma_merge). */
  insert(area: Vma): void {
    const index = this.#firstEndingAfter(area.vmStart)
    const right = index < this.#areas.length ? this.#areas[index] : undefined
    if (right !== undefined && isContinued(area, right)) {
      area.vmEnd = right.vmEnd
      this.#areas[index] = area
      if (index > 0) this.#mergePair(index - 1)
    } else if (index > 0 && isContinued(this.#areas[index - 1], area)) {
      this.#areas[index - 1].vmEnd = area.vmEnd
    } else {
      this.#areas.splice(index, 0, area)
    }
  }

  /** Splits areas so that `vpn` is not inside one (split_vma). */
  splitAt(vpn: number): void {
    const index = this.#firstEndingAfter(vpn)
    const area = this.#areas[index]
    if (area === undefined || area.vmStart >= vpn) return
    this.#areas.splice(index + 1, 0, partOf(area, vpn, area.vmEnd))
    area.vmEnd = vpn
  }

  /** Removes [start, end) and returns the removed parts. */
  remove(start: number, end: number): Vma[] {
    this.splitAt(start)
    this.splitAt(end)
    const first = this.#firstEndingAfter(start)
    let last = first
    while (last < this.#areas.length && this.#areas[last].vmStart < end) last++
    return this.#areas.splice(first, last - first)
  }

  /** Gives [start, end) new protections, splitting and merging as needed. */
  setProt(start: number, end: number, prot: number): void {
    this.#change(start, end, (area) => {
      area.prot = prot
    })
  }

  /** The same of what madvise says about huge pages. */
  setThp(start: number, end: number, thp: VmaAttributes['thp']): void {
    this.#change(start, end, (area) => {
      area.thp = thp
    })
  }

  /** End of the area below `vpn`, or 0 (the floor of free_pgtables). */
  endBelow(vpn: number): number {
    const index = this.#firstEndingAfter(vpn)
    const area = this.#areas[index]
    if (area !== undefined && area.vmStart < vpn) return vpn
    return index > 0 ? this.#areas[index - 1].vmEnd : 0
  }

  /** Start of the area at or above `vpn`, or `limit` (the ceiling of free_pgtables). */
  startAbove(vpn: number, limit: number): number {
    const area = this.#areas[this.#firstEndingAfter(vpn)]
    return area === undefined ? limit : Math.max(area.vmStart, vpn)
  }

  /**
   * Highest gap of `pages` that ends at or below `top`, aligned to `align` pages
   * (vm_unmapped_area, top down); -1 if there is none above `bottom`.
   */
  findGapTopDown(pages: number, top: number, bottom: number, align: number): number {
    let end = top
    for (let i = this.#areas.length - 1; i >= -1; i--) {
      const below = i >= 0 ? this.#areas[i] : undefined
      if (below !== undefined && below.vmStart >= end) continue
      const floor = below === undefined ? bottom : Math.max(below.vmEnd, bottom)
      const start = Math.floor((end - pages) / align) * align
      if (start >= floor) return start
      if (below === undefined) break
      end = Math.min(end, below.vmStart)
    }
    return -1
  }

  #change(start: number, end: number, change: (area: Vma) => void): void {
    this.splitAt(start)
    this.splitAt(end)
    this.overlapping(start, end).forEach(change)
    for (let i = this.#areas.length - 1; i > 0; i--) this.#mergePair(i - 1)
  }

  #firstEndingAfter(vpn: number): number {
    let low = 0
    let high = this.#areas.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#areas[middle].vmEnd > vpn) high = middle
      else low = middle + 1
    }
    return low
  }

  #mergePair(index: number): void {
    const left = this.#areas[index]
    const right = this.#areas[index + 1]
    if (!isContinued(left, right)) return
    left.vmEnd = right.vmEnd
    this.#areas.splice(index + 1, 1)
  }
}

/** linear_page_index(): the page of the file at `vpn`; 0 without a file. */
export function pgoffAt(area: Vma, vpn: number): number {
  return area.file === NO_FILE ? 0 : area.pgoff + vpn - area.vmStart
}

/** The part of an area that lies in [start, end), as an area of its own. */
export function partOf(area: Vma, start: number, end: number): Vma {
  const part = makeVma(Math.max(start, area.vmStart), Math.min(end, area.vmEnd), area)
  part.pgoff = pgoffAt(area, part.vmStart)
  return part
}

/** Does `right` go on where `left` ends? */
function isContinued(left: Vma, right: Vma): boolean {
  return left.vmEnd === right.vmStart && isSameKind(left, right) && right.pgoff === pgoffAt(left, left.vmEnd)
}

function isSameKind(a: Vma, b: Vma): boolean {
  return a.prot === b.prot && a.huge === b.huge && a.giant === b.giant && a.shared === b.shared && a.file === b.file
    && a.device === b.device && a.thp === b.thp
}
