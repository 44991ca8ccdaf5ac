// What a scenario file becomes: the types that its readers (parse.ts, compile.ts) and its users
// (the command line, tests) share.

import type { SourcePosition } from '../base/errors.js'
import type { ProgramImage, TraceRecords } from '../kernel/abi.js'
import type { BugName } from '../kernel/bugs.js'
import type { KernelEra, SimulationConfig } from '../kernel/config.js'
import type { Expectation } from './expect.js'

/** Something legal that may not be what the writer meant. Shown with the result. */
export interface ScenarioNote {
  position: SourcePosition
  text: string
}

/** A scenario, ready to run. */
export interface Scenario {
  file: string
  name: string
  question: string | undefined
  lookFor: readonly string[]
  config: SimulationConfig
  image: ProgramImage
  expectations: readonly Expectation[]
  notes: readonly ScenarioNote[]
}

/** Who ran where and when, as a capture of a real scheduler says (study/captured-schedule.ts). */
export interface CapturedSchedule {
  file: string
  cpus: number
  durationUs: number
  /** Names of its tasks, as unique as those of a scenario. */
  tasks: readonly string[]
  /** Ascending in time; '' is the idle task. */
  turns: readonly {
    cpu: number; timeUs: number; task: string; before: string; beforeSleeps: boolean; exits: boolean
  }[]
}

/** What the command line changes about a scenario. */
export interface ScenarioOverrides {
  seed?: number
  cpus?: number
  /** A machine preset; other keys of `machine:` still apply on top of it. */
  machine?: string
  era?: KernelEra
  /** A shootdown policy; without an era it brings its own. */
  policy?: string
  /** Bugs of the catalogue, instead of those of the scenario. */
  bugs?: readonly BugName[]
  /** Events, their fields and values, to check `expect:` against; without it events are taken as written. */
  events?: EventVocabulary
  /** Reads what `schedule:` names; without it such a scenario is refused. */
  loadSchedule?: (path: string) => Promise<CapturedSchedule>
}

/** What a field of an event can hold. A list is a closed set: each value under all its names, the usual one first. */
export type EventFieldKind = 'task' | 'cpu' | 'number' | 'text' | readonly { readonly names: readonly string[] }[]
/** By event, then by field. */
export type EventVocabulary = Readonly<Record<string, Readonly<Record<string, EventFieldKind>>>>

/** Decodes a trace file (trace-file.ts). */
export type LoadTrace = (path: string) => Promise<TraceRecords> | TraceRecords
