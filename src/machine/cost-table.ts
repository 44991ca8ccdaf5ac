// The prices of every machine preset as Markdown: the second half of docs/cost-model.md, which a
// test holds against this text. What the prices mean is in costs.ts, where they come from in
// presets.ts.

import type { Costs } from './costs.js'
import { COST_SOURCES, MACHINE_PRESETS } from './presets.js'

/** One section per preset: price, unit, origin, note. */
export function costTables(): string {
  return Object.entries(MACHINE_PRESETS).map(([name, { costs }]) => presetTable(name, costs)).join('\n')
}

function presetTable(name: string, costs: Costs): string {
  const rows = (Object.keys(costs) as (keyof Costs)[]).map(price => {
    const { unit, origin, note } = COST_SOURCES[name][price]
    return `| ${price} | ${costs[price]} | ${unit} | ${origin} | ${note} |`
  })
  const head = ['| price | value | unit | origin | note |', '|---|---:|---|---|---|']
  return [`### ${name}`, '', ...head, ...rows, ''].join('\n')
}
