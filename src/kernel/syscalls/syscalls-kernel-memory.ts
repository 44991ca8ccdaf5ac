// Work of the kernel on memory of its own, on behalf of a task: buffers in vmalloc space.

import { touchKernelBuffer } from '../mm/kernel-access.js'
import type { CallTable } from './syscall-call.js'
import { vfree, vmalloc } from '../mm/vmalloc.js'

export const KERNEL_MEMORY_CALLS: CallTable = {
  *vmalloc(k, { cpu, instruction }) {
    return yield* vmalloc(k, cpu, instruction.buffer, instruction.bytes)
  },

  *vfree(k, { cpu, instruction }) {
    return yield* vfree(k, cpu, instruction.buffer)
  },

  *kernelTouch(k, { task, instruction }) {
    return yield* touchKernelBuffer(k, task, instruction)
  },
}
