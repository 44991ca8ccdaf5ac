// What a worker does: attaches to the shared memory of a run and serves windows of CPUs, in grains,
// between which it leaves marks, says how far it is, and looks whether it is to stop.

import { geometryOf } from '../machine/geometry.js'
import { PhysMem } from '../machine/phys-mem.js'
import { Checkpoint } from './checkpoint.js'
import { Core, END_LIMIT } from './core.js'
import type { RunSetup } from './protocol.js'
import { openSharedState } from './shared-state.js'
import { WorkerWindow } from './worker-window.js'

/** How long it looks at its doorbell before it sleeps, milliseconds: an event in the kernel is mostly over by then. */
const AWAKE_MS = 0.1

interface AttachedCpu {
  readonly core: Core
  readonly checkpoint: Checkpoint
}

/** Serves the windows of worker `worker` until the run is over. */
export function attachWorker(setup: RunSetup, worker: number): () => void {
  const { machine } = setup.config
  const state = openSharedState(machine, setup.image, setup.memory)
  const mem = new PhysMem(state.memory, geometryOf(machine.geometry))
  const cpus = new Map<number, AttachedCpu>()
  const attach = (id: number): AttachedCpu => {
    const cpu = { core: new Core(state, id, machine, mem, setup.image), checkpoint: new Checkpoint(state, id) }
    cpus.set(id, cpu)
    return cpu
  }
  const window = new WorkerWindow(state, worker)
  window.serve()
  return () => serveWindows(window, id => cpus.get(id) ?? attach(id), setup, worker)
}

function serveWindows(
  window: WorkerWindow, cpuOf: (id: number) => AttachedCpu, setup: RunSetup, worker: number,
): void {
  const { randomDelayMs, dieAtWindow } = setup
  for (let windows = 1; window.waitForWork(AWAKE_MS); windows++) {
    if (worker === 0 && windows === dieAtWindow) process.exit(1)
    hostDelay(randomDelayMs)
    const end = runInGrains(window, cpuOf(window.id), randomDelayMs)
    hostDelay(randomDelayMs)
    window.answer(end)
  }
}

function runInGrains(window: WorkerWindow, { core, checkpoint }: AttachedCpu, randomDelayMs: number): number {
  const { limit, grain } = window
  const start = core.clock
  for (;;) {
    const end = core.run(Math.min(limit, core.clock + grain), false, false)
    if (end !== END_LIMIT || core.clock >= limit) return end
    checkpoint.mark()
    hostDelay(randomDelayMs)
    if (window.pass(core.clock - start)) return end
  }
}

const idle = new Int32Array(new SharedArrayBuffer(4))

/** Host time only, and only in tests: the one place that may use Math.random. */
function hostDelay(randomDelayMs: number): void {
  if (randomDelayMs > 0) Atomics.wait(idle, 0, 0, Math.random() * randomDelayMs)
}
