// PG_locked: the lock bit of a frame. Whoever takes a page apart (reclaim, migration) or reads it in
// holds it; a fault that meets a page in this state waits for it. It is taken after mmap_lock and
// before i_mmap_rwsem and the page-table locks; who might wait for it while he holds one of those
// only tries.

import { fail } from '../../base/assert.js'
import type { KernelCpu } from '../cpu.js'
import type { KernelOp } from '../kernel-op.js'
import { Lock } from './lock.js'
import type { KernelState } from '../state.js'

/** Locks of the frames that are locked now, by frame (the first one of a compound page). */
export type PageLocks = Map<number, Lock>

/** lock_page(): waits for it. */
export function* lockPage(k: KernelState, cpu: KernelCpu, pfn: number): KernelOp {
  let lock = k.pageLocks.get(pfn)
  if (lock === undefined) {
    lock = new Lock(`the lock of frame ${pfn}`, 0)
    k.pageLocks.set(pfn, lock)
  }
  yield* lock.acquire(cpu, true)
}

/** trylock_page(): false when somebody has it. */
export function trylockPage(k: KernelState, pfn: number): boolean {
  if (k.pageLocks.has(pfn)) return false
  const lock = new Lock(`the lock of frame ${pfn}`, 0)
  if (!lock.tryAcquire()) fail(`frame ${pfn} has a new lock that is held`)
  k.pageLocks.set(pfn, lock)
  return true
}

/** unlock_page(): the next waiters go on. */
export function unlockPage(k: KernelState, cpu: KernelCpu, pfn: number): void {
  const lock = k.pageLocks.get(pfn)
  if (lock === undefined) fail(`frame ${pfn} unlocked but not locked`)
  lock.release(cpu, true)
  forgetIfFree(k, pfn, lock)
}

/** PageLocked(). */
export function isPageLocked(k: KernelState, pfn: number): boolean {
  return k.pageLocks.has(pfn)
}

/**
 * wait_on_page_locked(), and with it migration_entry_wait(): until the holder lets go. The frame may belong to
 * somebody else then: look again.
 */
export function* waitOnPageLocked(k: KernelState, cpu: KernelCpu, pfn: number): KernelOp {
  const lock = k.pageLocks.get(pfn)
  if (lock === undefined) return
  yield* lock.acquire(cpu, false)
  lock.release(cpu, false)
  forgetIfFree(k, pfn, lock)
}

function forgetIfFree(k: KernelState, pfn: number, lock: Lock): void {
  if (!lock.isHeld && k.pageLocks.get(pfn) === lock) k.pageLocks.delete(pfn)
}
