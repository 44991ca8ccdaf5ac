// The words that tell the WebAssembly code (assembly/) what an MMU looks like. They are constants of a
// machine: one plan serves all its CPUs, whose states differ only by where they are. Numbers only, since
// both languages read this file.
//
//   plan  | page numbers | prices | root memory | arrays: three levels by class | rows of a walk | caches |
//
// "Bytes" below count from the start of an MMU's words.

// Of the machine.
/** Which bits of an address are translated: two words, low word first. */
export const PLAN_ADDRESS_MASK = 0
/** An address is canonical when its upper word plus the bias has no bit of the mask. */
export const PLAN_CANONICAL_BIAS = 2
export const PLAN_CANONICAL_MASK = 3
/** Class of the pages that are looked for first, in the first way of their set. */
export const PLAN_FRONT_CLASS = 4
/** Their size: 2^shift bytes. A recorded access that reaches beyond such a page touches the next one, too. */
export const PLAN_FRONT_SHIFT = 5
/** 1: a recorded access may reach into no more than the second page; longer ones are the caller's. */
export const PLAN_SHORT_RECORDS = 6
// Prices, cycles.
export const PLAN_ACCESS_CYCLES = 7
export const PLAN_STLB_HIT_CYCLES = 8
export const PLAN_WALK_STEP_CYCLES = 9
// Physical memory, at the beginning of the WebAssembly memory: how many frames of 2^shift bytes it has.
export const PLAN_FRAMES = 10
export const PLAN_FRAME_SHIFT = 11
/** Row of the table that CR3 names (a word of the plan); 0: walks are the caller's. */
export const PLAN_TOP_ROW = 12
/** Paging caches: how many, of the lowest level first. */
export const PLAN_CACHES = 13

/** Class-front pages of the lower half of the address space: two words. Others are never in front. */
export const PLAN_FRONT_PAGES = 16
/**
 * 1: the arrays for the class in front are fit for the short way, on which only such pages are looked for: first levels
 * with sets that are a power of two, a second level that is stamped.
 */
export const PLAN_IS_FIT = 18

/** By kind of access, numbered as in records (fetch, load, store): the array in front and what a user is denied. */
export const PLAN_KINDS = 20
export const KIND_WORDS = 4
/** Bytes of the first entry, mask of set numbers, bytes of a set: as of an array. */
export const KIND_START = 0
export const KIND_MASK = 1
export const KIND_SET_BYTES = 2
/** Bytes of the word with the restrictions that stop such an access. */
export const KIND_DENY = 3

/** The second level's array for the class in front, once more. */
export const PLAN_FRONT_STLB = 32

/** Tables of 4 KiB above that of a base page: 3 or 4; 0: all walks go by rows. */
export const PLAN_PLAIN_TABLES = 40
/** Bits of an entry on that way, and of the one of the page, that must be as always: two words each. */
export const PLAN_PLAIN_MASK = 42
export const PLAN_PLAIN_LEAF_MASK = 44

/** Arrays of a level: one for each class, also where classes share one. */
export const PLAN_L1I = 48
export const ARRAY_WORDS = 8
export const CLASSES = 3
export const LEVEL_WORDS = CLASSES * ARRAY_WORDS
export const PLAN_L1D = PLAN_L1I + LEVEL_WORDS
export const PLAN_STLB = PLAN_L1D + LEVEL_WORDS

// An array of entries.
/** Bytes of its first entry. */
export const ARRAY_START = 0
/** Bytes of a set. */
export const ARRAY_SET_BYTES = 1
/** 0: no entry of this class is kept here. */
export const ARRAY_WAYS = 2
/** Set number = page number & mask; when `sets` is not 0, page number modulo `sets`. */
export const ARRAY_MASK = 3
export const ARRAY_SETS = 4
/** Bytes of its first stamp and of its clock, when it is stamped; else 0 (tlb-array.ts). */
export const ARRAY_STAMPS = 5
export const ARRAY_CLOCK = 6
/** Page number = address >> shift. */
export const ARRAY_SHIFT = 7

/** Levels of a walk that have tables, the top first. */
export const PLAN_ROWS = PLAN_STLB + LEVEL_WORDS
export const ROWS_MAX = 5
export const ROW_WORDS = 10
/** Bits that must be 0 in an entry that names a table, and in a leaf: two words each. */
export const ROW_RESERVED_TABLE = 0
export const ROW_RESERVED_LEAF = 2
export const ROW_SHIFT = 4
export const ROW_INDEX_MASK = 5
/** LEAF_*. */
export const ROW_LEAF = 6
export const ROW_LEVEL = 7
/** Class of the pages that leaves of this level map. */
export const ROW_CLASS = 8
/** Word of the paging cache for entries of this level; 0: they are not cached. */
export const ROW_CACHE = 9

/** No entry of the level, an entry with PS, or every entry maps a page. */
export const LEAF_NEVER = 0
export const LEAF_WITH_PS = 1
export const LEAF_ALWAYS = 2

/** Paging caches, the lowest level first: an array of one set each, and then */
export const PLAN_CACHE = PLAN_ROWS + ROWS_MAX * ROW_WORDS
export const CACHES_MAX = 4
export const CACHE_WORDS = ARRAY_WORDS + 4
/** Key = the address from ARRAY_SHIFT up, with these bits of the upper half: two words. */
export const CACHE_KEY_MASK = ARRAY_WORDS
/** Row of the level where a walk goes on that has found its entry here. */
export const CACHE_ROW_BELOW = ARRAY_WORDS + 2

export const PLAN_WORDS = PLAN_CACHE + CACHES_MAX * CACHE_WORDS

// Doubles that a run of accesses starts from and brings forward: the first ones of a core's.
/** Cycle at which the next access starts. */
export const RUN_CLOCK = 0
/** Accesses done of the instruction (records: two for each, the second for a second page). */
export const RUN_POSITION = 1
/** Cycle at which the last completed access started. */
export const RUN_LAST_START = 2
/** Accesses done at all. */
export const RUN_ACCESSES = 3
export const RUN_DOUBLES = 4
