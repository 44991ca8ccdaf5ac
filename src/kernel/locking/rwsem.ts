// struct rw_semaphore (kernel/locking/rwsem.c): mmap_lock. Many readers or one writer; whoever has to
// wait sleeps, and its CPU runs something else or goes idle (and is lazy then, as far as TLBs are
// concerned). A writer spins first, as long as that is likely to be shorter than a sleep:
//
//   owner is                   a writer that wants it     a reader that wants it
//   a writer on some CPU       spins while it runs        sleeps
//   a writer that sleeps       sleeps                     sleeps
//   readers                    4.6: sleeps                takes it, unless somebody is queued
//                              6.x: spins 10 to 25 us
//
// Spinning ends when the spinner's own CPU has something else to run. A release gives the lock to the
// first spinner, else to the readers at the head of the queue (6.x: to all readers in it), else it
// wakes the writer at the head, who has to take it himself: until then others may steal it. A writer
// who has waited 4 ms in the queue is handed the lock next (6.x; 4.6 knows no hand-off).
//
// Simplified: a task that sleeps here stays on its CPU when it is woken, because kernel functions
// know the CPU that they run on; Linux would place it anew. Optimistic readers of kernels 5.3 to
// 5.10 are left out. Waking waiters costs the releaser nothing.

import { fail } from '../../base/assert.js'
import { removeAt, removeFrom } from '../../base/lists.js'
import type { KernelCpu } from '../cpu.js'
import { WAIT, wakeFrame } from '../kernel-op.js'
import type { KernelFrame, KernelOp } from '../kernel-op.js'
import { sleepOn, wakeUp } from '../sched/sched.js'
import { SharedLine } from '../smp/cache-line.js'
import type { KernelState } from '../state.js'
import type { Task } from '../sched/task.js'

/** RWSEM_WAIT_TIMEOUT, microseconds. */
const HANDOFF_US = 4000
/** rwsem_rspin_threshold(): how long readers are spun on, microseconds. */
const READER_SPIN_US = 10
const READER_SPIN_EACH_US = 0.5
const READER_SPIN_MAX_US = 25
/** MAX_READERS_WAKEUP. */
const READERS_WOKEN = 256

interface Spinner {
  readonly cpu: KernelCpu
  readonly frame: KernelFrame
  granted: boolean
}

interface Waiter {
  readonly task: Task
  readonly exclusive: boolean
  readonly since: number
  granted: boolean
}

export class RwSem {
  #readers = 0
  #writer: Task | undefined
  readonly #spinners: Spinner[] = []
  readonly #queue: Waiter[] = []
  /** Of the count: a write for every acquisition and for every release. */
  readonly #line = new SharedLine()
  readonly #name: string
  readonly #cycles: number
  readonly #kernel: () => KernelState

  /** `cycles` is the price of an uncontended acquisition. */
  constructor(name: string, cycles: number, kernel: () => KernelState) {
    this.#name = name
    this.#cycles = cycles
    this.#kernel = kernel
  }

  get isHeld(): boolean {
    return this.#writer !== undefined || this.#readers > 0
  }

  get isHeldForWriting(): boolean {
    return this.#writer !== undefined
  }

  /** down_read() or down_write(): a fatal signal does not end the wait. */
  acquire(cpu: KernelCpu, exclusive: boolean): KernelOp<boolean> {
    return this.#acquire(cpu, exclusive, false)
  }

  /** down_read_killable(), down_write_killable(): false when the task was killed. 4.6 had none for mmap_sem. */
  acquireKillable(cpu: KernelCpu, exclusive: boolean): KernelOp<boolean> {
    return this.#acquire(cpu, exclusive, this.#kernel().config.kernel.era !== 'linux-4.6')
  }

  /** Releases one hold; whoever gets the lock continues at this CPU's present cycle at the earliest. */
  release(cpu: KernelCpu, exclusive: boolean): void {
    if (!(exclusive ? this.#writer !== undefined : this.#readers > 0)) fail(`${this.#name} released but not held`)
    this.#line.write(this.#kernel(), cpu)
    if (exclusive) this.#clearWriter()
    else this.#readers -= 1
    if (!this.isHeld) this.#passOn(cpu)
  }

  /** downgrade_write(): the writer becomes a reader without letting another writer in between. */
  downgrade(cpu: KernelCpu): void {
    if (this.#writer === undefined) fail(`${this.#name} downgraded but not held for writing`)
    this.#line.write(this.#kernel(), cpu)
    this.#clearWriter()
    this.#readers += 1
    if (this.#queue[0]?.exclusive === false) this.#admitReaders(cpu)
    this.#stirSpinners(cpu)
  }

  /** The task that holds the lock for writing is about to sleep: nobody spins on it any more. */
  ownerLeavesCpu(cpu: KernelCpu): void {
    this.#stirSpinners(cpu)
  }

  /** The CPU of a spinner has something else to run (need_resched). */
  stopSpinning(cpu: KernelCpu): void {
    const spinner = this.#spinners.find(each => each.cpu === cpu)
    if (spinner !== undefined && !spinner.granted) resume(spinner, cpu.now)
  }

  *#acquire(cpu: KernelCpu, exclusive: boolean, killable: boolean): KernelOp<boolean> {
    if (this.#cycles > 0) yield this.#cycles
    const forLine = this.#line.write(this.#kernel(), cpu)
    if (forLine > 0) yield forLine
    if (this.#queue.length === 0 && this.#take(cpu.current, exclusive)) return true
    const { counters } = this.#kernel()
    const begin = cpu.now
    counters.mmapLockContended += 1
    const isTaken = exclusive
      ? (this.#maySpin(cpu) && (yield* this.#spin(cpu))) || (yield* this.#downWriteSlow(cpu, killable))
      : yield* this.#downReadSlow(cpu, killable)
    counters.mmapLockWaitCycles += cpu.now - begin
    return isTaken
  }

  /** rwsem_down_read_slowpath(). */
  *#downReadSlow(cpu: KernelCpu, killable: boolean): KernelOp<boolean> {
    // Steal the lock from a writer who is still waking up, but do not keep readers coming while one waits.
    if (this.#readers === 0 && !this.#hasHandoff(cpu) && this.#take(cpu.current, false)) {
      if (this.#queue[0]?.exclusive === false) this.#admitReaders(cpu)
      return true
    }
    const waiter = this.#enqueue(cpu, false)
    while (!waiter.granted && !(killable && cpu.current.killedBy !== undefined)) yield* this.#sleep(cpu, killable)
    if (!waiter.granted) this.#giveUp(cpu, waiter)
    return waiter.granted
  }

  /** rwsem_down_write_slowpath() of who has given up spinning. */
  *#downWriteSlow(cpu: KernelCpu, killable: boolean): KernelOp<boolean> {
    const waiter = this.#enqueue(cpu, true)
    while (!this.#takeQueued(cpu, waiter)) {
      if (killable && cpu.current.killedBy !== undefined) {
        this.#giveUp(cpu, waiter)
        return false
      }
      yield* this.#sleep(cpu, killable)
    }
    return true
  }

  /** rwsem_optimistic_spin(): true when the lock was got. Spinners queue up behind each other (osq). */
  *#spin(cpu: KernelCpu): KernelOp<boolean> {
    if (!this.isHeld && !this.#hasHandoff(cpu) && this.#spinners.length === 0) return this.#take(cpu.current, true)
    const spinner: Spinner = { cpu, frame: cpu.topFrame, granted: false }
    this.#spinners.push(spinner)
    cpu.preemptCount += 1
    cpu.spinsOn = this
    cpu.waitingFor = this.#name
    let readersUntil = Infinity
    while (!spinner.granted && this.#maySpin(cpu)) {
      if (this.#readers === 0) {
        readersUntil = Infinity
        yield WAIT
        continue
      }
      if (readersUntil === Infinity) readersUntil = cpu.now + this.#readerSpinCycles()
      if (cpu.now >= readersUntil) break
      yield readersUntil - cpu.now
    }
    cpu.waitingFor = ''
    cpu.spinsOn = undefined
    cpu.preemptCount -= 1
    if (!spinner.granted) removeFrom(this.#spinners, spinner)
    return spinner.granted
  }

  /** rwsem_can_spin_on_owner(). */
  #maySpin(cpu: KernelCpu): boolean {
    if (cpu.needResched) return false
    const k = this.#kernel()
    if (this.#readers > 0) return k.config.kernel.era !== 'linux-4.6'
    return this.#writer === undefined || k.cpus[this.#writer.cpu].running === this.#writer
  }

  #readerSpinCycles(): number {
    const us = this.#queue.length === 0 ? READER_SPIN_MAX_US
      : Math.min(READER_SPIN_MAX_US, READER_SPIN_US + Math.min(30, this.#readers) * READER_SPIN_EACH_US)
    return Math.floor(us * 1000 * this.#kernel().costs.frequencyGhz)
  }

  *#sleep(cpu: KernelCpu, killable: boolean): KernelOp {
    const task = cpu.current
    this.#kernel().counters.mmapLockSleeps += 1
    task.migrationDisabled += 1
    task.isMidway = true
    yield* sleepOn(this.#kernel(), cpu, this.#name, killable ? 'killable' : 'uninterruptible')
    task.migrationDisabled -= 1
  }

  #enqueue(cpu: KernelCpu, exclusive: boolean): Waiter {
    const waiter = { task: cpu.current, exclusive, since: cpu.now, granted: false }
    this.#queue.push(waiter)
    return waiter
  }

  /** A writer in the queue takes the lock: the first, or any while nobody is to be handed it. */
  #takeQueued(cpu: KernelCpu, waiter: Waiter): boolean {
    const isFirst = this.#queue[0] === waiter
    if (this.isHeld || (!isFirst && this.#hasHandoff(cpu))) return false
    removeFrom(this.#queue, waiter)
    return this.#take(waiter.task, true)
  }

  #take(task: Task, exclusive: boolean): boolean {
    if (exclusive ? this.isHeld : this.#writer !== undefined) return false
    if (!exclusive) {
      this.#readers += 1
      return true
    }
    this.#writer = task
    task.writerOf.push(this)
    return true
  }

  #clearWriter(): void {
    const owner = this.#writer
    this.#writer = undefined
    if (owner !== undefined) removeFrom(owner.writerOf, this)
  }

  /** The first in the queue is a writer who has waited too long. */
  #hasHandoff(cpu: KernelCpu): boolean {
    const first = this.#queue[0]
    const k = this.#kernel()
    return first !== undefined && first.exclusive && k.config.kernel.era !== 'linux-4.6'
      && cpu.now - first.since > HANDOFF_US * 1000 * k.costs.frequencyGhz
  }

  /** rwsem_wake(): the lock is free. */
  #passOn(cpu: KernelCpu): void {
    // Perturbed runs let any of them be the first to see it.
    const at = this.#kernel().perturber?.waiter(cpu.id, this.#spinners.length) ?? 0
    const spinner = this.#spinners[at]
    if (spinner !== undefined && !this.#hasHandoff(cpu)) {
      removeAt(this.#spinners, at)
      this.#take(spinner.cpu.current, true)
      spinner.granted = true
      resume(spinner, cpu.now)
      // Those behind it have another owner to look at.
      this.#stirSpinners(cpu)
      return
    }
    const first = this.#queue[0]
    if (first === undefined) return
    if (first.exclusive) wakeUp(this.#kernel(), cpu, first.task)
    else this.#admitReaders(cpu)
  }

  /** rwsem_mark_wake(): 4.6 wakes the readers up to the first writer, 6.x all of them. */
  #admitReaders(cpu: KernelCpu): void {
    const k = this.#kernel()
    const upToWriter = k.config.kernel.era === 'linux-4.6'
    const woken: Waiter[] = []
    for (const waiter of this.#queue) {
      if (waiter.exclusive && upToWriter) break
      if (!waiter.exclusive && woken.length < READERS_WOKEN) woken.push(waiter)
    }
    for (const waiter of woken) {
      removeFrom(this.#queue, waiter)
      this.#readers += 1
      waiter.granted = true
      wakeUp(k, cpu, waiter.task)
    }
  }

  /** A waiter that was killed leaves; it may have been the one who was to go on. */
  #giveUp(cpu: KernelCpu, waiter: Waiter): void {
    removeFrom(this.#queue, waiter)
    if (!this.isHeld) this.#passOn(cpu)
    else if (this.#writer === undefined && this.#queue[0]?.exclusive === false) this.#admitReaders(cpu)
  }

  /** The owner is another one: spinners look whether it still pays. */
  #stirSpinners(cpu: KernelCpu): void {
    for (const spinner of this.#spinners) resume(spinner, cpu.now)
  }
}

/** A spinner goes on in the next cycle, whether it waits for an owner or for the end of its patience. */
function resume(spinner: Spinner, now: number): void {
  const { cpu, frame } = spinner
  if (frame.waiting) {
    wakeFrame(cpu, frame, now + 1)
  } else if (frame.resumeAt > now) {
    frame.resumeAt = now + 1
    cpu.retime()
  }
}
