// Shootdowns as a person asks about them: one record per flush request, from flush_begin to
// flush_done on its initiator, with everything that other CPUs did for it. Derived from the
// trace alone.
//
//   initiator  flush_begin  flush_skip*  tlb_flush(4)  csd_queue/ipi_send*  tlb_flush(3) ... flush_done
//   responder                                  call_function entry  tlb_flush(0,1,5)  flush_ack  exit
//
// A CPU has at most one open request, but it may answer others while it waits: what it records
// between the entry and exit of a call-function handler belongs to those. One interrupt may
// serve several requests; flush_ack names the initiator. Without flush_ack (a trace that lacks
// our own events) the handler is taken to have served every request that waits for this CPU.

import {
  CALLBACK_RESCHEDULE, EVENT, TLB_REMOTE_SEND_IPI, TLB_REMOTE_SHOOTDOWN, TLB_REMOTE_WRONG_CPU,
} from './events.js'
import { parseCpumask } from './cpumask.js'
import type { TraceData } from './recorder.js'

export interface Responder {
  cpu: number
  /** Cycle at which its handler turned to this request; undefined when it never did. */
  startCycle: number | undefined
  /** Cycle of its acknowledgement. */
  ackCycle: number | undefined
  /** tlb_flush reason in the handler; undefined when nothing was left to flush. */
  reason: number | undefined
  /** Pages it flushed; -1 for everything, 0 for nothing. */
  pages: number
  /** Cycles this request took from the CPU: entry of the handler (or the previous ack) to exit (or the next turn). */
  cycles: number
  /** An interrupt was sent for it; false when an earlier one that was still pending did the work. */
  interrupted: boolean
}

export interface Shootdown {
  initiatorCpu: number
  pid: number
  comm: string
  mm: number
  start: { hi: number; lo: number }
  /** Requested pages; -1 for everything. */
  pages: number
  newTlbGen: number
  /** The initiator's own flush; undefined when it made none. */
  local: { reason: number; pages: number } | undefined
  /** In the order in which they were queued. Empty for a request that stayed local. */
  responders: Responder[]
  /** CPUs that an interrupt went to. */
  ipiCpus: number[]
  skipped: { cpu: number; why: string }[]
  startCycle: number
  /** Undefined when the run ended before the request did. */
  endCycle: number | undefined
  /** endCycle - startCycle; undefined with it. */
  cycles: number | undefined
}

/** All requests of a trace, in the order in which they began. */
export function summarizeShootdowns(data: TraceData): Shootdown[] {
  const pairing = new Pairing(data)
  for (let i = 0; i < data.length; i++) pairing.take(i)
  return pairing.found
}

/** Handler state of one CPU. */
interface Handler {
  active: boolean
  /** When it turned to the request that it is serving. */
  turnCycle: number
  /** Flushes that no request has claimed yet. */
  flushes: { reason: number; pages: number }[]
  served: Responder | undefined
}

class Pairing {
  readonly found: Shootdown[] = []
  readonly #data: TraceData
  /** Open request by initiator CPU. */
  readonly #open = new Map<number, Shootdown>()
  readonly #handlers = new Map<number, Handler>()

  /** The trace says itself which request a handler served. */
  readonly #hasAcks: boolean

  constructor(data: TraceData) {
    this.#data = data
    this.#hasAcks = data.kind.includes(EVENT.flushAck)
  }

  take(i: number): void {
    const { kind, cpu, cycle } = this.#data
    const here = cpu[i]!
    const [a, b, c, d, e] = this.#data.words as [Int32Array, Int32Array, Int32Array, Int32Array, Int32Array]
    switch (kind[i]) {
      case EVENT.flushBegin:
        this.#begin(i, a[i]!, { hi: b[i]! >>> 0, lo: c[i]! >>> 0 }, d[i]!, e[i]!)
        break
      case EVENT.flushSkip:
        this.#open.get(here)?.skipped.push({ cpu: a[i]!, why: this.#data.strings[b[i]!] ?? '' })
        break
      case EVENT.csdQueueCpu:
        if (!this.#handler(here).active) this.#queue(here, a[i]!)
        break
      case EVENT.ipiSendCpu:
        if (this.#isFlushIpi(here, b[i]!)) this.#send(here, [a[i]!])
        break
      case EVENT.ipiSendCpumask:
        if (this.#isFlushIpi(here, b[i]!)) this.#send(here, parseCpumask(this.#data.strings[a[i]!] ?? '') ?? [])
        break
      case EVENT.callFunctionEntry:
      case EVENT.callFunctionSingleEntry: {
        const handler = this.#handler(here)
        handler.active = true
        handler.turnCycle = cycle[i]!
        handler.flushes.length = 0
        break
      }
      case EVENT.tlbFlush:
        this.#flush(here, b[i]!, a[i]!)
        break
      case EVENT.flushAck:
        this.#acknowledge(here, a[i]!, cycle[i]!)
        break
      case EVENT.callFunctionExit:
      case EVENT.callFunctionSingleExit:
        this.#leaveHandler(here, cycle[i]!)
        break
      case EVENT.flushDone:
        this.#done(here, cycle[i]!)
        break
    }
  }

  #begin(i: number, mm: number, start: { hi: number; lo: number }, pages: number, newTlbGen: number): void {
    const { cpu, pid, comm, cycle, strings } = this.#data
    const shootdown: Shootdown = {
      initiatorCpu: cpu[i]!, pid: pid[i]!, comm: strings[comm[i]!] ?? '', mm, start, pages, newTlbGen,
      local: undefined, responders: [], ipiCpus: [], skipped: [],
      startCycle: cycle[i]!, endCycle: undefined, cycles: undefined,
    }
    this.found.push(shootdown)
    this.#open.set(cpu[i]!, shootdown)
  }

  #queue(initiator: number, target: number): Responder | undefined {
    const request = this.#open.get(initiator)
    if (!request) return undefined
    let responder = request.responders.find((known) => known.cpu === target)
    if (!responder) {
      responder = {
        cpu: target, startCycle: undefined, ackCycle: undefined, reason: undefined, pages: 0, cycles: 0,
        interrupted: false,
      }
      request.responders.push(responder)
    }
    return responder
  }

  /** Interrupts that a handler on this CPU sends have nothing to do with its open request. */
  #isFlushIpi(cpu: number, callback: number): boolean {
    return !this.#handler(cpu).active && this.#data.strings[callback] !== CALLBACK_RESCHEDULE
  }

  #send(initiator: number, targets: readonly number[]): void {
    for (const target of targets) {
      const responder = this.#queue(initiator, target)
      if (!responder) return
      responder.interrupted = true
      this.#open.get(initiator)?.ipiCpus.push(target)
    }
  }

  #flush(cpu: number, reason: number, pages: number): void {
    if (reason === TLB_REMOTE_SEND_IPI) return
    const handler = this.#handler(cpu)
    // A polling idle CPU serves its list without an interrupt.
    if (handler.active || reason === TLB_REMOTE_SHOOTDOWN || reason === TLB_REMOTE_WRONG_CPU) {
      handler.flushes.push({ reason, pages })
      return
    }
    const request = this.#open.get(cpu)
    if (request) request.local ??= { reason, pages }
  }

  #acknowledge(cpu: number, initiator: number, cycle: number): void {
    const responder = this.#open.get(initiator)?.responders.find((known) => known.cpu === cpu)
    if (!responder || responder.ackCycle !== undefined) return
    const handler = this.#handler(cpu)
    const flush = handler.flushes.shift()
    if (handler.active) responder.startCycle = handler.turnCycle
    responder.ackCycle = cycle
    if (flush) {
      responder.reason = flush.reason
      responder.pages = flush.pages
    }
    responder.cycles = cycle - (responder.startCycle ?? cycle)
    handler.turnCycle = cycle
    handler.served = responder
  }

  #leaveHandler(cpu: number, cycle: number): void {
    const handler = this.#handler(cpu)
    if (handler.active && !this.#hasAcks) {
      for (const request of this.#open.values()) this.#acknowledge(cpu, request.initiatorCpu, cycle)
    } else if (handler.served) {
      handler.served.cycles += cycle - handler.turnCycle
    }
    handler.active = false
    handler.served = undefined
    handler.flushes.length = 0
  }

  #done(cpu: number, cycle: number): void {
    const request = this.#open.get(cpu)
    if (!request) return
    request.endCycle = cycle
    request.cycles = cycle - request.startCycle
    this.#open.delete(cpu)
  }

  #handler(cpu: number): Handler {
    let handler = this.#handlers.get(cpu)
    if (!handler) {
      handler = { active: false, turnCycle: 0, flushes: [], served: undefined }
      this.#handlers.set(cpu, handler)
    }
    return handler
  }
}
