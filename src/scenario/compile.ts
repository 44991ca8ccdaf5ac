// A checked scenario file to what the engine runs: configuration, program image, expectations.
// This is where keys meet: tasks and CPUs, processes and areas, expectations and task names.

import type { InitialProcess, InitialThread, ProgramImage, TraceRecords } from '../kernel/abi.js'
import { MM_SLOTS, type SimulationConfig } from '../kernel/config.js'
import { AddressSpace, mappedAreas, VisibleAreas, type AreaSizes } from './address-space.js'
import { compileConfig } from './compile-config.js'
import type { ProgramSet, TaskContext } from './compile-context.js'
import { compileProgram } from './compile-program.js'
import { compileExpectation } from './compile-expect.js'
import type { Expectation } from './expect.js'
import { checkThreadsApart, FixedMappings } from './fixed-mappings.js'
import { Names } from './names.js'
import { compileSchedule } from './compile-schedule.js'
import type { CapturedSchedule, ScenarioNote, ScenarioOverrides } from './scenario.js'
import type { RawOperation } from './schema-operations.js'
import type { RawProcess, RawScenario, RawThread } from './schema.js'
import { suggestionLines } from './suggest.js'
import { threadCopies } from './thread-copies.js'
import { parseSize } from './values.js'
import type { Path, YamlSource } from './yaml-source.js'

/** As much as MAX_COUNT base pages of 4 KiB would be too much for any simulated memory. */
const MAX_FILE_BYTES = 2 ** 40

export interface CompiledScenario {
  config: SimulationConfig
  image: ProgramImage
  expectations: Expectation[]
  notes: ScenarioNote[]
}

/** `traces` holds a decoded trace for every `replay`, by its path as written. */
export function compileScenario(
  source: YamlSource, raw: RawScenario, name: string, overrides: ScenarioOverrides,
  traces: ReadonlyMap<string, TraceRecords>, captured?: CapturedSchedule,
): CompiledScenario {
  const config = compileConfig(source, raw, name, overrides)
  const names = new Names(source)
  const set: ProgramSet = {
    source, names, traces,
    space: new AddressSpace(config.machine.geometry, config.kernel.era),
    programs: [],
    notes: [],
    frequencyGhz: config.machine.costs.frequencyGhz,
    seed: config.seed,
    cpus: (given, path) => compileCpus(source, given, path, config.machine.cpus),
    processAreas: (name, path) => processAreas(set, raw, name, path, config.machine.cpus),
  }
  compileFiles(set, raw)
  const processes = compileProcesses(set, raw, config.machine.cpus)
  names.check()
  const schedule = captured && compileSchedule({
    source, raw, taskNames: new Set(names.taskNames), cpus: config.machine.cpus,
    frequencyGhz: set.frequencyGhz, notes: set.notes,
  }, captured)
  return {
    config,
    image: { programs: set.programs, processes, ...names.tables(), ...(schedule === undefined ? {} : { schedule }) },
    expectations: (raw.expect ?? []).map((expectation, index) =>
      compileExpectation(source, expectation, ['expect', index],
        { taskNames: names.taskNames, cpus: config.machine.cpus }, overrides)),
    notes: set.notes.toSorted((a, b) => a.position.line - b.position.line || a.position.column - b.position.column),
  }
}

function compileFiles(set: ProgramSet, raw: RawScenario): void {
  for (const [index, { name, pages, bytes }] of (raw.files ?? []).entries()) {
    const path: Path = ['files', index]
    if ((pages === undefined) === (bytes === undefined)) {
      throw set.source.error('a file needs its length exactly once', path, ['expected pages or bytes'])
    }
    const length = pages === undefined ? parseSize(bytes!) : pages * set.space.pageBytes
    if (length === 0 || length > MAX_FILE_BYTES) {
      throw set.source.error(`a file has 1 byte to ${MAX_FILE_BYTES} bytes`, path)
    }
    set.names.defineFile(name, length, [...path, 'name'])
  }
}

/** What a kernel thread that takes the address space of process `name` may name. */
function processAreas(
  set: ProgramSet, raw: RawScenario, name: string, path: Path, cpus: number,
): { index: number; areas: AreaSizes } {
  const names = raw.processes.map(process => process.name)
  const index = names.indexOf(name)
  if (index < 0) throw set.source.error(`unknown process "${name}"`, path, suggestionLines(name, names))
  const threads = threadsOf(set.source, raw.processes[index]!, ['processes', index], cpus)
  return { index, areas: allAreas(set.space, threads.map(thread => thread.raw.program)) }
}

/** A thread as it will be compiled, whether it was written in full or as the short form of a process. */
interface ThreadSource {
  raw: Pick<RawThread, 'name' | 'cpu' | 'cpus' | 'program'>
  path: Path
}

function compileProcesses(set: ProgramSet, raw: RawScenario, cpus: number): InitialProcess[] {
  const processes = raw.processes.map((process, index) => ({ process, path: ['processes', index] as Path }))
  const threads = processes.map(({ process, path }) => threadsOf(set.source, process, path, cpus))
  const kernelThreads = (raw.kernelThreads ?? []).map((thread, index): ThreadSource =>
    ({ raw: thread, path: ['kernelThreads', index] }))
  checkProcessNames(set.source, processes)
  if (processes.length > MM_SLOTS) {
    throw set.source.error(`there are ${processes.length} processes, but at most ${MM_SLOTS} address spaces`,
      ['processes', MM_SLOTS])
  }
  // Names first, so that a program may name a task that is written further down.
  for (const thread of [...threads.flat(), ...kernelThreads]) set.names.task(thread.raw.name, [...thread.path, 'name'])
  const areasByProcess = processes.map(({ process }, index) => ({
    name: process.name,
    areas: allAreas(set.space, threads[index]!.map((thread) => thread.raw.program)),
  }))
  const users = processes.map(({ process }, index) =>
    compileProcess(set, process.name, threads[index]!, areasByProcess))
  return [...users, ...kernelThreads.map((thread) => compileKernelThread(set, thread))]
}

function threadsOf(source: YamlSource, process: RawProcess, path: Path, machineCpus: number): ThreadSource[] {
  const { name, cpu, cpus, program, threads } = process
  if ((program === undefined) === (threads === undefined)) {
    const has = program ? 'both a program and threads' : 'neither a program nor threads'
    throw source.error(`process "${name}" has ${has}`, path,
      ['expected "program:" for one thread, or "threads:" for several'])
  }
  if (program) return [{ raw: { name, cpu, cpus, program }, path }]
  const misplaced = cpu !== undefined ? 'cpu' : cpus !== undefined ? 'cpus' : undefined
  if (misplaced !== undefined) {
    throw source.error(`"${misplaced}" belongs to each thread of a process with threads`, [...path, misplaced], [],
      'key')
  }
  const copies = threads!.flatMap((thread, index) => {
    const at = [...path, 'threads', index]
    return threadCopies(source, thread, at, machineCpus).map(raw => ({ raw, path: at }))
  })
  if (copies.length > 0) return copies
  throw source.error(`process "${name}" has no thread on a machine with ${machineCpus} CPUs`, [...path, 'threads'])
}

function checkProcessNames(source: YamlSource, processes: readonly { process: RawProcess; path: Path }[]): void {
  for (const [index, { process, path }] of processes.entries()) {
    if (!processes.slice(0, index).some((other) => other.process.name === process.name)) continue
    throw source.error(`there are two processes named "${process.name}"`, [...path, 'name'],
      ['process names are unique in a scenario'])
  }
}

function allAreas(space: AddressSpace, programs: readonly (readonly RawOperation[])[]): AreaSizes {
  const areas: AreaSizes = new Map()
  for (const program of programs) mappedAreas(space, program, areas)
  return areas
}

function compileProcess(
  set: ProgramSet, name: string, threads: readonly ThreadSource[],
  areasByProcess: readonly { name: string; areas: AreaSizes }[],
): InitialProcess {
  const traceMappings = new Set<number>()
  const fixed: FixedMappings[] = []
  const own = areasByProcess.find((process) => process.name === name)!.areas
  const compiled = threads.map((thread): InitialThread => {
    const siblings = threads.filter((other) => other !== thread).map((other) => other.raw.program)
    const task: TaskContext = {
      comm: thread.raw.name,
      kernelThread: false,
      areas: new VisibleAreas(new Map(), allAreas(set.space, siblings)),
      fixed: new FixedMappings(),
      traceMappings,
      copies: 1,
      whyUnknown: (area) => {
        if (own.has(area)) return 'its mmap comes later in the program'
        const owner = areasByProcess.find((process) => process.areas.has(area))
        return owner && `process "${owner.name}" maps it, and address spaces are separate`
      },
    }
    fixed.push(task.fixed)
    return compileThread(set, thread, task)
  })
  set.notes.push(...checkThreadsApart(set.source, fixed))
  return { name, kernelThread: false, threads: compiled, traceMappings: [...traceMappings] }
}

function compileKernelThread(set: ProgramSet, thread: ThreadSource): InitialProcess {
  const task: TaskContext = {
    comm: thread.raw.name,
    kernelThread: true,
    areas: new VisibleAreas(new Map(), new Map()),
    fixed: new FixedMappings(),
    traceMappings: new Set(),
    copies: 1,
    whyUnknown: () => undefined,
  }
  return { name: thread.raw.name, kernelThread: true, threads: [compileThread(set, thread, task)], traceMappings: [] }
}

function compileThread(set: ProgramSet, { raw, path }: ThreadSource, task: TaskContext): InitialThread {
  const cpus = set.cpus(raw, path) ?? []
  return { comm: raw.name, program: compileProgram(set, task, raw.program, [...path, 'program']), cpus }
}

function compileCpus(
  source: YamlSource, { cpu, cpus }: { cpu?: number | undefined; cpus?: number[] | undefined }, path: Path,
  count: number,
): number[] | undefined {
  if (cpu !== undefined && cpus !== undefined) {
    throw source.error('cpu and cpus exclude each other', [...path, 'cpus'], ['give one of them'], 'key')
  }
  const given = cpu === undefined ? cpus : [cpu]
  for (const [index, number] of (given ?? []).entries()) {
    if (number < count) continue
    throw source.error(`CPU ${number} does not exist`, cpu === undefined ? [...path, 'cpus', index] : [...path, 'cpu'],
      [`the machine has ${count} ${count === 1 ? 'CPU: 0' : `CPUs: 0 to ${count - 1}`}`])
  }
  return given && [...new Set(given)].sort((a, b) => a - b)
}
