// The kernel itself accesses a buffer in vmalloc space, through the TLB of the CPU that it runs on.
// What a wrong access does depends on that TLB alone:
//
//   mapped                     fine
//   not mapped, root too old   a fault that copies the root's entry (vmalloc-sync.ts), then fine
//   freed, not in the TLB      a kernel oops: the task ends where it stands, nobody else does
//   freed, still in the TLB    goes through to a frame that may be somebody else's by now

import { ACCESS_READ, ACCESS_WRITE } from '../abi.js'
import type { KernelTouchInstruction } from '../abi.js'
import type { KernelCpu } from '../cpu.js'
import { doExit } from '../sched/exit.js'
import type { KernelOp } from '../kernel-op.js'
import type { KernelState } from '../state.js'
import { emit, vpnHi, vpnLo } from '../state.js'
import type { Task } from '../sched/task.js'
import { unuseMm } from './use-mm.js'
import { vmallocFault } from './vmalloc-sync.js'
import { PAGE_FAULT, TRANSLATED } from '../../machine/mmu.js'
import { EVENT } from '../../trace/events.js'

/** `count` accesses, access by access. Does not return when one of them is an oops. */
export function* touchKernelBuffer(
  k: KernelState, task: Task, { buffer, access, offset, stride, count }: KernelTouchInstruction,
): KernelOp<number> {
  // A buffer that was never allocated is the null pointer.
  const area = k.vmalloc.buffers[buffer]
  const pageBytes = k.geometry.pageBytes
  for (let i = 0; i < count; i++) {
    const vpn = (area?.start ?? 0) + Math.floor((offset + i * stride) / pageBytes)
    yield* accessKernelPage(k, task, vpn, access === 'write')
    if (area !== undefined && area.state !== 'used') k.counters.kernelUseAfterFree += 1
  }
  return 0
}

function* accessKernelPage(k: KernelState, task: Task, vpn: number, write: boolean): KernelOp {
  for (;;) {
    const cpu = k.cpus[task.cpu]
    const mmu = k.platform.mmu(cpu.id)
    const status = mmu.translate(vpnHi(k, vpn), vpnLo(k, vpn), write ? ACCESS_WRITE : ACCESS_READ, false, true)
    yield Math.max(1, mmu.cycles)
    if (status === TRANSLATED) return
    emit(k, cpu, EVENT.pageFaultKernel, vpnHi(k, vpn), vpnLo(k, vpn), 0, 0, mmu.errorCode)
    k.counters.pageFaults += 1
    yield k.costs.pageFault
    if (status === PAGE_FAULT && vmallocFault(k, cpu, vpn)) continue
    yield* oops(k, cpu, task, vpn)
  }
}

/** page_fault_oops(), make_task_dead(): the task, whether of a process or of the kernel, never returns. */
function* oops(k: KernelState, cpu: KernelCpu, task: Task, vpn: number): KernelOp {
  emit(k, cpu, EVENT.signal, k.trace.intern('kernel oops'), vpnHi(k, vpn), vpnLo(k, vpn))
  k.counters.kernelOopses += 1
  if (task.isKernelThread) yield* unuseMm(k, cpu, task)
  yield* doExit(k, cpu, 'SIGSEGV')
}
