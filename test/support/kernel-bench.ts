// A simulation that a test drives step by step, and whose CPUs it can make run kernel operations of
// its own: requests that no system call makes, or that two CPUs must make at one moment. Every
// step is checked against the invariants, the dear ones now and then.

import { ReferenceUserSide } from '../../src/engine/reference.js'
import { collectResult } from '../../src/engine/result.js'
import type { RunResult } from '../../src/engine/result.js'
import { allocateSharedState, openSharedState } from '../../src/engine/shared-state.js'
import type { SharedState } from '../../src/engine/shared-state.js'
import { Simulation } from '../../src/engine/simulation.js'
import { checkEverything, checkInvariants } from '../../src/inspect/check.js'
import type { ProgramImage } from '../../src/kernel/abi.js'
import type { SimulationConfig } from '../../src/kernel/config.js'
import type { KernelCpu } from '../../src/kernel/cpu.js'
import type { KernelOp } from '../../src/kernel/kernel-op.js'
import type { Mm } from '../../src/kernel/mm/mm.js'
import type { KernelState } from '../../src/kernel/state.js'
import { enterKernel } from '../../src/kernel/timeline.js'
import type { TraceEvent } from '../../src/trace/events.js'
import { eventsOf } from '../../src/trace/recorder.js'
import { notation } from './sequence.js'

const STEPS_PER_FULL_CHECK = 16

export class KernelBench {
  readonly simulation: Simulation
  readonly #shared: SharedState
  /** Of a run that is over. */
  #result: RunResult | undefined
  /** Events of the trace that were there at the last {@link mark}. */
  #marked = 0

  constructor(config: SimulationConfig, image: ProgramImage, options: { check?: boolean } = {}) {
    this.#shared = openSharedState(config.machine, image, allocateSharedState(config.machine, image))
    const check = ({ kernel, cycle, events }: Simulation): void => {
      if (events % STEPS_PER_FULL_CHECK === 0) checkEverything(kernel, cycle)
      else checkInvariants(kernel, cycle)
    }
    this.simulation = new Simulation(config, image, this.#shared, () => new ReferenceUserSide(), {
      trace: true, untilCycle: Infinity, ...(options.check === false ? {} : { check }),
    })
  }

  get k(): KernelState {
    return this.simulation.kernel
  }

  cpu(id: number): KernelCpu {
    return this.k.cpus[id]!
  }

  /** The mm of the task of this name; of its first thread. */
  mmOf(comm: string): Mm {
    const mm = this.k.tasks.find(task => task.comm === comm)?.mm
    if (mm === undefined) throw new Error(`${comm} has no mm`)
    return mm
  }

  /** Steps until `condition` holds. */
  until(condition: () => boolean): void {
    while (!condition()) {
      if (this.simulation.run(1) !== 'running') throw new Error(`the run ended: ${this.simulation.end}`)
    }
  }

  /** Steps until some task has executed `signal` for this flag. */
  untilSignal(flag: number): void {
    this.until(() => this.simulation.platform.isFlagRaised(flag))
  }

  /** Steps until the named tasks run in user mode, each on its CPU, at or after `cycle`. */
  untilRunning(comms: readonly string[], cycle = 0): void {
    const isRunning = (comm: string): boolean =>
      this.k.cpus.some(cpu => cpu.inUserMode && cpu.current.comm === comm)
    this.until(() => this.simulation.cycle >= cycle && comms.every(isRunning))
  }

  /** The CPU, which is in user mode, enters the kernel now and runs `op`. */
  enter(id: number, op: (k: KernelState, cpu: KernelCpu) => KernelOp<unknown>): { done: boolean } {
    const { platform, kernel } = this.simulation
    const cpu = this.cpu(id)
    const status = { done: false }
    function* run(): KernelOp {
      yield* op(kernel, cpu)
      status.done = true
    }
    platform.saveRegs(cpu, cpu.current)
    enterKernel(kernel, cpu, platform.cores[id]!.clock, run())
    return status
  }

  /** The same on several CPUs at one time, and waits until all are done. */
  enterAll(ids: readonly number[], op: (k: KernelState, cpu: KernelCpu) => KernelOp<unknown>): void {
    const statuses = ids.map(id => this.enter(id, op))
    this.until(() => statuses.every(status => status.done))
  }

  finish(): RunResult {
    while (this.simulation.run(10_000) === 'running');
    this.#result = collectResult(this.simulation, this.#shared)
    return this.#result
  }

  events(): TraceEvent[] {
    // A result takes the trace with it.
    return [...eventsOf(this.#result?.trace ?? this.simulation.trace.finish())]
  }

  /** From here on, for {@link sinceMark}. */
  mark(): void {
    this.#marked = this.events().length
  }

  eventsSinceMark(): TraceEvent[] {
    return this.events().slice(this.#marked)
  }

  /** What happened since the mark, in the notation of sequence.ts. */
  sinceMark(): string[] {
    return this.eventsSinceMark()
      .map(event => ({ event, text: notation(event) }))
      .filter(({ text }) => text !== '')
      .map(({ event, text }) => `${event.cpu}: ${text}`)
  }
}
