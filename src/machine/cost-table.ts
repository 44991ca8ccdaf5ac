// The prices of every machine preset as Markdown: the second half of docs/cost-model.md, which a
// test holds against this text. What the prices mean is in costs.ts, where they come from in
// presets.ts.

import { markdownLines } from '../base/table.js'
import type { Column } from '../base/table.js'
import type { Costs } from './costs.js'
import { COST_SOURCES, MACHINE_PRESETS } from './presets.js'

const COLUMNS: readonly Column[] = [
  { title: 'price', align: 'left' },
  { title: 'value', align: 'right' },
  { title: 'unit', align: 'left' },
  { title: 'origin', align: 'left' },
  { title: 'note', align: 'left' },
]

/** One section per preset: price, unit, origin, note. */
export function costTables(): string {
  return Object.entries(MACHINE_PRESETS).map(([name, { costs }]) => presetTable(name, costs)).join('\n')
}

function presetTable(name: string, costs: Costs): string {
  const rows = (Object.keys(costs) as (keyof Costs)[]).map(price => {
    const { unit, origin, note } = COST_SOURCES[name][price]
    return [price, String(costs[price]), unit, origin, note]
  })
  return [`### ${name}`, '', ...markdownLines(COLUMNS, rows), ''].join('\n')
}
