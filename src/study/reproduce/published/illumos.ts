// ILLUMOS [v]: R. Zezeski, output of a TLB shootdown tracker on a production machine, 2015 (gist
// 9629efcd0e22551bae40), and illumos 5498. Latency of unmapping a kernel range by its pages, one cross-call for the
// whole range; CPUs and model are not given.

/** Pages, microseconds from and to. */
export const UNMAP_US: readonly (readonly [pages: number, least: number, most: number])[] = [
  [2, 3, 7], [16, 9, 9], [32, 10, 12], [61, 29, 29], [62, 30, 30], [64, 16, 26], [67, 28, 34], [384, 128, 128],
  [1792, 492, 492],
]
