// `shootdown replay-sched CAPTURE`: tasks run where and when a captured schedule says, and the report
// says what the TLBs did: switches, lazy periods, slots, flushes, and what came to which task.

import { resolve } from 'node:path'
import { Command, InvalidArgumentError, Option } from 'commander'
import { writeFileAtomic } from '../base/atomic-file.js'
import { UserError } from '../base/errors.js'
import { tableLines } from '../base/table.js'
import { ENGINES } from '../engine/scheduler-loop.js'
import type { EngineName } from '../engine/scheduler-loop.js'
import { simulate } from '../engine/simulate.js'
import type { RunResult } from '../engine/result.js'
import { KERNEL_ERAS } from '../kernel/config.js'
import type { KernelEra } from '../kernel/config.js'
import { POLICY_NAMES } from '../kernel/policies.js'
import { parseScenario } from '../scenario/parse.js'
import type { Scenario } from '../scenario/scenario.js'
import { loadTrace } from '../scenario/trace-file.js'
import { readSchedule } from '../study/captured-schedule.js'
import type { ReadSchedule } from '../study/captured-schedule.js'
import { capturedSwitchFlushes, scheduleReport } from '../study/schedule-report.js'
import type { ScheduleReport } from '../study/schedule-report.js'
import { loadSchedule, loadSchedulingCapture, scheduleScenario } from '../study/schedule-scenario.js'
import { interruptible } from './interrupt.js'
import { openTraceTarget, traceHeaderOf } from './run-trace.js'
import { grouped, microseconds } from './text-table.js'

const DEFAULT_WORKING_SET = 16
const MAX_WORKING_SET = 4096

interface Flags {
  kthreads?: RegExp
  threads: readonly (readonly string[])[]
  workingSet: number
  stretch: number
  engine: EngineName
  era: KernelEra
  policy?: string
  check?: boolean
  json?: boolean
  trace?: string
  saveScenario?: string
}

/** The sub-command, to be added to the program. */
export function replaySchedCommand(): Command {
  return new Command('replay-sched')
    .description('run tasks where and when a captured schedule says, and show what the TLBs did')
    .argument('<capture>', 'ftrace text with sched_switch; plain, gzip or xz')
    .option('--kthreads <pattern>', 'tasks with such names are kernel threads, besides those that are known', pattern)
    .option('--threads <names>', 'tasks that share an address space, as a,b,c; may be repeated', names, [])
    .option('--working-set <pages>', 'pages that each user task writes while it runs',
      number(0, MAX_WORKING_SET), DEFAULT_WORKING_SET)
    .option('--stretch <factor>', 'make the captured time so many times longer', factor, 1)
    .addOption(new Option('--engine <name>', 'engine that runs it').choices(ENGINES).default('inline'))
    .addOption(new Option('--era <name>', 'whose kernel').choices(KERNEL_ERAS).default('linux-6.x'))
    .addOption(new Option('--policy <name>', 'shootdown policy').choices(POLICY_NAMES))
    .option('--check', 'check the invariants after every step (slow)')
    .option('--trace <file>', 'write the trace of the run, as "run --trace" does')
    .option('--save-scenario <file>', 'write the scenario that is run, to read or to change')
    .option('--json', 'print one JSON object')
    .addHelpText('after', `
A scenario can do the same with its key "schedule". More: docs/compare.md.

Examples:
  shootdown replay-sched scenarios/captures/example.ftrace
  shootdown replay-sched capture.ftrace --policy eager --working-set 64
  shootdown replay-sched capture.ftrace --threads worker1,worker2 --trace out.trace`)
    .action(runReplay)
}

async function runReplay(file: string, flags: Flags): Promise<void> {
  await interruptible(() => `while replaying ${file}`, async ({ signal }) => {
    const target = flags.trace === undefined ? undefined : openTraceTarget(flags.trace)
    const capture = await loadSchedulingCapture(file)
    const read = readSchedule(capture, {
      threads: flags.threads, ...(flags.kthreads === undefined ? {} : { kthreads: flags.kthreads }),
    })
    const yaml = scheduleScenario(read, resolve(file), {
      workingSetPages: flags.workingSet, stretch: flags.stretch, era: flags.era,
      ...(flags.policy === undefined ? {} : { policy: flags.policy }),
    })
    if (flags.saveScenario !== undefined) writeFileAtomic(flags.saveScenario, write => write(yaml))
    const scenario = await parseScenario(yaml, 'the schedule', { loadSchedule }, loadTrace)
    const { result } = await simulate(scenario.config, scenario.image, {
      engine: flags.engine, check: flags.check ?? false, samples: target?.format.wantsSamples ?? false, signal,
    })
    if (result.end === 'stalled') throw new UserError('the replay stalls', undefined, result.stall)
    await target?.save({ data: result.trace, header: traceHeaderOf(scenario.config), samples: result.samples }, signal)
    const report = scheduleReport(result.trace, scenario.config.machine.cpus)
    const captured = capturedSwitchFlushes(capture)
    process.stdout.write(flags.json
      ? `${JSON.stringify(jsonOf(file, read, report, result, captured), undefined, 2)}\n`
      : reportText(file, flags, read, report, { scenario, result, captured }))
  })
}

interface Outcome {
  scenario: Scenario
  result: RunResult
  captured: ReturnType<typeof capturedSwitchFlushes>
}

function reportText(file: string, flags: Flags, read: ReadSchedule, report: ScheduleReport, outcome: Outcome): string {
  const { scenario: { config }, result } = outcome
  const ghz = config.machine.costs.frequencyGhz
  const { schedule, tasks } = read
  const total = (counts: readonly number[]): number => counts.reduce((sum, count) => sum + count, 0)
  const kernelThreads = tasks.filter(task => task.isKernelThread).length
  const spaces = new Set(tasks.filter(task => !task.isKernelThread).map(task => task.group)).size
  const { era, policy } = config.kernel
  const stretched = flags.stretch === 1 ? '' : `, stretched ${flags.stretch} times`
  const lines = [
    `capture   ${file}: ${total(read.switches)} switches, ${schedule.cpus} CPUs, ${schedule.durationUs.toFixed(0)} us`,
    `tasks     ${tasks.length - kernelThreads} user tasks in ${spaces} address spaces, ${kernelThreads} kernel threads`,
    `kernel    ${era}${policy === era ? '' : `, policy ${policy}`}`,
    `run       ${microseconds(result.cycle, ghz)}${stretched}; a task writes ${flags.workingSet} pages while it runs`,
    ...read.notes.map(note => `note      ${note}`), '', ...cpuTable(report, ghz, outcome), '',
    ...taskTable(report, read, ghz),
  ]
  return `${lines.join('\n')}\n`
}

function cpuTable({ cpus }: ScheduleReport, ghz: number, { result, captured }: Outcome): string[] {
  const right = (title: string) => ({ title, align: 'right' as const })
  const hasFlushes = captured.some(({ fresh, flushed }) => fresh + flushed > 0)
  return tableLines([
    { title: 'CPU', align: 'left' }, right('switches'), right('lazy'), right('lazy time'), right('slot fresh'),
    right('slot flushed'), ...(hasFlushes ? [right('in the capture')] : []), right('other flushes'),
    right('interrupts'), right('TLB misses'),
  ], cpus.map(row => [
    `cpu${row.cpu}`, grouped(row.switches), grouped(row.lazyPeriods), microseconds(row.lazyCycles, ghz),
    grouped(row.slotsFresh), grouped(row.slotsFlushed),
    ...(hasFlushes ? [`${captured[row.cpu]?.fresh ?? 0} fresh, ${captured[row.cpu]?.flushed ?? 0} flushed`] : []),
    grouped(row.otherFlushes), grouped(row.interrupts), grouped(result.cpus[row.cpu]?.stlbMisses ?? 0),
  ]))
}

function taskTable({ tasks }: ScheduleReport, read: ReadSchedule, ghz: number): string[] {
  const right = (title: string) => ({ title, align: 'right' as const })
  const kinds = new Map(read.tasks.map(task => [task.name, task]))
  return tableLines([
    { title: 'task', align: 'left' }, { title: 'space', align: 'left' }, right('runs'), right('on CPUs'), right('time'),
    right('slot fresh'), right('slot flushed'), right('faults'), right('moves'),
  ], tasks.map((row) => {
    const task = kinds.get(row.comm)
    return [
      row.comm, task === undefined ? '' : task.isKernelThread ? 'borrows' : `of ${leaderOf(read, task.group)}`,
      grouped(row.runs), grouped(row.cpus), microseconds(row.cycles, ghz), grouped(row.slotsFresh),
      grouped(row.slotsFlushed), grouped(row.pageFaults), grouped(row.migrations),
    ]
  }))
}

function leaderOf(read: ReadSchedule, group: number): string {
  return read.tasks.find(task => !task.isKernelThread && task.group === group)?.name ?? ''
}

function jsonOf(
  file: string, read: ReadSchedule, report: ScheduleReport, result: RunResult, captured: Outcome['captured'],
): Record<string, unknown> {
  return {
    capture: file, durationUs: read.schedule.durationUs, capturedTasks: read.tasks, capturedSwitches: read.switches,
    inferredSwitches: read.inferred, capturedSwitchFlushes: captured, notes: read.notes, cycles: result.cycle,
    cpus: report.cpus, tasks: report.tasks, counters: result.counters,
  }
}

function pattern(text: string): RegExp {
  try {
    return new RegExp(text)
  } catch (error) {
    throw new InvalidArgumentError(`expected a regular expression: ${(error as Error).message}`)
  }
}

function names(text: string, before: readonly (readonly string[])[]): (readonly string[])[] {
  const list = text.split(',').map(name => name.trim()).filter(name => name !== '')
  if (list.length < 2) throw new InvalidArgumentError('expected at least two names, as in a,b')
  return [...before, list]
}

function number(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (!/^\d+$/.test(text) || value < low || value > high) {
      throw new InvalidArgumentError(`expected a whole number from ${low} to ${high}`)
    }
    return value
  }
}

function factor(text: string): number {
  const value = Number(text)
  if (!(value > 0) || value > 1e6) throw new InvalidArgumentError('expected a positive number')
  return value
}
