// What a CPU's worker does: attaches a core to the shared buffers of a run and serves its windows.

import { geometryOf } from '../machine/geometry.js'
import { PhysMem } from '../machine/phys-mem.js'
import { Core } from './core.js'
import type { RunSetup } from './protocol.js'
import { openSharedState, stateLayout } from './shared-state.js'
import { serveWindows } from './threads.js'

/** The core of CPU `id`; the returned function serves its windows until the run is over. */
export function attachCpu(setup: RunSetup, id: number): () => void {
  const { machine } = setup.config
  const state = openSharedState(stateLayout(machine, setup.image), setup.state)
  const mem = new PhysMem(new Int32Array(setup.memory), geometryOf(machine.geometry))
  const core = new Core(state, id, machine, mem, setup.image)
  return () => serveWindows(state, id, core, {
    randomDelayMs: setup.randomDelayMs,
    dieAtWindow: id === 0 ? setup.dieAtWindow : 0,
  })
}
