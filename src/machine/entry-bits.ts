// The bits of a page-table entry (Intel SDM vol. 3, 4.5), in its two words: numbers only, so that both
// languages that page walks are written in can read them. What they mean together is in entry.ts.

/** P: the walk continues, or the page is mapped. */
export const PAGE_PRESENT = 1 << 0
/** W: writes are allowed; must hold at every level. */
export const PAGE_RW = 1 << 1
/** U: user mode may access; must hold at every level. */
export const PAGE_USER = 1 << 2
export const PAGE_PWT = 1 << 3
export const PAGE_PCD = 1 << 4
/** A: set by the CPU when the entry is used; never cleared by it. */
export const PAGE_ACCESSED = 1 << 5
/** D: set by the CPU in a leaf when the page is written. */
export const PAGE_DIRTY = 1 << 6
/** PS: above the pte level, the entry maps a page instead of naming a table. */
export const PAGE_PSE = 1 << 7
/** PAT of a base-page entry shares its bit with PS. */
export const PAGE_PAT = 1 << 7
/** G: the translation survives a CR3 load. Leaf entries only. */
export const PAGE_GLOBAL = 1 << 8
/** With P=0: PROT_NONE or a NUMA hint; the entry still holds its frame. Shares its bit with G. */
export const PAGE_PROTNONE = 1 << 8
/** Software bit 9: no struct page behind the entry. */
export const PAGE_SPECIAL = 1 << 9
/** Software bit 10: userfaultfd write-protect. */
export const PAGE_UFFD_WP = 1 << 10
/** Software bit 11: soft-dirty. */
export const PAGE_SOFT_DIRTY = 1 << 11
/** PAT of a large leaf. */
export const PAGE_PAT_LARGE = 1 << 12
/** All bits of `lo` that are flags at every level. */
export const PAGE_FLAGS_LO = 0xfff

/** Bits of the upper word. Software bit 57. */
export const PAGE_SOFTW4_HI = 1 << 25
/** Software bit 58, a leaf: D was moved here when the entry was made read-only. */
export const PAGE_SAVED_DIRTY_HI = 1 << 26
/** NX, bit 63: no instruction fetch; counts from any level while EFER.NXE is set. */
export const PAGE_NX_HI = 1 << 31
/** Frame bits of the upper word (51:32); all others are flags. */
export const PFN_HI_MASK = 0x000f_ffff
