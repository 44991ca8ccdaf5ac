// The reference of the scenario language as Markdown, generated from the schema's JSON Schema:
// one section per kind of map, one row per key. docs/scenario-reference.md is this text, and a
// test holds the two together.

import { CORE_COUNTERS, KERNEL_COUNTERS } from '../kernel/counters.js'
import { scenarioJsonSchema } from './schema.js'

interface Node {
  $ref?: string
  anyOf?: Node[]
  title?: string
  description?: string
  type?: string
  const?: unknown
  enum?: string[]
  items?: Node
  properties?: Record<string, Node>
  required?: string[]
  minimum?: number
  maximum?: number
}

type Definitions = Record<string, Node>

const PREFACE = `# Scenario files

A scenario is a YAML 1.2 file: the machine, the kernel, what runs on it, and what must come out. Everything has a
default except \`processes\`. This page is generated from \`src/scenario/schema.ts\`.

\`\`\`yaml
question: Who gets an interrupt when a page is unmapped?
cpus: 2
processes:
  - name: demo
    threads:
      - name: worker
        cpu: 1
        program:
          - spin: done
      - name: main
        cpu: 0
        program:
          - mmap: {name: buf, pages: 4}
          - write: buf
          - munmap: buf
          - signal: done
expect:
  - {event: tlb_flush, where: {cpu: 1, reason: remote shootdown}, count: 1}
\`\`\`

**Numbers.** A *size* is in bytes: a number, hexadecimal, or with K, M or G (\`64K\`, \`2M\`, \`1G\`; powers of two).
A *duration* is a number of cycles, or text with a unit: \`10us\`, \`3ms\`, \`250ns\`, \`100cycles\`. *64-bit numbers*
are exact, with or without quotes: \`0x1122334455667788\`. \`pages\` always counts base pages of the geometry.

**Names.** Areas belong to an address space: threads share them, a forked child starts with its parent's. Flags and
barriers belong to the whole scenario, and so do task names, of which each may be given once.

**Places.** Where an *area name or address* is expected, \`buf\` means the whole area and \`0xb17000\` one access there.
`

const ORDER = ['scenario', 'machine', 'tlb', 'tlb level', 'paging cache', 'host', 'costs', 'kernel', 'khugepaged',
  'process',
  'thread', 'kernel thread', 'file', 'operation', 'touch', 'access', 'store', 'load', 'mmap', 'range', 'mprotect',
  'madvise', 'mremap', 'reclaim', 'truncate', 'modifyLdt', 'vmalloc', 'kernelTouch', 'sleep', 'barrier', 'fork',
  'clone', 'vfork', 'execve', 'setaffinity', 'nice', 'repeat', 'replay', 'schedule', 'expectation']

const INTRODUCTIONS: Record<string, string> = {
  scenario: 'The keys at the top of the file.',
  operation: 'A program is a list of operations, each a map with exactly one of these keys (`wait`, `yield`, `exit`, '
    + '`exitGroup` and `unuseMm` may stand alone). Every program ends with `exit`, written or not.',
  access: 'Of `read`, `write` and `exec`.',
  range: 'Of `munmap`, `migrate`, `numaHint` and `gupFast`.',
  'tlb level': 'A level whose page sizes have arrays of their own.',
  expectation: 'Each entry is about one `counter`, `event` or `task`.',
}

const HEADINGS: Record<string, string> = {
  scenario: 'Top level', operation: 'Operations', range: 'munmap and other ranges', expectation: 'expect',
}

/** The text of docs/scenario-reference.md. */
export function schemaReference(): string {
  const definitions = schemaDefinitions()
  const sections = ORDER.map((id) => section(id, definitions))
  return [PREFACE, ...sections, counterSection()].join('\n')
}

/** Kinds of map in the schema that {@link schemaReference} has no section for; a test wants none. */
export function undocumentedKinds(): string[] {
  const definitions = schemaDefinitions()
  return Object.keys(definitions).filter((id) => definitions[id]!.properties && !ORDER.includes(id))
}

function schemaDefinitions(): Definitions {
  return scenarioJsonSchema()['$defs'] as Definitions
}

function section(id: string, definitions: Definitions): string {
  const node = definitions[id]!
  const rows = Object.entries(node.properties ?? {}).map(([key, value]) => {
    const required = node.required?.includes(key) ? ' (required)' : ''
    const description = value.description ?? ''
    return `| \`${key}\`${required} | ${typeText(value, definitions)} | ${escapeCell(description)} |`
  })
  const introduction = INTRODUCTIONS[id] === undefined ? [] : [INTRODUCTIONS[id], '']
  const table = ['| key | value | meaning |', '| --- | --- | --- |', ...rows]
  return [`## ${HEADINGS[id] ?? id}`, '', ...introduction, ...table, ''].join('\n')
}

function typeText(node: Node, definitions: Definitions): string {
  const text = (part: Node): string => typeText(part, definitions)
  if (node.$ref !== undefined) return referenceText(node.$ref, definitions)
  if (node.title !== undefined) return node.title === 'counter' ? '[counter](#counters)' : node.title
  if (node.anyOf) return [...new Set(node.anyOf.map(text))].join(', or ')
  if (node.enum) return node.enum.map((word) => `\`${word}\``).join(', ')
  if (node.const !== undefined) return `\`${String(node.const)}\``
  if (node.type === 'array') return `list of ${node.items ? text(node.items) : 'values'}`
  if (node.type === 'object') return 'map'
  if (node.type === 'integer') return rangeText(node)
  if (node.type === 'boolean') return '`true` or `false`'
  if (node.type === 'null') return 'nothing'
  return node.type === 'string' ? 'text' : 'number'
}

function referenceText(reference: string, definitions: Definitions): string {
  const id = decodeURIComponent(reference.split('/').at(-1)!)
  const target = definitions[id]
  // Operations contain programs and programs operations: their references go to the one section.
  if (target && !ORDER.includes(id)) return target.anyOf ? '[operation](#operations)' : typeText(target, definitions)
  const heading = HEADINGS[id] ?? id
  return `[${heading}](#${heading.toLowerCase().replaceAll(' ', '-')})`
}

function counterSection(): string {
  const counters = Object.entries({ ...KERNEL_COUNTERS, ...CORE_COUNTERS })
  const rows = counters.map(([name, meaning]) => `| \`${name}\` | ${escapeCell(meaning)} |`)
  return ['## Counters', '', '| counter | counts |', '| --- | --- |', ...rows, ''].join('\n')
}

function rangeText({ minimum = 0, maximum = Number.MAX_SAFE_INTEGER }: Node): string {
  return maximum >= Number.MAX_SAFE_INTEGER ? `integer from ${minimum}` : `integer, ${minimum} to ${maximum}`
}

function escapeCell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ')
}
