// Runs a simulation in the calling thread, with the user side that the engine names.

import { traceBuffers } from '../trace/recorder.js'
import { sampleBuffers } from '../trace/samples.js'
import { checkEverything, checkInvariants, checkTlbs } from '../inspect/check.js'
import { checkPromises } from '../inspect/check-ranges.js'
import { checkTrace } from '../inspect/check-trace.js'
import { recordingBuffers, RunRecorder } from '../inspect/run-recorder.js'
import { watch, watchOf } from '../inspect/watch.js'
import { ObservedUserSide } from './choices.js'
import type { ChosenOrder } from './choices.js'
import type { RunSetup } from './protocol.js'
import { ReferenceUserSide } from './reference.js'
import { collectResult } from './result.js'
import type { RunResult } from './result.js'
import { openSharedState } from './shared-state.js'
import type { SharedState } from './shared-state.js'
import { Simulation } from './simulation.js'
import { ThreadedUserSide } from './threads.js'
import { WindowedUserSide } from './windows.js'
import { shutDownWorkers } from './worker-window.js'

export const ENGINES = ['reference', 'inline', 'threads'] as const
export type EngineName = (typeof ENGINES)[number]

export interface OpenSimulation {
  simulation: Simulation
  shared: SharedState
  /** With `record`. */
  recorder?: RunRecorder
}

/** Steps between two looks at the abort request. */
const STEPS_PER_SLICE = 100_000

/** Steps between two checks of all TLBs under --check. */
const STEPS_PER_TLB_CHECK = 64

/** Boots a simulation on the memory of `setup`. */
export function openSimulation(
  setup: RunSetup, engine: EngineName, order?: ChosenOrder, startWorker: (worker: number) => void = () => undefined,
): OpenSimulation {
  const { config, image } = setup
  const { machine } = config
  const shared = openSharedState(machine, image, setup.memory)
  const recorder = setup.record ? { recorder: new RunRecorder(machine.cpus) } : {}
  const simulation = new Simulation(config, image, shared, kernelCpus => {
    switch (engine) {
      case 'reference':
        return order === undefined ? new ReferenceUserSide() : new ObservedUserSide(order, kernelCpus)
      case 'inline':
        return new WindowedUserSide(shared, setup, kernelCpus)
      case 'threads':
        return new ThreadedUserSide(shared, kernelCpus, { ...setup, startWorker })
    }
  }, {
    trace: setup.trace,
    samples: setup.samples ?? false,
    untilCycle: setup.untilCycle,
    ...(order === undefined ? {} : { order }),
    ...(setup.check ? { check: checkRunning, checkEnd } : {}),
    ...recorder,
  })
  if (setup.check) watch(simulation.kernel)
  return { simulation, shared, ...recorder }
}

/** What of a result can be moved to another thread instead of copied. */
export function resultBuffers(result: RunResult): ArrayBuffer[] {
  const { trace, samples, recording } = result
  return [
    ...traceBuffers(trace),
    ...(samples === undefined ? [] : sampleBuffers(samples)),
    ...(recording === undefined ? [] : recordingBuffers(recording)),
  ]
}

/** The cheap invariants at every step, what TLBs hold every so often. */
function checkRunning(simulation: Simulation): void {
  checkInvariants(simulation.kernel, simulation.cycle)
  if (watchOf(simulation.kernel)?.hasPromises === true) {
    simulation.standStill()
    checkPromises(simulation.kernel, simulation.cycle)
  }
  if (simulation.events % STEPS_PER_TLB_CHECK !== 0) return
  simulation.standStill()
  checkTlbs(simulation.kernel, simulation.cycle)
}

/** Everything once more, and the trace as a whole. */
function checkEnd(simulation: Simulation): void {
  checkEverything(simulation.kernel, simulation.cycle)
  const { policy: { holdsResponders = false }, config: { kernel: { earlyAck } } } = simulation.kernel
  checkTrace(simulation.trace.finish(), { areRespondersHeld: holdsResponders, earlyAck })
}

/** The scheduler thread's work: to the end, then the workers are let go. */
export function runThreaded(setup: RunSetup, startWorker: (worker: number) => void): RunResult {
  const { simulation, shared, recorder } = openSimulation(setup, 'threads', undefined, startWorker)
  try {
    while (simulation.run(STEPS_PER_SLICE) === 'running');
    return collectResult(simulation, shared, recorder)
  } finally {
    shutDownWorkers(shared, setup.workers)
  }
}
