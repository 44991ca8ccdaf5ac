// A capture as a schedule: which task had which CPU from when on. sched_switch says so, and every other
// line says it again in its prefix: where the two do not agree, a switch is missing from the capture
// (the machine of the real captures does not show what idle tasks do), and it is put where the prefix
// first shows another task.
//
// A kernel thread is known by its name, by a pattern that the user gives, by sleeping in state I or by
// priority 0. Threads that share an address space are known by the tgid column, by what the user
// gives, by an exit that leaves its group alive, by a remote flush that reaches them, or by a switch
// between them that changes no address space.

import type { CapturedSchedule } from '../scenario/scenario.js'
import { factsOf } from '../trace/capture-facts.js'
import type { Fact } from '../trace/capture-facts.js'
import { ANONYMOUS_COMM, ANONYMOUS_PID, isKernelComm } from '../trace/capture-roles.js'
import type { FtraceCapture } from '../trace/ftrace-parse.js'
import { uniqueName } from './derive-tasks.js'

export interface ScheduleTask {
  /** Unique, and fit for a scenario. */
  name: string
  pid: number
  isKernelThread: boolean
  /** Tasks with the same number share an address space; kernel threads have none. */
  group: number
}

export interface ReadSchedule {
  schedule: CapturedSchedule
  tasks: readonly ScheduleTask[]
  /** Switches that the capture shows, and those that had to be inferred, by CPU. */
  switches: readonly number[]
  inferred: readonly number[]
  notes: readonly string[]
}

export interface ScheduleOptions {
  /** Comms of kernel threads, besides those that are known. */
  kthreads?: RegExp
  /** Comms of tasks that share an address space, one list a process. */
  threads?: readonly (readonly string[])[]
}

/** How long the last task goes on behind the last line: long enough to come to its turn. */
const LAST_TURN_US = 10

type Turn = CapturedSchedule['turns'][number]

/** Reads who ran where. A capture without any switch and task still gives idle CPUs. */
export function readSchedule(capture: FtraceCapture, options: ScheduleOptions = {}): ReadSchedule {
  return new ScheduleReader(capture, options).read()
}

class ScheduleReader {
  readonly #capture: FtraceCapture
  readonly #options: ScheduleOptions
  readonly #facts: readonly Fact[]
  readonly #tasks = new Map<string, ScheduleTask & { names: Map<string, number>; tgid: number | undefined }>()
  readonly #switches: number[]
  readonly #inferred: number[]

  constructor(capture: FtraceCapture, options: ScheduleOptions) {
    this.#capture = capture
    this.#options = options
    this.#facts = factsOf(capture.records)
    this.#switches = Array.from({ length: capture.cpus }, () => 0)
    this.#inferred = Array.from({ length: capture.cpus }, () => 0)
  }

  read(): ReadSchedule {
    const drafts = this.#turns()
    this.#nameTasks()
    this.#group()
    const nameOf = (key: string): string => this.#tasks.get(key)?.name ?? ''
    const turns = drafts.map(({ cpu, timeUs, task, before, beforeSleeps, exits }): Turn =>
      ({ cpu, timeUs, task: nameOf(task), before: nameOf(before), beforeSleeps, exits }))
    const tasks = [...this.#tasks.values()].map(({ name, pid, isKernelThread, group }) =>
      ({ name, pid, isKernelThread, group }))
    const first = this.#capture.records[0]!.timeUs
    const durationUs = this.#capture.records.at(-1)!.timeUs - first + LAST_TURN_US
    return {
      schedule: {
        file: this.#capture.file, cpus: this.#capture.cpus, durationUs, tasks: tasks.map(({ name }) => name), turns,
      },
      tasks, switches: this.#switches, inferred: this.#inferred, notes: this.#notes(),
    }
  }

  /** Turns with keys of tasks in place of names. */
  #turns(): Turn[] {
    const turns: Turn[] = []
    const current: (string | undefined)[] = []
    /** The task that the last switch of a CPU left: its name still stands before the flush of that switch. */
    const left: (string | undefined)[] = []
    const startUs = this.#capture.records[0]!.timeUs
    for (const { cpu, pid, record, kind } of this.#facts) {
      const timeUs = record.timeUs - startUs
      const here = this.#see(pid, record.comm, cpu, record.tgid)
      const before = current[cpu]
      if (kind === 'flush' && record.fields['reason_id'] === '0' && here === left[cpu]) continue
      left[cpu] = undefined
      if (before !== here) {
        // The task of the first line had its CPU from the beginning.
        if (before !== undefined) this.#inferred[cpu]! += 1
        turns.push({
          cpu, timeUs: before === undefined ? 0 : timeUs, task: here, before: before ?? '', beforeSleeps: true,
          exits: false,
        })
      }
      current[cpu] = here
      if (kind === 'exit') turns.push({ cpu, timeUs, task: here, before: '', beforeSleeps: false, exits: true })
      if (kind !== 'switch') continue
      const state = record.fields['prev_state']!
      if (state.startsWith('I')) this.#markKernel(here)
      const next = this.#see(Number(record.fields['next_pid']), record.fields['next_comm']!, cpu, undefined)
      if (record.fields['next_prio'] === '0' || Number(record.fields['next_prio']) < 0) this.#markKernel(next)
      this.#switches[cpu]! += 1
      turns.push({ cpu, timeUs, task: next, before: here, beforeSleeps: !state.startsWith('R'), exits: false })
      current[cpu] = next
      left[cpu] = here
    }
    // What was inferred for the beginning may stand behind turns of other CPUs.
    return turns.sort((a, b) => a.timeUs - b.timeUs)
  }

  /** The key of a task; '' is idle. Anonymous tasks are told apart by their CPU. */
  #see(pid: number, comm: string, cpu: number, tgid: number | undefined): string {
    if (pid <= 0) return ''
    const isAnonymous = pid === ANONYMOUS_PID && comm === ANONYMOUS_COMM
    const key = isAnonymous ? `${pid}.${cpu}` : String(pid)
    let task = this.#tasks.get(key)
    if (task === undefined) {
      task = { name: '', pid, isKernelThread: false, group: this.#tasks.size, names: new Map(), tgid }
      this.#tasks.set(key, task)
    }
    task.tgid ??= tgid
    task.names.set(comm, (task.names.get(comm) ?? 0) + 1)
    return key
  }

  #markKernel(key: string): void {
    const task = this.#tasks.get(key)
    if (task !== undefined) task.isKernelThread = true
  }

  #nameTasks(): void {
    const used = new Set<string>()
    for (const task of this.#tasks.values()) {
      const comm = [...task.names].sort((a, b) => b[1] - a[1])[0]![0]
      task.name = uniqueName(comm, used)
      if (isKernelComm(comm) || this.#options.kthreads?.test(comm) === true) task.isKernelThread = true
    }
  }

  /** Joins tasks that share an address space. */
  #group(): void {
    const all = [...this.#tasks.values()]
    const join = (a: string | undefined, b: string | undefined): void => {
      const [one, other] = [this.#tasks.get(a ?? ''), this.#tasks.get(b ?? '')]
      if (one === undefined || other === undefined || one.group === other.group) return
      if (one.isKernelThread || other.isKernelThread) return
      const from = other.group
      for (const task of all) if (task.group === from) task.group = one.group
    }
    const keyOf = new Map(all.map((task, index) => [task, [...this.#tasks.keys()][index]!]))
    for (const comms of this.#options.threads ?? []) {
      const members = all.filter(task => comms.includes(task.name) || comms.some(comm => task.names.has(comm)))
      for (const task of members) join(keyOf.get(members[0]!), keyOf.get(task))
    }
    const leaders = new Map<number, string>()
    for (const task of all) {
      if (task.tgid === undefined) continue
      const leader = leaders.get(task.tgid)
      if (leader === undefined) leaders.set(task.tgid, keyOf.get(task)!)
      else join(leader, keyOf.get(task))
    }
    if (this.#capture.hasTgid) return
    this.#groupByFlushes(join)
  }

  #groupByFlushes(join: (a: string | undefined, b: string | undefined) => void): void {
    const hasFlushes = this.#facts.some(({ kind }) => kind === 'flush')
    if (!hasFlushes) return
    for (const [index, { kind, pid, cpu, record, request }] of this.#facts.entries()) {
      // A remote shootdown reaches only CPUs that run the same address space.
      if (kind === 'flush' && record.fields['reason_id'] === '1' && request !== undefined && pid > 0) {
        join(String(request.pid), String(pid))
      }
      if (kind !== 'switch' || pid === 0) continue
      const next = Number(record.fields['next_pid'])
      if (next <= 0 || next === pid) continue
      const after = this.#facts.slice(index + 1, index + 10).find(fact => fact.cpu === cpu)
      const changes = after?.kind === 'flush' && after.record.fields['reason_id'] === '0'
      if (after !== undefined && !changes) join(String(pid), String(next))
    }
  }

  #notes(): string[] {
    const notes = this.#capture.notes.map(({ line, text }) => `line ${line}: ${text}`)
    for (const [cpu, count] of this.#inferred.entries()) {
      if (count === 0) continue
      notes.push(`${count} ${count === 1 ? 'switch' : 'switches'} of CPU ${cpu} ${count === 1 ? 'is' : 'are'} missing `
        + 'from the capture, inferred from the tasks of other events')
    }
    return notes
  }
}
