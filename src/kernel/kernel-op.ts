// Kernel operations in virtual time. An operation is a generator function that reads like kernel
// code and yields wherever time passes or something is waited for:
//
//   yield 150                 150 cycles pass on this CPU
//   yield WAIT                blocked until somebody calls wakeFrame() for this frame
//   yield HALT                the idle loop's HLT: until an interrupt arrives
//   yield SWITCH_STACKS       continue on the kernel stack of `cpu.switchingTo`
//
// An operation inside another (`yield* other()`) costs its object, and every step one more level to go through; so what
// takes no time is a function, and says its price where it has one. Loops around a yield on the way of faults and
// flushes count an index: the iterator of `for ... of` would be an object that lives across steps.
//
// A CPU's kernel stack is an array of frames: the operation at the bottom, interrupt handlers
// above it. Who resumes frames, and when, is the timeline's business (kernel/timeline.ts).

/** Values above zero are cycles; the named values below are negative. */
export type KernelOp<Result = void> = Generator<number, Result, void>

export const WAIT = -1
export const HALT = -2
export const SWITCH_STACKS = -3

/** An operation that has nothing to do: costs less than a new one that finds that out. */
export const NOTHING: KernelOp = finished()

function* finished(): KernelOp {
  // Ends at once.
}
NOTHING.next()

/** One activation on a kernel stack. */
export interface KernelFrame {
  op: Generator<number, unknown, void>
  /** Cycle at which the frame continues; Infinity while it waits. */
  resumeAt: number
  /** Spinning until wakeFrame(). */
  waiting: boolean
  /** In HALT: any interrupt lets it continue. */
  halted: boolean
  /** For interrupt handlers: when the interrupt was taken; -1 otherwise. */
  interruptedAt: number
  /** For interrupt handlers: the frame below was busy and loses the handler's time. */
  stretchesBelow: boolean
  /** Time that the host takes: the guest executes nothing, and interrupts wait. */
  isStolen: boolean
}

export function newFrame(op: Generator<number, unknown, void>, resumeAt: number, interruptedAt = -1): KernelFrame {
  return { op, resumeAt, waiting: false, halted: false, interruptedAt, stretchesBelow: false, isStolen: false }
}

/** What of a CPU tells the engine that its next step may come at another cycle than before. */
export interface Retimed {
  retime(): void
}

/** Lets a frame of `cpu` that waits continue at `cycle`; a second call can only make it later. */
export function wakeFrame(cpu: Retimed, frame: KernelFrame, cycle: number): void {
  if (!frame.waiting) return
  cpu.retime()
  frame.waiting = false
  frame.resumeAt = cycle
}
