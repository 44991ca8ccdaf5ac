// What travels between the main thread and its workers through Comlink: types only. Control plane:
// rare, typed, allowed to allocate. No simulated event depends on when one of these arrives.

import type { MessagePort } from 'node:worker_threads'
import type { ProgramImage } from '../kernel/abi.js'
import type { SimulationConfig } from '../kernel/config.js'
import type { MachineMemory } from '../machine/access-runs/access-runs.js'
import type { RunResult } from './result.js'

/** Everything a thread needs to attach to a run. Memory is shared, the rest is copied. */
export interface RunSetup {
  config: SimulationConfig
  image: ProgramImage
  memory: MachineMemory
  trace: boolean
  samples?: boolean
  check: boolean
  /** Record what reports show besides the trace. */
  record?: boolean
  untilCycle: number
  /** Worker threads that there may be; CPU c has its windows run by number c modulo this. */
  workers: number
  /** Of these so many start with the run; the others when the scheduler wants them. */
  workersAtOnce: number
  /** Windows that workers may run at once. */
  parallel: number
  shortestWorkerWindow: number
  /** Cycles between two marks of a window. */
  grainCycles: number
  randomDelayMs: number
  /** The worker of CPU 0 dies when it is asked for its n-th window; 0: never. */
  dieAtWindow: number
}

/** workers/cpu.ts */
export interface CpuControl {
  /** Attaches worker `worker` to the shared buffers. */
  boot(setup: RunSetup, worker: number): void
  /** Serves windows; returns when the run is over. The thread answers nothing meanwhile. */
  serve(): void
}

/** workers/scheduler.ts */
export interface SchedulerControl {
  /** Boots the kernel and runs to the end; `wanted` gets the workers that it wants. Answers nothing meanwhile. */
  run(setup: RunSetup, wanted: MessagePort): RunResult
}
