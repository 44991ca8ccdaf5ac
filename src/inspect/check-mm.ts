// Invariants that count over all CPUs, tasks and address spaces: I4 and I5 (references), I7, I11,
// I23 (kernel-behaviour.md section 8). Linear in CPUs plus tasks plus mms, so not for every step.

import { entryNx, entryPresent, PAGE_NX_HI } from '../machine/entry.js'
import { entriesAt, indexAt } from '../machine/geometry.js'
import type { KernelCpu } from '../kernel/cpu.js'
import type { Mm } from '../kernel/mm/mm.js'
import { firstKernelSlot } from '../kernel/mm/pgtable.js'
import { isInMask } from '../kernel/tlb/mm-cpumask.js'
import { userRoot } from '../kernel/tlb/pti.js'
import type { Task } from '../kernel/sched/task.js'
import type { KernelState } from '../kernel/state.js'
import { vpnHi, vpnLo } from '../kernel/state.js'
import { syncsAtFault } from '../kernel/mm/vmalloc-sync.js'
import { knownTablesOf } from './known-tables.js'
import { violated } from './violation.js'

/** init_mm's users: it has no tasks of its own (INIT_MM starts with 2). */
const INIT_MM_USERS = 2

/** What was counted for one mm. The records are kept from check to check: counting comes after nearly every step. */
interface References {
  readonly mm: Mm
  /** Tasks whose mm it is. */
  tasks: number
  /** Kernel tasks that borrow it, and borrowed references that wait to be dropped. */
  lazy: number
  /** Kernel threads that use it as theirs. */
  pins: number
  /** Generation seen at the last check. */
  generation: number
}

/** More records than this are looked up by mm, fewer are gone through. */
const FEW_RECORDS = 8

/** What a CPU and the tasks on it held at the last look at its row. */
interface Holding {
  current: Task | undefined
  next: Task | undefined
  mm: Mm | undefined
  activeMm: Mm | undefined
  oldMm: Mm | undefined
  nextMm: Mm | undefined
  nextActiveMm: Mm | undefined
  dropped: Mm | undefined
}

/** What is kept of a simulation from one count to the next. */
export interface Counting {
  /** Of every mm there is, in the order of k.mms. */
  records: References[]
  readonly byMm: Map<Mm, References>
  /** By CPU. */
  readonly holdings: readonly Holding[]
  /** Somebody may hold something else than what is counted in `records`. */
  isStale: boolean
  /** Tasks that are counted; address spaces that there were, and ids that had been given. */
  tasks: number
  mms: number
  nextCtxId: number
}

export function newCounting({ cpus }: KernelState): Counting {
  const holdings = cpus.map((): Holding => ({
    current: undefined, next: undefined, mm: undefined, activeMm: undefined, oldMm: undefined, nextMm: undefined,
    nextActiveMm: undefined, dropped: undefined,
  }))
  return { records: [], byMm: new Map(), holdings, isStale: true, tasks: 0, mms: 0, nextCtxId: 0 }
}

/** Checks the counters of every mm. */
export function checkMms(k: KernelState, counting: Counting, cycle?: number): void {
  if (!isAsCounted(k, counting)) countReferences(k, counting, cycle)
  for (const record of counting.records) {
    const { mm } = record
    checkUsers(k, mm, record.tasks, record.lazy, cycle)
    checkCount(k, mm, record.lazy, record.pins, cycle)
    if (mm.tlbGen < record.generation) {
      violated(k, 'I11', { mm, cycle }, `generation ${mm.tlbGen} after ${record.generation}`)
    }
    record.generation = mm.tlbGen
  }
  if (k.policy.checkMasks === undefined) return
  for (const cpu of k.cpus) {
    k.policy.checkMasks(k, cpu, (invariant, mm, text) => violated(k, invariant, { cpu, mm, cycle }, text))
  }
}

/** I23: the kernel half of every root is that of the swapper directory; with PTI user slots are in both roots. */
export function checkKernelHalves(k: KernelState, cycle?: number): void {
  const known = knownTablesOf(k)
  const first = known.firstKernelSlot
  const kernelRoot = k.initMm.pgdPfn
  const kernelUser = userRoot(k, k.initMm)
  for (const mm of k.mms.values()) {
    if (mm === k.initMm && kernelUser === kernelRoot) continue
    const user = userRoot(k, mm)
    if (!known.haveSameKernelHalf(mm.pgdPfn, kernelRoot)) checkKernelSlots(k, mm, mm.pgdPfn, kernelRoot, cycle)
    if (user === mm.pgdPfn) continue
    if (!known.haveSameKernelHalf(user, kernelUser)) checkKernelSlots(k, mm, user, kernelUser, cycle)
    // Slots that are empty in both roots are the same.
    for (const root of [mm.pgdPfn, user]) for (const slot of known.slotsOf(root, k.geometry.topLevel)) {
      if (slot < first) checkUserSlot(k, mm, user, slot, cycle)
    }
  }
}

function checkUserSlot(k: KernelState, mm: Mm, user: number, slot: number, cycle: number | undefined): void {
  const isNx = !entryPresent(k.mem.loadLo(mm.pgdPfn, slot)) || entryNx(k.mem.loadHi(mm.pgdPfn, slot))
  if (isNx && isSame(k, mm.pgdPfn, user, slot, PAGE_NX_HI)) return
  violated(k, 'I23', { mm, cycle }, `user slot ${slot} differs between its roots, or is executable for the kernel`)
}

/** Two roots differ in their kernel halves: at a slot where they may? */
function checkKernelSlots(k: KernelState, mm: Mm, root: number, other: number, cycle: number | undefined): void {
  const { start, end } = k.vmalloc
  const slotOf = (vpn: number): number => indexAt(k.geometry, k.geometry.topLevel, vpnHi(k, vpn), vpnLo(k, vpn))
  const [firstLazy, lastLazy] = syncsAtFault(k) ? [slotOf(start), slotOf(end - 1)] : [Infinity, -Infinity]
  const slots = entriesAt(k.geometry, k.geometry.topLevel)
  for (let slot = firstKernelSlot(k); slot < slots; slot++) {
    if (isSame(k, root, other, slot, 0)) continue
    // A new slot of vmalloc space comes to a root with the first access that misses it.
    if (firstLazy <= slot && slot <= lastLazy && k.mem.loadLo(mm.pgdPfn, slot) === 0) continue
    violated(k, 'I23', { mm, cycle }, `kernel slot ${slot} of its root is not the swapper directory's`)
  }
}

function isSame(k: KernelState, one: number, other: number, slot: number, ignoredHi: number): boolean {
  return k.mem.loadLo(one, slot) === k.mem.loadLo(other, slot)
    && ((k.mem.loadHi(one, slot) ^ k.mem.loadHi(other, slot)) & ~ignoredHi) === 0
}

/**
 * After a step that may have changed the row of `cpu` (changed-rows.ts): does it or do its tasks hold other address
 * spaces now? What a task holds is written by the CPU that runs it or is switching to it, in a step of this CPU; a CPU
 * that is switching from it has another task afterwards. What all others hold need not be looked at.
 */
export function noteHolders(counting: Counting, cpu: KernelCpu): void {
  const held = counting.holdings[cpu.id]!
  const { current, switchingTo: next, droppedMm } = cpu
  if (current === held.current && next === held.next && droppedMm === held.dropped && current.mm === held.mm
    && current.activeMm === held.activeMm && current.oldMm === held.oldMm
    && (next === undefined || (next.mm === held.nextMm && next.activeMm === held.nextActiveMm))) return
  counting.isStale = true
  held.current = current
  held.next = next
  held.dropped = droppedMm
  held.mm = current.mm
  held.activeMm = current.activeMm
  held.oldMm = current.oldMm
  held.nextMm = next?.mm
  held.nextActiveMm = next?.activeMm
}

/** Are the records those of the mms and tasks that there are, and has nobody come to hold anything else? */
function isAsCounted(k: KernelState, { records, isStale, tasks, mms, nextCtxId }: Counting): boolean {
  if (isStale || tasks !== k.tasks.length || mms !== k.mms.size || nextCtxId !== k.nextCtxId) return false
  for (const { mm } of records) if (mm.isFreed) return false
  return true
}

/** A record for every mm there is, with nothing counted. */
function startCounting(k: KernelState, counting: Counting): void {
  const { byMm } = counting
  // A violation may end the count.
  counting.isStale = true
  if (counting.mms !== k.mms.size || counting.nextCtxId !== k.nextCtxId) {
    counting.records = [...k.mms.values()].map((mm) =>
      ({ mm, tasks: 0, lazy: 0, pins: 0, generation: byMm.get(mm)?.generation ?? 0 }))
    byMm.clear()
    for (const record of counting.records) byMm.set(record.mm, record)
    counting.mms = k.mms.size
    counting.nextCtxId = k.nextCtxId
  }
  for (const record of counting.records) {
    record.tasks = 0
    record.lazy = 0
    record.pins = 0
  }
}

/** The record of an mm; undefined when there is no such mm any more. */
function recordOf({ records, byMm }: Counting, mm: Mm): References | undefined {
  if (records.length > FEW_RECORDS) return byMm.get(mm)
  for (const record of records) if (record.mm === mm) return record
  return undefined
}

function countReferences(k: KernelState, counting: Counting, cycle: number | undefined): void {
  startCounting(k, counting)
  for (const task of k.tasks) countTask(k, counting, task, cycle)
  for (const { idleTask, droppedMm } of k.cpus) {
    countTask(k, counting, idleTask, cycle)
    const dropped = droppedMm === undefined ? undefined : recordOf(counting, droppedMm)
    if (dropped !== undefined) dropped.lazy += 1
  }
  counting.tasks = k.tasks.length
  counting.isStale = false
}

function countTask(k: KernelState, counting: Counting, task: Task, cycle: number | undefined): void {
  const { mm, activeMm, oldMm } = task
  const used = mm ?? activeMm
  if (used === undefined) return
  const record = recordOf(counting, used)
  if (record === undefined || used.isFreed) {
    violated(k, 'I3', { task, cpu: k.cpus[task.cpu], mm: used, cycle }, 'the mm that the task holds is freed')
  }
  if (mm === undefined) record.lazy += 1
  else record.tasks += 1
  // A kernel thread in kthread_use_mm() has a reference to the structure of its own.
  if (mm !== undefined && task.isKernelThread) record.pins += 1
  const old = oldMm === undefined ? undefined : recordOf(counting, oldMm)
  if (old !== undefined) old.tasks += 1
}

/** I5: users are tasks. The one pin is fork's: a new mm has a user before its task exists. */
function checkUsers(k: KernelState, mm: Mm, tasks: number, lazy: number, cycle: number | undefined): void {
  if (mm.mmUsers === (mm === k.initMm ? INIT_MM_USERS : tasks)) return
  const isBeingMade = tasks === 0 && lazy === 0 && mm.mmUsers === 1 && !k.cpus.some(cpu => isInMask(k, cpu, mm))
  if (isBeingMade) return
  violated(k, 'I5', { mm, cycle }, `mm_users is ${mm.mmUsers}, but ${tasks} tasks share it`)
}

/** I4: one reference for all users together, one for each borrower. While the last user tears down, one more. */
function checkCount(k: KernelState, mm: Mm, lazy: number, pins: number, cycle: number | undefined): void {
  // Where borrowers are not counted, init_mm keeps the references of its idle tasks from boot.
  const borrowed = k.policy.lazyReferences === 'uncounted' ? (mm === k.initMm ? k.cpus.length : 0) : lazy
  const counted = borrowed + pins
  const least = (mm.mmUsers > 0 ? 1 : 0) + counted
  const most = counted + 1
  if (mm.mmCount >= least && mm.mmCount <= most) return
  violated(k, 'I4', { mm, cycle },
    `mm_count is ${mm.mmCount}, but ${lazy + pins} tasks borrow it and mm_users is ${mm.mmUsers}: expected ${least}` +
    (most === least ? '' : ` or ${most}`))
}
