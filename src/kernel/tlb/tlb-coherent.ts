// Ideal hardware: TLBs and paging caches are kept coherent with page tables like data caches, so a
// changed entry simply vanishes everywhere. Nobody is interrupted, nobody runs a handler, nothing
// else is lost. No other scheme can need less; what a scheme costs above this is what its way of
// flushing costs.
//
// From the source: the idea (invalidation rides on the cache coherence of page-table lines).
// Our reading: the writer waits for one cache-line transfer when another CPU may hold the mm, to the
// farthest of them, and for nothing when none does; capacity and false sharing of such hardware cost
// nothing. Switches, slots and lazy CPUs are those of 6.x; every slot is always up to date.

import { indexAt, nextLevel } from '../../machine/geometry.js'
import { peekWalk } from '../../machine/mmu.js'
import type { TlbEntry } from '../../machine/mmu.js'
import { entryDirty, entryPfn, entryPresent, PFN_HI_MASK, pmdLeaf } from '../../machine/entry.js'
import type { CpuMask } from '../cpumask.js'
import type { KernelCpu } from '../cpu.js'
import { anonymousRequest, beginFlush, endFlush } from './flush-request.js'
import type { KernelOp } from '../kernel-op.js'
import type { Mm } from '../mm/mm.js'
import { pcidHalves, rootOwnerOf } from './pti.js'
import { dropKernelPage, remoteMmu } from '../smp/remote-cpu.js'
import type { KernelState } from '../state.js'
import { vpnHi, vpnLo, vpnOf } from '../state.js'
import { linux6x } from './tlb-flush-6x.js'
import { FLUSH_ALL } from './tlb-policy.js'
import type { FlushRange, TlbPolicy } from './tlb-policy.js'

export const hardwareCoherent: TlbPolicy = {
  ...linux6x,
  name: 'hardware-coherent',
  source: 'the lower bound of Z. Yan and others, "Hardware Translation Coherence for Virtualized Systems", ISCA 2017',
  withoutMaskForms: 'hardware knows where translations are cached',
  flushMmRange,
  flushPage: (k, cpu, mm, vpn) =>
    flushMmRange(k, cpu, mm, { start: vpn, end: vpn + 1, stridePages: 1, freedTables: false, hugetlb: false }),
  batchAdd,
  flushBatch,
  flushKernelRange,
  flushAll: (k, cpu) => flushKernelRange(k, cpu, 0, FLUSH_ALL),
}

function* flushMmRange(k: KernelState, cpu: KernelCpu, mm: Mm, range: FlushRange): KernelOp {
  const begin = cpu.now
  nextGeneration(k, mm)
  const info = { ...anonymousRequest(cpu, range.start, range.end), mm, newTlbGen: mm.tlbGen }
  beginFlush(k, cpu, info)
  const transfer = transferCycles(k, cpu, mm.mmCpumask)
  if (transfer > 0) yield transfer
  invalidate(k, cpu, mm)
  endFlush(k, cpu, info, 0, begin)
}

/** Gone when it is cleared. */
function batchAdd(k: KernelState, cpu: KernelCpu, mask: CpuMask, mm: Mm): void {
  nextGeneration(k, mm)
  invalidate(k, cpu, mm)
  mask.or(mm.mmCpumask)
}

function* flushBatch(k: KernelState, cpu: KernelCpu, mask: CpuMask): KernelOp {
  const transfer = transferCycles(k, cpu, mask)
  if (transfer > 0) yield transfer
}

function* flushKernelRange(k: KernelState, cpu: KernelCpu, start: number, end: number): KernelOp {
  yield k.costs.ackTransfer
  for (const target of k.cpus) {
    const mmu = remoteMmu(k, cpu, target)
    if (end - start > k.config.kernel.flushCeilingPages) mmu.flushGlobal()
    else for (let vpn = start; vpn < end; vpn++) dropKernelPage(k, mmu, vpn)
  }
}

/** To the farthest CPU that may hold something; at least a cycle when there is one. */
function transferCycles(k: KernelState, cpu: KernelCpu, mask: CpuMask): number {
  const others = mask.toArray().filter(id => id !== cpu.id)
  if (others.length === 0) return 0
  const isFar = others.some(id => k.cpus[id].socket !== cpu.socket)
  return Math.max(1, isFar ? k.costs.ackTransferRemote : k.costs.ackTransfer)
}

/** Every request has a generation of its own; slots never are behind, because the hardware sees to them. */
function nextGeneration(k: KernelState, mm: Mm): void {
  mm.tlbGen += 1
  for (const { tlb6x } of k.cpus) {
    for (const slot of tlb6x.ctxs) if (slot.ctxId === mm.ctxId) slot.tlbGen = mm.tlbGen
  }
}

/** Whatever differs from the tables of `mm` vanishes, on every CPU and in every slot, in one step. */
function invalidate(k: KernelState, cpu: KernelCpu, mm: Mm): void {
  for (const target of k.cpus) {
    for (const [asid, slot] of target.tlb6x.ctxs.entries()) {
      if (slot.ctxId !== mm.ctxId) continue
      for (const pcid of pcidHalves(k, k.config.kernel.pcid ? asid + 1 : 0)) dropDiffering(k, cpu, target, pcid)
      slot.tlbGen = mm.tlbGen
    }
  }
}

function dropDiffering(k: KernelState, cpu: KernelCpu, target: KernelCpu, pcid: number): void {
  const mmu = remoteMmu(k, cpu, target)
  const { root } = rootOwnerOf(k, target, pcid)
  const stale: number[] = []
  mmu.forEachTlbEntry(entry => {
    if (entry.pcid === pcid && !entry.global && differs(k, root, entry)) stale.push(vpnOf(k, entry.hi, entry.lo))
  })
  let isTableGone = false
  mmu.forEachPagingCacheEntry(({ level, hi, lo, pfn, pcid: tag }) => {
    if (tag === pcid && !isTableGone) isTableGone = tableAt(k, root, level, hi, lo) !== pfn
  })
  for (const vpn of stale) mmu.invpcid(0, pcid, vpnHi(k, vpn), vpnLo(k, vpn))
  // Drops the paging-cache entries of the PCID, whatever the page.
  if (isTableGone) mmu.invpcid(0, pcid, 0, 0)
}

function differs(k: KernelState, root: number, entry: TlbEntry): boolean {
  const walk = peekWalk(k.geometry, k.mem, root, entry.hi, entry.lo)
  if (walk.reason !== 'ok' && walk.reason !== 'huge') return true
  const leaf = walk.steps[walk.steps.length - 1]!
  return walk.leafLevel !== entry.pageLevel || walk.pfn !== entry.pfn || walk.writable !== entry.writable
    || walk.user !== entry.user || walk.nx !== entry.nx || entryDirty(leaf.lo) !== entry.dirty
}

/** Frame of the table that the entry of `level` for this address names; -1 when it names none. */
function tableAt(k: KernelState, root: number, wanted: number, hi: number, lo: number): number {
  const g = k.geometry
  let table = root
  for (let level = g.topLevel; ; level = nextLevel(g, level)) {
    const slot = indexAt(g, level, hi, lo)
    const entryLo = k.mem.loadLo(table, slot)
    if (!entryPresent(entryLo) || (g.levels[level].leaf && pmdLeaf(entryLo))) return -1
    table = entryPfn(entryLo, k.mem.loadHi(table, slot) & PFN_HI_MASK, g.pageShift)
    if (level === wanted) return table
  }
}
