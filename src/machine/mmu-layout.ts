// Where the mutable state of one MMU lies in its two views: numbers only, so that both languages that
// the MMU is written in can read them (access-runs/assembly). Everything that a checkpoint must keep
// is here; the objects of tlb.ts, paging-cache.ts and walker.ts hold only offsets into it.
//
//   words     | header | one L1I, L1D and STLB array after the other | paging caches by level |
//   counters  | seven doubles |
//
// A TLB entry and a paging-cache entry are four words; an empty one has a second word of 0. Behind
// its entries an array has a word for each and one for itself: how it orders them is in tlb-array.ts.

// Header of `words`.
/** Frame of the table that CR3 names. */
export const WORD_ROOT_PFN = 0
/** What the second word of a non-global entry made now starts from: KEY_VALID and the PCID (0 without CR4.PCIDE). */
export const WORD_TAG = 1
/** CR3 bits 3 and 4 (PWT, PCD), which nothing here interprets. */
export const WORD_CR3_FLAGS = 2
/** CONTROL_* bits. */
export const WORD_CONTROLS = 3
/** Six masks: restrictions that stop an access of this kind in this mode. Index: kind * 2 + user. */
export const WORD_DENY = 4
/** One word per TLB level: a bit for each page-size class, and one for global entries, that may be present. */
export const WORD_LIVE = 10
/** UNDO_*: what becomes of the state before the next translation that changes it. */
export const WORD_UNDO = 13
/** PAE: the four top entries, low and high word each, as latched by the last MOV CR3. */
export const WORD_PAE_LATCH = 16
/** An array of one way that is never filled: stands in where a level caches no pages of a size. */
export const WORD_EMPTY_SET = 24
export const HEADER_WORDS = 32

// Kinds of access.
export const ACCESS_READ = 0
export const ACCESS_WRITE = 1
export const ACCESS_EXEC = 2

export const CONTROL_WP = 1
export const CONTROL_NXE = 2
export const CONTROL_SMEP = 4
export const CONTROL_SMAP = 8
export const CONTROL_PGE = 16
export const CONTROL_PSE = 32
export const CONTROL_PCIDE = 64
export const CONTROL_AC = 128

/** Changes are for good. */
export const UNDO_OFF = 0
/** The first change copies all words to the undo view. */
export const UNDO_ARMED = 1
/** That has happened. */
export const UNDO_KEPT = 2

// One entry: four words.
export const ENTRY_WORDS = 4
/** Low 32 bits of the page number (of the entry's own page size). */
export const ENTRY_KEY_LO = 0
/** Upper page-number bits, class, global, PCID, valid. */
export const ENTRY_KEY_HI = 1
/** First base-page number of the page, or the frame of the next table. */
export const ENTRY_PFN = 2
/** RESTRICT_* bits, and for a TLB entry its cache index and the level of its leaf. */
export const ENTRY_ATTR = 3

// Stamps of an array that is ordered by them (tlb-array.ts).
/** Stamps are multiples of this, so that the number of a way fits below. */
export const STAMP_ONE = 1 << 11
export const STAMP_LAST = 0x7fff_ffff - (STAMP_ONE - 1)

// Second word of an entry. Upper page-number bits: 13 at most (57 - 12 - 32).
export const KEY_PAGE_MASK = 0x1fff
export const KEY_CLASS_SHIFT = 13
export const KEY_CLASS_MASK = 3 << KEY_CLASS_SHIFT
export const KEY_GLOBAL = 1 << 15
export const KEY_PCID_SHIFT = 16
export const KEY_PCID_MASK = 0xfff << KEY_PCID_SHIFT
export const KEY_VALID = 1 << 28

// Restrictions: a set bit forbids, so that one mask and compare decides a hit.
export const RESTRICT_READ_ONLY = 1
export const RESTRICT_SUPERVISOR = 2
export const RESTRICT_NX = 4
/** D is clear: a write must walk to set it. */
export const RESTRICT_CLEAN = 8
/** A user page: stops kernel accesses under SMAP and SMEP. The opposite of SUPERVISOR. */
export const RESTRICT_USER_PAGE = 16
/** PWT, PCD and PAT of the leaf. The MMU carries them and decides nothing by them. */
export const ATTR_CACHE_INDEX_SHIFT = 5
export const ATTR_CACHE_INDEX_MASK = 7
export const ATTR_LEVEL_SHIFT = 8

// Page-size classes.
export const CLASS_BASE = 0
export const CLASS_LARGE = 1
export const CLASS_GIANT = 2
/** In a live word, beside the bits of the three classes. */
export const LIVE_GLOBAL = 1 << 3

// Counters view.
export const COUNTER_L1I_LOOKUPS = 0
export const COUNTER_L1I_MISSES = 1
export const COUNTER_L1D_LOOKUPS = 2
export const COUNTER_L1D_MISSES = 3
export const COUNTER_STLB_LOOKUPS = 4
export const COUNTER_STLB_MISSES = 5
export const COUNTER_WALK_STEPS = 6
export const COUNTERS = 7
