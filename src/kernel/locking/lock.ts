// Spinning locks in virtual time: page-table locks, and some that Linux lets sleep but whose owners
// never do here (i_mmap_rwsem, page locks, the LDT lock). A waiter spins on its CPU, takes
// interrupts meanwhile, and gets the lock in the order of asking. mmap_lock sleeps: rwsem.ts.
//
// Simplified: waiters for those that sleep in Linux spin, so their CPUs run nothing else meanwhile.

import { fail } from '../../base/assert.js'
import type { KernelCpu } from '../cpu.js'
import { NOTHING, WAIT, wakeFrame } from '../kernel-op.js'
import type { KernelFrame, KernelOp } from '../kernel-op.js'

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

  /** `cycles` is the price of an uncontended acquisition. */
  constructor(name: string, cycles: number) {
    this.#name = name
    this.#cycles = cycles
  }

  get isHeld(): boolean {
    return this.#writer || this.#readers > 0
  }

  get isHeldForWriting(): boolean {
    return this.#writer
  }

  /** The exclusive side, if nobody has either. */
  tryAcquire(): boolean {
    return this.#tryTake(true)
  }

  acquire(cpu: KernelCpu, exclusive: boolean): KernelOp {
    return this.#cycles === 0 && this.#tryTake(exclusive) ? NOTHING : this.#acquire(cpu, exclusive)
  }

  *#acquire(cpu: KernelCpu, exclusive: boolean): KernelOp {
    if (this.#cycles > 0) yield this.#cycles
    if (this.#tryTake(exclusive)) return
    this.#waiters.push({ cpu, frame: cpu.topFrame, exclusive })
    const begin = cpu.now
    cpu.waitingFor = this.#name
    yield WAIT
    cpu.waitingFor = ''
    cpu.counters.spinLockContended += 1
    cpu.counters.spinLockWaitCycles += cpu.now - begin
  }

  /** Releases one hold; the next waiters continue at this CPU's present cycle. */
  release(cpu: KernelCpu, exclusive: boolean): void {
    if (!(exclusive ? this.#writer : this.#readers > 0)) fail(`${this.#name} released but not held`)
    if (exclusive) this.#writer = false
    else this.#readers -= 1
    this.#admit(cpu)
  }

  /** downgrade_write: the writer becomes a reader without letting another writer in between. */
  downgrade(cpu: KernelCpu): void {
    if (!this.#writer) fail(`${this.#name} downgraded but not held for writing`)
    this.#writer = false
    this.#readers += 1
    this.#admit(cpu)
  }

  #tryTake(exclusive: boolean): boolean {
    const isFree = exclusive ? !this.isHeld : !this.#writer
    if (!isFree || this.#waiters.length > 0) return false
    this.#take(exclusive)
    return true
  }

  #take(exclusive: boolean): void {
    if (exclusive) this.#writer = true
    else this.#readers += 1
  }

  #admit(releaser: KernelCpu): void {
    for (;;) {
      const next = this.#waiters[0]
      if (next === undefined) return
      if (next.exclusive ? this.isHeld : this.#writer) return
      this.#waiters.shift()
      this.#take(next.exclusive)
      // At the earliest one cycle later on another CPU, so that the order (cycle, cpu) stays total.
      wakeFrame(next.cpu, next.frame, releaser.now + 1)
    }
  }
}
