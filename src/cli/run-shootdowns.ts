// The shootdowns of a run as a person reads them: who flushed what and why, who was interrupted and
// what each did about it, who was left out, and what it cost. The first few in detail, then counts.

import type { KernelEra } from '../kernel/config.js'
import {
  EVENT, flushReasonText, TLB_FLUSH_ON_TASK_SWITCH, TLB_REMOTE_WRONG_CPU,
} from '../trace/events.js'
import type { TraceData } from '../trace/recorder.js'
import type { Responder, Shootdown } from '../trace/summary.js'
import { hex64 } from '../base/units.js'
import { counted, grouped, microseconds } from './text-table.js'

const DETAILED_MAX = 5
const CPUS_MAX = 8

export interface ShootdownContext {
  trace: TraceData
  era: KernelEra
  frequencyGhz: number
  /** Cycles that interrupts for flushes took from their targets, entry and exit included. */
  responderCycles: number
}

/** Lines without a heading. */
export function shootdownLines(shootdowns: readonly Shootdown[], context: ShootdownContext): string[] {
  if (shootdowns.length === 0) return ['  none: nothing was unmapped, protected or replaced']
  const causes = causesOf(context.trace)
  const shown = interesting(shootdowns)
  return [
    ...shown.flatMap((index) => shootdownDetail(shootdowns[index]!, causes[index] ?? 'kernel', context)),
    ...counts(shootdowns, shown.length, context),
  ]
}

/** Those that concern other CPUs come first; a run without any shows its local ones. */
function interesting(shootdowns: readonly Shootdown[]): number[] {
  const all = shootdowns.map((_, index) => index)
  const remote = all.filter((index) => concernsOthers(shootdowns[index]!))
  return (remote.length > 0 ? remote : all).slice(0, DETAILED_MAX)
}

function concernsOthers({ responders, skipped }: Shootdown): boolean {
  return responders.length > 0 || skipped.length > 0
}

/** One request at length; `cause` is what its task was doing. Lines indented by two. */
export function shootdownDetail(
  one: Shootdown, cause: string, { era, frequencyGhz }: Pick<ShootdownContext, 'era' | 'frequencyGhz'>,
): string[] {
  const { initiatorCpu, startCycle, pid, comm, mm, pages, start, local, responders, skipped, cycles } = one
  const initiator = `cpu${initiatorCpu}`
  const what = pages < 0 ? 'everything' : `${counted(pages, 'page')} from ${hex64(start.hi, start.lo)}`
  // A request of no mm: a batch of reclaim, or a range of kernel addresses.
  const ofWhom = mm >= 0 ? ` of mm ${mm}` : pages < 0 ? ' of every mm' : ' of the kernel'
  const reason = (id: number): string => `(${flushReasonText(id, era)})`
  const lines = responders.map((responder): [string, string] => {
    const how = responder.interrupted ? 'IPI: ' : 'no IPI, one was on its way: '
    const why = responder.reason === undefined ? '' : ` ${reason(responder.reason)}`
    const cost = responder.ackCycle === undefined ? '' : `, ${counted(responder.cycles, 'cycle')} in the handler`
    const did = mm < 0 && responder.reason === undefined && responder.ackCycle !== undefined
      ? `${flushes(pages)}${ofWhom}` : whatItDid(responder)
    return [`${initiator} -> cpu${responder.cpu}`, `${how}${did}${why}${cost}`]
  })
  for (const { cpu, why } of skipped) lines.push([`cpu${cpu}`, `no IPI: skipped, ${why}`])
  const width = Math.max(initiator.length, ...lines.map(([who]) => who.length))
  const line = ([who, text]: readonly [string, string]): string => `      ${who.padEnd(width)}  ${text}`
  const cut = lines.slice(0, CPUS_MAX).map(line)
  if (lines.length > CPUS_MAX) cut.push(line(['...', `and ${counted(lines.length - CPUS_MAX, 'CPU')} more`]))
  if (local) cut.push(line([initiator, `${whatItDidLocally(local)} ${reason(local.reason)}`]))
  return [
    `  cycle ${grouped(startCycle)}: ${cause} of ${comm}-${pid} on ${initiator} flushes ${what}${ofWhom}`,
    ...cut,
    cycles === undefined
      ? '      not done when the run ended'
      : `      done after ${counted(cycles, 'cycle')} = ${microseconds(cycles, frequencyGhz)}`,
  ]
}

function whatItDid({ ackCycle, reason, pages }: Responder): string {
  if (ackCycle === undefined) return 'has not answered when the run ended'
  if (reason === undefined) return 'has nothing left to flush'
  if (reason === TLB_REMOTE_WRONG_CPU) return 'has another mm loaded, flushes nothing'
  if (reason === TLB_FLUSH_ON_TASK_SWITCH) return 'is lazy, leaves the mm'
  return flushes(pages)
}

function whatItDidLocally({ reason, pages }: { reason: number; pages: number }): string {
  return reason === TLB_FLUSH_ON_TASK_SWITCH ? 'leaves the mm' : `${flushes(pages)} itself`
}

function flushes(pages: number): string {
  return pages < 0 ? 'flushes everything' : `flushes ${counted(pages, 'page')}`
}

function counts(
  shootdowns: readonly Shootdown[], shown: number, { frequencyGhz, responderCycles }: ShootdownContext,
): string[] {
  const total = (of: (one: Shootdown) => number): number => shootdowns.reduce((sum, one) => sum + of(one), 0)
  const remote = shootdowns.filter((one) => one.responders.length > 0).length
  const initiatorCycles = total(({ cycles }) => cycles ?? 0)
  const hidden = shootdowns.length - shown
  return [
    `  ${counted(shootdowns.length, 'flush request')}${hidden > 0 ? ` (${grouped(hidden)} not shown)` : ''}: `
      + `${grouped(remote)} with IPIs to other CPUs, ${grouped(shootdowns.length - remote)} without`,
    `  ${counted(total(({ ipiCpus }) => ipiCpus.length), 'IPI')} sent, `
      + `${counted(total(({ skipped }) => skipped.length), 'CPU')} skipped; `
      + `initiators spent ${counted(initiatorCycles, 'cycle')} = ${microseconds(initiatorCycles, frequencyGhz)}, `
      + `interrupted CPUs lost ${counted(responderCycles, 'cycle')} = ${microseconds(responderCycles, frequencyGhz)}`,
  ]
}

/** For every flush request, in order, what its task was doing: a system call, a page fault or its exit. */
function causesOf({ length, kind, pid, words, strings }: TraceData): string[] {
  const doing = new Map<number, string>()
  const causes: string[] = []
  for (let i = 0; i < length; i++) {
    const task = pid[i]!
    switch (kind[i]) {
      case EVENT.sysEnter:
        doing.set(task, strings[words[0]![i]!] ?? '')
        break
      case EVENT.pageFaultUser:
        doing.set(task, 'page fault')
        break
      case EVENT.schedProcessExit:
        doing.set(task, 'exit')
        break
      case EVENT.flushBegin:
        causes.push(doing.get(task) ?? 'kernel')
        break
    }
  }
  return causes
}
