// docs/api.md: every program in it is run, and prints what the page says.

import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ROOT, temporaryFolder } from './support/cli.js'

const PAGE = readFileSync(join(ROOT, 'docs/api.md'), 'utf8')
const PROGRAMS = Array.from(PAGE.matchAll(/^## (.+)$|^```js\n([^]*?)^```\n\n^```text\n([^]*?)^```$/gm))
  .flatMap(([, title, code, output], at, all) => {
    const under = all.slice(0, at).findLast(([, heading]) => heading !== undefined)?.[1] ?? ''
    return title === undefined ? [{ under, code: code!, output: output! }] : []
  })

test('docs/api.md shows a program under every heading that is about running', () => {
  expect(PROGRAMS.map(({ under }) => under)).toEqual([
    'One run', 'Events, while the run goes on', 'Stopping a run', 'Scenarios made by a program', 'Traces and stories',
  ])
  // None is left out because its output is missing.
  expect(PAGE.match(/^```js$/gm)).toHaveLength(PROGRAMS.length)
})

for (const { under, code, output } of PROGRAMS) {
  test(`the program of "${under}" prints what the page says`, () => {
    const folder = temporaryFolder({ 'program.mjs': code })
    mkdirSync(join(folder, 'node_modules'))
    symlinkSync(ROOT, join(folder, 'node_modules/shootdown'))
    const printed = execFileSync(process.execPath, [join(folder, 'program.mjs')], { cwd: ROOT, encoding: 'utf8' })
    if (process.env['UPDATE_DOCS'] === '1') {
      const page = join(ROOT, 'docs/api.md')
      writeFileSync(page, readFileSync(page, 'utf8').replace(`${code}\`\`\`\n\n\`\`\`text\n${output}`,
        () => `${code}\`\`\`\n\n\`\`\`text\n${printed}`))
      return
    }
    expect(printed).toBe(output)
  })
}
