// Which line of a scenario a task was at, at a cycle: the run is a function of its scenario, so it is
// simply done once more up to there and looked at.

import type { ProgramImage, SourceLine } from '../kernel/abi.js'
import type { SimulationConfig } from '../kernel/config.js'
import { REG_PC, REG_PROGRAM } from '../kernel/sched/task.js'
import { simulateHere } from './simulate.js'

/** What the task is known to be doing: a system call has moved the pc on, anything else leaves it where it is. */
export type Activity = 'system call' | 'user mode'

/**
 * Where the operation stands that task `pid` was executing after every step up to `cycle`. Undefined for a task
 * without a program (idle, kswapd) and for one that does not exist then.
 */
export async function instructionAt(
  config: SimulationConfig, image: ProgramImage, pid: number, cycle: number, activity: Activity,
): Promise<SourceLine | undefined> {
  const { simulation } = await simulateHere(config, image, { engine: 'inline', trace: false, untilCycle: cycle + 1 })
  const { kernel, platform } = simulation
  const task = kernel.tasks.find(each => each.pid === pid && !each.isIdle)
  if (task === undefined) return undefined
  const cpu = kernel.cpus[task.cpu]
  if (cpu !== undefined && cpu.current === task && cpu.inUserMode) platform.saveRegs(cpu, task)
  const pc = task.regs[REG_PC]!
  const isBehind = activity === 'system call' || task.isKernelThread
  return image.programs[task.regs[REG_PROGRAM]!]?.code[isBehind ? pc - 1 : pc]?.source
}
