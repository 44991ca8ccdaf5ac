// docs/cost-model.md lists every price of every preset with its origin.

import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { costTables } from '../src/machine/cost-table.js'
import { COST_SOURCES, MACHINE_PRESETS } from '../src/machine/presets.js'

test('the tables of docs/cost-model.md are those of the presets', async () => {
  const file = new URL('../docs/cost-model.md', import.meta.url)
  const text = readFileSync(file, 'utf8')
  const prose = text.slice(0, text.indexOf('### '))
  await expect(`${prose}${costTables()}`).toMatchFileSnapshot('../docs/cost-model.md')
})

test('every price of every preset is a number with a unit and an origin', () => {
  for (const [name, { costs }] of Object.entries(MACHINE_PRESETS)) {
    for (const [price, value] of Object.entries(costs)) {
      expect(value, `${name}.${price}`).toBeGreaterThanOrEqual(0)
      const { unit, origin, note } = COST_SOURCES[name]![price as keyof typeof costs]
      expect(['GHz', 'cycles', 'lines']).toContain(unit)
      expect(['source', 'derived', 'assumed']).toContain(origin)
      expect(note).not.toBe('')
    }
  }
})
