// The bug catalogue: every bug has a scenario, with its switch one of the invariants fires that the
// catalogue names, and without it the same scenario breaks none.

import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { InvariantViolation } from '../src/base/assert.js'
import { simulate } from '../src/engine/simulate.js'
import { BUG_NAMES, BUGS } from '../src/kernel/bugs.js'
import type { Bug, BugName } from '../src/kernel/bugs.js'
import { loadScenario } from '../src/scenario/parse.js'
import type { Scenario } from '../src/scenario/scenario.js'

const FOLDER = new URL('../scenarios/bugs/', import.meta.url)
const FILES = readdirSync(FOLDER).filter(file => file.endsWith('.yaml'))

function load(file: string): Promise<Scenario> {
  return loadScenario(new URL(file, FOLDER).pathname, {}, () => expect.unreachable('no bug needs a trace'))
}

/** The invariant that fires; undefined when the run ends well. */
async function violationOf(
  { config, image }: Scenario, bugs: readonly BugName[],
): Promise<InvariantViolation | undefined> {
  const kernel = { ...config.kernel, bugs }
  try {
    await simulate({ ...config, kernel }, image, { engine: 'inline', check: true, trace: false })
    return undefined
  } catch (error) {
    if (error instanceof InvariantViolation) return error
    throw error
  }
}

test('every bug has a scenario and every scenario is of a bug', () => {
  expect(FILES.map(file => file.replace('.yaml', '')).toSorted()).toEqual([...BUG_NAMES].toSorted())
})

/** The table of docs/bugs.md. */
function bugTable(): string {
  const rows = BUG_NAMES.map((name) => {
    const { number, title, fix, fixedIn, eras, invariants }: Bug = BUGS[name]
    return `| H${number} | [${name}](../scenarios/bugs/${name}.yaml) | ${title} | ` +
      `${fix.replaceAll('|', '\\|')} (${fixedIn}) | ${eras.join(', ')} | ${invariants.join(', ')} |`
  })
  return ['| | switch and scenario | what goes wrong | the fix | kernels | invariant |', '|---|---|---|---|---|---|',
    ...rows, ''].join('\n')
}

test('docs/bugs.md lists them all', () => {
  const file = new URL('../docs/bugs.md', import.meta.url)
  const text = readFileSync(file, 'utf8')
  const head = text.slice(0, text.includes('| | switch') ? text.indexOf('| | switch') : undefined)
  // UPDATE_DOCS=1 writes the table instead.
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(file, head + bugTable())
  else expect(text).toBe(head + bugTable())
})

describe('with its switch an invariant fires, without it none does', () => {
  for (const file of FILES) {
    test(file, async () => {
      const scenario = await load(file)
      const name = file.replace('.yaml', '') as BugName
      const bug: Bug = BUGS[name]
      expect(scenario.config.kernel.bugs).toEqual([name])
      const fired = await violationOf(scenario, [name])
      expect(bug.invariants).toContain(fired?.invariant)
      expect(fired?.message).toMatch(/^I\d+: cpu\d+ cycle \d+ task \S+ .*\n {2}should be: .*\n {2}what led there:\n/)
      expect(await violationOf(scenario, [])).toBeUndefined()
    })
  }
})
