// Interrupts as arrows: from the event that sent one to the handler that took it, and from the
// acknowledgement back to whoever waits for it. From the trace alone.
//
// A handler takes every interrupt of its vector that has arrived (one IRR bit), so one entry may end
// several arrows. What was sent less than the shortest flight before the entry cannot have arrived:
// it waits for the next one. An arrow ends where the CPU took the interrupt, which is earlier than the
// first event of the handler.

import { parseCpumask } from '../trace/cpumask.js'
import { CALLBACK_RESCHEDULE, EVENT } from '../trace/events.js'
import { MODE_INTERRUPT } from '../trace/observations.js'
import type { TraceData } from '../trace/recorder.js'
import { stretchAt } from './lanes.js'
import type { Lane } from './lanes.js'

/** Columns of arrows, in the order of their first cycle. */
export interface Arrows {
  readonly length: number
  /** Where it starts and ends. An interrupt that no handler took ends where it started. */
  readonly from: Float64Array
  readonly fromCpu: Int32Array
  readonly to: Float64Array
  readonly toCpu: Int32Array
  readonly kind: Uint8Array
  /** Number of the flush request that it belongs to; -1: none. */
  readonly request: Int32Array
  /** Greatest `to` of this arrow and all before it: those that end before a cycle are skipped at once. */
  readonly reach: Float64Array
}

export const ARROW_FLUSH = 0
export const ARROW_RESCHEDULE = 1
export const ARROW_ACK = 2

const VECTOR_SINGLE = 0
const VECTOR_MANY = 1
const VECTOR_RESCHEDULE = 2
const VECTORS = 3

/** `flightCycles`: the shortest time that an interrupt takes. */
export function findArrows(trace: TraceData, lanes: readonly Lane[], flightCycles: number): Arrows {
  return new ArrowFinder(trace, lanes, flightCycles).find()
}

class ArrowFinder {
  readonly #trace: TraceData
  readonly #lanes: readonly Lane[]
  readonly #flightCycles: number
  #length = 0
  readonly #from: Float64Array
  readonly #fromCpu: Int32Array
  readonly #to: Float64Array
  readonly #toCpu: Int32Array
  readonly #kind: Uint8Array
  readonly #request: Int32Array
  /** Numbers of the arrows that have not ended, by target and vector. */
  readonly #inFlight: number[][]
  /** By CPU: its open request, and whether it is in a handler. */
  readonly #open: Int32Array
  readonly #inHandler: Uint8Array
  #requests = 0
  readonly #masks = new Map<number, readonly number[]>()

  constructor(trace: TraceData, lanes: readonly Lane[], flightCycles: number) {
    const cpus = lanes.length
    this.#trace = trace
    this.#lanes = lanes
    const most = mostArrows(trace, cpus)
    this.#from = new Float64Array(most)
    this.#fromCpu = new Int32Array(most)
    this.#to = new Float64Array(most)
    this.#toCpu = new Int32Array(most)
    this.#kind = new Uint8Array(most)
    this.#request = new Int32Array(most)
    this.#flightCycles = flightCycles
    this.#inFlight = Array.from({ length: cpus * VECTORS }, () => [])
    this.#open = new Int32Array(cpus).fill(-1)
    this.#inHandler = new Uint8Array(cpus)
  }

  find(): Arrows {
    for (let i = 0; i < this.#trace.length; i++) this.#take(i)
    const length = this.#length
    const reach = new Float64Array(length)
    for (let i = 0; i < length; i++) reach[i] = Math.max(this.#to[i], i > 0 ? reach[i - 1] : 0)
    return {
      length, reach, from: this.#from.subarray(0, length), fromCpu: this.#fromCpu.subarray(0, length),
      to: this.#to.subarray(0, length), toCpu: this.#toCpu.subarray(0, length), kind: this.#kind.subarray(0, length),
      request: this.#request.subarray(0, length),
    }
  }

  #take(i: number): void {
    const { kind, cpu, cycle, words, strings } = this.#trace
    const here = cpu[i]
    switch (kind[i]) {
      case EVENT.flushBegin:
        this.#open[here] = this.#requests++
        break
      case EVENT.flushDone:
        this.#open[here] = -1
        break
      case EVENT.ipiSendCpu:
        this.#send(i, [words[0][i]], strings[words[1][i]] === CALLBACK_RESCHEDULE ? VECTOR_RESCHEDULE : VECTOR_SINGLE)
        break
      case EVENT.ipiSendCpumask:
        this.#send(i, this.#maskOf(words[0][i]), VECTOR_MANY)
        break
      case EVENT.callFunctionSingleEntry:
        this.#enter(here, VECTOR_SINGLE, cycle[i])
        break
      case EVENT.callFunctionEntry:
        this.#enter(here, VECTOR_MANY, cycle[i])
        break
      case EVENT.rescheduleEntry:
        this.#enter(here, VECTOR_RESCHEDULE, cycle[i])
        break
      case EVENT.callFunctionSingleExit:
      case EVENT.callFunctionExit:
      case EVENT.rescheduleExit:
        this.#inHandler[here] = 0
        break
      case EVENT.flushAck: {
        const toCpu = words[0][i]
        const request = this.#open[toCpu] ?? -1
        this.#add(i, toCpu, ARROW_ACK, request)
        break
      }
    }
  }

  #send(i: number, targets: readonly number[], vector: number): void {
    const fromCpu = this.#trace.cpu[i]
    const isFlush = vector !== VECTOR_RESCHEDULE
    const request = isFlush && this.#inHandler[fromCpu] === 0 ? this.#open[fromCpu] : -1
    for (const toCpu of targets) {
      const arrow = this.#add(i, toCpu, isFlush ? ARROW_FLUSH : ARROW_RESCHEDULE, request)
      this.#inFlight[toCpu * VECTORS + vector]?.push(arrow)
    }
  }

  /** An arrow from event `i` on that ends at once, until its end is found. */
  #add(i: number, toCpu: number, kind: number, request: number): number {
    const arrow = this.#length++
    this.#from[arrow] = this.#trace.cycle[i]
    this.#fromCpu[arrow] = this.#trace.cpu[i]
    this.#to[arrow] = this.#trace.cycle[i]
    this.#toCpu[arrow] = toCpu
    this.#kind[arrow] = kind
    this.#request[arrow] = request
    return arrow
  }

  #enter(cpu: number, vector: number, cycle: number): void {
    this.#inHandler[cpu] = 1
    const waiting = this.#inFlight[cpu * VECTORS + vector]
    const taken = this.#takenAt(cpu, cycle)
    let left = 0
    for (let at = 0; at < waiting.length; at++) {
      const arrow = waiting[at]
      const arrival = this.#from[arrow] + this.#flightCycles
      // The first one is what the handler was entered for.
      if (at > 0 && arrival > cycle) waiting[left++] = arrow
      else this.#to[arrow] = arrival <= taken ? taken : cycle
    }
    waiting.length = left
  }

  /** When the CPU went into the handler that has its first event at `cycle`. */
  #takenAt(cpu: number, cycle: number): number {
    const lane = this.#lanes[cpu]
    const stretch = stretchAt(lane, cycle)
    return lane.kind[stretch] === MODE_INTERRUPT ? lane.start[stretch] : cycle
  }

  #maskOf(text: number): readonly number[] {
    let targets = this.#masks.get(text)
    if (targets === undefined) {
      targets = parseCpumask(this.#trace.strings[text] ?? '') ?? []
      this.#masks.set(text, targets)
    }
    return targets
  }
}

/** One for an acknowledgement or an interrupt to one CPU, one for every CPU when it may go to many. */
function mostArrows({ kind, length }: TraceData, cpus: number): number {
  let most = 0
  for (let i = 0; i < length; i++) {
    if (kind[i] === EVENT.ipiSendCpumask) most += cpus
    else if (kind[i] === EVENT.ipiSendCpu || kind[i] === EVENT.flushAck) most += 1
  }
  return most
}
