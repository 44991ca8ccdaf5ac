// What is known while the programs of a scenario are compiled: of all of them, and of the task that will
// run one.

import type { Program, TraceRecords } from '../kernel/abi.js'
import type { AddressSpace, AreaSizes, VisibleAreas } from './address-space.js'
import type { FixedMappings } from './fixed-mappings.js'
import type { Names } from './names.js'
import type { ScenarioNote } from './scenario.js'
import type { Path, YamlSource } from './yaml-source.js'

/** What all programs of a scenario share while they are compiled. */
export interface ProgramSet {
  source: YamlSource
  space: AddressSpace
  names: Names
  /** Decoded traces by their path as written. */
  traces: ReadonlyMap<string, TraceRecords>
  programs: Program[]
  notes: ScenarioNote[]
  frequencyGhz: number
  seed: number
  /** Checks a `cpu`/`cpus` pair; undefined when neither is given. */
  cpus: (raw: { cpu?: number | undefined; cpus?: number[] | undefined }, path: Path) => number[] | undefined
  /** The areas that a process maps, by its name; an error when there is none. */
  processAreas: (name: string, path: Path) => { index: number; areas: AreaSizes }
}

/** The task that will run a program. */
export interface TaskContext {
  comm: string
  kernelThread: boolean
  areas: VisibleAreas
  fixed: FixedMappings
  /** Traces that the address space needs, as indices. Children add to their ancestors' set. */
  traceMappings: Set<number>
  /** How many tasks run this program: more than one for a child forked in a loop. */
  copies: number
  whyUnknown: (area: string) => string | undefined
  /** A kernel thread that has taken the address space of a process. */
  borrowed?: boolean
}
