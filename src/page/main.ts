// The page of a report: reads what it carries, builds its parts and connects them.

import { showHistogram, showStolen } from './charts.js'
import { byId, el } from './dom.js'
import { Explorer } from './explorer.js'
import { showExpectations, showTasks } from './facts.js'
import { buildModel } from './model.js'
import type { Model } from './model.js'
import { showHead, showLegend } from './head.js'
import { connectKeys } from './keys.js'
import { Overview } from './overview.js'
import { readRun } from './run-data.js'
import { Search } from './search.js'
import { Story } from './story.js'
import { setTheme } from './theme.js'
import { Timeline } from './timeline.js'
import { TraceList } from './trace-list.js'
import { Views } from './view.js'
import { hashOf, viewOf } from './view-hash.js'

async function open(): Promise<void> {
  setTheme(matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light')
  const block = await unpack(byId('data').textContent ?? '')
  performance.mark('unpacked')
  const run = readRun(block)
  performance.mark('read')
  const model = buildModel(run)
  performance.mark('understood')
  const { meta, trace } = model
  const views = new Views({
    from: 0, to: meta.endCycle, ...firstCursor(model), event: -1, cpu: -1, mm: 0, page: '',
    ...viewOf(location.hash, meta.endCycle, meta.cpus, trace.length),
  }, meta.endCycle)
  // Few CPUs need less room.
  document.documentElement.style.setProperty('--main-height', `${Math.max(360, 130 * meta.cpus + 150)}px`)
  const timeline = new Timeline(byId('timeline'), model, views)
  new Overview(model, views)
  const list = new TraceList(model, views)
  new Story(model, views)
  new Explorer(model, views)
  connectKeys(model, views, new Search(model, views, list, timeline))
  showHead(model)
  showLegend(model)
  showHistogram(model, views)
  showStolen(model)
  showTasks(model, views)
  showExpectations(model)
  views.add((view) => history.replaceState(null, '', `#${hashOf(view, meta.endCycle)}`))
  views.redraw()
  document.documentElement.dataset['ready'] = 'yes'
}

/** The first shootdown that others answered; in a run without one the middle. */
function firstCursor({ requests: { all }, meta }: Model): { cursor: number; request: number } {
  const request = all.findIndex(({ responders }) => responders.length > 0)
  return { request, cursor: request < 0 ? Math.floor(meta.endCycle / 2) : all[request].startCycle }
}

/** Base64 and gzip undone. */
async function unpack(text: string): Promise<Uint8Array> {
  const letters = atob(text.trim())
  const bytes = new Uint8Array(letters.length)
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i)
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))
  return new Uint8Array(await new Response(stream).arrayBuffer())
}

open().catch((error: unknown) => {
  const text = error instanceof Error ? error.message : String(error)
  document.body.prepend(el('p', 'failure', `This report cannot be shown: ${text}`))
})
