// The locks of page-table pages, made on demand. The lock of the table that holds an entry guards the
// entry: pmd_lock() for huge entries, pte_lockptr() for those of base pages.

import { Lock } from './lock.js'
import type { Mm } from '../mm/mm.js'

/** The lock of a page-table page (ptlock_ptr). */
export function pageTableLock(mm: Mm, tablePfn: number): Lock {
  let lock = mm.pageTableLocks.get(tablePfn)
  if (lock === undefined) {
    lock = new Lock(`page-table lock of frame ${tablePfn}`, 0)
    mm.pageTableLocks.set(tablePfn, lock)
  }
  return lock
}
