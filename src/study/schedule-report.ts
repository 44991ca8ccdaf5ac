// What the TLBs did while a captured schedule was replayed, from the trace of the run alone: per CPU
// switches, lazy periods, slots found fresh or flushed; per task its runs and what its switches cost.

import { EVENT, TLB_FLUSH_ON_TASK_SWITCH } from '../trace/events.js'
import { eventAt } from '../trace/recorder.js'
import type { TraceData } from '../trace/recorder.js'
import type { FtraceCapture } from '../trace/ftrace-parse.js'

export interface CpuReport {
  cpu: number
  switches: number
  /** Times that a kernel thread or idle kept a user address space, and cycles in which it did. */
  lazyPeriods: number
  lazyCycles: number
  /** Flushes at switches that found a slot fresh (0 pages), and those that emptied it (-1). */
  slotsFresh: number
  slotsFlushed: number
  otherFlushes: number
  interrupts: number
}

export interface TaskReport {
  comm: string
  pid: number
  runs: number
  cycles: number
  cpus: number
  migrations: number
  slotsFresh: number
  slotsFlushed: number
  pageFaults: number
}

export interface ScheduleReport {
  cpus: readonly CpuReport[]
  tasks: readonly TaskReport[]
}

export function scheduleReport(trace: TraceData, cpuCount: number): ScheduleReport {
  return new Reporter(cpuCount).report(trace)
}

/** Flushes at switches that a capture shows, by CPU: with 0 and with -1 pages. */
export function capturedSwitchFlushes(capture: FtraceCapture): { fresh: number; flushed: number }[] {
  const counts = Array.from({ length: capture.cpus }, () => ({ fresh: 0, flushed: 0 }))
  for (const { event, cpu, fields } of capture.records) {
    if (event !== 'tlb_flush' || Number(fields['reason_id']) !== TLB_FLUSH_ON_TASK_SWITCH) continue
    counts[cpu]![fields['pages'] === '0' ? 'fresh' : 'flushed'] += 1
  }
  return counts
}

class Reporter {
  readonly #cpus: CpuReport[]
  readonly #tasks = new Map<number, TaskReport & { where: Set<number> }>()
  readonly #lazySince: (number | undefined)[] = []
  /** Who runs on each CPU, and since when. */
  readonly #running: ({ pid: number; since: number } | undefined)[] = []

  constructor(cpuCount: number) {
    this.#cpus = Array.from({ length: cpuCount }, (_, cpu): CpuReport => ({
      cpu, switches: 0, lazyPeriods: 0, lazyCycles: 0, slotsFresh: 0, slotsFlushed: 0, otherFlushes: 0, interrupts: 0,
    }))
  }

  report(trace: TraceData): ScheduleReport {
    for (let i = 0; i < trace.length; i++) this.#event(trace, i)
    const end = trace.length === 0 ? 0 : trace.cycle[trace.length - 1]!
    for (const [cpu, since] of this.#lazySince.entries()) {
      if (since !== undefined) this.#cpus[cpu]!.lazyCycles += end - since
    }
    const tasks = [...this.#tasks.values()].map(({ where, ...task }): TaskReport => {
      task.cpus = where.size
      return task
    })
    return { cpus: this.#cpus, tasks: tasks.sort((a, b) => a.pid - b.pid) }
  }

  #event(trace: TraceData, i: number): void {
    const cpu = trace.cpu[i]!
    const cycle = trace.cycle[i]!
    const row = this.#cpus[cpu]!
    switch (trace.kind[i]) {
      case EVENT.schedSwitch: return this.#switch(trace, i, row)
      case EVENT.schedMigrateTask: {
        const event = eventAt(trace, i)
        if (event.name === 'sched_migrate_task') this.#task(event.fields.pid, event.fields.comm).migrations += 1
        return
      }
      case EVENT.enterLazyTlb:
        row.lazyPeriods += 1
        this.#lazySince[cpu] ??= cycle
        return
      case EVENT.switchMm:
      case EVENT.leaveMm: return this.#endLazy(cpu, cycle)
      case EVENT.tlbFlush: return this.#flush(trace, i, row)
      case EVENT.callFunctionEntry:
      case EVENT.callFunctionSingleEntry:
        row.interrupts += 1
        return
      case EVENT.pageFaultUser:
        this.#task(trace.pid[i]!, trace.strings[trace.comm[i]!]!).pageFaults += 1
    }
  }

  #switch(trace: TraceData, i: number, row: CpuReport): void {
    const event = eventAt(trace, i)
    if (event.name !== 'sched_switch') return
    const { cpu, cycle, fields: { nextPid, nextComm } } = event
    row.switches += 1
    const running = this.#running[cpu]
    if (running !== undefined && running.pid > 0) this.#tasks.get(running.pid)!.cycles += cycle - running.since
    this.#running[cpu] = { pid: nextPid, since: cycle }
    if (nextPid <= 0) return
    const task = this.#task(nextPid, nextComm)
    task.runs += 1
    task.where.add(cpu)
  }

  /** A flush at a switch belongs to the task that is switched to. */
  #flush(trace: TraceData, i: number, row: CpuReport): void {
    const [pages, reason] = [trace.words[0]![i]!, trace.words[1]![i]!]
    if (reason !== TLB_FLUSH_ON_TASK_SWITCH) {
      row.otherFlushes += 1
      return
    }
    const key = pages === 0 ? 'slotsFresh' : 'slotsFlushed'
    row[key] += 1
    const task = this.#tasks.get(this.#running[row.cpu]?.pid ?? 0)
    if (task !== undefined) task[key] += 1
  }

  #endLazy(cpu: number, cycle: number): void {
    const since = this.#lazySince[cpu]
    if (since !== undefined) this.#cpus[cpu]!.lazyCycles += cycle - since
    this.#lazySince[cpu] = undefined
  }

  #task(pid: number, comm: string): TaskReport & { where: Set<number> } {
    let task = this.#tasks.get(pid)
    if (task === undefined) {
      task = {
        comm, pid, runs: 0, cycles: 0, cpus: 0, migrations: 0, slotsFresh: 0, slotsFlushed: 0, pageFaults: 0,
        where: new Set(),
      }
      this.#tasks.set(pid, task)
    }
    return task
  }
}
