// The page-table explorer: the pages of an address space at the cursor, and for the page that was
// clicked how its address splits, the walk with the entries as they were then, which TLBs held it, and how
// its entry came to be.
//
//   tables  exact at every cycle: every write of an entry was recorded
//   TLBs    as of the last look at or before the cursor, which the page names; in short runs there was a
//           look after every event

import { describeSwapEntry, isSwapPte } from '../kernel/reclaim/swap-entry.js'
import { describeEntry } from '../machine/entry.js'
import { addressOf, pageFromText, pageText, vpnOf } from './addresses.js'
import { byId, el, grouped } from './dom.js'
import { heldTable } from './held-table.js'
import { stretchAt } from './lanes.js'
import type { Model } from './model.js'
import { gridKey, pageGrid } from './page-grid.js'
import { HeldHistory, TableHistory } from './table-history.js'
import { currentEvent } from './trace-list.js'
import type { View, Views } from './view.js'
import { splitDrawing, walkDrawing } from './walk-drawing.js'
import { EVENTS } from '../trace/events.js'

const PAGES_MAX = 1024
/** Writes of an entry that are listed, the latest up to the cursor and after it. */
const WRITES_SHOWN = 8
/** The explorer follows a moving cursor only once it rests, milliseconds. */
const REST_MS = 70

export class Explorer {
  readonly #model: Model
  readonly #views: Views
  readonly #tables: TableHistory
  readonly #held: HeldHistory
  readonly #choice = el('select', '')
  readonly #address = el('input', 'address')
  readonly #note = el('span', 'dim')
  readonly #grid = el('div', 'grid')
  readonly #page = el('div', 'page')
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(model: Model, views: Views) {
    this.#model = model
    this.#views = views
    this.#tables = new TableHistory(model.run)
    this.#held = new HeldHistory(model.run)
    this.#choice.setAttribute('aria-label', 'Address space')
    this.#choice.append(...model.meta.mms.map(({ ctxId, name }) => {
      const option = el('option', '', `mm ${ctxId}  ${name}`)
      option.value = String(ctxId)
      return option
    }))
    this.#choice.addEventListener('change', () => views.set({ mm: Number(this.#choice.value), page: '' }))
    this.#address.type = 'text'
    this.#address.placeholder = 'address: 0x...'
    this.#address.setAttribute('aria-label', 'Address')
    this.#address.spellcheck = false
    this.#address.addEventListener('change', () => this.#goTo(this.#address.value))
    byId('tables').append(el('div', 'bar', this.#choice, this.#address, this.#note), this.#grid, gridKey(), this.#page)
    views.add((_, changed) => {
      if (['cursor', 'event', 'mm', 'page', 'cpu'].some((key) => changed.has(key as keyof View))) this.#later()
    })
  }

  #later(): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#draw(this.#views.now), REST_MS)
  }

  #goTo(text: string): void {
    const vpn = pageFromText(this.#tables.geometry, text)
    if (vpn !== undefined) this.#views.set({ page: pageText(this.#tables.geometry, vpn) })
    this.#address.classList.toggle('wrong', vpn === undefined)
  }

  #draw(view: Readonly<View>): void {
    const { geometry } = this.#tables
    const mm = this.#mmOf(view)
    const space = this.#model.meta.mms.find(({ ctxId }) => ctxId === mm)
    if (space === undefined) {
      this.#note.textContent = 'no address space at the cursor'
      return
    }
    this.#choice.value = String(mm)
    const leaves = this.#tables.leaves(space.root, view.cursor, PAGES_MAX)
    const rows = this.#held.rowsAt(view.cursor, mm)
    const chosen = this.#pageOf(view, leaves.map(({ vpn }) => vpn))
    this.#note.textContent = this.#describe(view, leaves.length, mm)
    this.#grid.replaceChildren(...pageGrid(geometry, this.#model.run, leaves, rows, chosen, (vpn) => {
      this.#views.set({ mm, page: pageText(geometry, vpn) })
    }))
    this.#address.value = chosen === undefined ? '' : pageText(geometry, chosen)
    this.#page.replaceChildren(...(chosen === undefined ? [] : this.#drawPage(view, space.root, chosen, rows)))
  }

  #describe(view: Readonly<View>, pages: number, mm: number): string {
    const { meta } = this.#model
    const look = this.#held.lookBefore(view.cursor)
    const count = pages >= PAGES_MAX ? `the first ${grouped(PAGES_MAX)} entries`
      : pages === 1 ? '1 entry' : `${grouped(pages)} entries`
    const late = meta.writesEnd !== undefined && view.cursor >= meta.writesEnd
      ? `; tables are known only up to cycle ${grouped(meta.writesEnd)}` : ''
    const tlbs = look < 0 ? 'no look at the TLBs yet' : look === view.cursor
      ? 'TLBs at the cursor' : `TLBs as of cycle ${grouped(look)}, the last look before the cursor`
    return `mm ${mm}: ${count} at cycle ${grouped(view.cursor)}; ${tlbs}${late}`
  }

  /** The chosen address space, else that of the chosen CPU, else the first one with a program. */
  #mmOf(view: Readonly<View>): number {
    if (view.mm > 0) return view.mm
    const { lanes, meta, trace } = this.#model
    const cpu = view.cpu >= 0 ? view.cpu : trace.cpu[currentEvent(this.#model, view)] ?? 0
    const lane = lanes[cpu]
    const loaded = lane?.mm[stretchAt(lane, view.cursor)] ?? 1
    return loaded > 1 ? loaded : meta.mms.find(({ ctxId }) => ctxId > 1)?.ctxId ?? 1
  }

  /** The chosen page, else the one that the event or the flush at the cursor is about, else the first of all. */
  #pageOf(view: Readonly<View>, leaves: readonly number[]): number | undefined {
    const { geometry } = this.#tables
    if (view.page !== '') return pageFromText(geometry, view.page)
    const request = this.#model.requests.all[view.request]
    const flushed = request === undefined || request.pages < 0 ? undefined : vpnOf(geometry, request.start)
    return this.#pageOfEvent(currentEvent(this.#model, view)) ?? flushed ?? leaves[0]
  }

  #pageOfEvent(event: number): number | undefined {
    const { trace } = this.#model
    if (trace.length === 0) return undefined
    let word = 0
    for (const { name, type } of EVENTS[trace.kind[event]].fields) {
      if (type === 'address' && (name === 'address' || name === 'start')) {
        const [hi, lo] = [trace.words[word][event], trace.words[word + 1][event]]
        return hi === 0 && lo === 0 ? undefined : vpnOf(this.#tables.geometry, { hi, lo })
      }
      word += type === 'address' ? 2 : 1
    }
    return undefined
  }

  #drawPage(view: Readonly<View>, root: number, vpn: number, rows: readonly number[]): HTMLElement[] {
    const { geometry } = this.#tables
    const { hi, lo } = addressOf(geometry, vpn)
    const walk = this.#tables.walk(root, hi, lo, view.cursor)
    const last = walk.steps[walk.steps.length - 1]
    return [
      splitDrawing(geometry, hi, lo),
      walkDrawing(geometry, this.#model.run, root, walk),
      el('div', 'story', heldTable(geometry, this.#model.run, vpn, rows),
        this.#history(view, last.table, last.slot, last.level)),
    ]
  }

  /** Who wrote the last entry of the walk, and when. */
  #history(view: Readonly<View>, table: number, slot: number, level: number): HTMLElement {
    const { writes } = this.#model.run
    const { geometry } = this.#tables
    const all = this.#tables.writesOf(table, slot)
    const past = all.filter((write) => writes.cycle[write] <= view.cursor)
    const from = Math.max(0, past.length - WRITES_SHOWN + 2)
    const rows = all.slice(from, from + WRITES_SHOWN).map((write) => {
      const cycle = writes.cycle[write]
      const go = el('button', 'link', grouped(cycle))
      go.addEventListener('click', () => {
        this.#views.set({ cursor: cycle, event: -1, page: this.#address.value })
        this.#views.reveal(cycle)
      })
      const [lo, hi] = [writes.lo[write], writes.hi[write]]
      const text = writes.slot[write] < 0 ? 'the table is zeroed' : lo === 0 && hi === 0 ? 'cleared'
        : isSwapPte(lo, hi) ? describeSwapEntry(lo, hi) : describeEntry(lo, hi, level, geometry.pageShift)
      const row = el('tr', cycle > view.cursor ? 'later' : write === past[past.length - 1] ? 'now' : '',
        el('td', 'number', go), el('td', '', `cpu${writes.cpu[write]}`), el('td', 'mono', text))
      return row
    })
    const { name } = geometry.levels[level]
    return el('div', 'card', el('h3', '', `Writes of this ${name} entry`),
      rows.length === 0 ? el('p', 'dim', 'none') : el('table', '', el('tr', '', el('th', 'number', 'cycle'),
        el('th', '', 'by'), el('th', '', 'to')), ...rows),
      ...(all.length > rows.length ? [el('p', 'dim', `${grouped(all.length)} in all`)] : []))
  }
}
