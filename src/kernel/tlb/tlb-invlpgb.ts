// Broadcast invalidation of AMD (INVLPGB, TLBSYNC): a process that is busy on more than three CPUs
// gets a global ASID, one PCID on every CPU; its flushes are broadcasts that need no interrupt and
// leave no tlb_flush record. All other processes live as in 6.x. kernel-behaviour.md 4.9.
//
//   ASID 0..5    slots of one CPU                 6..4094   global (to 2046 with page-table isolation)
//
// A process on its way to a global ASID (in transition) is flushed both ways, until a flush finds no
// CPU that has it loaded under another ASID. Freed ASIDs are used again only after the allocator has
// come round and everything that is not global was flushed by one broadcast.
//
// From the source: all of this, and that the check for a candidate is made only when pid and tick
// agree modulo 32. Our reading: ticks of one millisecond; any vendor's machine has the instructions
// when this policy is chosen, and eight pages go in one broadcast. Without PCID it is plain 6.x.

import type { KernelCpu } from '../cpu.js'
import { anonymousRequest, beginFlush, endFlush } from './flush-request.js'
import type { KernelOp } from '../kernel-op.js'
import type { Mm } from '../mm/mm.js'
import { cpumaskOf } from './mm-cpumask.js'
import { pcidHalves } from './pti.js'
import { dropKernelPage, remoteMmu } from '../smp/remote-cpu.js'
import type { KernelState } from '../state.js'
import { vpnHi, vpnLo } from '../state.js'
import {
  flushMmRange as flushMmRange6x, flushTlbMulti, hardwarePcid, isGlobalAsid, linux6x, ownerOf as ownerOfSlot,
} from './tlb-flush-6x.js'
import { FLUSH_ALL } from './tlb-policy.js'
import type { FlushRange, FlushTlbInfo, PcidOwner, TlbPolicy } from './tlb-policy.js'

/** INVLPGB_COUNT_MAX: pages that one broadcast invalidates. */
const PAGES_PER_BROADCAST = 8
/** A process on more CPUs than this is worth a global ASID. */
const ACTIVE_CPUS = 3
/** Candidates are looked at when pid and tick agree in these bits. */
const CANDIDATE_MASK = 0x1f
const TICK_SECONDS = 1e-3
const FIRST_GLOBAL_ASID = 6
const LAST_GLOBAL_ASID = 4094
const LAST_GLOBAL_ASID_PTI = 2046
/** One look at whether another CPU has finished its switch. */
const POLL_CYCLES = 50

/** The broadcast ASID allocator of a kernel. */
interface AsidSpace {
  last: number
  /** Owners; the mm of a freed ASID is gone, but it is not free before the space comes round. */
  readonly owners: Map<number, Mm>
}

interface GlobalContext {
  readonly asid: number
  inTransition: boolean
}

const spaces = new WeakMap<KernelState, AsidSpace>()
const contexts = new WeakMap<Mm, GlobalContext>()

export const linux6xInvlpgb: TlbPolicy = {
  ...linux6x,
  name: 'linux-6.x-invlpgb',
  source: 'Linux 6.18 arch/x86/mm/tlb.c, broadcast TLB flush (AMD INVLPGB)',
  globalAsids: {
    of: mm => contexts.get(mm)?.asid ?? 0,
    inTransition: mm => contexts.get(mm)?.inTransition ?? false,
  },
  flushMmRange,
  flushPage: (k, cpu, mm, vpn) =>
    flushMmRange(k, cpu, mm, { start: vpn, end: vpn + 1, stridePages: 1, freedTables: false, hugetlb: false }),
  flushBatch,
  flushKernelRange,
  flushAll: (k, cpu) => flushKernelRange(k, cpu, 0, FLUSH_ALL),
  ownerOf,
}

function* flushMmRange(k: KernelState, cpu: KernelCpu, mm: Mm, range: FlushRange): KernelOp {
  const context = contexts.get(mm)
  if (context === undefined) {
    const isMulti = cpumaskOf(k, mm).anyBut(cpu.id)
    yield* flushMmRange6x(k, cpu, mm, range)
    if (isMulti) considerGlobalAsid(k, cpu, mm)
    return
  }
  cpu.preemptCount += 1
  const begin = cpu.now
  mm.tlbGen += 1
  const info: FlushTlbInfo = { ...range, mm, newTlbGen: mm.tlbGen, initiator: cpu, trimCpumask: false }
  if (Math.floor((info.end - info.start) / info.stridePages) > k.config.kernel.flushCeilingPages) {
    info.start = 0
    info.end = FLUSH_ALL
  }
  beginFlush(k, cpu, info)
  yield k.costs.flushSetup
  const forGeneration = mm.tlbGenLine.write(k, cpu)
  if (forGeneration > 0) yield forGeneration
  const pcids = pcidHalves(k, hardwarePcid(k, context.asid))
  const units = info.end === FLUSH_ALL ? 0 : Math.ceil((info.end - info.start) / info.stridePages)
  yield pcids.length * Math.max(1, Math.ceil(units / PAGES_PER_BROADCAST)) * k.costs.invlpgb
  const targets = context.inTransition ? yield* finishTransition(k, cpu, mm, context, info) : 0
  yield k.costs.tlbsync
  for (const target of k.cpus) {
    const mmu = remoteMmu(k, cpu, target)
    for (const pcid of pcids) {
      if (units === 0) mmu.invpcid(1, pcid, 0, 0)
      for (let i = 0; i < units; i++) {
        const vpn = info.start + i * info.stridePages
        mmu.invpcid(0, pcid, vpnHi(k, vpn), vpnLo(k, vpn))
      }
    }
  }
  endFlush(k, cpu, info, targets, begin)
  cpu.preemptCount -= 1
}

/** finish_asid_transition(): interrupts everybody while somebody has the mm loaded under another ASID. */
function* finishTransition(
  k: KernelState, cpu: KernelCpu, mm: Mm, context: GlobalContext, info: FlushTlbInfo,
): KernelOp<number> {
  for (const id of cpumaskOf(k, mm).toArray()) {
    const { tlb6x } = k.cpus[id]
    while (tlb6x.loadedMm === undefined) yield POLL_CYCLES
    if (tlb6x.loadedMm === mm && tlb6x.loadedMmAsid !== context.asid) {
      return yield* flushTlbMulti(k, cpu, cpumaskOf(k, mm), info)
    }
  }
  context.inTransition = false
  return 0
}

/** consider_global_asid(). */
function considerGlobalAsid(k: KernelState, cpu: KernelCpu, mm: Mm): void {
  const tick = Math.floor(cpu.now / (k.costs.frequencyGhz * 1e9 * TICK_SECONDS))
  if (!k.config.kernel.pcid || ((cpu.current.pid ^ tick) & CANDIDATE_MASK) !== 0 || contexts.has(mm)) return
  const active = cpumaskOf(k, mm).toArray().filter(id => k.cpus[id].tlb6x.loadedMm === mm && !k.cpus[id].tlb6x.isLazy)
  if (active.length <= ACTIVE_CPUS) return
  const asid = allocateAsid(k, cpu, mm)
  if (asid > 0) contexts.set(mm, { asid, inTransition: true })
}

/** allocate_global_asid(): 0 when all are taken. */
function allocateAsid(k: KernelState, cpu: KernelCpu, mm: Mm): number {
  const space = spaceOf(k)
  const last = k.config.kernel.pti ? LAST_GLOBAL_ASID_PTI : LAST_GLOBAL_ASID
  for (let round = 0; round < 2; round++) {
    while (space.last < last) {
      space.last += 1
      if (space.owners.has(space.last)) continue
      space.owners.set(space.last, mm)
      return space.last
    }
    // reset_global_asid_space(): what freed ASIDs left behind goes before any of them is used again.
    for (const target of k.cpus) remoteMmu(k, cpu, target).invpcid(3, 0, 0, 0)
    for (const [asid, owner] of space.owners) if (owner.isFreed) space.owners.delete(asid)
    space.last = FIRST_GLOBAL_ASID - 1
  }
  return 0
}

function spaceOf(k: KernelState): AsidSpace {
  let space = spaces.get(k)
  if (space === undefined) {
    space = { last: FIRST_GLOBAL_ASID - 1, owners: new Map() }
    spaces.set(k, space)
  }
  return space
}

/** One broadcast for all address spaces: whatever is not global. */
function* flushBatch(k: KernelState, cpu: KernelCpu, _mask: unknown, mms: readonly Mm[]): KernelOp {
  const newest = new Map(mms.map(mm => [mm, mm.tlbGen]))
  const begin = cpu.now
  const info = anonymousRequest(cpu, 0, FLUSH_ALL)
  beginFlush(k, cpu, info)
  yield k.costs.flushSetup + k.costs.invlpgb + k.costs.tlbsync
  for (const target of k.cpus) remoteMmu(k, cpu, target).invpcid(3, 0, 0, 0)
  for (const mm of mms) if (mm.batchGen <= newest.get(mm)!) mm.batchGen = 0
  endFlush(k, cpu, info, 0, begin)
}

function* flushKernelRange(k: KernelState, cpu: KernelCpu, start: number, end: number): KernelOp {
  const all = end - start > k.config.kernel.flushCeilingPages
  const begin = cpu.now
  const info = anonymousRequest(cpu, start, end)
  beginFlush(k, cpu, info)
  const broadcasts = all ? 1 : Math.ceil((end - start) / PAGES_PER_BROADCAST)
  yield k.costs.flushSetup + broadcasts * k.costs.invlpgb + k.costs.tlbsync
  for (const target of k.cpus) {
    const mmu = remoteMmu(k, cpu, target)
    if (all) mmu.flushGlobal()
    else for (let vpn = start; vpn < end; vpn++) dropKernelPage(k, mmu, vpn)
  }
  endFlush(k, cpu, info, 0, begin)
}

function ownerOf(k: KernelState, cpu: KernelCpu, pcid: number): PcidOwner {
  if (!isGlobalAsid(pcid - 1)) return ownerOfSlot(k, cpu, pcid)
  const mm = spaceOf(k).owners.get(pcid - 1)
  if (mm === undefined) return { mm, behind: 'nobody has this ASID' }
  return mm.isFreed ? { mm: undefined, behind: `mm ${mm.ctxId} is gone, its ASID is flushed before reuse` }
    : { mm, behind: '' }
}
