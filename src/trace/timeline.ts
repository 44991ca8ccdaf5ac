// A trace as what a timeline viewer draws: slices that begin and end on tracks, instants, arrows between
// them, and the number of interrupts on their way. Perfetto and Chrome exports are two spellings of it.
//
//   track     one for    slices
//   running   a CPU      the task that runs
//   kernel    a CPU      flush requests, interrupt handlers, time that a host took away; IPIs as instants
//   lazy      a CPU      stretches in which an mm stays loaded that nobody uses
//   task      a task     system calls, with faults, mapped pages and markers as instants
//
// Slices of a track nest. A page fault is an instant, because a trace does not say where its handler ends;
// a lazy stretch ends with the next switch of tasks, and begins again when that led to a kernel task.

import { fail } from '../base/assert.js'
import { EVENT, EVENTS } from './events.js'
import { IpiFlows, NO_FLOW } from './ipi-flows.js'
import type { FlowStep } from './ipi-flows.js'
import type { TraceData } from './recorder.js'

export const TRACKS = ['running', 'kernel', 'lazy', 'task'] as const
export type TrackName = (typeof TRACKS)[number]

export interface TimelineItem {
  readonly type: 'begin' | 'end' | 'instant'
  readonly track: TrackName
  /** Whose track: a CPU, or for `task` a pid. */
  readonly owner: number
  readonly name: string
  /** The fields of the event are facts about this item: to be shown as its arguments. */
  readonly hasFields: boolean
  /** Flows that begin or go on here, and those that end here (ipi-flows.ts). */
  readonly flows: readonly number[]
  readonly endingFlows: readonly number[]
}

/** Interrupts on their way to a CPU, from an event on. */
export interface PendingCount {
  readonly cpu: number
  readonly count: number
}

const FLUSH = 'flush'
const AWAY = 'taken by the host'

/** Facts about a task rather than about a CPU. */
const OF_TASK: ReadonlySet<number> = new Set([
  EVENT.pageFaultUser, EVENT.pageFaultKernel, EVENT.tracingMarkWrite, EVENT.pageMap, EVENT.loadMismatch, EVENT.signal,
  EVENT.signalGenerate, EVENT.oom, EVENT.schedProcessFork, EVENT.schedProcessExec, EVENT.schedProcessExit,
])
/** Drawn by other means: as slices of running tasks, or by the viewer itself. */
const NOT_DRAWN: ReadonlySet<number> = new Set([
  EVENT.schedWakeup, EVENT.schedWakeupNew, EVENT.schedMigrateTask,
])
/** Handlers by the kind of their entry and of their exit: the name of the slice. */
const HANDLER_ENTRY = new Map<number, string>(EVENTS.filter((row) => 'vector' in row && row.name.endsWith('_entry'))
  .map((row) => [row.id, row.name.slice(0, -'_entry'.length)]))
const HANDLER_EXIT = new Map<number, string>(EVENTS.filter((row) => 'vector' in row && row.name.endsWith('_exit'))
  .map((row) => [row.id, row.name.slice(0, -'_exit'.length)]))

/** Reads a trace from its first record to its last. */
export class Timeline {
  /** Where the record taken last has changed the number of pending interrupts. */
  pending: readonly PendingCount[] = []
  readonly #data: TraceData
  readonly #flows: IpiFlows
  /** Names of the open slices of each track, by owner, innermost last. */
  readonly #open: Readonly<Record<TrackName, Map<number, string[]>>> =
    { running: new Map(), kernel: new Map(), lazy: new Map(), task: new Map() }
  #items: TimelineItem[] = []

  constructor(data: TraceData) {
    this.#data = data
    this.#flows = new IpiFlows(data)
  }

  /** What record `i` draws. Records in their order, each once. */
  take(i: number): readonly TimelineItem[] {
    const step = this.#flows.take(i)
    const { changed } = this.#flows
    this.pending = changed.length === 0 ? [] : changed.map((cpu) => ({ cpu, count: this.#flows.pending(cpu) }))
    this.#items = []
    if (!this.#span(i, step)) this.#instant(i, step)
    return this.#items
  }

  /** Begins and ends slices. True: record `i` is nothing else. */
  #span(i: number, step: FlowStep): boolean {
    const { words, strings } = this.#data
    const [kind, cpu, pid] = [this.#data.kind[i]!, this.#data.cpu[i]!, this.#data.pid[i]!]
    const [a, b, c] = [words[0]![i]!, words[1]![i]!, words[2]![i]!]
    const entered = HANDLER_ENTRY.get(kind)
    if (entered !== undefined) {
      this.#begin('kernel', cpu, entered, step)
      return true
    }
    const left = HANDLER_EXIT.get(kind)
    if (left !== undefined) {
      this.#end('kernel', cpu, left)
      return true
    }
    switch (kind) {
      case EVENT.schedSwitch:
        this.#endAll('running', cpu)
        this.#endAll('lazy', cpu)
        if (strings[a] === 'Z') this.#endAll('task', pid)
        if (c !== 0) this.#begin('running', cpu, strings[b] ?? '')
        return true
      case EVENT.sysEnter:
        this.#begin('task', pid, strings[a] ?? '')
        return true
      case EVENT.sysExit:
        this.#end('task', pid, strings[a] ?? '', true)
        return true
      case EVENT.flushBegin:
        this.#begin('kernel', cpu, FLUSH)
        return true
      case EVENT.flushDone:
        this.#add('instant', 'kernel', cpu, EVENTS[kind].name, true, step)
        this.#end('kernel', cpu, FLUSH)
        return true
      case EVENT.vcpuPreempt:
        this.#begin('kernel', cpu, AWAY)
        return true
      case EVENT.vcpuResume:
        this.#end('kernel', cpu, AWAY, true)
        return true
      case EVENT.enterLazyTlb:
        this.#endAll('lazy', cpu)
        this.#begin('lazy', cpu, `mm ${a}`)
        return true
      case EVENT.leaveMm:
      case EVENT.switchMm:
        this.#endAll('lazy', cpu)
        return false
      case EVENT.schedProcessExec:
        this.#moveCall(b, pid)
        return false
      default:
        return false
    }
  }

  #instant(i: number, step: FlowStep): void {
    const kind = this.#data.kind[i]!
    const pid = this.#data.pid[i]!
    const row = EVENTS[kind]
    if (row === undefined) fail(`trace record ${i} has the unknown kind ${kind}`)
    if (NOT_DRAWN.has(kind)) return
    if (OF_TASK.has(kind) && pid !== 0) this.#add('instant', 'task', pid, row.name, true, step)
    else this.#add('instant', 'kernel', this.#data.cpu[i]!, row.name, true, step)
  }

  /** A thread that was not the leader goes on under the leader's pid, and so does its system call. */
  #moveCall(oldPid: number, pid: number): void {
    const call = this.#open.task.get(oldPid)?.[0]
    if (call === undefined || oldPid === pid) return
    this.#endAll('task', oldPid)
    this.#endAll('task', pid)
    this.#begin('task', pid, call)
  }

  #begin(track: TrackName, owner: number, name: string, step: FlowStep = NO_FLOW): void {
    const open = this.#open[track].get(owner)
    if (open === undefined) this.#open[track].set(owner, [name])
    else open.push(name)
    this.#add('begin', track, owner, name, true, step)
  }

  /** Ends the innermost slice of this name, and what is still open inside of it. */
  #end(track: TrackName, owner: number, name: string, hasFields = false): void {
    const open = this.#open[track].get(owner)
    const depth = open?.lastIndexOf(name) ?? -1
    if (depth >= 0) this.#endTo(track, owner, open!, depth, hasFields)
  }

  #endAll(track: TrackName, owner: number): void {
    const open = this.#open[track].get(owner)
    if (open !== undefined) this.#endTo(track, owner, open, 0, false)
  }

  #endTo(track: TrackName, owner: number, open: string[], depth: number, hasFields: boolean): void {
    while (open.length > depth) {
      const name = open.pop()!
      this.#add('end', track, owner, name, hasFields && open.length === depth, NO_FLOW)
    }
  }

  #add(
    type: TimelineItem['type'], track: TrackName, owner: number, name: string, hasFields: boolean, step: FlowStep,
  ): void {
    this.#items.push({ type, track, owner, name, hasFields, flows: step.through, endingFlows: step.ending })
  }
}
