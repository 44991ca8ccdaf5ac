// docs/inspect.md: every command on the page prints what the page shows.

import { describe, expect, test } from 'vitest'
import { expectSession, sessionsOf } from './support/doc-sessions.js'

const SESSIONS = sessionsOf('docs/inspect.md')

describe('docs/inspect.md', () => {
  test('shows events, addresses of other machines and of a run, tables, TLBs and tasks', () => {
    const shown = SESSIONS.map(({ command }) => command)
    for (const part of [/explain \S+:\d+$/, /--geometry/, /--scenario/, /--tables/, /--tlbs/, /--tasks/]) {
      expect(shown.some(command => part.test(command))).toBe(true)
    }
  })

  for (const session of SESSIONS) {
    test(`shows what "${session.command}" prints`, () => expectSession(session))
  }
})
