// The rules of the project as tests: who may import whom, what a file looks like, what is banned
// where every memory access passes, and what must not stand in any file. They read the working
// tree, so they hold before a commit too.
//
// What a linter can say is left to it (.oxlintrc.json).

import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '..')
const FILES = listFiles(ROOT)
const SOURCES = FILES.filter((file) => /^(src|workers)\/.*\.ts$/.test(file))
const SCRIPTS = FILES.filter((file) => /^(src|workers|test)\/.*\.ts$/.test(file))

const FILE_LINES_MAX = 450
const LINE_CHARACTERS_MAX = 120

/** What each layer may import: a layer, or one file of it. */
const LAYERS: Readonly<Record<string, readonly string[]>> = {
  base: [],
  machine: ['base'],
  trace: ['base'],
  kernel: ['machine', 'trace', 'base'],
  inspect: ['kernel', 'machine', 'trace', 'base'],
  scenario: [
    'kernel/abi', 'kernel/bugs',
    'kernel/config', 'kernel/counters', 'kernel/mm/layout', 'kernel/policies', 'machine/config',
    'machine/costs', 'machine/geometry', 'machine/presets', 'machine/smt', 'base',
  ],
  engine: ['inspect', 'scenario', 'kernel', 'machine', 'trace', 'base'],
  study: [
    'engine', 'scenario', 'trace', 'base', 'kernel/abi', 'kernel/bugs', 'kernel/config', 'kernel/counters',
    'kernel/perturbation', 'kernel/policies', 'machine',
  ],
  page: ['trace', 'base', 'machine/entry', 'machine/geometry', 'machine/config', 'kernel/reclaim/swap-entry'],
  report: ['page/format', 'page/packed', 'engine', 'scenario', 'inspect', 'kernel', 'machine', 'trace', 'base'],
  cli: ['report', 'study', 'engine', 'scenario', 'inspect', 'kernel', 'machine', 'trace', 'base', 'index'],
  api: ['study', 'engine', 'scenario', 'trace', 'kernel', 'base'],
  index: ['api', 'study', 'engine', 'scenario', 'inspect', 'kernel', 'machine', 'trace', 'base'],
  workers: ['engine', 'study', 'base'],
}
/** Layers that another may know by type only. */
const TYPES_ONLY: Readonly<Record<string, readonly string[]>> = { engine: ['scenario'] }

/** Run once per simulated memory access. */
const HOT_FILES = [
  ...['mmu', 'tlb', 'walker', 'paging-cache', 'phys-mem', 'entry'].map((name) => `src/machine/${name}.ts`),
  'src/engine/core.ts',
]

interface Import {
  from: string
  to: string
  typeOnly: boolean
}

describe('layers', () => {
  const imports = SOURCES.flatMap(importsOf)

  test('every source file belongs to a known layer', () => {
    expect(SOURCES.filter((file) => LAYERS[layerOf(file)] === undefined)).toEqual([])
  })

  test('no file imports from a layer above its own', () => {
    const wrong = imports.filter(({ from, to, typeOnly }) => {
      const own = layerOf(from)
      const other = layerOf(to)
      if (own === other) return false
      if (!typeOnly && TYPES_ONLY[own]?.includes(other)) return true
      const file = to.replace(/^src\//, '').replace(/\.ts$/, '')
      return !LAYERS[own]?.some((allowed) => allowed === other || allowed === file)
    })
    expect(wrong.map(({ from, to, typeOnly }) => `${from} imports ${typeOnly ? 'types of ' : ''}${to}`)).toEqual([])
  })

  test('every relative import leads to a file', () => {
    expect(imports.filter(({ to }) => !existsSync(join(ROOT, to))).map(({ from, to }) => `${from}: ${to}`)).toEqual([])
  })

  test('there is no import cycle', () => {
    // Types are erased, and rows that point at each other (a Cpu at its Mm, the Mm at its lock's
    // waiters) have no order: only what is loaded at run time counts.
    expect(findCycle(imports.filter(({ typeOnly }) => !typeOnly))).toEqual([])
  })

  test('a cycle would be found', () => {
    const step = (from: string, to: string): Import => ({ from, to, typeOnly: false })
    expect(findCycle([step('a', 'b'), step('b', 'c'), step('c', 'b')])).toEqual(['b', 'c', 'b'])
  })
})

describe('files', () => {
  test('every file opens with a comment that says what belongs in it', () => {
    expect(SCRIPTS.filter((file) => !/^(#!.*\n)?(\/\/ \S|\/\*)/.test(read(file)))).toEqual([])
  })

  test(`no file is longer than ${FILE_LINES_MAX} lines`, () => {
    const long = SCRIPTS.map((file) => ({ file, lines: read(file).trimEnd().split('\n').length }))
    expect(long.filter(({ lines }) => lines > FILE_LINES_MAX)).toEqual([])
  })

  test(`no line is longer than ${LINE_CHARACTERS_MAX} characters`, () => {
    expect(findLines(SCRIPTS, (line) => line.length > LINE_CHARACTERS_MAX)).toEqual([])
  })

  test('no test is focused and nothing is left to do', () => {
    // Put together here so that this file does not find itself.
    const banned = new RegExp([`\\b(TO${'DO'}|FIX${'ME'})\\b`, `\\b(it|test|describe)\\.on${'ly'}\\(`].join('|'))
    const texts = FILES.filter((file) => /\.(ts|md|ya?ml)$/.test(file))
    expect(findLines(texts, (line) => banned.test(line))).toEqual([])
  })

  test('no path of a machine and no registry host stands in a file', () => {
    const folders = ['work', 'farm', 'home', 'root', 'Users'].join('|')
    const path = new RegExp(`(^|[\\s'"\`(=:])/(${folders})/`)
    const host = /https?:\/\/[a-z0-9.-]*(registry|npmjs|debian\.org|mirror)|"resolved": *"http/
    expect(findLines(FILES.filter(isText), (line) => path.test(line) || host.test(line))).toEqual([])
  })
})

describe('hot files', () => {
  const bans: readonly { what: string; pattern: RegExp }[] = [
    { what: 'BigInt', pattern: /\bBigInt|\b(0x[0-9a-f]+|\d+)n\b/i },
    { what: 'a Map with string keys', pattern: /\bMap<string\b/ },
    { what: 'a spread', pattern: /\.\.\.\w/ },
    { what: '.map or .filter', pattern: /\.(map|filter)\(/ },
    { what: 'a template literal', pattern: /`/ },
  ]

  for (const file of HOT_FILES.filter((name) => existsSync(join(ROOT, name)))) {
    test(`${file} allocates nothing per access`, () => {
      const lines = withoutComments(read(file)).split('\n')
      const found = lines.flatMap((line, index) => bans
        .filter(({ pattern }) => pattern.test(line) && !isCold(lines, index))
        .map(({ what }) => `${file}:${index + 1}: ${what}: ${line.trim()}`))
      expect(found).toEqual([])
    })
  }

  test('what throws, prints or builds once is not hot', () => {
    const lines = ['function hot(): number {', '  use(`a`)', '}', 'function createTlb(): Tlb {', '  use(`a`)', '}']
    expect([isCold(lines, 1), isCold(lines, 4)]).toEqual([false, true])
  })
})

describe('documents', () => {
  test('every scenario of the tour asks its question', () => {
    const tour = FILES.filter((file) => /^scenarios\/tour\/.*\.ya?ml$/.test(file))
    expect(tour.filter((file) => !/^question: *\S/m.test(read(file)))).toEqual([])
  })

  test('every scenario has its golden trace beside it (npm run golden:update), and every golden its scenario', () => {
    const scenarios = FILES.filter((file) => file.startsWith('scenarios/'))
    const stems = (ending: RegExp): string[] => scenarios.filter((file) => ending.test(file))
      .map((file) => file.replace(ending, ''))
    expect(stems(/\.golden(\.br)?$/).toSorted()).toEqual(stems(/(?<!\.study)\.ya?ml$/).toSorted())
  })

  test('every link in the documents resolves', () => {
    const documents = FILES.filter((file) => file.endsWith('.md'))
    expect(documents.flatMap(brokenLinks)).toEqual([])
  })
})

function read(file: string): string {
  return readFileSync(join(ROOT, file), 'utf8')
}

/** All files of the project, relative to its root, sorted. */
function listFiles(folder: string): string[] {
  const skipped = new Set(['node_modules', 'dist', '.git', 'coverage'])
  return readdirSync(folder).sort().flatMap((name) => {
    const path = join(folder, name)
    if (skipped.has(name)) return []
    return statSync(path).isDirectory() ? listFiles(path) : [relative(ROOT, path)]
  })
}

function isText(file: string): boolean {
  return !/\.(br|xz|gz|zst|zip|png|jpg|bin|cpuprofile|heapsnapshot|log|tgz)$/.test(file)
}

/** `src/kernel/mm/mm.ts` is in kernel, `src/index.ts` in index, `workers/cpu.ts` in workers. */
function layerOf(file: string): string {
  const [top = '', second = ''] = file.split('/')
  return top === 'src' ? second.replace(/\.ts$/, '') : top
}

function importsOf(file: string): Import[] {
  const text = withoutComments(read(file))
  const pattern = /(?:^|\n)\s*(import|export)\s+(type\s)?[^'"`;]*?from\s*'(\.[^']+)'|\bimport\(?\s*'(\.[^']+)'/g
  return Array.from(text.matchAll(pattern), (match) => ({
    from: file,
    // AssemblyScript names files without an ending.
    to: join(dirname(file), (match[3] ?? match[4]!).replace(/(\.js)?$/, '.ts')),
    typeOnly: match[2] !== undefined,
  }))
}

/** The files of one cycle, first one repeated at the end; empty when there is none. */
function findCycle(imports: readonly Import[]): string[] {
  const next = new Map<string, string[]>()
  for (const { from, to } of imports) next.set(from, [...(next.get(from) ?? []), to])
  const finished = new Set<string>()
  const visit = (file: string, path: readonly string[]): string[] => {
    const at = path.indexOf(file)
    if (at >= 0) return [...path.slice(at), file]
    if (finished.has(file)) return []
    for (const to of next.get(file) ?? []) {
      const cycle = visit(to, [...path, file])
      if (cycle.length > 0) return cycle
    }
    finished.add(file)
    return []
  }
  for (const file of next.keys()) {
    const cycle = visit(file, [])
    if (cycle.length > 0) return cycle
  }
  return []
}

/** Comments become spaces; line numbers stay. Good enough for our own style of comments. */
function withoutComments(text: string): string {
  return text
    .replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, ' '))
    .replace(/(^|[\s;{}(),])\/\/[^\n]*/g, '$1')
}

/** A line that throws, or belongs to a function that builds something once or makes text for people. */
function isCold(lines: readonly string[], index: number): boolean {
  if (lines.slice(Math.max(0, index - 2), index + 1).some((line) => /\bthrow\b/.test(line))) return true
  for (let at = index; at >= 0; at--) {
    const line = lines[at]!
    if (at < index && line.startsWith('}')) return true // between functions: runs once, when the module loads
    if (/^\s*constructor\(/.test(line)) return true
    const name = /^(?:export )?function\*? (\w+)/.exec(line)?.[1]
      ?? /^ {2}(?:static |get )?(#?\w+)\((?!.*\)$).*$/.exec(line)?.[1]
    if (name !== undefined && !/^(if|for|while|switch|return)$/.test(name)) {
      return /^#?(create|make|build|new|describe|dump|format|print)/.test(name) || /\): (never|string) \{$/.test(line)
    }
  }
  return true
}

function findLines(files: readonly string[], isWrong: (line: string) => boolean): string[] {
  return files.flatMap((file) => read(file).split('\n').flatMap((line, index) =>
    isWrong(line) ? [`${file}:${index + 1}: ${line.trim().slice(0, 100)}`] : []))
}

function brokenLinks(file: string): string[] {
  const prose = read(file).replace(/^```[\s\S]*?^```/gm, '').replace(/`[^`\n]*`/g, '')
  const links = Array.from(prose.matchAll(/\]\(([^)\s]+)(?:\s+"[^"]*")?\)/g), (match) => match[1]!)
  return links.filter((link) => !/^[a-z]+:/.test(link) && !linkResolves(file, link)).map((link) => `${file}: ${link}`)
}

function linkResolves(file: string, link: string): boolean {
  const [path = '', anchor] = link.split('#')
  const target = path === '' ? file : join(dirname(file), decodeURI(path))
  if (!existsSync(join(ROOT, target))) return false
  if (anchor === undefined || !target.endsWith('.md')) return true
  const headings = Array.from(read(target).matchAll(/^#+ +(.+)$/gm), (match) => slug(match[1]!))
  return headings.includes(anchor)
}

/** The anchor that GitHub gives to a heading. */
function slug(heading: string): string {
  return heading.trim().toLowerCase().replace(/[^\p{L}\p{N}_\- ]/gu, '').replace(/ /g, '-')
}
