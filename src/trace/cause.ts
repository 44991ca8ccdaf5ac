// Why an event happened, from the trace alone: a handler because of a send, a send because of a flush
// request, a request because of a system call or a fault, a switch because of a wake-up. The links are
// those of the protocol (summary.ts draws it); an event without a recorded cause has none.

import { parseCpumask } from './cpumask.js'
import { CALLBACK_RESCHEDULE, TLB_REMOTE_SHOOTDOWN, TLB_REMOTE_WRONG_CPU } from './events.js'
import { eventAt } from './recorder.js'
import type { TraceData } from './recorder.js'
import type { TraceEvent } from './events.js'

const HANDLER_EVENT = /^(call_function|reschedule|local_timer)/
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
  switch (event.name) {
    case 'call_function_entry':
    case 'call_function_single_entry':
      return before(data, from, index, other => isSendTo(other, cpu, false))
    case 'reschedule_entry':
      return before(data, from, index, other => isSendTo(other, cpu, true))
    case 'ipi_send_cpu':
      return event.fields.callback === CALLBACK_RESCHEDULE
        ? before(data, from, index, other => other.cpu === cpu && other.name.startsWith('sched_wakeup'))
        : openFlush(data, from, index, cpu)
    case 'ipi_send_cpumask':
    case 'csd_queue_cpu':
    case 'flush_skip':
    case 'flush_done':
      return openFlush(data, from, index, cpu)
    case 'tlb_flush': {
      const { reason } = event.fields
      const isRemote = reason === TLB_REMOTE_SHOOTDOWN || reason === TLB_REMOTE_WRONG_CPU
      const handler = enclosingHandler(data, from, index, cpu)
      return isRemote || handler >= 0 ? handler : openFlush(data, from, index, cpu)
    }
    case 'flush_ack': {
      const initiator = event.fields.cpu
      return before(data, from, index, other => other.name === 'flush_begin' && other.cpu === initiator)
    }
    case 'flush_begin':
      return before(data, from, index, other => other.pid === pid && (other.name === 'sys_enter'
        || other.name === 'page_fault_user' || other.name === 'sched_process_exit'))
    case 'sys_exit':
      return before(data, from, index, other => other.pid === pid && other.name === 'sys_enter')
    case 'page_map':
    case 'oom':
    case 'signal':
      return before(data, from, index, other => other.pid === pid
        && (other.name === 'page_fault_user' || other.name === 'sys_enter'))
    case 'sched_wakeup':
    case 'sched_wakeup_new':
    case 'sched_migrate_task':
      return before(data, from, index, other => other.cpu === cpu && (other.name === 'local_timer_entry'
        || (other.pid === pid && (other.name === 'sys_enter' || other.name === 'sched_process_exit'))))
    case 'sched_switch': {
      const { nextPid } = event.fields
      if (nextPid === 0) return before(data, from, index, other => other.pid === pid && other.name === 'sys_enter')
      return before(data, from, index, other => (other.name === 'sched_wakeup' || other.name === 'sched_wakeup_new')
        && other.fields.pid === nextPid)
    }
    case 'leave_mm':
    case 'switch_mm': {
      const handler = enclosingHandler(data, from, index, cpu)
      if (handler >= 0) return handler
      return before(data, from, index, other => other.cpu === cpu && other.name === 'sched_switch')
    }
    default:
      return -1
  }
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
  const at = before(data, from, index, other => other.cpu === cpu
    && (other.name === 'flush_begin' || other.name === 'flush_done'))
  return at >= 0 && eventAt(data, at).name === 'flush_begin' ? at : -1
}

/** The entry of the interrupt handler that this CPU is in. */
function enclosingHandler(data: TraceData, from: number, index: number, cpu: number): number {
  const at = before(data, from, index, other => other.cpu === cpu && HANDLER_EVENT.test(other.name))
  return at >= 0 && eventAt(data, at).name.endsWith('_entry') ? at : -1
}

/** The last record before `index`, and not before `from`, that fits, or -1. */
function before(data: TraceData, from: number, index: number, fits: (event: TraceEvent) => boolean): number {
  for (let i = index - 1; i >= from; i--) if (fits(eventAt(data, i))) return i
  return -1
}
