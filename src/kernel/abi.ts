// What a simulated program may do: the system-call boundary between the scenario language
// above and the kernel and CPU cores below. A scenario compiles to `Program`s; nothing else
// of a scenario reaches the kernel. A program is a flat list of instructions, so that a CPU
// core can hold its place in it in a few words (its registers) and be put back to any point.
//
// Not here: how an instruction is executed (engine/core.ts for user mode, kernel/syscalls/syscalls.ts
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
export const ERRNO = {
  EPERM: 1, ESRCH: 3, EINTR: 4, EBADF: 9, EAGAIN: 11, ENOMEM: 12, EACCES: 13, EFAULT: 14, EBUSY: 16, EEXIST: 17,
  EINVAL: 22,
} as const
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
  /** MAP_HUGETLB: 2 MiB pages, or 1 GiB pages when `giant` is set too (x86-64 names). */
  huge: boolean
  giant: boolean
  /** MAP_SHARED; otherwise MAP_PRIVATE. */
  shared: boolean
  /** Index into `ProgramImage.files`, or -1: anonymous memory. */
  file: number
  /** First byte of the file that is mapped, a multiple of the page size. */
  fileOffset: number
  /** A driver's memory without struct pages (VM_PFNMAP); excludes `file`. */
  device: boolean
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
  advice: Advice
}
/** MADV_*: what madvise may be told. */
export const ADVICE = ['dontneed', 'free', 'cold', 'pageout', 'hugepage', 'nohugepage', 'collapse'] as const
export type Advice = (typeof ADVICE)[number]
/** Moves or resizes a mapping (mremap(2)). */
export interface MremapInstruction extends Base {
  op: 'mremap'
  where: AreaRef
  /** New length in bytes. */
  bytes: number
  /** MREMAP_FIXED: the new address; undefined lets the kernel choose. */
  at?: U64
  mayMove: boolean
  /** The area that names the result, or -1: then the area of `where`, if it is one, follows the move. */
  area: number
}
export interface ForkInstruction extends Base {
  op: 'fork'
  /** Index into `ProgramImage.programs` of what the child runs. */
  program: number
  comm: string
  /** CPUs the child may run on; undefined: as the parent. */
  cpus?: readonly number[]
}
/** clone(CLONE_VM | CLONE_THREAD): a thread that shares the address space and the thread group. */
export interface CloneInstruction extends Base {
  op: 'clone'
  program: number
  comm: string
  cpus?: readonly number[]
}
/** A child that shares the address space; the parent sleeps until the child calls execve or exits. */
export interface VforkInstruction extends Base {
  op: 'vfork'
  program: number
  comm: string
  cpus?: readonly number[]
}
/** execve(): a new address space and a new program; the other threads of the group end. Never returns. */
export interface ExecveInstruction extends Base {
  op: 'execve'
  program: number
  comm: string
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
/** exit_group(): every thread of the process ends. */
export interface ExitGroupInstruction extends Base {
  op: 'exitGroup'
}
/** kill(SIGKILL): ends the named task and its thread group. */
export interface KillInstruction extends Base {
  op: 'kill'
  comm: string
}
/** sched_setaffinity(): CPUs that the named task, or this one, may run on from now on. */
export interface SetAffinityInstruction extends Base {
  op: 'setaffinity'
  /** '' is the caller. */
  comm: string
  cpus: readonly number[]
}
/** setpriority(): the nice value of the named task, or of this one. */
export interface NiceInstruction extends Base {
  op: 'nice'
  /** '' is the caller. */
  comm: string
  /** -20 to 19. */
  value: number
}
/** A stretch in the kernel with interrupts off, as of a driver; interrupts wait until its end. */
export interface IrqsOffInstruction extends Base {
  op: 'irqsOff'
  cycles: number
}

// ---- system calls and kernel work on memory that has a place besides the caller's mappings ----

/** move_pages(): migrates the pages of the range to other frames. */
export interface MigrateInstruction extends Base {
  op: 'migrate'
  where: AreaRef
}
/** What the NUMA balancing scan does to a range (change_prot_numa): marks its entries for hinting faults. */
export interface NumaHintInstruction extends Base {
  op: 'numaHint'
  where: AreaRef
}
/** memory.reclaim: reclaims so many pages in the context of the caller. */
export interface ReclaimInstruction extends Base {
  op: 'reclaim'
  pages: number
}
/** fsync(): writes the dirty pages of a file back, write-protecting their mappings first. */
export interface SyncInstruction extends Base {
  op: 'sync'
  /** Index into `ProgramImage.files`. */
  file: number
}
/** ftruncate(): the file has so many bytes from now on; mappings beyond them are taken away everywhere. */
export interface TruncateInstruction extends Base {
  op: 'truncate'
  file: number
  bytes: number
}
/** get_user_pages_fast(): a lockless walk of the range with interrupts off. */
export interface GupFastInstruction extends Base {
  op: 'gupFast'
  where: AreaRef
}
/** modify_ldt(): replaces the LDT of the address space. */
export interface ModifyLdtInstruction extends Base {
  op: 'modifyLdt'
  entries: number
}
/** vmalloc(): a kernel buffer; a second one under the same name is an error. */
export interface VmallocInstruction extends Base {
  op: 'vmalloc'
  /** Index into `ProgramImage.bufferNames`. */
  buffer: number
  bytes: number
}
export interface VfreeInstruction extends Base {
  op: 'vfree'
  buffer: number
}
/** The kernel itself reads or writes a vmalloc buffer, `count` accesses of `stride` bytes from `offset` on. */
export interface KernelTouchInstruction extends Base {
  op: 'kernelTouch'
  buffer: number
  access: 'read' | 'write'
  offset: number
  stride: number
  count: number
}
/** kthread_use_mm(): a kernel thread takes the address space of a process; `read` and `write` then go there. */
export interface UseMmInstruction extends Base {
  op: 'useMm'
  /** Index into `ProgramImage.processes`. */
  process: number
}
export interface UnuseMmInstruction extends Base {
  op: 'unuseMm'
}

export type Instruction =
  | TouchInstruction | ComputeInstruction | SpinInstruction | ReplayInstruction | LoopInstruction | EndInstruction
  | StoreInstruction | LoadInstruction
  | MmapInstruction | MunmapInstruction | MprotectInstruction | MadviseInstruction
  | MremapInstruction | MigrateInstruction | NumaHintInstruction | ReclaimInstruction | SyncInstruction
  | TruncateInstruction | GupFastInstruction | ModifyLdtInstruction
  | VmallocInstruction | VfreeInstruction | KernelTouchInstruction | UseMmInstruction | UnuseMmInstruction
  | CloneInstruction | VforkInstruction | ExecveInstruction | ExitGroupInstruction | KillInstruction
  | SetAffinityInstruction | NiceInstruction | IrqsOffInstruction
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

/** From `cycle` on a CPU runs `task` (a comm; '' is the idle task). */
export interface ScheduleTurn {
  cycle: number
  task: string
  /** The task that leaves, and whether it went to sleep; otherwise it is preempted. */
  before: string
  beforeSleeps: boolean
  /** `task`, which has the CPU already, exits. */
  exits?: boolean
}
/** Who runs where and when, instead of what the scheduler would choose (kernel/sched/sched-script.ts). */
export interface Schedule {
  /** By CPU, ascending in time. */
  turns: readonly (readonly ScheduleTurn[])[]
  /** From here on every task that is left ends. */
  endCycle: number
}

/** Everything that runs in a simulation. Plain data: may be sent to a worker as it is. */
export interface ProgramImage {
  programs: readonly Program[]
  areaNames: readonly string[]
  flagNames: readonly string[]
  barriers: readonly { name: string; tasks: number }[]
  traces: readonly TraceRecords[]
  /** Files that mmap can map; all empty page cache at the start of the run. */
  files: readonly { name: string; bytes: number }[]
  /** Names of vmalloc buffers. */
  bufferNames: readonly string[]
  processes: readonly InitialProcess[]
  schedule?: Schedule
}
