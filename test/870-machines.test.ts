// `shootdown machines`: the list, one machine, and the sensitivity of docs/cost-model.md.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { MACHINE_NOTES, MACHINE_PRESETS } from '../src/machine/presets.js'
import { HEADLINES, headlines, sensitivity, sensitivityMarkdown } from '../src/study/sensitivity.js'
import { ROOT, shootdown } from './support/cli.js'

const BEGIN = '<!-- shootdown machines --sensitivity --markdown -->\n'
const END = '<!-- end of the sensitivity -->'

describe('sensitivity', () => {
  test('a price that is charged in the number moves it the right way, and the document shows it (UPDATE_DOCS=1)',
    { timeout: 300_000 }, async () => {
      const [base, rows] = [await headlines(), await sensitivity()]
      const effect = (price: string, headline: string) => (
        rows.find(row => row.price === price)!.effects[HEADLINES.findIndex(({ name }) => name === headline)]!)
      // One INVLPG a page up to 33, none above: dearer ones make the notch deeper.
      expect(effect('invlpg', 'ceiling').higher).toBeLessThan(-5)
      expect(effect('ipiSend', 'shootdown').higher).toBeGreaterThan(3)
      expect(effect('ipiSend', 'ceiling')).toEqual({ lower: 0, higher: 0 })
      expect(effect('swapRead', 'munmap')).toEqual({ lower: 0, higher: 0 })
      const file = join(ROOT, 'docs/cost-model.md')
      const text = readFileSync(file, 'utf8')
      const [before, rest] = text.split(BEGIN)
      const wanted = `${before}${BEGIN}\n${sensitivityMarkdown(rows, base)}\n${END}${rest!.split(END)[1]}`
      if (process.env['UPDATE_DOCS'] === '1') writeFileSync(file, wanted)
      else expect(text).toBe(wanted)
    })
})

describe('the list of machines', () => {
  test('says what each machine is', async () => {
    expect(Object.keys(MACHINE_NOTES)).toEqual(Object.keys(MACHINE_PRESETS))
    const { code, stdout } = await shootdown(['machines'])
    expect(code).toBe(0)
    for (const name of Object.keys(MACHINE_PRESETS)) expect(stdout).toMatch(new RegExp(`^${name} `, 'm'))
  })

  test('one machine: every price with unit, origin and note, its TLBs and its topology', async () => {
    const { stdout } = await shootdown(['machines', 'skl-guest'])
    expect(stdout).toMatch(/^walkStep +20 {2}cycles {2}derived {2}LUTO: /m)
    expect(stdout).toMatch(/^STLB +1536\/12 base and large, 16\/4 giant$/m)
    expect(stdout).toMatch(/^interrupts +x2apic-physical, commands exit$/m)
    const json = await shootdown(['machines', 'skl-guest', '--json'])
    const { machines } = JSON.parse(json.stdout) as { machines: { name: string; prices: Record<string, unknown> }[] }
    expect(machines.length).toBe(1)
    expect(Object.keys(machines[0]!.prices)).toEqual(Object.keys(MACHINE_PRESETS['skl-guest']!.costs))
    expect(machines[0]!.prices['walkStep']).toMatchObject({ value: 20, unit: 'cycles', origin: 'derived' })
  })

  test('a name that is nearly right gets a suggestion', async () => {
    const { code, stderr } = await shootdown(['machines', 'miln'])
    expect(code).toBe(2)
    expect(stderr).toContain('there is no machine "miln"')
    expect(stderr).toContain('milan')
  })
})
