// One order of steps out of all: a run in which, at numbered decisions, the CPU that is next is put off
// behind a step of another one. That is a longer step of this CPU, so every such run is a legal one.
//
//   decision   the next step is one that others could notice (a step in the kernel, a system call, a
//              fault, an access), and some other CPU could do something before it
//   put off    the CPU does nothing until another one has done a step that matters; its step comes one
//              cycle later
//
// Choosing the same decisions gives the same run. Polling and computing are no steps that matter; an
// access is one only when it filled a TLB or wrote. For the reference engine, where every
// action is a step of its own and no core runs ahead.
//
// The run is summed up in a signature of its order: two runs have the same one when their kernel steps come
// in the same order, and what user code fills its TLBs with lies in the same places between those kernel
// steps that it can see (which the hooks of the platform tell).

import { hash32 } from '../base/prng.js'
import type { KernelCpu } from '../kernel/cpu.js'
import type { Mm } from '../kernel/mm/mm.js'
import { seesTablesOf } from '../kernel/mm/mm.js'
import { nextInterruptCycle } from '../kernel/smp/ipi.js'
import { nextKernelCycle } from '../kernel/timeline.js'
import { COUNTER_L1D_MISSES, COUNTER_L1I_MISSES } from '../machine/mmu.js'
import type { SharedPlatform } from './platform.js'
import { ReferenceUserSide } from './reference.js'
import type { SharedState } from './shared-state.js'

export class ChosenOrder {
  /** Decisions that the run had. */
  decisions = 0
  /** Those whose step mattered: choosing otherwise gives another order. */
  readonly eligible: number[] = []
  readonly #chosen: ReadonlySet<number>
  readonly #held = new Set<number>()
  #cpus: readonly KernelCpu[] = []
  #platform: SharedPlatform | undefined
  #shared: SharedState | undefined
  /** Decision of the step under way; -1: none. */
  #decision = -1
  #missesBefore = 0
  #isStore = false
  #wasInUser = false
  // The signature: of kernel steps, of each CPU, of the last kernel step that each CPU's user code can see.
  #kernel = 1
  #ofCpu: number[] = []
  #seen: number[] = []
  /** CPUs whose user code can see what the step under way writes. */
  readonly #concerned = new Set<number>()

  constructor(chosen: Iterable<number>) {
    this.#chosen = new Set(chosen)
  }

  /** Two words in hexadecimal. */
  get signature(): string {
    const words = this.#ofCpu.reduce((sum, word, id) => [hash32(sum[0]!, word), hash32(sum[1]!, word ^ (id + 1))],
      [this.#kernel, ~this.#kernel])
    return words.map(word => (word >>> 0).toString(16).padStart(8, '0')).join('')
  }

  /** To be called once, before the first step. */
  attach(cpus: readonly KernelCpu[], platform: SharedPlatform, shared: SharedState): void {
    this.#cpus = cpus
    this.#platform = platform
    this.#shared = shared
    this.#ofCpu = cpus.map(({ id }) => id)
    this.#seen = cpus.map(() => 0)
  }

  isHeld(cpu: KernelCpu): boolean {
    return this.#held.has(cpu.id)
  }

  /** Before the step of `next`: true when it is put off (or others are let go), and who is next is another question. */
  putsOff(next: KernelCpu | undefined, cycle: number): boolean {
    if (this.#held.size > 0 && !this.#cpus.some(cpu => !this.#held.has(cpu.id) && this.#canGoOn(cpu))) {
      this.#release(Number.isFinite(cycle) ? cycle : 0)
      return true
    }
    this.#decision = -1
    if (next === undefined) return false
    this.#begin(next)
    if (this.#isSilent(next) || !this.#cpus.some(cpu => cpu !== next && !this.isHeld(cpu) && this.#canGoOn(cpu))) {
      return false
    }
    this.#decision = this.decisions++
    if (!this.#chosen.has(this.#decision)) return false
    this.eligible.push(this.#decision)
    this.#held.add(next.id)
    return true
  }

  /** After the step of `cpu` at `cycle`. */
  done(cpu: KernelCpu, cycle: number): void {
    const isInUser = this.#wasInUser && cpu.inUserMode
    const matters = !isInUser || this.#isStore || this.#misses(cpu.id) !== this.#missesBefore
    if (!matters) return
    if (this.#decision >= 0) this.eligible.push(this.#decision)
    this.#sign(cpu, isInUser)
    if (this.#held.size > 0) this.#release(cycle)
  }

  /** User code of these CPUs can see what the step under way is about to write. */
  concerns(cpus: readonly KernelCpu[]): void {
    for (const { id } of cpus) this.#concerned.add(id)
  }

  #begin(cpu: KernelCpu): void {
    this.#wasInUser = cpu.inUserMode
    this.#missesBefore = this.#misses(cpu.id)
    const op = this.#operation(cpu)
    this.#isStore = op === 'store' || op === 'load'
    this.#concerned.clear()
  }

  #sign(cpu: KernelCpu, isInUser: boolean): void {
    const own = this.#ofCpu[cpu.id]!
    if (isInUser && this.#concerned.size === 0) {
      this.#ofCpu[cpu.id] = hash32(own, this.#seen[cpu.id]!)
      return
    }
    const what = hash32(hash32(cpu.id, cpu.stack.length), cpu.current.pid)
    this.#kernel = hash32(hash32(this.#kernel, own), what)
    for (const id of this.#concerned) this.#kernel = hash32(this.#kernel, this.#ofCpu[id]!)
    for (const id of this.#concerned) this.#seen[id] = this.#kernel
    this.#ofCpu[cpu.id] = this.#kernel
    this.#seen[cpu.id] = this.#kernel
  }

  /** Those who were put off go on a cycle after `cycle`. */
  #release(cycle: number): void {
    for (const id of this.#held) {
      const cpu = this.#cpus[id]!
      if (!cpu.inUserMode) {
        cpu.heldUntil = cycle + 1
        cpu.retime()
        continue
      }
      const { clock } = this.#platform!.cores[id]!
      if (clock <= cycle) this.#platform!.delayUser(cpu, cycle + 1 - clock)
    }
    this.#held.clear()
  }

  #operation(cpu: KernelCpu): string {
    return cpu.inUserMode ? this.#platform!.cores[cpu.id]!.instruction.op : ''
  }

  /** The step is one that nobody else can notice, whenever it comes. */
  #isSilent(cpu: KernelCpu): boolean {
    if (!cpu.inUserMode || nextInterruptCycle(cpu) <= this.#platform!.cores[cpu.id]!.clock) return false
    const op = this.#operation(cpu)
    return op === 'compute' || op === 'spin'
  }

  /** Polling a flag leads nowhere by itself. */
  #canGoOn(cpu: KernelCpu): boolean {
    if (!cpu.inUserMode) return nextKernelCycle(cpu) < Infinity
    const core = this.#platform!.cores[cpu.id]!
    const { instruction } = core
    if (instruction.op !== 'spin') return true
    return this.#platform!.isFlagRaised(instruction.flag) || cpu.mailbox.earliest() < Infinity
  }

  #misses(id: number): number {
    const counters = this.#shared!.layout.view(this.#shared!.buffer, 'core', 'counters', id)
    return counters[COUNTER_L1D_MISSES]! + counters[COUNTER_L1I_MISSES]!
  }
}

/** The reference engine's user side, telling what user code can see. */
export class ObservedUserSide extends ReferenceUserSide {
  readonly #order: ChosenOrder
  readonly #kernelCpus: () => readonly KernelCpu[]

  constructor(order: ChosenOrder, kernelCpus: () => readonly KernelCpu[]) {
    super()
    this.#order = order
    this.#kernelCpus = kernelCpus
  }

  override beforeSharedWrite(writer: KernelCpu, mm: Mm): void {
    const concerned = (cpu: KernelCpu): boolean => cpu !== writer && cpu.inUserMode && seesTablesOf(cpu.current.mm, mm)
    this.#order.concerns(this.#kernelCpus().filter(concerned))
  }

  override beforeTlbWrite(writer: KernelCpu, target: KernelCpu): void {
    if (target !== writer && target.inUserMode) this.#order.concerns([target])
  }

  override beforeFlagWrite(writer: KernelCpu): void {
    this.#order.concerns(this.#kernelCpus().filter(cpu => cpu !== writer && cpu.inUserMode))
  }
}
