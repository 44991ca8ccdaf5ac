// Leaf entries as software composes them: protection flags, the software bits and how dirty is kept
// without write permission. Where entries are set is the business of faults, fork and mprotect.

import { makeEntryHi, makeEntryLo, PAGE_ACCESSED, PAGE_DIRTY, PAGE_NX_HI, PAGE_PRESENT, PAGE_PROTNONE, PAGE_PSE,
  PAGE_RW, PAGE_USER } from '../../machine/entry.js'
import { LEVEL_PTE } from '../../machine/geometry.js'
import { PROT_EXEC, PROT_READ, PROT_WRITE } from '../abi.js'
import type { KernelCpu } from '../cpu.js'
import type { Mm } from './mm.js'
import { setEntry } from './pgtable.js'
import type { KernelState } from '../state.js'

/** _PAGE_SPECIAL (bit 9): the frame has no struct page for whoever maps it; no counts are kept. */
export const PAGE_SPECIAL = 1 << 9

/** One leaf entry as two words. */
export interface LeafFlags {
  lo: number
  hi: number
}

/** vm_page_prot of a private area: never writable by itself. `writable` adds RW and D (maybe_mkwrite, pte_mkdirty). */
export function leafFlags(k: KernelState, prot: number, level: number, writable: boolean): LeafFlags {
  const readable = (prot & (PROT_READ | PROT_WRITE | PROT_EXEC)) !== 0
  let lo = readable ? PAGE_PRESENT | PAGE_USER | PAGE_ACCESSED : PAGE_PROTNONE | PAGE_ACCESSED
  if (readable && writable && (prot & PROT_WRITE) !== 0) lo |= PAGE_RW | PAGE_DIRTY
  if (level !== LEVEL_PTE) lo |= PAGE_PSE
  const hi = (prot & PROT_EXEC) === 0 && k.geometry.entryBytes === 8 ? PAGE_NX_HI : 0
  return { lo, hi }
}

/** Builds the entry for `pfn` from flags. */
export function storeLeaf(
  k: KernelState, cpu: KernelCpu, mm: Mm, table: number, slot: number, pfn: number, flags: LeafFlags,
): void {
  const shift = k.geometry.pageShift
  setEntry(k, cpu, mm, table, slot, makeEntryLo(pfn, flags.lo, shift), makeEntryHi(pfn, flags.hi, shift))
}

/** _PAGE_SAVED_DIRTY (bit 58): the dirty state of an entry that was made read-only. */
export const SAVED_DIRTY_HI = 1 << (58 - 32)

/**
 * A dirty entry without write permission means a shadow stack to newer CPUs, so 6.x parks D in that
 * bit. On x86-64 only: the bit is reserved in PAE entries.
 */
export function parksDirty(k: KernelState): boolean {
  return k.config.kernel.era === 'linux-6.x' && k.geometry.name.startsWith('x86-64')
}
