// Software edits of the page-table tree, through all five names with folded levels passed over.
// Every write of an entry that a program's mm can reach goes through setEntry, which first makes
// the cores that run the mm stand at the writing CPU's cycle. Mappings are taken away only with a
// gather in hand (zap.ts); this file adds, reads and changes.

import { fail } from '../../base/assert.js'
import {
  entryPfn, makeEntryHi, makeEntryLo, PAGE_ACCESSED, PAGE_DIRTY, PAGE_NX_HI, PAGE_PRESENT, PAGE_PSE, PAGE_RW,
  PAGE_USER,
} from '../../machine/entry.js'
import { indexAt, LEVEL_PGD, LEVEL_PMD, LEVEL_PTE, splitAddress } from '../../machine/geometry.js'
import type { Geometry } from '../../machine/geometry.js'
import type { KernelCpu } from '../cpu.js'
import { FRAME_TABLE } from '../pages/frames.js'
import type { Mm } from './mm.js'
import { rootOrder, userRoot } from '../tlb/pti.js'
import type { KernelState } from '../state.js'
import { vpnHi, vpnLo } from '../state.js'
import { isSwapPte } from '../reclaim/swap-entry.js'

/** Where an entry stands. Filled by {@link findTable} and {@link allocTable}; valid until the next call. */
export const $slot = { pfn: 0, slot: 0 }

/** Flags of an entry that points to a table of user mappings. */
const USER_TABLE_FLAGS = PAGE_PRESENT | PAGE_RW | PAGE_USER | PAGE_ACCESSED | PAGE_DIRTY

/** Base pages that one entry of `level` covers. */
export function pagesPerEntry(g: Geometry, level: number): number {
  return g.levels[level].pages
}

/** Base pages in a large leaf (2 MiB on x86-64). */
export function pagesPerHugePage(g: Geometry): number {
  return pagesPerEntry(g, hugeLevel(g))
}

/** The lowest level above pte that may hold a leaf: pmd, or pgd on i386. */
export function hugeLevel(g: Geometry): number {
  for (let level = LEVEL_PMD; level >= LEVEL_PGD; level--) {
    if (!g.levels[level].folded && g.levels[level].leaf) return level
  }
  return LEVEL_PMD
}

/** The next level below that has tables of its own. */
export function childLevel(g: Geometry, level: number): number {
  let child = level + 1
  while (g.levels[child].folded) child++
  return child
}

/** First slot of the root that belongs to the kernel half. */
export function firstKernelSlot(k: KernelState): number {
  const address = BigInt.asUintN(64, k.layout.pageOffset)
  const hi = Number(address >> 32n) | 0
  const lo = Number(address & 0xffff_ffffn) | 0
  return splitAddress(k.geometry, hi, lo)[k.geometry.topLevel].index
}

/** Changes one entry of `mm` at the present cycle of `cpu`. */
export function setEntry(
  k: KernelState, cpu: KernelCpu, mm: Mm, pfn: number, slot: number, lo: number, hi: number,
): void {
  k.platform.beforeSharedWrite(cpu, mm)
  const kernelHi = k.config.kernel.pti && pfn === mm.pgdPfn ? mirrorUserSlot(k, mm, slot, lo, hi) : hi
  k.observer?.entryWritten(cpu, mm, pfn, slot, lo, kernelHi)
  k.mem.store(pfn, slot, lo, kernelHi)
}

/**
 * pti_set_user_pgtbl(): writes a user slot into the user root, and returns the high word that the kernel root gets. NX
 * there makes a kernel that went back to user mode under its own root fault at once.
 */
function mirrorUserSlot(k: KernelState, mm: Mm, slot: number, lo: number, hi: number): number {
  if (slot >= firstKernelSlot(k)) return hi
  k.mem.store(userRoot(k, mm), slot, lo, hi)
  const isUserTable = (lo & (PAGE_PRESENT | PAGE_USER)) === (PAGE_PRESENT | PAGE_USER)
  return isUserTable ? hi | PAGE_NX_HI : hi
}

/** pmd_populate() and its siblings: an entry of `level` names table `child` from now on. */
export function setTableEntry(
  k: KernelState, cpu: KernelCpu, mm: Mm, pfn: number, slot: number, child: number, level: number,
): void {
  const { pageShift } = k.geometry
  const flags = tableFlags(k, mm, level)
  setEntry(k, cpu, mm, pfn, slot, makeEntryLo(child, flags, pageShift), makeEntryHi(child, 0, pageShift))
}

/**
 * Finds the table of `level` that holds the entry for `vpn`, without making one. False when a
 * higher entry is empty or is itself a leaf.
 */
export function findTable(k: KernelState, mm: Mm, vpn: number, level: number): boolean {
  const g = k.geometry
  const hi = vpnHi(k, vpn)
  const lo = vpnLo(k, vpn)
  let pfn = mm.pgdPfn
  for (let at = g.topLevel; at < level; at = childLevel(g, at)) {
    const slot = indexAt(g, at, hi, lo)
    const entryLo = k.mem.loadLo(pfn, slot)
    if ((entryLo & PAGE_PRESENT) === 0) return false
    if (g.levels[at].leaf && (entryLo & PAGE_PSE) !== 0) return false
    pfn = entryPfn(entryLo, k.mem.loadHi(pfn, slot), g.pageShift)
  }
  $slot.pfn = pfn
  $slot.slot = indexAt(g, level, hi, lo)
  return true
}

/** As {@link findTable}, but makes the missing tables (p4d_alloc ... pte_alloc). False: out of memory. */
export function allocTable(
  k: KernelState, cpu: KernelCpu, mm: Mm, vpn: number, level: number, root = mm.pgdPfn,
): boolean {
  const g = k.geometry
  const hi = vpnHi(k, vpn)
  const lo = vpnLo(k, vpn)
  let pfn = root
  for (let at = g.topLevel; at < level; at = childLevel(g, at)) {
    const slot = indexAt(g, at, hi, lo)
    const entryLo = k.mem.loadLo(pfn, slot)
    if ((entryLo & PAGE_PRESENT) !== 0) {
      if ((entryLo & PAGE_PSE) !== 0 && g.levels[at].leaf) fail(`table wanted below a large leaf at page ${vpn}`)
      pfn = entryPfn(entryLo, k.mem.loadHi(pfn, slot), g.pageShift)
      continue
    }
    const table = newTable(k, cpu, mm)
    if (table < 0) return false
    setTableEntry(k, cpu, mm, pfn, slot, table, at)
    pfn = table
  }
  $slot.pfn = pfn
  $slot.slot = indexAt(g, level, hi, lo)
  return true
}

/** The leaf that maps `vpn`: its level with $slot set, or -1 when no table reaches that far. */
export function findLeaf(k: KernelState, mm: Mm, vpn: number): number {
  const g = k.geometry
  for (let level = g.topLevel; level < LEVEL_PTE; level = childLevel(g, level)) {
    if (!g.levels[level].leaf) continue
    if (!findTable(k, mm, vpn, level)) return -1
    const lo = k.mem.loadLo($slot.pfn, $slot.slot)
    if ((lo & PAGE_PSE) !== 0 || isSwapPte(lo, k.mem.loadHi($slot.pfn, $slot.slot))) return level
  }
  return findTable(k, mm, vpn, LEVEL_PTE) ? LEVEL_PTE : -1
}

/** pgd_alloc(): a root table (two with PTI) whose kernel half is shared with every other. -1: out of memory. */
export function allocPgd(k: KernelState, cpu: KernelCpu): number {
  const order = rootOrder(k)
  const root = k.frames.allocate(cpu.id, order, FRAME_TABLE)
  if (root < 0) return -1
  for (let half = 0; half < 1 << order; half++) {
    const swapper = k.initMm.pgdPfn + half
    k.mem.zeroFrame(root + half)
    const slots = 2 ** k.geometry.levels[k.geometry.topLevel].bits
    for (let slot = firstKernelSlot(k); slot < slots; slot++) {
      k.mem.store(root + half, slot, k.mem.loadLo(swapper, slot), k.mem.loadHi(swapper, slot))
    }
  }
  k.counters.pagesAllocated += 1 << order
  return root
}

/**
 * i386 PAE: the CPU latches the four root entries when it loads CR3, so they are all filled
 * before the first load and never change (Linux preallocates them too). False: out of memory.
 */
export function preallocatePmds(k: KernelState, cpu: KernelCpu, mm: Mm): boolean {
  if (k.geometry.name !== 'i386-pae') return true
  for (let slot = 0; slot < firstKernelSlot(k); slot++) {
    if (!allocTable(k, cpu, mm, slot * pagesPerEntry(k.geometry, LEVEL_PGD), LEVEL_PMD)) return false
  }
  return true
}

/** pgd_free(), with the preallocated tables of PAE. */
export function freePgd(k: KernelState, cpu: KernelCpu, mm: Mm): void {
  if (k.geometry.name === 'i386-pae') {
    for (let slot = 0; slot < firstKernelSlot(k); slot++) {
      const lo = k.mem.loadLo(mm.pgdPfn, slot)
      if ((lo & PAGE_PRESENT) !== 0) {
        freeTable(k, cpu, mm, entryPfn(lo, k.mem.loadHi(mm.pgdPfn, slot), k.geometry.pageShift))
      }
    }
  }
  freeTable(k, cpu, mm, mm.pgdPfn)
}

/** Gives a table frame back. The caller has flushed. */
export function freeTable(k: KernelState, cpu: KernelCpu, mm: Mm, pfn: number): void {
  unaccountTable(mm, pfn, 1 << k.frames.order[pfn])
  putTable(k, cpu, mm, pfn)
}

/** A table is no part of the tree any more; a root can be two pages. */
export function unaccountTable(mm: Mm, pfn: number, pages = 1): void {
  mm.tablePages -= pages
  mm.pageTableLocks.delete(pfn)
}

/** Its frame goes back. */
export function putTable(k: KernelState, cpu: KernelCpu, mm: Mm, pfn: number): void {
  k.sharedTables.delete(pfn)
  k.counters.pagesFreed += 1 << k.frames.order[pfn]
  // tlb_remove_table() of 6.x: after an RCU grace period. 4.6 relies on the interrupts of the flush alone.
  const waitFor = new Set(k.config.kernel.era === 'linux-4.6' ? [] : walkersNow(k))
  if (waitFor.size === 0) {
    k.observer?.tableFreed(cpu, mm, pfn)
    k.frames.put(cpu.id, pfn)
  } else {
    k.rcuTables.push({ pfn, waitFor })
  }
}

/** The lockless walk of `cpu` is over: gives back the tables that waited for it. */
export function freeTablesWaitingFor(k: KernelState, cpu: KernelCpu): void {
  for (const table of k.rcuTables) table.waitFor.delete(cpu.id)
  for (;;) {
    const index = k.rcuTables.findIndex(table => table.waitFor.size === 0)
    if (index < 0) return
    k.frames.put(cpu.id, k.rcuTables.splice(index, 1)[0].pfn)
  }
}

function walkersNow(k: KernelState): number[] {
  return k.cpus.filter(each => each.walkedTables.length > 0).map(each => each.id)
}

/** Calls `visit` for every leaf entry in [start, end) that is not empty, ascending; also for swap entries. */
export function forEachLeaf(
  k: KernelState, mm: Mm, start: number, end: number,
  visit: (vpn: number, level: number, pfn: number, slot: number, lo: number, hi: number) => void,
): void {
  const g = k.geometry
  let vpn = start
  while (vpn < end) {
    const level = findLeaf(k, mm, vpn)
    if (level < 0) {
      vpn = nextTableStart(k, mm, vpn, end)
      continue
    }
    const pages = pagesPerEntry(g, level)
    const { pfn, slot } = $slot
    const last = level === LEVEL_PTE ? Math.min(2 ** g.levels[level].bits, slot + (end - vpn)) : slot + 1
    for (let at = slot; at < last; at++) {
      const lo = k.mem.loadLo(pfn, at)
      const hi = k.mem.loadHi(pfn, at)
      if (lo !== 0 || hi !== 0) visit(vpn + (at - slot) * pages, level, pfn, at, lo, hi)
    }
    vpn = level === LEVEL_PTE ? vpn + (last - slot) : Math.floor(vpn / pages) * pages + pages
  }
}

/** pmd_addr_end and friends: where the region of the highest empty entry above `vpn` ends. */
function nextTableStart(k: KernelState, mm: Mm, vpn: number, end: number): number {
  const g = k.geometry
  for (let level = g.topLevel; level < LEVEL_PTE; level = childLevel(g, level)) {
    if (!findTable(k, mm, vpn, level) || (k.mem.loadLo($slot.pfn, $slot.slot) & PAGE_PRESENT) === 0) {
      const pages = pagesPerEntry(g, level)
      return Math.min(end, Math.floor(vpn / pages) * pages + pages)
    }
  }
  return end
}

/** pte_alloc_one(): an empty table that hangs nowhere and that no mm counts yet; -1: out of memory. */
export function allocTableFrame(k: KernelState, cpu: KernelCpu): number {
  const table = k.frames.allocate(cpu.id, 0, FRAME_TABLE)
  if (table < 0) return -1
  k.mem.zeroFrame(table)
  k.counters.pagesAllocated += 1
  return table
}

function newTable(k: KernelState, cpu: KernelCpu, mm: Mm): number {
  const table = allocTableFrame(k, cpu)
  if (table >= 0) mm.tablePages += 1
  return table
}

/** PAE root entries may carry only P, PWT, PCD and software bits (SDM vol. 3, 4.4.1). */
function tableFlags(k: KernelState, mm: Mm, level: number): number {
  if (k.geometry.name === 'i386-pae' && level === LEVEL_PGD) return PAGE_PRESENT
  return mm === k.initMm ? USER_TABLE_FLAGS & ~PAGE_USER : USER_TABLE_FLAGS
}
