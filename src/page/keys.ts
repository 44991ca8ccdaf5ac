// What the keyboard does, and the help that lists it: both from one table.

import { byId, el } from './dom.js'
import type { Model } from './model.js'
import { chooseEvent, currentEvent } from './trace-list.js'
import type { Search } from './search.js'
import { setTheme, theme } from './theme.js'
import type { Views } from './view.js'

interface KeyRow {
  /** As KeyboardEvent.key gives them; the first ones are shown. */
  keys: readonly string[]
  shown: string
  doc: string
  act: () => void
}

/** Connects keys and buttons. */
export function connectKeys(model: Model, views: Views, search: Search): void {
  const rows = keyRows(model, views, search)
  const byKey = new Map(rows.flatMap((row) => row.keys.map((key) => [key, row] as const)))
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return
    const row = byKey.get(event.key)
    if (row === undefined || byId<HTMLDialogElement>('help').open) return
    event.preventDefault()
    row.act()
  })
  buildHelp(rows)
  const press = (id: string, act: () => void): void => byId(id).addEventListener('click', act)
  press('zoom-in', () => views.zoom(0.5, middleOf(views)))
  press('zoom-out', () => views.zoom(2, middleOf(views)))
  press('zoom-all', () => views.show(0, views.endCycle))
  press('help-open', openHelp)
  press('theme', () => changeTheme(views))
  press('share', () => { void share() })
  nameThemeButton()
  printInLight(views)
}

/** Paper is white. */
function printInLight(views: Views): void {
  let before = theme().name
  const draw = (name: typeof before): void => {
    setTheme(name)
    views.redraw()
    views.flush()
  }
  addEventListener('beforeprint', () => {
    before = theme().name
    draw('light')
  })
  addEventListener('afterprint', () => draw(before))
}

function keyRows(model: Model, views: Views, search: Search): KeyRow[] {
  const event = (step: number) => (): void =>
    chooseEvent(model, views, Math.max(0, Math.min(model.trace.length - 1, currentEvent(model, views.now) + step)))
  const row = (keys: readonly string[], shown: string, doc: string, act: () => void): KeyRow =>
    ({ keys, shown, doc, act })
  return [
    row(['+', '='], '+', 'more detail, around the cursor', () => views.zoom(0.5, middleOf(views))),
    row(['-', '_'], '-', 'less detail', () => views.zoom(2, middleOf(views))),
    row(['0', 'f'], '0', 'the whole run', () => views.show(0, views.endCycle)),
    row(['ArrowLeft', 'a'], '←', 'earlier', () => views.pan(-0.2)),
    row(['ArrowRight', 'd'], '→', 'later', () => views.pan(0.2)),
    row(['Home'], 'Home', 'to the first event', () => chooseEvent(model, views, 0)),
    row(['End'], 'End', 'to the last event', () => chooseEvent(model, views, model.trace.length - 1)),
    row(['ArrowDown', 'j'], '↓', 'next event', event(1)),
    row(['ArrowUp', 'k'], '↑', 'previous event', event(-1)),
    row([']'], ']', 'next shootdown that concerns other CPUs', () => stepRequest(model, views, 1)),
    row(['['], '[', 'the one before', () => stepRequest(model, views, -1)),
    row(['z'], 'z', 'zoom to the shootdown at the cursor', () => showRequest(model, views)),
    row(['/'], '/', 'search the trace', () => search.focus()),
    row(['n'], 'n', 'next match', () => search.step(1)),
    row(['N'], 'N', 'previous match', () => search.step(-1)),
    row(['Escape'], 'Esc', 'forget what is chosen, and the search', () => {
      search.clear()
      views.set({ event: -1, cpu: -1, request: -1 })
    }),
    row(['t'], 't', 'light or dark', () => changeTheme(views)),
    row(['l'], 'l', 'copy a link to this view', () => { void share() }),
    row(['?'], '?', 'this help', openHelp),
  ]
}

/** The cursor while it is in sight, else the middle. */
function middleOf({ now: { from, to, cursor } }: Views): number {
  return cursor > from && cursor < to ? cursor : (from + to) / 2
}

/** The next flush request that others answer, by its begin. */
function stepRequest({ requests, trace, eventsOf }: Model, views: Views, direction: 1 | -1): void {
  const { all } = requests
  const { cursor, request } = views.now
  const concerned = all.flatMap(({ responders }, number) => (responders.length > 0 ? [number] : []))
  const here = request >= 0 ? all[request].startCycle : cursor
  const candidates = concerned.filter((number) => number !== request
    && (direction === 1 ? all[number].startCycle >= here : all[number].startCycle <= here)
    && (all[number].startCycle !== here || (direction === 1 ? number > request : number < request)))
  const next = direction === 1 ? candidates[0] : candidates[candidates.length - 1]
  if (next === undefined) return
  const { startCycle, initiatorCpu } = all[next]
  const event = eventsOf[initiatorCpu].find((each) => trace.cycle[each] === startCycle) ?? -1
  views.set({ cursor: startCycle, cpu: initiatorCpu, request: next, event })
  showRequest({ requests }, views)
}

/** The chosen request with a little around it. */
export function showRequest({ requests }: Pick<Model, 'requests'>, views: Views): void {
  const one = requests.all[views.now.request]
  if (one === undefined) return
  const end = one.endCycle ?? views.endCycle
  const margin = Math.max(50, (end - one.startCycle) * 0.2)
  views.show(one.startCycle - margin, end + margin)
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLInputElement && target.type !== 'checkbox'
}

function openHelp(): void {
  byId<HTMLDialogElement>('help').showModal()
}

function buildHelp(rows: readonly KeyRow[]): void {
  const table = (entries: readonly (readonly [string, string])[]): HTMLElement => el('table', '',
    ...entries.map(([key, doc]) => el('tr', '', el('td', '', el('kbd', '', key)), el('td', '', doc))))
  const close = el('button', '', 'Close')
  const dialog = byId<HTMLDialogElement>('help')
  close.addEventListener('click', () => dialog.close())
  dialog.append(
    el('h2', '', 'Keys'), table(rows.map(({ shown, doc }) => [shown, doc])),
    el('h2', '', 'Mouse'), table([
      ['wheel', 'zoom around the pointer'], ['shift wheel', 'earlier, later'], ['drag', 'earlier, later'],
      ['shift drag', 'zoom to what was drawn over'], ['click', 'put the cursor there, choose the nearest event'],
      ['double click', 'more detail'],
    ]),
    el('p', 'dim', 'Bars: what each CPU does; the strip below a bar is the address space that it has loaded, pale '
      + 'while it is borrowed. Where several stretches share a pixel, each kind is as high as its share of the time.'),
    close)
}

function changeTheme(views: Views): void {
  setTheme(theme().name === 'dark' ? 'light' : 'dark')
  nameThemeButton()
  views.redraw()
}

function nameThemeButton(): void {
  byId('theme').textContent = theme().name === 'dark' ? 'Light' : 'Dark'
}

/** A page from a disk may not use the clipboard: then the address bar has to do. */
async function share(): Promise<void> {
  const button = byId('share')
  try {
    await navigator.clipboard.writeText(location.href)
    button.textContent = 'Copied'
  } catch {
    button.textContent = 'See the address bar'
  }
  setTimeout(() => { button.textContent = 'Copy link' }, 1500)
}
