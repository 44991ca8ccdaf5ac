// When a scenario is worth looking at if the user does not say when: at its end every task has
// exited and nothing is mapped any more. This finds the last cycle at which the most user tasks
// were alive, which is just before one of them exits.

import { simulateHere } from '../engine/simulate.js'
import type { SimulateOptions } from '../engine/simulate.js'
import type { Scenario } from '../scenario/scenario.js'
import { EVENT } from '../trace/events.js'

/** The cycle of the exit that ends the fullest time; undefined when no task ever exits. */
export async function fullestMoment(scenario: Scenario, options: SimulateOptions): Promise<number | undefined> {
  const { config, image } = scenario
  const { result } = await simulateHere(config, image, { ...options, trace: true })
  const { trace } = result
  const kernelThreads = new Set(image.processes.filter(each => each.kernelThread)
    .flatMap(each => each.threads.map(thread => thread.comm)))
  const isKernelThread = trace.strings.map(text => kernelThreads.has(text))
  let alive = image.processes.filter(each => !each.kernelThread).reduce((sum, each) => sum + each.threads.length, 0)
  let most = 0
  let moment: number | undefined
  for (let i = 0; i < trace.length; i++) {
    if (trace.kind[i] === EVENT.schedProcessFork) alive += 1
    if (trace.kind[i] !== EVENT.schedProcessExit || isKernelThread[trace.comm[i]]) continue
    if (alive >= most) {
      most = alive
      moment = trace.cycle[i]
    }
    alive -= 1
  }
  return moment
}
