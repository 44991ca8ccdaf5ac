// The pages of an address space as cells: a row for each run of neighbours, a cell for each entry, with
// the number of CPUs whose TLBs hold it. A cell without an entry is a page that is gone from the tables and
// still in a TLB: legal until its flush, and what shootdowns are for.

import { entryDirty, entryPresent, entryWritable } from '../machine/entry.js'
import { pagesPerEntry } from '../machine/geometry.js'
import type { Geometry } from '../machine/geometry.js'
import { isSwapPte } from '../kernel/reclaim/swap-entry.js'
import { FIRST_PAGING_CACHE, VERDICTS } from '../trace/observations.js'
import { pageText, vpnOf } from './addresses.js'
import { el } from './dom.js'
import type { RunData } from './run-data.js'
import type { LeafThen } from './table-history.js'

interface Cell {
  vpn: number
  pages: number
  leaf: LeafThen | undefined
  /** CPUs whose TLBs hold it, and the worst verdict. */
  cpus: Set<number>
  verdict: number
}

/** `rows`: rows of `held`. `choose` is called with the first page of a cell. */
export function pageGrid(
  geometry: Geometry, run: RunData, leaves: readonly LeafThen[], rows: readonly number[], chosen: number | undefined,
  choose: (vpn: number) => void,
): HTMLElement[] {
  const runs = neighbours(cellsOf(geometry, run, leaves, rows))
  return runs.map((cells) => el('div', 'run',
    el('code', 'start', pageText(geometry, cells[0].vpn)),
    el('div', 'cells', ...cells.map((cell) => cellButton(geometry, cell, chosen, choose)))))
}

/** What the cells mean. */
export function gridKey(): HTMLElement {
  const entry = (name: string, words: string): HTMLElement => el('span', '', el('i', `cell ${name}`), words)
  const numbered = el('i', 'cell', '2')
  return el('p', 'key', entry('dirty', 'written'), entry('writable', 'writable'), entry('read-only', 'read-only'),
    entry('swapped', 'swapped out, migrating'), entry('gone', 'no entry any more'),
    el('span', '', numbered, 'CPUs whose TLBs hold it'), entry('pending', 'a TLB differs, a flush is pending'),
    entry('stale', 'a TLB differs and no flush is pending'))
}

function cellsOf(geometry: Geometry, { held }: RunData, leaves: readonly LeafThen[], rows: readonly number[]): Cell[] {
  const cells = new Map<number, Cell>()
  for (const leaf of leaves) {
    cells.set(leaf.vpn, { vpn: leaf.vpn, pages: leaf.pages, leaf, cpus: new Set(), verdict: 0 })
  }
  const last = leaves.length > 0 ? leaves[leaves.length - 1].vpn : Infinity
  for (const row of rows) {
    if (held.cache[row] >= FIRST_PAGING_CACHE) continue
    const vpn = vpnOf(geometry, { hi: held.hi[row], lo: held.lo[row] })
    // Of a long list only the beginning is shown, and kernel pages never.
    if (vpn > last && leaves.length >= 1024) continue
    let cell = cells.get(vpn)
    if (cell === undefined) {
      cell = { vpn, pages: pagesPerEntry(geometry, held.level[row]), leaf: undefined, cpus: new Set(), verdict: 0 }
      cells.set(vpn, cell)
    }
    cell.cpus.add(held.cpu[row])
    cell.verdict = Math.max(cell.verdict, held.verdict[row])
  }
  return [...cells.values()].sort((a, b) => a.vpn - b.vpn)
}

function neighbours(cells: readonly Cell[]): Cell[][] {
  const runs: Cell[][] = []
  for (const cell of cells) {
    const run = runs[runs.length - 1]
    const before = run?.[run.length - 1]
    if (run !== undefined && before !== undefined && before.vpn + before.pages === cell.vpn) run.push(cell)
    else runs.push([cell])
  }
  return runs
}

function cellButton(
  geometry: Geometry, cell: Cell, chosen: number | undefined, choose: (vpn: number) => void,
): HTMLElement {
  const { vpn, pages, leaf, cpus, verdict } = cell
  const button = el('button', `cell ${stateOf(leaf)}`, cpus.size === 0 ? '' : String(cpus.size))
  if (pages > 1) button.classList.add('large')
  if (VERDICTS[verdict] === 'pending') button.classList.add('pending')
  if (VERDICTS[verdict] === 'STALE') button.classList.add('stale')
  if (chosen !== undefined && chosen >= vpn && chosen < vpn + pages) button.classList.add('chosen')
  const holders = [...cpus].sort((a, b) => a - b).map((cpu) => `cpu${cpu}`).join(', ')
  button.title = `${pageText(geometry, vpn)}: ${WORDS[stateOf(leaf)]}`
    + (cpus.size === 0 ? ', in no TLB' : `, in the TLBs of ${holders}`)
    + (verdict >= 2 ? `, ${VERDICTS[verdict]}` : '')
  button.addEventListener('click', () => choose(vpn))
  return button
}

const WORDS: Readonly<Record<string, string>> = {
  gone: 'no entry any more', dirty: 'writable and written', writable: 'writable', 'read-only': 'read-only',
  swapped: 'swapped out or migrating', absent: 'not present',
}

function stateOf(leaf: LeafThen | undefined): string {
  if (leaf === undefined) return 'gone'
  const { lo, hi } = leaf
  if (isSwapPte(lo, hi)) return 'swapped'
  if (!entryPresent(lo)) return 'absent'
  return entryWritable(lo) ? (entryDirty(lo) ? 'dirty' : 'writable') : 'read-only'
}
