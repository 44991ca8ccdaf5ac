// What each CPU's TLBs and paging caches hold, every entry with a verdict (tlb-verdict.ts): ok,
// narrower, pending or STALE. True for a CPU in user mode only while its core stands at the
// present cycle, as it does when a run has ended or was stopped.

import { hex64 } from '../base/units.js'
import { LEVEL_NAMES, pagesPerEntry } from '../machine/geometry.js'
import type { PagingCacheEntry, TlbEntry } from '../machine/mmu.js'
import type { KernelCpu } from '../kernel/cpu.js'
import type { KernelState } from '../kernel/state.js'
import { columns, frame, mmTitle, sizeOf } from './text.js'
import type { Judgement } from './tlb-verdict.js'
import { judgePagingCacheEntry, judgeTlbEntry } from './tlb-verdict.js'

/** Every CPU's TLB and paging-cache entries. */
export function dumpTlbs(k: KernelState): string {
  return k.cpus.map((cpu) => dumpTlb(k, cpu)).join('\n')
}

/** One CPU's. */
export function dumpTlb(k: KernelState, cpu: KernelCpu): string {
  const mmu = k.platform.mmu(cpu.id)
  const rows: string[][] = []
  mmu.forEachTlbEntry((entry) => rows.push(tlbRow(k, entry, judgeTlbEntry(k, cpu, entry))))
  mmu.forEachPagingCacheEntry((entry) => rows.push(pagingCacheRow(k, entry, judgePagingCacheEntry(k, cpu, entry))))
  const { mm } = k.policy.loadedRoot(k, cpu)
  const title = `cpu${cpu.id}  cr3 pfn ${frame(mmu.rootPfn)}  pcid ${mmu.pcid}  ${mmTitle(k, mm)}`
  if (rows.length === 0) return `${title}\n  nothing cached\n`
  return [title, ...columns(rows, [2]).map((line) => `  ${line}`), ''].join('\n')
}

/** Permissions of a TLB entry in words. */
export function tlbWords(entry: TlbEntry): string {
  const words: readonly (readonly [boolean, string])[] = [
    [entry.writable, 'W'], [entry.user, 'U'], [entry.dirty, 'D'], [entry.global, 'G'], [entry.nx, 'NX'],
  ]
  return words.filter(([isSet]) => isSet).map(([, word]) => word).join(' ')
}

function tlbRow(k: KernelState, entry: TlbEntry, judgement: Judgement): string[] {
  return [
    entry.level,
    hex64(entry.hi, entry.lo),
    sizeOf(k, pagesPerEntry(k.geometry, entry.pageLevel)),
    `pfn ${frame(entry.pfn)}`,
    tlbWords(entry),
    ...ownerAndVerdict(entry.pcid, judgement),
  ]
}

function pagingCacheRow(k: KernelState, entry: PagingCacheEntry, judgement: Judgement): string[] {
  return [
    LEVEL_NAMES[entry.level]!,
    hex64(entry.hi, entry.lo),
    sizeOf(k, pagesPerEntry(k.geometry, entry.level)),
    `table ${frame(entry.pfn)}`,
    '',
    ...ownerAndVerdict(entry.pcid, judgement),
  ]
}

function ownerAndVerdict(pcid: number, { mm, verdict, why }: Judgement): string[] {
  return [
    `pcid ${pcid}`,
    mm === undefined ? 'mm -' : `mm ${mm.ctxId}`,
    verdict === 'pending' || verdict === 'STALE' ? `${verdict} (${why})` : verdict,
  ]
}
