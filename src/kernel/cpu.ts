// What the kernel keeps per CPU: the running task and its kernel stack, the run queue, interrupts
// that are on their way, and the TLB state of both eras. The CPU's own machinery (TLB, registers,
// clock in user mode) is machine/ and engine/core.ts.

import type { KernelCounter } from './counters.js'
import { SharedLine } from './smp/cache-line.js'
import type { VirtualCpu } from './smp/host.js'
import { newVirtualCpu } from './smp/host.js'
import type { CallRecord } from './smp/ipi.js'
import type { Mailbox } from './smp/mailbox.js'
import type { KernelFrame } from './kernel-op.js'
import type { Ldt } from './mm/ldt.js'
import type { Mm } from './mm/mm.js'
import type { RwSem } from './locking/rwsem.js'
import type { Task } from './sched/task.js'

/** cpu_tlbstate.state of Linux 4.6. */
export const TLBSTATE_OK = 1
export const TLBSTATE_LAZY = 2

/** TLB_NR_DYN_ASIDS of Linux 6.x. */
export const TLB_NR_DYN_ASIDS = 6

/** cpu_tlbstate of Linux 4.6. */
export interface TlbState46 {
  state: typeof TLBSTATE_OK | typeof TLBSTATE_LAZY
  activeMm: Mm
}

/** One slot of cpu_tlbstate.ctxs: which mm, flushed up to which generation. ctxId 0 is an empty slot. */
export interface TlbContext {
  ctxId: number
  tlbGen: number
}

/** cpu_tlbstate of Linux 6.x. `loadedMm` undefined is LOADED_MM_SWITCHING. */
export interface TlbState6x {
  loadedMm: Mm | undefined
  loadedMmAsid: number
  nextAsid: number
  readonly ctxs: readonly TlbContext[]
  isLazy: boolean
  invalidateOther: boolean
  /** user_pcid_flush_mask: bit asid + 1 where the user half of the slot must be flushed on the way to user mode. */
  userFlushMask: number
  /** Requests whose initiators have gone on, but which this CPU has still to do: it is in its interrupt handler. */
  acknowledged: number
}

/** A sleep timer of this CPU. */
export interface SleepTimer {
  at: number
  task: Task
}

export class KernelCpu {
  readonly id: number
  readonly socket: number
  /** Of all CPUs those whose next step must be looked up again. */
  readonly retimed: KernelCpu[]
  /** Those of the kernel, for code that knows only its CPU. */
  readonly counters: Record<KernelCounter, number>
  /** Virtual time while the CPU is in the kernel, cycles. */
  now = 0
  /** True while a program runs in user mode; its clock is then the core's. */
  inUserMode = false
  /** Kernel stack of the running task; empty in user mode. */
  stack: KernelFrame[] = []
  readonly idleTask: Task
  current: Task
  /** The task that was switched away from, until the new one has seen to what it left (sched.ts). */
  previous: Task | undefined
  /** The task that schedule() has picked, until the stacks are switched. */
  switchingTo: Task | undefined
  /** rq->prev_mm: a borrowed mm whose reference finishTaskSwitch drops. */
  droppedMm: Mm | undefined
  readonly runQueue: Task[] = []
  needResched = false
  /** TIF_POLLING_NRFLAG: the idle loop watches needResched, so nobody has to interrupt it. */
  isPolling = false
  /** Depth of local_irq_disable sections. */
  irqsOff = 0
  /** On the last steps to user mode, interrupts off: nothing is looked at any more. */
  isLeavingKernel = false
  /** Page-table isolation: CR3 names the user root. In user mode, and while the host has taken the CPU from there. */
  isOnUserRoot = false
  /** Page walks of this CPU's programs up to its last interrupt (smp/cold-path.ts). */
  walksAtInterrupt = 0
  /** In an interrupt handler. */
  inInterrupt = false
  preemptCount = 0
  /** min_vruntime: never goes back. */
  minVruntime = 0
  /** Cycle at which the running task's slice began, and at which it ends. */
  sliceStart = 0
  sliceEnd = 0
  /** The task has not been in user mode since its slice began. */
  isFreshSlice = false
  /** Cycle at which a given schedule (sched-script.ts) has its next turn. */
  turnAt = Infinity
  /** When the next interrupt, sleep timer or end of slice comes: kept by publishNextInterrupt(). */
  nextInterrupt = Infinity
  /** The next tick that the policy wants; Infinity: none. */
  tickAt = Infinity
  /** It is in the list of {@link retime}. */
  isRetimed = false
  /** Does no step before this cycle, whatever is due: somebody chose another order (engine/choices.ts). */
  heldUntil = 0
  /** Interrupts on their way to this CPU. */
  readonly mailbox: Mailbox
  readonly timers: SleepTimer[] = []
  /** call_single_queue: requests of other CPUs, oldest first. */
  callQueue: CallRecord[] = []
  /** It waits until `target` has taken its previous request (csd_lock). */
  csdWaiting: { target: KernelCpu; frame: KernelFrame } | undefined
  /** The LDT in the register. */
  ldt: Ldt | undefined
  /** Tables that a lockless walk on this CPU (gup-fast.ts) may read next. */
  readonly walkedTables: number[] = []
  /** The sleeping lock that it spins on before it sleeps. */
  spinsOn: RwSem | undefined
  /** Name of the lock it spins on, for describeStall(). */
  waitingFor = ''
  readonly tlb46: TlbState46
  readonly tlb6x: TlbState6x
  /** The line of tlb6x.loadedMm and isLazy, which flushes read where there is no mask (tlb/mm-cpumask.ts). */
  readonly tlbStateLine = new SharedLine()
  /** How the host of a virtual machine treats this CPU. */
  readonly vcpu: VirtualCpu = newVirtualCpu()

  constructor(
    id: number, socket: number, idleTask: Task, initMm: Mm, mailbox: Mailbox, counters: Record<KernelCounter, number>,
    retimed: KernelCpu[],
  ) {
    this.retimed = retimed
    this.retime()
    this.id = id
    this.counters = counters
    this.mailbox = mailbox
    this.socket = socket
    this.idleTask = idleTask
    this.current = idleTask
    this.tlb46 = { state: TLBSTATE_LAZY, activeMm: initMm }
    this.tlb6x = {
      loadedMm: initMm,
      loadedMmAsid: 0,
      nextAsid: 1,
      ctxs: Array.from({ length: TLB_NR_DYN_ASIDS }, () => ({ ctxId: 0, tlbGen: 0 })),
      isLazy: false,
      invalidateOther: false,
      userFlushMask: 0,
      acknowledged: 0,
    }
  }

  /**
   * When its next step comes may have changed: it has done one, somebody has woken a frame, sent an interrupt or held
   * it up, or its core stands elsewhere. The engine looks at nobody else's time. Whoever writes to what another CPU
   * keeps here (its queues, flags, timers) calls this as well: checks look at no other rows (inspect/changed-rows.ts).
   */
  retime(): void {
    if (this.isRetimed) return
    this.isRetimed = true
    this.retimed.push(this)
  }

  get topFrame(): KernelFrame {
    return this.stack[this.stack.length - 1]
  }

  /** The top frame, if there is any. Index -1 of an array is no index: it would be looked for as a name. */
  get lastFrame(): KernelFrame | undefined {
    return this.stack.length === 0 ? undefined : this.topFrame
  }

  get isIdle(): boolean {
    return this.current === this.idleTask
  }

  /** rq->curr: in the middle of a switch already the next task, because Linux switches under the run queue's lock. */
  get running(): Task {
    return this.switchingTo ?? this.current
  }
}
