// Mappings that ask for addresses which others have. Followed along the straight-line part of a
// program, where it is known what is mapped. What an overlap means is what mmap(2) says:
//
//   noReplace   can only fail with EEXIST: the scenario is wrong, unless it expects the error
//   fixed       replaces what is there: legal, and told in a note
//   neither     the address is a hint; the kernel chooses another: legal, and told in a note
//
// Not here: what depends on the order of threads or on loops; those mappings are forgotten.

import type { ScenarioNote } from './scenario.js'
import type { Path, YamlSource } from './yaml-source.js'
import { hex64 } from './values.js'

/** Half-open [start, end) in bytes. */
export interface FixedMapping {
  start: bigint
  end: bigint
  /** Name of its area, if it has one. */
  area: string | undefined
  kind: 'fixed' | 'noReplace' | 'hint'
  path: Path
}

export class FixedMappings {
  private live: FixedMapping[]
  /** Something was unmapped that this program did not map: other threads' mappings are uncertain. */
  unmapsForeign = false

  constructor(live: readonly FixedMapping[] = []) {
    this.live = [...live]
  }

  /** The mappings that are still there at this point. */
  get surviving(): readonly FixedMapping[] {
    return this.live
  }

  /** The live mapping that `mapping` overlaps, if any. Takes `mapping` up, unless it cannot be where it wants to be. */
  add(mapping: FixedMapping): FixedMapping | undefined {
    const other = this.live.find((one) => overlap(one, mapping))
    if (mapping.kind === 'fixed') this.carve(mapping.start, mapping.end)
    else if (other) return other
    this.live.push(mapping)
    return other
  }

  /** [start, end) is unmapped. */
  remove(start: bigint, end: bigint): void {
    if (!this.live.some((one) => one.start <= start && end <= one.end)) this.unmapsForeign = true
    this.carve(start, end)
  }

  private carve(start: bigint, end: bigint): void {
    this.live = this.live.flatMap((one) => [
      { ...one, end: one.end < start ? one.end : start },
      { ...one, start: one.start > end ? one.start : end },
    ].filter((part) => part.start < part.end))
  }

  /** `bytes` of `area` are unmapped, from `offset`; 0 bytes: to its end. */
  removeArea(area: string, offset: number, bytes: number): void {
    const mapping = this.live.findLast((one) => one.area === area)
    if (!mapping) {
      this.unmapsForeign = true
      return
    }
    const start = mapping.start + BigInt(offset)
    this.remove(start, bytes === 0 ? mapping.end : start + BigInt(bytes))
  }

  /** Nothing is known any more. */
  forget(): void {
    this.live = []
    this.unmapsForeign = true
  }
}

/** Throws when two threads of a process each insist on the same addresses; notes when one replaces the other's. */
export function checkThreadsApart(source: YamlSource, threads: readonly FixedMappings[]): ScenarioNote[] {
  const notes: ScenarioNote[] = []
  if (threads.some((thread) => thread.unmapsForeign)) return notes
  for (const [index, thread] of threads.entries()) {
    for (const mapping of thread.surviving) {
      const others = threads.slice(0, index).flatMap((earlier) => earlier.surviving)
        .filter((one) => overlap(one, mapping))
      const rival = mapping.kind === 'noReplace' ? others.find((one) => one.kind === 'noReplace') : undefined
      if (rival) throw overlapError(source, mapping, rival)
      const [first] = others
      if (!first) continue
      const text = `another thread maps some of the same addresses in line ${lineOf(source, first)}: what is there `
        + 'depends on who comes first'
      notes.push({ position: positionOf(source, mapping), text })
    }
  }
  return notes
}

export function overlapError(source: YamlSource, mapping: FixedMapping, earlier: FixedMapping): Error {
  const message = `the mapping ${rangeText(mapping)} overlaps the one of line ${lineOf(source, earlier)}, `
    + rangeText(earlier)
  return source.error(message, mapping.path, [
    'the earlier mapping:',
    ...source.source.excerpt(source.span(earlier.path)),
    'unmap it in between, replace it with "fixed: true", or expect it with "expectError: EEXIST"',
  ])
}

/** What to tell about a legal overlap with an earlier mapping of the same program. */
export function overlapNote(source: YamlSource, mapping: FixedMapping, earlier: FixedMapping): ScenarioNote {
  const start = mapping.start > earlier.start ? mapping.start : earlier.start
  const end = mapping.end < earlier.end ? mapping.end : earlier.end
  const [range, line] = [rangeText({ start, end }), lineOf(source, earlier)]
  const text = mapping.kind === 'fixed'
    ? `replaces ${range} of the mapping of line ${line}: "fixed" is MAP_FIXED, "noReplace" would refuse`
    : `${range} belongs to the mapping of line ${line}: without "fixed" or "noReplace" an address is a hint, `
      + 'and the kernel chooses another'
  return { position: positionOf(source, mapping), text }
}

function positionOf(source: YamlSource, { path }: FixedMapping): ScenarioNote['position'] {
  return source.source.position(source.span(path).start)
}

function lineOf(source: YamlSource, mapping: FixedMapping): number {
  return positionOf(source, mapping).line
}

function rangeText({ start, end }: { start: bigint; end: bigint }): string {
  return `[${hex64(start)}, ${hex64(end)})`
}

function overlap(a: { start: bigint; end: bigint }, b: { start: bigint; end: bigint }): boolean {
  return a.start < b.end && b.start < a.end
}
