// Interrupts between CPUs: posting, delivery order, and smp_call_function (kernel/smp.c). A
// sender puts a request on the target's list, kicks the target with an interrupt if the list was
// empty, may do its own part meanwhile, and waits until every target has run its request.
//
//   sender                                target
//   push(record); list was empty
//     -> postInterrupt(now + wire)        interrupt taken at its arrival, interrupts on
//   runs its own part                     pops all records, oldest first, runs each
//   WAIT                                  completes the record -> sender continues
//
// Interrupts on their way lie in the target's mailbox in shared memory (mailbox.ts); the core of a
// CPU in user mode stops at the next arrival by itself.

import { fail } from '../../base/assert.js'
import { CALLBACK_CALL_FUNCTION, CALLBACK_RESCHEDULE, EVENT, VECTOR_CALL_FUNCTION, VECTOR_CALL_FUNCTION_SINGLE,
  VECTOR_LOCAL_TIMER, VECTOR_RESCHEDULE } from '../../trace/events.js'
import { icrWriteCycles, interruptCommands } from './apic.js'
import { CpuMask } from '../cpumask.js'
import type { KernelCpu } from '../cpu.js'
import { wakeTurn } from './host.js'
import { WAIT, wakeFrame } from '../kernel-op.js'
import type { KernelFrame, KernelOp } from '../kernel-op.js'
import type { KernelState } from '../state.js'
import { emit } from '../state.js'

/** What a sender waits for. */
interface Completion {
  remaining: number
  frame: KernelFrame | undefined
}

/** call_single_data: one request of one sender to one target. */
export interface CallRecord {
  readonly sender: KernelCpu
  readonly func: (cpu: KernelCpu) => KernelOp
  readonly completion: Completion
  /** The sender waits: its record is busy until `func` has run. Of others only until the target has taken it. */
  readonly sync: boolean
  /** The sender goes on when `func` is about to run, not when it has. */
  readonly early: boolean
}

export interface CallOptions {
  /**
   * Linux 4.6: with two or more targets everyone gets an interrupt, even if its list was not empty, and a
   * CPU that polls in its idle loop gets one as well.
   */
  alwaysSend: boolean
  /** Everyone gets one from this sender: who has queued a request before it may not have sent its interrupt yet. */
  sendsItself?: boolean
  /** The sender goes on when the interrupts are sent. */
  detached?: boolean
  /** The sender goes on when all targets are in their handlers. */
  early?: boolean
  /** The sender's own part, run while the targets work. */
  runLocal?: (() => KernelOp) | undefined
}

/**
 * smp_call_function_many(): runs `func` on every target (ascending, without the sender) and waits for all. Returns how
 * many they were.
 */
export function* smpCallMany(
  k: KernelState, cpu: KernelCpu, targets: readonly number[], func: (cpu: KernelCpu) => KernelOp, options: CallOptions,
): KernelOp<number> {
  if (cpu.irqsOff !== 0) fail(`cpu${cpu.id} waits for a call with interrupts off`)
  cpu.preemptCount += 1
  const completion: Completion = { remaining: targets.length, frame: undefined }
  if (targets.length > 0) yield k.costs.ipiPrepare
  const send: number[] = []
  const sync = options.detached !== true
  const early = options.early === true
  for (let i = 0; i < targets.length; i++) {
    const id = targets[i]
    const target = k.cpus[id]
    if (target.callQueue.length > 0) yield* csdLock(cpu, target)
    emit(k, cpu, EVENT.csdQueueCpu, id)
    const isFirst = target.callQueue.length === 0
    if (isFirst || options.sendsItself === true || (options.alwaysSend && targets.length > 1)) send.push(id)
    target.callQueue.push({ sender: cpu, func, completion, sync, early })
    target.retime()
  }
  const vector = send.length === 1 ? VECTOR_CALL_FUNCTION_SINGLE : VECTOR_CALL_FUNCTION
  const commands = callCommands(k, cpu, send, options.alwaysSend)
  for (let i = 0; i < commands.length; i++) {
    k.counters.icrWrites += 1
    yield icrWriteCycles(k)
    for (const id of commands[i]) {
      k.counters.ipisSent += 1
      k.counters.callFunctionIpis += 1
      postInterrupt(k, cpu, k.cpus[id], cpu.now + wireCycles(k, cpu, k.cpus[id]), vector)
    }
  }
  if (options.runLocal !== undefined) {
    cpu.irqsOff += 1
    yield* options.runLocal()
    cpu.irqsOff -= 1
  }
  if (options.detached === true) {
    cpu.preemptCount -= 1
    return targets.length
  }
  if (completion.remaining > 0) {
    completion.frame = cpu.topFrame
    cpu.waitingFor = 'call-function targets'
    yield WAIT
    cpu.waitingFor = ''
  }
  let transfer = 0
  for (const id of targets) transfer += ackCycles(k, cpu, k.cpus[id])
  if (transfer > 0) yield transfer
  cpu.preemptCount -= 1
  return targets.length
}

/** A reschedule interrupt: its handler does nothing, the way out of it looks at needResched and signals. */
export function smpSendReschedule(k: KernelState, cpu: KernelCpu, target: KernelCpu): void {
  emit(k, cpu, EVENT.ipiSendCpu, target.id, k.trace.intern(CALLBACK_RESCHEDULE))
  k.counters.ipisSent += 1
  k.counters.rescheduleIpis += 1
  postInterrupt(k, cpu, target, cpu.now + wireCycles(k, cpu, target), VECTOR_RESCHEDULE)
}

/** The cycle at which the next interrupt of this CPU comes, sleep timers (if wanted), time slice and ticks included. */
export function nextInterruptCycle(cpu: KernelCpu, withTimers = true): number {
  let next = Math.min(cpu.mailbox.earliest(), cpu.tickAt)
  if (withTimers && cpu.timers.length > 0) next = Math.min(next, cpu.timers[0].at)
  if (!cpu.needResched) next = Math.min(next, cpu.turnAt)
  if (cpu.runQueue.length > 0 && !cpu.isIdle && !cpu.needResched) next = Math.min(next, cpu.sliceEnd)
  return next
}

/** Tells the core of this CPU when to stop for an interrupt. To be called whenever the answer may have changed. */
export function publishNextInterrupt(k: KernelState, cpu: KernelCpu): void {
  cpu.nextInterrupt = nextInterruptCycle(cpu)
  cpu.retime()
  // A core in user mode also stops where the host takes its CPU away.
  k.platform.interruptAt(cpu, Math.min(cpu.nextInterrupt, cpu.vcpu.awayAt))
}

/** The interrupt that is due at `cycle`: one from the mailbox, else the local timer. */
export function takeInterrupt(cpu: KernelCpu, cycle: number): number {
  const vector = cpu.mailbox.take(cycle)
  return vector < 0 ? VECTOR_LOCAL_TIMER : vector
}

/**
 * generic_smp_call_function_single_interrupt(): runs everything on this CPU's list. 4.6 goes through it oldest first;
 * 6.x runs those that senders wait for first, then the others. A record that nobody waits for is given back before its
 * function runs.
 */
export function* flushCallQueue(k: KernelState, cpu: KernelCpu): KernelOp {
  const records = cpu.callQueue
  cpu.callQueue = []
  if (records.length > 1 && k.config.kernel.era !== 'linux-4.6') records.sort((a, b) => Number(b.sync) - Number(a.sync))
  for (let i = 0; i < records.length; i++) {
    const record = records[i]
    yield k.costs.handler
    const isLate = record.sync && !record.early
    if (!isLate) complete(cpu, record)
    yield* record.func(cpu)
    if (isLate) complete(cpu, record)
  }
}

/** csd_unlock(). */
function complete(cpu: KernelCpu, record: CallRecord): void {
  cpu.mailbox.acknowledge()
  const { sender, completion } = record
  completion.remaining -= 1
  // On another CPU nothing happens in the same cycle as its cause.
  if (completion.remaining === 0 && completion.frame !== undefined) wakeFrame(sender, completion.frame, cpu.now + 1)
  const waiting = sender.csdWaiting
  if (waiting?.target !== cpu) return
  sender.csdWaiting = undefined
  wakeFrame(sender, waiting.frame, cpu.now + 1)
}

/** Has `sender` asked `target` for something that it has not begun to look at? */
export function hasRequestOf(target: KernelCpu, sender: KernelCpu): boolean {
  return target.callQueue.some(record => record.sender === sender)
}

/** csd_lock(): a CPU has one record for each target; a call that nobody waited for may still occupy it. */
function* csdLock(cpu: KernelCpu, target: KernelCpu): KernelOp {
  while (hasRequestOf(target, cpu)) {
    cpu.csdWaiting = { target, frame: cpu.topFrame }
    cpu.waitingFor = `its last request to cpu${target.id}`
    yield WAIT
    cpu.waitingFor = ''
  }
}

/** set_nr_if_polling(): an idle loop that polls goes on at `cycle`, without an interrupt. False: it does not poll. */
export function wakePoller(k: KernelState, target: KernelCpu, cycle: number): boolean {
  if (!target.isPolling) return false
  target.needResched = true
  target.retime()
  const idle = target.stack[0]
  if (idle.halted) {
    wakeTurn(k, target, cycle)
    idle.halted = false
    idle.resumeAt = cycle
  }
  return true
}

/** The writes that interrupt the CPUs of `send`: none for a single one whose idle loop polls, and has been told. */
function callCommands(
  k: KernelState, cpu: KernelCpu, send: readonly number[], alwaysSend: boolean,
): readonly (readonly number[])[] {
  if (send.length === 0) return []
  if (send.length === 1 && !alwaysSend && wakePoller(k, k.cpus[send[0]], cpu.now + 1)) return []
  if (k.trace.enabled) traceSend(k, cpu, send)
  return interruptCommands(k, send)
}

/** Masks are texts in a trace. */
function traceSend(k: KernelState, cpu: KernelCpu, send: readonly number[]): void {
  const callback = k.trace.intern(CALLBACK_CALL_FUNCTION)
  if (send.length === 1) {
    emit(k, cpu, EVENT.ipiSendCpu, send[0], callback)
    return
  }
  const mask = new CpuMask(k.cpus.length)
  for (const id of send) mask.set(id)
  emit(k, cpu, EVENT.ipiSendCpumask, k.trace.intern(mask.toHex()), callback)
}

function postInterrupt(
  k: KernelState, cpu: KernelCpu, target: KernelCpu, arrival: number, vector: number,
): void {
  target.mailbox.post(arrival, vector, cpu.id)
  target.retime()
  publishNextInterrupt(k, target)
}

/** From the send to the arrival: at least one cycle, so that no CPU is interrupted in the cycle of the cause. */
export function wireCycles(k: KernelState, from: KernelCpu, to: KernelCpu): number {
  const hops = Math.abs(from.socket - to.socket)
  const cycles = Math.max(1, k.costs.ipiWire + hops * k.costs.ipiWireHop)
  const taken = k.noise === undefined ? cycles : k.noise.cycles(from.id, cycles)
  return k.perturber === undefined ? taken : k.perturber.wire(from.id, taken)
}

/** Fetching a cache line that `to` has written. */
export function ackCycles(k: KernelState, from: KernelCpu, to: KernelCpu): number {
  return from.socket === to.socket ? k.costs.ackTransfer : k.costs.ackTransferRemote
}
