// What a scenario file becomes: the types that its readers (parse.ts, compile.ts) and its users
// (the command line, tests) share.

import type { ProgramImage, TraceRecords } from '../kernel/abi.js'
import type { KernelEra, SimulationConfig } from '../kernel/config.js'
import type { Expectation } from './expect.js'

/** A scenario, ready to run. */
export interface Scenario {
  file: string
  name: string
  question: string | undefined
  lookFor: readonly string[]
  config: SimulationConfig
  image: ProgramImage
  expectations: readonly Expectation[]
}

/** What the command line changes about a scenario. */
export interface ScenarioOverrides {
  seed?: number
  cpus?: number
  /** A machine preset; other keys of `machine:` still apply on top of it. */
  machine?: string
  era?: KernelEra
  /** Event kinds and their fields, to check `expect:` against; without it events are taken as written. */
  events?: Readonly<Record<string, readonly string[]>>
}

/** Decodes a trace file (trace-file.ts). */
export type LoadTrace = (path: string) => Promise<TraceRecords> | TraceRecords
