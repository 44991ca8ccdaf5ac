// System calls and kernel work on an address space as such: kernel threads that take one, lockless
// walks of its tables, its LDT.

import { ERRNO } from '../abi.js'
import { gupFast } from '../mm/gup-fast.js'
import { modifyLdt } from '../mm/ldt.js'
import { vpnOf } from '../state.js'
import type { CallTable } from './syscall-call.js'
import { mmOf } from './syscall-call.js'
import { mmOfProcess, touchUserMemory, unuseMm, useMm } from '../mm/use-mm.js'

export const USE_MM_CALLS: CallTable = {
  *useMm(k, { cpu, task, instruction }) {
    return yield* useMm(k, cpu, task, mmOfProcess(k, instruction.process))
  },

  *unuseMm(k, { cpu, task }) {
    return yield* unuseMm(k, cpu, task)
  },

  // Of a kernel thread that uses an mm; programs touch memory in user mode.
  *touch(k, { task, instruction }) {
    const { mm } = task
    if (mm === undefined) return -ERRNO.EFAULT
    const { where } = instruction
    const base = where.area >= 0 ? k.platform.areaStart(mm, where.area) : vpnOf(k, where.address.hi, where.address.lo)
    const pages = where.area >= 0 ? k.platform.areaPages(mm, where.area) : 0
    return yield* touchUserMemory(k, task, instruction, base, pages)
  },

  *gupFast(k, { cpu, task, range }) {
    if (task.mm === undefined || range === undefined) return -ERRNO.EFAULT
    return yield* gupFast(k, cpu, task.mm, range.start, range.end)
  },

  *modifyLdt(k, { cpu, task, instruction }) {
    return yield* modifyLdt(k, cpu, mmOf(task, 'modifyLdt'), instruction.entries)
  },
}
