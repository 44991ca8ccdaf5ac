// What the records of an ftrace text mean, as far as a comparison needs it: who did it (a task, the
// idle task, an interrupt handler), to which flush request it belongs, and why an interrupt was sent.
//
//   request   tlb_flush(4)  csd_queue*  ipi_send*  tlb_flush(3 or 0)     one CPU, one context
//   handler   call_function*_entry  tlb_flush(0, 1, 5)*  call_function*_exit, on the CPU that was asked
//
// A handler answers everything that was sent to its CPU since the handler before it. Interrupts are
// also sent to wake tasks, and by tasks that the capture does not show; only a sender tells them
// apart. Nothing here knows which tasks matter: that is capture-roles.ts.

import { parseCpumask } from './cpumask.js'
import type { FtraceRecord } from './ftrace-line.js'
import { TLB_REMOTE_SEND_IPI } from './events.js'

export type FactKind = 'flush' | 'ipi' | 'csd' | 'enter' | 'leave' | 'switch' | 'fault' | 'fork' | 'exit' | 'mark'
  | 'wakeup' | 'migrate' | 'reschedule' | 'timer' | 'other'

/** A flush request, from its announcement on. */
export interface Request {
  id: number
  cpu: number
  pid: number
  /** Announced pages as text; -1 is everything. */
  pages: string
  line: number
}

/** One run of a call-function interrupt handler. */
export interface Handler {
  cpu: number
  /** Requests whose interrupts it answers. Empty: nobody that the trace shows asked for a flush. */
  requests: Request[]
  /** A wake-up or another call was among what it was sent for. */
  otherSenders: { pid: number; purpose: IpiPurpose }[]
  flushes: FtraceRecord[]
}

export type IpiPurpose = 'flush' | 'wake' | 'call'

export interface Fact {
  kind: FactKind
  record: FtraceRecord
  cpu: number
  /** Task in whose context it happened; 0 is the idle task. */
  pid: number
  /** Inside an interrupt handler of any kind. */
  isInterrupt: boolean
  handler: Handler | undefined
  request: Request | undefined
  /** Of an `ipi`. */
  purpose: IpiPurpose | undefined
  /** CPUs that an `ipi` or `csd` goes to. */
  targets: readonly number[]
}

interface CpuState {
  handler: Handler | undefined
  /** Depth of other handlers: reschedule, timer. */
  otherDepth: number
  /** Sent to this CPU and not yet answered. */
  pending: { request: Request | undefined; pid: number; purpose: IpiPurpose }[]
  /** The open request of each context: outside and inside of handlers. */
  open: [Request | undefined, Request | undefined]
  /** The previous fact of each context. */
  last: [Fact | undefined, Fact | undefined]
}

const KINDS: Readonly<Record<string, FactKind>> = {
  tlb_flush: 'flush', ipi_send_cpu: 'ipi', ipi_send_cpumask: 'ipi', csd_queue_cpu: 'csd',
  call_function_single_entry: 'enter', call_function_entry: 'enter',
  call_function_single_exit: 'leave', call_function_exit: 'leave',
  sched_switch: 'switch', page_fault_user: 'fault', page_fault_kernel: 'fault', sched_process_fork: 'fork',
  sched_process_exit: 'exit', tracing_mark_write: 'mark', sched_wakeup: 'wakeup', sched_wakeup_new: 'wakeup',
  sched_waking: 'wakeup', sched_migrate_task: 'migrate', reschedule_entry: 'reschedule', reschedule_exit: 'reschedule',
  local_timer_entry: 'timer', local_timer_exit: 'timer',
}
/** Functions that send call-function interrupts for other reasons than a flush. */
const WAKE_CALLSITE = /ttwu|wake|resched|sched_|irq_work|rcu_|nohz|tick_/

/** One fact for each record, in the same order. */
export function factsOf(records: readonly FtraceRecord[]): Fact[] {
  const reader = new FactReader(records.some(({ flags }) => /[hH]/.test(flags)))
  return records.map(record => reader.next(record))
}

class FactReader {
  /** The canonical text of a trace has no flags. */
  readonly #hasFlags: boolean
  readonly #cpus = new Map<number, CpuState>()
  #requests = 0

  constructor(hasFlags: boolean) {
    this.#hasFlags = hasFlags
  }

  next(record: FtraceRecord): Fact {
    const { cpu, pid } = record
    const state = this.#state(cpu)
    const kind = KINDS[record.event] ?? 'other'
    // Flags say when a handler is over whose exit is missing.
    if (this.#hasFlags && record.flags !== '' && !/[hHzZ]/.test(record.flags)) {
      [state.handler, state.otherDepth] = [undefined, 0]
    }
    if (kind === 'enter') state.handler = enterHandler(cpu, state)
    if ((kind === 'reschedule' || kind === 'timer') && record.event.endsWith('_entry')) state.otherDepth += 1
    const isInterrupt = state.handler !== undefined || state.otherDepth > 0 || /[hH]/.test(record.flags)
    const fact: Fact = {
      kind, record, cpu, pid, isInterrupt, handler: state.handler, request: undefined, purpose: undefined, targets: [],
    }
    const context = isInterrupt ? 1 : 0
    this.#connect(fact, state, context)
    state.last[context] = fact
    if (kind === 'leave') state.handler = undefined
    if ((kind === 'reschedule' || kind === 'timer') && record.event.endsWith('_exit')) {
      state.otherDepth = Math.max(0, state.otherDepth - 1)
    }
    // A switch ends whatever handler was cut out of the capture.
    if (kind === 'switch') [state.handler, state.otherDepth] = [undefined, 0]
    return fact
  }

  #connect(fact: Fact, state: CpuState, context: 0 | 1): void {
    const { record } = fact
    switch (fact.kind) {
      case 'flush':
        return this.#flush(fact, state, context)
      case 'csd':
      case 'ipi':
        fact.targets = targetsOf(record)
        fact.request = state.open[context]
        if (fact.kind === 'ipi') this.#send(fact, state.last[context])
        return
      case 'enter':
      case 'leave':
        if (fact.handler?.requests.length === 1) fact.request = fact.handler.requests[0]
        return
      default:
        state.open[context] = undefined
    }
  }

  #flush(fact: Fact, state: CpuState, context: 0 | 1): void {
    const { record, handler } = fact
    if (Number(record.fields['reason_id']) === TLB_REMOTE_SEND_IPI) {
      const { cpu, pid } = fact
      fact.request = { id: this.#requests++, cpu, pid, pages: record.fields['pages']!, line: record.line }
      state.open[context] = fact.request
    } else if (handler !== undefined) {
      handler.flushes.push(record)
      fact.request = handler.requests[Math.min(handler.flushes.length, handler.requests.length) - 1]
    } else {
      fact.request = state.open[context]
      state.open[context] = undefined
    }
  }

  #send(fact: Fact, last: Fact | undefined): void {
    fact.purpose = purposeOf(fact, last)
    if (fact.purpose !== 'flush') fact.request = undefined
    const { request, pid, purpose } = fact
    for (const target of fact.targets) this.#state(target).pending.push({ request, pid, purpose })
  }

  #state(cpu: number): CpuState {
    let state = this.#cpus.get(cpu)
    if (state === undefined) {
      state = {
        handler: undefined, otherDepth: 0, pending: [], open: [undefined, undefined], last: [undefined, undefined],
      }
      this.#cpus.set(cpu, state)
    }
    return state
  }
}

function enterHandler(cpu: number, state: CpuState): Handler {
  const handler: Handler = { cpu, requests: [], otherSenders: [], flushes: [] }
  for (const { request, pid, purpose } of state.pending) {
    if (request !== undefined) handler.requests.push(request)
    else handler.otherSenders.push({ pid, purpose })
  }
  state.pending = []
  return handler
}

function targetsOf(record: FtraceRecord): readonly number[] {
  const { cpu, cpumask } = record.fields
  if (cpu !== undefined) return [Number(cpu)]
  return parseCpumask((cpumask ?? '').trim()) ?? []
}

function purposeOf(fact: Fact, last: Fact | undefined): IpiPurpose {
  const { callsite = '', callback = '' } = fact.record.fields
  if (/^0x0+$|^\(null\)$|resched/.test(callback)) return 'wake'
  if (WAKE_CALLSITE.test(callsite)) return 'wake'
  if (fact.request !== undefined) return 'flush'
  const woken = last?.kind === 'wakeup' || last?.kind === 'migrate'
  return woken && fact.targets.includes(Number(last.record.fields['target_cpu'] ?? last.record.fields['dest_cpu']))
    ? 'wake' : 'call'
}
