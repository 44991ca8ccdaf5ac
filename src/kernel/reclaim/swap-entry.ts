// Entries that are neither empty nor present (swp_entry_t): the page is in a swap slot, or on its way
// to another frame. Hardware looks at P only and faults; everything else is the kernel's to say.
//
//   hi  31..............0   lo  31........11  10 9 8 7 6 5 4  3 2 1 0
//       value bits 52:21        value 20:0     D A 0 0 0 0 E  type  0
//
//   type  1 swap slot (E: the page belongs to this mm alone), 2 to 4 migration to be waited for
//   value the slot, or the frame that the page leaves
//   A, D  of a migration entry, where the kernel keeps them (6.x on 64-bit machines)
//
// Bit 8 is clear because it would mean PROT_NONE, bit 7 because it would mean a huge page (as on x86),
// 6 and 5 because stray D and A bits of an emptied entry must not look like one of these. Fits entries
// of 32 bits: 21 bits of value are 8 GiB.
//
// Simplified: Linux stores the value inverted on 64-bit machines, so that an L1TF attack finds no
// memory there; here nothing reads through an entry that is not present.

/** In a swap slot. */
export const SWP_SWAP = 1
/** Migrating, was mapped read-only. */
export const SWP_MIGRATION_READ = 2
/** The same of an anonymous page that belongs to this mm alone (6.x). */
export const SWP_MIGRATION_READ_EXCLUSIVE = 3
/** Migrating, was mapped writable. */
export const SWP_MIGRATION_WRITE = 4

const TYPE_SHIFT = 1
const TYPE_MASK = 7
const EXCLUSIVE = 1 << 4
const YOUNG = 1 << 9
const DIRTY = 1 << 10
const VALUE_SHIFT = 11
/** P, PROT_NONE, and PS: a huge entry that is being split has only that (pmd_present). */
const PRESENT_BITS = 1 | (1 << 7) | (1 << 8)
/** A, D: a CPU may leave them in an entry that was just cleared. */
const STRAY = 1 << 5 | 1 << 6

/** Two words, as entries are kept. */
export interface SwapEntry {
  lo: number
  hi: number
}

/** is_swap_pte(): not empty and not present. Also true of migration entries. */
export function isSwapPte(lo: number, hi: number): boolean {
  return (lo & PRESENT_BITS) === 0 && ((lo & ~STRAY) !== 0 || hi !== 0)
}

/** SWP_* of an entry for which {@link isSwapPte} holds. */
export function swapType(lo: number): number {
  return (lo >>> TYPE_SHIFT) & TYPE_MASK
}

/** The slot of a swap entry, the frame of a migration entry (swp_offset). */
export function swapValue(lo: number, hi: number): number {
  return (hi >>> 0) * 2 ** (32 - VALUE_SHIFT) + (lo >>> VALUE_SHIFT)
}

/** An entry for a page in swap. `exclusive`: it belongs to this mm alone (6.x). */
export function makeSwapEntry(slot: number, exclusive: boolean): SwapEntry {
  return make(SWP_SWAP, slot, exclusive ? EXCLUSIVE : 0)
}

/** An entry for a page that leaves frame `pfn`; `type` is one of SWP_MIGRATION_*. */
export function makeMigrationEntry(
  type: number, pfn: number, young = false, dirty = false,
): SwapEntry {
  return make(type, pfn, (young ? YOUNG : 0) | (dirty ? DIRTY : 0))
}

/** The page is in a swap slot. */
export function isSwapSlotEntry(lo: number, hi: number): boolean {
  return isSwapPte(lo, hi) && swapType(lo) === SWP_SWAP
}

/** pte_swp_exclusive(). */
export function isSwapExclusive(lo: number): boolean {
  return (lo & EXCLUSIVE) !== 0
}

/** pte_swp_clear_exclusive(). */
export function clearSwapExclusive(lo: number): number {
  return lo & ~EXCLUSIVE
}

export function isMigrationEntry(lo: number, hi: number): boolean {
  return isSwapPte(lo, hi) && swapType(lo) >= SWP_MIGRATION_READ && swapType(lo) <= SWP_MIGRATION_WRITE
}

/** is_writable_migration_entry(). */
export function isWritableMigrationEntry(lo: number, hi: number): boolean {
  return isSwapPte(lo, hi) && swapType(lo) === SWP_MIGRATION_WRITE
}

/** The same entry as another type; A and D stay. */
export function withMigrationType(lo: number, type: number): number {
  return (lo & ~(TYPE_MASK << TYPE_SHIFT)) | (type << TYPE_SHIFT)
}

/** is_migration_entry_young() and its sibling: what the page's entry had, where the kernel keeps it. */
export function isMigrationYoung(lo: number): boolean {
  return (lo & YOUNG) !== 0
}

export function isMigrationDirty(lo: number): boolean {
  return (lo & DIRTY) !== 0
}

/** `swap slot 12`, `migration of pfn 0x00012, writable`. */
export function describeSwapEntry(lo: number, hi: number): string {
  const value = swapValue(lo, hi)
  if (swapType(lo) === SWP_SWAP) return `swap slot ${value}${isSwapExclusive(lo) ? ', exclusive' : ''}`
  const kinds: Readonly<Record<number, string>> = {
    [SWP_MIGRATION_READ]: 'read-only', [SWP_MIGRATION_READ_EXCLUSIVE]: 'read-only exclusive',
    [SWP_MIGRATION_WRITE]: 'writable',
  }
  const kept = `${isMigrationYoung(lo) ? ' A' : ''}${isMigrationDirty(lo) ? ' D' : ''}`
  return `migration of pfn 0x${value.toString(16).padStart(5, '0')}, ${kinds[swapType(lo)] ?? 'unknown'}${kept}`
}

function make(type: number, value: number, flags: number): SwapEntry {
  return {
    lo: ((value % 2 ** (32 - VALUE_SHIFT)) << VALUE_SHIFT) | (type << TYPE_SHIFT) | flags,
    hi: Math.floor(value / 2 ** (32 - VALUE_SHIFT)) | 0,
  }
}
