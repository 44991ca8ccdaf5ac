// The package as npm would hand it out: packed, checked by publint and are-the-types-wrong, put into a
// project that has nothing else but its dependencies, and used there: command, library, types, schema.

import { execFileSync } from 'node:child_process'
import {
  mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { schemaFileText } from '../src/scenario/schema.js'
import { ROOT } from './support/cli.js'

const MANIFEST = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  bin: { shootdown: string }; dependencies: Record<string, string>; exports: Record<string, unknown>
}

let folder = ''
let tarball = ''
/** A user's project. */
let project = ''

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'shootdown-package-'))
  execFileSync('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder], { cwd: ROOT })
  tarball = join(folder, readdirSync(folder)[0]!)
  project = join(folder, 'project')
  const modules = join(project, 'node_modules')
  mkdirSync(modules, { recursive: true })
  execFileSync('tar', ['-xf', tarball, '-C', modules])
  execFileSync('mv', [join(modules, 'package'), join(modules, 'shootdown')])
  for (const name of [...Object.keys(MANIFEST.dependencies), '@types']) {
    mkdirSync(dirname(join(modules, name)), { recursive: true })
    symlinkSync(join(ROOT, 'node_modules', name), join(modules, name))
  }
  writeFileSync(join(project, 'package.json'), '{"type": "module"}')
}, 60_000)
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Runs node in the user's project. */
const node = (...args: string[]): string => execFileSync(process.execPath, args, { cwd: project, encoding: 'utf8' })

const INSTALLED = 'node_modules/shootdown'

describe('the package', () => {
  test('has nothing for publint to say', async () => {
    const bytes = readFileSync(tarball)
    const { messages, pkg } = await publint({ strict: true, pack: { tarball: Uint8Array.from(bytes).buffer } })
    expect(messages.map(message => formatMessage(message, pkg, { color: false }))).toEqual([])
  })

  test('has right types, says are-the-types-wrong', () => {
    const attw = join(ROOT, 'node_modules/.bin/attw')
    const text = execFileSync(attw, [tarball, '--profile', 'esm-only', '--format', 'json'], { encoding: 'utf8' })
    const { problems } = JSON.parse(text) as { problems?: Record<string, unknown[]> }
    // What a CommonJS program or a resolver of ten years ago would meet is not promised.
    const promised = Object.keys(problems ?? {}).filter(kind => !['NoResolution', 'CJSResolvesToESM'].includes(kind))
    expect(promised).toEqual([])
  }, 60_000)

  test('holds what its exports and its command name, and neither sources nor tests', () => {
    const files = execFileSync('tar', ['-tf', tarball], { encoding: 'utf8' }).split('\n')
    for (const target of Object.values(MANIFEST.exports).flatMap(one => typeof one === 'string' ? [one]
      : Object.values(one as Record<string, string>))) {
      expect(files).toContain(target.replace('./', 'package/'))
    }
    expect(files).toContain(MANIFEST.bin.shootdown.replace('./', 'package/'))
    expect(files.filter(file => /^package\/(src|test|workers|dist\/test|node_modules)\//.test(file))).toEqual([])
  })
})

describe('in a project of its own', () => {
  test('the command runs the scenarios that come with it, in threads', () => {
    expect(node(join(INSTALLED, MANIFEST.bin.shootdown), 'run', join(INSTALLED, 'scenarios/tour/02-shootdown.yaml')))
      .toMatch(/every task has ended, at cycle 304,259/)
      })

  test('the library runs a scenario', () => {
    writeFileSync(join(project, 'use.js'), `
      import { loadScenario, simulate } from 'shootdown'
      const run = simulate(await loadScenario('${INSTALLED}/scenarios/tour/02-shootdown.yaml'))
      let flushes = 0
      for await (const { name } of run) if (name === 'tlb_flush') flushes += 1
      const { counters, ok } = await run
      console.log(JSON.stringify({ flushes, ipis: counters.callFunctionIpis, ok }))`)
    expect(JSON.parse(node('use.js'))).toEqual({ flushes: 14, ipis: 5, ok: true })
  })

  test('its types hold without skipLibCheck, and narrow events by their names', () => {
    writeFileSync(join(project, 'use.ts'), `
      import { parseScenario, simulate, type Run, type Shootdown } from 'shootdown'
      const run: Run = simulate(await parseScenario({ processes: [{ name: 'app', program: ['yield'] }] }))
      for await (const event of run) {
        if (event.name === 'tlb_flush') { const pages: number = event.fields.pages; void pages }
        // @ts-expect-error a switch has no pages
        if (event.name === 'sched_switch') void event.fields.pages
      }
      const { shootdowns, memory } = await run
      const all: readonly Shootdown[] = shootdowns
      export const bytes: number = memory.byteLength + all.length
    `)
    writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ files: ['use.ts'], compilerOptions: {
      target: 'es2023', lib: ['es2023'], module: 'nodenext', strict: true, noEmit: true, types: ['node'],
    } }))
    expect(node(join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', '.')).toBe('')
  }, 60_000)

  test('the schema is a file of the package', () => {
    writeFileSync(join(project, 'schema.js'), `
      import { createRequire } from 'node:module'
      const schema = createRequire(import.meta.url)('shootdown/schema.json')
      console.log(JSON.stringify(schema))`)
    expect(JSON.parse(node('schema.js'))).toEqual(JSON.parse(schemaFileText()))
    expect(node(join(INSTALLED, MANIFEST.bin.shootdown), 'schema')).toBe(schemaFileText())
  })
})
