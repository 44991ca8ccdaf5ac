// The simulation's loop: picks the earliest next step in the total order (cycle, cpu), does it,
// and goes on until nothing is left to do. The same loop drives every engine.

import { fail } from '../base/assert.js'
import { EngineError } from '../base/errors.js'
import { hex64 } from '../base/units.js'
import { bootKernel } from '../kernel/boot.js'
import type { ProgramImage } from '../kernel/abi.js'
import type { SimulationConfig } from '../kernel/config.js'
import type { KernelCpu } from '../kernel/cpu.js'
import type { KernelState } from '../kernel/state.js'
import { emit } from '../kernel/state.js'
import { nextInterruptCycle } from '../kernel/smp/ipi.js'
import { systemCall } from '../kernel/syscalls/syscalls.js'
import { advanceKernel, describeCpu, enterKernel, hasNothingAhead, interruptUser, isHostStep, nextKernelCycle,
  waitsForOthers, wakesKhugepaged } from '../kernel/timeline.js'
import { generalProtection, pageFault } from '../kernel/traps.js'
import type { RunRecorder } from '../inspect/run-recorder.js'
import { EVENT } from '../trace/events.js'
import { TraceRecorder } from '../trace/recorder.js'
import type { ChosenOrder } from './choices.js'
import { CounterSampler } from './counter-samples.js'
import { END_ACCESS, END_GENERAL_PROTECTION, END_INTERRUPT, END_PAGE_FAULT, END_STEP, END_SYSCALL } from './core.js'
import { SharedPlatform } from './platform.js'
import type { SharedState } from './shared-state.js'
import type { UserSide } from './user-side.js'

export interface SimulationOptions {
  /** Record events. */
  trace: boolean
  /** Record the counters of cores over time. */
  samples?: boolean
  /** Stop before the first step at or after this cycle. */
  untilCycle: number
  /** Decides the order of steps; only with the reference engine. */
  order?: ChosenOrder
  /** Called after steps at which the kernel's state may have changed (invariants). */
  check?: (simulation: Simulation) => void
  /** Called once when the run has ended and every core stands still. */
  checkEnd?: (simulation: Simulation) => void
  /** Observes what a trace does not say, for reports. */
  recorder?: RunRecorder
}

/** Events that a run with checks and without a trace remembers. */
const EVENTS_KEPT = 8192

/** How a simulation came to its end. */
export type SimulationEnd = 'running' | 'finished' | 'until' | 'stalled'

export class Simulation {
  readonly kernel: KernelState
  readonly platform: SharedPlatform
  readonly trace: TraceRecorder
  readonly samples: CounterSampler | undefined
  end: SimulationEnd = 'running'
  /** Cycle of the last step. Which user accesses are steps depends on the engine. */
  cycle = 0
  /** Cycle of the last step in or into the kernel: the same for every engine. */
  kernelCycle = 0
  /** Steps done; the same in every run of an engine. */
  events = 0
  /** Turns of the loop: steps, and looks at cores that have come to a horizon. */
  #turns = 0
  /** CPU of the last step. */
  #lastCpu = 0
  /** When each CPU does its next step, as of the last look at those that were retimed. */
  readonly #nextCycles: Float64Array
  readonly #user: UserSide
  readonly #options: SimulationOptions
  readonly #shared: SharedState

  constructor(
    config: SimulationConfig, image: ProgramImage, shared: SharedState,
    makeUserSide: (kernelCpus: () => readonly KernelCpu[]) => UserSide,
    options: SimulationOptions,
  ) {
    this.#options = options
    this.#shared = shared
    this.#nextCycles = new Float64Array(config.machine.cpus)
    // Checks tell what led to a violation: without a trace the last events are kept for them.
    this.trace = options.trace || options.check === undefined
      ? new TraceRecorder({ enabled: options.trace }) : new TraceRecorder({ keepLast: EVENTS_KEPT })
    this.samples = options.samples === true ? new CounterSampler(shared, config.machine.cpus) : undefined
    let cpus: readonly KernelCpu[] = []
    this.#user = makeUserSide(() => cpus)
    const recorded = options.recorder?.memoryFor(shared.memory, config)
    this.platform = new SharedPlatform(shared, config, image, this.#user, recorded)
    this.#user.attach(this.platform.cores)
    this.kernel = bootKernel(config, image, this.platform, this.trace)
    cpus = this.kernel.cpus
    options.order?.attach(cpus, this.platform, shared)
  }

  get untilCycle(): number {
    return this.#options.untilCycle
  }

  /** Does up to `steps` steps. Throws EngineError when main has asked to stop. */
  run(steps: number): SimulationEnd {
    const { kernel } = this
    for (let i = 0; i < steps && this.end === 'running'; i++) {
      this.#step()
      this.#turns += 1
      if ((this.#turns & 0x3ff) === 0) {
        this.#report()
        if (this.#nobodyCanSignal()) this.end = 'stalled'
      }
    }
    if (this.end === 'until') this.#user.settle(kernel.cpus, this.#options.untilCycle)
    if (this.end === 'stalled') this.#user.settle(kernel.cpus, this.cycle + 1)
    this.#report()
    if (this.end !== 'running') this.#options.checkEnd?.(this)
    return this.end
  }

  /** Makes every core stand at the present cycle, so that TLBs can be compared with tables. */
  standStill(): void {
    this.#user.standStill(this.cycle, this.#lastCpu)
  }

  /** Why nothing moves: what every CPU does and what every sleeping task waits for. */
  describeStall(): string[] {
    const { cpus, tasks } = this.kernel
    const sleeping = tasks.filter(task => task.isAsleep)
    return [
      ...cpus.filter(cpu => !cpu.isIdle).map(cpu => this.#describe(cpu)),
      ...sleeping.map(task => `${task.comm}-${task.pid} sleeps, waiting for ${task.sleepingOn}`),
    ]
  }

  #describe(cpu: KernelCpu): string {
    const { instruction } = this.platform.cores[cpu.id]
    if (!cpu.inUserMode || instruction.op !== 'spin') return describeCpu(cpu)
    const { comm, pid } = cpu.current
    return `cpu${cpu.id}: ${comm}-${pid} polls flag ${this.kernel.image.flagNames[instruction.flag]}`
  }

  #step(): void {
    const { kernel } = this
    const { cpus } = kernel
    const { order } = this.#options
    this.#user.prepare(cpus)
    this.#lookUpRetimed()
    const nextCycles = this.#nextCycles
    let earliest = Infinity
    let next: KernelCpu | undefined
    for (let id = 0; id < nextCycles.length; id++) {
      if (nextCycles[id] >= earliest || order?.isHeld(cpus[id]) === true) continue
      earliest = nextCycles[id]
      next = cpus[id]
    }
    if (order?.putsOff(next, this.cycle) === true) return
    if (next === undefined) {
      this.end = kernel.liveTasks > 0 ? 'stalled' : 'finished'
      return
    }
    if (earliest >= this.#options.untilCycle) {
      this.end = 'until'
      return
    }
    this.#lastCpu = next.id
    next.retime()
    // Turns of the host and scans of khugepaged go on for ever: without this a deadlock would last as long as they.
    if ((isHostStep(next, earliest) || wakesKhugepaged(kernel, next, earliest)) && this.#isStuckAt(earliest)) {
      this.end = 'stalled'
      return
    }
    this.#options.recorder?.beforeStep(earliest, next.id)
    if (!next.inUserMode) {
      this.cycle = earliest
      this.kernelCycle = earliest
      advanceKernel(kernel, next, earliest)
      this.#stepDone(next, earliest)
    } else if (this.#user.reached(next)) {
      this.cycle = earliest
      this.#commitUser(next, earliest)
      this.#stepDone(next, earliest)
    } else if (!this.#user.isRunningAhead(next) && this.#polls(next) && this.#nobodyCanSignal()) {
      this.end = 'stalled'
    }
  }

  #lookUpRetimed(): void {
    const { retimed } = this.kernel
    if (this.#options.check !== undefined) this.#checkOthers()
    for (let cpu = retimed.pop(); cpu !== undefined; cpu = retimed.pop()) {
      cpu.isRetimed = false
      this.#nextCycles[cpu.id] = this.#nextCycle(cpu)
    }
  }

  /** Of CPUs that were not retimed what is remembered is true. */
  #checkOthers(): void {
    for (const cpu of this.kernel.cpus) {
      // What is remembered of a core that a worker runs is a bound from below, until its window is taken back.
      if (cpu.isRetimed || this.#user.isRunningAhead(cpu)) continue
      const cycle = this.#nextCycle(cpu)
      const known = this.#nextCycles[cpu.id]
      if (known !== cycle) fail(`cpu${cpu.id} goes on at cycle ${cycle}, but ${known} is remembered`)
    }
  }

  #nextCycle(cpu: KernelCpu): number {
    return cpu.inUserMode ? this.#user.cycleOf(cpu) : nextKernelCycle(cpu)
  }

  #stepDone(cpu: KernelCpu, cycle: number): void {
    const { order, check, recorder } = this.#options
    this.events += 1
    order?.done(cpu, cycle)
    check?.(this)
    recorder?.afterStep(this, cpu)
  }

  /** The action of a CPU in user mode that stands at `cycle`. */
  #commitUser(cpu: KernelCpu, cycle: number): void {
    const { kernel } = this
    const core = this.platform.cores[cpu.id]
    this.#user.beforeCommit(cpu)
    const task = cpu.current
    const end = core.run(Infinity, true, true)
    if (end === END_STEP) {
      if (core.mismatch !== undefined) this.#reportMismatch(cpu, cycle)
      this.#user.committed(cpu)
      return
    }
    this.kernelCycle = cycle
    this.samples?.sample(cpu.id, cycle)
    switch (end) {
      case END_INTERRUPT:
        this.platform.saveRegs(cpu, task)
        interruptUser(kernel, cpu, cycle)
        return
      case END_SYSCALL: {
        const instruction = core.takeSystemCall()
        this.platform.saveRegs(cpu, task)
        enterKernel(kernel, cpu, cycle, systemCall(kernel, task, instruction))
        return
      }
      case END_PAGE_FAULT: {
        this.platform.saveRegs(cpu, task)
        const { errorCode, cycles } = core.mmu
        enterKernel(kernel, cpu, cycle, pageFault(kernel, task, core.faultHi, core.faultLo, errorCode, cycles))
        return
      }
      case END_GENERAL_PROTECTION:
        this.platform.saveRegs(cpu, task)
        enterKernel(kernel, cpu, cycle, generalProtection(kernel, task, core.faultHi, core.faultLo))
        return
      default:
        if (end === END_ACCESS) fail(`cpu${cpu.id}: a committed access still wants to write`)
        fail(`cpu${cpu.id}: unknown end ${end}`)
    }
  }

  #reportMismatch(cpu: KernelCpu, cycle: number): void {
    const core = this.platform.cores[cpu.id]
    const { mismatch } = core
    core.mismatch = undefined
    if (mismatch === undefined) return
    const { instruction, hi, lo, gotHi, gotLo } = mismatch
    const expected = instruction.expect ?? { hi: 0, lo: 0 }
    const { source } = instruction
    cpu.now = cycle
    emit(this.kernel, cpu, EVENT.loadMismatch, hi, lo, gotHi, gotLo, expected.hi, expected.lo)
    const text = `${cpu.current.comm} on cpu${cpu.id} at cycle ${cycle}: loaded ${hex64(gotHi, gotLo)}, ` +
      `expected ${hex64(expected.hi, expected.lo)}`
    this.kernel.failures.push({ source, text })
  }

  /** Every program polls a flag, no timer runs and no CPU is at work: no flag can be raised any more. */
  #nobodyCanSignal(): boolean {
    const { cpus } = this.kernel
    if (cpus.some(cpu => this.#user.isRunningAhead(cpu))) return false
    const isQuiet = cpus.every(cpu => cpu.inUserMode || isTakenFromUser(cpu)
      ? nextInterruptCycle(cpu) === Infinity : nextKernelCycle(cpu) === Infinity)
    return isQuiet && this.#allPoll()
  }

  /**
   * The same, whatever the host and khugepaged go on doing: they wake nobody who waits. Cores that may have run ahead
   * are brought to `cycle` for it, so that all engines find the same.
   */
  #isStuckAt(cycle: number): boolean {
    const { kernel } = this
    const isQuiet = kernel.cpus.every(cpu => cpu.inUserMode || isTakenFromUser(cpu)
      ? hasNothingAhead(kernel, cpu) : waitsForOthers(kernel, cpu))
    // Who does not poll at the end of its window did not before either.
    if (!isQuiet || !this.#allPoll(cpu => !this.#user.isRunningAhead(cpu))) return false
    this.#user.standStill(cycle, this.#lastCpu)
    return this.#allPoll()
  }

  /** Programs on these CPUs that are not in the kernel poll flags that are not raised; and somebody is alive. */
  #allPoll(isAsked = (_cpu: KernelCpu): boolean => true): boolean {
    const { cpus, tasks } = this.kernel
    const isWaiting = cpus.every(cpu => !(cpu.inUserMode || isTakenFromUser(cpu)) || !isAsked(cpu)
      || (this.#polls(cpu) && !this.#polledFlagIsRaised(cpu)))
    return isWaiting && tasks.some(task => task.state !== 'Z')
  }

  #polls(cpu: KernelCpu): boolean {
    return this.platform.cores[cpu.id].instruction.op === 'spin'
  }

  #polledFlagIsRaised(cpu: KernelCpu): boolean {
    const { instruction } = this.platform.cores[cpu.id]
    return instruction.op === 'spin' && this.platform.isFlagRaised(instruction.flag)
  }

  #report(): void {
    this.#shared.progress[0] = this.cycle
    // Pairs with the store in the main thread when the run is interrupted or a worker died.
    if (Atomics.load(this.#shared.abort, 0) !== 0) throw new EngineError('the run was stopped')
  }
}

/** In user mode, were it not for the host. */
function isTakenFromUser(cpu: KernelCpu): boolean {
  return !cpu.inUserMode && cpu.stack.length === 1 && cpu.topFrame.isStolen
}
