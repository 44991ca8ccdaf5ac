// HANSEN [v]: D. Hansen, "x86: mm: set TLB flush tunable to sane value (33)", RFC 6/6, linux-mm, 18 Feb 2014
// (Message-Id 20140218193017.ECDF1089@viggo.jf.intel.com), and commit a5102476a24b. Core i5-3320M, Linux 3.15,
// kernel build: mean cycles of a flush by the pages of its range, and how often each length came.

/** Pages, mean cycles of the call with the tracer in it. */
export const FLUSH_CYCLES_BY_PAGES: readonly (readonly [pages: number, cycles: number])[] = [
  [1, 1276], [2, 1505], [3, 1880], [4, 2447], [5, 2358], [6, 2563], [7, 2862], [8, 3542], [9, 3289], [10, 3570],
  [11, 3767], [12, 3996], [13, 4077], [14, 4836], [15, 5699], [16, 5041], [17, 5473], [18, 5396], [19, 5296],
  [20, 6749], [21, 6225], [22, 6393], [23, 6861], [24, 6912], [25, 7190], [26, 7793], [27, 7833], [28, 8253],
  [29, 8024], [30, 9670], [31, 8949], [32, 9350], [33, 8534], [34, 10_977], [35, 11_400],
]

export const FULL_FLUSH_CYCLES = 2283

/** Pages, percent of the ranged calls; the others are not given. */
export const SHARE_OF_CALLS: readonly (readonly [pages: number, percent: number])[] = [
  [1, 56.92], [2, 13.78], [3, 8.26], [4, 7.41], [33, 3.11], [34, 0.7], [35, 0.7],
]
