// Which TLBs hold a page: one row for each entry of a TLB or paging cache that a CPU would use for it.

import { hexNumber } from '../base/units.js'
import { LEVEL_NAMES, pagesPerEntry } from '../machine/geometry.js'
import type { Geometry } from '../machine/geometry.js'
import {
  CACHE_NAMES, FIRST_PAGING_CACHE, HELD_DIRTY, HELD_GLOBAL, HELD_NX, HELD_USER, HELD_WRITABLE, VERDICTS,
} from '../trace/observations.js'
import { vpnOf } from './addresses.js'
import { el } from './dom.js'
import type { RunData } from './run-data.js'

const FLAGS = [
  [HELD_WRITABLE, 'W'], [HELD_USER, 'U'], [HELD_DIRTY, 'D'], [HELD_GLOBAL, 'G'], [HELD_NX, 'NX'],
] as const

/** `rows`: rows of `held` of the address space at the look. */
export function heldTable(
  geometry: Geometry, { held, meta }: RunData, vpn: number, rows: readonly number[],
): HTMLElement {
  const covering = rows.filter((row) => {
    const first = vpnOf(geometry, { hi: held.hi[row], lo: held.lo[row] })
    return first <= vpn && vpn < first + pagesPerEntry(geometry, held.level[row])
  }).sort((a, b) => held.cpu[a] - held.cpu[b] || held.cache[a] - held.cache[b])
  const lines = covering.map((row) => {
    const cache = held.cache[row]
    const isTable = cache >= FIRST_PAGING_CACHE
    const verdict = VERDICTS[held.verdict[row]]
    const why = meta.reasons[held.why[row]] ?? ''
    return el('tr', '',
      el('td', 'mono', `cpu${held.cpu[row]}`),
      el('td', '', isTable ? `${LEVEL_NAMES[cache - FIRST_PAGING_CACHE]} cache` : CACHE_NAMES[cache]),
      el('td', 'mono', `${isTable ? 'table' : 'pfn'} ${hexNumber(held.pfn[row] >>> 0, 5)}`),
      el('td', 'mono', FLAGS.filter(([bit]) => (held.flags[row] & bit) !== 0).map(([, word]) => word).join(' ')),
      el('td', 'mono', `pcid ${held.pcid[row]}`),
      el('td', '', el('b', `verdict-${verdict.toLowerCase()}`, verdict), why === '' ? '' : ` ${why}`))
  })
  return el('div', 'card', el('h3', '', 'Held by'),
    lines.length === 0 ? el('p', 'dim', 'no TLB and no paging cache') : el('table', '', ...lines))
}
