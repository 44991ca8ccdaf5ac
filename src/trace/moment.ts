// What every CPU was doing at a place in a trace, from the trace alone: its task, the system call it
// was in, the interrupt it handled, the flush it waited for, whether it held an address space lazily.

import { EVENT, EVENTS, TLB_FLUSH_ON_TASK_SWITCH } from './events.js'
import { eventAt } from './recorder.js'
import type { TraceData } from './recorder.js'

/** What one CPU is doing between two events. */
export interface CpuMoment {
  readonly cpu: number
  comm: string
  pid: number
  /** Cycle of its last event; -1 when it had none. */
  lastCycle: number
  /** The system call that its task is in, and since when. */
  call: { name: string; cycle: number } | undefined
  /** The interrupt it is handling. */
  handler: { name: string; cycle: number } | undefined
  /** The flush request it has begun and not finished. */
  flush: { mm: number; cycle: number; targets: number } | undefined
  /** The mm that it holds lazily. */
  lazyMm: number | undefined
}

const HANDLER_NAMES = new Map<number, string>(EVENTS.filter(row => row.name.endsWith('_entry'))
  .map(row => [row.id, row.name.slice(0, -'_entry'.length)]))
const HANDLER_EXITS = new Set<number>(EVENTS.filter(row => row.name.endsWith('_exit') && row.name !== 'sys_exit')
  .map(row => row.id))

/** The state of `cpus` CPUs right before record `index`. */
export function momentAt(data: TraceData, index: number, cpus: number): CpuMoment[] {
  const moments = Array.from({ length: cpus }, (_, cpu): CpuMoment => ({
    cpu, comm: '<idle>', pid: 0, lastCycle: -1, call: undefined, handler: undefined, flush: undefined,
    lazyMm: undefined,
  }))
  /** System calls by task: a task may be switched away in the middle of one. */
  const calls = new Map<number, { name: string; cycle: number }>()
  for (let i = 0; i < index && i < data.length; i++) {
    const moment = moments[data.cpu[i]!]
    if (moment !== undefined) follow(data, i, moment, calls)
  }
  for (const moment of moments) moment.call = moment.pid === 0 ? undefined : calls.get(moment.pid)
  return moments
}

/** `cpu1 spinner-102 in munmap since cycle 4000, flushing mm 3 for 2 CPUs`. */
export function describeMoment(moment: CpuMoment): string {
  const parts: string[] = []
  if (moment.handler !== undefined) parts.push(`handles ${moment.handler.name} since cycle ${moment.handler.cycle}`)
  if (moment.call !== undefined) parts.push(`in ${moment.call.name} since cycle ${moment.call.cycle}`)
  if (moment.flush !== undefined) {
    const { mm, targets, cycle } = moment.flush
    const whom = targets === 0 ? '' : `, asked ${targets} ${targets === 1 ? 'CPU' : 'CPUs'}`
    parts.push(`flushing ${mm < 0 ? 'kernel mappings' : `mm ${mm}`} since cycle ${cycle}${whom}`)
  }
  if (moment.lazyMm !== undefined) parts.push(`lazy on mm ${moment.lazyMm}`)
  if (parts.length === 0) parts.push(moment.lastCycle < 0 ? 'nothing yet' : moment.pid === 0 ? 'idle' : 'user mode')
  return `cpu${moment.cpu} ${moment.comm}-${moment.pid} ${parts.join(', ')}`
}

function isPartOfSwitch(data: TraceData, i: number): boolean {
  const kind = data.kind[i]
  return kind === EVENT.switchMm || kind === EVENT.enterLazyTlb
    || (kind === EVENT.tlbFlush && data.words[1]![i] === TLB_FLUSH_ON_TASK_SWITCH)
}

function follow(
  data: TraceData, i: number, moment: CpuMoment, calls: Map<number, { name: string; cycle: number }>,
): void {
  const kind = data.kind[i]!
  const cycle = data.cycle[i]!
  const pid = data.pid[i]!
  moment.lastCycle = cycle
  // What a switch still does to the TLB stands after it, in the name of the task that goes.
  if (!isPartOfSwitch(data, i)) {
    moment.comm = pid === 0 ? '<idle>' : data.strings[data.comm[i]!] ?? ''
    moment.pid = pid
  }
  const handler = HANDLER_NAMES.get(kind)
  if (handler !== undefined) moment.handler = { name: handler, cycle }
  if (HANDLER_EXITS.has(kind)) moment.handler = undefined
  const event = eventAt(data, i)
  switch (event.name) {
    case 'sched_switch':
      moment.comm = event.fields.nextPid === 0 ? '<idle>' : event.fields.nextComm
      moment.pid = event.fields.nextPid
      break
    case 'sys_enter':
      calls.set(pid, { name: event.fields.name, cycle })
      break
    case 'sys_exit':
    case 'sched_process_exit':
      calls.delete(pid)
      break
    case 'sched_process_exec': {
      // A thread that was not the leader goes on under the leader's pid.
      const call = calls.get(event.fields.oldPid)
      if (event.fields.oldPid === pid || call === undefined) break
      calls.delete(event.fields.oldPid)
      calls.set(pid, call)
      break
    }
    case 'flush_begin':
      moment.flush = { mm: event.fields.mm, cycle, targets: 0 }
      break
    case 'csd_queue_cpu':
      if (moment.flush !== undefined) moment.flush.targets += 1
      break
    case 'flush_done':
      moment.flush = undefined
      break
    case 'enter_lazy_tlb':
      moment.lazyMm = event.fields.mm
      break
    case 'leave_mm':
      moment.lazyMm = undefined
      break
    default:
      if (kind === EVENT.switchMm) moment.lazyMm = undefined
  }
}
