// docs/trace-format.md lists every event and every format. UPDATE_DOCS=1 writes the tables.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { EVENTS } from '../src/trace/events.js'
import type { EventKind } from '../src/trace/events.js'
import { TRACE_FORMATS } from '../src/trace/formats.js'
import { TEXT_TRACE_FIRST_LINE } from '../src/trace/text.js'
import { ROOT } from './support/cli.js'

const FILE = join(ROOT, 'docs/trace-format.md')

function eventTable(): string {
  const rows = (EVENTS as readonly EventKind[]).map(({ name, fields, doc, ftrace }) => {
    const list = fields.map((field) => `\`${field.name}\` ${field.type}`).join(', ')
    return `| \`${name}\` | ${list} | ${ftrace ? 'yes' : ''} | ${doc.replaceAll('|', '\\|')} |`
  })
  return ['| event | fields | ftrace | what happened |', '|---|---|---|---|', ...rows].join('\n')
}

function formatTable(): string {
  const rows = TRACE_FORMATS.map(({ name, endings, what }) =>
    `| \`${name}\` | ${endings.map((ending) => `\`${ending}\``).join(', ')} | ${what} |`)
  return ['| format | endings | what |', '|---|---|---|', ...rows].join('\n')
}

/** The document with `table` between its markers. */
function filled(text: string, marker: string, table: string): string {
  const [from, to] = [`<!-- ${marker} -->\n`, `<!-- end of the ${marker} -->`]
  expect(text).toContain(from)
  expect(text).toContain(to)
  return `${text.slice(0, text.indexOf(from) + from.length)}\n${table}\n\n${text.slice(text.indexOf(to))}`
}

test('every event with its fields, and every format', () => {
  const text = readFileSync(FILE, 'utf8')
  const wanted = filled(filled(text, 'formats', formatTable()), 'events', eventTable())
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(FILE, wanted)
  else expect(text).toBe(wanted)
})

test('the version that is written, and an example that has it', () => {
  expect(readFileSync(FILE, 'utf8')).toContain(`\`\`\`\n${TEXT_TRACE_FIRST_LINE}\n`)
})
