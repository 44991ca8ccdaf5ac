// `shootdown init` in somebody's repository, and that docs/ci.md shows what it writes.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { workflow } from '../src/cli/init-files.js'
import { ROOT, shootdown, temporaryFolder } from './support/cli.js'

const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }
const SCENARIO = 'scenarios/first-shootdown.yaml'
const GOLDEN = 'scenarios/first-shootdown.golden'
const WORKFLOW = '.github/workflows/shootdown.yml'

interface Workflow {
  jobs: { traces: { steps: { run?: string }[] } }
}

describe('shootdown init', () => {
  test('writes a scenario, its golden and a workflow, whose command then passes', async () => {
    const cwd = temporaryFolder()
    const first = await shootdown(['init'], { cwd })
    expect(first).toMatchObject({ code: 0, stderr: '' })
    for (const file of [SCENARIO, GOLDEN, WORKFLOW]) expect(first.stdout).toContain(`wrote     ${file}: `)
    const { jobs } = parse(readFileSync(join(cwd, WORKFLOW), 'utf8')) as Workflow
    const command = jobs.traces.steps.at(-1)!.run!
    expect(command.startsWith(`npx --yes shootdown@${version} test `)).toBe(true)
    const { code, stdout } = await shootdown(command.split(' ').slice(3), { cwd })
    expect({ code, stdout }).toEqual({ code: 0, stdout: '1 passed, 0 failed\n' })
  })

  test('leaves what is there as it is, and completes what is missing', async () => {
    const cwd = temporaryFolder({ 'package.json': '{"devDependencies": {"shootdown": "1"}}' })
    mkdirSync(join(cwd, 'scenarios'))
    const own = 'processes:\n  - {name: a, program: [{compute: 5}]}\n'
    writeFileSync(join(cwd, SCENARIO), own)
    expect((await shootdown(['init'], { cwd })).stdout).toContain(`is there  ${SCENARIO}, left as it is\n`)
    expect(readFileSync(join(cwd, SCENARIO), 'utf8')).toBe(own)
    expect(readFileSync(join(cwd, GOLDEN), 'utf8')).toContain('# scenario: first-shootdown\n')
    // The lock file of the repository says which version runs.
    expect(readFileSync(join(cwd, WORKFLOW), 'utf8')).toMatch(/- run: npm ci\n +- run: npx shootdown test scenarios/)
    const again = await shootdown(['init'], { cwd })
    expect(again.code).toBe(0)
    expect(again.stdout).toMatch(/\nnothing to do\n$/)
  })

  test.each([
    ['a folder that is not there', ['init', 'no/such'], 'there is no folder "no/such"'],
    ['a file', ['init', 'package.json'], '"package.json" is not a folder'],
  ])('%s is bad input', async (_name, args, message) => {
    const { code, stdout, stderr } = await shootdown(args)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toBe(`error: ${message}\n`)
  })

  test('a scenario that is there with a mistake is told at its place', async () => {
    const cwd = temporaryFolder()
    mkdirSync(join(cwd, 'scenarios'))
    writeFileSync(join(cwd, SCENARIO), 'processes: 5\n')
    const { code, stderr } = await shootdown(['init'], { cwd })
    expect(code).toBe(2)
    expect(stderr).toMatch(/^error: scenarios\/first-shootdown\.yaml:1:\d+: /)
  })
})

test('docs/ci.md shows the workflow as it is written, and only YAML that is YAML', () => {
  const blocks = [...readFileSync(join(ROOT, 'docs/ci.md'), 'utf8').matchAll(/```yaml\n([^]*?)```/g)].map(([, t]) => t!)
  expect(blocks[0]).toBe(workflow(version, false))
  for (const block of blocks) {
    expect(parse(block)).toBeTruthy()
    for (const [, pinned] of block.matchAll(/shootdown@(\d[\w.]*)/g)) expect(pinned).toBe(version)
  }
})
