// One operation as lists of comparable events, one list ("lane") for each CPU and context, in the
// words of the simulation: its task names, its CPU numbers. Times, addresses and symbols are gone.
//
// What is not about the operation is left out and counted: foreign tasks, wake-ups, timers. A page
// fault stands for everything that it brings about (the flush after copy-on-write, here and on other
// CPUs), because a real program faults on text, libraries and stacks that no scenario has.

import type { Fact, FactKind, Request } from './capture-facts.js'
import { pagesText } from './capture-marks.js'
import {
  FLUSH_REASONS, TLB_FLUSH_ON_TASK_SWITCH, TLB_REMOTE_SEND_IPI, TLB_REMOTE_SHOOTDOWN, TLB_REMOTE_WRONG_CPU,
} from './events.js'

/** One of the two traces, as far as its operations need to know it. */
export interface Side {
  /** Name of a task; undefined for a foreign one. */
  nameOf: (pid: number) => string | undefined
  cpuOf: (cpu: number) => number
  /** Put page addresses into what must agree: both traces use the same ones. */
  withPages: boolean
}

export interface Item {
  kind: FactKind
  /** Two items correspond when their keys agree, */
  key: string
  /** and are the same when this agrees as well. */
  value: string
  text: string
  line: number
  fact: Fact
  /** In the context of the idle task. */
  isIdle: boolean
  /** Of a flush at a switch: nothing in this operation says what the slot held before. */
  isFirstUse: boolean
}

export interface Lane {
  cpu: number
  context: 'task' | 'interrupt'
  items: Item[]
}

/** Why events are not compared, and how many there were. */
export type Ignored = Map<string, number>

export interface OperationItems {
  lanes: readonly Lane[]
  ignored: Ignored
  /** CPUs (simulation's numbers) on which foreign tasks ran meanwhile. */
  foreignCpus: ReadonlySet<number>
}

export const FOREIGN = 'of tasks that the scenario does not have'
export const WAKE_UPS = 'of wake-ups and reschedule interrupts'
const TIMERS = 'of timers'
const OTHER_CALLS = 'of interrupts that bring no flush'
const OTHER_KINDS = 'of kinds that are not compared'
const KERNEL_WORK = 'of interrupts that others sent'

const IGNORED_KINDS: Partial<Record<FactKind, string>> = {
  wakeup: WAKE_UPS, migrate: WAKE_UPS, reschedule: WAKE_UPS, timer: TIMERS, other: OTHER_KINDS, mark: OTHER_KINDS,
}
/** Present and write: only such a fault may change an entry that TLBs hold. */
const FAULT_ON_PRESENT_WRITE = 3

export function itemsOf(facts: readonly Fact[], side: Side): OperationItems {
  const builder = new Builder(side)
  for (const fact of facts) builder.add(fact)
  return builder.finish()
}

class Builder {
  readonly #side: Side
  readonly #lanes = new Map<string, Lane>()
  readonly #ignored: Ignored = new Map()
  readonly #foreignCpus = new Set<number>()
  /** By CPU: the task context goes on with the flush of a switch that was left out. */
  readonly #leftOut = new Set<number>()
  /** By CPU: the fault whose consequences may follow. */
  readonly #faults = new Map<number, FaultUnit>()
  readonly #faultRequests = new Map<Request, FaultUnit>()
  /** Tasks that were switched to, as `cpu task`. */
  readonly #seen = new Set<string>()
  /** Requests of tasks that correspond, in the order of their announcements. */
  readonly #requests: Request[] = []

  constructor(side: Side) {
    this.#side = side
  }

  add(fact: Fact): void {
    const why = IGNORED_KINDS[fact.kind]
    if (why !== undefined) return this.#ignore(why)
    if (fact.kind === 'ipi' && fact.purpose === 'wake') return this.#ignore(WAKE_UPS)
    if (fact.kind === 'csd' && fact.request === undefined && !/flush/.test(fact.record.fields['func'] ?? '')) {
      return this.#ignore(WAKE_UPS)
    }
    if (fact.isInterrupt) this.#inInterrupt(fact)
    else this.#inTask(fact)
  }

  finish(): OperationItems {
    for (const unit of this.#faultRequests.values()) unit.close()
    for (const unit of this.#faults.values()) unit.close()
    const lanes = [...this.#lanes.values()].filter(lane => lane.items.length > 0)
      .sort((a, b) => a.cpu - b.cpu || (a.context < b.context ? 1 : -1))
    return { lanes, ignored: this.#ignored, foreignCpus: this.#foreignCpus }
  }

  #inTask(fact: Fact): void {
    const { cpu, pid, kind, record } = fact
    const name = this.#name(pid, cpu)
    if (name === undefined) {
      this.#foreignCpus.add(this.#side.cpuOf(cpu))
      return this.#ignore(FOREIGN)
    }
    if (this.#leftOut.has(cpu)) {
      if (kind === 'flush' && reasonOf(fact) === TLB_FLUSH_ON_TASK_SWITCH) return this.#ignore(FOREIGN)
      this.#leftOut.delete(cpu)
    }
    if (kind === 'switch') {
      const next = this.#name(Number(record.fields['next_pid']), cpu)
      if (next === undefined) {
        this.#leftOut.add(cpu)
        this.#foreignCpus.add(this.#side.cpuOf(cpu))
        return this.#ignore(FOREIGN)
      }
    }
    if (kind === 'fault') return this.#fault(fact)
    if (this.#faults.get(cpu)?.take(fact) === true) {
      if (fact.request !== undefined) this.#faultRequests.set(fact.request, this.#faults.get(cpu)!)
      return
    }
    this.#faults.delete(cpu)
    this.#push(fact, 'task')
  }

  #inInterrupt(fact: Fact): void {
    const { handler, cpu, kind } = fact
    if (kind !== 'flush' && kind !== 'enter' && kind !== 'leave') {
      // Of a request that a handler itself makes: none does. The rest is the work of interrupts.
      return this.#ignore(fact.request === undefined ? KERNEL_WORK : OTHER_KINDS)
    }
    const requests = (handler?.requests ?? []).filter(one => this.#name(one.pid, one.cpu) !== undefined)
    if (handler !== undefined && requests.length === 0 && handler.flushes.length === 0) {
      const isOurs = handler.otherSenders.some(({ pid, purpose }) =>
        purpose === 'call' && pid > 0 && this.#side.nameOf(pid) !== undefined)
      if (!isOurs) return this.#ignore(OTHER_CALLS)
    }
    if (requests.length === 0 && (handler?.flushes.length ?? 1) > 0 && !this.#isAnswer(fact)) {
      return this.#ignore(KERNEL_WORK)
    }
    // More flushes than requests that the trace shows: those for another address space are somebody else's.
    if (kind === 'flush' && reasonOf(fact) === TLB_REMOTE_WRONG_CPU && handler !== undefined
      && (handler.flushes.length > handler.requests.length || handler.otherSenders.length > 0)) {
      return this.#ignore(KERNEL_WORK)
    }
    // All that it answers came from faults: it belongs to them.
    const units = requests.map(request => this.#faultRequests.get(request))
    if (units.length > 0 && units.every(unit => unit !== undefined)) {
      if (kind === 'flush') units[0]!.respond(this.#side.cpuOf(cpu), fact)
      return
    }
    this.#push(fact, 'interrupt')
  }

  /** Whoever asked for it is not in the trace. Is it about a task or a request that is? */
  #isAnswer(fact: Fact): boolean {
    const flush = fact.handler?.flushes[0] ?? fact.record
    const reason = Number(flush.fields['reason_id'])
    if (reason === TLB_REMOTE_WRONG_CPU) return false
    if (this.#requests.some(request => request.cpu !== fact.cpu)) return true
    return reason === TLB_REMOTE_SHOOTDOWN && fact.pid > 0 && this.#side.nameOf(fact.pid) !== undefined
  }

  #fault(fact: Fact): void {
    const unit = new FaultUnit(fact, this.#item(fact))
    this.#faults.set(fact.cpu, unit)
    this.#lane(fact.cpu, 'task').items.push(unit.item)
  }

  #push(fact: Fact, context: Lane['context']): void {
    if (fact.kind === 'flush' && reasonOf(fact) === TLB_REMOTE_SEND_IPI && fact.request !== undefined) {
      this.#requests.push(fact.request)
    }
    this.#lane(fact.cpu, context).items.push(this.#item(fact))
  }

  #item(fact: Fact): Item {
    const { kind, cpu, pid, record } = fact
    const words = this.#words(fact)
    return {
      kind, ...words, line: record.line, fact, isIdle: pid === 0,
      isFirstUse: kind === 'flush' && this.#isFirstUse(fact, this.#side.cpuOf(cpu)),
    }
  }

  /** Nothing in the operation says what was in the slot that a switch or leave_mm() loads. */
  #isFirstUse(fact: Fact, cpu: number): boolean {
    if (reasonOf(fact) !== TLB_FLUSH_ON_TASK_SWITCH) return false
    if (fact.isInterrupt) return true
    const last = this.#lanes.get(`${cpu} task`)?.items.at(-1)
    const into = last?.kind === 'switch' ? last.key : `leaves ${fact.pid}`
    const target = `${cpu} ${into.replace(/^.* to /, '')}`
    if (this.#seen.has(target)) return false
    this.#seen.add(target)
    return true
  }

  #words(fact: Fact): Pick<Item, 'key' | 'value' | 'text'> {
    const { record: { fields, event }, kind } = fact
    switch (kind) {
      case 'flush': {
        const reason = FLUSH_REASONS[reasonOf(fact)]?.text['linux-6.x'] ?? fields['reason']!
        return said(`flush ${reasonOf(fact)}`, fields['pages']!, `${event} ${pagesText(fields['pages']!)}: ${reason}`)
      }
      case 'ipi':
      case 'csd': {
        const targets = fact.targets.map(cpu => `cpu${this.#side.cpuOf(cpu)}`).join(', ')
        return said(kind, `${event} ${targets}`, `${event} to ${targets === '' ? 'nobody' : targets}`)
      }
      case 'enter':
      case 'leave': return said(kind, event, event)
      case 'switch': {
        const [prev, next] = [fact.pid, Number(fields['next_pid'])].map(pid => this.#name(pid, fact.cpu))
        return said(`switch from ${prev} to ${next}`, stateClass(fields['prev_state']!),
          `${event} ${prev} (${fields['prev_state']}) to ${next}`)
      }
      case 'fault': {
        const code = Number(fields['error_code'])
        const page = fields['address']!.replace(/^0x0*/, '').slice(0, -3)
        const key = `fault ${event} ${code}${this.#side.withPages ? ` ${page}` : ''}`
        return said(key, '', `${event} error 0x${code.toString(16)}`)
      }
      default: {
        const who = this.#name(fact.pid, fact.cpu) ?? '?'
        return said(`${kind} ${who}`, kind === 'exit' ? fields['group_dead'] ?? '' : '', `${event} of ${who}`)
      }
    }
  }

  #name(pid: number, cpu: number): string | undefined {
    return pid === 0 ? `idle${this.#side.cpuOf(cpu)}` : this.#side.nameOf(pid)
  }

  #lane(cpu: number, context: Lane['context']): Lane {
    const number = this.#side.cpuOf(cpu)
    const key = `${number} ${context}`
    let lane = this.#lanes.get(key)
    if (lane === undefined) this.#lanes.set(key, lane = { cpu: number, context, items: [] })
    return lane
  }

  #ignore(why: string): void {
    this.#ignored.set(why, (this.#ignored.get(why) ?? 0) + 1)
  }
}

/** A fault and the one flush of one page that may follow it. */
class FaultUnit {
  readonly item: Item
  readonly #mayFlush: boolean
  readonly #pid: number
  #announced = false
  #isOver = false
  readonly #parts: string[] = []
  readonly #responses: string[] = []

  constructor(fact: Fact, item: Item) {
    this.item = item
    this.#pid = fact.pid
    this.#mayFlush = (Number(fact.record.fields['error_code']) & FAULT_ON_PRESENT_WRITE) === FAULT_ON_PRESENT_WRITE
  }

  /** True when this fact, the next of the same task, is a consequence. */
  take(fact: Fact): boolean {
    const { kind, record } = fact
    if (!this.#mayFlush || this.#isOver || fact.pid !== this.#pid) return false
    if (kind === 'ipi' || kind === 'csd') {
      if (fact.request === undefined) return false
      if (kind === 'ipi') this.#parts.push('interrupts')
      return true
    }
    if (kind !== 'flush' || record.fields['pages'] !== '1') return false
    const isAnnouncement = reasonOf(fact) === TLB_REMOTE_SEND_IPI
    if (isAnnouncement && this.#announced) return false
    if (isAnnouncement) this.#announced = true
    else this.#isOver = true
    this.#parts.push(record.fields['reason']!)
    return true
  }

  respond(cpu: number, fact: Fact): void {
    this.#responses.push(`cpu${cpu} ${fact.record.fields['pages']} ${fact.record.fields['reason']}`)
  }

  close(): void {
    if (this.#parts.length === 0) return
    const { item } = this
    item.value = [...this.#parts, ...this.#responses.sort()].join('; ').toLowerCase()
    if (!item.text.includes(',')) item.text += `, then 1 page: ${[...this.#parts, ...this.#responses].join(', ')}`
  }
}

function said(key: string, value: string, text: string): Pick<Item, 'key' | 'value' | 'text'> {
  return { key, value, text }
}

export function reasonOf(fact: Fact): number {
  return Number(fact.record.fields['reason_id'])
}

/** Did the task go to sleep, was it still runnable, or did it end? */
function stateClass(state: string): string {
  return state.startsWith('R') ? 'runnable' : /[XZ]/.test(state) ? 'ended' : 'sleeps'
}
