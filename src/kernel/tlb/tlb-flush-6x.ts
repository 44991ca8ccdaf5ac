// TLB handling of Linux 6.x (arch/x86/mm/tlb.c): dynamic ASIDs, generations, lazy CPUs that are
// skipped and catch up later. kernel-behaviour.md 4.3 to 4.8.
//
// Three generations meet in flushTlbFunc:
//   mm.tlbGen              how many flushes of this mm were requested so far
//   ctxs[asid].tlbGen      up to which of them this CPU's slot is flushed
//   info.newTlbGen         the one this request made
//
// A slot may always be flushed more than recorded, never less. Requests can arrive out of order;
// only the one that is exactly next, and also the newest, may be answered with a range flush.
//
//   switchMm on CPU 1                     flushMmRange on CPU 0
//   loadedMm = SWITCHING                  clear entries
//   set own bit in mmCpumask              tlbGen += 1
//   read tlbGen                           read mmCpumask, loadedMm of CPU 1
//   -> CPU 1 sees the new generation, or CPU 0 sees SWITCHING or the bit, or both.

import { fail } from '../../base/assert.js'
import { EVENT, TLB_FLUSH_ON_TASK_SWITCH, TLB_LOCAL_MM_SHOOTDOWN, TLB_LOCAL_SHOOTDOWN, TLB_REMOTE_SEND_IPI,
  TLB_REMOTE_SHOOTDOWN, TLB_REMOTE_WRONG_CPU } from '../../trace/events.js'
import type { CpuMask } from '../cpumask.js'
import type { KernelCpu } from '../cpu.js'
import { TLB_NR_DYN_ASIDS } from '../cpu.js'
import { anonymousRequest, beginFlush, endFlush, invalidatePages } from './flush-request.js'
import { kernelFlushes } from './kernel-flush.js'
import { cpumaskOf, interruptsStale, leaveMask, readMaskLines, switchMask, writeTlbState } from './mm-cpumask.js'
import { smpCallMany } from '../smp/ipi.js'
import type { KernelOp } from '../kernel-op.js'
import type { Mm } from '../mm/mm.js'
import { invalidateUserAsid } from './pti.js'
import type { KernelState } from '../state.js'
import { emit } from '../state.js'
import { FLUSH_ALL } from './tlb-policy.js'
import type { FlushRange, FlushTlbInfo, PcidOwner, ReportViolation, TlbPolicy } from './tlb-policy.js'

/** Pages of a full flush as tlb_flush prints them. */
const ALL_PAGES = -1

export const linux6x: TlbPolicy = {
  name: 'linux-6.x',
  source: 'Linux 6.18 arch/x86/mm/tlb.c',
  eras: ['linux-6.x'],
  lazyReferences: 'moved',
  usesPcid: true,
  initCpu,
  enterLazyTlb,
  switchMm: (k, cpu, _prev, next) => switchMm(k, cpu, next),
  leaveMm,
  flushMmRange,
  flushPage: (k, cpu, mm, vpn) =>
    flushMmRange(k, cpu, mm, { start: vpn, end: vpn + 1, stridePages: 1, freedTables: false, hugetlb: false }),
  flushTlbMulti,
  batchAdd,
  flushBatch,
  ...kernelFlushes({ alwaysSend: false, doAll: doFlushTlbAll, doRange: doKernelRangeFlush }),
  flushFunc,
  loadedRoot,
  ownerOf,
  checkCpu,
}

export function initCpu(k: KernelState, cpu: KernelCpu): void {
  const state = cpu.tlb6x
  state.ctxs[0].ctxId = k.initMm.ctxId
  state.ctxs[0].tlbGen = k.initMm.tlbGen
  k.platform.mmu(cpu.id).loadCr3(k.initMm.pgdPfn, hardwarePcid(k, 0), false)
}

/** kern_pcid(): slot + 1, because PCID 0 is left to code that knows nothing of PCIDs. */
export function hardwarePcid(k: KernelState, asid: number): number {
  return k.config.kernel.pcid ? asid + 1 : 0
}

export function* enterLazyTlb(k: KernelState, cpu: KernelCpu, mm: Mm): KernelOp<Mm> {
  const { loadedMm } = cpu.tlb6x
  if (loadedMm !== k.initMm) {
    cpu.tlb6x.isLazy = true
    const forState = writeTlbState(k, cpu)
    if (forState > 0) yield forState
    emit(k, cpu, EVENT.enterLazyTlb, loadedMm === undefined ? 0 : loadedMm.ctxId)
  }
  return mm
}

function* leaveMm(k: KernelState, cpu: KernelCpu): KernelOp {
  const state = cpu.tlb6x
  if (state.loadedMm === k.initMm) return
  if (!state.isLazy) fail(`cpu${cpu.id} leaves its mm but is not lazy`)
  yield* leaveToInit(k, cpu)
}

/** switch_mm to init_mm because of a flush or of leaving. */
export function* leaveToInit(k: KernelState, cpu: KernelCpu): KernelOp {
  k.counters.lazyLeft += 1
  emit(k, cpu, EVENT.leaveMm, cpu.tlb6x.loadedMm === undefined ? 0 : cpu.tlb6x.loadedMm.ctxId)
  yield* switchMm(k, cpu, k.initMm)
}

/** Above the slots of a CPU: the same on all of them (tlb-invlpgb.ts). */
export function isGlobalAsid(asid: number): boolean {
  return asid >= TLB_NR_DYN_ASIDS
}

/** choose_new_asid(): the slot for `next`, and whether it must be flushed. */
function chooseNewAsid(k: KernelState, cpu: KernelCpu, next: Mm, tlbGen: number): { asid: number; needFlush: boolean } {
  const state = cpu.tlb6x
  if (!k.config.kernel.pcid) return { asid: 0, needFlush: true }
  const globalAsid = k.policy.globalAsids?.of(next) ?? 0
  if (globalAsid > 0) return { asid: globalAsid, needFlush: false }
  if (state.invalidateOther) {
    for (let asid = 0; asid < TLB_NR_DYN_ASIDS; asid++) if (asid !== state.loadedMmAsid) state.ctxs[asid].ctxId = 0
    state.invalidateOther = false
  }
  for (let asid = 0; asid < TLB_NR_DYN_ASIDS; asid++) {
    if (state.ctxs[asid].ctxId === next.ctxId) return { asid, needFlush: state.ctxs[asid].tlbGen < tlbGen }
  }
  let asid = state.nextAsid++
  if (asid >= TLB_NR_DYN_ASIDS) {
    asid = 0
    state.nextAsid = 1
  }
  return { asid, needFlush: true }
}

/** switch_mm_irqs_off(). */
export function* switchMm(k: KernelState, cpu: KernelCpu, next: Mm): KernelOp {
  const state = cpu.tlb6x
  const prev = state.loadedMm
  const wasLazy = state.isLazy
  // Nobody sees the store before its line is here, and the generation is read behind it (smp_mb()).
  const forState = wasLazy && prev === next ? writeTlbState(k, cpu) : 0
  if (forState > 0) yield forState
  state.isLazy = false
  let asid: number
  let needFlush: boolean
  let tlbGen: number
  const globalAsid = k.policy.globalAsids?.of(next) ?? 0
  if (prev === next && globalAsid > 0 && !isGlobalAsid(state.loadedMmAsid)) {
    tlbGen = next.tlbGen
    asid = globalAsid
    needFlush = false
  } else if (prev === next) {
    if (!wasLazy || isGlobalAsid(state.loadedMmAsid)) return
    tlbGen = next.tlbGen
    if (state.ctxs[state.loadedMmAsid].tlbGen === tlbGen) return
    asid = state.loadedMmAsid
    needFlush = true
  } else {
    state.loadedMm = undefined
    k.observer?.switchBegun(cpu, next)
    yield* switchMask(k, cpu, prev, next)
    tlbGen = next.tlbGen
    ;({ asid, needFlush } = chooseNewAsid(k, cpu, next, tlbGen))
  }
  const mmu = k.platform.mmu(cpu.id)
  if (needFlush) {
    state.ctxs[asid].ctxId = next.ctxId
    state.ctxs[asid].tlbGen = tlbGen
    invalidateUserAsid(k, cpu, asid)
  }
  mmu.loadCr3(next.pgdPfn, hardwarePcid(k, asid), !needFlush)
  if (!isGlobalAsid(asid)) k.observer?.slotLoaded(cpu, next, asid, needFlush)
  yield needFlush ? k.costs.fullFlush : k.costs.cr3NoFlush
  emit(k, cpu, EVENT.tlbFlush, needFlush ? ALL_PAGES : 0, TLB_FLUSH_ON_TASK_SWITCH)
  emit(k, cpu, EVENT.switchMm, next.ctxId, asid, needFlush ? 1 : 0)
  state.loadedMm = next
  state.loadedMmAsid = asid
}

/** flush_tlb_mm_range(). */
export function* flushMmRange(k: KernelState, cpu: KernelCpu, mm: Mm, range: FlushRange): KernelOp {
  cpu.preemptCount += 1
  const begin = cpu.now
  mm.tlbGen += 1
  const info: FlushTlbInfo = {
    mm, start: range.start, end: range.end, stridePages: range.stridePages, freedTables: range.freedTables,
    newTlbGen: mm.tlbGen, initiator: cpu, trimCpumask: false,
  }
  if (Math.floor((info.end - info.start) / info.stridePages) > k.config.kernel.flushCeilingPages) {
    info.start = 0
    info.end = FLUSH_ALL
  }
  beginFlush(k, cpu, info)
  yield k.costs.flushSetup
  const forGeneration = mm.tlbGenLine.write(k, cpu)
  if (forGeneration > 0) yield forGeneration
  const forMask = readMaskLines(k, cpu, mm)
  if (forMask > 0) yield forMask
  const mask = cpumaskOf(k, mm)
  let targets = 0
  if (mask.anyBut(cpu.id)) {
    info.trimCpumask = interruptsStale(k, cpu, mm)
    targets = yield* k.policy.flushTlbMulti(k, cpu, mask, info)
  } else if (cpu.tlb6x.loadedMm === mm) {
    yield* flushHere(k, cpu, info)
  }
  endFlush(k, cpu, info, targets, begin)
  cpu.preemptCount -= 1
}

/** native_flush_tlb_multi(): how many CPUs were interrupted. */
export function flushTlbMulti(k: KernelState, cpu: KernelCpu, mask: CpuMask, info: FlushTlbInfo): KernelOp<number> {
  recordSend(k, cpu, info)
  const targets = selectTargets(k, cpu, mask, info)
  const runsHere = needsIt(k, cpu, mask, info)
  const early = acknowledgesEarly(k, info)
  const respond = early ? flushAcknowledged : flushFunc
  const callTargets = (runLocal?: () => KernelOp): KernelOp<number> =>
    smpCallMany(k, cpu, targets, target => respond(k, target, info), { alwaysSend: false, early, runLocal })
  if (!runsHere) return callTargets()
  if (k.config.kernel.remoteFlush !== 'serial') return callTargets(() => flushFunc(k, cpu, info))
  return flushHereFirst(k, cpu, info, callTargets)
}

/** As Linux did before 5.12: the others are only asked when the own part is done. */
function* flushHereFirst(
  k: KernelState, cpu: KernelCpu, info: FlushTlbInfo, callTargets: () => KernelOp<number>,
): KernelOp<number> {
  yield* flushHere(k, cpu, info)
  return yield* callTargets()
}

/**
 * May responders acknowledge before they flush? Between the two they are in their handlers with interrupts off: no user
 * code runs, and the kernel uses no user translation. Page tables are another matter, since hardware may walk them
 * whenever it likes (kernel-behaviour.md 4.7); and a CPU on its way to a global ASID must have arrived.
 */
function acknowledgesEarly(k: KernelState, info: FlushTlbInfo): boolean {
  return k.config.kernel.earlyAck && !info.freedTables && !isChangingAsid(k, info)
}

/** flush_tlb_func() of a responder whose initiator has gone on already. */
function* flushAcknowledged(k: KernelState, cpu: KernelCpu, info: FlushTlbInfo): KernelOp {
  k.counters.nr_tlb_remote_flush_received += 1
  cpu.tlb6x.acknowledged += 1
  emit(k, cpu, EVENT.flushAck, info.initiator.id)
  yield* executeFlush(k, cpu, info, cpu.tlb6x, false, false)
  cpu.tlb6x.acknowledged -= 1
}

/** The record and the counters of a request that considers other CPUs. */
export function recordSend(k: KernelState, cpu: KernelCpu, info: FlushTlbInfo): void {
  k.counters.nr_tlb_remote_flush += 1
  k.counters.shootdowns += 1
  emit(k, cpu, EVENT.tlbFlush, info.end === FLUSH_ALL ? ALL_PAGES : info.end - info.start, TLB_REMOTE_SEND_IPI)
}

/** flush_tlb_func() of the initiator, outside a call. */
export function* flushHere(k: KernelState, cpu: KernelCpu, info: FlushTlbInfo): KernelOp {
  cpu.irqsOff += 1
  yield* flushFunc(k, cpu, info)
  cpu.irqsOff -= 1
}

/** The CPUs of `mask` besides this one that need the request, ascending; the others are noted as skipped. */
export function selectTargets(k: KernelState, cpu: KernelCpu, mask: CpuMask, info: FlushTlbInfo): number[] {
  const targets: number[] = []
  for (const id of mask.toArray()) {
    if (id === cpu.id) continue
    if (needsIt(k, k.cpus[id], mask, info)) {
      targets.push(id)
      continue
    }
    const lazy = k.cpus[id].tlb6x.isLazy
    if (lazy) k.counters.lazySkipped += 1
    emit(k, cpu, EVENT.flushSkip, id, k.trace.intern(lazy ? 'lazy' : 'not loaded'))
  }
  return targets
}

/** Freed tables concern lazy CPUs too: speculation may walk them. */
export function needsIt(k: KernelState, cpu: KernelCpu, mask: CpuMask, info: FlushTlbInfo): boolean {
  if (!mask.has(cpu.id)) return false
  const reachesLazy = info.freedTables && !k.bugs.has('h06-lazy-cpu-skips-freed-tables')
  return reachesLazy || isChangingAsid(k, info) || shouldFlushTlb(k, cpu, info)
}

/** CPUs are on their way to the global ASID of the mm: all of them must hear of it. */
function isChangingAsid(k: KernelState, info: FlushTlbInfo): boolean {
  return info.mm !== undefined && k.policy.globalAsids?.inTransition(info.mm) === true
}

/** The mm's generation goes up with every page, so that whoever is left out of the flush knows that it is behind. */
export function batchAdd(k: KernelState, _cpu: KernelCpu, mask: CpuMask, mm: Mm): void {
  mm.tlbGen += 1
  mm.batchGen = mm.tlbGen
  mask.or(cpumaskOf(k, mm))
}

/** arch_tlbbatch_flush(). */
export function* flushBatch(k: KernelState, cpu: KernelCpu, mask: CpuMask, mms: readonly Mm[]): KernelOp {
  cpu.preemptCount += 1
  const newest = new Map(mms.map(mm => [mm, mm.tlbGen]))
  const begin = cpu.now
  const info = anonymousRequest(cpu, 0, FLUSH_ALL)
  beginFlush(k, cpu, info)
  yield k.costs.flushSetup
  let targets = 0
  if (mask.anyBut(cpu.id)) {
    targets = yield* k.policy.flushTlbMulti(k, cpu, mask, info)
  } else if (mask.has(cpu.id)) {
    yield* flushHere(k, cpu, info)
  }
  for (const mm of mms) if (mm.batchGen <= newest.get(mm)!) mm.batchGen = 0
  endFlush(k, cpu, info, targets, begin)
  cpu.preemptCount -= 1
}

/** do_flush_tlb_all(). */
function* doFlushTlbAll(k: KernelState, cpu: KernelCpu): KernelOp {
  k.counters.nr_tlb_remote_flush_received += 1
  k.platform.mmu(cpu.id).flushGlobal()
  yield k.costs.fullFlushGlobal
}

/** do_kernel_range_flush(). */
function* doKernelRangeFlush(k: KernelState, cpu: KernelCpu, start: number, pages: number): KernelOp {
  k.counters.nr_tlb_local_flush_one += pages
  yield invalidatePages(k, cpu, start, pages, 1)
  // The pages are not global then: every other slot may have them, and is flushed before its next use.
  if (k.config.kernel.pti) cpu.tlb6x.invalidateOther = true
}

/** should_flush_tlb(): evaluated by the initiator about CPU `target`. */
export function shouldFlushTlb(k: KernelState, target: KernelCpu, info: FlushTlbInfo): boolean {
  const { loadedMm, isLazy } = target.tlb6x
  if (isLazy) return false
  if (info.mm === undefined) return true
  if (loadedMm === undefined) return !k.bugs.has('h08-switching-cpu-skipped')
  if (loadedMm === info.mm) return true
  return info.trimCpumask
}

/** flush_tlb_func(): on the initiator and on every responder. */
export function flushFunc(k: KernelState, cpu: KernelCpu, info: FlushTlbInfo): KernelOp {
  const local = cpu === info.initiator
  if (!local) k.counters.nr_tlb_remote_flush_received += 1
  return executeFlush(k, cpu, info, cpu.tlb6x, local, !local)
}

/** What a request asks for, and the acknowledgement, whatever came of it. */
export function* executeFlush(
  k: KernelState, cpu: KernelCpu, info: FlushTlbInfo, state: KernelCpu['tlb6x'], local: boolean, acknowledges: boolean,
): KernelOp {
  try {
    const loaded = state.loadedMm
    if (info.mm !== undefined && info.mm !== loaded) {
      // An uncounted borrower must be found when the mm goes.
      const borrows = k.policy.lazyReferences === 'uncounted' && cpu.current.activeMm === info.mm
      if (!borrows) yield* leaveMask(k, cpu, info.mm)
      k.counters.wrongCpu += 1
      emit(k, cpu, EVENT.tlbFlush, 0, TLB_REMOTE_WRONG_CPU)
      return
    }
    if (loaded === k.initMm || loaded === undefined) return
    if (isChangingAsid(k, info) && !isGlobalAsid(state.loadedMmAsid)) {
      const wasLazy = state.isLazy
      yield* switchMm(k, cpu, loaded)
      state.isLazy = wasLazy
    }
    // What is cached under a global ASID was flushed by the broadcast.
    if (isGlobalAsid(state.loadedMmAsid)) return
    if (state.isLazy) {
      yield* leaveToInit(k, cpu)
      return
    }
    const forGeneration = loaded.tlbGenLine.read(k, cpu)
    if (forGeneration > 0) yield forGeneration
    const context = state.ctxs[state.loadedMmAsid]
    const localGen = context.tlbGen
    if (info.newTlbGen !== 0 && info.newTlbGen <= localGen) return
    const mmGen = loaded.tlbGen
    const reason = !local ? TLB_REMOTE_SHOOTDOWN : info.mm === undefined ? TLB_LOCAL_SHOOTDOWN : TLB_LOCAL_MM_SHOOTDOWN
    if (localGen === mmGen) {
      k.counters.uselessFlushes += 1
      emit(k, cpu, EVENT.tlbFlush, 0, reason)
      return
    }
    if (Math.max(localGen, info.newTlbGen) > mmGen) fail(`cpu${cpu.id} mm ${loaded.ctxId}: generation went backwards`)
    let pages = ALL_PAGES
    if (info.end !== FLUSH_ALL && info.newTlbGen === localGen + 1 && info.newTlbGen === mmGen) {
      // A freed table without pages is one page of range at a wider stride: one INVLPG, reported as 0 pages.
      const units = (info.end - info.start) / info.stridePages
      pages = Math.floor(units)
      yield invalidatePages(k, cpu, info.start, Math.ceil(units), info.stridePages)
      if (local) k.counters.nr_tlb_local_flush_one += pages
    } else {
      invalidateUserAsid(k, cpu, state.loadedMmAsid)
      k.platform.mmu(cpu.id).flushNonGlobal()
      yield k.costs.fullFlush
      if (local) k.counters.nr_tlb_local_flush_all += 1
    }
    k.observer?.slotAdvanced(cpu, loaded, state.loadedMmAsid, info, mmGen, pages === ALL_PAGES)
    context.tlbGen = mmGen
    emit(k, cpu, EVENT.tlbFlush, pages, reason)
  } finally {
    if (acknowledges) emit(k, cpu, EVENT.flushAck, info.initiator.id)
  }
}

export function loadedRoot(k: KernelState, cpu: KernelCpu): { mm: Mm; pcid: number } {
  const state = cpu.tlb6x
  return { mm: state.loadedMm ?? k.initMm, pcid: hardwarePcid(k, state.loadedMmAsid) }
}

/** A slot whose generation is behind catches up before user code of the mm runs on it again. */
export function ownerOf(k: KernelState, cpu: KernelCpu, pcid: number): PcidOwner {
  // PCID 0 is in use only when the hardware has no others; then everything is in slot 0.
  const asid = Math.max(0, pcid - 1)
  const slot = cpu.tlb6x.ctxs[asid]
  if (slot === undefined || slot.ctxId === 0) return { mm: undefined, behind: 'the slot is empty' }
  const mm = k.mms.get(slot.ctxId)
  if (mm === undefined) return { mm, behind: `mm ${slot.ctxId} is gone, its slot is flushed before reuse` }
  if (cpu.tlb6x.invalidateOther && asid !== cpu.tlb6x.loadedMmAsid) {
    return { mm, behind: 'kernel pages were flushed, the slot is given up before its next use' }
  }
  return { mm, behind: slot.tlbGen < mm.tlbGen && isCompared(cpu, mm, asid)
    ? `generation ${slot.tlbGen} < ${mm.tlbGen}` : '' }
}

/**
 * Will the slot's generation be compared before user code uses it? Yes when the CPU has to come back to the mm first,
 * or when a request or a batch is on its way. A CPU that is in the mm already compares nothing by itself.
 */
function isCompared(cpu: KernelCpu, mm: Mm, asid: number): boolean {
  const { loadedMm, loadedMmAsid, isLazy, ctxs } = cpu.tlb6x
  if (loadedMm !== mm || loadedMmAsid !== asid || isLazy) return true
  return cpu.callQueue.length > 0 || cpu.tlb6x.acknowledged > 0 || ctxs[asid].tlbGen < mm.batchGen
}

/** I12, I15, I16. */
export function checkCpu(k: KernelState, cpu: KernelCpu, report: ReportViolation): void {
  const { loadedMm, isLazy } = cpu.tlb6x
  const { mm } = cpu.current
  if (loadedMm !== undefined) {
    if (loadedMm.isFreed) report('I3', loadedMm, 'the loaded mm is freed')
    if (isLazy && loadedMm === k.initMm) report('I15', loadedMm, 'lazy with init_mm loaded')
  }
  // kthread_use_mm() gives the task its mm before the switch, with interrupts off.
  if (cpu.irqsOff > 0) return
  if (isLazy && mm !== undefined) {
    report(cpu.inUserMode ? 'I16' : 'I15', mm, 'lazy, but the task has an mm of its own')
  }
  if (loadedMm === undefined) report('I12', mm, 'LOADED_MM_SWITCHING with interrupts on')
  if (mm !== undefined && loadedMm !== mm) report('I12', mm, `runs with its own mm, but mm ${loadedMm.ctxId} is loaded`)
  if (mm === undefined && loadedMm !== k.initMm && !isLazy) report('I15', loadedMm, 'borrows an mm, but is not lazy')
}
