// Who takes part in a captured program: the task that sets the markers, threads that share its address
// space, processes that it forked. Taken from what a capture says about it, in this order: the tgid
// column, flush requests that reach a thread, exits, switches that change the address space.

import type { Fact } from '../trace/capture-facts.js'
import type { Operation } from '../trace/capture-marks.js'
import { isCandidate, tasksOf } from '../trace/capture-roles.js'
import type { TraceTask } from '../trace/capture-roles.js'

export interface DerivedTask {
  pid: number
  /** Unique in the scenario. */
  name: string
  isThread: boolean
  /** The CPU where it is seen most. */
  cpu: number
  /** Line where it is first seen, and where it exits (Infinity: not seen). */
  firstLine: number
  exitLine: number
}

export interface Cast {
  marker: DerivedTask
  others: readonly DerivedTask[]
}

/** A task name as a scenario may have it. */
export function commOf(name: string): string {
  return name.replace(/[^\x21-\x7e]/g, '_').slice(0, 15)
}

/** The tasks of the program that sets the markers. */
export function castOf(facts: readonly Fact[], operations: readonly Operation[]): Cast {
  const inside = operations.flatMap(operation => operation.facts)
  const markerPid = operations[0]!.pid
  const all = tasksOf(facts)
  const markerTask = all.find(task => task.pid === markerPid)!
  const used = new Set<string>()
  const derive = (task: TraceTask, isThread: boolean): DerivedTask => {
    const name = uniqueName(task.comm, used)
    const exit = facts.find(fact => fact.kind === 'exit' && fact.pid === task.pid)
    return {
      pid: task.pid, name, isThread, cpu: homeOf(inside, task.pid) ?? homeOf(facts, task.pid) ?? 0,
      firstLine: task.firstLine, exitLine: exit?.record.line ?? Infinity,
    }
  }
  const marker = derive(markerTask, true)
  const kinds = new Kinds(facts, markerTask)
  const others: DerivedTask[] = []
  for (const task of all) {
    if (task.pid === markerPid || !isCandidate(task)) continue
    const kind = kinds.of(task)
    if (kind !== undefined) others.push(derive(task, kind === 'thread'))
  }
  return { marker, others }
}

/** What a task is to the marker; undefined: nothing. */
class Kinds {
  readonly #marker: TraceTask
  readonly #tgids = new Map<number, number>()
  readonly #flushed = new Set<number>()
  readonly #children = new Set<number>()
  readonly #groupDead = new Map<number, boolean>()
  /** Tasks next to the marker on a CPU, with or without another address space. */
  readonly #neighbours = new Map<number, boolean>()

  constructor(facts: readonly Fact[], marker: TraceTask) {
    this.#marker = marker
    for (const [index, fact] of facts.entries()) {
      const { kind, pid, record, request } = fact
      if (record.tgid !== undefined) this.#tgids.set(pid, record.tgid)
      if (kind === 'flush' && request?.pid === marker.pid && pid !== marker.pid && record.fields['reason_id'] === '1') {
        this.#flushed.add(pid)
      }
      if (kind === 'fork' && pid === marker.pid) this.#children.add(Number(record.fields['child_pid']))
      if (kind === 'exit') this.#groupDead.set(pid, /true|1/.test(record.fields['group_dead'] ?? ''))
      if (kind === 'switch') this.#neighbour(facts, index)
    }
  }

  of(task: TraceTask): 'thread' | 'process' | undefined {
    const { pid } = task
    const [own, group] = [this.#tgids.get(pid), this.#tgids.get(this.#marker.pid)]
    if (own !== undefined && group !== undefined) {
      if (own === group) return 'thread'
      return this.#children.has(pid) || this.#hasName(task) ? 'process' : undefined
    }
    if (this.#flushed.has(pid)) return 'thread'
    if (!this.#hasName(task) && !this.#children.has(pid)) return undefined
    // The last thread of a group says that the group is dead; two of them are two groups.
    const [dead, markerDead] = [this.#groupDead.get(pid), this.#groupDead.get(this.#marker.pid)]
    if (dead === false) return 'thread'
    const isOther = this.#neighbours.get(pid)
    if (isOther !== undefined) return isOther ? 'process' : 'thread'
    if (markerDead === false) return 'thread'
    return (dead === true && markerDead === true) || this.#children.has(pid) ? 'process' : 'thread'
  }

  /** A forked or cloned task has the name of its parent until it takes another, often one with the same beginning. */
  #hasName({ comm, otherNames }: TraceTask): boolean {
    const names = new Set([this.#marker.comm, ...this.#marker.otherNames])
    const prefix = /^.*?[_\-/. ]|^.{4}/.exec(this.#marker.comm)?.[0] ?? this.#marker.comm
    return [comm, ...otherNames].some(name => names.has(name) || name.startsWith(prefix))
  }

  #neighbour(facts: readonly Fact[], index: number): void {
    const { cpu, pid, record } = facts[index]!
    const next = Number(record.fields['next_pid'])
    const other = pid === this.#marker.pid ? next : next === this.#marker.pid ? pid : 0
    if (other === 0) return
    const after = facts.slice(index + 1, index + 8).find(fact => fact.cpu === cpu)
    const changes = after?.kind === 'flush' && after.record.fields['reason_id'] === '0'
    this.#neighbours.set(other, changes || (this.#neighbours.get(other) ?? false))
  }
}

/** Where a task is seen most. */
function homeOf(facts: readonly Fact[], pid: number): number | undefined {
  const counts = new Map<number, number>()
  for (const fact of facts) if (fact.pid === pid) counts.set(fact.cpu, (counts.get(fact.cpu) ?? 0) + 1)
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0]
}

/** A task name that is not used yet, as a scenario may have it. */
export function uniqueName(comm: string, used: Set<string>): string {
  const base = commOf(comm.trim()) || 'task'
  let name = base
  for (let i = 2; used.has(name); i++) name = `${base.slice(0, 12)}.${i}`
  used.add(name)
  return name
}
