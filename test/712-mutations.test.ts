// The mutation check itself takes minutes (npm run mutation-check). Here: that its mutations still fit the sources,
// and that docs/mutations.md is about them and says that each was noticed.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { MUTATIONS } from './mutations/mutations.js'
import { ROOT } from './support/cli.js'

describe('the mutations', () => {
  test.each(MUTATIONS.map(each => [each.name, each] as const))('%s: its place is there once', (_name, mutation) => {
    const { file, find, replace } = mutation
    expect(readFileSync(join(ROOT, 'src', file), 'utf8').split(find)).toHaveLength(2)
    expect(replace).not.toBe(find)
  })

  test('have names of their own', () => {
    expect(new Set(MUTATIONS.map(({ name }) => name)).size).toBe(MUTATIONS.length)
  })

  test('are all in docs/mutations.md, all noticed', () => {
    const text = readFileSync(join(ROOT, 'docs/mutations.md'), 'utf8')
    const listed = [...text.matchAll(/^\| ([a-z0-9-]+) \| (kernel\S+) \|/gm)].map(([, name, file]) => [name, file])
    expect(listed).toEqual(MUTATIONS.map(({ name, file }) => [name, file]))
    expect(text).toContain(`**${MUTATIONS.length} of ${MUTATIONS.length} were noticed.**`)
  })
})
