// One system call on its way: what a handler is told, and the pages that its instruction names. The
// handlers are in files by subject (syscalls-memory.ts, syscalls-tasks.ts ...); syscalls.ts picks
// among them.

import { fail } from '../../base/assert.js'
import type { AreaRef, Instruction } from '../abi.js'
import type { KernelCpu } from '../cpu.js'
import type { KernelOp } from '../kernel-op.js'
import type { Mm } from '../mm/mm.js'
import type { KernelState } from '../state.js'
import { vpnOf } from '../state.js'
import type { Task } from '../sched/task.js'

/** A half-open range of base pages that an instruction names. */
export interface PageRange {
  start: number
  end: number
}

export interface Call<Op extends Instruction['op'] = Instruction['op']> {
  cpu: KernelCpu
  task: Task
  instruction: Extract<Instruction, { op: Op }>
  /** What the instruction names; undefined: nothing, or nothing that is page aligned and defined. */
  range: PageRange | undefined
}

/** Returns 0 or more, or a negative error number. */
export type CallHandler<Op extends Instruction['op']> = (k: KernelState, call: Call<Op>) => KernelOp<number>

/** Handlers by operation. */
export type CallTable = { readonly [Op in Instruction['op']]?: CallHandler<Op> }

/** The address space of the caller. */
export function mmOf(task: Task, what: string): Mm {
  if (task.mm === undefined) fail(`${what} in a kernel thread`)
  return task.mm
}

export function isPageAligned(k: KernelState, lo: number): boolean {
  return (lo & (k.geometry.pageBytes - 1)) === 0
}

/** Whole pages that hold `bytes`. */
export function pagesOf(k: KernelState, bytes: number): number {
  return Math.ceil(bytes / k.geometry.pageBytes)
}

/** The pages that an instruction of `task` names. */
export function rangeOf(k: KernelState, task: Task, instruction: Instruction): PageRange | undefined {
  if (instruction.op === 'mmap') {
    // What was asked for: the hint, 0 without one.
    const start = instruction.at === undefined ? 0 : vpnOf(k, instruction.at.hi, instruction.at.lo)
    return { start, end: start + pagesOf(k, instruction.bytes) }
  }
  switch (instruction.op) {
    case 'munmap':
    case 'mprotect':
    case 'madvise':
    case 'mremap':
    case 'migrate':
    case 'numaHint':
    case 'gupFast':
      return task.mm === undefined ? undefined : resolveRange(k, task.mm, instruction.where)
    default:
      return undefined
  }
}

function resolveRange(k: KernelState, mm: Mm, where: AreaRef): PageRange | undefined {
  const pageBytes = k.geometry.pageBytes
  if (where.offset % pageBytes !== 0 || !isPageAligned(k, where.address.lo)) return undefined
  const isNamed = where.area >= 0
  const base = isNamed ? k.platform.areaStart(mm, where.area) : vpnOf(k, where.address.hi, where.address.lo)
  const areaPages = isNamed ? k.platform.areaPages(mm, where.area) : 0
  if (isNamed && areaPages === 0) return undefined
  const offsetPages = where.offset / pageBytes
  const pages = where.bytes > 0 ? pagesOf(k, where.bytes) : areaPages - offsetPages
  return { start: base + offsetPages, end: base + offsetPages + pages }
}
