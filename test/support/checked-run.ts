// Runs a simulation action by action, so that every core always stands at the present cycle, and
// calls back after every step. For tests that look at (or break) the kernel's state on the way.

import { ReferenceUserSide } from '../../src/engine/reference.js'
import { allocateSharedState, openSharedState } from '../../src/engine/shared-state.js'
import { Simulation } from '../../src/engine/simulation.js'
import type { SimulationEnd } from '../../src/engine/simulation.js'
import type { ProgramImage } from '../../src/kernel/abi.js'
import type { SimulationConfig } from '../../src/kernel/config.js'

export interface SteppedRun {
  simulation: Simulation
  memory: Int32Array
  /** Runs to the end. */
  finish: () => SimulationEnd
}

/** Boots a simulation; `check` is called after every step. */
export function steppedRun(
  config: SimulationConfig, image: ProgramImage, check?: (simulation: Simulation) => void, untilCycle = Infinity,
): SteppedRun {
  const shared = openSharedState(config.machine, image, allocateSharedState(config.machine, image))
  const simulation = new Simulation(config, image, shared, () => new ReferenceUserSide(), {
    trace: false, untilCycle, ...(check === undefined ? {} : { check }),
  })
  const finish = (): SimulationEnd => {
    while (simulation.run(100_000) === 'running');
    return simulation.end
  }
  return { simulation, memory: shared.memory, finish }
}
