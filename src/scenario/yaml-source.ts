// A YAML 1.2 document as a plain tree of values in which every value knows its place.
//
//   text --yaml--> nodes with ranges --convert--> plain values (numbers, strings, lists, maps)
//                        ^                              |
//                        +-------- span(path) <---------+   path: keys and indices from the root
//
// Integers that a double cannot hold exactly (64-bit addresses) become their hexadecimal text, so
// that no digit is lost; the schema accepts addresses as numbers or text. Merge keys (`<<`) and
// custom tags are deliberately not supported: a scenario should be readable without them. A number
// like 010 is refused, as half of all readers take it for eight. What the parser says is put into
// words for people who do not know it (yaml-problems.ts).

import {
  isAlias, isMap, isScalar, isSeq, parseDocument, type Document, type Node, type Pair, type ParsedNode, type Scalar,
} from 'yaml'
import type { UserError } from '../base/errors.js'
import { SourceText, type TextSpan } from './source-text.js'
import { explainProblem } from './yaml-problems.js'

export type Path = readonly (string | number)[]

/** More values than this, after aliases are expanded, is a mistake or an attack. */
const MAX_VALUES = 200_000
const MAX_DEPTH = 64
const LEADING_ZERO = /^[-+]?0[0-9_]/

export class YamlSource {
  readonly source: SourceText
  /** The document as plain values. */
  readonly tree: unknown
  private readonly document: Document<ParsedNode>
  private values = 0

  /** Throws a UserError at the first syntax error. */
  constructor(file: string, text: string) {
    this.source = new SourceText(file, text)
    const document = parseDocument(text, { version: '1.2', intAsBigInt: true, prettyErrors: false, strict: true })
    const problem = document.errors[0] ?? document.warnings[0]
    if (problem) throw explainProblem(this.source, document, problem)
    const { version } = document.directives.yaml
    if (document.directives.yaml.explicit && version !== '1.2') {
      throw this.source.error(`a scenario is YAML 1.2, not ${version}`, { start: 0, end: 0 }, ['remove the %YAML line'])
    }
    if (document.contents === null || (isScalar(document.contents) && document.contents.value === null)) {
      throw this.source.error('the scenario is empty', { start: 0, end: 0 }, ['expected at least the key "processes"'])
    }
    this.document = document as Document<ParsedNode>
    this.tree = this.convert(document.contents, 0)
  }

  /** Where the value at `path` stands, or the key that leads to it. A missing value gives its parent's place. */
  span(path: Path, part: 'value' | 'key' = 'value'): TextSpan {
    let node: Node | null = this.document.contents
    let best = spanOf(node)
    for (const [depth, step] of path.entries()) {
      const target = this.resolve(node)
      if (isMap(target)) {
        const pair: Pair | undefined = target.items.find((item) => keyText(item.key as Node) === String(step))
        if (!pair) return best
        const key = pair.key as Node
        node = pair.value as Node | null
        const wantsKey = (part === 'key' && depth === path.length - 1) || isEmpty(node)
        best = wantsKey ? spanOf(key) : spanOf(node)
        // The place of a list or map is where it begins; its key is easier to recognise.
        if (!wantsKey && !isScalar(node) && !isAlias(node)) best = spanOf(key)
      } else if (isSeq(target) && typeof step === 'number') {
        node = target.items[step] as Node | null
        if (!node) return best
        best = spanOf(node)
      } else {
        return best
      }
    }
    return this.firstLine(best)
  }

  /** Everything that belongs to the value at `path`, which is there. */
  wholeSpan(path: Path): TextSpan {
    return spanOf(this.document.getIn(path, true) as Node | null)
  }

  /** A user error at the value (or the key) of `path`. */
  error(message: string, path: Path, details: readonly string[] = [], part: 'value' | 'key' = 'value'): UserError {
    return this.source.error(message, this.span(path, part), details)
  }

  private convert(node: Node | null, depth: number): unknown {
    if (++this.values > MAX_VALUES) {
      throw this.source.error(`the scenario holds more than ${MAX_VALUES} values`, spanOf(node))
    }
    if (depth > MAX_DEPTH) {
      throw this.source.error(`the scenario is nested more than ${MAX_DEPTH} levels deep`, spanOf(node))
    }
    const target = this.resolve(node)
    if (target === null) return null
    if (isScalar(target)) return this.plainScalar(target)
    if (isSeq(target)) return target.items.map((item) => this.convert(item as Node | null, depth + 1))
    if (!isMap(target)) throw this.source.error('expected a value, a list or a map', spanOf(node))
    const result: Record<string, unknown> = {}
    for (const pair of target.items) {
      const key = pair.key as Node
      if (!isScalar(key)) throw this.source.error('a key must be a word', spanOf(key))
      const value = this.convert(pair.value as Node | null, depth + 1)
      // defineProperty: `__proto__` must become an ordinary (and unknown) key.
      Object.defineProperty(result, keyText(key), { value, enumerable: true, configurable: true, writable: true })
    }
    return result
  }

  private plainScalar(node: Scalar): unknown {
    const { value } = node
    if (typeof value !== 'bigint' && typeof value !== 'number') return value
    const written = node.source ?? ''
    if (LEADING_ZERO.test(written)) {
      throw this.source.error(`"${written}" could be octal or decimal`, spanOf(node), [
        `expected ${written.replace(/^([-+]?)0+(?=[0-9])/, '$1')}, or 0o${written.replace(/^[-+]?0+(?=[0-9])/, '')} `
        + 'for octal',
      ])
    }
    if (typeof value === 'number') return value
    const exact = Number(value)
    if (Number.isSafeInteger(exact)) return exact
    return value < 0n ? value.toString() : `0x${value.toString(16)}`
  }

  private resolve(node: Node | null): Node | null {
    if (!isAlias(node)) return node
    const target = node.resolve(this.document)
    if (!target) throw this.source.error(`unknown anchor "${node.source}"`, spanOf(node))
    return target
  }

  /** The part of a span on its first line: what the caret can underline. */
  private firstLine(span: TextSpan): TextSpan {
    const newline = this.source.text.indexOf('\n', span.start)
    return { start: span.start, end: newline === -1 ? span.end : Math.min(span.end, newline) }
  }
}

function keyText(key: Node): string {
  return isScalar(key) ? String(key.value) : ''
}

function isEmpty(node: Node | null): boolean {
  return node === null || (isScalar(node) && node.value === null)
}

function spanOf(node: Node | null): TextSpan {
  const range = node?.range
  return range ? { start: range[0], end: range[1] } : { start: 0, end: 0 }
}
