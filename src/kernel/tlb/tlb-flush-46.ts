// TLB handling of Linux 4.6 (arch/x86/mm/tlb.c): no PCID, no generations. A CPU is OK or LAZY;
// a lazy one is interrupted once, leaves the mm and is left alone from then on.
// kernel-behaviour.md 4.1 and 4.2.
//
//   state   bit in mmCpumask   CR3       meaning
//   OK      1                  active    running user task or its kernel side
//   LAZY    1                  active    kernel thread borrowing, still interrupted
//   LAZY    0                  swapper   kernel thread borrowing, left the mm

import { fail } from '../../base/assert.js'
import { EVENT, TLB_FLUSH_ON_TASK_SWITCH, TLB_LOCAL_MM_SHOOTDOWN, TLB_LOCAL_SHOOTDOWN, TLB_REMOTE_SEND_IPI,
  TLB_REMOTE_SHOOTDOWN } from '../../trace/events.js'
import type { CpuMask } from '../cpumask.js'
import type { KernelCpu } from '../cpu.js'
import { TLBSTATE_LAZY, TLBSTATE_OK } from '../cpu.js'
import { anonymousRequest, beginFlush, endFlush, invalidatePages } from './flush-request.js'
import { kernelFlushes } from './kernel-flush.js'
import { smpCallMany } from '../smp/ipi.js'
import type { KernelOp } from '../kernel-op.js'
import type { Mm } from '../mm/mm.js'
import type { KernelState } from '../state.js'
import { drainOwn, hasBuffered, storeLater } from '../smp/store-buffer.js'
import { emit } from '../state.js'
import { FLUSH_ALL } from './tlb-policy.js'
import type { FlushRange, FlushTlbInfo, ReportViolation, TlbPolicy } from './tlb-policy.js'

const ALL_PAGES = -1

export const linux46: TlbPolicy = {
  name: 'linux-4.6',
  source: 'Linux 4.6 arch/x86/mm/tlb.c',
  eras: ['linux-4.6'],
  lazyReferences: 'counted',
  usesPcid: false,
  initCpu,
  enterLazyTlb,
  switchMm,
  leaveMm,
  flushMmRange,
  flushPage,
  flushTlbMulti: flushTlbOthers,
  batchAdd: (_k, _cpu, mask, mm) => mask.or(mm.mmCpumask),
  flushBatch,
  ...kernelFlushes({
    alwaysSend: true,
    doAll: doFlushTlbAll,
    *doRange(k, cpu, start, pages) {
      yield invalidatePages(k, cpu, start, pages, 1)
    },
  }),
  flushFunc,
  loadedRoot,
  // A CPU outside the mask has the swapper directory loaded and an empty TLB: nothing is ever behind.
  ownerOf: (k, cpu) => ({ mm: loadedRoot(k, cpu).mm, behind: '' }),
  checkCpu,
  checkMasks,
}

function initCpu(k: KernelState, cpu: KernelCpu): void {
  k.platform.mmu(cpu.id).loadCr3(k.initMm.pgdPfn, 0, false)
}

function* enterLazyTlb(k: KernelState, cpu: KernelCpu, mm: Mm): KernelOp<Mm> {
  if (cpu.tlb46.state === TLBSTATE_OK) {
    cpu.tlb46.state = TLBSTATE_LAZY
    emit(k, cpu, EVENT.enterLazyTlb, mm.ctxId)
  }
  return mm
}

/** leave_mm(): loads the swapper directory. activeMm, the state and the task's reference stay. */
function* leaveMm(k: KernelState, cpu: KernelCpu): KernelOp {
  const { state, activeMm } = cpu.tlb46
  if (state === TLBSTATE_OK) fail(`cpu${cpu.id} leaves mm ${activeMm.ctxId} in state OK`)
  if (!isInOwnMask(k, cpu, activeMm)) return
  drainOwn(k, cpu)
  activeMm.mmCpumask.clear(cpu.id)
  k.counters.lazyLeft += 1
  emit(k, cpu, EVENT.leaveMm, activeMm.ctxId)
  yield* loadRoot(k, cpu, k.initMm)
}

/** load_cr3(): without PCID every load drops all non-global entries. */
function* loadRoot(k: KernelState, cpu: KernelCpu, mm: Mm): KernelOp {
  k.platform.mmu(cpu.id).loadCr3(mm.pgdPfn, 0, false)
  yield k.costs.fullFlush
  emit(k, cpu, EVENT.tlbFlush, ALL_PAGES, TLB_FLUSH_ON_TASK_SWITCH)
  emit(k, cpu, EVENT.switchMm, mm.ctxId, 0, 1)
}

/** switch_mm_irqs_off(). */
function* switchMm(k: KernelState, cpu: KernelCpu, prev: Mm, next: Mm): KernelOp {
  const tlb = cpu.tlb46
  drainOwn(k, cpu)
  tlb.state = TLBSTATE_OK
  if (prev !== next) {
    tlb.activeMm = next
    // Before any walk of next's tables: from here on flushes of next reach this CPU.
    if (k.bugs.has('h01-mask-bit-in-store-buffer')) storeLater(k, cpu, () => next.mmCpumask.set(cpu.id))
    else next.mmCpumask.set(cpu.id)
    yield* loadRoot(k, cpu, next)
    // After the load: an interrupt for prev in between finds another mm active and does nothing.
    prev.mmCpumask.clear(cpu.id)
    return
  }
  if (tlb.activeMm !== next) fail(`cpu${cpu.id} returns to mm ${next.ctxId} but holds ${tlb.activeMm.ctxId}`)
  if (isInOwnMask(k, cpu, next)) return
  // leaveMm happened while lazy: flushes were missed, so start from an empty TLB.
  next.mmCpumask.set(cpu.id)
  yield* loadRoot(k, cpu, next)
}

/** flush_tlb_mm_range(). */
function* flushMmRange(k: KernelState, cpu: KernelCpu, mm: Mm, range: FlushRange): KernelOp {
  cpu.preemptCount += 1
  const begin = cpu.now
  const info = requestFor(cpu, mm, range.start, range.end, range.freedTables)
  beginFlush(k, cpu, info)
  yield k.costs.flushSetup
  const task = cpu.current
  let wholeMm = true
  if (task.activeMm === mm && task.mm === undefined) {
    yield* leaveMm(k, cpu)
  } else if (task.activeMm === mm) {
    const pages = range.end === FLUSH_ALL || range.hugetlb ? Infinity : range.end - range.start
    wholeMm = pages > k.config.kernel.flushCeilingPages
    if (wholeMm) {
      k.counters.nr_tlb_local_flush_all += 1
      k.platform.mmu(cpu.id).flushNonGlobal()
      yield k.costs.fullFlush
    } else {
      k.counters.nr_tlb_local_flush_one += pages
      yield invalidatePages(k, cpu, range.start, pages, 1)
    }
    emit(k, cpu, EVENT.tlbFlush, wholeMm ? ALL_PAGES : pages, TLB_LOCAL_MM_SHOOTDOWN)
  }
  if (wholeMm) {
    info.start = 0
    info.end = FLUSH_ALL
  }
  const targets = yield* flushTlbOthers(k, cpu, mm.mmCpumask, info)
  endFlush(k, cpu, info, targets, begin)
  cpu.preemptCount -= 1
}

/** flush_tlb_page(): the local part leaves no tlb_flush record. */
function* flushPage(k: KernelState, cpu: KernelCpu, mm: Mm, vpn: number): KernelOp {
  cpu.preemptCount += 1
  const begin = cpu.now
  const info = requestFor(cpu, mm, vpn, vpn + 1, false)
  beginFlush(k, cpu, info)
  yield k.costs.flushSetup
  const task = cpu.current
  if (task.activeMm === mm) {
    if (task.mm === undefined) {
      yield* leaveMm(k, cpu)
    } else {
      k.counters.nr_tlb_local_flush_one += 1
      yield invalidatePages(k, cpu, vpn, 1, 1)
    }
  }
  const targets = yield* flushTlbOthers(k, cpu, mm.mmCpumask, info)
  endFlush(k, cpu, info, targets, begin)
  cpu.preemptCount -= 1
}

/** native_flush_tlb_others(), serial: the local part is over when the interrupts are sent. */
function* flushTlbOthers(k: KernelState, cpu: KernelCpu, mask: CpuMask, info: FlushTlbInfo): KernelOp<number> {
  if (!mask.anyBut(cpu.id)) return 0
  k.counters.nr_tlb_remote_flush += 1
  k.counters.shootdowns += 1
  emit(k, cpu, EVENT.tlbFlush, info.end === FLUSH_ALL ? ALL_PAGES : info.end - info.start, TLB_REMOTE_SEND_IPI)
  const targets = mask.toArray().filter(id => id !== cpu.id)
  yield* smpCallMany(k, cpu, targets, target => flushFunc(k, target, info), { alwaysSend: true })
  return targets.length
}

/** try_to_unmap_flush() (mm/rmap.c): one full flush for all the pages of a batch, whatever mm they were of. */
function* flushBatch(k: KernelState, cpu: KernelCpu, mask: CpuMask): KernelOp {
  cpu.preemptCount += 1
  const begin = cpu.now
  const info = anonymousRequest(cpu, 0, FLUSH_ALL)
  beginFlush(k, cpu, info)
  yield k.costs.flushSetup
  if (mask.has(cpu.id)) {
    k.counters.nr_tlb_local_flush_all += 1
    k.platform.mmu(cpu.id).flushNonGlobal()
    yield k.costs.fullFlush
    emit(k, cpu, EVENT.tlbFlush, ALL_PAGES, TLB_LOCAL_SHOOTDOWN)
  }
  const targets = yield* flushTlbOthers(k, cpu, mask, info)
  endFlush(k, cpu, info, targets, begin)
  cpu.preemptCount -= 1
}

/** do_flush_tlb_all(): a lazy CPU leaves its mm as well. */
function* doFlushTlbAll(k: KernelState, cpu: KernelCpu): KernelOp {
  k.counters.nr_tlb_remote_flush_received += 1
  k.platform.mmu(cpu.id).flushGlobal()
  yield k.costs.fullFlushGlobal
  if (cpu.tlb46.state === TLBSTATE_LAZY) yield* leaveMm(k, cpu)
}

/** flush_tlb_func() in the interrupt of a responder. */
function* flushFunc(k: KernelState, cpu: KernelCpu, info: FlushTlbInfo): KernelOp {
  const tlb = cpu.tlb46
  if (info.mm !== undefined && info.mm !== tlb.activeMm) {
    k.counters.wrongCpu += 1
    emit(k, cpu, EVENT.flushAck, info.initiator.id)
    return
  }
  k.counters.nr_tlb_remote_flush_received += 1
  if (tlb.state === TLBSTATE_OK) {
    if (info.end === FLUSH_ALL) {
      k.platform.mmu(cpu.id).flushNonGlobal()
      yield k.costs.fullFlush
      emit(k, cpu, EVENT.tlbFlush, ALL_PAGES, TLB_REMOTE_SHOOTDOWN)
    } else {
      const pages = info.end - info.start
      yield invalidatePages(k, cpu, info.start, pages, 1)
      emit(k, cpu, EVENT.tlbFlush, pages, TLB_REMOTE_SHOOTDOWN)
    }
  } else {
    yield* leaveMm(k, cpu)
  }
  emit(k, cpu, EVENT.flushAck, info.initiator.id)
}

function requestFor(cpu: KernelCpu, mm: Mm, start: number, end: number, freedTables: boolean): FlushTlbInfo {
  return { mm, start, end, stridePages: 1, freedTables, newTlbGen: 0, initiator: cpu, trimCpumask: false }
}

function loadedRoot(k: KernelState, cpu: KernelCpu): { mm: Mm; pcid: number } {
  const { activeMm } = cpu.tlb46
  return { mm: isInOwnMask(k, cpu, activeMm) ? activeMm : k.initMm, pcid: 0 }
}

/** I15, I16, I17. */
function checkCpu(k: KernelState, cpu: KernelCpu, report: ReportViolation): void {
  const { state, activeMm } = cpu.tlb46
  if (activeMm.isFreed) report('I3', activeMm, 'the mm in cpu_tlbstate is freed')
  const isOk = state === TLBSTATE_OK
  if (isOk && !isInOwnMask(k, cpu, activeMm)) {
    report('I17', activeMm, `TLB state OK, but mm_cpumask ${activeMm.mmCpumask.toHex()} is without its bit`)
  }
  if (cpu.irqsOff > 0) return
  const { mm } = cpu.current
  if (mm === undefined && isOk) report('I15', activeMm, 'a task without an mm runs in TLB state OK')
  if (mm !== undefined && (!isOk || activeMm !== mm)) {
    const text = isOk ? `cpu_tlbstate holds mm ${activeMm.ctxId}` : 'the TLB state is lazy'
    report(cpu.inUserMode ? 'I16' : 'I15', mm, `runs with its own mm, but ${text}`)
  }
}

/** I7: a bit in a mask means that the CPU has the mm, outside the switch window. */
function checkMasks(k: KernelState, cpu: KernelCpu, report: ReportViolation): void {
  if (cpu.irqsOff > 0) return
  for (const mm of k.mms.values()) {
    if (!mm.mmCpumask.has(cpu.id) || cpu.tlb46.activeMm === mm) continue
    report('I7', mm, `its bit is set in mm_cpumask, but it holds mm ${cpu.tlb46.activeMm.ctxId}`)
  }
}

/** As the CPU itself sees its bit, a store that is still in its buffer included. */
function isInOwnMask(k: KernelState, cpu: KernelCpu, mm: Mm): boolean {
  return mm.mmCpumask.has(cpu.id) || (k.storeBuffer.length > 0 && hasBuffered(k, cpu))
}
