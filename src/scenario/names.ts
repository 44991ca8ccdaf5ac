// Everything that operations refer to by name across the whole scenario: areas, flags, barriers,
// tasks and traces. Indices are given in the order of first mention, and after all programs are
// compiled `check()` finds the names that nobody can ever satisfy.

import type { BarrierInstruction, ProgramImage, TraceRecords } from '../kernel/abi.js'
import { assert } from '../base/assert.js'
import { suggestionLines } from './suggest.js'
import type { Path, YamlSource } from './yaml-source.js'

interface Flag {
  signalled: boolean
  /** Where it is waited for first. */
  spin: Path | undefined
}

interface Barrier {
  /** Tasks whose program mentions it. */
  participants: number
  /** Those programs: each counts once, however often it mentions the barrier. */
  programs: Set<number>
  /** The stated number of tasks. */
  tasks: { count: number; path: Path } | undefined
}

export class Names {
  private readonly source: YamlSource
  private readonly areas = new Map<string, number>()
  private readonly flags = new Map<string, Flag>()
  private readonly barriers = new Map<string, Barrier>()
  private readonly tasks = new Map<string, Path>()
  private readonly wakes: { comm: string; path: Path }[] = []
  private readonly taskReferences: { comm: string; path: Path }[] = []
  private readonly endlessSleeps: { comm: string; path: Path }[] = []
  private readonly files = new Map<string, number>()
  private readonly buffers: string[] = []
  private readonly definedBuffers = new Set<string>()
  private readonly bufferReferences: { name: string; path: Path }[] = []
  private readonly traces: { name: string; records: TraceRecords }[] = []

  constructor(source: YamlSource) {
    this.source = source
  }

  area(name: string): number {
    const known = this.areas.get(name)
    if (known !== undefined) return known
    this.areas.set(name, this.areas.size)
    return this.areas.size - 1
  }

  spin(name: string, path: Path): number {
    this.flag(name).spin ??= path
    return this.flagIndex(name)
  }

  signal(name: string): number {
    this.flag(name).signalled = true
    return this.flagIndex(name)
  }

  /** `copies` tasks run the program that mentions the barrier. */
  barrier(
    name: string, tasks: number | undefined, mention: { path: Path; program: number; copies: number },
  ): BarrierInstruction['barrier'] {
    let barrier = this.barriers.get(name)
    if (!barrier) {
      barrier = { participants: 0, programs: new Set(), tasks: undefined }
      this.barriers.set(name, barrier)
    }
    if (!barrier.programs.has(mention.program)) barrier.participants += mention.copies
    barrier.programs.add(mention.program)
    if (tasks !== undefined) this.setTasks(name, barrier, tasks, mention.path)
    return [...this.barriers.keys()].indexOf(name)
  }

  /** A task name of the scenario; each may be given once. */
  task(comm: string, path: Path): void {
    const earlier = this.tasks.get(comm)
    if (earlier) {
      const { line } = this.source.source.position(this.source.span(earlier).start)
      throw this.source.error(`the task name "${comm}" is taken by line ${line}`, path,
        ['task names are unique in a scenario'])
    }
    if (comm.startsWith('swapper/')) {
      throw this.source.error(`the task name "${comm}" belongs to an idle task`, path, ['choose another name'])
    }
    this.tasks.set(comm, path)
  }

  get taskNames(): string[] {
    return [...this.tasks.keys()]
  }

  wake(comm: string, path: Path): void {
    this.wakes.push({ comm, path })
  }

  /** A task that some call names, besides wake. */
  taskReference(comm: string, path: Path): void {
    this.taskReferences.push({ comm, path })
  }

  /** A file of the scenario, with its length in bytes. */
  defineFile(name: string, bytes: number, path: Path): void {
    if (this.files.has(name)) throw this.source.error(`there are two files named "${name}"`, path)
    this.files.set(name, bytes)
  }

  file(name: string, path: Path): number {
    const index = [...this.files.keys()].indexOf(name)
    if (index >= 0) return index
    throw this.source.error(`unknown file "${name}"`, path,
      suggestionLines(name, [...this.files.keys()], undefined, 'no file is listed; expected "files: [{name: ...}]"'))
  }

  /** A vmalloc buffer that some program allocates. */
  defineBuffer(name: string): number {
    this.definedBuffers.add(name)
    return this.bufferIndex(name)
  }

  buffer(name: string, path: Path): number {
    this.bufferReferences.push({ name, path })
    return this.bufferIndex(name)
  }

  sleepForever(comm: string, path: Path): void {
    this.endlessSleeps.push({ comm, path })
  }

  trace(name: string, records: TraceRecords): number {
    const known = this.traces.findIndex((trace) => trace.name === name)
    return known !== -1 ? known : this.traces.push({ name, records }) - 1
  }

  /** Throws for the first wait that nobody can end. */
  check(): void {
    for (const { name, path } of this.bufferReferences) {
      if (this.definedBuffers.has(name)) continue
      throw this.source.error(`no task allocates the buffer "${name}"`, path,
        suggestionLines(name, [...this.definedBuffers], undefined, 'expected "vmalloc: {name: ...}" in some program'))
    }
    for (const { comm, path } of [...this.wakes, ...this.taskReferences]) {
      if (!this.tasks.has(comm)) {
        throw this.source.error(`unknown task "${comm}"`, path, suggestionLines(comm, this.taskNames))
      }
    }
    for (const { comm, path } of this.endlessSleeps) {
      if (this.wakes.some((wake) => wake.comm === comm)) continue
      throw this.source.error(`task "${comm}" sleeps forever here, and no task wakes it`, path,
        [`expected "wake: ${comm}" in some program`])
    }
    for (const [name, flag] of this.flags) {
      if (flag.signalled || !flag.spin) continue
      const signalled = [...this.flags].filter(([, other]) => other.signalled).map(([other]) => other)
      throw this.source.error(`nobody signals the flag "${name}", so this spin never ends`, flag.spin,
        suggestionLines(name, signalled, undefined, 'no flag is signalled anywhere in this scenario'))
    }
    for (const [name, { participants, tasks }] of this.barriers) {
      if (!tasks || tasks.count <= participants) continue
      const message = `the barrier "${name}" waits for ${tasks.count} tasks, but only ${participants} can arrive`
      throw this.source.error(message, tasks.path, ['only tasks whose program has this barrier can arrive'])
    }
  }

  /** The name tables of the image. */
  tables(): Pick<ProgramImage, 'areaNames' | 'flagNames' | 'barriers' | 'traces' | 'files' | 'bufferNames'> {
    return {
      areaNames: [...this.areas.keys()],
      flagNames: [...this.flags.keys()],
      barriers: [...this.barriers].map(([name, { participants, tasks }]) =>
        ({ name, tasks: tasks?.count ?? participants })),
      files: [...this.files].map(([name, bytes]) => ({ name, bytes })),
      bufferNames: this.buffers,
      traces: this.traces.map((trace) => trace.records),
    }
  }

  private flag(name: string): Flag {
    let flag = this.flags.get(name)
    if (!flag) this.flags.set(name, flag = { signalled: false, spin: undefined })
    return flag
  }

  private bufferIndex(name: string): number {
    const known = this.buffers.indexOf(name)
    return known >= 0 ? known : this.buffers.push(name) - 1
  }

  private flagIndex(name: string): number {
    const index = [...this.flags.keys()].indexOf(name)
    assert(index >= 0, `flag ${name} has no index`)
    return index
  }

  private setTasks(name: string, barrier: Barrier, count: number, path: Path): void {
    if (barrier.tasks && barrier.tasks.count !== count) {
      const { line } = this.source.source.position(this.source.span(barrier.tasks.path).start)
      const other = `${barrier.tasks.count} in line ${line}`
      throw this.source.error(`the barrier "${name}" waits for ${count} tasks here and for ${other}`, path,
        ['give the number once, or the same everywhere'])
    }
    barrier.tasks = { count, path }
  }
}
