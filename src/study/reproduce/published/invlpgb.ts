// INVLPGB [v]: R. van Riel, "x86/mm: Enable broadcast TLB invalidation for multi-threaded processes", link
// 20250226030129.530345-11-riel@surriel.com. will-it-scale tlb_flush2_threads on an AMD Milan with 72 CPUs, LRU
// drain removed, medians of 5 runs: thousands of loops a second of all threads together.

/** Threads, loops with interrupts, loops with INVLPGB. */
export const LOOPS: readonly (readonly [threads: number, interrupts: number, broadcast: number])[] = [
  [1, 315, 304], [2, 423, 424], [4, 644, 1032], [8, 652, 1267], [16, 737, 1368], [32, 759, 1199], [64, 636, 1094],
  [72, 609, 993],
]
