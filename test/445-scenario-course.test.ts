// The course: every scenario of the tour holds what it claims with the invariants on, docs/course.md has a
// lesson for each with its question, and every command on the page prints what the page shows.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { loadScenario, simulate } from '../src/index.js'
import { ROOT } from './support/cli.js'
import { expectSession, sessionsOf } from './support/doc-sessions.js'

const TOUR = join(ROOT, 'scenarios/tour')
const FILES = readdirSync(TOUR).filter(file => file.endsWith('.yaml')).sort()
const PAGE = readFileSync(join(ROOT, 'docs/course.md'), 'utf8')

describe('the scenarios', () => {
  test('are numbered from 1 without a gap', () => {
    expect(FILES.map(file => Number(file.slice(0, 2)))).toEqual(FILES.map((_, at) => at + 1))
    expect(FILES.length).toBeGreaterThanOrEqual(12)
  })

  test.each(FILES)('%s holds what it claims, and no invariant is broken', async (file) => {
    const { ok, expectations, end } = await simulate(await loadScenario(join(TOUR, file)), { check: true })
    expect(expectations!.filter(one => !one.ok)).toEqual([])
    expect({ ok, end }).toEqual({ ok: true, end: 'finished' })
  })
})

describe('docs/course.md', () => {
  test('has a lesson for every scenario, with its question, an exercise, an answer and further reading', async () => {
    for (const [at, file] of FILES.entries()) {
      const { name, question } = await loadScenario(join(TOUR, file))
      const [, rest = ''] = PAGE.split(`\n## ${at + 1} ${name}\n`)
      const lesson = rest.split('\n## ')[0]!.replaceAll('\n', ' ')
      expect(lesson).toContain(`*${question}*`)
      expect(lesson).toMatch(/\*\*Exercise\.\*\*.*```console.*\*\*Answer\.\*\*.*\*\*Further\.\*\*/)
      expect(lesson).toContain(file)
    }
  })

  for (const session of sessionsOf('docs/course.md')) {
    // All engines give the same; threads for every CPU would only cost the host.
    const more = session.args[0] === 'run' ? ['--engine', 'inline'] : []
    test(`shows what "${session.command}" prints`, () => expectSession(session, more))
  }
})
