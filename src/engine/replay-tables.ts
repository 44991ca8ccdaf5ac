// Page tables for a replay: every page that a trace touches is mapped before the clock starts,
// user, writable, executable, with A and D set, so that no walk has anything to write. Frames
// are handed out by a bump allocator, tables first and data behind.
//
// Simplified: data frames are numbers without memory behind them, because a replay translates
// addresses and never loads from them; beyond 2^31 of them the numbers start again. No count
// depends on it.

import { fail } from '../base/assert.js'
import { UserError } from '../base/errors.js'
import type { TraceRecords, U64 } from '../kernel/abi.js'
import {
  PAGE_DIRTY, PAGE_PSE, PAGE_SHARED_EXEC, TABLE_USER, entryPfn, entryPresent, makeEntryHi, makeEntryLo,
} from '../machine/entry.js'
import {
  LEVEL_PMD, LEVEL_PTE, entriesAt, indexAt, nextLevel, pagesPerEntry, type Geometry,
} from '../machine/geometry.js'
import { allocateMachineMemory, type MachineMemory } from '../machine/access-runs/access-runs.js'
import { PhysMem } from '../machine/phys-mem.js'

/** Memory comes in units of this many bytes (MachineConfig.memoryBytes). */
const MEMORY_UNIT_BYTES = 4 << 20
const MEMORY_BYTES_MAX = 2 ** 33
const BYTES_PER_HI = 2 ** 32
/** Data frame numbers stay below this one. */
const DATA_FRAME_END = 2 ** 31

/** The tables of all address spaces of a replay. */
export interface ReplayTables {
  mem: PhysMem
  /** What `mem` is the first `memoryBytes` of. */
  memory: MachineMemory
  memoryBytes: number
  /** One frame number for each trace: the table that CR3 names. */
  roots: readonly number[]
  /** Frames used by tables, with frame 0, which nothing uses. */
  tableFrames: number
}

/**
 * Maps the ranges of each trace in an address space of its own. `leafLevel`: LEVEL_PTE or LEVEL_PMD. `bytesBehind`: how
 * much memory is needed besides that of the machine.
 */
export function buildReplayTables(
  g: Geometry, traces: readonly TraceRecords[], leafLevel: number, bytesBehind = 0,
): ReplayTables {
  const spaces = traces.map((trace) => leafPages(g, trace, leafLevel))
  // Frame 0 stays unused, as on a real machine: a root of 0 is a mistake that shows.
  const tableFrames = 1 + spaces.reduce((sum, pages) => sum + tablesFor(g, pages, leafLevel), 0)
  const memoryBytes = Math.ceil(tableFrames * 2 ** g.pageShift / MEMORY_UNIT_BYTES) * MEMORY_UNIT_BYTES
  if (memoryBytes > MEMORY_BYTES_MAX) {
    throw new UserError(`the pages of ${traces.map(({ file }) => file).join(' and ')} are too scattered: `
      + 'their page tables would fill more than 8 GiB')
  }
  const memory = allocateMachineMemory(memoryBytes + bytesBehind)
  const mem = new PhysMem(new Int32Array(memory.buffer, 0, memoryBytes / Int32Array.BYTES_PER_ELEMENT), g)
  const builder = new TableBuilder(g, mem, leafLevel, tableFrames)
  const roots = spaces.map((pages) => builder.build(pages))
  if (builder.nextTable !== tableFrames) fail(`replay tables: ${builder.nextTable} frames, expected ${tableFrames}`)
  return { mem, memory, memoryBytes, roots, tableFrames }
}

/** Sorted numbers of the leaf pages that the ranges touch. Below 2^35, so exact as doubles. */
function leafPages(g: Geometry, trace: TraceRecords, leafLevel: number): number[] {
  const bytes = 2 ** g.levels[leafLevel]!.shift
  const number = (address: U64): number => (address.hi * BYTES_PER_HI + address.lo) / bytes
  const pages: number[] = []
  for (const { start, end } of trace.ranges) {
    const first = Math.floor(number(start))
    // Two ranges may share a large page.
    for (let page = first === pages.at(-1) ? first + 1 : first; page < number(end); page++) pages.push(page)
  }
  return pages
}

/** How many tables an address space with these pages needs, the root included. */
function tablesFor(g: Geometry, pages: readonly number[], leafLevel: number): number {
  let tables = 0
  for (let level = leafLevel; ; level--) {
    if (g.levels[level]!.folded) continue
    const pagesPerTable = pagesPerEntry(g, level) / pagesPerEntry(g, leafLevel) * entriesAt(g, level)
    let previous = -1
    for (const page of pages) {
      const table = Math.floor(page / pagesPerTable)
      if (table !== previous) tables++
      previous = table
    }
    if (level === g.topLevel) return tables
  }
}

class TableBuilder {
  nextTable = 1
  private nextData: number
  private readonly g: Geometry
  private readonly mem: PhysMem
  private readonly leafLevel: number
  private readonly firstData: number

  constructor(g: Geometry, mem: PhysMem, leafLevel: number, firstData: number) {
    if (leafLevel !== LEVEL_PTE && leafLevel !== LEVEL_PMD) fail(`replay tables: leaves at level ${leafLevel}`)
    this.g = g
    this.mem = mem
    this.leafLevel = leafLevel
    // A large page starts at a multiple of its size.
    const step = pagesPerEntry(g, leafLevel)
    this.firstData = Math.ceil(firstData / step) * step
    this.nextData = this.firstData
  }

  build(pages: readonly number[]): number {
    const root = this.nextTable++
    const leafBytes = 2 ** this.g.levels[this.leafLevel]!.shift
    for (const page of pages) {
      const address = page * leafBytes
      this.map(root, Math.floor(address / BYTES_PER_HI), (address % BYTES_PER_HI) | 0)
    }
    return root
  }

  private map(root: number, hi: number, lo: number): void {
    const { g, mem } = this
    let table = root
    for (let level = g.topLevel; level < this.leafLevel; level = nextLevel(g, level)) {
      const slot = indexAt(g, level, hi, lo)
      const entryLo = mem.loadLo(table, slot)
      if (entryPresent(entryLo)) {
        table = entryPfn(entryLo, mem.loadHi(table, slot), g.pageShift)
        continue
      }
      const next = this.nextTable++
      mem.store(table, slot, makeEntryLo(next, TABLE_USER.lo, g.pageShift), makeEntryHi(next, 0, g.pageShift))
      table = next
    }
    const size = this.leafLevel === LEVEL_PTE ? 0 : PAGE_PSE
    const pfn = this.nextData
    this.nextData += pagesPerEntry(g, this.leafLevel)
    if (this.nextData >= DATA_FRAME_END) this.nextData = this.firstData
    mem.store(table, indexAt(g, this.leafLevel, hi, lo),
      makeEntryLo(pfn, PAGE_SHARED_EXEC.lo | PAGE_DIRTY | size, g.pageShift), makeEntryHi(pfn, 0, g.pageShift))
  }
}
