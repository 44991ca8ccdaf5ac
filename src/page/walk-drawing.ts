// How an address splits, and its walk, drawn as the documentation of the kernel draws them: one box for
// each table that is read, with the entry and its flags.

import { hex64, hexNumber, toBigInt } from '../base/units.js'
import {
  entryNx, PAGE_ACCESSED, PAGE_DIRTY, PAGE_GLOBAL, PAGE_PRESENT, PAGE_PSE, PAGE_RW, PAGE_USER,
} from '../machine/entry.js'
import { indexAt, LEVEL_NAMES, LEVEL_PTE } from '../machine/geometry.js'
import type { Geometry } from '../machine/geometry.js'
import { describeSwapEntry, isSwapPte } from '../kernel/reclaim/swap-entry.js'
import { el, grouped } from './dom.js'
import type { RunData } from './run-data.js'
import type { WalkStep, WalkThen } from './table-history.js'

/** Bits of an address from the top: sign, one field for each table, offset. */
export function splitDrawing(geometry: Geometry, hi: number, lo: number): HTMLElement {
  const bits = toBigInt(hi, lo).toString(2).padStart(64, '0')
  const part = (name: string, high: number, low: number, index: string): HTMLElement =>
    el('div', 'bits', el('span', 'dim', `${high}..${low}`),
      el('code', '', bits.slice(63 - high, 64 - low)), el('b', '', index === '' ? name : `${name} ${index}`))
  const parts: HTMLElement[] = []
  if (geometry.canonical) parts.push(part('sign', 63, geometry.vaBits, ''))
  let high = geometry.vaBits - 1
  geometry.levels.forEach(({ name, shift, folded }, level) => {
    if (folded) return
    parts.push(part(name, high, shift, String(indexAt(geometry, level, hi, lo))))
    high = shift - 1
  })
  parts.push(part('offset', high, 0, ''))
  return el('div', 'split', el('code', 'whole', hex64(hi, lo)), el('div', 'fields', ...parts))
}

/** The boxes of a walk from left to right. */
export function walkDrawing(geometry: Geometry, run: RunData, root: number, walk: WalkThen): HTMLElement {
  const boxes = walk.steps.map((step) => stepBox(geometry, run, step))
  return el('div', 'walk', el('div', 'step root', el('b', '', 'CR3'), el('code', '', `table ${hexNumber(root, 5)}`)),
    ...boxes, endBox(geometry, walk))
}

function stepBox(geometry: Geometry, { writes }: RunData, step: WalkStep): HTMLElement {
  const { level, table, slot, lo, hi, write } = step
  const value = geometry.entryBytes === 8 ? hex64(hi, lo) : hexNumber(lo >>> 0, 8)
  return el('div', 'step',
    el('b', '', `${LEVEL_NAMES[level]}[${slot}]`),
    el('code', 'dim', `table ${hexNumber(table, 5)}`),
    el('code', '', value),
    flagsOf(level, lo, hi),
    el('span', 'dim', write < 0 ? 'never written' : `cpu${writes.cpu[write]}, cycle ${grouped(writes.cycle[write])}`))
}

const FLAGS = [
  [PAGE_PRESENT, 'P', 'present'], [PAGE_RW, 'W', 'writable'], [PAGE_USER, 'U', 'user'],
  [PAGE_ACCESSED, 'A', 'accessed'], [PAGE_DIRTY, 'D', 'dirty'], [PAGE_GLOBAL, 'G', 'global'],
] as const

/** Every flag, those that are set strongly. */
function flagsOf(level: number, lo: number, hi: number): HTMLElement {
  if (isSwapPte(lo, hi)) return el('span', '', describeSwapEntry(lo, hi))
  const chip = (isSet: boolean, letter: string, word: string): HTMLElement => {
    const made = el('i', isSet ? 'flag set' : 'flag', letter)
    made.title = `${word}: ${isSet ? 'set' : 'clear'}`
    return made
  }
  return el('span', 'flags', ...FLAGS.map(([bit, letter, word]) => chip((lo & bit) !== 0, letter, word)),
    ...(level < LEVEL_PTE && (lo & PAGE_PSE) !== 0 ? [chip(true, 'PS', 'a large page')] : []),
    chip(entryNx(hi), 'NX', 'not executable'))
}

function endBox(geometry: Geometry, { end, pfn, steps }: WalkThen): HTMLElement {
  const { level } = steps[steps.length - 1]
  if (end === 'page') {
    const bytes = 2 ** geometry.levels[level].shift
    const size = bytes >= 2 ** 30 ? `${bytes / 2 ** 30} GiB` : bytes >= 2 ** 20 ? `${bytes / 2 ** 20} MiB`
      : `${bytes / 1024} KiB`
    return el('div', 'step end ok', el('b', '', `${size} page`), el('code', '', `pfn ${hexNumber(pfn, 5)}`))
  }
  return el('div', 'step end bad', el('b', '', '#PF'), el('span', '', end === 'none'
    ? `the ${LEVEL_NAMES[level]} entry is empty` : `the ${LEVEL_NAMES[level]} entry is not present`))
}
