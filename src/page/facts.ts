// Tasks and address spaces of the run, and what its author wants it to show.

import { byId, el, grouped } from './dom.js'
import { KIND_COUNT, sharesOf } from './lanes.js'
import type { Model } from './model.js'
import { mmColour } from './theme.js'
import type { Views } from './view.js'

const ROWS_MAX = 40

/** Tasks with how they ended, address spaces with their colour; a click shows an mm in the explorer. */
export function showTasks(model: Model, views: Views): void {
  const { tasks, mms } = model.meta
  const time = userCycles(model)
  const taskRows = tasks.slice(0, ROWS_MAX).map(({ pid, comm, outcome }) => el('tr', '',
    el('td', 'number', String(pid)), el('td', '', comm), el('td', '', outcome),
    el('td', 'number', grouped(time.get(pid) ?? 0))))
  const mmRows = mms.slice(0, ROWS_MAX).map(({ ctxId, name, root }) => {
    const strip = el('i', 'swatch strip')
    strip.style.background = mmColour(ctxId)
    const look = el('button', 'link', `mm ${ctxId}`)
    look.addEventListener('click', () => {
      views.set({ mm: ctxId, page: '' })
      byId('tables-panel').scrollIntoView({ behavior: 'smooth' })
    })
    return el('tr', '', el('td', '', strip), el('td', '', look), el('td', '', name),
      el('td', 'mono', `root 0x${root.toString(16)}`))
  })
  byId('tasks').append(
    el('table', '', el('tr', '', el('th', 'number', 'pid'), el('th', '', 'task'), el('th', '', 'outcome'),
      el('th', 'number', 'user cycles')), ...taskRows),
    ...more(tasks.length), el('h3', '', 'Address spaces'), el('table', '', ...mmRows), ...more(mms.length))
}

function more(count: number): HTMLElement[] {
  return count > ROWS_MAX ? [el('p', 'dim', `and ${grouped(count - ROWS_MAX)} more`)] : []
}

/** Cycles in user mode by pid. */
function userCycles({ lanes, meta }: Model): Map<number, number> {
  const time = new Map<number, number>()
  for (const { length, start, kind, pid } of lanes) {
    for (let i = 0; i < length; i++) {
      if (kind[i] !== 0) continue
      const end = i + 1 < length ? start[i + 1] : meta.endCycle
      time.set(pid[i], (time.get(pid[i]) ?? 0) + end - start[i])
    }
  }
  return time
}

export function showExpectations({ meta }: Model): void {
  const box = byId('expect')
  if (meta.lookFor.length > 0) box.append(el('ul', '', ...meta.lookFor.map((text) => el('li', '', text))))
  if (meta.expectations.length > 0) {
    box.append(el('h3', '', 'What the scenario expects'), el('ul', 'checks', ...meta.expectations.map(({ ok, text }) =>
      el('li', ok ? 'ok' : 'bad', `${ok ? '✓' : '✗'} ${text}`))))
  }
  if (meta.command !== '') {
    box.append(el('h3', '', 'This run again'), el('code', '', meta.command))
  }
}

/** How all CPUs spent the run, in percent, for the legend. */
export function kindShares({ lanes, meta }: Model): number[] {
  const shares = new Float64Array(KIND_COUNT)
  const sums = new Array<number>(KIND_COUNT).fill(0)
  for (const lane of lanes) {
    sharesOf(lane, 0, meta.endCycle, shares)
    shares.forEach((cycles, kind) => { sums[kind] += cycles })
  }
  return sums.map((cycles) => cycles / (meta.endCycle * lanes.length))
}
