// get_user_pages_fast() (mm/gup.c): a walk of the page tables without any lock. Interrupts are off
// while it reads tables, and nothing else keeps them alive: whoever frees a table must first hear
// from this CPU (an interrupt that it answers), or wait until the walk is over (RCU).
//
//   interrupts off   walk; pin the frame; look at the entry again, unpin if it changed
//   interrupts on    what was not there: the slow way, faults under mmap_lock
//   at the end       the pins are dropped
//
// Simplified: the caller uses the pages for one page copy each and lets go of them at once.

import { entryPfn, entryPresent, entryUser, PFN_HI_MASK, pmdLeaf } from '../../machine/entry.js'
import { indexAt, LEVEL_PTE, nextLevel } from '../../machine/geometry.js'
import { ERRNO } from '../abi.js'
import type { KernelCpu } from '../cpu.js'
import { handleMmFault } from './fault.js'
import type { KernelOp } from '../kernel-op.js'
import { PAGE_SPECIAL } from './leaf.js'
import type { Mm } from './mm.js'
import { freeTablesWaitingFor, pagesPerEntry } from './pgtable.js'
import type { KernelState } from '../state.js'
import { vpnHi, vpnLo } from '../state.js'

/** Pins the frames of [start, end), for reading. Pages pinned, or EFAULT. */
export function* gupFast(
  k: KernelState, cpu: KernelCpu, mm: Mm, start: number, end: number,
): KernelOp<number> {
  const pinned: number[] = []
  let vpn = start
  while (vpn < end) {
    vpn = yield* walkLockless(k, cpu, mm, vpn, end, pinned)
    // check_vma_flags() of the slow way: a driver's memory has no struct pages, however often it is faulted in.
    if (vpn >= end || mm.vmas.find(vpn)?.device === true) break
    const result = yield* handleMmFault(k, cpu, mm, vpn, { write: false, exec: false })
    if (result !== 'done') break
  }
  const count = pinned.length
  if (count > 0) yield count * k.costs.copyPage
  for (const pfn of pinned) {
    const pages = 1 << k.frames.order[pfn]
    if (k.frames.put(cpu.id, pfn)) k.counters.pagesFreed += pages
  }
  return vpn < end && count === 0 ? -ERRNO.EFAULT : count
}

/** gup_pgd_range() with interrupts off: returns the first page that it could not pin. */
function* walkLockless(
  k: KernelState, cpu: KernelCpu, mm: Mm, start: number, end: number, pinned: number[],
): KernelOp<number> {
  cpu.irqsOff += 1
  let vpn = start
  while (vpn < end) {
    const pages = yield* pinOne(k, cpu, mm, vpn, pinned)
    if (pages === 0) break
    vpn += pages
  }
  cpu.walkedTables.length = 0
  cpu.irqsOff -= 1
  freeTablesWaitingFor(k, cpu)
  return vpn
}

/** Walks to the leaf of `vpn`, a table at a time; base pages pinned from there on, 0: none is there. */
function* pinOne(k: KernelState, cpu: KernelCpu, mm: Mm, vpn: number, pinned: number[]): KernelOp<number> {
  const g = k.geometry
  let table = mm.pgdPfn
  cpu.walkedTables.length = 0
  for (let level = g.topLevel; ; level = nextLevel(g, level)) {
    cpu.walkedTables.push(table)
    yield Math.max(1, k.costs.walkStep)
    k.observer?.walkerReads(cpu, mm, table)
    const slot = indexAt(g, level, vpnHi(k, vpn), vpnLo(k, vpn))
    const lo = k.mem.loadLo(table, slot)
    const hi = k.mem.loadHi(table, slot)
    if (!entryPresent(lo)) return 0
    const pfn = entryPfn(lo, hi & PFN_HI_MASK, g.pageShift)
    if (level !== LEVEL_PTE && !(g.levels[level].leaf && pmdLeaf(lo))) {
      table = pfn
      continue
    }
    if (!entryUser(lo) || pfn === k.zeroPagePfn) return pfn === k.zeroPagePfn ? 1 : 0
    // pte_special(): there is nothing to pin.
    if ((lo & PAGE_SPECIAL) !== 0) return 0
    // try_get_folio(): a frame that is being freed has no reference to add to.
    if (k.frames.refcount[k.frames.headOf(pfn)] === 0) return 0
    k.frames.get(pfn)
    yield Math.max(1, k.costs.walkStep)
    k.observer?.walkerReads(cpu, mm, table)
    if (k.mem.loadLo(table, slot) !== lo || k.mem.loadHi(table, slot) !== hi) {
      const freed = 1 << k.frames.order[pfn]
      if (k.frames.put(cpu.id, pfn)) k.counters.pagesFreed += freed
      return 0
    }
    pinned.push(pfn)
    const span = pagesPerEntry(g, level)
    return span - (vpn % span)
  }
}
