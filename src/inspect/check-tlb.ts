// Invariants about what TLBs and paging caches hold: I1, I2, I8, I10, I18, I20, I21, I22
// (kernel-behaviour.md section 8). A core in user mode may have run ahead of the kernel; its TLB
// is then that of its future. So these checks are right for a CPU that is in the kernel at any
// time, and for a CPU in user mode only while its core stands at the present cycle.
//
// I10 (a slot of generation g has had requests 1..g applied) has no check of its own: a request
// that was skipped shows as an entry that differs from the tables in a slot that is up to date.

import { hex64, hexNumber } from '../base/units.js'
import { pagesPerEntry } from '../machine/geometry.js'
import type { PagingCacheEntry, TlbEntry } from '../machine/mmu.js'
import type { KernelCpu } from '../kernel/cpu.js'
import { FRAME_TABLE, FRAME_USER, MAX_ORDER } from '../kernel/frames.js'
import type { Mm } from '../kernel/mm.js'
import type { KernelState } from '../kernel/state.js'
import { vpnOf } from '../kernel/state.js'
import { isUpToDate, judgePagingCacheEntry, judgeTlbEntry, ownerOf } from './tlb-verdict.js'
import { violated } from './violation.js'

/** Checks the TLBs of every CPU. Every core must stand at the present cycle (settled). */
export function checkTlbs(k: KernelState, cycle?: number): void {
  for (const cpu of k.cpus) checkTlbsOf(k, cpu, cycle)
}

/** Checks the TLBs of one CPU that stands at the present cycle. Returns how many entries there were. */
export function checkTlbsOf(k: KernelState, cpu: KernelCpu, cycle?: number): number {
  const mmu = k.platform.mmu(cpu.id)
  const large: LargePage[] = []
  let entries = 0
  mmu.forEachTlbEntry((entry) => {
    entries += 1
    checkEntry(k, cpu, entry, cycle)
    const pages = pagesPerEntry(k.geometry, entry.pageLevel)
    if (pages > 1) large.push({ first: vpnOf(k, entry.hi, entry.lo), pages, pcid: entry.pcid, global: entry.global })
  })
  if (large.length > 0) checkOneSize(k, cpu, large, cycle)
  mmu.forEachPagingCacheEntry((entry) => {
    entries += 1
    checkPagingCacheEntry(k, cpu, entry, cycle)
  })
  return entries
}

interface LargePage {
  first: number
  pages: number
  pcid: number
  global: boolean
}

function checkEntry(k: KernelState, cpu: KernelCpu, entry: TlbEntry, cycle: number | undefined): void {
  const judgement = judgeTlbEntry(k, cpu, entry)
  const { mm } = judgement
  const vpn = vpnOf(k, entry.hi, entry.lo)
  if (judgement.verdict === 'STALE') {
    violated(k, judgement.invariant, { cpu, mm, vpn, cycle }, `stale ${describe(entry)}: ${judgement.why}`)
  }
  if (entry.global) {
    if (entry.user) violated(k, 'I22', { cpu, vpn, cycle }, `a user page is cached as global: ${describe(entry)}`)
    return
  }
  // Even with a flush pending: nothing is freed before it, unless the slot is known to be behind.
  if (!isUpToDate(ownerOf(k, cpu, entry.pcid))) return
  const { use, refcount } = k.frames
  const isOwned = (use[entry.pfn] === FRAME_USER && refcount[blockStart(k, entry.pfn)]! > 0)
    || entry.pfn === k.zeroPagePfn || !entry.user
  if (isOwned) return
  violated(k, 'I1', { cpu, mm, vpn, cycle }, `${describe(entry)} reaches a frame that was given back`)
}

/** First frame of the block that holds `pfn`: a compound page counts its references there. */
function blockStart(k: KernelState, pfn: number): number {
  const { order, refcount } = k.frames
  for (let size = 0; size <= MAX_ORDER; size++) {
    const start = pfn - (pfn % 2 ** size)
    if (refcount[start]! > 0 && start + 2 ** order[start]! > pfn) return start
  }
  return pfn
}

/** I21: no address is translated by a large and by a small entry, unless a flush is pending. */
function checkOneSize(k: KernelState, cpu: KernelCpu, large: readonly LargePage[], cycle: number | undefined): void {
  k.platform.mmu(cpu.id).forEachTlbEntry((entry) => {
    const vpn = vpnOf(k, entry.hi, entry.lo)
    const pages = pagesPerEntry(k.geometry, entry.pageLevel)
    const around = large.find((page) => page.pages > pages && page.first <= vpn && vpn < page.first + page.pages
      && (page.pcid === entry.pcid || page.global || entry.global))
    if (around === undefined) return
    const judgement = judgeTlbEntry(k, cpu, entry)
    if (judgement.verdict === 'pending') return
    violated(k, 'I21', { cpu, mm: judgement.mm, vpn, cycle },
      `${describe(entry)} lies inside a cached page of ${around.pages} base pages`)
  })
}

/** I2: the tables that walks continue in are those of the tree, and none was given back. */
function checkPagingCacheEntry(
  k: KernelState, cpu: KernelCpu, entry: PagingCacheEntry, cycle: number | undefined,
): void {
  const judgement = judgePagingCacheEntry(k, cpu, entry)
  const { mm } = judgement
  const vpn = vpnOf(k, entry.hi, entry.lo)
  const what = `paging-cache entry ${k.geometry.levels[entry.level]!.name} -> frame ${hexNumber(entry.pfn, 5)} ` +
    `(pcid ${entry.pcid})`
  if (judgement.verdict === 'STALE') {
    violated(k, judgement.invariant, { cpu, mm, vpn, cycle }, `stale ${what}: ${judgement.why}`)
  }
  // Speculation may walk the loaded root at any moment, also while the CPU is lazy and behind.
  const isLoaded = entry.pcid === k.platform.mmu(cpu.id).pcid && isRootOf(k, cpu, mm)
  if (!isLoaded && !isUpToDate(ownerOf(k, cpu, entry.pcid))) return
  if (k.frames.use[entry.pfn] === FRAME_TABLE && k.frames.refcount[entry.pfn]! > 0) return
  violated(k, 'I2', { cpu, mm, vpn, cycle }, `${what} names a table that was given back`)
}

function isRootOf(k: KernelState, cpu: KernelCpu, mm: Mm | undefined): boolean {
  return mm !== undefined && k.platform.mmu(cpu.id).rootPfn === mm.pgdPfn
}

function describe(entry: TlbEntry): string {
  const flags = [
    ...(entry.writable ? ['W'] : []), ...(entry.user ? ['U'] : []), ...(entry.dirty ? ['D'] : []),
    ...(entry.nx ? ['NX'] : []), ...(entry.global ? ['G'] : []),
  ]
  return `${entry.level} entry ${hex64(entry.hi, entry.lo)} -> pfn ${hexNumber(entry.pfn, 5)} ${flags.join(' ')} ` +
    `(pcid ${entry.pcid})`
}
