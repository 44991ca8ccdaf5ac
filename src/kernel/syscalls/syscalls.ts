// The system-call boundary: traces entry and exit, finds the handler of the operation and hands
// back its result. User tasks come here from user mode; kernel threads run their programs here
// altogether. The handlers are in syscalls-memory.ts, syscalls-files.ts and syscalls-tasks.ts.

import { fail } from '../../base/assert.js'
import { EVENT } from '../../trace/events.js'
import { ERRNO } from '../abi.js'
import type { Instruction } from '../abi.js'
import type { KernelCpu } from '../cpu.js'
import { doExit } from '../sched/exit.js'
import type { KernelOp } from '../kernel-op.js'
import { schedule } from '../sched/sched.js'
import type { KernelState } from '../state.js'
import { emit, vpnHi, vpnLo } from '../state.js'
import type { CallHandler, CallTable, PageRange } from './syscall-call.js'
import { rangeOf } from './syscall-call.js'
import { FILE_CALLS } from './syscalls-files.js'
import { KERNEL_MEMORY_CALLS } from './syscalls-kernel-memory.js'
import { MEMORY_CALLS } from './syscalls-memory.js'
import { TASK_CALLS } from './syscalls-tasks.js'
import { USE_MM_CALLS } from './syscalls-use-mm.js'
import type { Task } from '../sched/task.js'
import { REG_LOOP_DEPTH, REG_LOOPS, REG_PC, REG_PROGRAM } from '../sched/task.js'
import { unuseMm } from '../mm/use-mm.js'

/** All handlers, by operation. */
const CALLS: CallTable = { ...MEMORY_CALLS, ...FILE_CALLS, ...TASK_CALLS, ...USE_MM_CALLS, ...KERNEL_MEMORY_CALLS }

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
  const bytes = range === undefined ? 0 : (range.end - range.start) * k.geometry.pageBytes
  emit(k, cpu, EVENT.sysEnter, name, vpnHi(k, start), vpnLo(k, start), bytes)
  const result = yield* dispatch(k, task, instruction, range)
  const here = k.cpus[task.cpu]
  emit(k, here, EVENT.sysExit, name, result)
  if (result < 0) k.counters.failedSyscalls += 1
  // mprotect says itself what it has changed.
  if (result >= 0 && range !== undefined && task.mm !== undefined && instruction.op !== 'mprotect') {
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
    task.isMidway = false
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
        yield* unuseMm(k, cpu, task)
        yield* doExit(k, cpu, 'exited')
        return
      default:
        yield* dispatch(k, task, instruction, rangeOf(k, task, instruction))
    }
  }
}

function dispatch(
  k: KernelState, task: Task, instruction: Instruction, range: PageRange | undefined,
): KernelOp<number> {
  const handler = CALLS[instruction.op] as CallHandler<Instruction['op']> | undefined
  if (handler === undefined) fail(`${instruction.op} is not a system call`)
  return handler(k, { cpu: k.cpus[task.cpu], task, instruction, range })
}

/** With what madvise was told. */
function nameOfCall(instruction: Instruction): string {
  return instruction.op === 'madvise' ? `madvise ${instruction.advice}` : instruction.op
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
