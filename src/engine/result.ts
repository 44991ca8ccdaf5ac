// What a run gives: the trace, the counters, how every task ended. Plain data, so that the
// scheduler thread can send it to the main thread.

import { CORE_COUNTERS } from '../kernel/counters.js'
import type { CoreCounter, CounterName } from '../kernel/counters.js'
import {
  COUNTER_L1D_LOOKUPS, COUNTER_L1D_MISSES, COUNTER_L1I_LOOKUPS, COUNTER_L1I_MISSES, COUNTER_STLB_LOOKUPS,
  COUNTER_STLB_MISSES, COUNTER_WALK_STEPS,
} from '../machine/mmu.js'
import type { ProgramFailure } from '../kernel/state.js'
import type { TraceData } from '../trace/recorder.js'
import type { CounterSamples } from '../trace/samples.js'
import { CORE_ACCESSES, CORE_FAILED_LOADS } from './shared-state.js'
import type { Recording, RunRecorder } from '../inspect/run-recorder.js'
import type { SharedState } from './shared-state.js'
import type { Simulation, SimulationEnd } from './simulation.js'

export interface TaskResult {
  pid: number
  comm: string
  outcome: string
}

export interface RunResult {
  end: SimulationEnd
  /** Where the run ended: the cycle it was to stop at, or that of the last step in the kernel. */
  cycle: number
  /** Steps of the loop; differs between engines. */
  steps: number
  trace: TraceData
  /** Counters of CPUs over time; undefined unless they were asked for. */
  samples: CounterSamples | undefined
  /** Totals over all CPUs. */
  counters: Record<CounterName, number>
  /** What each CPU's core counted. */
  cpus: Record<CoreCounter, number>[]
  tasks: TaskResult[]
  /** Expectations inside programs that did not hold. */
  failures: ProgramFailure[]
  /** Set when nothing could move any more: who waits for what. */
  stall: string[]
  /** What a report shows besides the trace, when it was asked for. */
  recording?: Recording
}

const MMU_COUNTERS: readonly (readonly [CoreCounter, number])[] = [
  ['l1iLookups', COUNTER_L1I_LOOKUPS],
  ['l1iMisses', COUNTER_L1I_MISSES],
  ['l1dLookups', COUNTER_L1D_LOOKUPS],
  ['l1dMisses', COUNTER_L1D_MISSES],
  ['stlbLookups', COUNTER_STLB_LOOKUPS],
  ['stlbMisses', COUNTER_STLB_MISSES],
  ['walkSteps', COUNTER_WALK_STEPS],
]

/** Collects the result of a simulation that has ended. */
export function collectResult(simulation: Simulation, shared: SharedState, recorder?: RunRecorder): RunResult {
  const { kernel } = simulation
  const cpus = kernel.cpus.map(cpu => coreCounters(shared, cpu.id))
  const names = Object.keys(CORE_COUNTERS) as CoreCounter[]
  const totals = Object.fromEntries(
    names.map(name => [name, cpus.reduce((sum, cpu) => sum + cpu[name], 0)])) as Record<CoreCounter, number>
  const cycle = simulation.end === 'until' ? simulation.untilCycle : simulation.kernelCycle
  return {
    end: simulation.end,
    cycle,
    steps: simulation.events,
    trace: simulation.trace.take(),
    samples: simulation.samples?.finish(cycle),
    counters: { ...kernel.counters, ...totals },
    cpus,
    tasks: kernel.tasks.map(({ pid, comm, outcome }) => ({ pid, comm, outcome })),
    failures: [...kernel.failures],
    stall: simulation.end === 'stalled' ? simulation.describeStall() : [],
    ...(recorder === undefined ? {} : { recording: recorder.finish(simulation) }),
  }
}

function coreCounters(shared: SharedState, id: number): Record<CoreCounter, number> {
  const mmu = shared.layout.view(shared.buffer, 'core', 'counters', id)
  const doubles = shared.layout.view(shared.buffer, 'core', 'doubles', id)
  const counters = Object.fromEntries(MMU_COUNTERS.map(([name, index]) => [name, mmu[index]]))
  counters.accesses = doubles[CORE_ACCESSES]
  counters.failedLoads = doubles[CORE_FAILED_LOADS]
  return counters as Record<CoreCounter, number>
}
