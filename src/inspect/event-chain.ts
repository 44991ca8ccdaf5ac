// What led to a violation: the last events that have to do with its CPU, address space and page,
// oldest first, in the canonical text of traces, and between them the writes of the page's entries.
//
//   chosen                                            because
//   requests that cover the page, to their end         they were to remove what is still there
//   calls that name the page, its faults               they changed it
//   switches, lazy periods, handlers, flushes of the CPU   they say what it had loaded
//   writes of the entries of the page                  they say what it should see
//
// Traces alone do not show the writes; watch.ts remembers them.

import { hexNumber } from '../base/units.js'
import { entryPfn, entryPresent, PFN_HI_MASK } from '../machine/entry.js'
import { LEVEL_NAMES } from '../machine/geometry.js'
import type { ChainSubject } from '../kernel/observer.js'
import type { KernelState } from '../kernel/state.js'
import { EVENT, TLB_REMOTE_SEND_IPI } from '../trace/events.js'
import type { TraceData } from '../trace/recorder.js'
import { formatEvent } from '../trace/text.js'
import { describeSwapEntry, isSwapPte } from '../kernel/reclaim/swap-entry.js'
import { leafWords } from './leaf-words.js'
import type { EntryWrite } from './entry-writes.js'

interface Line {
  cycle: number
  cpu: number
  text: string
}

/** How far back to look, records, and how much to tell, lines. */
const RECORDS = 50_000
const EVENT_LINES = 12
const WRITE_LINES = 4

/** Lines without indentation; empty when nothing was recorded. */
export function eventChain(k: KernelState, writes: readonly EntryWrite[], subject: ChainSubject): string[] {
  const lines = [...writes.slice(-WRITE_LINES).map(write => writeLine(k, write)), ...relatedEvents(k, subject)]
  return lines.sort((a, b) => a.cycle - b.cycle || a.cpu - b.cpu).map(({ text }) => text)
}

/** `      4812 [000] main-1 pte 0x10000000 pfn 0x90 P W U -> none`. */
function writeLine(k: KernelState, write: EntryWrite): Line {
  const { cycle, cpu, comm, pid, level, vpn } = write
  const address = hexNumber(vpn * 2 ** k.geometry.pageShift, 8)
  const text = `${String(cycle).padStart(12)} [${String(cpu).padStart(3, '0')}] ${comm}-${pid} writes the ` +
    `${LEVEL_NAMES[level]} entry of ${address}: ${entryText(k, write.oldLo, write.oldHi)} -> ` +
    entryText(k, write.lo, write.hi)
  return { cycle, cpu, text }
}

function entryText(k: KernelState, lo: number, hi: number): string {
  if (lo === 0 && hi === 0) return 'none'
  if (isSwapPte(lo, hi)) return describeSwapEntry(lo, hi)
  const pfn = hexNumber(entryPfn(lo, hi & PFN_HI_MASK, k.geometry.pageShift), 5)
  return `pfn ${pfn} ${entryPresent(lo) ? leafWords(lo, hi) : 'not present'}`
}

function relatedEvents(k: KernelState, subject: ChainSubject): Line[] {
  const data = k.trace.recent()
  const chosen: number[] = []
  const isOpen: boolean[] = []
  for (let i = Math.max(0, data.length - RECORDS); i < data.length; i++) {
    if (isRelated(k, data, i, subject, isOpen)) chosen.push(i)
  }
  const last = chosen.slice(-EVENT_LINES)
  return last.map(index => ({ cycle: data.cycle[index]!, cpu: data.cpu[index]!, text: formatEvent(data, index) }))
}

/** `isOpen`: CPUs whose request concerns the subject and has not ended. */
function isRelated(
  k: KernelState, data: TraceData, index: number, { cpu, mm, vpn }: ChainSubject, isOpen: boolean[],
): boolean {
  const own = data.cpu[index]!
  const word = (column: number): number => data.words[column]![index]!
  const startVpn = (column: number): number =>
    ((word(column) >>> 0) * 2 ** 32 + (word(column + 1) >>> 0)) / 2 ** k.geometry.pageShift
  switch (data.kind[index]) {
    case EVENT.flushBegin: {
      const pages = word(3)
      const covers = vpn === undefined || pages < 0 || (startVpn(1) <= vpn && vpn < startVpn(1) + pages)
      isOpen[own] = covers && (mm === undefined || word(0) === mm.ctxId)
      return isOpen[own]
    }
    case EVENT.flushDone: {
      const wasOpen = isOpen[own] === true
      isOpen[own] = false
      return wasOpen
    }
    case EVENT.csdQueueCpu:
    case EVENT.flushSkip:
      return isOpen[own] === true && word(0) === cpu
    case EVENT.ipiSendCpu:
    case EVENT.ipiSendCpumask:
      return isOpen[own] === true
    case EVENT.tlbFlush:
      return own === cpu || (isOpen[own] === true && word(1) === TLB_REMOTE_SEND_IPI)
    case EVENT.schedSwitch:
    case EVENT.switchMm:
    case EVENT.leaveMm:
    case EVENT.enterLazyTlb:
    case EVENT.flushAck:
      return own === cpu
    case EVENT.mmFree:
      return mm !== undefined && word(0) === mm.ctxId
    case EVENT.sysEnter: {
      const pages = Math.ceil(word(3) / 2 ** k.geometry.pageShift)
      return vpn !== undefined && pages > 0 && startVpn(1) <= vpn && vpn < startVpn(1) + pages
    }
    case EVENT.pageFaultUser:
    case EVENT.pageMap:
      return vpn !== undefined && Math.floor(startVpn(0)) === vpn
    default:
      return false
  }
}
