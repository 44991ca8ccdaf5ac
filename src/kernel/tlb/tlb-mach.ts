// The Mach shootdown of 1989, the ancestor of all of them. The initiator holds every CPU that uses
// the address space in its interrupt handler before it changes anything, so that no translation is
// used or made while tables and TLBs disagree; then it releases them, and each flushes itself and
// goes on. The initiator does not wait for their flushes: nobody it released can reach user code
// before. D. Black and others, "Translation Lookaside Buffer Consistency: A Software Approach",
// ASPLOS 1989.
//
//   initiator                               responder
//   pmap lock, leave the active set
//   note the action, interrupt         ->   leave the active set
//   wait until nobody is active        <-   wait until nobody holds it
//   change, flush itself
//   unlock, release                    ->   enter the active set, flush, return
//
// A CPU that is not active (it is an initiator, or is held already) is not waited for: it looks for
// actions before it becomes active again. That is what keeps initiators from waiting for each other.
// Only freed tables it lets go of at once, because it still has the root loaded.
//
// From the source: the steps above; idle processors are not interrupted and look for actions when they
// leave idle. Our reading: an action is a generation of 6.x, lazy CPUs are the idle ones, freed tables
// reach them too, there is one pmap lock for each mm, and a CPU that has not taken the initiator's last
// interrupt yet gets no second one.
//
// Simplified: the kernel around has changed the entries a moment before the responders are held, where
// Mach changes them meanwhile; so they are held for less time than there.

import type { CpuMask } from '../cpumask.js'
import type { KernelCpu } from '../cpu.js'
import { anonymousRequest } from './flush-request.js'
import { hasRequestOf, smpCallMany } from '../smp/ipi.js'
import { WAIT, wakeFrame } from '../kernel-op.js'
import type { KernelFrame, KernelOp } from '../kernel-op.js'
import { Lock } from '../locking/lock.js'
import type { Mm } from '../mm/mm.js'
import type { KernelState } from '../state.js'
import { executeFlush, flushFunc, flushHere, linux6x, needsIt, ownerOf as ownerOfSlot, recordSend,
  selectTargets } from './tlb-flush-6x.js'
import { FLUSH_ALL } from './tlb-policy.js'
import type { FlushTlbInfo, PcidOwner, TlbPolicy } from './tlb-policy.js'

/** One shootdown that is under way. */
interface Shootdown {
  readonly info: FlushTlbInfo
  readonly initiator: MachCpu
  readonly targets: readonly MachCpu[]
  /** Targets that the initiator waits for. */
  readonly pending: Set<MachCpu>
}

interface MachCpu {
  readonly cpu: KernelCpu
  /** Uses translations of user space. Initiators and held responders do not. */
  isActive: boolean
  /** Shootdowns that hold it. */
  readonly heldBy: Set<Shootdown>
  /** Freed tables that it must let go of while it is not active: it still has the root loaded. */
  readonly actions: Shootdown[]
  /** Where it waits, as an initiator or held. */
  frame: KernelFrame | undefined
}

const cpuStates = new WeakMap<KernelCpu, MachCpu>()
const pmapLocks = new WeakMap<object, Lock>()

export const mach1989: TlbPolicy = {
  ...linux6x,
  name: 'mach-1989',
  source: 'D. Black and others, "Translation Lookaside Buffer Consistency: A Software Approach", ASPLOS 1989',
  holdsResponders: true,
  flushTlbMulti,
  ownerOf,
}

function* flushTlbMulti(k: KernelState, cpu: KernelCpu, mask: CpuMask, info: FlushTlbInfo): KernelOp<number> {
  const lock = pmapLock(k, info.mm)
  yield* lock.acquire(cpu, true)
  recordSend(k, cpu, info)
  const self = stateOf(cpu)
  leaveActiveSet(self, cpu)
  const ids = selectTargets(k, cpu, mask, info)
  const targets = ids.map(id => stateOf(k.cpus[id]))
  const pending = new Set(targets.filter(target => target.isActive || info.freedTables))
  const shootdown: Shootdown = { info, initiator: self, targets, pending }
  const held = ids.filter(id => stateOf(k.cpus[id]).isActive)
  // Who has not taken this CPU's last interrupt yet needs no other: its handler looks who holds it. Waiting here for
  // the old one to be taken could be for ever, since what holds the target in its handler may be this very shootdown.
  const interrupted = held.filter(id => !hasRequestOf(k.cpus[id], cpu))
  for (const target of targets) {
    target.heldBy.add(shootdown)
    if (target.isActive || !info.freedTables) continue
    target.actions.push(shootdown)
    wake(target, cpu)
  }
  // Another sender may be held by this shootdown between its queueing and its sending.
  yield* smpCallMany(k, cpu, interrupted, target => holdAndFlush(k, target, info), {
    alwaysSend: false, sendsItself: true, detached: true,
  })
  yield* waitWhile(k, cpu, self, () => pending.size > 0, 'responders to be held')
  for (const id of held) yield k.cpus[id].socket === cpu.socket ? k.costs.ackTransfer : k.costs.ackTransferRemote
  if (needsIt(k, cpu, mask, info)) yield* flushHere(k, cpu, info)
  release(cpu, shootdown)
  lock.release(cpu, true)
  yield* waitWhile(k, cpu, self, () => false, '')
  self.isActive = true
  yield* catchUp(k, cpu)
  return interrupted.length
}

/** The handler of a responder. One that starts a shootdown of its own is not active, and is not held. */
function* holdAndFlush(k: KernelState, cpu: KernelCpu, info: FlushTlbInfo): KernelOp {
  const self = stateOf(cpu)
  if (self.isActive && self.heldBy.size > 0) {
    leaveActiveSet(self, cpu)
    yield* waitWhile(k, cpu, self, () => self.heldBy.size > 0, 'the initiator to release it')
    self.isActive = true
  }
  yield* flushFunc(k, cpu, info)
  yield* catchUp(k, cpu)
}

/** Waits, and meanwhile lets go of freed tables as it is asked to. */
function* waitWhile(k: KernelState, cpu: KernelCpu, self: MachCpu, isOn: () => boolean, reason: string): KernelOp {
  for (;;) {
    const action = self.actions.shift()
    if (action !== undefined) {
      cpu.irqsOff += 1
      yield* flushFunc(k, cpu, action.info)
      cpu.irqsOff -= 1
      satisfied(self, action, cpu)
      continue
    }
    if (!isOn()) return
    self.frame = cpu.topFrame
    cpu.waitingFor = reason
    yield WAIT
    cpu.waitingFor = ''
    self.frame = undefined
  }
}

/** Actions that came while the CPU was not active: it was not interrupted for them. */
function* catchUp(k: KernelState, cpu: KernelCpu): KernelOp {
  const { loadedMm, loadedMmAsid, ctxs, isLazy } = cpu.tlb6x
  if (loadedMm === undefined || loadedMm === k.initMm || isLazy) return
  if (ctxs[loadedMmAsid].tlbGen === loadedMm.tlbGen) return
  cpu.irqsOff += 1
  yield* executeFlush(k, cpu, anonymousRequest(cpu, 0, FLUSH_ALL), cpu.tlb6x, true, false)
  cpu.irqsOff -= 1
}

/** Initiators that waited only for this CPU go on: whatever it does next, it looks for actions first. */
function leaveActiveSet(self: MachCpu, cpu: KernelCpu): void {
  self.isActive = false
  for (const shootdown of self.heldBy) {
    if (!shootdown.pending.has(self)) continue
    if (shootdown.info.freedTables) self.actions.push(shootdown)
    else satisfied(self, shootdown, cpu)
  }
}

function satisfied(self: MachCpu, shootdown: Shootdown, cpu: KernelCpu): void {
  shootdown.pending.delete(self)
  if (shootdown.pending.size === 0) wake(shootdown.initiator, cpu)
}

function release(cpu: KernelCpu, shootdown: Shootdown): void {
  for (const target of shootdown.targets) {
    target.heldBy.delete(shootdown)
    wake(target, cpu)
  }
}

function wake(target: MachCpu, cpu: KernelCpu): void {
  if (target.frame !== undefined) wakeFrame(target.cpu, target.frame, cpu.now + 1)
}

function stateOf(cpu: KernelCpu): MachCpu {
  let state = cpuStates.get(cpu)
  if (state === undefined) {
    state = { cpu, isActive: true, heldBy: new Set(), actions: [], frame: undefined }
    cpuStates.set(cpu, state)
  }
  return state
}

/** Batches of several address spaces share one. */
function pmapLock(k: KernelState, mm: Mm | undefined): Lock {
  const key = mm ?? k
  let lock = pmapLocks.get(key)
  if (lock === undefined) {
    lock = new Lock(mm === undefined ? 'the pmap lock of batches' : `the pmap lock of mm ${mm.ctxId}`, k.costs.lock)
    pmapLocks.set(key, lock)
  }
  return lock
}

/** A CPU that is not active flushes before it is again. */
function ownerOf(k: KernelState, cpu: KernelCpu, pcid: number): PcidOwner {
  const owner = ownerOfSlot(k, cpu, pcid)
  if (owner.mm === undefined || owner.behind !== '' || cpu.inUserMode) return owner
  const slot = cpu.tlb6x.ctxs.find(each => each.ctxId === owner.mm!.ctxId)
  const isBehind = slot !== undefined && slot.tlbGen < owner.mm.tlbGen
  if (!isBehind || !isInHandlerOrInitiator(cpu)) return owner
  return { mm: owner.mm, behind: 'it flushes before it is active again' }
}

function isInHandlerOrInitiator(cpu: KernelCpu): boolean {
  return cpu.inInterrupt || !stateOf(cpu).isActive
}
