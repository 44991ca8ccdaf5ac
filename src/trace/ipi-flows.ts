// Which events of a shootdown belong together, as arrows: a request is queued, its interrupt sent, the
// handler starts, the CPU acknowledges, the initiator is done. One flow for each initiator and target:
//
//   initiator   csd_queue_cpu --> ipi_send_* --+                            +--> flush_done
//   target                                     +--> call_function_entry --> flush_ack
//
// A request that was put on a list that was not empty has no interrupt of its own: its flow goes from
// csd_queue_cpu to flush_ack. A reschedule interrupt is a flow of two: send, handler.
//
// Simplified: a trace does not say which of several interrupts of one vector a handler stands for, so it
// stands for all that were sent before it; one that follows them is shown without an arrow, and the
// interrupts pending on a CPU are then one too few until it comes. The handler itself empties the list.

import { parseCpumask } from './cpumask.js'
import { CALLBACK_RESCHEDULE, EVENT } from './events.js'
import type { TraceData } from './recorder.js'

/** The flows that touch an event. Numbers count from 1 and are never used again. */
export interface FlowStep {
  /** Flows that begin or go on here. */
  readonly through: readonly number[]
  /** Flows whose last event this is. */
  readonly ending: readonly number[]
}

export const NO_FLOW: FlowStep = { through: [], ending: [] }

/** The vectors of interrupts between CPUs; an index into `pending` below. */
const CALL_SINGLE = 0
const CALL_MANY = 1
const RESCHEDULE = 2

/** What is known about one CPU. */
interface CpuFlows {
  /** As initiator: the flow of its latest request to a CPU. */
  requests: Map<number, number>
  /** As target: flows of interrupts that were sent and not taken, by vector. */
  pending: number[][]
}

export class IpiFlows {
  /** CPUs whose number of pending interrupts changed with the record taken last. */
  changed: readonly number[] = []
  readonly #data: TraceData
  readonly #cpus: CpuFlows[] = []
  /** Targets of a mask, by the id of its text. */
  readonly #masks = new Map<number, readonly number[]>()
  #lastFlow = 0

  constructor(data: TraceData) {
    this.#data = data
  }

  /** Interrupts on their way to a CPU. */
  pending(cpu: number): number {
    return this.#cpu(cpu).pending.reduce((sum, flows) => sum + flows.length, 0)
  }

  /** Records in their order, each once. */
  take(i: number): FlowStep {
    if (this.changed.length > 0) this.changed = []
    const { kind, cpu, words, strings } = this.#data
    const here = cpu[i]!
    const a = words[0]![i]!
    switch (kind[i]) {
      case EVENT.csdQueueCpu:
        return through([this.#queue(here, a)])
      case EVENT.ipiSendCpu: {
        const isReschedule = strings[words[1]![i]!] === CALLBACK_RESCHEDULE
        return this.#send(here, [a], isReschedule ? RESCHEDULE : CALL_SINGLE)
      }
      case EVENT.ipiSendCpumask:
        return this.#send(here, this.#targets(a), CALL_MANY)
      case EVENT.callFunctionSingleEntry:
        return this.#handle(here, CALL_SINGLE)
      case EVENT.callFunctionEntry:
        return this.#handle(here, CALL_MANY)
      case EVENT.rescheduleEntry: {
        const { through: flows } = this.#handle(here, RESCHEDULE)
        return { through: [], ending: flows }
      }
      case EVENT.flushAck: {
        const flow = this.#cpu(a).requests.get(here)
        return flow === undefined ? NO_FLOW : through([flow])
      }
      case EVENT.flushDone: {
        const ending = [...this.#cpu(here).requests.values()]
        this.#cpu(here).requests.clear()
        return { through: [], ending }
      }
      default:
        return NO_FLOW
    }
  }

  #queue(initiator: number, target: number): number {
    const flow = ++this.#lastFlow
    this.#cpu(initiator).requests.set(target, flow)
    return flow
  }

  #send(initiator: number, targets: readonly number[], vector: number): FlowStep {
    const { requests } = this.#cpu(initiator)
    const flows = targets.map((target) => {
      const flow = vector === RESCHEDULE ? ++this.#lastFlow : requests.get(target) ?? this.#queue(initiator, target)
      this.#cpu(target).pending[vector]!.push(flow)
      return flow
    })
    this.changed = targets
    return through(flows)
  }

  #handle(target: number, vector: number): FlowStep {
    const { pending } = this.#cpu(target)
    const flows = pending[vector]!
    pending[vector] = []
    if (flows.length > 0) this.changed = [target]
    return through(flows)
  }

  #targets(mask: number): readonly number[] {
    let targets = this.#masks.get(mask)
    if (targets === undefined) {
      targets = parseCpumask(this.#data.strings[mask] ?? '') ?? []
      this.#masks.set(mask, targets)
    }
    return targets
  }

  #cpu(id: number): CpuFlows {
    return this.#cpus[id] ??= { requests: new Map(), pending: [[], [], []] }
  }
}

function through(flows: readonly number[]): FlowStep {
  return { through: flows, ending: [] }
}
