// Comparing two traces by structure. Events are aligned per CPU by what they are (kind, task, reason,
// target), not by when they happened, so that one interrupt less is one removed event and not a
// trace that differs from there on. What corresponds may still differ in a field or in its time.
//
// Not here: how a difference is printed (cli/diff.ts).

import { align } from './align.js'
import { KeyNumbers } from './event-key.js'
import { EVENT, EVENTS, FLUSH_REASONS } from './events.js'
import { eventAt } from './recorder.js'
import type { TraceData } from './recorder.js'

/** How two corresponding events, or one without a partner, differ. */
export interface EventDifference {
  kind: 'removed' | 'inserted' | 'changed'
  /** Record in A; -1 for an inserted one. */
  a: number
  /** Record in B; -1 for a removed one. */
  b: number
}

/** What changed about the events of one label, such as `tlb_flush (remote shootdown)`. */
export interface KindDifference {
  label: string
  countA: number
  countB: number
  removed: number
  inserted: number
  changed: number
  /** Corresponding events at other cycles, and the largest shift (positive: later in B), cycles. */
  shifted: number
  largestShift: number
}

/** The price of one kind of operation in both traces, cycles. */
export interface CostDifference {
  label: string
  countA: number
  countB: number
  cyclesA: number
  cyclesB: number
}

export interface TraceDifference {
  /** The traces say the same, word for word. */
  isEqual: boolean
  /** The first record, in A's and B's numbering, at which the texts differ; undefined when equal. */
  firstRecord: number | undefined
  /** Differences other than time, in the order of their cycles. */
  differences: EventDifference[]
  kinds: KindDifference[]
  /** System calls by name, flush requests, handlers: only those that differ. */
  operations: CostDifference[]
  /** Cycles in handlers, per CPU: only those that differ. */
  cpus: CostDifference[]
}

const NO_RECORDS = new Int32Array(0)

export function diffTraces(a: TraceData, b: TraceData): TraceDifference {
  const firstRecord = firstDifferentRecord(a, b)
  if (firstRecord === undefined) {
    return { isEqual: true, firstRecord, differences: [], kinds: [], operations: [], cpus: [] }
  }
  const keys = new KeyNumbers()
  const [keyA, keyB] = [keys.of(a), keys.of(b)]
  const [cpusA, cpusB] = [recordsByCpu(a), recordsByCpu(b)]
  const kinds = new Map<string, KindDifference>()
  const differences: EventDifference[] = []
  for (let cpu = 0; cpu < Math.max(cpusA.length, cpusB.length); cpu++) {
    const [recordsA = NO_RECORDS, recordsB = NO_RECORDS] = [cpusA[cpu], cpusB[cpu]]
    const pairs = align(recordsA.map(keyA), recordsB.map(keyB))
    compareCpu({ data: a, records: recordsA }, { data: b, records: recordsB }, pairs, kinds, differences)
  }
  const cycleOf = (one: EventDifference): number => (one.a >= 0 ? a.cycle[one.a]! : b.cycle[one.b]!)
  const cpuOf = (one: EventDifference): number => (one.a >= 0 ? a.cpu[one.a]! : b.cpu[one.b]!)
  differences.sort((x, y) => cycleOf(x) - cycleOf(y) || cpuOf(x) - cpuOf(y))
  const isDifferent = (cost: CostDifference): boolean => cost.countA !== cost.countB || cost.cyclesA !== cost.cyclesB
  return {
    isEqual: false, firstRecord, differences,
    kinds: [...kinds.values()].filter(kind => kind.removed + kind.inserted + kind.changed + kind.shifted > 0)
      .sort((x, y) => (x.label < y.label ? -1 : 1)),
    operations: compareCosts(operationCosts(a), operationCosts(b)).filter(isDifferent),
    cpus: compareCosts(handlerCosts(a), handlerCosts(b)).filter(isDifferent),
  }
}

/** What an event is counted as. */
export function labelOf(data: TraceData, index: number): string {
  const { name } = EVENTS[data.kind[index]!]!
  if (name === 'tlb_flush') {
    const reason = data.words[1]![index]!
    return `tlb_flush (${FLUSH_REASONS[reason]?.text['linux-6.x'] ?? reason})`
  }
  if (name === 'sys_enter' || name === 'sys_exit') return `${name} (${data.strings[data.words[0]![index]!]})`
  return name
}

/** The records of each CPU of a trace, in their order. */
function recordsByCpu(data: TraceData): Int32Array[] {
  const counts: number[] = []
  for (let i = 0; i < data.length; i++) counts[data.cpu[i]!] = (counts[data.cpu[i]!] ?? 0) + 1
  const records = Array.from(counts, (count = 0) => new Int32Array(count))
  const filled = records.map(() => 0)
  for (let i = 0; i < data.length; i++) {
    const cpu = data.cpu[i]!
    records[cpu]![filled[cpu]!++] = i
  }
  return records
}

/** The events of one CPU in one of the traces. */
interface Side {
  data: TraceData
  records: Int32Array
}

function compareCpu(
  a: Side, b: Side, pairs: Int32Array, kinds: Map<string, KindDifference>, differences: EventDifference[],
): void {
  const [recordsA, recordsB] = [a.records, b.records]
  let x = 0
  let y = 0
  const single = (untilA: number, untilB: number): void => {
    for (; x < untilA; x++) {
      const kind = kindOf(kinds, a.data, recordsA[x]!)
      kind.countA += 1
      kind.removed += 1
      differences.push({ kind: 'removed', a: recordsA[x]!, b: -1 })
    }
    for (; y < untilB; y++) {
      const kind = kindOf(kinds, b.data, recordsB[y]!)
      kind.countB += 1
      kind.inserted += 1
      differences.push({ kind: 'inserted', a: -1, b: recordsB[y]! })
    }
  }
  for (let i = 0; i < pairs.length; i += 2) {
    single(pairs[i]!, pairs[i + 1]!)
    comparePair(a.data, b.data, recordsA[x++]!, recordsB[y++]!, kinds, differences)
  }
  single(recordsA.length, recordsB.length)
}

function comparePair(
  a: TraceData, b: TraceData, i: number, j: number, kinds: Map<string, KindDifference>, differences: EventDifference[],
): void {
  const kind = kindOf(kinds, a, i)
  kind.countA += 1
  kind.countB += 1
  const shift = b.cycle[j]! - a.cycle[i]!
  if (shift !== 0) kind.shifted += 1
  if (Math.abs(shift) > Math.abs(kind.largestShift)) kind.largestShift = shift
  if (a.pid[i] === b.pid[j] && sameFields(a, b, i, j, false)) return
  kind.changed += 1
  differences.push({ kind: 'changed', a: i, b: j })
}

/** Names of the fields in which two corresponding events differ; `task` stands for the pid. Durations do not count. */
export function changedFields(a: TraceData, b: TraceData, i: number, j: number): string[] {
  const names = a.pid[i] === b.pid[j] ? [] : ['task']
  let word = 0
  for (const field of EVENTS[a.kind[i]!]!.fields) {
    const from = word
    word += field.type === 'address' ? 2 : 1
    const isSame = field.type === 'string'
      ? a.strings[a.words[from]![i]!] === b.strings[b.words[from]![j]!]
      : a.words.slice(from, word).every((column, k) => column[i] === b.words[from + k]![j])
    if (!isSame && field.type !== 'cycles') names.push(field.name)
  }
  return names
}

/** Do the fields agree? Durations count only with `durations`: they follow from times. */
function sameFields(a: TraceData, b: TraceData, i: number, j: number, durations: boolean): boolean {
  let word = 0
  for (const field of EVENTS[a.kind[i]!]!.fields) {
    const [x, y] = [a.words[word]![i]!, b.words[word]![j]!]
    word += 1
    if (field.type === 'string' ? a.strings[x] !== b.strings[y] : x !== y) {
      if (field.type !== 'cycles' || durations) return false
    }
    if (field.type === 'address') {
      if (a.words[word]![i] !== b.words[word]![j]) return false
      word += 1
    }
  }
  return true
}

function firstDifferentRecord(a: TraceData, b: TraceData): number | undefined {
  const common = Math.min(a.length, b.length)
  for (let i = 0; i < common; i++) {
    const isSame = a.cycle[i] === b.cycle[i] && a.cpu[i] === b.cpu[i] && a.kind[i] === b.kind[i]
      && a.pid[i] === b.pid[i] && a.strings[a.comm[i]!] === b.strings[b.comm[i]!] && sameFields(a, b, i, i, true)
    if (!isSame) return i
  }
  return a.length === b.length ? undefined : common
}

function kindOf(kinds: Map<string, KindDifference>, data: TraceData, index: number): KindDifference {
  const label = labelOf(data, index)
  let kind = kinds.get(label)
  if (kind === undefined) {
    kind = { label, countA: 0, countB: 0, removed: 0, inserted: 0, changed: 0, shifted: 0, largestShift: 0 }
    kinds.set(label, kind)
  }
  return kind
}

type Costs = Map<string, { count: number; cycles: number }>

function add(costs: Costs, label: string, cycles: number): void {
  const cost = costs.get(label)
  if (cost === undefined) {
    costs.set(label, { count: 1, cycles })
    return
  }
  cost.count += 1
  cost.cycles += cycles
}

/** System calls from entry to exit, and flush requests from beginning to end. */
function operationCosts(data: TraceData): Costs {
  const costs: Costs = new Map()
  const begun = new Map<number, number>()
  for (let i = 0; i < data.length; i++) {
    const kind = data.kind[i]!
    if (kind === EVENT.sysEnter) {
      begun.set(data.pid[i]!, data.cycle[i]!)
    } else if (kind === EVENT.sysExit) {
      const begin = begun.get(data.pid[i]!)
      if (begin !== undefined) add(costs, data.strings[data.words[0]![i]!] ?? '', data.cycle[i]! - begin)
      begun.delete(data.pid[i]!)
    } else if (kind === EVENT.flushDone) {
      const event = eventAt(data, i)
      if (event.name === 'flush_done') {
        add(costs, event.fields.targets > 0 ? 'shootdown' : 'local flush', event.fields.cycles)
      }
    }
  }
  return costs
}

const ENTRIES = new Set<number>(EVENTS.filter(row => 'vector' in row && row.name.endsWith('_entry')).map(row => row.id))
const EXITS = new Set<number>(EVENTS.filter(row => 'vector' in row && row.name.endsWith('_exit')).map(row => row.id))

/** Interrupt handlers by CPU, from entry to exit event. */
function handlerCosts(data: TraceData): Costs {
  const costs: Costs = new Map()
  const begun = new Map<number, number>()
  for (let i = 0; i < data.length; i++) {
    const cpu = data.cpu[i]!
    if (ENTRIES.has(data.kind[i]!)) begun.set(cpu, data.cycle[i]!)
    const begin = begun.get(cpu)
    if (!EXITS.has(data.kind[i]!) || begin === undefined) continue
    add(costs, `cpu${cpu}`, data.cycle[i]! - begin)
    begun.delete(cpu)
  }
  return costs
}

function compareCosts(a: Costs, b: Costs): CostDifference[] {
  return [...new Set([...a.keys(), ...b.keys()])].sort().map(label => ({
    label,
    countA: a.get(label)?.count ?? 0,
    countB: b.get(label)?.count ?? 0,
    cyclesA: a.get(label)?.cycles ?? 0,
    cyclesB: b.get(label)?.cycles ?? 0,
  }))
}
