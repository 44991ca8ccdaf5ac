// "Did you mean ...": the nearest valid name to a misspelt one, by edit distance. Used by every
// message about an unknown name, so that a typo costs one look and not a visit to the manual.

/** A name further away than this share of its length is not worth suggesting. */
const MAX_DISTANCE_SHARE = 0.4

/**
 * The smallest number of insertions, deletions, substitutions and swaps of neighbours that turn
 * `a` into `b` (optimal string alignment; upper and lower case count as equal).
 */
export function editDistance(a: string, b: string): number {
  const from = a.toLowerCase()
  const to = b.toLowerCase()
  let beforeLast: number[] = []
  let last = Array.from({ length: to.length + 1 }, (_, column) => column)
  for (let row = 1; row <= from.length; row++) {
    const current = [row]
    for (let column = 1; column <= to.length; column++) {
      const same = from[row - 1] === to[column - 1]
      let best = Math.min(last[column]! + 1, current[column - 1]! + 1, last[column - 1]! + (same ? 0 : 1))
      const swapped = row > 1 && column > 1 && from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1]
      if (swapped) best = Math.min(best, beforeLast[column - 2]! + 1)
      current.push(best)
    }
    beforeLast = last
    last = current
  }
  return last[to.length]!
}

/** The candidate nearest to `name`, or undefined when none is near. Ties go to the longer common beginning. */
export function nearestName(name: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined
  let bestDistance = Infinity
  for (const candidate of candidates) {
    const distance = editDistance(name, candidate)
    const longer = Math.max(name.length, candidate.length)
    if (distance >= longer || distance > Math.max(1, Math.floor(longer * MAX_DISTANCE_SHARE))) continue
    const nearer = distance < bestDistance
      || (distance === bestDistance && commonStart(name, candidate) > commonStart(name, best!))
    if (nearer) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

function commonStart(a: string, b: string): number {
  let length = 0
  while (length < a.length && a[length] === b[length]) length++
  return length
}

/** Detail lines for an unknown name: the nearest one, if any, and the whole list when it is short enough to read. */
export function suggestionLines(
  name: string, candidates: Iterable<string>, listed = 24, none = 'there are none in this scenario',
): string[] {
  const names = [...candidates]
  const nearest = nearestName(name, names)
  const lines = nearest === undefined ? [] : [`did you mean "${nearest}"?`]
  if (names.length === 0) lines.push(none)
  else if (names.length <= listed || nearest === undefined) lines.push(`expected one of: ${names.join(', ')}`)
  return lines
}
