// LATR, lazy translation coherence: whoever frees memory interrupts nobody. It flushes itself, notes the
// invalidation down in an array of its CPU, and returns; every other CPU looks through all arrays at its
// next scheduler tick or context switch, flushes what is for it and clears its bit. The frames and the
// addresses are kept until the last bit is gone. M. Kumar and others, "LATR: Lazy Translation Coherence",
// ASPLOS 2018; code: sslab-gatech/latr on Linux 4.10.
//
//   munmap, DONTNEED on CPU 0             CPU 1, running the mm
//   clear entries, flush itself
//   state {range, CPUs 1 and 2}           ... still uses its old entries
//   return to the program                 tick or switch: sweep, flush, clear its bit
//                                         last bit: frames, tables and addresses are free
//
// From the source: only frees are lazy, everything else (mprotect, copy-on-write, fork, exit, reclaim) is
// synchronous; 256 states a CPU, and interrupts when they are used up; sweeps at every tick of 1 ms and
// every context switch; at the end of an mm everything of it is settled.
// Our reading: the kernel around is 6.x, a state makes a generation of its own, and lazy CPUs, which have
// no tick, are skipped, or interrupted at once when tables go. A state's memory is freed by the CPU that
// clears the last bit, where the original waits for a kernel thread. Memory that a driver frees by itself
// is never lazy. A page that is to be mapped again in a range that somebody has not swept (DONTNEED and
// a new touch, MAP_FIXED), or below a table that was freed, is settled by interrupts first; the original
// leaves that to the program.
//
// Simplified: a CPU gets a tick only while there is something for it to sweep, and pays for it as for any
// interrupt; a sweep that finds nothing costs nothing. Memory that is kept is not available when memory
// runs out.

import type { KernelCpu } from '../cpu.js'
import type { DeferredFree } from '../pages/deferred-free.js'
import { giveBack, isDueOn } from '../pages/deferred-free.js'
import { beginFlush, endFlush } from './flush-request.js'
import { publishNextInterrupt, smpCallMany } from '../smp/ipi.js'
import type { KernelOp } from '../kernel-op.js'
import type { Mm } from '../mm/mm.js'
import type { MmuGather } from '../mm/mmu-gather.js'
import { unaccountTable } from '../mm/pgtable.js'
import type { KernelState } from '../state.js'
import { emit } from '../state.js'
import type { Task } from '../sched/task.js'
import { enterLazyTlb as enterLazyTlb6x, executeFlush, flushFunc, flushHere, flushMmRange as flushMmRange6x,
  leaveToInit, linux6x, needsIt, recordSend, shouldFlushTlb, switchMm as switchMm6x } from './tlb-flush-6x.js'
import { FLUSH_ALL } from './tlb-policy.js'
import type { FlushRange, FlushTlbInfo, TlbPolicy } from './tlb-policy.js'
import { EVENT } from '../../trace/events.js'

/** LAZY_TLB_NUM_ENTRIES: states of one CPU. */
const STATES_PER_CPU = 256
/** The scheduler tick (CONFIG_HZ=1000). */
const TICK_SECONDS = 1e-3

export const latr: TlbPolicy = {
  ...linux6x,
  name: 'latr',
  source: 'M. Kumar and others, "LATR: Lazy Translation Coherence", ASPLOS 2018',
  defersFrees: 'frames, tables and addresses are kept until every CPU has swept',
  deferred: (k, cpu, mm, vpn) => isDueOn(k, cpu, mm, vpn) ? 'it is swept at the next tick or switch of the CPU' : '',
  withoutMaskForms: 'it leaves its notes to the CPUs of the mask',
  enterLazyTlb,
  switchMm,
  flushMmRange,
  deferFree,
  settle,
  *tick(k, cpu) {
    yield* sweep(k, cpu)
  },
}

function* enterLazyTlb(k: KernelState, cpu: KernelCpu, mm: Mm): KernelOp<Mm> {
  yield* sweep(k, cpu)
  return yield* enterLazyTlb6x(k, cpu, mm)
}

function* switchMm(k: KernelState, cpu: KernelCpu, _prev: Mm, next: Mm, _task: Task): KernelOp {
  yield* sweep(k, cpu)
  yield* switchMm6x(k, cpu, next)
}

/** As 6.x. One that reaches every CPU and everything of the mm also does what was put off. */
function* flushMmRange(k: KernelState, cpu: KernelCpu, mm: Mm, range: FlushRange): KernelOp {
  const generation = mm.tlbGen + 1
  yield* flushMmRange6x(k, cpu, mm, range)
  if (range.end !== FLUSH_ALL || !range.freedTables) return
  for (const state of k.deferredFrees.filter(each => each.mm === mm && each.info.newTlbGen < generation)) {
    state.waitFor.clear()
    yield* giveBack(k, cpu, state)
  }
}

/** native_flush_save_state(): notes the request of `gather` down. False: it has to be done at once. */
function* deferFree(k: KernelState, cpu: KernelCpu, gather: MmuGather): KernelOp<boolean> {
  const { mm } = gather
  const own = k.deferredFrees.filter(state => state.info.initiator === cpu)
  const runsElsewhere = k.cpus.some(({ id, tlb6x }) =>
    id !== cpu.id && mm.mmCpumask.has(id) && !tlb6x.isLazy && (tlb6x.loadedMm === mm || tlb6x.loadedMm === undefined))
  if (!runsElsewhere || own.length >= STATES_PER_CPU || cpu.now > mm.nextTrimCycle) return false
  cpu.preemptCount += 1
  const begin = cpu.now
  mm.tlbGen += 1
  const info = requestFor(k, cpu, gather)
  beginFlush(k, cpu, info)
  yield k.costs.flushSetup
  recordSend(k, cpu, info)
  const { state, lazy } = saveState(k, cpu, gather, info)
  k.counters.savedStates += 1
  yield k.costs.lazyStateSave
  if (lazy.length > 0) {
    yield* smpCallMany(k, cpu, lazy, target => flushFunc(k, target, info), {
      alwaysSend: false, runLocal: () => flushFunc(k, cpu, info),
    })
  } else if (needsIt(k, cpu, mm.mmCpumask, info)) {
    yield* flushHere(k, cpu, info)
  }
  endFlush(k, cpu, info, lazy.length, begin)
  cpu.preemptCount -= 1
  state.isOpen = false
  yield* giveBack(k, cpu, state)
  return true
}

function requestFor(k: KernelState, cpu: KernelCpu, gather: MmuGather): FlushTlbInfo {
  const { mm, start, end, freedTables } = gather
  const stridePages = Math.max(1, gather.stridePages)
  const isAll = Math.floor((end - start) / stridePages) > k.config.kernel.flushCeilingPages
  return {
    mm, start: isAll ? 0 : start, end: isAll ? FLUSH_ALL : end, stridePages, freedTables, newTlbGen: mm.tlbGen,
    initiator: cpu, trimCpumask: false,
  }
}

/** In one step: which CPUs run the mm now, and which hold it lazily and must let freed tables go. */
function saveState(
  k: KernelState, cpu: KernelCpu, gather: MmuGather, info: FlushTlbInfo,
): { state: DeferredFree; lazy: number[] } {
  const { mm, start, end } = gather
  const others = mm.mmCpumask.toArray().filter(id => id !== cpu.id)
  const running = others.filter(id => shouldFlushTlb(k, k.cpus[id], info))
  const lazy = others.filter(id => info.freedTables && k.cpus[id].tlb6x.isLazy && k.cpus[id].tlb6x.loadedMm === mm)
  for (const id of others) {
    if (running.includes(id) || lazy.includes(id)) continue
    const { isLazy } = k.cpus[id].tlb6x
    if (isLazy) k.counters.lazySkipped += 1
    emit(k, cpu, EVENT.flushSkip, id, k.trace.intern(isLazy ? 'lazy' : 'not loaded'))
  }
  const tables = gather.tables.splice(0)
  for (const pfn of tables) unaccountTable(mm, pfn)
  const state: DeferredFree = {
    mm, info, freed: gather.deferrable ?? { start, end }, cleared: { start, end },
    pages: gather.pages.splice(0), tables, tableSpans: gather.tableSpans.splice(0),
    waitFor: new Set(running), isOpen: true,
  }
  k.deferredFrees.push(state)
  const tick = Math.round(k.costs.frequencyGhz * 1e9 * TICK_SECONDS)
  for (const id of running) {
    emit(k, cpu, EVENT.flushSkip, id, k.trace.intern('deferred'))
    const target = k.cpus[id]
    target.tickAt = Math.min(target.tickAt, (Math.floor(cpu.now / tick) + 1) * tick)
    target.retime()
    publishNextInterrupt(k, target)
  }
  return { state, lazy }
}

/** native_flush_saved_states(): what is for this CPU, interrupts off. */
function* sweep(k: KernelState, cpu: KernelCpu): KernelOp {
  const begin = cpu.now
  const mine = k.deferredFrees.filter(state => state.waitFor.has(cpu.id))
  if (mine.length > 0) yield k.costs.lazyStateSweep
  for (const state of mine) yield* flushState(k, cpu, state)
  if (mine.length > 0) k.counters.responderCycles += cpu.now - begin
  if (cpu.tickAt === Infinity) return
  cpu.tickAt = Infinity
  publishNextInterrupt(k, cpu)
}

/** Does for one state what its interrupt would have done, and frees it behind the last CPU. */
function* flushState(k: KernelState, cpu: KernelCpu, state: DeferredFree): KernelOp {
  const { tlb6x } = cpu
  if (state.waitFor.has(cpu.id) && tlb6x.loadedMm === state.mm) {
    if (!tlb6x.isLazy) yield* executeFlush(k, cpu, state.info, tlb6x, true, false)
    else if (state.info.freedTables) yield* leaveToInit(k, cpu)
  }
  state.waitFor.delete(cpu.id)
  yield* giveBack(k, cpu, state)
}

/** Interrupts for who has not swept, because the addresses are to be used again. */
function* settle(k: KernelState, cpu: KernelCpu, state: DeferredFree): KernelOp {
  k.counters.settledStates += 1
  if (state.waitFor.has(cpu.id)) {
    cpu.irqsOff += 1
    yield* flushState(k, cpu, state)
    cpu.irqsOff -= 1
  }
  yield* smpCallMany(k, cpu, [...state.waitFor], target => flushState(k, target, state), { alwaysSend: false })
}
