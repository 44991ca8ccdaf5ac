// What every era does around a flush request: tell the trace where it begins and ends, add up its
// price, and invalidate single pages.

import { INVPCID_ADDRESS } from '../../machine/mmu.js'
import { EVENT } from '../../trace/events.js'
import type { KernelCpu } from '../cpu.js'
import { smpCallMany } from '../smp/ipi.js'
import type { KernelOp } from '../kernel-op.js'
import { invalidateUserPage } from './pti.js'
import type { KernelState } from '../state.js'
import { emit, vpnHi, vpnLo } from '../state.js'
import { FLUSH_ALL } from './tlb-policy.js'
import type { FlushTlbInfo } from './tlb-policy.js'

/** Stale bits of mmCpumask are trimmed by a flush at most once in this time: one second (6.x). */
export function trimPeriodCycles(k: KernelState): number {
  return k.costs.frequencyGhz * 1e9
}

/** Opens a request in the trace. */
export function beginFlush(k: KernelState, cpu: KernelCpu, info: FlushTlbInfo): void {
  const all = info.end === FLUSH_ALL
  const mm = info.mm === undefined ? -1 : info.mm.ctxId
  const pages = all ? -1 : info.end - info.start
  k.observer?.flushBegun(cpu, info)
  emit(k, cpu, EVENT.flushBegin, mm, vpnHi(k, info.start), vpnLo(k, info.start), pages, info.newTlbGen)
}

/** Closes it: `targets` CPUs were interrupted, the initiator spent the time since `begin`. */
export function endFlush(k: KernelState, cpu: KernelCpu, info: FlushTlbInfo, targets: number, begin: number): void {
  const cycles = cpu.now - begin
  k.counters.initiatorCycles += cycles
  emit(k, cpu, EVENT.flushDone, info.mm === undefined ? -1 : info.mm.ctxId, targets, cycles)
  k.observer?.flushEnded(cpu, info, begin)
}

/** on_each_cpu(): runs `func` on every CPU, the caller's own included, and waits. */
export function* onEachCpu(
  k: KernelState, cpu: KernelCpu, func: (cpu: KernelCpu) => KernelOp, options: { alwaysSend: boolean },
): KernelOp<number> {
  const others = k.cpus.map(each => each.id).filter(id => id !== cpu.id)
  yield* smpCallMany(k, cpu, others, func, { ...options, runLocal: () => func(cpu) })
  return others.length
}

/** A request that is about no mm: a batch, or kernel pages. */
export function anonymousRequest(cpu: KernelCpu, start: number, end: number): FlushTlbInfo {
  return {
    mm: undefined, start, end, stridePages: 1, freedTables: false, newTlbGen: 0, initiator: cpu, trimCpumask: false,
  }
}

/**
 * INVLPG for `count` pages from `vpn` in steps of `stridePages`; with page-table isolation in both halves. Returns what
 * that costs: for the caller to yield.
 */
export function invalidatePages(
  k: KernelState, cpu: KernelCpu, vpn: number, count: number, stridePages: number,
): number {
  const isFaulty = k.config.kernel.pcid && k.bugs.has('h14-invlpg-keeps-globals-with-pcid')
  const mmu = k.platform.mmu(cpu.id)
  let userCycles = 0
  for (let i = 0; i < count; i++) {
    const at = vpn + i * stridePages
    // The hardware of the bug takes INVLPG for INVPCID of one address: it leaves global entries.
    if (isFaulty) mmu.invpcid(INVPCID_ADDRESS, mmu.pcid, vpnHi(k, at), vpnLo(k, at))
    else mmu.invlpg(vpnHi(k, at), vpnLo(k, at))
    userCycles += invalidateUserPage(k, cpu, at)
  }
  return count * k.costs.invlpg + userCycles
}
