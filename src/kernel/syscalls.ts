// From an instruction of a program to the kernel operation it asks for: resolves ranges, counts,
// traces entry and exit, and hands back the result. User tasks come here from user mode; kernel
// threads run their programs here altogether.

import { assert } from '../base/assert.js'
import { EVENT } from '../trace/events.js'
import { ERRNO } from './abi.js'
import type { AreaRef, Instruction } from './abi.js'
import type { KernelCpu } from './cpu.js'
import { doExit, fork } from './fork.js'
import type { KernelOp } from './kernel-op.js'
import { madviseDontneed, mmap, mprotect, munmap } from './mmap.js'
import { schedule, sleepOn, sleepUntilWoken, wakeSleeper, wakeUp } from './sched.js'
import type { KernelState } from './state.js'
import { emit, vpnHi, vpnLo, vpnOf } from './state.js'
import type { Task } from './task.js'
import { REG_LOOP_DEPTH, REG_LOOPS, REG_PC, REG_PROGRAM } from './task.js'

/** A range of pages that an instruction names. */
interface PageRange {
  start: number
  end: number
}

/** Executes the system call of a task in user mode; its pc already points behind it. */
export function* systemCall(k: KernelState, task: Task, instruction: Instruction): KernelOp {
  const cpu = k.cpus[task.cpu]
  k.counters.syscalls += 1
  yield k.costs.syscall
  if (instruction.op === 'exit') {
    yield* doExit(k, cpu, 'exited')
    return
  }
  const range = rangeOf(k, task, instruction)
  const name = k.trace.intern(instruction.op)
  const begin = cpu.now
  const start = range === undefined ? 0 : range.start
  const bytes = range === undefined ? 0 : (range.end - range.start) * 2 ** k.geometry.pageShift
  emit(k, cpu, EVENT.sysEnter, name, vpnHi(k, start), vpnLo(k, start), bytes)
  const result = yield* dispatch(k, task, instruction, range)
  const here = k.cpus[task.cpu]
  emit(k, here, EVENT.sysExit, name, result)
  if (result < 0) k.counters.failedSyscalls += 1
  if (result >= 0 && range !== undefined && task.mm !== undefined) {
    k.observer?.callReturned(here, task.mm, nameOfCall(instruction), range.start, range.end, begin)
  }
  checkExpectedError(k, here, task, instruction, result)
}

/** The main function of a kernel thread: interprets its program without ever going to user mode. */
export function* kernelThreadMain(k: KernelState, task: Task): KernelOp {
  const { code } = k.image.programs[task.regs[REG_PROGRAM]]
  for (;;) {
    const instruction = code[task.regs[REG_PC]++]
    const cpu = k.cpus[task.cpu]
    switch (instruction.op) {
      case 'loop':
        task.regs[REG_LOOPS + task.regs[REG_LOOP_DEPTH]++] = instruction.times
        break
      case 'end':
        if (--task.regs[REG_LOOPS + task.regs[REG_LOOP_DEPTH] - 1] > 0) task.regs[REG_PC] = instruction.loop + 1
        else task.regs[REG_LOOP_DEPTH] -= 1
        break
      case 'compute':
        yield instruction.cycles
        // cond_resched(): a kernel thread gives way at the end of its work.
        if (cpu.needResched) yield* schedule(k, cpu)
        break
      case 'exit':
        yield* doExit(k, cpu, 'exited')
        return
      default:
        yield* dispatch(k, task, instruction, undefined)
    }
  }
}

function* dispatch(
  k: KernelState, task: Task, instruction: Instruction, range: PageRange | undefined,
): KernelOp<number> {
  const cpu = k.cpus[task.cpu]
  switch (instruction.op) {
    case 'mmap': {
      const { mm } = task
      assert(mm !== undefined, 'mmap in a kernel thread')
      const pageBytes = 2 ** k.geometry.pageShift
      const needsAddress = instruction.fixed || instruction.noReplace
      if (needsAddress && !isPageAligned(k, instruction.at?.lo ?? 0)) return -ERRNO.EINVAL
      const start = yield* mmap(k, cpu, mm, {
        ...instruction,
        at: instruction.at === undefined ? -1 : vpnOf(k, instruction.at.hi, instruction.at.lo),
        pages: Math.ceil(instruction.bytes / pageBytes),
      })
      if (start < 0) return start
      if (instruction.area >= 0) {
        k.platform.beforeSharedWrite(cpu, mm)
        k.platform.setArea(mm, instruction.area, start, Math.ceil(instruction.bytes / pageBytes))
      }
      return 0
    }
    case 'munmap':
    case 'mprotect':
    case 'madvise': {
      const { mm } = task
      assert(mm !== undefined, `${instruction.op} in a kernel thread`)
      if (range === undefined) return -ERRNO.EINVAL
      if (instruction.op === 'munmap') return yield* munmap(k, cpu, mm, range.start, range.end)
      if (instruction.op === 'madvise') return yield* madviseDontneed(k, cpu, mm, range.start, range.end)
      return yield* mprotect(k, cpu, mm, range.start, range.end, instruction.prot)
    }
    case 'fork': {
      assert(task.mm !== undefined, 'fork in a kernel thread')
      return yield* fork(k, cpu, task, task.mm, {
        comm: instruction.comm, program: instruction.program, cpus: allowedCpus(instruction.cpus, task.cpus),
      })
    }
    case 'wait':
      while (task.liveChildren > 0 && task.killedBy === undefined) {
        task.isWaitingForChildren = true
        yield* sleepOn(k, k.cpus[task.cpu], 'its children')
        task.isWaitingForChildren = false
      }
      return 0
    case 'sleep':
      yield* sleepUntilWoken(k, cpu, instruction.cycles > 0 ? instruction.cycles : Infinity)
      return 0
    case 'wake': {
      const target = k.tasks.find(other => other.comm === instruction.comm && other.state !== 'Z')
      if (target === undefined) return -ERRNO.ESRCH
      yield k.costs.wakeUp
      wakeSleeper(k, cpu, target)
      return 0
    }
    case 'barrier':
      return yield* arriveAtBarrier(k, task, instruction.barrier)
    case 'signal':
      k.platform.beforeFlagWrite(cpu)
      k.platform.raiseFlag(instruction.flag)
      return 0
    case 'mark':
      emit(k, cpu, EVENT.tracingMarkWrite, k.trace.intern(instruction.text))
      return 0
    case 'yield':
      yield* schedule(k, cpu)
      return 0
    default:
      assert(false, `${instruction.op} is not a system call`)
      return 0
  }
}

/** With what madvise was told. */
function nameOfCall(instruction: Instruction): string {
  return instruction.op === 'madvise' ? `madvise ${instruction.advice}` : instruction.op
}

/** sched_setaffinity() of a child: none given means those of the parent. */
function allowedCpus(wanted: readonly number[] | undefined, parents: readonly number[]): readonly number[] {
  return wanted === undefined || wanted.length === 0 ? parents : [...wanted].sort((a, b) => a - b)
}

/** The last to arrive wakes the others and goes on. A task that is killed while it waits has arrived all the same. */
function* arriveAtBarrier(k: KernelState, task: Task, index: number): KernelOp<number> {
  const barrier = k.barriers[index]
  const cpu = k.cpus[task.cpu]
  barrier.arrived.push(task)
  if (barrier.arrived.length >= barrier.tasks) {
    for (const other of barrier.arrived.splice(0)) {
      if (other === task) continue
      yield k.costs.wakeUp
      wakeUp(k, cpu, other)
    }
    return 0
  }
  while (barrier.arrived.includes(task) && task.killedBy === undefined) {
    yield* sleepOn(k, k.cpus[task.cpu], `barrier ${barrier.name}`)
  }
  return 0
}

function isPageAligned(k: KernelState, lo: number): boolean {
  return (lo & (2 ** k.geometry.pageShift - 1)) === 0
}

function rangeOf(k: KernelState, task: Task, instruction: Instruction): PageRange | undefined {
  if (instruction.op === 'mmap') {
    // What was asked for: the hint, 0 without one.
    const start = instruction.at === undefined ? 0 : vpnOf(k, instruction.at.hi, instruction.at.lo)
    return { start, end: start + Math.ceil(instruction.bytes / 2 ** k.geometry.pageShift) }
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

function resolveRange(k: KernelState, mm: NonNullable<Task['mm']>, where: AreaRef): PageRange | undefined {
  const pageBytes = 2 ** k.geometry.pageShift
  if (where.offset % pageBytes !== 0 || !isPageAligned(k, where.address.lo)) return undefined
  const isNamed = where.area >= 0
  const base = isNamed ? k.platform.areaStart(mm, where.area) : vpnOf(k, where.address.hi, where.address.lo)
  const areaPages = isNamed ? k.platform.areaPages(mm, where.area) : 0
  if (isNamed && areaPages === 0) return undefined
  const offsetPages = where.offset / pageBytes
  const pages = where.bytes > 0 ? Math.ceil(where.bytes / pageBytes) : areaPages - offsetPages
  return { start: base + offsetPages, end: base + offsetPages + pages }
}

/** A program may say which error it expects; anything else is recorded as a failed expectation. */
function checkExpectedError(
  k: KernelState, cpu: KernelCpu, task: Task, instruction: Instruction, result: number,
): void {
  const expected = instruction.expectError
  if (expected === undefined || result === -ERRNO[expected]) return
  const returned = result < 0 ? errorName(result) : `${result}`
  const text = `${task.comm} on cpu${cpu.id} at cycle ${cpu.now}: ${instruction.op} returned ${returned}, ` +
    `expected ${expected}`
  k.failures.push({ source: instruction.source, text })
}

/** `-12` as ENOMEM. */
function errorName(result: number): string {
  return Object.entries(ERRNO).find(([, number]) => number === -result)?.[0] ?? `${result}`
}
