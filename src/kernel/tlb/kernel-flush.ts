// flush_tlb_all() and flush_tlb_kernel_range(): every CPU drops kernel translations, whatever it runs, and the
// caller waits for all. The eras differ in what a CPU does then, and in whether one that has been called
// already is interrupted again. No tlb_flush record in either.

import type { KernelCpu } from '../cpu.js'
import { anonymousRequest, beginFlush, endFlush, onEachCpu } from './flush-request.js'
import type { KernelOp } from '../kernel-op.js'
import type { KernelState } from '../state.js'
import { FLUSH_ALL } from './tlb-policy.js'
import type { TlbPolicy } from './tlb-policy.js'

/** What an era does on every CPU. */
export interface KernelFlush {
  /** An interrupt for every target, also one whose queue is not empty (ipi.ts). */
  alwaysSend: boolean
  /** do_flush_tlb_all(). */
  doAll: (k: KernelState, cpu: KernelCpu) => KernelOp
  /** do_kernel_range_flush() of `pages` pages from `start`. */
  doRange: (k: KernelState, cpu: KernelCpu, start: number, pages: number) => KernelOp
}

/** Both functions for a policy: page by page up to the ceiling, else everything. */
export function kernelFlushes(flush: KernelFlush): Pick<TlbPolicy, 'flushAll' | 'flushKernelRange'> {
  return {
    *flushAll(k, cpu) {
      k.counters.nr_tlb_remote_flush += 1
      yield* flushKernel(k, cpu, flush, 0, FLUSH_ALL)
    },
    *flushKernelRange(k, cpu, start, end) {
      const all = end - start > k.config.kernel.flushCeilingPages
      yield* flushKernel(k, cpu, flush, all ? 0 : start, all ? FLUSH_ALL : end)
    },
  }
}

function* flushKernel(k: KernelState, cpu: KernelCpu, flush: KernelFlush, start: number, end: number): KernelOp {
  cpu.preemptCount += 1
  const begin = cpu.now
  const info = anonymousRequest(cpu, start, end)
  beginFlush(k, cpu, info)
  yield k.costs.flushSetup
  const onEach = end === FLUSH_ALL
    ? (each: KernelCpu) => flush.doAll(k, each)
    : (each: KernelCpu) => flush.doRange(k, each, start, end - start)
  const targets = yield* onEachCpu(k, cpu, onEach, { alwaysSend: flush.alwaysSend })
  endFlush(k, cpu, info, targets, begin)
  cpu.preemptCount -= 1
}
