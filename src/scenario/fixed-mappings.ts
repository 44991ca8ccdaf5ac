// Mappings at fixed addresses that must collide. Followed along the straight-line part of a
// program: an mmap with noReplace over something that an earlier fixed mapping put there, and
// that nothing unmapped, can only fail with EEXIST, so the scenario is wrong.
//
// Not here: what depends on the order of threads or on loops; those mappings are forgotten.

import type { Path, YamlSource } from './yaml-source.js'
import { hex64 } from './values.js'

/** Half-open [start, end) in bytes. */
export interface FixedMapping {
  start: bigint
  end: bigint
  /** Name of its area, if it has one. */
  area: string | undefined
  noReplace: boolean
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

  /** The live mapping that `mapping` overlaps, if it may not replace it. Otherwise takes it up. */
  add(mapping: FixedMapping): FixedMapping | undefined {
    if (mapping.noReplace) {
      const other = this.live.find((one) => overlap(one, mapping))
      if (other) return other
    } else {
      this.carve(mapping.start, mapping.end)
    }
    this.live.push(mapping)
    return undefined
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

/** Throws when two threads of a process each insist on the same addresses. */
export function checkThreadsApart(source: YamlSource, threads: readonly FixedMappings[]): void {
  if (threads.some((thread) => thread.unmapsForeign)) return
  for (const [index, thread] of threads.entries()) {
    for (const other of threads.slice(0, index)) {
      for (const mapping of thread.surviving.filter((one) => one.noReplace)) {
        const first = other.surviving.find((one) => one.noReplace && overlap(one, mapping))
        if (first) throw overlapError(source, mapping, first)
      }
    }
  }
}

export function overlapError(source: YamlSource, mapping: FixedMapping, earlier: FixedMapping): Error {
  const { line } = source.source.position(source.span(earlier.path).start)
  const range = ({ start, end }: FixedMapping): string => `[${hex64(start)}, ${hex64(end)})`
  const message = `the mapping ${range(mapping)} overlaps the one of line ${line}, ${range(earlier)}`
  return source.error(message, mapping.path, [
    'the earlier mapping:',
    ...source.source.excerpt(source.span(earlier.path)),
    'unmap it in between, replace it with "fixed: true", or expect it with "expectError: EEXIST"',
  ])
}

function overlap(a: { start: bigint; end: bigint }, b: { start: bigint; end: bigint }): boolean {
  return a.start < b.end && b.start < a.end
}
