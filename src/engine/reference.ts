// The oracle: one action at a time, in the total order (cycle, cpu). Nothing runs ahead, so
// nothing has to be put back and no hook has anything to do. Slow and obviously right; the other
// engines must give the same bytes.

import type { KernelCpu } from '../kernel/cpu.js'
import type { Mm } from '../kernel/mm/mm.js'
import type { Core } from './core.js'
import type { UserSide } from './user-side.js'

export class ReferenceUserSide implements UserSide {
  #cores: readonly Core[] = []

  attach(cores: readonly Core[]): void {
    this.#cores = cores
  }

  prepare(): void {
    // Nothing runs ahead.
  }

  cycleOf(cpu: KernelCpu): number {
    return this.#cores[cpu.id].clock
  }

  reached(): boolean {
    return true
  }

  isRunningAhead(): boolean {
    return false
  }

  beforeCommit(): void {
    // No other core can have passed this cycle.
  }

  committed(): void {
    // The clock says where the core is.
  }

  beforeSharedWrite(_writer: KernelCpu, _mm: Mm): void {
    // As beforeCommit.
  }

  beforeTlbWrite(_writer: KernelCpu, _target: KernelCpu): void {
    // As beforeCommit.
  }

  beforeFlagWrite(_writer: KernelCpu): void {
    // As beforeCommit.
  }

  interruptAt(): void {
    // The core looks before its next action.
  }

  enterUser(): void {
    // The clock was set.
  }

  standStill(): void {
    // Every core stands where it is.
  }

  settle(): void {
    // Every core stands where it is.
  }
}
