// A cache line that several CPUs write: mm_count, the generation of an mm, its CPU mask, the count of mmap_lock.
// Whoever wants to write it and was not the last to do so waits for it to come over, and those that want it
// meanwhile queue up: that is what limits how often all CPUs together can do it, whatever each of them could do
// alone (PIGGIN: 1 million switches a second on 192 CPUs). The lines of a call queue are in ipiSend and ackTransfer.
//
//   write   the line comes from its owner, who loses it
//   read    a copy comes from its owner, once after each write; several CPUs have copies
//
// Decided at steps of the kernel, which come in the total order, so it is the same in every engine. Prices of 0 mean
// that what a machine's other prices were fitted to contains it; then nothing is kept or charged.
//
// Simplified: the state of the line and nothing else, without prefetching or fairness of the fabric. What
// frees a lock is not held up by the line, only those behind it are.

import type { KernelCpu } from '../cpu.js'
import type { KernelState } from '../state.js'

/** The part of a kernel that prices lines; an mm is made before its kernel is. */
type Prices = Pick<KernelState, 'costs'>

export class SharedLine {
  #owner: KernelCpu | undefined
  /** CPUs that have a copy of what was written last. */
  readonly #readers = new Set<number>()
  /** Until then the line is on its way to somebody. */
  #freeAt = 0

  /** An atomic operation of `cpu` on the line: cycles until it is done beyond those that it costs on an own line. */
  write({ costs }: Prices, cpu: KernelCpu): number {
    if (costs.lineTransfer === 0) return 0
    const others = this.#readers.size > 1 || (this.#readers.size === 1 && !this.#readers.has(cpu.id))
    const cycles = this.#owner === cpu ? (others ? costs.lineTransfer : 0) : transferCycles(costs, this.#owner, cpu)
    this.#owner = cpu
    this.#readers.clear()
    return this.#occupy(cpu, cycles)
  }

  /** A read of `cpu`: cycles until it has the line. */
  read({ costs }: Prices, cpu: KernelCpu): number {
    if (costs.lineTransfer === 0 || this.#owner === cpu || this.#readers.has(cpu.id)) return 0
    this.#readers.add(cpu.id)
    const cycles = transferCycles(costs, this.#owner, cpu)
    // Copies are handed out in parallel, once the line has arrived where it was written.
    return cycles === 0 ? 0 : Math.max(this.#freeAt, cpu.now) + cycles - cpu.now
  }

  #occupy(cpu: KernelCpu, cycles: number): number {
    if (cycles === 0) return 0
    this.#freeAt = Math.max(this.#freeAt, cpu.now) + cycles
    return this.#freeAt - cpu.now
  }
}

/** A line that nobody has comes from memory for free: the prices of calls contain it. */
function transferCycles(costs: KernelState['costs'], from: KernelCpu | undefined, to: KernelCpu): number {
  if (from === undefined) return 0
  return from.socket === to.socket ? costs.lineTransfer : costs.lineTransferRemote
}
