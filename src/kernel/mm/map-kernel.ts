// The kernel's own mappings, made once at boot in init_mm and shared by every mm: the direct map of all
// memory and the image at its link address. With page-table isolation also what user mode needs of the
// kernel to enter it, in the user roots: the entry code and the CPU entry areas (arch/x86/mm/pti.c,
// cpu_entry_area.c).
//
//                      without PTI     with PTI, kernel roots      with PTI, user roots
//   direct map         global          not global                  absent
//   image: entry code  global          global                      global, tables of their own
//   image: the rest    global          not global                  absent
//   CPU entry areas    not modelled    global                      global, the kernel's tables
//
// Without PCID the whole text is in user roots and global, because it then survives CR3 writes and
// there is nothing secret in it (pti_clone_kernel_text).
//
// Simplified: the entry code is the first large page of the text; a CPU entry area is three pages (GDT,
// entry stack, TSS). Nothing executes there; it is what walks and dumps of a user root show.

import { makeEntryHi, makeEntryLo, PAGE_ACCESSED, PAGE_DIRTY, PAGE_GLOBAL, PAGE_NX_HI, PAGE_PRESENT, PAGE_PSE,
  PAGE_RW } from '../../machine/entry.js'
import { indexAt, LEVEL_PTE } from '../../machine/geometry.js'
import { assert } from '../../base/assert.js'
import { FRAME_KERNEL } from '../pages/frames.js'
import { pa } from './layout.js'
import { $slot, allocTable, findTable, hugeLevel, pagesPerEntry } from './pgtable.js'
import { userRoot } from '../tlb/pti.js'
import type { KernelState } from '../state.js'
import { vpnHi, vpnLo, vpnOf } from '../state.js'

/** CPU_ENTRY_AREA_BASE, with four and five levels. */
const CPU_ENTRY_AREA = 0xffff_fe00_0000_0000n
/** Pages of the area of one CPU: GDT, entry stack, TSS. The first is read-only. */
const ENTRY_AREA_PAGES = 3

const DATA = PAGE_PRESENT | PAGE_RW | PAGE_ACCESSED | PAGE_DIRTY
const READ_ONLY = PAGE_PRESENT | PAGE_ACCESSED

/** Maps memory and image; with page-table isolation fills the kernel half of init_mm's user root as well. */
export function mapKernel(k: KernelState): void {
  const { layout, config } = k
  const pageBytes = k.geometry.pageBytes
  const global = config.kernel.pti ? 0 : PAGE_GLOBAL
  const noExec = k.geometry.entryBytes === 8 ? PAGE_NX_HI : 0
  const mapped = Math.min(k.frames.count, layout.directMapBytes / pageBytes)
  mapRange(k, vpnAt(k, layout.pageOffset), 0, mapped, DATA | global, noExec)
  if (layout.startMap === layout.pageOffset) return
  const start = layout.startMap + BigInt(layout.textOffset)
  const firstPfn = Number(pa(layout, config.kernel.physBase, start)) / pageBytes
  const textPages = layout.textBytes / pageBytes
  const first = vpnAt(k, start)
  mapRange(k, first, firstPfn, textPages, READ_ONLY | global, 0)
  mapRange(k, first + textPages, firstPfn + textPages, layout.dataBytes / pageBytes, DATA | global, noExec)
  if (!config.kernel.pti) return
  const entryPages = config.kernel.pcid ? pagesPerEntry(k.geometry, hugeLevel(k.geometry)) : textPages
  const root = userRoot(k, k.initMm)
  mapRange(k, first, firstPfn, entryPages, READ_ONLY | PAGE_GLOBAL, 0)
  mapRange(k, first, firstPfn, entryPages, READ_ONLY | PAGE_GLOBAL, 0, root)
  mapCpuEntryAreas(k, root)
}

/** setup_cpu_entry_areas(), pti_clone_p4d(): a page of IDT for all, then the areas; user roots share the tables. */
function mapCpuEntryAreas(k: KernelState, root: number): void {
  const base = vpnAt(k, CPU_ENTRY_AREA)
  const pages = 1 + k.cpus.length * ENTRY_AREA_PAGES
  for (let i = 0; i < pages; i++) {
    const pfn = k.frames.allocate(0, 0, FRAME_KERNEL)
    assert(pfn >= 0, 'no memory for the CPU entry areas')
    k.mem.zeroFrame(pfn)
    const isReadOnly = i === 0 || (i - 1) % ENTRY_AREA_PAGES === 0
    mapRange(k, base + i, pfn, 1, (isReadOnly ? READ_ONLY : DATA) | PAGE_GLOBAL, PAGE_NX_HI)
  }
  // The highest level at which the area has an entry of its own: p4d, which is the root with four levels.
  const level = k.geometry.name === 'x86-64-la57' ? k.geometry.topLevel + 1 : k.geometry.topLevel
  assert(findTable(k, k.initMm, base, level), 'the CPU entry areas are not mapped')
  const { pfn, slot } = $slot
  allocTable(k, k.cpus[0], k.initMm, base, level, root)
  assert($slot.slot === indexAt(k.geometry, level, vpnHi(k, base), vpnLo(k, base)), 'another slot in the user root')
  k.mem.store($slot.pfn, $slot.slot, k.mem.loadLo(pfn, slot), k.mem.loadHi(pfn, slot))
}

/** Maps `pages` frames from `pfn` at `vpn` in init_mm, with large leaves where both sides are aligned. */
function mapRange(
  k: KernelState, vpn: number, pfn: number, pages: number, flagsLo: number, flagsHi: number, root?: number,
): void {
  const g = k.geometry
  const huge = hugeLevel(g)
  const hugePages = pagesPerEntry(g, huge)
  for (let i = 0; i < pages;) {
    const isLarge = (vpn + i) % hugePages === 0 && (pfn + i) % hugePages === 0 && pages - i >= hugePages
    const level = isLarge ? huge : LEVEL_PTE
    allocTable(k, k.cpus[0], k.initMm, vpn + i, level, root)
    const lo = makeEntryLo(pfn + i, isLarge ? flagsLo | PAGE_PSE : flagsLo, g.pageShift)
    k.mem.store($slot.pfn, $slot.slot, lo, makeEntryHi(pfn + i, flagsHi, g.pageShift))
    i += isLarge ? hugePages : 1
  }
}

function vpnAt(k: KernelState, address: bigint): number {
  const unsigned = BigInt.asUintN(64, address)
  return vpnOf(k, Number(unsigned >> 32n) | 0, Number(unsigned & 0xffff_ffffn) | 0)
}
