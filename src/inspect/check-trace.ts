// A finished trace against itself: I28 (its records fit together) and what one trace can show of I32
// (it is in the total order of cycle and CPU; that another run gives the same bytes is for tests).
//
//   requests    flush_begin ... flush_done on one CPU, one at a time. Every CPU that is queued a request
//               acknowledges it once before flush_done, nobody else does
//   flushes     a remote tlb_flush (reasons 1 and 5) is of a CPU that an announced request (reason 4) was
//               queued for and that has not acknowledged it. An announcement without any interrupt is legal
//   interrupts  entry and exit alternate on a CPU, and are of one vector
//   tasks       a CPU switches away from the task that it switched to; a call returns as what it was
//
// With earlyAck a CPU acknowledges first and flushes before its handler ends, when the request may be over.
//
// A run that was stopped leaves its last requests open; that is no fault. Where responders are held
// (mach-1989) they flush after the request is over, and what they record belongs to no open one.

import { InvariantViolation } from '../base/assert.js'
import { EVENT, EVENTS, TLB_REMOTE_SEND_IPI, TLB_REMOTE_SHOOTDOWN, TLB_REMOTE_WRONG_CPU } from '../trace/events.js'
import type { TraceData } from '../trace/recorder.js'
import { formatEvent } from '../trace/text.js'
import { INVARIANTS } from './invariants.js'

/** A flush request that has begun on a CPU. */
interface Request {
  mm: number
  /** It was announced with a tlb_flush of reason 4. */
  announced: boolean
  /** CPUs that it was queued for and that have not acknowledged it. */
  readonly pending: Set<number>
  queued: number
  acknowledged: number
}

/** What the policy and the kernel of the run permit. */
export interface TraceRules {
  areRespondersHeld?: boolean
  earlyAck?: boolean
}

/** Events of a CPU that a message shows before the one that is wrong. */
const CONTEXT = 6
/** Handlers that the vectors of irq_vectors enter and leave. */
const EXITS = new Map<number, number>(EVENTS.flatMap(row => (
  row.name.endsWith('_entry') ? [[row.id, row.id + 1] as const] : [])))
const EXIT_KINDS = new Set(EXITS.values())

/** Throws InvariantViolation at the first record that does not fit. */
export function checkTrace(data: TraceData, options: TraceRules = {}): void {
  new TraceChecker(data, options).run()
}

class TraceChecker {
  readonly #data: TraceData
  readonly #areRespondersHeld: boolean
  readonly #isEarly: boolean
  /** CPUs that have acknowledged an announced request in the handler that they are in. */
  readonly #acknowledged = new Set<number>()
  /** By CPU. */
  readonly #requests: (Request | undefined)[] = []
  /** Exit event that a CPU's handler must end with. */
  readonly #expectedExit: (number | undefined)[] = []
  /** Task that each CPU switched to last. */
  readonly #running: (number | undefined)[] = []
  /** Call that each task is in, by pid: interned name. */
  readonly #calls = new Map<number, number>()

  constructor(data: TraceData, { areRespondersHeld = false, earlyAck = false }: TraceRules) {
    this.#data = data
    this.#areRespondersHeld = areRespondersHeld
    this.#isEarly = earlyAck
  }

  run(): void {
    for (let i = 0; i < this.#data.length; i++) this.#record(i)
  }

  #record(i: number): void {
    const { cycle, cpu, kind } = this.#data
    if (i > 0 && (cycle[i]! < cycle[i - 1]! || (cycle[i] === cycle[i - 1] && cpu[i]! < cpu[i - 1]!))) {
      this.#wrong(i, 'I32', 'it comes after a later event')
    }
    const exit = EXITS.get(kind[i]!)
    if (exit !== undefined) this.#enter(i, exit)
    else if (EXIT_KINDS.has(kind[i]!)) this.#leave(i)
    else this.#fact(i)
  }

  #fact(i: number): void {
    const own = this.#data.cpu[i]!
    const request = this.#requests[own]
    switch (this.#data.kind[i]) {
      case EVENT.flushBegin:
        if (request !== undefined) this.#wrong(i, 'I28', `the request for mm ${request.mm} is still open`)
        this.#requests[own] = { mm: this.#word(i, 0), announced: false, pending: new Set(), queued: 0, acknowledged: 0 }
        return
      case EVENT.flushDone:
        this.#finish(i, request)
        return
      case EVENT.csdQueueCpu:
        // Calls outside of a flush concern nobody here.
        if (request === undefined) return
        request.pending.add(this.#word(i, 0))
        request.queued += 1
        return
      case EVENT.flushAck:
        this.#acknowledge(i, this.#requests[this.#word(i, 0)])
        return
      case EVENT.tlbFlush:
        this.#flush(i, request)
        return
      case EVENT.schedSwitch:
        this.#switch(i)
        return
      case EVENT.sysEnter:
        this.#calls.set(this.#data.pid[i]!, this.#word(i, 0))
        return
      case EVENT.sysExit: {
        const call = this.#calls.get(this.#data.pid[i]!)
        if (call !== this.#word(i, 0)) this.#wrong(i, 'I28', 'the task is in no such call')
        this.#calls.delete(this.#data.pid[i]!)
        return
      }
      case EVENT.schedProcessExec: {
        // A thread that was not the leader goes on under the leader's pid.
        const old = this.#word(i, 1)
        if (old === this.#data.pid[i]) return
        const call = this.#calls.get(old)
        this.#calls.delete(old)
        if (call !== undefined) this.#calls.set(this.#data.pid[i]!, call)
        this.#running[own] = this.#data.pid[i]!
        return
      }
      default:
    }
  }

  #enter(i: number, exit: number): void {
    const own = this.#data.cpu[i]!
    if (this.#expectedExit[own] !== undefined) this.#wrong(i, 'I28', 'the CPU is in a handler already')
    this.#expectedExit[own] = exit
  }

  #leave(i: number): void {
    const own = this.#data.cpu[i]!
    if (this.#expectedExit[own] !== this.#data.kind[i]) this.#wrong(i, 'I28', 'the CPU is in no such handler')
    this.#expectedExit[own] = undefined
    this.#acknowledged.delete(own)
  }

  #flush(i: number, request: Request | undefined): void {
    const reason = this.#word(i, 1)
    if (reason === TLB_REMOTE_SEND_IPI) {
      if (request !== undefined) request.announced = true
      return
    }
    if ((reason !== TLB_REMOTE_SHOOTDOWN && reason !== TLB_REMOTE_WRONG_CPU) || this.#areRespondersHeld) return
    const own = this.#data.cpu[i]!
    // An initiator whose bit is still in the mask of an mm that it has left (execve) answers itself.
    if (reason === TLB_REMOTE_WRONG_CPU && request?.announced === true) return
    const isAsked = this.#requests.some(each => each !== undefined && each.announced && each.pending.has(own))
    if (isAsked || (this.#isEarly && this.#acknowledged.has(own))) return
    this.#wrong(i, 'I28', 'no announced request waits for this CPU')
  }

  #acknowledge(i: number, request: Request | undefined): void {
    const own = this.#data.cpu[i]!
    if (this.#areRespondersHeld) return
    if (request === undefined || !request.pending.delete(own)) {
      this.#wrong(i, 'I28', `cpu${this.#word(i, 0)} has no request that waits for this CPU`)
    }
    request.acknowledged += 1
    if (request.announced) this.#acknowledged.add(own)
  }

  #finish(i: number, request: Request | undefined): void {
    if (request === undefined || request.mm !== this.#word(i, 0)) this.#wrong(i, 'I28', 'no such request is open')
    // Kernel ranges run another function on every CPU, which acknowledges nothing.
    if (request.acknowledged > 0 && request.pending.size > 0) {
      this.#wrong(i, 'I28', `${request.queued} requests were queued, ${request.acknowledged} acknowledged`)
    }
    if (request.mm >= 0 && request.pending.size > 0 && !this.#areRespondersHeld) {
      this.#wrong(i, 'I28', `cpu${[...request.pending].join(', cpu')} never acknowledged it`)
    }
    this.#requests[this.#data.cpu[i]!] = undefined
  }

  #switch(i: number): void {
    const own = this.#data.cpu[i]!
    const running = this.#running[own]
    if (running !== undefined && running !== this.#data.pid[i]) {
      this.#wrong(i, 'I28', `the CPU had switched to task ${running}`)
    }
    this.#running[own] = this.#word(i, 2)
  }

  #word(i: number, column: number): number {
    return this.#data.words[column]![i]!
  }

  #wrong(i: number, invariant: string, text: string): never {
    const { cycle, cpu, pid, comm, strings } = this.#data
    const story: number[] = []
    for (let j = i; j >= 0 && story.length <= CONTEXT; j--) if (cpu[j] === cpu[i]) story.unshift(j)
    const task = `${strings[comm[i]!] ?? ''}-${pid[i]}`
    throw new InvariantViolation([
      `${invariant}: cpu${cpu[i]} cycle ${cycle[i]} task ${task}: ${EVENTS[this.#data.kind[i]!]?.name}: ${text}`,
      `  should be: ${INVARIANTS[invariant]}`,
      '  what led there:', ...story.map(j => `  ${formatEvent(this.#data, j)}`),
    ].join('\n'))
  }
}
