// Why an event happened, from the trace alone: a handler because of a send, a send because of a flush
// request, a request because of a system call or a fault, a switch because of a wake-up. The links are
// those of the protocol (summary.ts draws it); an event without a recorded cause has none.

import { parseCpumask } from './cpumask.js'
import {
  CALLBACK_RESCHEDULE, EVENTS, TLB_FLUSH_ON_TASK_SWITCH, TLB_REMOTE_SHOOTDOWN, TLB_REMOTE_WRONG_CPU,
} from './events.js'
import { eventAt } from './recorder.js'
import type { TraceData } from './recorder.js'
import type { EventName, TraceEvent } from './events.js'

const SENDS: readonly EventName[] = ['ipi_send_cpu', 'ipi_send_cpumask']
const WAKE_UPS: readonly EventName[] = ['sched_wakeup', 'sched_wakeup_new']
const REMOTE_REASONS: readonly number[] = [TLB_REMOTE_SHOOTDOWN, TLB_REMOTE_WRONG_CPU]
const HANDLER_EVENTS: readonly EventName[] = EVENTS.map(row => row.name)
  .filter(name => /^(call_function|reschedule|local_timer)/.test(name))
/** Links are few in a protocol; a longer chain would be a circle. */
const MAX_CHAIN = 12

/** The records that led to record `index`, the most remote cause first. Empty when it has none. */
export function causesOf(data: TraceData, index: number): number[] {
  const chain: number[] = []
  for (let at = causeOf(data, index); at >= 0 && chain.length < MAX_CHAIN; at = causeOf(data, at)) chain.unshift(at)
  return chain
}

/** The record that caused record `index`, or -1. What happened before record `from` is not looked at. */
export function causeOf(data: TraceData, index: number, from = 0): number {
  const event = eventAt(data, index)
  const { cpu, pid } = event
  const before = (kinds: readonly EventName[], fits: (other: TraceEvent) => boolean): number =>
    lastBefore(data, from, index, kinds, fits)
  switch (event.name) {
    case 'call_function_entry':
    case 'call_function_single_entry':
      return before(SENDS, other => isSendTo(other, cpu, false))
    case 'reschedule_entry':
      return before(SENDS, other => isSendTo(other, cpu, true))
    case 'call_function_exit':
    case 'call_function_single_exit':
    case 'reschedule_exit':
    case 'local_timer_exit':
      return enclosingHandler(data, from, index, cpu)
    case 'ipi_send_cpu':
      return event.fields.callback === CALLBACK_RESCHEDULE
        ? before(WAKE_UPS, other => other.cpu === cpu)
        : openFlush(data, from, index, cpu)
    case 'ipi_send_cpumask':
    case 'csd_queue_cpu':
    case 'flush_skip':
    case 'flush_done':
      return openFlush(data, from, index, cpu)
    case 'tlb_flush': {
      if (event.fields.reason === TLB_FLUSH_ON_TASK_SWITCH) return switchCause(data, from, index, cpu)
      const handler = enclosingHandler(data, from, index, cpu)
      return REMOTE_REASONS.includes(event.fields.reason) || handler >= 0 ? handler : openFlush(data, from, index, cpu)
    }
    case 'flush_ack':
      return before(['flush_begin'], other => other.cpu === event.fields.cpu)
    case 'flush_begin':
      return before(['sys_enter', 'page_fault_user', 'sched_process_exit'], other => other.pid === pid)
    case 'sys_exit':
    case 'tracing_mark_write':
      return before(['sys_enter'], other => other.pid === pid)
    case 'page_map':
    case 'oom':
    case 'signal':
      return before(['page_fault_user', 'sys_enter'], other => other.pid === pid)
    case 'sched_wakeup':
    case 'sched_wakeup_new':
    case 'sched_migrate_task':
      return before(['local_timer_entry', 'sys_enter', 'sched_process_exit'],
        other => other.cpu === cpu && (other.name === 'local_timer_entry' || other.pid === pid))
    case 'sched_switch': {
      const { nextPid } = event.fields
      return nextPid === 0 ? whyItLeft(data, from, index, pid) : before(WAKE_UPS, other =>
        (other.name === 'sched_wakeup' || other.name === 'sched_wakeup_new') && other.fields.pid === nextPid)
    }
    case 'enter_lazy_tlb':
      return before(['sched_switch'], other => other.cpu === cpu)
    case 'leave_mm':
    case 'switch_mm':
      return switchCause(data, from, index, cpu)
    default:
      return -1
  }
}

/** A root is loaded in an interrupt handler, by execve, or in a switch of tasks. */
function switchCause(data: TraceData, from: number, index: number, cpu: number): number {
  const handler = enclosingHandler(data, from, index, cpu)
  return handler >= 0 ? handler
    : lastBefore(data, from, index, ['sched_switch', 'sched_process_exit', 'sched_process_exec'],
      other => other.cpu === cpu)
}

/** Why a task gave its CPU to idle: the call that it sleeps in, or its end. */
function whyItLeft(data: TraceData, from: number, index: number, pid: number): number {
  const at = lastBefore(data, from, index, ['sys_enter', 'sys_exit', 'sched_process_exit'], other => other.pid === pid)
  return at >= 0 && eventAt(data, at).name !== 'sys_exit' ? at : -1
}

function isSendTo(other: TraceEvent, cpu: number, isReschedule: boolean): boolean {
  if (other.name === 'ipi_send_cpu') {
    return other.fields.cpu === cpu && (other.fields.callback === CALLBACK_RESCHEDULE) === isReschedule
  }
  if (isReschedule || other.name !== 'ipi_send_cpumask') return false
  return parseCpumask(other.fields.cpumask)?.includes(cpu) === true
}

/** The request that this CPU has begun and not finished. */
function openFlush(data: TraceData, from: number, index: number, cpu: number): number {
  const at = lastBefore(data, from, index, ['flush_begin', 'flush_done'], other => other.cpu === cpu)
  return at >= 0 && eventAt(data, at).name === 'flush_begin' ? at : -1
}

/** The entry of the interrupt handler that this CPU is in. */
function enclosingHandler(data: TraceData, from: number, index: number, cpu: number): number {
  const at = lastBefore(data, from, index, HANDLER_EVENTS, other => other.cpu === cpu)
  return at >= 0 && eventAt(data, at).name.endsWith('_entry') ? at : -1
}

/** The last record before `index`, not before `from`, of these kinds that fits, or -1. No others are decoded. */
function lastBefore(
  data: TraceData, from: number, index: number, kinds: readonly EventName[], fits: (event: TraceEvent) => boolean,
): number {
  const isWanted = EVENTS.map(row => kinds.includes(row.name))
  for (let i = index - 1; i >= from; i--) if (isWanted[data.kind[i]!] === true && fits(eventAt(data, i))) return i
  return -1
}
