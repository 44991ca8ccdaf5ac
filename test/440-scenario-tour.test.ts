// The files that users meet: the tour, the reference and the JSON Schema. Running the tour is for
// the tests of the engine; here its files must be complete, correct and ask a question.

import { readdirSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { COUNTER_NAMES } from '../src/kernel/counters.js'
import { loadScenario, parseScenario } from '../src/scenario/parse.js'
import { scenarioJsonSchema } from '../src/scenario/schema.js'
import { schemaReference, undocumentedKinds } from '../src/scenario/schema-reference.js'
import { EVENT_VOCABULARY as events } from '../src/trace/vocabulary.js'

const TOUR = new URL('../scenarios/tour/', import.meta.url).pathname
const FILES = readdirSync(TOUR).filter((file) => file.endsWith('.yaml')).sort()
const noTrace = (): never => {
  throw new Error('the tour needs no traces')
}

describe('the tour', () => {
  test('is a course: numbered files that begin with the first walk', () => {
    expect(FILES[0]).toBe('01-first-walk.yaml')
    expect(FILES.every((file) => /^\d\d[a-z]?-[a-z0-9-]+\.yaml$/.test(file))).toBe(true)
  })

  test.each(FILES)('%s asks a question, says what to look for, and expects facts that exist', async (file) => {
    const scenario = await loadScenario(`${TOUR}${file}`, { events }, noTrace)
    expect(scenario.name).toBe(file.replace(/^\d\d[a-z]?-|\.yaml$/g, ''))
    expect(scenario.question).toMatch(/\?$/)
    expect(scenario.lookFor.length).toBeGreaterThan(1)
    expect(scenario.expectations.length).toBeGreaterThan(1)
  })

  test('the first walk is the address 0xb17010 of the kernel documents', async () => {
    const { image } = await loadScenario(`${TOUR}01-first-walk.yaml`, {}, noTrace)
    const where = { area: -1, address: { hi: 0, lo: 0xb17010 }, offset: 0, bytes: 8 }
    expect(image.programs[0]!.code.filter((one) => 'where' in one)).toMatchObject([
      { op: 'touch', access: 'read', where }, { op: 'touch', access: 'write', where },
      { op: 'store', where, value: { hi: 0x11223344, lo: 0x55667788 } }, { op: 'load', where },
    ])
  })
})

describe('the reference', () => {
  test('docs/scenario-reference.md is the text that the schema generates (update with vitest -u)', async () => {
    await expect(schemaReference()).toMatchFileSnapshot('../docs/scenario-reference.md')
  })

  test('has a section for every kind of map and a row for every counter', () => {
    expect(undocumentedKinds()).toEqual([])
    const text = schemaReference()
    expect(COUNTER_NAMES.filter((name) => !text.includes(`| \`${name}\` |`))).toEqual([])
    expect(text).not.toMatch(/undefined|\[object|__schema/)
  })

  test('describes every key', () => {
    expect(schemaReference().split('\n').filter((line) => /^\| `.*\| *\|$/.test(line))).toEqual([])
  })

  test('opens with an example that is a scenario', async () => {
    const example = /```yaml\n([\s\S]*?)```/.exec(schemaReference())![1]!
    const { image, expectations } = await parseScenario(example, 'example.yaml', { events }, noTrace)
    expect(image.processes[0]!.threads.map(({ comm }) => comm)).toEqual(['worker', 'main'])
    expect(expectations).toHaveLength(1)
  })
})

describe('the JSON Schema', () => {
  test('is draft 2020-12 and requires nothing but processes', () => {
    const schema = scenarioJsonSchema()
    const definitions = schema['$defs'] as Record<string, { required?: string[]; additionalProperties?: boolean }>
    expect(schema['$schema']).toBe('https://json-schema.org/draft/2020-12/schema')
    expect(definitions['scenario']).toMatchObject({ required: ['processes'], additionalProperties: false })
  })

  test('refers only to what it defines', () => {
    const text = JSON.stringify(scenarioJsonSchema())
    const definitions = Object.keys(scenarioJsonSchema()['$defs'] as object)
    const referred = [...text.matchAll(/"#\/\$defs\/([^"]+)"/g)].map((match) => match[1]!)
    const missing = referred.filter((id) => !definitions.includes(id))
    expect(missing).toEqual([])
  })
})
