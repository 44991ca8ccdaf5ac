// struct task_struct, as far as memory management and scheduling need it, and the registers that
// a task has while it runs a program in user mode.

import type { KernelFrame } from '../kernel-op.js'
import type { Mm } from '../mm/mm.js'
import type { RwSem } from '../locking/rwsem.js'
import { MAX_LOOP_DEPTH } from '../abi.js'
import type { Program } from '../abi.js'
import { ThreadGroup } from './thread-group.js'

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

/** TASK_RUNNING, TASK_INTERRUPTIBLE, TASK_UNINTERRUPTIBLE or TASK_KILLABLE, EXIT_ZOMBIE as sched_switch prints them. */
export type TaskState = 'R' | 'S' | 'D' | 'Z'

export type TaskOutcome = 'running' | 'exited' | 'SIGSEGV' | 'SIGBUS' | 'SIGKILL'

export interface TaskOptions {
  pid: number
  comm: string
  mm: Mm | undefined
  isIdle: boolean
  cpus: readonly number[]
  program: number
  /** The process that it is a thread of; without it the task starts one, as a child of `parent`. */
  group?: ThreadGroup
  parent?: ThreadGroup
}

export class Task {
  /** Changes only in execve() of a thread that is not the leader. */
  pid: number
  readonly group: ThreadGroup
  comm: string
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
  cpus: readonly number[]
  /** Sleeping locks that it holds for writing. */
  readonly writerOf: RwSem[] = []
  /** migrate_disable() depth: it stays on its CPU, whatever it may run on. */
  migrationDisabled = 0
  /** Tasks that sleep in sched_setaffinity() until this one has left a CPU that it may not run on. */
  readonly affinityWaiters: Task[] = []
  // What the fair class keeps of a task (fair.ts), in cycles of a task of nice 0.
  vruntime = 0
  deadline = 0
  vlag = 0
  /** Cycle up to which its running time is in vruntime. */
  execStart = 0
  /** Cycle at which it left a CPU last. */
  lastRan = -Infinity
  /** -20 (most of the CPU) to 19. */
  nice = 0
  /** CPU it runs on or ran on last. */
  cpu: number
  /** Suspended kernel stack while the task is not running. */
  kernelStack: KernelFrame[] = []
  readonly regs = new Int32Array(REG_WORDS)
  /** Progress inside the current instruction (accesses or cycles done). */
  position = 0
  /** In execve(): the address space that it has left and not yet given up. */
  oldMm: Mm | undefined
  /** The task that sleeps in vfork() until this one has an address space of its own or none. */
  vforkParent: Task | undefined
  /** Of a sleep in state D: SIGKILL ends it (TASK_KILLABLE). */
  isKillable = false
  /** In `sleep`, where a `wake` ends it; not in any other wait. */
  isWakeable = false
  /** A `wake` that came while it was not. */
  wakePending = false
  /** Slept in the middle of an operation that it has not ended yet: it may hold frames that no table names. */
  isMidway = false
  /** What it sleeps on, for describeStall(). */
  sleepingOn = ''
  killedBy: TaskOutcome | undefined

  constructor(options: TaskOptions) {
    this.pid = options.pid
    this.comm = options.comm
    this.group = options.group ?? new ThreadGroup(this, options.parent)
    this.group.add(this)
    this.mm = options.mm
    this.activeMm = options.mm
    this.isIdle = options.isIdle
    this.isKernelThread = options.mm === undefined
    this.cpus = options.cpus
    this.cpu = options.cpus[0]
    this.regs[REG_PROGRAM] = options.program
  }

  /** Threads of one process share it. */
  get tgid(): number {
    return this.group.tgid
  }

  /** Sleeps, in whatever state. */
  get isAsleep(): boolean {
    return this.state === 'S' || this.state === 'D'
  }

  mayRunOn(cpu: number): boolean {
    return this.cpus.includes(cpu)
  }
}

/** The instruction at a task's pc. */
export function currentInstruction(task: Task, programs: readonly Program[]) {
  return programs[task.regs[REG_PROGRAM]].code[task.regs[REG_PC]]
}
