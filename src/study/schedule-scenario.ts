// The scenario that replays a captured schedule: every task of the capture with a program that never
// ends by itself, in address spaces as the capture tells them apart. Who runs when is in `schedule:`.
//
// Simplified: every task of the capture is there from the beginning with an empty address space of its
// process; forked children share nothing copy-on-write, and what tasks really touched is not known.

import { stringify } from 'yaml'
import { UserError } from '../base/errors.js'
import type { FtraceCapture } from '../trace/ftrace-parse.js'
import { loadCapture } from './capture-file.js'
import type { CapturedSchedule } from '../scenario/scenario.js'
import type { ReadSchedule, ScheduleTask } from './captured-schedule.js'
import { readSchedule } from './captured-schedule.js'

export interface ScheduleScenarioOptions {
  /** Pages that a user task writes again and again while it runs; 0: it touches no memory. */
  workingSetPages: number
  stretch: number
  era: string
  policy?: string
}

/** Between two passes over the working set. */
const PAUSE = '5us'
/** A kernel thread looks whether its turn is over after so many cycles. */
const KERNEL_WORK_CYCLES = 1000
const ENDLESS = 2 ** 31 - 1

/** For ScenarioOverrides: what `schedule:` names. */
export async function loadSchedule(file: string): Promise<CapturedSchedule> {
  return readSchedule(await loadSchedulingCapture(file)).schedule
}

/** A capture that says who ran. Throws UserError when it does not. */
export async function loadSchedulingCapture(file: string): Promise<FtraceCapture> {
  const capture = await loadCapture(file)
  const at = { file, line: capture.records[0]!.line, column: 1 }
  if (capture.clock === 'counts') {
    throw new UserError('the times of this capture are counts of a clock, not seconds', at,
      ['record again with "echo mono > trace_clock"'])
  }
  if (!capture.records.some(record => record.event === 'sched_switch')) {
    throw new UserError('there is no sched_switch in this capture, so it does not say who ran', at,
      ['record the events of sched:sched_switch'])
  }
  return capture
}

/** The scenario as YAML. `trace` is the path of the capture as the scenario names it. */
export function scheduleScenario(read: ReadSchedule, trace: string, options: ScheduleScenarioOptions): string {
  const users = read.tasks.filter(task => !task.isKernelThread)
  if (users.length === 0) {
    throw new UserError('there is no user task in this capture', { file: read.schedule.file, line: 1, column: 1 },
      ['kernel threads alone have no address space'])
  }
  const policy = options.policy === undefined ? {} : { policy: options.policy }
  const groups = new Map<number, ScheduleTask[]>()
  for (const task of users) groups.set(task.group, [...groups.get(task.group) ?? [], task])
  const processes = [...groups.values()].map(members => ({
    name: members[0]!.name,
    threads: members.map(task => ({ name: task.name, program: userProgram(task, users, options) })),
  }))
  const kernelThreads = read.tasks.filter(task => task.isKernelThread).map(task => ({
    name: task.name, program: [{ repeat: { times: ENDLESS, do: [{ compute: KERNEL_WORK_CYCLES }] } }],
  }))
  return stringify({
    name: 'replay-sched', question: `What do the TLBs do when tasks run as in ${trace}?`, cpus: read.schedule.cpus,
    // The schedule decides; no slice of ours ends.
    kernel: { era: options.era, ...policy, timeSlice: '100s' },
    processes, ...(kernelThreads.length === 0 ? {} : { kernelThreads }),
    schedule: { trace, ...(options.stretch === 1 ? {} : { stretch: options.stretch }) },
  }, { lineWidth: 110, aliasDuplicateObjects: false })
}

function userProgram(
  task: ScheduleTask, all: readonly ScheduleTask[], { workingSetPages }: ScheduleScenarioOptions,
): Record<string, unknown>[] {
  if (workingSetPages === 0) return [{ repeat: { times: ENDLESS, do: [{ compute: PAUSE }] } }]
  const name = `pages-${all.indexOf(task)}`
  return [
    { mmap: { name, pages: workingSetPages } },
    { repeat: { times: ENDLESS, do: [{ write: name }, { compute: PAUSE }] } },
  ]
}
