// Aligning two sequences of numbers: which elements correspond, which were removed, which inserted.
// Myers' greedy algorithm (E. W. Myers, An O(ND) Difference Algorithm and Its Variations, 1986), with
// a bound on the differences it looks at together, so that sequences with nothing in common cost
// linear time as well; the alignment is then good, not the shortest.

/** Differences that are looked at together. */
const MAX_DIFFERENCES = 512

/**
 * Pairs of indices that correspond, ascending in both: `pairs[2n]` in `a` and `pairs[2n + 1]` in `b`. What is not in
 * it was removed from `a` or inserted into `b`.
 */
export function align(a: Int32Array, b: Int32Array): Int32Array {
  const pairs = new Int32Array(2 * Math.min(a.length, b.length))
  let length = 0
  let x = 0
  let y = 0
  while (x < a.length && y < b.length) {
    if (a[x] === b[y]) {
      pairs[length++] = x++
      pairs[length++] = y++
      continue
    }
    const stretch = alignStretch(a, b, x, y)
    pairs.set(stretch.pairs, length)
    length += stretch.pairs.length
    x = stretch.x
    y = stretch.y
  }
  return pairs.subarray(0, length)
}

/** Pairs of a part of the sequences, and the indices at which it ends. */
interface Stretch {
  pairs: Int32Array
  x: number
  y: number
}

/** Aligns from (x, y) to the end, or until MAX_DIFFERENCES are found; at least one step. */
function alignStretch(a: Int32Array, b: Int32Array, x0: number, y0: number): Stretch {
  const n = a.length - x0
  const m = b.length - y0
  const most = Math.min(MAX_DIFFERENCES, n + m)
  const offset = most + 1
  // furthest[k + offset]: how far into `a` the path on diagonal k reaches; one copy for each number of differences.
  const furthest = new Int32Array(2 * most + 3)
  const history: Int32Array[] = []
  let best = { diagonal: 0, progress: -1, differences: 0 }
  for (let d = 0; d <= most; d++) {
    history.push(furthest.slice(offset - d, offset + d + 1))
    for (let k = -d; k <= d; k += 2) {
      const down = k === -d || (k !== d && furthest[offset + k - 1]! < furthest[offset + k + 1]!)
      let x = d === 0 ? 0 : down ? furthest[offset + k + 1]! : furthest[offset + k - 1]! + 1
      let y = x - k
      if (x > n || y > m) {
        // Off the table: such a path goes nowhere.
        furthest[offset + k] = x
        continue
      }
      while (x < n && y < m && a[x0 + x] === b[y0 + y]) {
        x++
        y++
      }
      furthest[offset + k] = x
      if (x + y > best.progress) best = { diagonal: k, progress: x + y, differences: d }
      if (x >= n && y >= m) return backtrack(history, x, y, x0, y0, d)
    }
  }
  const x = (best.progress + best.diagonal) / 2
  return backtrack(history, x, x - best.diagonal, x0, y0, best.differences)
}

/** Follows the path to (endX, endY), which has `differences` steps off its diagonals, back to the start. */
function backtrack(
  history: readonly Int32Array[], endX: number, endY: number, x0: number, y0: number, differences: number,
): Stretch {
  // Filled from its end: the path is followed backwards.
  const pairs = new Int32Array(2 * Math.min(endX, endY))
  let first = pairs.length
  let x = endX
  let y = endY
  const matchBackTo = (startX: number): void => {
    while (x > startX) {
      pairs[--first] = --y + y0
      pairs[--first] = --x + x0
    }
  }
  for (let d = differences; d > 0; d--) {
    // Before step d the paths reached as far as history[d] says, which begins at diagonal -d.
    const reach = history[d]!
    const at = (diagonal: number): number => reach[diagonal + d] ?? -1
    const k = x - y
    const down = k === -d || (k !== d && at(k - 1) < at(k + 1))
    const fromX = down ? at(k + 1) : at(k - 1)
    matchBackTo(down ? fromX : fromX + 1)
    y = fromX - (down ? k + 1 : k - 1)
    x = fromX
  }
  matchBackTo(0)
  return { pairs: pairs.subarray(first), x: endX + x0, y: endY + y0 }
}
