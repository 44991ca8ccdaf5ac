// The README shows real sessions: every command in a console block is run, and what it prints must
// hold the lines that are shown, in their order. A line of dots stands for any lines.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ROOT } from './support/cli.js'
import { expectSession, sessionsOf } from './support/doc-sessions.js'

const README = readFileSync(join(ROOT, 'README.md'), 'utf8')
const SESSIONS = sessionsOf('README.md')

describe('the README', () => {
  test('shows a run, an explanation, a replay and an exploration', () => {
    expect(SESSIONS.map(({ args }) => args[0])).toEqual(['run', 'explain', 'replay', 'explore'])
  })

  for (const session of SESSIONS) {
    test(`shows what "${session.command}" prints`, () => expectSession(session))
  }

  test('names every file that simplifies something', () => {
    const files = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts') && /Simplified[:,]/.test(readFileSync(join(ROOT, 'src', file), 'utf8')))
    expect(files.filter((file) => !README.includes(file))).toEqual([])
  })
})
