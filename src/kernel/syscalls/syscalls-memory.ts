// System calls on the caller's mappings: from what an instruction says to the operations of mmap.ts
// and its siblings.

import { ERRNO } from '../abi.js'
import type { AreaRef } from '../abi.js'
import type { KernelOp } from '../kernel-op.js'
import { madvise } from '../mm/madvise.js'
import { mmap, mprotect, munmap } from '../mm/mmap.js'
import { movePages } from '../pages/migrate.js'
import { mremap } from '../mm/mremap.js'
import { changeProtNuma } from '../mm/numa.js'
import { vpnOf } from '../state.js'
import type { KernelState } from '../state.js'
import type { Mm } from '../mm/mm.js'
import type { CallTable } from './syscall-call.js'
import { isPageAligned, mmOf, pagesOf } from './syscall-call.js'
import { memoryReclaim } from '../reclaim/vmscan.js'

export const MEMORY_CALLS: CallTable = {
  mmap(k, { cpu, task, instruction }) {
    const { at, prot, fixed, noReplace, populate, huge, giant, shared, file, fileOffset, device, area } = instruction
    if ((fixed || noReplace) && !isPageAligned(k, at?.lo ?? 0)) return invalid()
    return mmap(k, cpu, mmOf(task, 'mmap'), {
      at: at === undefined ? -1 : vpnOf(k, at.hi, at.lo),
      pages: pagesOf(k, instruction.bytes),
      prot, fixed, noReplace, populate, huge, giant, shared, file, fileOffset, device, area,
    })
  },

  munmap(k, { cpu, task, range }) {
    return range === undefined ? invalid() : munmap(k, cpu, mmOf(task, 'munmap'), range.start, range.end)
  },

  mprotect(k, { cpu, task, instruction, range }) {
    if (range === undefined) return invalid()
    return mprotect(k, cpu, mmOf(task, 'mprotect'), range.start, range.end, instruction.prot)
  },

  madvise(k, { cpu, task, instruction, range }) {
    if (range === undefined) return invalid()
    return madvise(k, cpu, mmOf(task, 'madvise'), range.start, range.end, instruction.advice)
  },

  *reclaim(k, { cpu, instruction }) {
    return yield* memoryReclaim(k, cpu, instruction.pages)
  },

  migrate(k, { cpu, task, range }) {
    return range === undefined ? invalid() : movePages(k, cpu, mmOf(task, 'migrate'), range.start, range.end)
  },

  numaHint(k, { cpu, task, range }) {
    return range === undefined ? invalid() : changeProtNuma(k, cpu, mmOf(task, 'numaHint'), range.start, range.end)
  },

  *mremap(k, { cpu, task, instruction, range }) {
    const mm = mmOf(task, 'mremap')
    if (range === undefined) return isMapped(k, mm, instruction.where) ? -ERRNO.EINVAL : -ERRNO.EFAULT
    if (!isPageAligned(k, instruction.at?.lo ?? 0)) return -ERRNO.EINVAL
    const pages = range.end - range.start
    const newPages = instruction.bytes > 0 ? pagesOf(k, instruction.bytes) : pages
    const start = yield* mremap(k, cpu, mm, {
      start: range.start, pages, newPages, mayMove: instruction.mayMove,
      at: instruction.at === undefined ? -1 : vpnOf(k, instruction.at.hi, instruction.at.lo),
    })
    if (start < 0) return start
    if (instruction.area >= 0) {
      k.platform.beforeSharedWrite(cpu, mm)
      k.platform.setArea(mm, instruction.area, start, newPages)
    }
    return 0
  },
}

function* invalid(): KernelOp<number> {
  return -ERRNO.EINVAL
}

/** Has the area a place in this address space? */
function isMapped(k: KernelState, mm: Mm, { area }: AreaRef): boolean {
  return area < 0 || k.platform.areaPages(mm, area) > 0
}
