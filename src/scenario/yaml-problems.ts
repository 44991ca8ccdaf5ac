// What the YAML parser objects to, in the words of this program and at a place that helps: where
// an open quote or bracket began rather than the end of the file, where the parser gives up.

import { isCollection, isScalar, visit, type Document, type YAMLError } from 'yaml'
import type { UserError } from '../base/errors.js'
import type { SourceText } from './source-text.js'

/** The error to throw for the first problem of a document. */
export function explainProblem(source: SourceText, document: Document, problem: YAMLError): UserError {
  const { text } = source
  let start = problem.pos[0]
  while (text[start] === ' ') start++
  const span = { start: Math.min(start, text.length), end: problem.pos[1] }
  if (problem.code === 'MULTIPLE_DOCS') {
    return source.error('YAML: a second document begins here, and a scenario is one', span, ['remove the line "---"'])
  }
  // The parser recurses; what it catches then is an error of the host.
  if (/call stack/i.test(problem.message)) return source.error('YAML: lists and maps are nested too deeply', span)
  const opened = problem.code === 'MISSING_CHAR' || problem.code === 'BAD_INDENT' ? openedAt(document, text) : undefined
  if (opened === undefined || opened >= span.start) return source.error(`YAML: ${lowerFirst(problem.message)}`, span)
  const what = { '"': 'quote', "'": 'quote', '[': 'list', '{': 'map' }[text[opened]!]
  const close = { '"': '"', "'": "'", '[': ']', '{': '}' }[text[opened]!]
  return source.error(`YAML: this ${what} is never closed`, { start: opened, end: opened + 1 },
    [`expected ${close} by line ${source.position(span.start).line}`])
}

/** Where the innermost quoted text, [ or { starts that lacks its end. */
function openedAt(document: Document, text: string): number | undefined {
  let opened: number | undefined
  visit(document, {
    Node(_, node) {
      const [start, end] = node.range ?? [0, 0]
      const first = text[start]!
      const isQuoted = isScalar(node) && (node.type === 'QUOTE_DOUBLE' || node.type === 'QUOTE_SINGLE')
      if (isQuoted && (end - start < 2 || text[end - 1] !== first)) opened = start
      if (isCollection(node) && node.flow && text[end - 1] !== (first === '[' ? ']' : '}')) opened = start
    },
  })
  return opened
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1)
}
