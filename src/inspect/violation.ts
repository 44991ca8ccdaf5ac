// How a broken invariant is reported: who, where, when, why in one line, then what should have
// happened, then the events that led there; as an assertion that stops the run. Text is made only
// when something is wrong, so checks cost a comparison each.
//
//   I6: cpu1 cycle 4812 task reader-2 mm 3: runs user code, but mm_cpumask is 1 without its bit
//     should be: a CPU in user mode has its bit in the mask of its mm
//     what led there:
//               4101 [001] reader-2 switch_mm mm=3 asid=1 flushed=1

import { InvariantViolation } from '../base/assert.js'
import { hex64 } from '../base/units.js'
import type { KernelCpu } from '../kernel/cpu.js'
import type { Mm } from '../kernel/mm/mm.js'
import type { KernelState } from '../kernel/state.js'
import { vpnHi, vpnLo } from '../kernel/state.js'
import type { Task } from '../kernel/sched/task.js'
import { INVARIANTS } from './invariants.js'

/** What a violation is about. Whatever is left out is found out, or left out of the message. */
export interface Culprit {
  cpu?: KernelCpu | undefined
  task?: Task | undefined
  mm?: Mm | undefined
  /** Base page number. */
  vpn?: number
  /** Present cycle, when the caller knows better than the kernel's CPU clocks. */
  cycle?: number | undefined
}

/** Stops the run: invariant `number` of kernel-behaviour.md section 8 does not hold. */
export function violated(k: KernelState, number: string, culprit: Culprit, text: string): never {
  const cpu = culprit.cpu ?? (culprit.mm === undefined ? undefined : cpuHolding(k, culprit.mm)) ?? latestCpu(k)
  const task = culprit.task ?? cpu.current
  const where = [
    `cpu${cpu.id}`,
    `cycle ${culprit.cycle ?? presentCycle(k)}`,
    `task ${describeTask(task)}`,
    ...(culprit.mm === undefined ? [] : [`mm ${culprit.mm.ctxId}`]),
    ...(culprit.vpn === undefined ? [] : [`page ${hex64(vpnHi(k, culprit.vpn), vpnLo(k, culprit.vpn))}`]),
  ]
  const story = k.observer?.storyOf({ cpu: cpu.id, mm: culprit.mm, vpn: culprit.vpn }) ?? []
  throw new InvariantViolation([
    `${number}: ${where.join(' ')}: ${text}`,
    `  should be: ${INVARIANTS[number] ?? 'as the kernel says'}`,
    ...(story.length === 0 ? [] : ['  what led there:', ...story.map(line => `  ${line}`)]),
  ].join('\n'))
}

/** The cycle of the last thing that the kernel did. */
export function presentCycle(k: KernelState): number {
  return latestCpu(k).now
}

/** comm and pid; idle tasks are all pid 0 and have the CPU in their comm. */
export function describeTask(task: Task): string {
  return `${task.comm}-${task.pid}`
}

/** The comms of the tasks that share `mm`, or what else it is. */
export function describeMm(k: KernelState, mm: Mm): string {
  if (mm === k.initMm) return 'init_mm'
  const users = k.tasks.filter((task) => task.mm === mm).map((task) => task.comm)
  return users.length === 0 ? 'no users' : users.map((comm) => `"${comm}"`).join(' ')
}

function latestCpu(k: KernelState): KernelCpu {
  return k.cpus.reduce((latest, cpu) => (cpu.now > latest.now ? cpu : latest))
}

/** A CPU that runs or borrows `mm`, or else ran one of its tasks last. */
function cpuHolding(k: KernelState, mm: Mm): KernelCpu | undefined {
  const running = k.cpus.find((cpu) => cpu.current.mm === mm) ?? k.cpus.find((cpu) => cpu.current.activeMm === mm)
  if (running !== undefined) return running
  const task = k.tasks.find((each) => each.mm === mm && each.state !== 'Z')
  return task === undefined ? undefined : k.cpus[task.cpu]
}
