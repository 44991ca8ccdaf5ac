// Where the time of flushes goes, from a trace and a few prices: what the initiator does one after the other,
// and what is taken from the CPUs that it interrupts.
//
//   sys_enter        flush_begin             ipi_send      local tlb_flush        flush_done     sys_exit
//       |--- entry ---|-tables-|---- set-up ----|--- send ---|--- local ---|---- wait ----|---- free ----|
//
// A kernel that flushes itself before it sends (4.6) has local and send the other way round. A flush outside of a
// system call (a page fault, a kernel thread) has neither entry nor free. What is without an interrupt (a broadcast,
// a hypercall, hardware coherence) is a wait.
//
// Simplified: the page-table part of a call is its pages times the price of one; pages that were never touched make
// it too long, at most as long as there is time before the flush. Interrupts that the initiator serves meanwhile
// count for the phase that they stretch.

import { parseCpumask } from './cpumask.js'
import { CALLBACK_RESCHEDULE, EVENT, TLB_LOCAL_MM_SHOOTDOWN, TLB_LOCAL_SHOOTDOWN } from './events.js'
import type { TraceData } from './recorder.js'

/** Cycles, as the machine of the run has them. */
export interface PhasePrices {
  syscall: number
  ptePerPage: number
  flushSetup: number
  ipiSend: number
  /** Interrupt commands per interrupt: below 1 where one command reaches several CPUs. */
  commandsPerIpi: number
  pageBytes: number
}

export const INITIATOR_PHASES = ['entry', 'tables', 'setup', 'send', 'local', 'wait', 'free'] as const
export type InitiatorPhase = (typeof INITIATOR_PHASES)[number]

export interface FlushPhases {
  /** Cycles over all flushes. */
  initiator: Record<InitiatorPhase, number>
  /** Cycles in call-function handlers, between their entry and exit events. */
  handlerCycles: number
  /** From flush_begin to flush_done, cycles, of every finished flush in the order in which they ended. */
  latencies: number[]
  /** From sys_enter to sys_exit with the way in and out, of every call that flushed. */
  calls: number[]
  /** CPUs that flushes left out although they may have had the address space loaded. */
  skipped: number
}

interface Flush {
  cpu: number
  begin: number
  /** Cycle and number of the interrupts sent for it. */
  sentAt: number
  sent: number
  localAt: number
}

interface Call {
  begin: number
  pages: number
  flushes: number
  /** When its last flush was over. */
  flushedAt: number
}

const LOCAL_REASONS: ReadonlySet<number> = new Set([TLB_LOCAL_SHOOTDOWN, TLB_LOCAL_MM_SHOOTDOWN])

/** Goes through the trace once. */
export function flushPhases(data: TraceData, prices: PhasePrices): FlushPhases {
  const walk = new PhaseWalk(data, prices)
  for (let i = 0; i < data.length; i++) walk.take(i)
  return walk.phases
}

class PhaseWalk {
  readonly phases: FlushPhases = {
    initiator: { entry: 0, tables: 0, setup: 0, send: 0, local: 0, wait: 0, free: 0 },
    handlerCycles: 0, latencies: [], calls: [], skipped: 0,
  }
  readonly #data: TraceData
  readonly #prices: PhasePrices
  /** By pid: a task sleeps and moves within a call. */
  readonly #calls = new Map<number, Call>()
  /** By CPU. */
  readonly #flushes = new Map<number, Flush>()
  /** By CPU: when its call-function handler began. */
  readonly #handlers = new Map<number, number>()

  constructor(data: TraceData, prices: PhasePrices) {
    this.#data = data
    this.#prices = prices
  }

  take(i: number): void {
    const { kind, cpu: cpus, cycle: cycles, pid, words, strings } = this.#data
    const cpu = cpus[i]!
    const cycle = cycles[i]!
    switch (kind[i]) {
      case EVENT.sysEnter:
        this.#calls.set(pid[i]!, {
          begin: cycle, pages: words[3]![i]! / this.#prices.pageBytes, flushes: 0, flushedAt: cycle,
        })
        break
      case EVENT.sysExit:
        this.#leaveCall(pid[i]!, cycle)
        break
      case EVENT.flushBegin:
        this.#enterFlush(pid[i]!, cycle)
        this.#flushes.set(cpu, { cpu, begin: cycle, sentAt: -1, sent: 0, localAt: -1 })
        break
      case EVENT.ipiSendCpu:
      case EVENT.ipiSendCpumask:
        if (!this.#handlers.has(cpu) && strings[words[1]![i]!] !== CALLBACK_RESCHEDULE) {
          this.#send(cpu, cycle, kind[i] === EVENT.ipiSendCpu ? 1
            : parseCpumask(strings[words[0]![i]!] ?? '')?.length ?? 0)
        }
        break
      case EVENT.tlbFlush:
        if (LOCAL_REASONS.has(words[1]![i]!)) this.#flushLocal(cpu, cycle)
        break
      case EVENT.flushSkip:
        this.phases.skipped += 1
        break
      case EVENT.flushDone:
        this.#leaveFlush(cpu, pid[i]!, cycle)
        break
      case EVENT.callFunctionEntry:
      case EVENT.callFunctionSingleEntry:
        this.#handlers.set(cpu, cycle)
        break
      case EVENT.callFunctionExit:
      case EVENT.callFunctionSingleExit:
        this.phases.handlerCycles += cycle - (this.#handlers.get(cpu) ?? cycle)
        this.#handlers.delete(cpu)
        break
    }
  }

  #leaveCall(pid: number, cycle: number): void {
    const call = this.#calls.get(pid)
    this.#calls.delete(pid)
    if (call === undefined || call.flushes === 0) return
    this.phases.initiator.free += cycle - call.flushedAt
    this.phases.calls.push(cycle - call.begin + this.#prices.syscall)
  }

  #enterFlush(pid: number, cycle: number): void {
    const call = this.#calls.get(pid)
    if (call === undefined) return
    const { initiator } = this.phases
    const before = cycle - call.flushedAt
    if (call.flushes === 0) {
      const tables = Math.min(before, call.pages * this.#prices.ptePerPage)
      initiator.tables += tables
      initiator.entry += before - tables + this.#prices.syscall
    } else {
      // Between two flushes of a call is the rest of its tables.
      initiator.tables += before
    }
    call.flushes += 1
  }

  #send(cpu: number, cycle: number, targets: number): void {
    const flush = this.#flushes.get(cpu)
    if (flush === undefined) return
    if (flush.sentAt < 0) flush.sentAt = cycle
    flush.sent += targets
  }

  #flushLocal(cpu: number, cycle: number): void {
    const flush = this.#flushes.get(cpu)
    if (flush !== undefined && flush.localAt < 0) flush.localAt = cycle
  }

  #leaveFlush(cpu: number, pid: number, cycle: number): void {
    const flush = this.#flushes.get(cpu)
    this.#flushes.delete(cpu)
    const call = this.#calls.get(pid)
    if (call !== undefined) call.flushedAt = cycle
    if (flush === undefined) return
    this.phases.latencies.push(cycle - flush.begin)
    this.#split(flush, cycle)
  }

  /** Cuts [begin, end) at the moments that the trace shows. */
  #split({ begin, sentAt, sent, localAt }: Flush, end: number): void {
    const { initiator } = this.phases
    const { flushSetup, ipiSend, commandsPerIpi } = this.#prices
    const setup = end - begin < flushSetup ? 0 : flushSetup
    initiator.setup += setup
    let at = begin + setup
    const until = (phase: InitiatorPhase, moment: number): void => {
      const to = Math.min(Math.max(moment, at), end)
      initiator[phase] += to - at
      at = to
    }
    const localFirst = localAt >= 0 && (sentAt < 0 || localAt < sentAt)
    if (localFirst) until('local', localAt)
    if (sentAt >= 0) until('send', sentAt + sent * commandsPerIpi * ipiSend)
    if (localAt >= 0 && !localFirst) until('local', localAt)
    until('wait', end)
  }
}
