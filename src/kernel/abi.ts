// What a simulated program may do: the system-call boundary between the scenario language
// above and the kernel and CPU cores below. A scenario compiles to `Program`s; nothing else
// of a scenario reaches the kernel. A program is a flat list of instructions, so that a CPU
// core can hold its place in it in a few words (its registers) and be put back to any point.
//
// Not here: how an instruction is executed (engine/core.ts for user mode, kernel/syscalls.ts
// for system calls), nor how a scenario file spells it (scenario/schema.ts).

/** A 64-bit address or value as two unsigned 32-bit halves. */
export interface U64 {
  hi: number
  lo: number
}

/**
 * A range of user addresses: either a named area, which some `mmap` of this address space
 * defined, or an absolute address. `offset` and `bytes` select a part of it.
 */
export interface AreaRef {
  /** Index into `ProgramImage.areaNames`, or -1 for an absolute address. */
  area: number
  /** Start when `area` is -1. */
  address: U64
  /** Bytes from the start of the area or from `address`. */
  offset: number
  /** Length in bytes; 0 means "to the end of the area". Always positive when absolute. */
  bytes: number
}

export type AccessKind = 'read' | 'write' | 'exec'
export const ACCESS_READ = 0
export const ACCESS_WRITE = 1
export const ACCESS_EXEC = 2

export const PROT_NONE = 0
export const PROT_READ = 1
export const PROT_WRITE = 2
export const PROT_EXEC = 4

/** Errors that a system call returns to a program, by their Linux names and numbers. */
export const ERRNO = { EPERM: 1, ESRCH: 3, EAGAIN: 11, ENOMEM: 12, EFAULT: 14, EEXIST: 17, EINVAL: 22 } as const
export type ErrnoName = keyof typeof ERRNO

/** Where in the scenario file an instruction stands, for messages. */
export interface SourceLine {
  line: number
  column: number
}

interface Base {
  source: SourceLine
  /** What the writer expects the system call to return; undefined: success is expected but not required. */
  expectError?: ErrnoName
}

// ---- user-mode instructions: executed by a CPU core inside its windows ----

/**
 * `count` accesses of `access` kind. Access i goes to
 * seq:    start + (i * stride) mod length
 * random: start + 8-byte aligned offset chosen by hash(seed, i) within length
 */
export interface TouchInstruction extends Base {
  op: 'touch'
  where: AreaRef
  access: AccessKind
  pattern: 'seq' | 'random'
  /** Bytes between accesses (seq). */
  stride: number
  /** Number of accesses; 0 means one pass over the range (ceil(length / stride)). */
  count: number
  seed: number
}
/** Runs for `cycles` cycles without touching memory. */
export interface ComputeInstruction extends Base {
  op: 'compute'
  cycles: number
}
/** Polls in user mode until some task executes `signal` for the flag. */
export interface SpinInstruction extends Base {
  op: 'spin'
  /** Index into `ProgramImage.flagNames`. */
  flag: number
}
/** Replays records [from, from + count) of a recorded memory trace (see scenario/replay.ts). */
export interface ReplayInstruction extends Base {
  op: 'replay'
  /** Index into `ProgramImage.traces`. */
  trace: number
  from: number
  count: number
}
/** Repeats the instructions up to the matching `end` `times` times (times >= 1). Nesting is at most MAX_LOOP_DEPTH. */
export interface LoopInstruction extends Base {
  op: 'loop'
  times: number
  /** Index of the matching `end` instruction. */
  end: number
}
export interface EndInstruction extends Base {
  op: 'end'
  /** Index of the matching `loop` instruction. */
  loop: number
}

// ---- data: each is an event, committed in the total order ----

/** Stores an 8-byte aligned 64-bit value at the start of the range. */
export interface StoreInstruction extends Base {
  op: 'store'
  where: AreaRef
  value: U64
}
/** Loads 8 bytes; a value other than `expect` fails the run's expectations. */
export interface LoadInstruction extends Base {
  op: 'load'
  where: AreaRef
  expect?: U64
}

// ---- system calls ----

export interface MmapInstruction extends Base {
  op: 'mmap'
  /** The area to define, or -1. */
  area: number
  /** Wanted address; undefined lets the kernel choose (top down). */
  at?: U64
  bytes: number
  prot: number
  /** MAP_FIXED: replace what is there. Without it an occupied `at` is only a hint. */
  fixed: boolean
  /** MAP_FIXED_NOREPLACE: fail with EEXIST where something is mapped already. */
  noReplace: boolean
  populate: boolean
  /** MAP_HUGETLB with 2 MiB pages. */
  huge: boolean
}
export interface MunmapInstruction extends Base {
  op: 'munmap'
  where: AreaRef
}
export interface MprotectInstruction extends Base {
  op: 'mprotect'
  where: AreaRef
  prot: number
}
export interface MadviseInstruction extends Base {
  op: 'madvise'
  where: AreaRef
  advice: 'dontneed'
}
export interface ForkInstruction extends Base {
  op: 'fork'
  /** Index into `ProgramImage.programs` of what the child runs. */
  program: number
  comm: string
  /** CPUs the child may run on; undefined: as the parent. */
  cpus?: readonly number[]
}
export interface WaitInstruction extends Base {
  /** Waits until every child of this task has exited. */
  op: 'wait'
}
export interface SleepInstruction extends Base {
  op: 'sleep'
  /** Virtual cycles; 0 sleeps until some task wakes this one. */
  cycles: number
}
export interface WakeInstruction extends Base {
  op: 'wake'
  /** comm of the task to wake. A wake-up of a task that does not sleep is remembered once. */
  comm: string
}
export interface BarrierInstruction extends Base {
  op: 'barrier'
  /** Index into `ProgramImage.barriers`. */
  barrier: number
}
export interface SignalInstruction extends Base {
  /** Raises a flag that `spin` waits for. */
  op: 'signal'
  flag: number
}
export interface MarkInstruction extends Base {
  /** Writes a tracing_mark_write event. */
  op: 'mark'
  text: string
}
export interface YieldInstruction extends Base {
  op: 'yield'
}
export interface ExitInstruction extends Base {
  op: 'exit'
}

export type Instruction =
  | TouchInstruction | ComputeInstruction | SpinInstruction | ReplayInstruction | LoopInstruction | EndInstruction
  | StoreInstruction | LoadInstruction
  | MmapInstruction | MunmapInstruction | MprotectInstruction | MadviseInstruction
  | ForkInstruction | WaitInstruction | SleepInstruction | WakeInstruction | BarrierInstruction | SignalInstruction
  | MarkInstruction | YieldInstruction | ExitInstruction

/** Always ends with an `exit` instruction. */
export interface Program {
  name: string
  code: readonly Instruction[]
}

export const MAX_LOOP_DEPTH = 8

/** A recorded trace as the packed records of shared/traces: two 32-bit words a record, low word first. */
export interface TraceRecords {
  file: string
  /** Over a SharedArrayBuffer; word 2i is the low half of record i. */
  words: Int32Array
  records: number
  /** Page-aligned user ranges [start, end) that the records touch, coalesced and sorted. */
  ranges: readonly { start: U64; end: U64 }[]
}

/** A thread that exists when the run starts. */
export interface InitialThread {
  comm: string
  program: number
  /** CPUs it may run on; empty: all. */
  cpus: readonly number[]
}
/** A process: threads that share one mm. A kernel thread is a process with `kernelThread` and one thread. */
export interface InitialProcess {
  name: string
  kernelThread: boolean
  threads: readonly InitialThread[]
  /** Traces whose ranges are mapped (anonymous, read/write/exec) before the first instruction. */
  traceMappings: readonly number[]
}

/** Everything that runs in a simulation. Plain data: may be sent to a worker as it is. */
export interface ProgramImage {
  programs: readonly Program[]
  areaNames: readonly string[]
  flagNames: readonly string[]
  barriers: readonly { name: string; tasks: number }[]
  traces: readonly TraceRecords[]
  processes: readonly InitialProcess[]
}
