// What travels between the main thread and its workers through Comlink: types only. Control plane:
// rare, typed, allowed to allocate. No simulated event depends on when one of these arrives.

import type { ProgramImage } from '../kernel/abi.js'
import type { SimulationConfig } from '../kernel/config.js'
import type { RunResult } from './result.js'

/** Everything a thread needs to attach to a run. Buffers are shared, the rest is copied. */
export interface RunSetup {
  config: SimulationConfig
  image: ProgramImage
  state: SharedArrayBuffer
  memory: SharedArrayBuffer
  trace: boolean
  samples?: boolean
  check: boolean
  /** Record what reports show besides the trace. */
  record?: boolean
  untilCycle: number
  shortestWorkerWindow: number
  randomDelayMs: number
  /** The worker of CPU 0 dies when it is asked for its n-th window; 0: never. */
  dieAtWindow: number
}

/** workers/cpu.ts */
export interface CpuControl {
  /** Attaches the CPU to the shared buffers. */
  boot(setup: RunSetup, id: number): void
  /** Serves windows; returns when the run is over. The thread answers nothing meanwhile. */
  serve(): void
}

/** workers/scheduler.ts */
export interface SchedulerControl {
  /** Boots the kernel and runs to the end. The thread answers nothing meanwhile. */
  run(setup: RunSetup): RunResult
}
