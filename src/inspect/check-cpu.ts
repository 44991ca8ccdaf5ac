// Invariants of one CPU's row, cheap enough for every step: I2 and I12 (the root), I3, I6, I9,
// I13, I15, I16, I17, I24, I25, I26, I27 (kernel-behaviour.md section 8). They read the kernel's
// rows, the root and the PCID, none of which a program changes, so it does not matter how far
// cores have run ahead. What the caches hold is in check-tlb.ts; the rows of the policy check themselves
// (TlbPolicy.checkCpu).
//
// What a row says about its own CPU is looked at when it may have changed (changed-rows.ts), what others send to
// it at every step.

import type { KernelCpu } from '../kernel/cpu.js'
import { TLB_NR_DYN_ASIDS } from '../kernel/cpu.js'
import { FRAME_TABLE } from '../kernel/pages/frames.js'
import { nextInterruptCycle } from '../kernel/smp/ipi.js'
import { isInMask } from '../kernel/tlb/mm-cpumask.js'
import { pcidInUse, rootInUse, rootOwnerOf } from '../kernel/tlb/pti.js'
import type { KernelState } from '../kernel/state.js'
import { violated } from './violation.js'

/** On x86 (kernel-behaviour.md 6.1). */
const CALL_FUNCTION_SINGLE_VECTOR = 251
const CALL_FUNCTION_VECTOR = 252

/** What a CPU says of itself: its task, its root, what the policy keeps. Its inputs are listed in changed-rows.ts. */
export function checkRow(k: KernelState, cpu: KernelCpu, cycle?: number): void {
  checkRunning(k, cpu, cycle)
  checkRoot(k, cpu, cycle)
  k.policy.checkCpu(k, cpu, (invariant, mm, text) => violated(k, invariant, { cpu, mm, cycle }, text))
}

/** What others have sent to a CPU: interrupts and requests. */
export function checkInterrupts(k: KernelState, cpu: KernelCpu, cycle?: number): void {
  if (cpu.irqsOff === 0 && cpu.nextInterrupt !== nextInterruptCycle(cpu)) {
    violated(k, 'I25', { cpu, cycle },
      `expects its next interrupt at ${cpu.nextInterrupt}, but it comes at ${nextInterruptCycle(cpu)}`)
  }
  if (cpu.callQueue.length > 0) checkCallQueue(k, cpu, cycle)
}

/** I9, I13: the PCID slots of one CPU (none are in use on Linux 4.6). */
export function checkSlots(k: KernelState, cpu: KernelCpu, cycle?: number): void {
  const { ctxs } = cpu.tlb6x
  for (let asid = 0; asid < TLB_NR_DYN_ASIDS; asid++) {
    const { ctxId, tlbGen } = ctxs[asid]!
    if (ctxId === 0) continue
    if (ctxId >= k.nextCtxId) violated(k, 'I13', { cpu, cycle }, `slot ${asid} holds mm ${ctxId}, which never existed`)
    const mm = k.mms.get(ctxId)
    if (mm !== undefined && tlbGen > mm.tlbGen) {
      violated(k, 'I9', { cpu, mm, cycle }, `slot ${asid} has generation ${tlbGen}, the mm only ${mm.tlbGen}`)
    }
    for (let other = 0; other < asid; other++) {
      if (ctxs[other]!.ctxId !== ctxId) continue
      violated(k, 'I13', { cpu, mm, cycle }, `slots ${other} and ${asid} both hold it`)
    }
  }
}

/** I3, I6, I26, I27: the running task, its mm, and what it may wait for. */
function checkRunning(k: KernelState, cpu: KernelCpu, cycle: number | undefined): void {
  const { current } = cpu
  const { mm, activeMm } = current
  if (activeMm === undefined) violated(k, 'I3', { cpu, mm, cycle }, 'runs without an active mm')
  if (activeMm.isFreed) violated(k, 'I3', { cpu, mm: activeMm, cycle }, 'runs on an mm that is freed')
  if (mm !== undefined && mm !== activeMm) {
    violated(k, 'I3', { cpu, mm, cycle }, `its active mm is ${activeMm.ctxId}, not its own`)
  }
  if (cpu.inUserMode) {
    if (mm === undefined) violated(k, 'I16', { cpu, mm: activeMm, cycle }, 'runs user code without an mm')
    if (!isInMask(k, cpu, mm)) {
      violated(k, 'I6', { cpu, mm, cycle }, `runs user code, but mm_cpumask ${mm.mmCpumask.toHex()} is without its bit`)
    }
    if (cpu.irqsOff !== 0 || cpu.preemptCount !== 0 || cpu.inInterrupt) {
      violated(k, 'I26', { cpu, mm, cycle },
        `runs user code with interrupts off ${cpu.irqsOff} deep, preemption off ${cpu.preemptCount} deep`)
    }
    return
  }
  const top = cpu.stack[cpu.stack.length - 1]
  if (top === undefined || !top.waiting) return
  if (k.policy.holdsResponders === true && cpu.irqsOff > 0) return
  if (cpu.inInterrupt) {
    violated(k, 'I27', { cpu, mm: activeMm, cycle }, `an interrupt handler waits for ${cpu.waitingFor}`)
  }
  if (cpu.irqsOff > 0) {
    violated(k, 'I26', { cpu, mm: activeMm, cycle }, `waits for ${cpu.waitingFor} with interrupts off`)
  }
}

/** I2, I12: CR3 names a live table, and the one that the kernel's rows say. */
function checkRoot(k: KernelState, cpu: KernelCpu, cycle: number | undefined): void {
  const mmu = k.platform.mmu(cpu.id)
  const root = mmu.rootPfn
  // A user root is the second frame of its block.
  const block = k.config.kernel.pti ? root & ~1 : root
  if (k.frames.use[root] !== FRAME_TABLE || k.frames.refcount[block]! <= 0) {
    violated(k, 'I2', { cpu, cycle }, `CR3 names frame ${root}, which is no page table any more`)
  }
  if (cpu.irqsOff > 0) return
  const own = cpu.current.mm
  if (own !== undefined && root !== rootInUse(k, cpu, own)) {
    violated(k, 'I12', { cpu, mm: own, cycle },
      `CR3 names frame ${root}, the mm's root is frame ${rootInUse(k, cpu, own)}`)
  }
  // While the LDT is being replaced, CPUs that have not answered yet have the old one.
  if (own !== undefined && (cpu.ldt !== own.ldt) && (!own.ldtLock.isHeld || cpu.ldt?.isFreed === true)) {
    const loaded = cpu.ldt === undefined ? 'no LDT' : cpu.ldt.isFreed ? 'an LDT that was freed' : 'another LDT'
    violated(k, 'I12', { cpu, mm: own, cycle }, `the CPU has ${loaded}, the mm's has ${own.ldt?.entries ?? 0} entries`)
  }
  const { mm, pcid } = k.policy.loadedRoot(k, cpu)
  if (root !== rootInUse(k, cpu, mm)) {
    violated(k, 'I12', { cpu, mm, cycle }, `CR3 names frame ${root}, the mm's root is frame ${rootInUse(k, cpu, mm)}`)
  }
  // 32-bit machines have no PCID, whatever the kernel asks for.
  const expected = pcidInUse(k, cpu, pcid)
  if (k.geometry.canonical && mmu.pcid !== expected) {
    violated(k, 'I12', { cpu, mm, cycle }, `CR3 has PCID ${mmu.pcid}, the mm's is ${expected}`)
  }
  // Without page-table isolation there is nothing to flush on the way.
  if (cpu.inUserMode && k.config.kernel.pti && rootOwnerOf(k, cpu, expected).isFlushedOnExit) {
    violated(k, 'I12', { cpu, mm, cycle }, `went to user mode without flushing PCID ${expected}`)
  }
}

/** I24, I25: requests that wait here will be served, and their senders wait for them. */
function checkCallQueue(k: KernelState, cpu: KernelCpu, cycle: number | undefined): void {
  let isComing = cpu.inInterrupt || (cpu.isPolling && cpu.needResched)
    || cpu.mailbox.holds(CALL_FUNCTION_SINGLE_VECTOR) || cpu.mailbox.holds(CALL_FUNCTION_VECTOR)
  for (const { sender, completion } of cpu.callQueue) {
    if (completion.remaining <= 0) {
      violated(k, 'I24', { cpu, cycle }, `a request of cpu${sender.id} is queued, but counted as done`)
    }
    if (completion.frame === undefined) {
      // Its sender is still between queueing and sending.
      isComing = true
    } else if (!completion.frame.waiting) {
      violated(k, 'I24', { cpu: sender, cycle }, `went on before its request ran on cpu${cpu.id}`)
    }
  }
  if (!isComing) {
    violated(k, 'I25', { cpu, cycle }, `${cpu.callQueue.length} requests are queued, and no interrupt is on its way`)
  }
}
