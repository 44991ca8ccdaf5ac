// Page-table isolation (arch/x86/mm/pti.c, entry/calling.h of 6.x): user mode runs under page tables of
// its own, in which the kernel is all but unmapped. Every mm has two root tables in adjacent frames:
//
//                        user slots                            kernel slots
//   pgdPfn      kernel   the tables of the mm, marked NX       as in the swapper directory
//   pgdPfn + 1  user     the same tables                       the entry code and the CPU entry areas
//
// Whoever writes a user slot of the kernel root writes both (mirrorUserSlot). The CPU writes CR3 on its
// way into the kernel and out of it. With PCID a slot of the CPU is two PCIDs, asid + 1 and 2048 more, so
// that nothing is lost; without PCID each of the two writes empties the TLB of all that is not global.
//
//   flush of a slot     kernel PCID at once; user PCID noted in userFlushMask, flushed on the way out
//   INVLPG of a page    user PCID at once where INVPCID exists, else all of it on the way out
//   kernel page         loses G, so other slots may keep it: they are flushed before their next use
//
// Simplified: the two CR3 writes are all that isolation costs, the return stack and mitigations of
// other holes cost nothing; it exists for x86-64 only, where Linux has it for PAE too; the LDT is not
// remapped into a slot that both roots share, so modify_ldt needs no flush of that mapping.

import type { KernelCpu } from '../cpu.js'
import { TLB_NR_DYN_ASIDS } from '../cpu.js'
import type { KernelOp } from '../kernel-op.js'
import type { Mm } from '../mm/mm.js'
import type { KernelState } from '../state.js'
import { vpnHi, vpnLo } from '../state.js'
import type { PcidOwner } from './tlb-policy.js'
import { INVPCID_ADDRESS } from '../../machine/mmu.js'

/** X86_CR3_PTI_PCID_USER_BIT: the user half of a slot. */
export const USER_PCID = 2048

/** Order of the block that holds the root tables of an mm (PGD_ALLOCATION_ORDER). */
export function rootOrder(k: { config: KernelState['config'] }): number {
  return k.config.kernel.pti ? 1 : 0
}

/** kernel_to_user_pgdp(): frame of the root that user mode runs under. */
export function userRoot(k: KernelState, mm: Mm): number {
  return mm.pgdPfn + rootOrder(k)
}

/** Frame of the root that `cpu` has in CR3 while `mm` is loaded. */
export function rootInUse(k: KernelState, cpu: KernelCpu, mm: Mm): number {
  return cpu.isOnUserRoot ? userRoot(k, mm) : mm.pgdPfn
}

/** The PCID that `cpu` has in CR3 while `pcid` is the kernel half of its slot. */
export function pcidInUse(k: KernelState, cpu: KernelCpu, pcid: number): number {
  return cpu.isOnUserRoot && k.config.kernel.pcid ? pcid | USER_PCID : pcid
}

/** Does CR3 of `cpu` name one of the roots of `mm`? */
export function hasRootOf(k: KernelState, cpu: KernelCpu, mm: Mm): boolean {
  const root = k.platform.mmu(cpu.id).rootPfn
  return root === mm.pgdPfn || root === userRoot(k, mm)
}

// ---- into the kernel and out of it ----

/** SWITCH_TO_KERNEL_CR3: the first thing after an entry from user mode, interrupts off. */
export function loadKernelRoot(k: KernelState, cpu: KernelCpu): void {
  const mmu = k.platform.mmu(cpu.id)
  k.counters.ptiSwitches += 1
  cpu.isOnUserRoot = false
  mmu.loadCr3(mmu.rootPfn - 1, mmu.pcid & ~USER_PCID, true)
}

/** What comes before `op` in the kernel: the price of {@link loadKernelRoot}. */
export function* afterKernelRoot(k: KernelState, cpu: KernelCpu, op: KernelOp): KernelOp {
  cpu.irqsOff += 1
  yield entryCycles(k)
  cpu.irqsOff -= 1
  yield* op
}

/** The price of {@link loadUserRoot}, with interrupts off: what is flushed is decided now. */
export function* beforeUserRoot(k: KernelState, cpu: KernelCpu): KernelOp {
  cpu.irqsOff += 1
  yield exitCycles(k, cpu)
  cpu.irqsOff -= 1
}

/** SWITCH_TO_USER_CR3: the last thing before user mode. */
export function loadUserRoot(k: KernelState, cpu: KernelCpu): void {
  const { mm, pcid } = k.policy.loadedRoot(k, cpu)
  const isStale = isUserPcidStale(cpu, pcid)
  cpu.tlb6x.userFlushMask &= ~maskBit(pcid)
  k.counters.ptiSwitches += 1
  if (isStale) k.counters.ptiUserFlushes += 1
  cpu.isOnUserRoot = true
  k.platform.mmu(cpu.id).loadCr3(userRoot(k, mm), pcid | USER_PCID, !isStale)
}

/** The price of {@link loadKernelRoot}; nothing without isolation. */
export function entryCycles(k: KernelState): number {
  if (!k.config.kernel.pti) return 0
  return k.config.kernel.pcid ? k.costs.cr3NoFlush : k.costs.fullFlush
}

/** The price of {@link loadUserRoot}, if the CPU went now; nothing without isolation. */
export function exitCycles(k: KernelState, cpu: KernelCpu): number {
  if (!k.config.kernel.pti) return 0
  const isKept = k.config.kernel.pcid && !isUserPcidStale(cpu, k.policy.loadedRoot(k, cpu).pcid)
  return isKept ? k.costs.cr3NoFlush : k.costs.fullFlush
}

// ---- flushing the user half ----

/** invalidate_user_asid(): the kernel half of the slot was flushed, the user half is on the way out. */
export function invalidateUserAsid(k: KernelState, cpu: KernelCpu, asid: number): void {
  // Without PCID the CR3 write on the way out flushes anyway; global ASIDs are flushed by broadcast.
  if (!k.config.kernel.pti || !k.config.kernel.pcid || asid >= TLB_NR_DYN_ASIDS) return
  cpu.tlb6x.userFlushMask |= maskBit(asid + 1)
}

/** The user half of native_flush_tlb_one_user(); returns its price. */
export function invalidateUserPage(k: KernelState, cpu: KernelCpu, vpn: number): number {
  if (!k.config.kernel.pti || !k.config.kernel.pcid) return 0
  const asid = cpu.tlb6x.loadedMmAsid
  if (!k.config.machine.invpcid) {
    invalidateUserAsid(k, cpu, asid)
    return 0
  }
  k.platform.mmu(cpu.id).invpcid(INVPCID_ADDRESS, (asid + 1) | USER_PCID, vpnHi(k, vpn), vpnLo(k, vpn))
  return k.costs.invlpg
}

/** Whoever reaches into another CPU's TLB by PCID: the PCIDs that stand for `pcid`. */
export function pcidHalves(k: KernelState, pcid: number): readonly number[] {
  return k.config.kernel.pti && k.config.kernel.pcid ? [pcid, pcid | USER_PCID] : [pcid]
}

function isUserPcidStale(cpu: KernelCpu, pcid: number): boolean {
  return (cpu.tlb6x.userFlushMask & maskBit(pcid)) !== 0
}

/** Bits of user_pcid_flush_mask are kernel PCIDs; global ASIDs have none. */
function maskBit(pcid: number): number {
  return pcid <= TLB_NR_DYN_ASIDS ? 1 << pcid : 0
}

// ---- for dumps and checks ----

/** Who owns what `cpu` caches under `pcid`, and by which root. */
export interface RootOwner extends PcidOwner {
  /** Frame of the root that the entries were made from; -1 when nobody can reach them. */
  root: number
  /** Nothing of it can be used before the CPU has flushed it on its way to user mode. */
  isFlushedOnExit: boolean
}

/** {@link TlbPolicy.ownerOf} for both halves of a slot: policies know only kernel PCIDs. */
export function rootOwnerOf(k: KernelState, cpu: KernelCpu, pcid: number): RootOwner {
  const { mm, behind } = k.policy.ownerOf(k, cpu, pcid & ~USER_PCID)
  if (mm === undefined) return { mm, behind, root: -1, isFlushedOnExit: false }
  if (!isUserHalf(k, cpu, pcid)) return { mm, behind, root: mm.pgdPfn, isFlushedOnExit: false }
  const root = userRoot(k, mm)
  if (!isUserPcidStale(cpu, pcid & ~USER_PCID)) return { mm, behind, root, isFlushedOnExit: false }
  return { mm, root, behind: 'flushed on the way to user mode', isFlushedOnExit: true }
}

/** Were entries under this PCID made in user mode? Without PCID all are of the root that is loaded. */
function isUserHalf(k: KernelState, cpu: KernelCpu, pcid: number): boolean {
  if (!k.config.kernel.pti) return false
  return k.config.kernel.pcid ? (pcid & USER_PCID) !== 0 : cpu.isOnUserRoot
}
