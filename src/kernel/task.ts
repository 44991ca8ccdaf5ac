// struct task_struct, as far as memory management and scheduling need it, and the registers that
// a task has while it runs a program in user mode.

import type { KernelFrame } from './kernel-op.js'
import type { Mm } from './mm.js'
import { MAX_LOOP_DEPTH } from './abi.js'
import type { Program } from './abi.js'

// A task's registers are a few 32-bit words, so that a CPU core can keep them beside its TLB and
// be put back by a copy:
//
//   word 0        program being run (index into ProgramImage.programs)
//   word 1        pc: index of the next instruction
//   word 2        loop depth
//   word 3..10    iterations left, outermost loop first
export const REG_PROGRAM = 0
export const REG_PC = 1
export const REG_LOOP_DEPTH = 2
export const REG_LOOPS = 3
export const REG_WORDS = REG_LOOPS + MAX_LOOP_DEPTH

/** TASK_RUNNING, TASK_INTERRUPTIBLE, EXIT_ZOMBIE as sched_switch prints them. */
export type TaskState = 'R' | 'S' | 'Z'

export type TaskOutcome = 'running' | 'exited' | 'SIGSEGV' | 'SIGBUS' | 'SIGKILL'

export interface TaskOptions {
  pid: number
  tgid: number
  comm: string
  mm: Mm | undefined
  isIdle: boolean
  cpus: readonly number[]
  program: number
}

export class Task {
  readonly pid: number
  /** Threads of one process share it. */
  readonly tgid: number
  readonly comm: string
  /** Interned name for the trace; idle tasks print as <idle>. */
  commId = 0
  readonly isIdle: boolean
  /** No mm of its own: a kernel thread or an idle task. */
  readonly isKernelThread: boolean
  mm: Mm | undefined
  /** The address space the CPU has loaded while this task runs: its own, or a borrowed one. */
  activeMm: Mm | undefined
  state: TaskState = 'R'
  outcome: TaskOutcome = 'running'
  /** CPUs it may run on, ascending. */
  readonly cpus: readonly number[]
  /** CPU it runs on or ran on last. */
  cpu: number
  /** Suspended kernel stack while the task is not running. */
  kernelStack: KernelFrame[] = []
  readonly regs = new Int32Array(REG_WORDS)
  /** Progress inside the current instruction (accesses or cycles done). */
  position = 0
  parent: Task | undefined
  liveChildren = 0
  /** The task that sleeps in wait() for children to exit. */
  isWaitingForChildren = false
  /** In `sleep`, where a `wake` ends it; not in any other wait. */
  isWakeable = false
  /** A `wake` that came while it was not. */
  wakePending = false
  /** What it sleeps on, for describeStall(). */
  sleepingOn = ''
  killedBy: TaskOutcome | undefined

  constructor(options: TaskOptions) {
    this.pid = options.pid
    this.tgid = options.tgid
    this.comm = options.comm
    this.mm = options.mm
    this.activeMm = options.mm
    this.isIdle = options.isIdle
    this.isKernelThread = options.mm === undefined
    this.cpus = options.cpus
    this.cpu = options.cpus[0]
    this.regs[REG_PROGRAM] = options.program
  }

  mayRunOn(cpu: number): boolean {
    return this.cpus.includes(cpu)
  }
}

/** The instruction at a task's pc. */
export function currentInstruction(task: Task, programs: readonly Program[]) {
  return programs[task.regs[REG_PROGRAM]].code[task.regs[REG_PC]]
}
