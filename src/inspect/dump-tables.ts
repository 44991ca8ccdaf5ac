// Page tables as text, as a tree and as ranges, for every geometry. Only levels with a table of
// their own are lines; folded names are passed over. Reading changes nothing: no accessed bit, no
// counter, no time.
//
//   mm 3 "reader"  cr3 pfn 0x00041  pcid 2  4 levels
//   pgd[  0] pfn 0x00042  P W U A D
//   . pud[  0] pfn 0x00043  P W U A D
//   . . pmd[  5] pfn 0x00044  P W U A D
//   . . . pte[279] pfn 0x00090  P W U A D      va 0x0000000000b17000
//
//   0x0000000000b17000-0x0000000000b18000    4K  pte  W U A D

import { hex64 } from '../base/units.js'
import { entriesAt, LEVEL_NAMES } from '../machine/geometry.js'
import type { Mm } from '../kernel/mm/mm.js'
import { firstKernelSlot } from '../kernel/mm/pgtable.js'
import { userRoot } from '../kernel/tlb/pti.js'
import type { KernelState } from '../kernel/state.js'
import { vpnHi, vpnLo } from '../kernel/state.js'
import type { SlotRange, TableEntry } from './table-walk.js'
import { allSlots, forEachEntry, signExtendVpn } from './table-walk.js'
import { describeAnyEntry, frame, leafWords, mmTitle, pcidTitle, rootTitle, sizeOf } from './text.js'

/** Column of `va`, for a tree of one level; each further level moves it to the right. */
const ADDRESS_COLUMN = 35
/** How far a nested line is moved. */
const STEP = '. '

/** The tree of `mm`, one line an entry. The kernel half, which all share, is shown with init_mm only. */
export function dumpTables(k: KernelState, mm: Mm): string {
  const lines = [tableTitle(k, mm)]
  const addressColumn = ADDRESS_COLUMN + STEP.length * levelCount(k)
  forEachEntry(k, mm, slotsShown(k, mm), (entry) => {
    lines.push(treeLine(k, entry, addressColumn))
  })
  if (mm !== k.initMm) lines.push(kernelHalfLine(k))
  if (k.config.kernel.pti) lines.push(...userRootLines(k, mm, addressColumn))
  return `${lines.join('\n')}\n`
}

/** The mapped ranges of `mm`: neighbours that are mapped at the same level with the same flags are one line. */
export function dumpRanges(k: KernelState, mm: Mm): string {
  const ranges: Range[] = []
  forEachEntry(k, mm, slotsShown(k, mm), (entry) => {
    if (!entry.isLeaf) return
    const words = leafWords(entry.lo, entry.hi)
    const last = ranges[ranges.length - 1]
    if (last !== undefined && last.end === entry.vpn && last.level === entry.level && last.words === words) {
      last.end += entry.pages
    } else {
      ranges.push({ start: entry.vpn, end: entry.vpn + entry.pages, level: entry.level, words })
    }
  })
  return ranges.map((range) => `${rangeLine(k, range)}\n`).join('')
}

/** `mm 3 "reader"  cr3 pfn 0x00041  pcid 2  4 levels`. */
export function tableTitle(k: KernelState, mm: Mm): string {
  return `${mmTitle(k, mm)}  cr3 pfn ${rootTitle(k, mm)}  ${pcidTitle(k, mm)}  ${levelCount(k)} levels`
}

interface Range {
  start: number
  end: number
  level: number
  words: string
}

function treeLine(k: KernelState, entry: TableEntry, addressColumn: number): string {
  const slot = String(entry.slot).padStart(Math.max(3, String(entriesAt(k.geometry, entry.level) - 1).length))
  const text = `${STEP.repeat(entry.depth)}${LEVEL_NAMES[entry.level]}[${slot}] ` +
    describeAnyEntry(k, entry.lo, entry.hi, entry.level)
  return entry.isLeaf ? `${text.padEnd(addressColumn - 1)} va ${address(k, signExtendVpn(k, entry.vpn))}` : text
}

function rangeLine(k: KernelState, { start, end, level, words }: Range): string {
  const size = sizeOf(k, end - start).padStart(6)
  // The end is counted from the start: one past the last user address is not the first kernel address.
  const first = signExtendVpn(k, start)
  return `${address(k, first)}-${address(k, first + end - start)}${size}  ${LEVEL_NAMES[level]}  ${words}`
}

function kernelHalfLine(k: KernelState): string {
  const { topLevel } = k.geometry
  return `${LEVEL_NAMES[topLevel]}[${firstKernelSlot(k)}..${entriesAt(k.geometry, topLevel) - 1}] ` +
    'the kernel half, as in init_mm'
}

/** What differs under the user root: nothing of the user half but NX, and of the kernel the way into it. */
function userRootLines(k: KernelState, mm: Mm, addressColumn: number): string[] {
  const title = `user root pfn ${frame(userRoot(k, mm))}:`
  if (mm !== k.initMm) return [`${title} the same user half without NX; the kernel half as in the user root of init_mm`]
  const lines = [title]
  forEachEntry(k, mm, slotsShown(k, mm), (entry) => {
    lines.push(treeLine(k, entry, addressColumn))
  }, { root: userRoot(k, mm) })
  return lines
}

function slotsShown(k: KernelState, mm: Mm): SlotRange {
  return mm === k.initMm ? allSlots(k) : { from: 0, to: firstKernelSlot(k) }
}

function address(k: KernelState, vpn: number): string {
  return hex64(vpnHi(k, vpn), vpnLo(k, vpn))
}

function levelCount(k: KernelState): number {
  return k.geometry.levels.filter((level) => !level.folded).length
}
