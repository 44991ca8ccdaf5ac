// Locks in virtual time: mmap_lock (readers and one writer) and the page-table locks. A waiter
// spins on its CPU, takes interrupts meanwhile, and gets the lock in the order of asking (under a
// perturbation mmap_lock goes to any of them).
//
// Simplified: mmap_lock is a sleeping lock in Linux, with optimistic spinning on a running owner.
// Owners here never sleep while they hold it, so waiters always spin; a blocked CPU therefore
// does not run another task, which makes contention on oversubscribed CPUs dearer than in Linux.

import { assert } from '../base/assert.js'
import type { KernelCpu } from './cpu.js'
import { WAIT, wakeFrame } from './kernel-op.js'
import type { KernelFrame, KernelOp } from './kernel-op.js'
import type { Perturber } from './perturbation.js'

interface Waiter {
  cpu: KernelCpu
  frame: KernelFrame
  exclusive: boolean
}

/** A fair reader/writer lock. Page-table locks use only its exclusive side. */
export class Lock {
  #readers = 0
  #writer = false
  readonly #waiters: Waiter[] = []
  readonly #name: string
  readonly #cycles: number
  readonly #perturber: Perturber | undefined

  /**
   * `cycles` is the price of an uncontended acquisition. With a perturber the lock is not fair: any waiter may be
   * next, as with mmap_lock in Linux, which running tasks steal (rwsem_optimistic_spin).
   */
  constructor(name: string, cycles: number, perturber?: Perturber) {
    this.#name = name
    this.#cycles = cycles
    this.#perturber = perturber
  }

  get isHeld(): boolean {
    return this.#writer || this.#readers > 0
  }

  get isHeldForWriting(): boolean {
    return this.#writer
  }

  /** The exclusive side, if nobody has either. */
  tryAcquire(): boolean {
    if (this.isHeld || this.#waiters.length > 0) return false
    this.#writer = true
    return true
  }

  *acquire(cpu: KernelCpu, exclusive: boolean): KernelOp {
    if (this.#cycles > 0) yield this.#cycles
    const free = exclusive ? !this.isHeld : !this.#writer
    if (free && this.#waiters.length === 0) {
      this.#take(exclusive)
      return
    }
    this.#waiters.push({ cpu, frame: cpu.topFrame, exclusive })
    cpu.waitingFor = this.#name
    yield WAIT
    cpu.waitingFor = ''
  }

  /** Releases one hold; the next waiters continue at this CPU's present cycle. */
  release(cpu: KernelCpu, exclusive: boolean): void {
    assert(exclusive ? this.#writer : this.#readers > 0, `${this.#name} released but not held`)
    if (exclusive) this.#writer = false
    else this.#readers -= 1
    this.#admit(cpu)
  }

  /** downgrade_write: the writer becomes a reader without letting another writer in between. */
  downgrade(cpu: KernelCpu): void {
    assert(this.#writer, `${this.#name} downgraded but not held for writing`)
    this.#writer = false
    this.#readers += 1
    this.#admit(cpu)
  }

  #take(exclusive: boolean): void {
    if (exclusive) this.#writer = true
    else this.#readers += 1
  }

  #admit(releaser: KernelCpu): void {
    for (;;) {
      const at = this.#perturber?.waiter(releaser.id, this.#waiters.length) ?? 0
      const next = this.#waiters[at]
      if (next === undefined) return
      if (next.exclusive ? this.isHeld : this.#writer) return
      this.#waiters.splice(at, 1)
      this.#take(next.exclusive)
      // At the earliest one cycle later on another CPU, so that the order (cycle, cpu) stays total.
      wakeFrame(next.frame, releaser.now + 1)
    }
  }
}
