// Plain text for dumps: columns that line up, and the short words that dumps share.

import { formatBytes, hexNumber } from '../base/units.js'
import type { KernelCpu } from '../kernel/cpu.js'
import type { Mm } from '../kernel/mm/mm.js'
import { USER_PCID, userRoot } from '../kernel/tlb/pti.js'
import type { KernelState } from '../kernel/state.js'
import { describeMm } from './violation.js'

export { describeAnyEntry, leafWords } from './leaf-words.js'

/** Rows of cells as lines: columns as wide as their widest cell, two spaces between, those in `right` to the right. */
export function columns(rows: readonly (readonly string[])[], right: readonly number[] = []): string[] {
  const widths: number[] = []
  for (const row of rows) {
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, cell.length)
    })
  }
  return rows.map((row) => row.map((cell, column) => (
    right.includes(column) ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!))).join('  ').trimEnd())
}

/** A frame number as dumps print it. */
export function frame(pfn: number): string {
  return hexNumber(pfn, 5)
}

/** Bytes of `pages` base pages: `8K`, `2M`. */
export function sizeOf(k: KernelState, pages: number): string {
  return formatBytes(pages * 2 ** k.geometry.pageShift)
}

/** `mm 3 "reader"`. */
export function mmTitle(k: KernelState, mm: Mm): string {
  return `mm ${mm.ctxId} ${describeMm(k, mm)}`
}

/** The PCID that hardware knows `mm` by on this CPU; undefined when it has none there. */
export function pcidOn(k: KernelState, cpu: KernelCpu, mm: Mm): number | undefined {
  if (!k.config.kernel.pcid) return undefined
  const globalAsid = k.policy.globalAsids?.of(mm) ?? 0
  if (globalAsid > 0) return globalAsid + 1
  const slot = cpu.tlb6x.ctxs.findIndex((context) => context.ctxId === mm.ctxId)
  return slot < 0 ? undefined : slot + 1
}

/** Frame of the root table: `0x00041`, with page-table isolation of both: `0x00040 (user 0x00041)`. */
export function rootTitle(k: KernelState, mm: Mm): string {
  const user = userRoot(k, mm)
  return user === mm.pgdPfn ? frame(mm.pgdPfn) : `${frame(mm.pgdPfn)} (user ${frame(user)})`
}

/**
 * `pcid 2`, `pcid 2 on cpu0, 3 on cpu1`, `no pcid` where no CPU knows the mm, `pcid 0` without PCIDs; with page-table
 * isolation `pcid 2 (user 2050)`.
 */
export function pcidTitle(k: KernelState, mm: Mm): string {
  if (!k.config.kernel.pcid) return 'pcid 0'
  const onCpus = k.cpus.map((cpu) => ({ cpu: cpu.id, pcid: pcidOn(k, cpu, mm) }))
  const known = onCpus.filter(({ pcid }) => pcid !== undefined)
  if (known.length === 0) return 'no pcid'
  const isolated = k.config.kernel.pti
  const [first] = known
  if (known.every(({ pcid }) => pcid === first!.pcid)) {
    return `pcid ${first!.pcid}` + (isolated ? ` (user ${first!.pcid! + USER_PCID})` : '')
  }
  return `pcid ${known.map(({ cpu, pcid }) => `${pcid} on cpu${cpu}`).join(', ')}` +
    (isolated ? ` (user ${USER_PCID} more)` : '')
}
