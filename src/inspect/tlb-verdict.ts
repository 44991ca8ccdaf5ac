// Judges what a TLB holds against the page tables. An entry may differ from the tables only while
// a flush for it is on its way; the whole shootdown machinery exists for that sentence.
//
//   ok         as the tables have it now
//   narrower   the same page with fewer permissions, or without D: a fault or a walk renews it
//   pending    differs, but cannot be used wrongly: a flush is under way or comes before its next use
//   STALE      differs and nothing is on its way: always a bug
//
// How a pending flush is recognised, in this order:
//   1. the PCID slot is empty or its mm is gone: it is flushed when it is given to another mm
//   2. the policy says that the PCID is behind (ownerOf): in 6.x the slot's generation is older than
//      the mm's, which is compared before user code runs on it again; or, with page-table isolation,
//      the user half of the slot is flushed on the way to user mode
//   3. a gather of the mm is open: between unhook and flush
//   4. the lock of the page's table is held: copy-on-write between clear and flush
//   5. the address is of a kernel buffer that was freed and not purged: nobody has a reason to use it
//   6. mmap_lock is held for writing: fork flushes before it lets go
//   and before all of them: reclaim has unmapped this page and not flushed its batch yet

import { entryDirty, entryPfn, entryPresent, PAGE_GLOBAL, PAGE_SAVED_DIRTY_HI, PFN_HI_MASK, pmdLeaf,
} from '../machine/entry.js'
import { indexAt, nextLevel } from '../machine/geometry.js'
import type { PagingCacheEntry, PeekResult, TlbEntry } from '../machine/mmu.js'
import { peekWalk } from '../machine/mmu.js'
import type { KernelCpu } from '../kernel/cpu.js'
import type { Mm } from '../kernel/mm/mm.js'
import type { KernelState } from '../kernel/state.js'
import { vpnOf } from '../kernel/state.js'
import { hasRootOf, rootOwnerOf } from '../kernel/tlb/pti.js'
import type { RootOwner } from '../kernel/tlb/pti.js'
import { batchedReason } from '../kernel/reclaim/unmap-batch.js'
import type { PcidOwner } from '../kernel/tlb/tlb-policy.js'
import { lazilyFreed } from '../kernel/mm/vmalloc.js'
import { watchOf } from './watch.js'

export type Verdict = 'ok' | 'narrower' | 'pending' | 'STALE'

export interface Judgement {
  verdict: Verdict
  /** Whose tables it was compared with; undefined when the mm is gone. */
  mm: Mm | undefined
  /** What differs, and for `pending` why that is all right; empty for `ok`. */
  why: string
  /** The invariant that a STALE entry breaks. */
  invariant: string
}

/** True when what is cached under the PCID can be used right now. */
export function isUpToDate(owner: PcidOwner): boolean {
  return owner.mm !== undefined && owner.behind === ''
}

/** How an entry differs from the tables in a way that only a flush may excuse. */
export interface Difference {
  what: string
  /** The invariant that is broken without one. */
  invariant: string
  /** Frame and slot of the entry at which the walk ended. */
  table: number
  slot: number
}

/** Compares a TLB entry of `cpu` with the tables. No side effects. */
export function judgeTlbEntry(k: KernelState, cpu: KernelCpu, entry: TlbEntry): Judgement {
  const owner = entry.global ? globalOwner(k) : rootOwnerOf(k, cpu, entry.pcid)
  const { mm } = owner
  if (mm === undefined) return unreachable(owner)
  const found = compareTlbEntry(k, mm, entry, owner.root)
  if (found === 'ok') return { verdict: 'ok', mm, why: '', invariant: '' }
  if (found === 'narrower') return { verdict: 'narrower', mm, why: 'the table permits more', invariant: '' }
  const lazy = lazilyFreed(k, vpnOf(k, entry.hi, entry.lo))
  if (lazy !== '') return { verdict: 'pending', mm, why: `${found.what}; ${lazy}`, invariant: '' }
  const deferred = k.policy.deferred?.(k, cpu, mm, vpnOf(k, entry.hi, entry.lo)) ?? ''
  if (deferred !== '') return { verdict: 'pending', mm, why: `${found.what}; ${deferred}`, invariant: '' }
  const batched = batchedReason(k, cpu, mm, vpnOf(k, entry.hi, entry.lo))
  if (batched !== '') return { verdict: 'pending', mm, why: `${found.what}; ${batched}`, invariant: '' }
  return excuse(k, cpu, owner, found.table, found.what, found.invariant)
}

/** The same without excuses, for the tables of `mm` under `root`, its kernel root if nothing else is said. */
export function compareTlbEntry(
  k: KernelState, mm: Mm, entry: TlbEntry, root = mm.pgdPfn,
): Difference | 'ok' | 'narrower' {
  const walk = peekWalk(k.geometry, k.mem, root, entry.hi, entry.lo)
  const last = walk.steps[walk.steps.length - 1]!
  const differs = (what: string, invariant: string): Difference =>
    ({ what, invariant, table: last.pfn, slot: last.slot })
  const difference = mappingDifference(entry, walk)
  if (difference !== '') return differs(difference, difference === OTHER_SIZE ? 'I21' : 'I8')
  if (entry.global !== ((last.lo & PAGE_GLOBAL) !== 0)) {
    return differs(entry.global ? 'global only in the TLB' : 'global only in the table', 'I22')
  }
  const wider = [
    ...(entry.writable && !walk.writable ? ['W'] : []),
    ...(entry.user && !walk.user ? ['U'] : []),
    ...(!entry.nx && walk.nx ? ['execute'] : []),
  ]
  if (wider.length > 0) return differs(`permits ${wider.join(' and ')}, the table does not`, 'I18')
  const isDirtyInTable = entryDirty(last.lo) || (last.hi & PAGE_SAVED_DIRTY_HI) !== 0
  if (entry.dirty && !isDirtyInTable) return differs('D is set, in the table it is clear', 'I20')
  const isSame = entry.writable === walk.writable && entry.user === walk.user && entry.nx === walk.nx
    && entry.dirty === entryDirty(last.lo)
  return isSame ? 'ok' : 'narrower'
}

/** Compares a paging-cache entry of `cpu` with the tables: it must name the table that a walk would find. */
export function judgePagingCacheEntry(k: KernelState, cpu: KernelCpu, entry: PagingCacheEntry): Judgement {
  const g = k.geometry
  const owner = rootOwnerOf(k, cpu, entry.pcid)
  const { mm } = owner
  if (mm === undefined) return unreachable(owner)
  let table = owner.root
  for (let level = g.topLevel; ; level = nextLevel(g, level)) {
    const slot = indexAt(g, level, entry.hi, entry.lo)
    const lo = k.mem.loadLo(table, slot)
    const hi = k.mem.loadHi(table, slot)
    if (!entryPresent(lo) || (g.levels[level]!.leaf && pmdLeaf(lo))) {
      const deferred = k.policy.deferred?.(k, cpu, mm, vpnOf(k, entry.hi, entry.lo)) ?? ''
      if (deferred !== '') return { verdict: 'pending', mm, why: `names no table; ${deferred}`, invariant: '' }
      return excuse(k, cpu, owner, table, `the ${g.levels[level]!.name} entry names no table`, 'I2')
    }
    const next = entryPfn(lo, hi & PFN_HI_MASK, g.pageShift)
    if (level === entry.level) {
      if (next === entry.pfn) return { verdict: 'ok', mm, why: '', invariant: '' }
      return excuse(k, cpu, owner, table, `the table there is frame ${next}`, 'I2')
    }
    table = next
  }
}

const OTHER_SIZE = 'the table maps another page size'

/** Empty when the entry translates its page as the tables do, permissions aside. */
function mappingDifference(entry: TlbEntry, walk: PeekResult): string {
  switch (walk.reason) {
    case 'ok':
    case 'huge':
      if (walk.leafLevel !== entry.pageLevel) return OTHER_SIZE
      return walk.pfn === entry.pfn ? '' : `the table maps frame ${walk.pfn}`
    case 'none':
      return 'unmapped'
    case 'notpresent':
      return 'not present'
    case 'bad':
      return 'no valid table'
  }
}

/** Global entries are of the kernel half, which all share. */
function globalOwner(k: KernelState): RootOwner {
  return { mm: k.initMm, behind: '', root: k.initMm.pgdPfn, isFlushedOnExit: false }
}

function unreachable(owner: PcidOwner): Judgement {
  return { verdict: 'pending', mm: undefined, why: owner.behind, invariant: '' }
}

function excuse(
  k: KernelState, cpu: KernelCpu, owner: RootOwner, table: number, difference: string, invariant: string,
): Judgement {
  const { mm } = owner
  const reason = mm === undefined ? '' : pendingFlush(k, cpu, owner, mm, table)
  if (reason === '') return { verdict: 'STALE', mm, why: `${difference}, no flush pending`, invariant }
  return { verdict: 'pending', mm, why: `${difference}; ${reason}`, invariant: '' }
}

/** Why an entry of `mm` whose table is frame `table` may still differ; empty when it may not. */
function pendingFlush(k: KernelState, cpu: KernelCpu, owner: RootOwner, mm: Mm, table: number): string {
  if (owner.isFlushedOnExit) return owner.behind
  if (owner.behind !== '' && mayBeBehind(k, cpu, mm)) return owner.behind
  if (mm.gathersPending > 0) return 'a gather is open'
  if (mm.pageTableLocks.get(table)?.isHeld === true) return 'the page-table lock is held'
  if (mm.mmapLock.isHeldForWriting) return 'mmap_lock is held for writing'
  return ''
}

/** Can `cpu` run programs of `mm` right now, without anything that would flush first? */
export function runsMm(k: KernelState, cpu: KernelCpu, mm: Mm): boolean {
  return cpu.current.mm === mm && hasRootOf(k, cpu, mm) && k.policy.loadedRoot(k, cpu).mm === mm
}

/**
 * What this CPU has cached of its mm is flushed before a program uses it: by the host, which was asked to; on the way
 * back of a responder of Mach that was released; in the handler of an interrupt that was acknowledged early; when
 * a kernel thread that takes the mm it had borrowed stops being lazy.
 */
export function flushesBeforeUser(k: KernelState, cpu: KernelCpu): boolean {
  if (cpu.vcpu.flushOnEntry) return true
  if (cpu.inUserMode) return false
  return k.policy.holdsResponders === true || cpu.tlb6x.isLazy || cpu.tlb6x.acknowledged > 0
}

/**
 * A CPU that runs the mm may be behind only while a request is under way, or a batch is pending (reclaim bumps the
 * generation first and flushes later), or while it does not get to user mode without a flush.
 */
function mayBeBehind(k: KernelState, cpu: KernelCpu, mm: Mm): boolean {
  const watch = watchOf(k)
  if (watch === undefined || flushesBeforeUser(k, cpu) || !runsMm(k, cpu, mm)) return true
  // The slot that is in use: of one that the mm had before it got a global ASID nothing is used any more.
  const slot = cpu.tlb6x.ctxs[cpu.tlb6x.loadedMmAsid]
  return slot?.ctxId !== mm.ctxId || watch.mayOwe(mm, slot.tlbGen)
}
