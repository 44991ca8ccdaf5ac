// A real kernel's capture against a simulation, operation by operation: the events of each CPU side
// by side, what differs, and which of the differences have an explanation (capture-explain.ts).
//
// Order counts within a CPU and context, never across CPUs: that is what both kernels promise.

import { align } from './align.js'
import { explainChange, explainExtra, explainMissing, lackingKinds, pageOf, silentIdleCpus } from './capture-explain.js'
import type { Background, Explanation } from './capture-explain.js'
import { factsOf } from './capture-facts.js'
import type { Fact, FactKind } from './capture-facts.js'
import { itemsOf } from './capture-items.js'
import type { Item, Lane, OperationItems, Side } from './capture-items.js'
import { operationVerb, operationsOf } from './capture-marks.js'
import type { Operation, Operations } from './capture-marks.js'
import { matchRoles } from './capture-roles.js'
import type { RoleMap } from './capture-roles.js'
import type { FtraceCapture } from './ftrace-parse.js'

export interface Row {
  /** Text of the event in the capture and in the simulation; undefined where it is missing. */
  real: string | undefined
  ours: string | undefined
  realLine: number | undefined
  status: 'same' | 'changed' | 'extra' | 'missing'
  explanation: Explanation | undefined
}

export interface LaneRows {
  cpu: number
  context: Lane['context']
  rows: readonly Row[]
}

export type Verdict = 'same' | 'explained' | 'different'

export interface OperationComparison {
  name: string
  /** Number of the round, from 0. */
  round: number
  firstLine: number
  lastLine: number
  verdict: Verdict
  lanes: readonly LaneRows[]
  /** Events of the capture that are not compared, by why. */
  ignored: Readonly<Record<string, number>>
  /** Set when the simulation has nothing to compare with. */
  problem: string | undefined
}

export interface CaptureComparison {
  how: Operations['how']
  roles: RoleMap
  operations: readonly OperationComparison[]
  verdict: Verdict
  /** Events of the capture outside of every operation, by kind of event. */
  outside: Readonly<Record<string, number>>
  notRecorded: readonly FactKind[]
  notes: readonly string[]
}

export interface CompareOptions {
  /** Comm or pid of the capture to task of the simulation. */
  tasks?: ReadonlyMap<string, string>
  /** CPU of the capture to CPU of the simulation. */
  cpus?: ReadonlyMap<number, number>
}

/** Compares two traces; `ours` is what is believed, `real` what is questioned or the other way round. */
export function compareCaptures(
  real: FtraceCapture, ours: FtraceCapture, options: CompareOptions = {}, notes: readonly string[] = [],
): CaptureComparison {
  const realFacts = factsOf(real.records)
  const ourFacts = factsOf(ours.records)
  const roles = matchRoles(realFacts, ourFacts, options.tasks ?? new Map(), options.cpus ?? new Map())
  const realSide = {
    nameOf: (pid: number) => roles.tasks.get(pid), cpuOf: (cpu: number) => roles.cpus.get(cpu) ?? cpu,
  }
  const background = backgroundOf(real, realFacts, ourFacts, realSide.cpuOf)
  const { withPages } = background
  const names = new Map(ours.records.filter(({ pid }) => pid > 0).map(({ pid, comm }) => [pid, comm]))
  const ourSide: Side = { nameOf: pid => names.get(pid), cpuOf: cpu => cpu, withPages }
  const realOperations = operationsOf(realFacts, pid => roles.tasks.has(pid))
  // Without markers in the capture those of the scenario have no counterpart.
  const ourOperations = operationsOf(ourFacts, () => true, realOperations.how === 'requests' ? 'requests' : undefined)
  const pairing = new Pairing(realOperations, ourOperations)
  const operations = realOperations.operations.map((operation) => {
    const counterpart = pairing.next(operation)
    return compareOperation(operation, counterpart, { ...realSide, withPages }, ourSide, background)
  })
  return {
    how: realOperations.how, roles, operations, verdict: worst(operations.map(one => one.verdict)),
    outside: countKinds(realOperations.outside), notRecorded: [...background.realLacks],
    notes: [...notes, ...realOperations.notes, ...pairing.notes(), ...(operations.length === 0
      ? ['the capture has no operation of a task that corresponds to one of the scenario'] : [])],
  }
}

function backgroundOf(
  real: FtraceCapture, realFacts: readonly Fact[], ourFacts: readonly Fact[], cpuOf: (cpu: number) => number,
): Background {
  const pages = (facts: readonly Fact[]): Set<string> =>
    new Set(facts.filter(fact => fact.kind === 'fault').map(pageOf))
  const ourPages = pages(ourFacts)
  return {
    realLacks: lackingKinds(realFacts), oursLacks: lackingKinds(ourFacts), ourPages,
    silentIdleCpus: silentIdleCpus(realFacts, cpuOf),
    withPages: [...pages(realFacts)].some(page => ourPages.has(page)),
    lostLines: real.lost.map(({ line }) => line),
  }
}

/** Which operation of the simulation an operation of the capture is compared with. */
class Pairing {
  readonly #ours: readonly Operation[]
  readonly #used = new Map<string, number>()
  readonly #notes: string[] = []
  readonly #told = new Set<string>()
  readonly #taken = new Set<Operation>()

  constructor(real: Operations, ours: Operations) {
    this.#ours = ours.operations
    if (real.how !== ours.how) {
      this.#notes.push(real.how === 'marks'
        ? 'the capture has BEGIN and END markers, the scenario has none: give it "mark" operations'
        : 'the scenario has BEGIN and END markers, the capture has none')
    }
  }

  /** The same name, round by round; else the same `op=`; the last one stands for all further rounds. */
  next({ name }: Operation): Operation | undefined {
    const [key, candidates] = this.#candidates(name)
    if (candidates.length === 0) return undefined
    const at = this.#used.get(key) ?? 0
    this.#used.set(key, at + 1)
    if (at >= candidates.length && !this.#told.has(key)) {
      this.#told.add(key)
      this.#notes.push(`the scenario does "${key}" ${candidates.length === 1 ? 'once' : `${candidates.length} times`}; `
        + 'further rounds of the capture are compared with the last one')
    }
    const found = candidates[Math.min(at, candidates.length - 1)]!
    this.#taken.add(found)
    return found
  }

  notes(): string[] {
    const left = this.#ours.filter(operation => !this.#taken.has(operation))
    const names = [...new Set(left.map(operation => `"${operation.name}"`))]
    if (left.length === 0) return this.#notes
    const count = `${left.length} more ${left.length === 1 ? 'operation' : 'operations'}`
    return [...this.#notes, `only in the simulation: ${count}, ${names.join(', ')}`]
  }

  #candidates(name: string): [string, readonly Operation[]] {
    const same = this.#ours.filter(operation => operation.name === name)
    if (same.length > 0) return [name, same]
    const verb = operationVerb(name)
    return [verb, this.#ours.filter(operation => operationVerb(operation.name) === verb)]
  }
}

function compareOperation(
  operation: Operation, counterpart: Operation | undefined, realSide: Side, ourSide: Side, background: Background,
): OperationComparison {
  const real = itemsOf(operation.facts, realSide)
  const { name, round, firstLine, lastLine } = operation
  const common = { name, round, firstLine, lastLine, ignored: Object.fromEntries(real.ignored) }
  if (counterpart === undefined) {
    return { ...common, verdict: 'different', lanes: [], problem: 'the simulation has no such operation' }
  }
  const ours = itemsOf(counterpart.facts, ourSide)
  const place = {
    operation, real, background, realAround: keysOf(itemsOf(operation.around, realSide)),
    ourAround: keysOf(itemsOf(counterpart.around, ourSide)), ourPid: counterpart.pid,
  }
  const polled = polledCpus(real, ours)
  const lanes = pairLanes(real, ours).map(([a, b]): LaneRows => {
    const { cpu, context } = (a ?? b)!
    const rows = alignLane(a?.items ?? [], b?.items ?? []).map(([one, other]): Row => {
      const row = (status: Row['status'], explanation: Explanation | undefined): Row =>
        ({ real: one?.text, ours: other?.text, realLine: one?.line, status, explanation })
      if (one === undefined) return row('missing', explainMissing(other!, cpu, place, polled))
      if (other === undefined) return row('extra', explainExtra(one, cpu, place))
      if (one.key === other.key && one.value === other.value) return row('same', undefined)
      return row('changed', explainChange(one, other, cpu, place))
    })
    return { cpu, context, rows }
  })
  return { ...common, lanes, problem: undefined, verdict: worst(lanes.flatMap(lane => lane.rows.map(verdictOf))) }
}

export function verdictOf(row: Row): Verdict {
  return row.status === 'same' ? 'same' : row.explanation === undefined ? 'different' : 'explained'
}

function worst(verdicts: readonly Verdict[]): Verdict {
  return verdicts.includes('different') ? 'different' : verdicts.includes('explained') ? 'explained' : 'same'
}

/** Idle CPUs that the simulation interrupts, and of which the capture shows nothing at all. */
function polledCpus(real: OperationItems, ours: OperationItems): ReadonlySet<number> {
  const interrupted = ours.lanes.filter(({ context, items }) =>
    context === 'interrupt' && items.every(item => item.isIdle))
  const targeted = new Set(real.lanes.flatMap(lane => lane.items.flatMap(({ kind, value }) =>
    kind === 'ipi' ? [...value.matchAll(/cpu(\d+)/g)].map(match => Number(match[1])) : [])))
  return new Set(interrupted.map(lane => lane.cpu).filter(cpu =>
    !targeted.has(cpu) && !real.lanes.some(lane => lane.cpu === cpu && lane.context === 'interrupt')))
}

function pairLanes(real: OperationItems, ours: OperationItems): [Lane | undefined, Lane | undefined][] {
  const keyOf = (lane: Lane): string => `${String(lane.cpu).padStart(4, '0')} ${lane.context === 'task' ? 0 : 1}`
  const all = new Map<string, [Lane | undefined, Lane | undefined]>()
  for (const lane of real.lanes) all.set(keyOf(lane), [lane, undefined])
  for (const lane of ours.lanes) all.set(keyOf(lane), [all.get(keyOf(lane))?.[0], lane])
  return [...all].sort((a, b) => (a[0] < b[0] ? -1 : 1)).map(([, pair]) => pair)
}

/** Items that correspond; between them, one that is missing and one that is extra of the same kind are a change. */
function alignLane(real: readonly Item[], ours: readonly Item[]): [Item | undefined, Item | undefined][] {
  const ids = new Map<string, number>()
  const numbers = (items: readonly Item[]): Int32Array => Int32Array.from(items, ({ key }) => {
    const id = ids.get(key) ?? ids.size
    ids.set(key, id)
    return id
  })
  const pairs = align(numbers(real), numbers(ours))
  const rows: [Item | undefined, Item | undefined][] = []
  let [x, y] = [0, 0]
  const between = (endX: number, endY: number): void => {
    while (x < endX && y < endY && real[x]!.kind === ours[y]!.kind) rows.push([real[x++], ours[y++]])
    while (x < endX) rows.push([real[x++], undefined])
    while (y < endY) rows.push([undefined, ours[y++]])
  }
  for (let i = 0; i < pairs.length; i += 2) {
    between(pairs[i]!, pairs[i + 1]!)
    rows.push([real[x++], ours[y++]])
  }
  between(real.length, ours.length)
  return rows
}

/** What other tasks do around an operation, as `cpu key`. */
function keysOf({ lanes }: OperationItems): ReadonlySet<string> {
  return new Set(lanes.flatMap(({ cpu, items }) => items.map(item => `${cpu} ${item.key}`)))
}

function countKinds(facts: readonly Fact[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { record } of facts) counts[record.event] = (counts[record.event] ?? 0) + 1
  return counts
}
