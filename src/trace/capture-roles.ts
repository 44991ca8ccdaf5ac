// Which task and which CPU of a capture is which of the simulation. Tasks correspond by what the user
// says, by name, by role (who sets the markers), and then in the order in which they appear. CPUs
// correspond where corresponding tasks ran; the rest in ascending order.
//
// Tasks of a capture that correspond to nobody are foreign: kernel threads, other programs. What they
// do is not compared, but counted.

import type { Fact } from './capture-facts.js'
import { beginMark } from './capture-marks.js'

/** A task as a trace shows it. */
export interface TraceTask {
  pid: number
  /** The name in most of its lines; a thread may rename itself. */
  comm: string
  /** Other names that it had. */
  otherNames: ReadonlySet<string>
  /** Events in its context, outside of interrupt handlers. */
  events: number
  setsMarks: boolean
  firstLine: number
}

export interface RoleMap {
  /** Simulation's name of each task of the capture that has one, by pid. */
  tasks: ReadonlyMap<number, string>
  /** Simulation's number of each CPU of the capture. */
  cpus: ReadonlyMap<number, number>
  /** One line a task that corresponds: how it was found. */
  how: readonly { pid: number; comm: string; as: string; why: string }[]
  foreign: readonly TraceTask[]
  /** Tasks of the simulation that the capture does not show. */
  missing: readonly string[]
}

/** Comms of threads of the kernel, and what anonymous captures call everybody else. */
const KERNEL_COMM = new RegExp([
  '^(kworker|ksoftirqd|migration|rcu|cpuhp|kthreadd|kswapd|kcompactd|khugepaged|ksmd|oom_reaper|irq|jbd2|idle_inject)',
  '(?:[/_.:-]|\\d|$)|^(watchdog|watchdogd|kauditd|kdevtmpfs|khungtaskd|psimon|scsi_eh|writeback|nvme|virtio)',
].join(''))
export const ANONYMOUS_COMM = 'other'
export const ANONYMOUS_PID = 99999

export function isKernelComm(comm: string): boolean {
  return KERNEL_COMM.test(comm)
}

/** The tasks of a trace in the order in which they appear, without the idle tasks. */
export function tasksOf(facts: readonly Fact[]): TraceTask[] {
  const found = new Map<number, { task: TraceTask; names: Map<string, number> }>()
  const see = (pid: number, comm: string, line: number): { task: TraceTask; names: Map<string, number> } => {
    let entry = found.get(pid)
    if (entry === undefined) {
      const task = { pid, comm, otherNames: new Set<string>(), events: 0, setsMarks: false, firstLine: line }
      found.set(pid, entry = { task, names: new Map() })
    }
    return entry
  }
  for (const fact of facts) {
    const { record, pid } = fact
    if (pid > 0) {
      const { task, names } = see(pid, record.comm, record.line)
      names.set(record.comm, (names.get(record.comm) ?? 0) + 1)
      if (!fact.isInterrupt) task.events += 1
      if (beginMark(fact) !== undefined) task.setsMarks = true
    }
    const { next_pid: next, next_comm: comm } = record.fields
    if (fact.kind === 'switch' && Number(next) > 0) {
      const { names } = see(Number(next), comm!, record.line)
      names.set(comm!, (names.get(comm!) ?? 0) + 0.5)
    }
  }
  return [...found.values()].map(({ task, names }) => {
    const [[comm] = [task.comm], ...others] = [...names].sort((a, b) => b[1] - a[1])
    const { pid, events, setsMarks, firstLine } = task
    return { pid, events, setsMarks, firstLine, comm, otherNames: new Set(others.map(([name]) => name)) }
  })
}

/** `wanted` is what the user says: a comm or pid of the capture, and a task of the simulation. */
export function matchRoles(
  real: readonly Fact[], ours: readonly Fact[], wanted: ReadonlyMap<string, string>,
  wantedCpus: ReadonlyMap<number, number>,
): RoleMap {
  const realTasks = tasksOf(real)
  const ourTasks = tasksOf(ours)
  const tasks = new Map<number, string>()
  const how: { pid: number; comm: string; as: string; why: string }[] = []
  const isTaken = (comm: string): boolean => [...tasks.values()].includes(comm)
  const pair = (task: TraceTask, as: string, why: string): void => {
    if (tasks.has(task.pid) || isTaken(as)) return
    tasks.set(task.pid, as)
    how.push({ pid: task.pid, comm: task.comm, as, why })
  }
  for (const task of realTasks) {
    const as = wanted.get(String(task.pid)) ?? wanted.get(task.comm)
    if (as !== undefined) pair(task, as, 'as given')
  }
  for (const other of ourTasks) {
    const same = realTasks.filter(task => task.comm === other.comm && !tasks.has(task.pid))
    if (same.length > 0) pair(same.find(task => task.setsMarks) ?? same[0]!, other.comm, 'same name')
  }
  const marker = realTasks.find(task => task.setsMarks)
  const ourMarker = ourTasks.find(task => task.setsMarks)
  if (marker !== undefined && ourMarker !== undefined) pair(marker, ourMarker.comm, 'sets the marks')
  const candidates = likely(real, realTasks.filter(task => isCandidate(task) && !tasks.has(task.pid)), marker)
  for (const other of ourTasks) {
    if (isTaken(other.comm)) continue
    const next = candidates.shift()
    if (next !== undefined) pair(next, other.comm, 'order of appearance')
  }
  return {
    tasks, how, cpus: matchCpus(real, ours, tasks, wantedCpus),
    foreign: realTasks.filter(task => !tasks.has(task.pid)),
    missing: ourTasks.filter(task => !isTaken(task.comm)).map(task => task.comm),
  }
}

/** Those of which something says that they belong to the task that sets the markers; without such signs all of them. */
function likely(facts: readonly Fact[], candidates: readonly TraceTask[], marker: TraceTask | undefined): TraceTask[] {
  if (marker === undefined) return [...candidates]
  const tgidOf = (pid: number): number | undefined => facts.find(fact => fact.pid === pid)?.record.tgid
  const group = tgidOf(marker.pid)
  const names = new Set([marker.comm, ...marker.otherNames])
  const related = new Set<number>()
  for (const { kind, pid, request, record } of facts) {
    // Interrupted for a flush of its own address space.
    if (kind === 'flush' && request?.pid === marker.pid && record.fields['reason_id'] === '1') related.add(pid)
    if (kind === 'fork' && pid === marker.pid) related.add(Number(record.fields['child_pid']))
  }
  const belongs = candidates.filter(({ pid, comm, otherNames }) => related.has(pid)
    || (group !== undefined && tgidOf(pid) === group)
    || [comm, ...otherNames].some(name => names.has(name) || name.slice(0, 4) === marker.comm.slice(0, 4)))
  return belongs.length > 0 ? belongs : [...candidates]
}

/** May it be a task of the program that was captured? */
export function isCandidate({ comm, pid }: Pick<TraceTask, 'comm' | 'pid'>): boolean {
  return pid > 0 && !isKernelComm(comm) && !(comm === ANONYMOUS_COMM && pid === ANONYMOUS_PID)
}

function matchCpus(
  real: readonly Fact[], ours: readonly Fact[], tasks: ReadonlyMap<number, string>,
  wanted: ReadonlyMap<number, number>,
): ReadonlyMap<number, number> {
  const cpus = new Map(wanted)
  const realHome = homes(real, fact => tasks.get(fact.pid))
  const ourHome = homes(ours, fact => fact.record.comm)
  for (const [comm, cpu] of realHome) {
    const target = ourHome.get(comm)
    if (target !== undefined && !cpus.has(cpu) && ![...cpus.values()].includes(target)) cpus.set(cpu, target)
  }
  const left = (facts: readonly Fact[], taken: Iterable<number>): number[] => {
    const known = new Set(taken)
    const seen = new Set(facts.flatMap(fact => [fact.cpu, ...fact.targets]))
    return [...seen].filter(cpu => !known.has(cpu)).sort((a, b) => a - b)
  }
  const free = left(ours, cpus.values())
  for (const cpu of left(real, cpus.keys())) {
    const same = free.indexOf(cpu)
    const target = same >= 0 ? free.splice(same, 1)[0] : free.shift()
    cpus.set(cpu, target ?? unused(cpus, cpu))
  }
  return cpus
}

/** Where each named task did most, interrupt handlers included. */
function homes(facts: readonly Fact[], nameOf: (fact: Fact) => string | undefined): Map<string, number> {
  const counts = new Map<string, Map<number, number>>()
  for (const fact of facts) {
    const name = fact.pid > 0 ? nameOf(fact) : undefined
    if (name === undefined) continue
    const byCpu = counts.get(name) ?? new Map<number, number>()
    counts.set(name, byCpu)
    byCpu.set(fact.cpu, (byCpu.get(fact.cpu) ?? 0) + 1)
  }
  return new Map([...counts].map(([name, byCpu]) => [name, [...byCpu].sort((a, b) => b[1] - a[1])[0]![0]]))
}

function unused(cpus: ReadonlyMap<number, number>, wish: number): number {
  const taken = new Set(cpus.values())
  let cpu = wish
  while (taken.has(cpu)) cpu += 1
  return cpu
}
