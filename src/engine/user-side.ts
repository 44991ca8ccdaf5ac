// How the cores that run user programs are brought forward. The simulation's loop is the same for
// every engine; engines differ only in what stands behind this interface:
//
//   reference   does one action at a time, when its turn comes                (reference.ts)
//   inline      runs windows ahead and puts cores back, in the loop's thread  (windows.ts)
//   threads     the same, long windows in one worker_thread per CPU           (threads.ts)

import type { KernelCpu } from '../kernel/cpu.js'
import type { Core } from './core.js'
import type { CoreHooks } from './platform.js'

export interface UserSide extends CoreHooks {
  /** Called once, before the kernel boots. */
  attach(cores: readonly Core[]): void
  /** Makes sure that {@link cycleOf} is known for every CPU in user mode. */
  prepare(cpus: readonly KernelCpu[]): void
  /** Cycle before which the CPU does nothing that the loop must know of; it may be a mere horizon. */
  cycleOf(cpu: KernelCpu): number
  /**
   * The loop has reached this CPU. True: what comes next is an action to commit at cycleOf.
   * False: it was only a horizon; prepare again.
   */
  reached(cpu: KernelCpu): boolean
  /** Another thread is at the core of this CPU: nobody else may look at it. */
  isRunningAhead(cpu: KernelCpu): boolean
  /** The action is about to be committed. */
  beforeCommit(cpu: KernelCpu): void
  /** It was, and the CPU stayed in user mode. */
  committed(cpu: KernelCpu): void
  /** Makes every core stand right after the step of CPU `id` at `cycle`, in the middle of a run. */
  standStill(cycle: number, id: number): void
  /** Brings every core to where it stands at `cycle`, at the end of a run. */
  settle(cpus: readonly KernelCpu[], cycle: number): void
}
