// The bug catalogue: historical bugs of Linux (and one of its hardware) as switches. A switch takes
// the fix out at the place where the real one sits; everything else stays. A scenario turns them on
// with `bugs: [...]`; scenarios/bugs/ has one for each, docs/bugs.md the table.
//
// Both eras have all fixes otherwise, also those that came after 4.6, as stable kernels do (but we saw no tree based
// on longterm 4.4 or 4.9 with that of H16).

import type { KernelEra } from './config.js'

export interface Bug {
  /** H-number; up to 15 those of kernel-behaviour.md section 8.1. */
  readonly number: number
  /** What goes wrong. */
  readonly title: string
  /** The fix: subject of the commit or the workaround. */
  readonly fix: string
  /** Version with the fix. */
  readonly fixedIn: string
  /** Kernels that the switch works on. */
  readonly eras: readonly KernelEra[]
  /** Invariants of which one fires. */
  readonly invariants: readonly string[]
}

const BOTH: readonly KernelEra[] = ['linux-4.6', 'linux-6.x']

export const BUGS = {
  'h01-mask-bit-in-store-buffer': {
    number: 1, title: 'a CPU walks the tables of the next mm while its bit in the mask is still in its store buffer',
    fix: 'x86/mm: Add barriers and document switch_mm()-vs-flush synchronization', fixedIn: '4.5',
    eras: ['linux-4.6'], invariants: ['I6', 'I8'],
  },
  'h02-numa-marker-with-flush-pending': {
    number: 2, title: 'a page moves without a flush, as its entry is a marker; but the flush of the marker is pending',
    fix: 'mm: fix TLB flush race between migration, and change_protection_range', fixedIn: '3.13',
    eras: BOTH, invariants: ['I1', 'I8'],
  },
  'h03-batched-flush-not-seen': {
    number: 3, title: 'reclaim has unmapped a page and not flushed yet; who finds its entry gone relies on it',
    fix: 'mm, mprotect: flush TLB if potentially racing with a parallel reclaim leaving stale TLB entries',
    fixedIn: '4.13', eras: BOTH, invariants: ['I1', 'I8', 'I18'],
  },
  'h04-mremap-flush-after-unlock': {
    number: 4, title: 'mremap flushes the old place when the tables\' locks are gone, and so may the page be',
    fix: 'mremap: properly flush TLB before releasing the page', fixedIn: '4.19',
    eras: BOTH, invariants: ['I1'],
  },
  'h05-mapcount-not-atomic-against-split': {
    number: 5, title: 'a write fault counts the mappings of a huge page while another process splits its entry',
    fix: 'mm: thp: make the THP mapcount atomic against __split_huge_pmd_locked()', fixedIn: '5.8',
    eras: ['linux-4.6'], invariants: ['I30'],
  },
  'h06-lazy-cpu-skips-freed-tables': {
    number: 6, title: 'a lazy CPU is left out of a flush although page tables are freed after it',
    fix: 'x86/mm/tlb: Leave lazy TLB mode at page table free time', fixedIn: '4.20',
    eras: ['linux-6.x'], invariants: ['I2'],
  },
  'h07-lazy-ldt-not-reloaded': {
    number: 7, title: 'a CPU that left an mm lazily comes back to it with the old LDT, which was freed',
    fix: 'the LDT is loaded again when leave_mm() happened meanwhile', fixedIn: 'before 4.6',
    eras: ['linux-4.6'], invariants: ['I12'],
  },
  'h08-switching-cpu-skipped': {
    number: 8, title: 'a CPU between its CR3 load and its store of loaded_mm is left out of a flush',
    fix: 'x86/mm: Eliminate window where TLB flushes may be inadvertently skipped', fixedIn: '6.15',
    eras: ['linux-6.x'], invariants: ['I8', 'I14'],
  },
  'h09-use-mm-with-interrupts-on': {
    number: 9, title: 'an interrupt finds a kernel thread with an mm whose root is not loaded yet',
    fix: 'mm: fix kthread_use_mm() vs TLB invalidate', fixedIn: '5.9',
    eras: BOTH, invariants: ['I8', 'I12'],
  },
  'h10-device-area-unlinked-before-flush': {
    number: 10, title: 'a driver frees memory that an area had mapped, because the area left before its flush',
    fix: 'mmu_gather: Force tlb-flush VM_PFNMAP vmas', fixedIn: '5.19',
    eras: BOTH, invariants: ['I1'],
  },
  'h11-hugetlb-unshare-without-flush': {
    number: 11, title: 'an address space leaves a shared hugetlb page table, and nobody flushes what it reached by it',
    fix: 'hugetlb: flush TLBs properly after huge_pmd_unshare', fixedIn: '5.16',
    eras: BOTH, invariants: ['I1', 'I2', 'I8'],
  },
  'h12-pae-top-entry-without-full-flush': {
    number: 12, title: 'INVLPG leaves the latched PAE top entry, which names a pmd page that was freed',
    fix: 'x86-32: Fix possible incomplete TLB invalidate with PAE pagetables', fixedIn: '3.9',
    eras: BOTH, invariants: ['I2'],
  },
  'h13-flush-after-page-table-unlock': {
    number: 13, title: 'migration drops the table\'s lock before it flushes; MADV_DONTNEED finds nothing present',
    fix: 'mm/migrate_device.c: flush TLB while holding PTL', fixedIn: '6.0',
    eras: BOTH, invariants: ['I8'],
  },
  'h14-invlpg-keeps-globals-with-pcid': {
    number: 14, title: 'hardware: INVLPG leaves global entries while PCIDs are in use (Alder Lake, Raptor Lake)',
    fix: 'x86/mm: Avoid incomplete Global INVLPG flushes: no PCID on these CPUs', fixedIn: '6.4',
    eras: ['linux-6.x'], invariants: ['I8'],
  },
  'h15-collapse-without-sync-ipi': {
    number: 15, title: 'a lockless walker is still in the page table that a collapse took from the tree',
    fix: 'mm/khugepaged: fix GUP-fast interaction by sending IPI', fixedIn: '6.1',
    eras: ['linux-6.x'], invariants: ['I31'],
  },
  'h16-parallel-gather-not-flushed': {
    number: 16, title: 'two calls drop the same pages: one finds nothing, and returns before the flush of the other',
    fix: 'mm: fix MADV_[FREE|DONTNEED] TLB flush miss problem', fixedIn: '4.13',
    eras: BOTH, invariants: ['I8'],
  },
} as const satisfies Readonly<Record<string, Bug>>

export type BugName = keyof typeof BUGS

export const BUG_NAMES = Object.keys(BUGS) as BugName[]
