// Invariants that count over all CPUs, tasks and address spaces: I4 and I5 (references), I7, I11,
// I23 (kernel-behaviour.md section 8). Linear in CPUs plus tasks plus mms, so not for every step.

import { entryNx, entryPresent, PAGE_NX_HI } from '../machine/entry.js'
import { entriesAt, indexAt } from '../machine/geometry.js'
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
  /** The check that counted last. */
  check: number
  /** Tasks whose mm it is. */
  tasks: number
  /** Kernel tasks that borrow it, and borrowed references that wait to be dropped. */
  lazy: number
  /** Kernel threads that use it as theirs. */
  pins: number
  /** Generation seen at the last check. */
  generation: number
}

interface Counting {
  checks: number
  readonly references: Map<Mm, References>
  /** The mm that this check has found in use for the task before. */
  liveMm: Mm | undefined
  /** The mm that was asked for last, which is mostly the next one too. */
  lastMm: Mm | undefined
  last: References | undefined
}

const countings = new WeakMap<KernelState, Counting>()

/** Checks the counters of every mm. */
export function checkMms(k: KernelState, cycle?: number): void {
  const counting = countingOf(k)
  countReferences(k, counting, cycle)
  for (const mm of k.mms.values()) {
    const counted = referencesOf(counting, mm)
    checkUsers(k, mm, counted.tasks, counted.lazy, cycle)
    checkCount(k, mm, counted.lazy, counted.pins, cycle)
    if (mm.tlbGen < counted.generation) {
      violated(k, 'I11', { mm, cycle }, `generation ${mm.tlbGen} after ${counted.generation}`)
    }
    counted.generation = mm.tlbGen
  }
  if (counting.references.size > k.mms.size) forgetOthers(k, counting)
  if (k.policy.checkMasks === undefined) return
  for (const cpu of k.cpus) {
    k.policy.checkMasks(k, cpu, (invariant, mm, text) => violated(k, invariant, { cpu, mm, cycle }, text))
  }
}

/** I23: the kernel half of every root is that of the swapper directory; with PTI user slots are in both roots. */
export function checkKernelHalves(k: KernelState, cycle?: number): void {
  const first = firstKernelSlot(k)
  const slots = entriesAt(k.geometry, k.geometry.topLevel)
  const known = knownTablesOf(k)
  const kernelRoot = k.initMm.pgdPfn
  const kernelUser = userRoot(k, k.initMm)
  for (const mm of k.mms.values()) {
    if (mm === k.initMm && kernelUser === kernelRoot) continue
    const user = userRoot(k, mm)
    if (!known.areSame(mm.pgdPfn, kernelRoot, first, slots)) checkKernelSlots(k, mm, mm.pgdPfn, kernelRoot, cycle)
    if (user === mm.pgdPfn) continue
    if (!known.areSame(user, kernelUser, first, slots)) checkKernelSlots(k, mm, user, kernelUser, cycle)
    for (let slot = 0; slot < first; slot++) {
      const isNx = !entryPresent(k.mem.loadLo(mm.pgdPfn, slot)) || entryNx(k.mem.loadHi(mm.pgdPfn, slot))
      if (isNx && isSame(k, mm.pgdPfn, user, slot, PAGE_NX_HI)) continue
      violated(k, 'I23', { mm, cycle }, `user slot ${slot} differs between its roots, or is executable for the kernel`)
    }
  }
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

function countReferences(k: KernelState, counting: Counting, cycle: number | undefined): void {
  counting.checks += 1
  counting.liveMm = undefined
  for (const task of k.tasks) countTask(k, counting, task, cycle)
  for (const cpu of k.cpus) {
    countTask(k, counting, cpu.idleTask, cycle)
    if (cpu.droppedMm !== undefined) referencesOf(counting, cpu.droppedMm).lazy += 1
  }
}

function countTask(k: KernelState, counting: Counting, task: Task, cycle: number | undefined): void {
  const { mm, activeMm, oldMm } = task
  const used = mm ?? activeMm
  if (used === undefined) return
  if (used !== counting.liveMm) {
    if (used.isFreed || k.mms.get(used.ctxId) !== used) {
      violated(k, 'I3', { task, cpu: k.cpus[task.cpu], mm: used, cycle }, 'the mm that the task holds is freed')
    }
    counting.liveMm = used
  }
  const counted = referencesOf(counting, used)
  if (mm === undefined) counted.lazy += 1
  else counted.tasks += 1
  // A kernel thread in kthread_use_mm() has a reference to the structure of its own.
  if (mm !== undefined && task.isKernelThread) counted.pins += 1
  if (oldMm !== undefined) referencesOf(counting, oldMm).tasks += 1
}

function countingOf(k: KernelState): Counting {
  let counting = countings.get(k)
  if (counting === undefined) {
    counting = { checks: 0, references: new Map(), liveMm: undefined, lastMm: undefined, last: undefined }
    countings.set(k, counting)
  }
  return counting
}

/** What this check has counted for an mm so far. */
function referencesOf(counting: Counting, mm: Mm): References {
  let found = counting.lastMm === mm ? counting.last : counting.references.get(mm)
  if (found === undefined) {
    found = { check: 0, tasks: 0, lazy: 0, pins: 0, generation: 0 }
    counting.references.set(mm, found)
  }
  if (found.check !== counting.checks) {
    found.check = counting.checks
    found.tasks = 0
    found.lazy = 0
    found.pins = 0
  }
  counting.lastMm = mm
  counting.last = found
  return found
}

function forgetOthers(k: KernelState, counting: Counting): void {
  for (const mm of counting.references.keys()) if (k.mms.get(mm.ctxId) !== mm) counting.references.delete(mm)
  counting.lastMm = undefined
  counting.last = undefined
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
