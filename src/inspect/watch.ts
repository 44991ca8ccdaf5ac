// What must be seen while it happens: an observer of the kernel that is there while checks are on.
// It judges single facts (I7 of 6.x, I10, I14, I19, I27, I31), remembers which ranges a flush or a
// system call has just declared clean, for check-ranges.ts (I8), and keeps the last writes of
// page-table entries, for the story that a violation tells (event-chain.ts).

import { entryPfn, entryPresent, pmdLeaf, PFN_HI_MASK } from '../machine/entry.js'
import { LEVEL_PTE, nextLevel } from '../machine/geometry.js'
import type { KernelCpu } from '../kernel/cpu.js'
import { FRAME_TABLE } from '../kernel/pages/frames.js'
import { trimPeriodCycles } from '../kernel/tlb/flush-request.js'
import type { Mm } from '../kernel/mm/mm.js'
import type { ChainSubject, KernelObserver } from '../kernel/observer.js'
import type { KernelState } from '../kernel/state.js'
import { FLUSH_ALL } from '../kernel/tlb/tlb-policy.js'
import type { FlushTlbInfo } from '../kernel/tlb/tlb-policy.js'
import { EntryWrites, placeOf } from './entry-writes.js'
import type { Moment } from './entry-writes.js'
import { eventChain } from './event-chain.js'
import { allSlots, forEachEntry } from './table-walk.js'
import { violated } from './violation.js'

/**
 * A promise that was just made: no CPU may use anything older than cycle `since` for [start, end) of `mm`. Entries
 * that were written after it are none of its business, not even in the same cycle.
 */
export interface CleanRange {
  mm: Mm
  start: number
  end: number
  since: number
  /** Entries written until it was made. */
  written: number
  /** `flush of generation 5 by cpu0`, `munmap on cpu0`. */
  by: string
  /** CPUs that do it later (TlbPolicy.deferFree), each taken out when it has; undefined when none does. */
  waitFor: ReadonlySet<number> | undefined
}

/** The same for pages of the kernel and all CPUs. */
export type CleanKernelRange = Omit<CleanRange, 'mm' | 'waitFor'>

/** Does `cpu` still have to do what the promise is about? */
export function isPutOff(cpu: KernelCpu, { waitFor }: CleanRange): boolean {
  return waitFor?.has(cpu.id) === true
}

/** Where a table hangs. */
interface TablePlace {
  mm: Mm
  level: number
  vpn: number
}

/** Requests and entries of one mm that are under way. */
interface MmWatch {
  flushes: number
  /** Leaves that were cleared and not flushed since, by table and slot. */
  readonly cleared: Map<number, { pfn: number; vpn: number; pid: number }>
  /** Requests not long ago, by generation. */
  readonly requests: Map<number, { start: number; end: number; freedTables: boolean }>
  /** 6.x: CPUs whose bit is set although they have another mm, and the end of the flush that saw it first. */
  readonly staleBits: Map<number, number>
}

const REQUESTS_KEPT = 256
const DEFERRED_KEPT = 64
/** What gives a range up for good; others may leave entries behind. */
const CLEAN_CALLS = new Set(['munmap', 'mprotect', 'madvise dontneed'])

/** The observer of a run with checks; undefined without. */
export function watchOf(k: KernelState): Watch | undefined {
  const { observer } = k
  return observer instanceof Watch ? observer : undefined
}

/** Starts watching; to be called once, after boot. */
export function watch(k: KernelState): Watch {
  const made = new Watch(k)
  k.observer = made
  return made
}

export class Watch implements KernelObserver {
  readonly #k: KernelState
  readonly #writes: EntryWrites
  readonly #places = new Map<number, TablePlace>()
  readonly #mms = new WeakMap<Mm, MmWatch>()
  /** Generation of the next mm when the CPU announced its switch. */
  readonly #switchGen: number[] = []
  #clean: CleanRange[] = []
  #cleanKernel: CleanKernelRange[] = []
  #freedTables: number[] = []
  #freedFrames = false
  #frees = 0
  /** By CPU. */
  readonly #deferred: CleanRange[][] = []
  /** Promises in them. */
  #deferrals = 0

  constructor(k: KernelState) {
    this.#k = k
    this.#writes = new EntryWrites(k.initMm)
    k.frames.onFree = () => {
      this.#freedFrames = true
      this.#frees += 1
    }
  }

  /** Ranges that were declared clean since the last call. */
  takeClean(): CleanRange[] {
    const clean = this.#clean
    this.#clean = []
    return clean
  }

  /** Ranges of kernel pages that were declared clean since the last call. */
  takeCleanKernel(): CleanKernelRange[] {
    const clean = this.#cleanKernel
    this.#cleanKernel = []
    return clean
  }

  /** Tables that were given back since the last call. */
  takeFreedTables(): number[] {
    const tables = this.#freedTables
    this.#freedTables = []
    return tables
  }

  /** Were frames given back since the last call? */
  takeFreedFrames(): boolean {
    const freed = this.#freedFrames
    this.#freedFrames = false
    return freed
  }

  /** How often frames were given back so far. */
  get frees(): number {
    return this.#frees
  }

  /** There is something for check-ranges.ts to look at now. */
  get hasPromises(): boolean {
    return this.#freedFrames || this.#clean.length + this.#cleanKernel.length > 0 || this.#freedTables.length > 0
      || (this.#deferrals > 0 && this.#k.cpus.some(cpu => this.#isReady(cpu)))
  }

  /**
   * A promise about a CPU that has the root loaded, but is switching or lazy, or does later what was asked for: to be
   * looked at when it runs the mm and has done it.
   */
  defer(cpu: KernelCpu, range: CleanRange): void {
    const ranges = this.#deferred[cpu.id] ??= []
    if (ranges.length >= DEFERRED_KEPT) ranges.shift()
    else this.#deferrals += 1
    ranges.push(range)
  }

  /** The promises that this CPU, which runs programs of their mm now, must keep. */
  takeDeferred(cpu: KernelCpu): CleanRange[] {
    if (!this.#isReady(cpu)) return []
    const all = this.#deferred[cpu.id]!
    const ranges = all.filter(range => !isPutOff(cpu, range))
    this.#deferred[cpu.id] = all.filter(range => isPutOff(cpu, range))
    this.#deferrals -= ranges.length
    return ranges.filter(({ mm }) => mm === cpu.current.mm)
  }

  #isReady(cpu: KernelCpu): boolean {
    return cpu.inUserMode && this.#deferred[cpu.id]?.some(range => !isPutOff(cpu, range)) === true
  }

  /** When this entry last became or ceased to be what a TLB may hold. */
  lastWrite(table: number, slot: number): Moment {
    return this.#writes.lastChange(table, slot)
  }

  /** May a CPU that runs `mm` have a slot of only this generation? While a request is open or a batch was bumped. */
  mayOwe(mm: Mm, slotGen: number): boolean {
    const state = this.#mms.get(mm)
    if (state === undefined || state.flushes > 0) return true
    for (let gen = slotGen + 1; gen <= mm.tlbGen; gen++) if (!state.requests.has(gen)) return true
    return false
  }

  storyOf(subject: ChainSubject): string[] {
    const { mm, vpn } = subject
    const writes = mm === undefined || vpn === undefined
      ? [] : this.#writes.of(mm, vpn)
    return eventChain(this.#k, writes, subject)
  }

  entryWritten(cpu: KernelCpu, mm: Mm, table: number, slot: number, lo: number, hi: number): void {
    const k = this.#k
    const oldLo = k.mem.loadLo(table, slot)
    const oldHi = k.mem.loadHi(table, slot)
    const place = this.#place(mm, table)
    const pages = k.geometry.levels[place.level]!.pages
    const vpn = place.vpn + slot * pages
    // What hardware did not see before and does not see now (a migration entry that is dropped) is no change to a TLB.
    if (entryPresent(oldLo) || entryPresent(lo)) {
      this.#writes.noteChange(table, slot, cpu.now)
    }
    const { pid, comm } = cpu.current
    const write = this.#writes.next()
    write.cycle = cpu.now
    write.cpu = cpu.id
    write.pid = pid
    write.comm = comm
    write.mm = mm
    write.level = place.level
    write.vpn = vpn
    write.pages = pages
    write.oldLo = oldLo
    write.oldHi = oldHi
    write.lo = lo
    write.hi = hi
    const isLeaf = place.level === LEVEL_PTE || k.geometry.levels[place.level]!.leaf
    const wasTable = place.level !== LEVEL_PTE && entryPresent(oldLo) && !(isLeaf && pmdLeaf(oldLo))
    const isTable = place.level !== LEVEL_PTE && entryPresent(lo) && !(isLeaf && pmdLeaf(lo))
    if (isTable) this.#hang(mm, place, vpn, lo, hi)
    this.#checkLock(cpu, mm, table, vpn, wasTable || isTable)
    if (!wasTable && !isTable) this.#checkFrameChange(cpu, mm, { table, slot, vpn, oldLo, oldHi, lo, hi })
  }

  tableFreed(_cpu: KernelCpu, mm: Mm, table: number): void {
    this.#places.delete(table)
    this.#freedTables.push(table)
    for (const other of this.#k.cpus) {
      if (!other.walkedTables.includes(table)) continue
      violated(this.#k, 'I31', { cpu: other, mm }, `table frame ${table} is freed under its walker`)
    }
  }

  flushBegun(cpu: KernelCpu, info: FlushTlbInfo): void {
    if (info.mm === undefined) return
    const state = this.#stateOf(info.mm)
    state.flushes += 1
    if (info.newTlbGen === 0) return
    if (state.requests.has(info.newTlbGen)) {
      violated(this.#k, 'I11', { cpu, mm: info.mm }, `two requests have generation ${info.newTlbGen}`)
    }
    const { start, end, freedTables } = info
    state.requests.set(info.newTlbGen, { start, end, freedTables })
    state.requests.delete(info.newTlbGen - REQUESTS_KEPT)
  }

  flushEnded(cpu: KernelCpu, info: FlushTlbInfo, begin: number): void {
    const { mm } = info
    if (mm === undefined) return
    const state = this.#stateOf(mm)
    state.flushes -= 1
    for (const [key, { vpn }] of state.cleared) if (info.start <= vpn && vpn < info.end) state.cleared.delete(key)
    const by = `the flush of cpu${cpu.id}` + (info.newTlbGen > 0 ? ` (generation ${info.newTlbGen})` : '')
    const { waitFor } = this.#k.deferredFrees.find(each => each.info === info) ?? {}
    this.#promise(mm, info.start, info.end, begin, by, waitFor)
    if (this.#k.config.kernel.era === 'linux-6.x') this.#checkTrim(cpu, mm, state, begin)
  }

  kernelRangeFlushed(cpu: KernelCpu, start: number, end: number, begin: number): void {
    const by = `the flush of kernel pages by cpu${cpu.id}`
    this.#cleanKernel.push({ start, end, since: begin, written: this.#writes.changes, by })
    // Places in tables are numbered without the sign of their address.
    const { vaBits, pageShift } = this.#k.geometry
    const first = start % 2 ** (vaBits - pageShift)
    const { cleared } = this.#stateOf(this.#k.initMm)
    for (const [key, { vpn }] of cleared) if (first <= vpn && vpn < first + end - start) cleared.delete(key)
  }

  batchFlushed(cpu: KernelCpu, pages: ReadonlyMap<Mm, ReadonlySet<number>>, begin: number): void {
    for (const [mm, vpns] of pages) {
      const { cleared } = this.#stateOf(mm)
      for (const [key, { vpn }] of cleared) if (vpns.has(vpn)) cleared.delete(key)
      for (const vpn of vpns) {
        this.#promise(mm, vpn, vpn + 1, begin, `the batch of cpu${cpu.id}`)
      }
    }
  }

  switchBegun(cpu: KernelCpu, next: Mm): void {
    this.#switchGen[cpu.id] = next.tlbGen
  }

  slotLoaded(cpu: KernelCpu, next: Mm, asid: number, flushed: boolean): void {
    this.#mms.get(next)?.staleBits.delete(cpu.id)
    const announced = this.#switchGen[cpu.id]
    const { tlbGen } = cpu.tlb6x.ctxs[asid]!
    if (flushed || announced === undefined || tlbGen >= announced) return
    violated(this.#k, 'I14', { cpu, mm: next },
      `loads CR3 without a flush, but slot ${asid} has generation ${tlbGen}, the mm had ${announced} already`)
  }

  slotAdvanced(cpu: KernelCpu, mm: Mm, asid: number, info: FlushTlbInfo, tlbGen: number, all: boolean): void {
    if (all) return
    const { requests } = this.#stateOf(mm)
    for (let gen = cpu.tlb6x.ctxs[asid]!.tlbGen + 1; gen <= tlbGen; gen++) {
      const request = requests.get(gen)
      if (request !== undefined && info.start <= request.start && request.end <= info.end) continue
      const what = request === undefined ? 'which was never made'
        : request.end === FLUSH_ALL ? 'for everything' : `for pages ${request.start} to ${request.end}`
      violated(this.#k, 'I10', { cpu, mm }, `slot ${asid} goes to generation ${tlbGen} without request ${gen}, ${what}`)
    }
  }

  callReturned(cpu: KernelCpu, mm: Mm, name: string, start: number, end: number, begin: number): void {
    if (CLEAN_CALLS.has(name)) this.#promise(mm, start, end, begin, `${name} on cpu${cpu.id}`)
  }

  walkerReads(cpu: KernelCpu, mm: Mm, table: number): void {
    if (this.#k.frames.use[table] === FRAME_TABLE && this.#k.frames.refcount[table]! > 0) return
    violated(this.#k, 'I31', { cpu, mm }, `a walker with interrupts off reads table frame ${table}, which was freed`)
  }

  #promise(mm: Mm, start: number, end: number, since: number, by: string, waitFor?: ReadonlySet<number>): void {
    this.#clean.push({ mm, start, end, since, written: this.#writes.changes, by, waitFor })
  }

  #stateOf(mm: Mm): MmWatch {
    let state = this.#mms.get(mm)
    if (state === undefined) {
      state = { flushes: 0, cleared: new Map(), requests: new Map(), staleBits: new Map() }
      this.#mms.set(mm, state)
    }
    return state
  }

  /** Where a table hangs; found by a walk of the tree when it was made before the watch began. */
  #place(mm: Mm, table: number): TablePlace {
    const known = this.#places.get(table)
    if (known !== undefined && known.mm === mm) return known
    const k = this.#k
    this.#places.set(mm.pgdPfn, { mm, level: k.geometry.topLevel, vpn: 0 })
    forEachEntry(k, mm, allSlots(k), (entry) => {
      if (entry.isLeaf) return
      this.#places.set(entry.pfn, { mm, level: nextLevel(k.geometry, entry.level), vpn: entry.vpn })
    })
    return this.#places.get(table) ?? { mm, level: LEVEL_PTE, vpn: 0 }
  }

  #hang(mm: Mm, place: TablePlace, vpn: number, lo: number, hi: number): void {
    const { geometry } = this.#k
    const child = entryPfn(lo, hi & PFN_HI_MASK, geometry.pageShift)
    this.#places.set(child, { mm, level: nextLevel(geometry, place.level), vpn })
  }

  /** I27: leaves change under the lock of their table or mmap_lock held for writing, upper entries under mmap_lock. */
  #checkLock(cpu: KernelCpu, mm: Mm, table: number, vpn: number, isTable: boolean): void {
    const k = this.#k
    if (mm === k.initMm || vpn >= k.layout.userEndVpn || mm.mmUsers === 0 || mm.mmapLock.isHeldForWriting) return
    if (mm.pageTableLocks.get(table)?.isHeld === true || (isTable && mm.mmapLock.isHeld)) return
    // Nobody else can reach a new mm.
    if (!k.tasks.some(task => task.mm === mm || task.activeMm === mm)) return
    violated(k, 'I27', { cpu, mm, vpn }, `writes table frame ${table} and holds neither its lock nor mmap_lock`)
  }

  /** I19: another frame comes only after the old entry was cleared and flushed. */
  #checkFrameChange(cpu: KernelCpu, mm: Mm, write: {
    table: number; slot: number; vpn: number; oldLo: number; oldHi: number; lo: number; hi: number
  }): void {
    const k = this.#k
    const { pageShift } = k.geometry
    const { vpn } = write
    const key = placeOf(write.table, write.slot)
    const { cleared } = this.#stateOf(mm)
    const old = entryPfn(write.oldLo, write.oldHi & PFN_HI_MASK, pageShift)
    const pfn = entryPfn(write.lo, write.hi & PFN_HI_MASK, pageShift)
    if (entryPresent(write.oldLo)) {
      if (!entryPresent(write.lo)) {
        cleared.set(key, { pfn: old, vpn, pid: cpu.current.pid })
      } else if (pfn !== old) {
        violated(k, 'I19', { cpu, mm, vpn }, `a present entry goes from frame ${old} to ${pfn} without being cleared`)
      }
      return
    }
    const before = cleared.get(key)
    if (!entryPresent(write.lo) || before === undefined) return
    cleared.delete(key)
    if (before.pfn === pfn || before.pid !== cpu.current.pid) return
    // What reclaim keeps unflushed holds the same contents.
    if (k.unflushed.some(({ batch }) => batch.pages.get(mm)?.has(vpn) === true)) return
    violated(k, 'I19', { cpu, mm, vpn },
      `the entry of frame ${before.pfn} was cleared, and becomes frame ${pfn} before a flush`)
  }

  /** I7 of 6.x: a bit of a CPU that has another mm is gone after the first flush a trim period later; or at once. */
  #checkTrim(cpu: KernelCpu, mm: Mm, state: MmWatch, begin: number): void {
    const k = this.#k
    for (const other of k.cpus) {
      const { loadedMm } = other.tlb6x
      const isStale = mm.mmCpumask.has(other.id) && loadedMm !== mm && loadedMm !== undefined && other !== cpu
      if (isStale && k.config.kernel.mmCpumask === 'eager') {
        violated(k, 'I7', { cpu: other, mm }, 'its bit is set in mm_cpumask without the mm; a switch clears it')
      }
      const since = state.staleBits.get(other.id)
      if (!isStale) state.staleBits.delete(other.id)
      else if (since === undefined) state.staleBits.set(other.id, cpu.now)
      else if (begin > since + trimPeriodCycles(k) && state.flushes === 0) {
        violated(k, 'I7', { cpu: other, mm }, `its bit is set in mm_cpumask since cycle ${since} at least, ` +
          'without the mm; a flush that began a trim period later did not clear it')
      }
    }
  }
}
