// Rows of several files as the results of one study: of one study, one version, every point once. Whatever does
// not fit is refused with its place; nothing is guessed and nothing is written.

import { writeFileAtomic } from '../base/atomic-file.js'
import { UserError } from '../base/errors.js'
import { counted } from '../base/table.js'
import { placeOf, readLines, type LineRef } from './result-lines.js'

const RANGES_LISTED = 10

/** The rows by index. Throws when they belong to several studies or versions, or when one is there twice. */
export function unitedRefs(refs: readonly LineRef[]): LineRef[] {
  const byIndex = new Map<number, LineRef>()
  const first = refs[0]
  for (const ref of refs) {
    const other = byIndex.get(ref.index)
    if (other !== undefined) {
      throw new UserError(`point ${ref.index} is here a second time`, placeOf(ref),
        [`the first is at ${other.file}:${other.line}`])
    }
    if (ref.study !== first!.study || ref.of !== first!.of) {
      throw new UserError(`this is a result of study ${ref.study} with ${counted(ref.of, 'point')}`, placeOf(ref),
        [`${first!.file}:${first!.line} is of study ${first!.study} with ${counted(first!.of, 'point')}`])
    }
    if (ref.version !== first!.version) {
      throw new UserError(`this is a result of version ${ref.version}`, placeOf(ref),
        [`${first!.file}:${first!.line} is of version ${first!.version}; results of two versions do not mix`])
    }
    if (ref.index >= ref.of) throw new UserError(`there is no point ${ref.index} of ${ref.of}`, placeOf(ref))
    byIndex.set(ref.index, ref)
  }
  return [...byIndex.values()].sort((a, b) => a.index - b.index)
}

/** Indices of 0 to `of` - 1 that `refs` (ascending) lack, as ranges. */
export function gapsOf(refs: readonly LineRef[], of: number): [first: number, last: number][] {
  const gaps: [number, number][] = []
  let next = 0
  for (const { index } of refs) {
    if (index > next) gaps.push([next, index - 1])
    next = index + 1
  }
  if (next < of) gaps.push([next, of - 1])
  return gaps
}

/** `3, 7-9, ... and 4 more ranges` */
export function gapsText(gaps: readonly (readonly [number, number])[]): string {
  const listed = gaps.slice(0, RANGES_LISTED).map(([first, last]) => first === last ? `${first}` : `${first}-${last}`)
  const more = gaps.length - listed.length
  return listed.join(', ') + (more > 0 ? ` and ${counted(more, 'more range')}` : '')
}

/** Writes the lines of `refs` in their order. The file exists completely or not at all. */
export function writeResults(path: string, refs: readonly LineRef[]): void {
  writeFileAtomic(path, (write) => {
    for (const line of readLines(refs)) write(`${line}\n`)
  })
}
