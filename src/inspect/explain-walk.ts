// The walk of one address in a live kernel: each entry on the way with its flags in words, what
// came of it, which area the address is in, and which TLBs hold it. A peek: nothing is changed.

import { formatBytes, hex64, toBigInt } from '../base/units.js'
import { bitsFrom, isCanonical, LEVEL_NAMES, pagesPerEntry } from '../machine/geometry.js'
import type { PeekResult } from '../machine/mmu.js'
import { peekWalk } from '../machine/mmu.js'
import { PROT_EXEC, PROT_READ, PROT_WRITE } from '../kernel/abi.js'
import type { Mm } from '../kernel/mm/mm.js'
import { userRoot } from '../kernel/tlb/pti.js'
import type { KernelState } from '../kernel/state.js'
import { vpnHi, vpnLo, vpnOf } from '../kernel/state.js'
import { describeSwapEntry, isSwapPte } from '../kernel/reclaim/swap-entry.js'
import { tableTitle } from './dump-tables.js'
import { tlbWords } from './dump-tlbs.js'
import { columns, describeAnyEntry, frame } from './text.js'
import { judgePagingCacheEntry, judgeTlbEntry } from './tlb-verdict.js'

/** The walk of (hi, lo) in the tables of `mm`. Text of several lines that ends in a newline. */
export function explainWalk(k: KernelState, mm: Mm, hi: number, lo: number): string {
  const title = tableTitle(k, mm)
  if (!isCanonical(k.geometry, hi, lo)) return `${title}\nnot canonical: #GP, no table is read\n`
  const walk = peekWalk(k.geometry, k.mem, mm.pgdPfn, hi, lo)
  return [
    title,
    ...columns(walk.steps.map((step, depth) => [
      `${'. '.repeat(depth)}${LEVEL_NAMES[step.level]}[${step.slot}]`,
      `at ${physical(k, step.pfn, step.slot * k.geometry.entryBytes)}`,
      describeAnyEntry(k, step.lo, step.hi, step.level),
    ])),
    outcome(k, walk, hi, lo),
    ...userRootLine(k, mm, hi, lo),
    areaLine(k, mm, hi, lo),
    '',
    ...cacheLines(k, mm, hi, lo),
    '',
  ].join('\n')
}

function outcome(k: KernelState, walk: PeekResult, hi: number, lo: number): string {
  const level = LEVEL_NAMES[walk.leafLevel]!
  const last = walk.steps[walk.steps.length - 1]!
  switch (walk.reason) {
    case 'none':
      return `stops: the ${level} entry is empty; an access raises #PF with P clear`
    case 'notpresent':
      if (isSwapPte(last.lo, last.hi)) {
        return `stops: the ${level} entry names ${describeSwapEntry(last.lo, last.hi)}; ` +
          'an access raises #PF with P clear'
      }
      return `stops: the ${level} entry keeps frame ${frame(walk.pfn)} but is not present; ` +
        'an access raises #PF with P clear'
    case 'bad':
      return `stops: the ${level} entry is not what a kernel writes for a table`
    case 'ok':
    case 'huge': {
      const inPage = lo & (2 ** k.geometry.pageShift - 1)
      const size = formatBytes(2 ** k.geometry.levels[walk.leafLevel]!.shift)
      return `physical ${physical(k, walk.pfn, inPage)}, a ${size} page: ${permissions(walk)}` +
        (walk.reason === 'huge' ? `; base page ${bitsInside(k, walk, hi, lo)} of it` : '')
    }
  }
}

/** With page-table isolation: what the same address is in user mode. */
function userRootLine(k: KernelState, mm: Mm, hi: number, lo: number): string[] {
  const root = userRoot(k, mm)
  if (root === mm.pgdPfn) return []
  return [`under the user root, frame ${frame(root)}: ` +
    outcome(k, peekWalk(k.geometry, k.mem, root, hi, lo), hi, lo)]
}

function permissions(walk: PeekResult): string {
  const who = walk.user ? 'user and kernel' : 'kernel only'
  const what = ['read', ...(walk.writable ? ['write'] : []), ...(walk.nx ? [] : ['execute'])]
  return `${who}, ${what.join(', ')}`
}

function bitsInside(k: KernelState, walk: PeekResult, hi: number, lo: number): number {
  const { pageShift } = k.geometry
  return bitsFrom(hi, lo, pageShift) & (pagesPerEntry(k.geometry, walk.leafLevel) - 1)
}

function areaLine(k: KernelState, mm: Mm, hi: number, lo: number): string {
  const vma = mm.vmas.find(vpnOf(k, hi, lo))
  if (vma === undefined) {
    if (mm === k.initMm) return 'init_mm has no areas'
    return 'in no area: an access of a program ends in SIGSEGV'
  }
  const words = [
    [PROT_READ, 'read'], [PROT_WRITE, 'write'], [PROT_EXEC, 'execute'],
  ] as const
  const allowed = words.filter(([bit]) => (vma.prot & bit) !== 0).map(([, word]) => word)
  const [start, end] = [vma.vmStart, vma.vmEnd].map((vpn) => hex64(vpnHi(k, vpn), vpnLo(k, vpn)))
  return `in area ${start}-${end}: ${allowed.length === 0 ? 'no access' : allowed.join(', ')}, private anonymous` +
    (vma.huge ? ', huge pages' : '')
}

/** Every cached entry, of this mm or global, that a CPU would use for the address. */
function cacheLines(k: KernelState, mm: Mm, hi: number, lo: number): string[] {
  const vpn = vpnOf(k, hi, lo)
  const rows: string[][] = []
  const covers = (first: { hi: number; lo: number }, level: number): boolean => {
    const start = vpnOf(k, first.hi, first.lo)
    return start <= vpn && vpn < start + pagesPerEntry(k.geometry, level)
  }
  for (const cpu of k.cpus) {
    const mmu = k.platform.mmu(cpu.id)
    mmu.forEachTlbEntry((entry) => {
      const { mm: owner, verdict, why } = judgeTlbEntry(k, cpu, entry)
      if (!covers(entry, entry.pageLevel) || (owner !== mm && !entry.global)) return
      const page = `pfn ${frame(entry.pfn)}`
      rows.push([`cpu${cpu.id}`, entry.level, page, tlbWords(entry), `pcid ${entry.pcid}`, withReason(verdict, why)])
    })
    mmu.forEachPagingCacheEntry((entry) => {
      const { mm: owner, verdict, why } = judgePagingCacheEntry(k, cpu, entry)
      if (!covers(entry, entry.level) || owner !== mm) return
      const cache = `${LEVEL_NAMES[entry.level]} cache`
      const table = `table ${frame(entry.pfn)}`
      rows.push([`cpu${cpu.id}`, cache, table, '', `pcid ${entry.pcid}`, withReason(verdict, why)])
    })
  }
  return rows.length === 0 ? ['cached by no CPU'] : ['cached by', ...columns(rows).map((line) => `  ${line}`)]
}

function withReason(verdict: string, why: string): string {
  return why === '' ? verdict : `${verdict} (${why})`
}

/** The physical address of byte `offset` of a frame. */
function physical(k: KernelState, pfn: number, offset: number): string {
  const address = (toBigInt(0, pfn) << BigInt(k.geometry.pageShift)) + BigInt(offset)
  return `0x${address.toString(16).padStart(9, '0')}`
}
