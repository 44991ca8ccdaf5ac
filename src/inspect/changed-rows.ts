// Which CPUs' rows may read otherwise than at the last look, so that --check does not go through every CPU of the
// machine after every step. A row is what checkRow and checkInterrupts (check-cpu.ts) read, and each part of it has
// few writers:
//
//   read                                                   written
//   task, mode, stack, depths, LDT, tlb46, tlb6x,          in a step of the CPU itself, which is
//   user flush mask, root and PCID in CR3                  retimed with every step (KernelCpu.retime)
//   vcpu.flushOnEntry, queues, timers, slice, tick,        by the CPU, or by another that retimes it
//   needResched, interrupts on their way to it             in the same step
//   `waiting` of the top frame                             to true by the CPU, to false by wakeFrame
//                                                          which retimes it
//   mm and activeMm of the task that runs                  in a step of the CPU that runs it
//   bit of the CPU in mm_cpumask                           in a step of the CPU, or from its store buffer (1)
//   isFreed of an mm                                       by mmdrop, which takes the mm out of k.mms (2)
//   use and reference count of the root's frame            by Frames.put, which tells the watch (3)
//   LDT of the mm, isFreed of an LDT, and the LDT lock     by any thread of the mm (4)
//   where the CPU's LDT is another than the mm's
//   what the senders of queued requests wait for           by the senders and by others that answer (5)
//
// The geometry, the configuration and the frame of an mm's root never change. So rows are looked at
//
//   * of CPUs that were retimed in the step (the engine empties k.retimed before each step);
//   * of CPUs that had requests in their queues at the last look (5);
//   * of all CPUs after a step that may have changed a fact that they share, (1) to (4). An LDT comes into being in a
//     step of a CPU that runs its mm, or as a copy of one: from then on all rows are read after every step.

import type { KernelCpu } from '../kernel/cpu.js'
import type { KernelState } from '../kernel/state.js'
import { watchOf } from './watch.js'

export class ChangedRows {
  /** Address spaces that there were, and ids that had been given. */
  #mms = -1
  #nextCtxId = -1
  /** Blocks of frames that had been given back. */
  #frees = -1
  #wasStoreBuffered = false
  #isLdtUsed = false
  /** By CPU: 1 when its queue of requests was not empty at the last look. */
  readonly #hadRequests: Uint8Array

  constructor(cpus: number) {
    this.#hadRequests = new Uint8Array(cpus)
  }

  /** Must the row of every CPU be looked at now? To be asked after every step. */
  areAll(k: KernelState): boolean {
    const frees = watchOf(k)?.frees
    const isStoreBuffered = k.storeBuffer.length > 0
    const isSame = k.mms.size === this.#mms && k.nextCtxId === this.#nextCtxId && frees === this.#frees
      && !isStoreBuffered && !this.#wasStoreBuffered && !this.#usesLdt(k)
    if (isSame) return false
    this.#mms = k.mms.size
    this.#nextCtxId = k.nextCtxId
    // Without a watch nobody counts.
    this.#frees = frees ?? -1
    this.#wasStoreBuffered = isStoreBuffered
    return true
  }

  /** Must the row of this CPU be looked at, even if not all must? */
  includes(cpu: KernelCpu): boolean {
    return cpu.isRetimed || this.#hadRequests[cpu.id] === 1
  }

  /** The row of this CPU is looked at now. */
  noteLook({ id, callQueue }: KernelCpu): void {
    this.#hadRequests[id] = callQueue.length > 0 ? 1 : 0
  }

  #usesLdt(k: KernelState): boolean {
    if (this.#isLdtUsed) return true
    for (const { current, ldt } of k.retimed) {
      if (ldt !== undefined || current.activeMm?.ldt !== undefined) this.#isLdtUsed = true
    }
    return this.#isLdtUsed
  }
}
