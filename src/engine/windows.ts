// Windows: cores run ahead speculatively, the earliest event is committed, and cores that ran past
// it and could see its effect are put back. The result is that of the reference engine, byte for
// byte; docs/determinism.md has the argument. In short:
//
//   * A window only reads shared memory, so running it changes nothing that others can see.
//   * The earliest of all known times, in the order (cycle, cpu), is certain: nothing can happen
//     before it. It is the only thing that is committed.
//   * Before a commit writes what cores can see (tables, areas, flags), every core that could see
//     it stands exactly at the commit: it is put back to its checkpoint and re-run up to there.
//     From then on its checkpoint lies behind the write, so a re-run never reads the future.
//   * A new interrupt that arrives before the last action of a core puts that core back too.
//
//   state of a window        the core stands                       checkpoint
//   END_NONE, fresh          at a certain place                    taken when it runs
//   END_NONE, not fresh      at an uncertain place, re-evaluate    the old one stays good
//   END_RUNNING              a worker runs it (threads.ts)         at the start of its window
//   anything else            at the end of its window              at the start of its window
//
// How far windows reach is a matter of speed only. A core does not run past the next step of a CPU
// in the kernel that could write its tables: such a step is known, and running past it is for nothing. The same goes
// for the next system call of a program on the same tables, as far as that can be told (look-ahead.ts).
// Nor does it run ahead with its first actions after it came from the kernel: programs often go back there at once,
// and an action that is done in its turn needs no checkpoint, because it is certain.

import { fail } from '../base/assert.js'
import type { KernelCpu } from '../kernel/cpu.js'
import type { Mm } from '../kernel/mm/mm.js'
import { seesTablesOf } from '../kernel/mm/mm.js'
import { nextKernelCycle } from '../kernel/timeline.js'
import { Checkpoint } from './checkpoint.js'
import type { Core } from './core.js'
import { END_ACCESS, END_DATA, END_LIMIT, END_NONE } from './core.js'
import { LookAhead } from './look-ahead.js'
import type { RunSetup } from './protocol.js'
import type { SharedState } from './shared-state.js'
import type { UserSide } from './user-side.js'

/** A worker is at it: neither its core's row nor its end may be looked at. */
export const END_RUNNING = -1

const SHORTEST_WINDOW_CYCLES = 256
/** How far a core runs ahead while a CPU waits in the kernel on its mm (acknowledgements, a lock): not far. */
const WAITED_FOR_CYCLES = 2048
/** Bounds how long an abort has to wait. */
const LONGEST_WINDOW_CYCLES = 2 ** 20
/** So many actions after the kernel are done in their turn: an access and the system call behind it. */
const ACTIONS_IN_TURN = 2

export class WindowedUserSide implements UserSide {
  protected readonly kernelCpus: () => readonly KernelCpu[]
  protected cores: readonly Core[] = []
  /** END_* of each CPU's window. */
  protected readonly ends: Int32Array
  /** 1: the next run starts at a certain place and takes a checkpoint there. */
  readonly #fresh: Uint8Array
  /** Actions that each CPU is still to do in their turn before it runs ahead. */
  readonly #inTurn: Uint8Array
  /** No window reaches beyond this: {@link boundOf} when it was prepared. */
  protected readonly bounds: Float64Array
  protected readonly checkpoints: readonly Checkpoint[]
  protected readonly programs: readonly LookAhead[]
  /** When the program of each CPU is likely to do the next thing that others see. */
  readonly #events: Float64Array
  /** Windows end here unless something ends them earlier. */
  protected horizon = SHORTEST_WINDOW_CYCLES
  #windowCycles = SHORTEST_WINDOW_CYCLES
  #putBacksSinceHorizon = 0
  /** Some window has become END_NONE since prepare() ran the last ones. */
  #isStale = true

  constructor(
    shared: SharedState, { config: { machine }, image }: Pick<RunSetup, 'config' | 'image'>,
    kernelCpus: () => readonly KernelCpu[],
  ) {
    const { cpus } = machine
    this.kernelCpus = kernelCpus
    this.ends = new Int32Array(cpus)
    this.#fresh = new Uint8Array(cpus)
    this.#inTurn = new Uint8Array(cpus)
    this.bounds = new Float64Array(cpus)
    this.#events = new Float64Array(cpus).fill(Infinity)
    this.checkpoints = Array.from({ length: cpus }, (_, id) => new Checkpoint(shared, id))
    this.programs = Array.from({ length: cpus }, (_, id) => new LookAhead(shared, id, machine, image))
  }

  attach(cores: readonly Core[]): void {
    this.cores = cores
  }

  prepare(cpus: readonly KernelCpu[]): void {
    if (!this.#isStale) return
    this.#isStale = false
    let waiting: number[] | undefined
    for (const cpu of cpus) {
      if (!cpu.inUserMode || this.ends[cpu.id] !== END_NONE) continue
      cpu.retime()
      if (this.#inTurn[cpu.id] > 0) continue
      this.bounds[cpu.id] = this.boundOf(cpu)
      if (this.cores[cpu.id].clock >= this.bounds[cpu.id]) continue
      if (this.#fresh[cpu.id] === 1) {
        this.checkpoints[cpu.id].take()
        this.#fresh[cpu.id] = 0
      }
      waiting ??= []
      waiting.push(cpu.id)
    }
    if (waiting !== undefined) this.runWindows(waiting)
  }

  cycleOf(cpu: KernelCpu): number {
    return this.cores[cpu.id].clock
  }

  isRunningAhead(_cpu: KernelCpu): boolean {
    return false
  }

  /** At a horizon every core that did not pass it is certain; all of them get the next window together. */
  reached(cpu: KernelCpu): boolean {
    if (this.ends[cpu.id] === END_NONE) return this.#doesInTurn(cpu.id)
    if (this.ends[cpu.id] !== END_LIMIT) return true
    const cycle = this.cores[cpu.id].clock
    if (cycle < this.horizon) {
      this.#leaveAt(cpu.id)
      return false
    }
    if (this.#putBacksSinceHorizon === 0) {
      this.#windowCycles = Math.min(LONGEST_WINDOW_CYCLES, this.#windowCycles * 2)
    } else {
      this.#windowCycles = Math.max(SHORTEST_WINDOW_CYCLES, Math.floor(this.#windowCycles / 2))
    }
    this.#putBacksSinceHorizon = 0
    this.horizon = cycle + this.#windowCycles
    for (const other of this.kernelCpus()) {
      if (!other.inUserMode || this.ends[other.id] !== END_LIMIT) continue
      const core = this.cores[other.id]
      if (core.lastStart >= cycle || core.clock >= this.horizon) continue
      this.#leaveAt(other.id)
    }
    return false
  }

  beforeCommit(cpu: KernelCpu): void {
    this.checkpoints[cpu.id].drop()
    const end = this.ends[cpu.id]
    if (end !== END_ACCESS && end !== END_DATA) return
    const { mm } = cpu.current
    if (mm === undefined) fail(`cpu${cpu.id} is in user mode without an mm`)
    cpu.now = this.cores[cpu.id].clock
    this.beforeSharedWrite(cpu, mm)
  }

  committed(cpu: KernelCpu): void {
    const program = this.programs[cpu.id]
    program.look()
    this.#events[cpu.id] = program.isSeen ? this.cores[cpu.id].clock + program.cycles : Infinity
    this.#leaveAt(cpu.id)
  }

  enterUser(cpu: KernelCpu): void {
    this.committed(cpu)
    this.#inTurn[cpu.id] = ACTIONS_IN_TURN
    if (this.horizon <= cpu.now) this.horizon = cpu.now + this.#windowCycles
  }

  beforeSharedWrite(writer: KernelCpu, mm: Mm): void {
    for (const cpu of this.kernelCpus()) {
      if (!cpu.inUserMode || cpu === writer || !seesTablesOf(cpu.current.mm, mm)) continue
      this.#standAt(cpu, writer.now, writer.id)
    }
  }

  beforeTlbWrite(writer: KernelCpu, target: KernelCpu): void {
    if (target.inUserMode && target !== writer) this.#standAt(target, writer.now, writer.id)
  }

  beforeFlagWrite(writer: KernelCpu): void {
    for (const cpu of this.kernelCpus()) {
      if (cpu.inUserMode && cpu !== writer) this.#standAt(cpu, writer.now, writer.id)
    }
  }

  standStill(cycle: number, id: number): void {
    for (const cpu of this.kernelCpus()) if (cpu.inUserMode) this.#standAt(cpu, cycle, id)
  }

  interruptAt(target: KernelCpu, cycle: number): void {
    const { id } = target
    this.hold(id, cycle)
    if (this.ends[id] === END_NONE && this.#fresh[id] === 1) return
    if (cycle <= this.cores[id].lastStart) {
      this.#putBack(id, cycle)
      this.ends[id] = END_NONE
      this.#isStale = true
      return
    }
    // Nothing that was done is wrong, but the window may have to end elsewhere.
    this.ends[id] = END_NONE
    this.#isStale = true
    this.#fresh[id] = 0
  }

  settle(cpus: readonly KernelCpu[], cycle: number): void {
    for (const cpu of cpus) {
      if (!cpu.inUserMode) continue
      this.hold(cpu.id, cycle)
      if (this.ends[cpu.id] === END_NONE && this.#fresh[cpu.id] === 1) continue
      const core = this.cores[cpu.id]
      if (core.lastStart < cycle) continue
      this.#putBack(cpu.id, cycle)
      this.ends[cpu.id] = core.run(cycle, false, false)
    }
  }

  /** Runs the windows of these CPUs. */
  protected runWindows(ids: readonly number[]): void {
    for (const id of ids) this.ends[id] = this.cores[id].run(this.limitFor(id), false, false)
  }

  /** A core that enters user mode beyond the horizon still does at least its next action. */
  protected limitFor(id: number): number {
    return Math.min(Math.max(this.horizon, this.cores[id].clock + 1), this.bounds[id], this.eventFor(id))
  }

  /** The next thing, as far as programs tell, that others do and `id` can see. It may well come later than told. */
  protected eventFor(id: number): number {
    const { mm } = this.kernelCpus()[id].current
    const { clock } = this.cores[id]
    let first = Infinity
    for (const other of this.kernelCpus()) {
      const event = this.#events[other.id]
      if (event <= clock || event >= first || other.id === id || !other.inUserMode) continue
      if (mm !== undefined && seesTablesOf(mm, other.current.mm ?? mm)) first = event
    }
    return first
  }

  /** The first cycle at which a CPU in the kernel may write what the core of `cpu` can see. */
  protected boundOf(cpu: KernelCpu): number {
    const { mm } = cpu.current
    let bound = Infinity
    if (mm === undefined) return bound
    for (const other of this.kernelCpus()) {
      if (other.inUserMode || other === cpu || !seesTablesOf(mm, other.current.mm ?? mm)) continue
      bound = Math.min(bound, nextKernelCycle(other) + (cpu.id < other.id ? 1 : 0))
      if (other.current.mm !== undefined) bound = Math.min(bound, this.cores[cpu.id].clock + WAITED_FOR_CYCLES)
    }
    return bound
  }

  /** Makes the window of a core end soon if it is in a worker, and waits for it: past `cycle` it is of no use. */
  protected hold(_id: number, _cycle: number): void {
    // Windows of this engine end before anything else is done.
  }

  /** Makes a core stand at a commit of CPU `committer`: every action before it done, none after it. */
  #standAt(cpu: KernelCpu, cycle: number, committer: number): void {
    const { id } = cpu
    const limit = cycle + (id < committer ? 1 : 0)
    this.hold(id, limit)
    const core = this.cores[id]
    if (this.ends[id] === END_NONE && this.#fresh[id] === 1) return
    if (core.lastStart >= limit) this.#putBack(id, limit)
    if (core.clock < limit) {
      const end = core.run(limit, false, false)
      if (end !== END_LIMIT && core.clock < limit) fail(`cpu${id} met an event before cycle ${limit} when put back`)
    }
    this.#leaveAt(id)
  }

  /**
   * A core that did not run ahead is the earliest of all: its next action is certain. True: that is an event, to be
   * committed; else it is done.
   */
  #doesInTurn(id: number): boolean {
    const core = this.cores[id]
    this.#leaveAt(id)
    if (this.#inTurn[id] > 0) this.#inTurn[id] -= 1
    const { clock } = core
    const end = core.run(clock + 1, false, false)
    // What comes after the action comes later.
    if (end === END_LIMIT || core.clock > clock) return false
    this.ends[id] = end
    return true
  }

  /** Has cores that wait for their turn run ahead instead; false: there is none. */
  protected runAheadNow(): boolean {
    let some = false
    for (const { id, inUserMode } of this.kernelCpus()) {
      if (!inUserMode || this.#inTurn[id] === 0 || this.ends[id] !== END_NONE) continue
      this.#inTurn[id] = 0
      this.#isStale = true
      some = true
    }
    return some
  }

  /** The core stands at a certain place: its next window starts here, from a checkpoint of its own. */
  #leaveAt(id: number): void {
    this.ends[id] = END_NONE
    this.#isStale = true
    this.#fresh[id] = 1
    this.checkpoints[id].drop()
  }

  /** To where no action has started at or after `limit`. */
  #putBack(id: number, limit: number): void {
    this.checkpoints[id].putBack(limit)
    this.#putBacksSinceHorizon += 1
  }
}
