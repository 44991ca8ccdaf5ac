// The README shows real sessions: every command in a console block is run, and what it prints must
// hold the lines that are shown, in their order. A line of dots stands for any lines.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ROOT, shootdown } from './support/cli.js'

const PREFIX = 'npm run -s shootdown -- '
const README = readFileSync(join(ROOT, 'README.md'), 'utf8')
const SESSIONS = Array.from(README.matchAll(/^```console\n\$ (.+)\n([^]*?)^```$/gm), ([, command, output]) => ({
  command: command!, output: output!,
}))

describe('the README', () => {
  test('shows a run, an explanation, a replay and an exploration', () => {
    const names = SESSIONS.map(({ command }) => command.slice(PREFIX.length).split(' ')[0])
    expect(names).toEqual(['run', 'explain', 'replay', 'explore'])
  })

  for (const { command, output } of SESSIONS) {
    test(`shows what "${command}" prints`, async () => {
      expect(command.startsWith(PREFIX)).toBe(true)
      const { code, stdout } = await shootdown(command.slice(PREFIX.length).split(' '))
      expect(code).toBe(0)
      let rest = stdout
      for (const [index, piece] of output.split(/^\.\.\.\n/m).entries()) {
        const at = rest.indexOf(piece)
        expect(at < 0 || (index === 0 && at > 0) ? `not in the output: ${piece}` : '').toBe('')
        rest = rest.slice(at + piece.length)
      }
    })
  }

  test('names every file that simplifies something', () => {
    const files = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts') && /Simplified[:,]/.test(readFileSync(join(ROOT, 'src', file), 'utf8')))
    expect(files.filter((file) => !README.includes(file))).toEqual([])
  })
})
