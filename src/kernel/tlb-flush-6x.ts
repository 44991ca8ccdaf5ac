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

import { assert } from '../base/assert.js'
import { EVENT, TLB_FLUSH_ON_TASK_SWITCH, TLB_LOCAL_MM_SHOOTDOWN, TLB_LOCAL_SHOOTDOWN, TLB_REMOTE_SEND_IPI,
  TLB_REMOTE_SHOOTDOWN, TLB_REMOTE_WRONG_CPU } from '../trace/events.js'
import type { CpuMask } from './cpumask.js'
import type { KernelCpu } from './cpu.js'
import { TLB_NR_DYN_ASIDS } from './cpu.js'
import {
  anonymousRequest, beginFlush, endFlush, invalidatePages, onEachCpu, trimPeriodCycles,
} from './flush-request.js'
import { smpCallMany } from './ipi.js'
import type { KernelOp } from './kernel-op.js'
import type { Mm } from './mm.js'
import type { KernelState } from './state.js'
import { emit } from './state.js'
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
  flushKernelRange,
  flushAll,
  flushFunc,
  loadedRoot,
  ownerOf,
  checkCpu,
}

function initCpu(k: KernelState, cpu: KernelCpu): void {
  const state = cpu.tlb6x
  state.ctxs[0].ctxId = k.initMm.ctxId
  state.ctxs[0].tlbGen = k.initMm.tlbGen
  k.platform.mmu(cpu.id).loadCr3(k.initMm.pgdPfn, hardwarePcid(k, 0), false)
}

/** kern_pcid(): slot + 1, because PCID 0 is left to code that knows nothing of PCIDs. */
function hardwarePcid(k: KernelState, asid: number): number {
  return k.config.kernel.pcid ? asid + 1 : 0
}

function enterLazyTlb(k: KernelState, cpu: KernelCpu): void {
  const { loadedMm } = cpu.tlb6x
  if (loadedMm === k.initMm) return
  cpu.tlb6x.isLazy = true
  emit(k, cpu, EVENT.enterLazyTlb, loadedMm === undefined ? 0 : loadedMm.ctxId)
}

function* leaveMm(k: KernelState, cpu: KernelCpu): KernelOp {
  const state = cpu.tlb6x
  if (state.loadedMm === k.initMm) return
  assert(state.isLazy, `cpu${cpu.id} leaves its mm but is not lazy`)
  yield* leaveToInit(k, cpu)
}

/** switch_mm to init_mm because of a flush or of leaving. */
function* leaveToInit(k: KernelState, cpu: KernelCpu): KernelOp {
  k.counters.lazyLeft += 1
  emit(k, cpu, EVENT.leaveMm, cpu.tlb6x.loadedMm === undefined ? 0 : cpu.tlb6x.loadedMm.ctxId)
  yield* switchMm(k, cpu, k.initMm)
}

/** choose_new_asid(): the slot for `next`, and whether it must be flushed. */
function chooseNewAsid(k: KernelState, cpu: KernelCpu, next: Mm, tlbGen: number): { asid: number; needFlush: boolean } {
  const state = cpu.tlb6x
  if (!k.config.kernel.pcid) return { asid: 0, needFlush: true }
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
function* switchMm(k: KernelState, cpu: KernelCpu, next: Mm): KernelOp {
  const state = cpu.tlb6x
  const prev = state.loadedMm
  const wasLazy = state.isLazy
  state.isLazy = false
  let asid: number
  let needFlush: boolean
  let tlbGen: number
  if (prev === next) {
    if (!wasLazy) return
    tlbGen = next.tlbGen
    if (state.ctxs[state.loadedMmAsid].tlbGen === tlbGen) return
    asid = state.loadedMmAsid
    needFlush = true
  } else {
    state.loadedMm = undefined
    k.observer?.switchBegun(cpu, next)
    if (next !== k.initMm) next.mmCpumask.set(cpu.id)
    tlbGen = next.tlbGen
    ;({ asid, needFlush } = chooseNewAsid(k, cpu, next, tlbGen))
  }
  const mmu = k.platform.mmu(cpu.id)
  if (needFlush) {
    state.ctxs[asid].ctxId = next.ctxId
    state.ctxs[asid].tlbGen = tlbGen
  }
  mmu.loadCr3(next.pgdPfn, hardwarePcid(k, asid), !needFlush)
  k.observer?.slotLoaded(cpu, next, asid, needFlush)
  yield needFlush ? k.costs.fullFlush : k.costs.cr3NoFlush
  emit(k, cpu, EVENT.tlbFlush, needFlush ? ALL_PAGES : 0, TLB_FLUSH_ON_TASK_SWITCH)
  emit(k, cpu, EVENT.switchMm, next.ctxId, asid, needFlush ? 1 : 0)
  state.loadedMm = next
  state.loadedMmAsid = asid
}

/** flush_tlb_mm_range(). */
function* flushMmRange(k: KernelState, cpu: KernelCpu, mm: Mm, range: FlushRange): KernelOp {
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
  let targets = 0
  if (mm.mmCpumask.anyBut(cpu.id)) {
    info.trimCpumask = shouldTrim(k, cpu, mm)
    targets = yield* k.policy.flushTlbMulti(k, cpu, mm.mmCpumask, info)
  } else if (cpu.tlb6x.loadedMm === mm) {
    cpu.irqsOff += 1
    yield* flushFunc(k, cpu, info)
    cpu.irqsOff -= 1
  }
  endFlush(k, cpu, info, targets, begin)
  cpu.preemptCount -= 1
}

function shouldTrim(k: KernelState, cpu: KernelCpu, mm: Mm): boolean {
  if (cpu.now <= mm.nextTrimCycle) return false
  mm.nextTrimCycle = cpu.now + trimPeriodCycles(k)
  return true
}

/** native_flush_tlb_multi(): how many CPUs were interrupted. */
function* flushTlbMulti(k: KernelState, cpu: KernelCpu, mask: CpuMask, info: FlushTlbInfo): KernelOp<number> {
  k.counters.nr_tlb_remote_flush += 1
  k.counters.shootdowns += 1
  emit(k, cpu, EVENT.tlbFlush, info.end === FLUSH_ALL ? ALL_PAGES : info.end - info.start, TLB_REMOTE_SEND_IPI)
  const targets: number[] = []
  const reachesLazy = info.freedTables && !k.bugs.has('h06-lazy-cpu-skips-freed-tables')
  for (const id of mask.toArray()) {
    if (id === cpu.id) continue
    if (reachesLazy || shouldFlushTlb(k, k.cpus[id], info)) {
      targets.push(id)
      continue
    }
    const lazy = k.cpus[id].tlb6x.isLazy
    if (lazy) k.counters.lazySkipped += 1
    emit(k, cpu, EVENT.flushSkip, id, k.trace.intern(lazy ? 'lazy' : 'not loaded'))
  }
  const runHere = mask.has(cpu.id) && (reachesLazy || shouldFlushTlb(k, cpu, info))
  yield* smpCallMany(k, cpu, targets, target => flushFunc(k, target, info), {
    alwaysSend: false,
    ...(runHere ? { runLocal: () => flushFunc(k, cpu, info) } : {}),
  })
  return targets.length
}

/** The mm's generation goes up with every page, so that whoever is left out of the flush knows that it is behind. */
function batchAdd(_k: KernelState, _cpu: KernelCpu, mask: CpuMask, mm: Mm): void {
  mm.tlbGen += 1
  mask.or(mm.mmCpumask)
}

/** arch_tlbbatch_flush(). */
function* flushBatch(k: KernelState, cpu: KernelCpu, mask: CpuMask): KernelOp {
  cpu.preemptCount += 1
  const begin = cpu.now
  const info = anonymousRequest(cpu, 0, FLUSH_ALL)
  beginFlush(k, cpu, info)
  yield k.costs.flushSetup
  let targets = 0
  if (mask.anyBut(cpu.id)) {
    targets = yield* k.policy.flushTlbMulti(k, cpu, mask, info)
  } else if (mask.has(cpu.id)) {
    cpu.irqsOff += 1
    yield* flushFunc(k, cpu, info)
    cpu.irqsOff -= 1
  }
  endFlush(k, cpu, info, targets, begin)
  cpu.preemptCount -= 1
}

/** flush_tlb_all(): no tlb_flush record. */
function* flushAll(k: KernelState, cpu: KernelCpu): KernelOp {
  k.counters.nr_tlb_remote_flush += 1
  yield* flushKernel(k, cpu, 0, FLUSH_ALL)
}

/** flush_tlb_kernel_range(): page by page on every CPU up to the ceiling, else everything. No tlb_flush record. */
function* flushKernelRange(k: KernelState, cpu: KernelCpu, start: number, end: number): KernelOp {
  const all = end - start > k.config.kernel.flushCeilingPages
  yield* flushKernel(k, cpu, all ? 0 : start, all ? FLUSH_ALL : end)
}

function* flushKernel(k: KernelState, cpu: KernelCpu, start: number, end: number): KernelOp {
  cpu.preemptCount += 1
  const begin = cpu.now
  const info = anonymousRequest(cpu, start, end)
  beginFlush(k, cpu, info)
  yield k.costs.flushSetup
  const flush = end === FLUSH_ALL
    ? (each: KernelCpu) => doFlushTlbAll(k, each)
    : (each: KernelCpu) => doKernelRangeFlush(k, each, start, end - start)
  const targets = yield* onEachCpu(k, cpu, flush, { alwaysSend: false })
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
  yield* invalidatePages(k, cpu, start, pages, 1)
}

/** should_flush_tlb(): evaluated by the initiator about CPU `target`. */
function shouldFlushTlb(k: KernelState, target: KernelCpu, info: FlushTlbInfo): boolean {
  const { loadedMm, isLazy } = target.tlb6x
  if (isLazy) return false
  if (info.mm === undefined) return true
  if (loadedMm === undefined) return !k.bugs.has('h08-switching-cpu-skipped')
  if (loadedMm === info.mm) return true
  return info.trimCpumask
}

/** flush_tlb_func(): on the initiator and on every responder. */
function* flushFunc(k: KernelState, cpu: KernelCpu, info: FlushTlbInfo): KernelOp {
  const state = cpu.tlb6x
  const local = cpu === info.initiator
  if (!local) k.counters.nr_tlb_remote_flush_received += 1
  yield* executeFlush(k, cpu, info, state, local)
  if (!local) emit(k, cpu, EVENT.flushAck, info.initiator.id)
}

function* executeFlush(
  k: KernelState, cpu: KernelCpu, info: FlushTlbInfo, state: KernelCpu['tlb6x'], local: boolean,
): KernelOp {
  const loaded = state.loadedMm
  if (info.mm !== undefined && info.mm !== loaded) {
    info.mm.mmCpumask.clear(cpu.id)
    k.counters.wrongCpu += 1
    emit(k, cpu, EVENT.tlbFlush, 0, TLB_REMOTE_WRONG_CPU)
    return
  }
  if (loaded === k.initMm || loaded === undefined) return
  if (state.isLazy) {
    yield* leaveToInit(k, cpu)
    return
  }
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
  assert(localGen <= mmGen && info.newTlbGen <= mmGen, `cpu${cpu.id} mm ${loaded.ctxId}: generation went backwards`)
  let pages = ALL_PAGES
  if (info.end !== FLUSH_ALL && info.newTlbGen === localGen + 1 && info.newTlbGen === mmGen) {
    // A freed table without pages is one page of range at a wider stride: one INVLPG, reported as 0 pages.
    const units = (info.end - info.start) / info.stridePages
    pages = Math.floor(units)
    yield* invalidatePages(k, cpu, info.start, Math.ceil(units), info.stridePages)
    if (local) k.counters.nr_tlb_local_flush_one += pages
  } else {
    k.platform.mmu(cpu.id).flushNonGlobal()
    yield k.costs.fullFlush
    if (local) k.counters.nr_tlb_local_flush_all += 1
  }
  k.observer?.slotAdvanced(cpu, loaded, state.loadedMmAsid, info, mmGen, pages === ALL_PAGES)
  context.tlbGen = mmGen
  emit(k, cpu, EVENT.tlbFlush, pages, reason)
}

function loadedRoot(k: KernelState, cpu: KernelCpu): { mm: Mm; pcid: number } {
  const state = cpu.tlb6x
  return { mm: state.loadedMm ?? k.initMm, pcid: hardwarePcid(k, state.loadedMmAsid) }
}

/** A slot whose generation is behind catches up before user code of the mm runs on it again. */
function ownerOf(k: KernelState, cpu: KernelCpu, pcid: number): PcidOwner {
  // PCID 0 is in use only when the hardware has no others; then everything is in slot 0.
  const slot = cpu.tlb6x.ctxs[Math.max(0, pcid - 1)]
  if (slot === undefined || slot.ctxId === 0) return { mm: undefined, behind: 'the slot is empty' }
  const mm = k.mms.get(slot.ctxId)
  if (mm === undefined) return { mm, behind: `mm ${slot.ctxId} is gone, its slot is flushed before reuse` }
  return { mm, behind: slot.tlbGen < mm.tlbGen ? `generation ${slot.tlbGen} < ${mm.tlbGen}` : '' }
}

/** I12, I15, I16. */
function checkCpu(k: KernelState, cpu: KernelCpu, report: ReportViolation): void {
  const { loadedMm, isLazy } = cpu.tlb6x
  const { mm } = cpu.current
  if (loadedMm !== undefined) {
    if (loadedMm.isFreed) report('I3', loadedMm, 'the loaded mm is freed')
    if (isLazy && loadedMm === k.initMm) report('I15', loadedMm, 'lazy with init_mm loaded')
  }
  if (isLazy && mm !== undefined) {
    report(cpu.inUserMode ? 'I16' : 'I15', mm, 'lazy, but the task has an mm of its own')
  }
  if (cpu.irqsOff > 0) return
  if (loadedMm === undefined) report('I12', mm, 'LOADED_MM_SWITCHING with interrupts on')
  if (mm !== undefined && loadedMm !== mm) report('I12', mm, `runs with its own mm, but mm ${loadedMm.ctxId} is loaded`)
  if (mm === undefined && loadedMm !== k.initMm && !isLazy) report('I15', loadedMm, 'borrows an mm, but is not lazy')
}
