// The kernel's address space: where the direct map and the kernel image lie in each era and
// geometry, and the arithmetic between virtual addresses, physical addresses, page frame
// numbers and page descriptors (kernel-behaviour.md section 2). Addresses here are BigInt or
// frame numbers: nothing in this file runs per access.

import { entryPfn, PAGE_PSE } from '../../machine/entry.js'
import { LEVEL_PTE } from '../../machine/geometry.js'
import type { Geometry } from '../../machine/geometry.js'
import type { KernelEra } from '../config.js'

/** Bytes of a page descriptor (struct page). */
export const STRUCT_PAGE_BYTES = 64n

export interface KernelLayout {
  /** First address of the direct map of physical memory (PAGE_OFFSET). */
  pageOffset: bigint
  /** First address of the kernel image mapping (__START_KERNEL_map). */
  startMap: bigint
  /** Kernel buffers that are contiguous only here: first address, and the one behind the last (VMALLOC_START, _END). */
  vmallocStart: bigint
  vmallocEnd: bigint
  /** Page descriptor array. */
  vmemmap: bigint
  /** Offset of the kernel text from startMap, bytes. */
  textOffset: number
  /** Bytes of kernel text, then of kernel data. */
  textBytes: number
  dataBytes: number
  /** First page number that user mappings may not reach (TASK_SIZE). */
  userEndVpn: number
  /** mmap searches downwards from here (mmap_base). */
  mmapBaseVpn: number
  /** Bits in a virtual address as the kernel prints it. */
  addressBits: 32 | 64
  /** Bytes of physical memory that the direct map can hold. */
  directMapBytes: number
}

const MIB = 2 ** 20
const TEXT_OFFSET = 16 * MIB
const TEXT_BYTES = 4 * MIB
const DATA_BYTES = 4 * MIB

/** The layout of `era` on `geometry`, KASLR off. */
export function kernelLayout(era: KernelEra, geometry: Geometry): KernelLayout {
  switch (geometry.name) {
    case 'i386':
    case 'i386-pae':
      // 3:1 split; the image lies inside the direct map, so both start at PAGE_OFFSET.
      return {
        textOffset: TEXT_OFFSET,
        textBytes: TEXT_BYTES,
        dataBytes: DATA_BYTES,
        pageOffset: 0xc000_0000n,
        startMap: 0xc000_0000n,
        // As with 896 MiB of memory, the most that the direct map holds; 8 MiB behind it stay free.
        vmallocStart: 0xf880_0000n,
        vmallocEnd: 0xff7f_e000n,
        vmemmap: 0xf400_0000n,
        userEndVpn: 0xc0000,
        mmapBaseVpn: 0xb7ff8,
        addressBits: 32,
        directMapBytes: 896 * MIB,
      }
    case 'granule-16k':
      // 47-bit addresses, halves split at bit 46; no published kernel layout is claimed.
      return {
        textOffset: TEXT_OFFSET,
        textBytes: TEXT_BYTES,
        dataBytes: DATA_BYTES,
        pageOffset: 0xffff_c000_0000_0000n,
        startMap: 0xffff_ffff_8000_0000n,
        vmallocStart: 0xffff_e000_0000_0000n,
        vmallocEnd: 0xffff_f000_0000_0000n,
        vmemmap: 0xffff_f000_0000_0000n,
        userEndVpn: 2 ** 32 - 1,
        mmapBaseVpn: 2 ** 32 - 2 ** 17,
        addressBits: 64,
        directMapBytes: 2 ** 40,
      }
    case 'x86-64':
    case 'x86-64-la57': {
      const la57 = geometry.name === 'x86-64-la57'
      const pageOffset = la57
        ? 0xff11_0000_0000_0000n
        : era === 'linux-4.6' ? 0xffff_8800_0000_0000n : 0xffff_8880_0000_0000n
      return {
        textOffset: TEXT_OFFSET,
        textBytes: TEXT_BYTES,
        dataBytes: DATA_BYTES,
        pageOffset,
        startMap: 0xffff_ffff_8000_0000n,
        vmallocStart: la57 ? 0xffa0_0000_0000_0000n : 0xffff_c900_0000_0000n,
        vmallocEnd: la57 ? 0xffd2_0000_0000_0000n : 0xffff_e900_0000_0000n,
        vmemmap: la57 ? 0xffd4_0000_0000_0000n : 0xffff_ea00_0000_0000n,
        // The last page below the canonical hole stays unmapped.
        userEndVpn: la57 ? 2 ** 44 - 1 : 2 ** 35 - 1,
        // Without a hint above 2^47 mmap stays below it, also with five levels.
        mmapBaseVpn: 2 ** 35 - 2 ** 19,
        addressBits: 64,
        directMapBytes: 2 ** 46,
      }
    }
  }
}

/** __pa(): the physical address of a kernel virtual address (direct map or image). */
export function pa(layout: KernelLayout, physBase: number, address: bigint): bigint {
  if (layout.startMap !== layout.pageOffset && address >= layout.startMap) {
    return address - layout.startMap + BigInt(physBase)
  }
  return address - layout.pageOffset
}

/** __va(): the direct-map address of a physical address. */
export function va(layout: KernelLayout, physical: bigint): bigint {
  return physical + layout.pageOffset
}

/** pfn_to_page(): the address of a frame's descriptor. */
export function pfnToPage(layout: KernelLayout, pfn: number): bigint {
  return layout.vmemmap + BigInt(pfn) * STRUCT_PAGE_BYTES
}

/** page_to_pfn(): inverse of {@link pfnToPage}. */
export function pageToPfn(layout: KernelLayout, page: bigint): number {
  return Number((page - layout.vmemmap) / STRUCT_PAGE_BYTES)
}

/** virt_to_page() for direct-map and image addresses. */
export function virtToPage(layout: KernelLayout, physBase: number, geometry: Geometry, address: bigint): bigint {
  return pfnToPage(layout, Number(pa(layout, physBase, address) >> BigInt(geometry.pageShift)))
}

/**
 * pgd_page() ... pte_page(): the descriptor of what an entry of `level` points to - the next table,
 * or for a leaf the first frame of its page, never the table that holds the entry.
 */
export function pxdPage(layout: KernelLayout, geometry: Geometry, level: number, lo: number, hi: number): bigint {
  const isLargeLeaf = level !== LEVEL_PTE && geometry.levels[level].leaf && (lo & PAGE_PSE) !== 0
  const pfn = entryPfn(lo, hi, geometry.pageShift)
  const pages = 2 ** (geometry.levels[level].shift - geometry.pageShift)
  // Bit 12 of a large leaf is PAT, not address.
  return pfnToPage(layout, isLargeLeaf ? Math.floor(pfn / pages) * pages : pfn)
}
