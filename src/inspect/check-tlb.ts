// Invariants about what TLBs and paging caches hold: I1, I2, I8, I10, I18, I20, I21, I22
// (kernel-behaviour.md section 8). A core in user mode may have run ahead of the kernel; its TLB
// is then that of its future. So these checks are right for a CPU that is in the kernel at any
// time, and for a CPU in user mode only while its core stands at the present cycle.
//
// Two need no check of their own, because the tables say one thing about an address. I10 (a slot
// of generation g has had requests 1..g applied): a request that was skipped shows as an entry
// that differs from the tables in a slot that is up to date. I21 (a large and a small entry for
// one address): one of them has not the size that the tables map.

import { hex64, hexNumber } from '../base/units.js'
import type { PagingCacheEntry, TlbEntry } from '../machine/mmu.js'
import type { KernelCpu } from '../kernel/cpu.js'
import { FRAME_KERNEL, FRAME_TABLE, FRAME_USER } from '../kernel/pages/frames.js'
import type { Mm } from '../kernel/mm/mm.js'
import { hasRootOf, rootOwnerOf } from '../kernel/tlb/pti.js'
import type { KernelState } from '../kernel/state.js'
import { vpnOf } from '../kernel/state.js'
import { isVmallocVpn } from '../kernel/mm/vmalloc.js'
import { heldEntries } from './held-entries.js'
import { flushesBeforeUser, isUpToDate, judgePagingCacheEntry, judgeTlbEntry, runsMm } from './tlb-verdict.js'
import { violated } from './violation.js'

/** Checks the TLBs of every CPU. Every core must stand at the present cycle (settled). */
export function checkTlbs(k: KernelState, cycle?: number): void {
  for (const cpu of k.cpus) checkTlbsOf(k, cpu, cycle)
}

/** Checks the TLBs of one CPU that stands at the present cycle. Returns how many entries there were. */
export function checkTlbsOf(k: KernelState, cpu: KernelCpu, cycle?: number): number {
  const { tlb, upper } = heldEntries(k, cpu)
  for (const entry of tlb) checkEntry(k, cpu, entry, cycle)
  for (const entry of upper) checkPagingCacheEntry(k, cpu, entry, cycle)
  return tlb.length + upper.length
}

function checkEntry(k: KernelState, cpu: KernelCpu, entry: TlbEntry, cycle: number | undefined): void {
  const judgement = judgeTlbEntry(k, cpu, entry)
  const { mm } = judgement
  const vpn = vpnOf(k, entry.hi, entry.lo)
  const isBuffer = isVmallocVpn(k, vpn)
  if (judgement.verdict === 'STALE') {
    const invariant = isBuffer && k.frames.use[entry.pfn] !== FRAME_KERNEL ? 'I1' : judgement.invariant
    violated(k, invariant, { cpu, mm, vpn, cycle }, `stale ${describeTlbEntry(entry)}: ${judgement.why}`)
  }
  if (isBuffer && k.frames.use[entry.pfn] !== FRAME_KERNEL && judgement.verdict !== 'pending') {
    violated(k, 'I1', { cpu, mm, vpn, cycle },
      `${describeTlbEntry(entry)} is a kernel buffer whose frame was given back`)
  }
  if (entry.global) {
    if (entry.user) {
      violated(k, 'I22', { cpu, vpn, cycle }, `a user page is cached as global: ${describeTlbEntry(entry)}`)
    }
    return
  }
  checkFrameIsLive(k, cpu, entry, mm, cycle)
}

/** I1 alone, when frames were just given back. `entries`: what the CPU's TLBs hold. */
export function checkFreedFrames(
  k: KernelState, cpu: KernelCpu, entries: readonly TlbEntry[], cycle: number | undefined,
): void {
  for (const entry of entries) {
    if (entry.global || isOwned(k, entry)) continue
    checkFrameIsLive(k, cpu, entry, rootOwnerOf(k, cpu, entry.pcid).mm, cycle)
  }
}

/** Even with a flush pending: nothing is freed before it, unless the slot is behind and nobody can use it as it is. */
function checkFrameIsLive(
  k: KernelState, cpu: KernelCpu, entry: TlbEntry, mm: Mm | undefined, cycle: number | undefined,
): void {
  if (isOwned(k, entry)) return
  const isUsed = mm !== undefined && entry.pcid === k.platform.mmu(cpu.id).pcid && runsMm(k, cpu, mm)
    && !flushesBeforeUser(k, cpu)
  if (!isUsed && !isUpToDate(rootOwnerOf(k, cpu, entry.pcid))) return
  const vpn = vpnOf(k, entry.hi, entry.lo)
  violated(k, 'I1', { cpu, mm, vpn, cycle }, `${describeTlbEntry(entry)} reaches a frame that was given back`)
}

/** The frame that a TLB entry names is in use as what programs may reach. */
function isOwned(k: KernelState, entry: TlbEntry): boolean {
  const { use, refcount } = k.frames
  return (use[entry.pfn] === FRAME_USER && refcount[k.frames.headOf(entry.pfn)]! > 0)
    || entry.pfn === k.zeroPagePfn || !entry.user || k.pageCache.places.has(entry.pfn)
}

/** I2: the tables that walks continue in are those of the tree, and none was given back. */
function checkPagingCacheEntry(
  k: KernelState, cpu: KernelCpu, entry: PagingCacheEntry, cycle: number | undefined,
): void {
  const judgement = judgePagingCacheEntry(k, cpu, entry)
  const { mm } = judgement
  const vpn = vpnOf(k, entry.hi, entry.lo)
  if (judgement.verdict === 'STALE') {
    const what = `stale paging-cache entry ${describeUpper(k, entry)}`
    violated(k, judgement.invariant, { cpu, mm, vpn, cycle }, `${what}: ${judgement.why}`)
  }
  checkTableIsLive(k, cpu, entry, mm, 'paging-cache entry', cycle)
}

/** The same for tables that were just given back, and nothing else. */
export function checkFreedTables(k: KernelState, cpu: KernelCpu, cycle: number | undefined): void {
  const check = (what: string) => (entry: PagingCacheEntry): void => {
    const { mm } = rootOwnerOf(k, cpu, entry.pcid)
    checkTableIsLive(k, cpu, entry, mm, what, cycle)
  }
  heldEntries(k, cpu).upper.forEach(check('paging-cache entry'))
  k.platform.mmu(cpu.id).latchedTops().forEach(check('latched top entry'))
}

function checkTableIsLive(
  k: KernelState, cpu: KernelCpu, entry: PagingCacheEntry, mm: Mm | undefined, what: string,
  cycle: number | undefined,
): void {
  if (k.frames.use[entry.pfn] === FRAME_TABLE && k.frames.refcount[entry.pfn]! > 0) return
  // Speculation may walk the loaded root at any moment, also while the CPU is lazy and behind.
  const isLoaded = entry.pcid === k.platform.mmu(cpu.id).pcid && isRootOf(k, cpu, mm) && !cpu.vcpu.flushOnEntry
  if (!isLoaded && !isUpToDate(rootOwnerOf(k, cpu, entry.pcid))) return
  const vpn = vpnOf(k, entry.hi, entry.lo)
  violated(k, 'I2', { cpu, mm, vpn, cycle }, `${what} ${describeUpper(k, entry)} names a table that was given back`)
}

/** `pud -> frame 0x00042 (pcid 2)`. */
function describeUpper(k: KernelState, entry: PagingCacheEntry): string {
  return `${k.geometry.levels[entry.level]!.name} -> frame ${hexNumber(entry.pfn, 5)} (pcid ${entry.pcid})`
}

function isRootOf(k: KernelState, cpu: KernelCpu, mm: Mm | undefined): boolean {
  return mm !== undefined && hasRootOf(k, cpu, mm)
}

/** `l1d entry 0x... -> pfn 0x00090 W U D (pcid 2)`. */
export function describeTlbEntry(entry: TlbEntry): string {
  const flags = [
    ...(entry.writable ? ['W'] : []), ...(entry.user ? ['U'] : []), ...(entry.dirty ? ['D'] : []),
    ...(entry.nx ? ['NX'] : []), ...(entry.global ? ['G'] : []),
  ]
  return `${entry.level} entry ${hex64(entry.hi, entry.lo)} -> pfn ${hexNumber(entry.pfn, 5)} ${flags.join(' ')} ` +
    `(pcid ${entry.pcid})`
}
