// A text file that messages point into: offsets become line and column, and a place becomes an
// excerpt with a caret under it. Knows nothing of YAML (yaml-source.ts does).

import { UserError, type SourcePosition } from '../base/errors.js'

/** Half-open [start, end) of a place in the text, in UTF-16 code units. */
export interface TextSpan {
  start: number
  end: number
}

const EXCERPT_COLUMNS = 100

export class SourceText {
  readonly file: string
  readonly text: string
  /** Offset of the first character of every line. */
  private readonly lineStarts: number[] = [0]

  constructor(file: string, text: string) {
    this.file = file
    this.text = text
    for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) this.lineStarts.push(at + 1)
  }

  position(offset: number): SourcePosition {
    let low = 0
    let high = this.lineStarts.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (this.lineStarts[middle]! <= offset) low = middle
      else high = middle - 1
    }
    return { file: this.file, line: low + 1, column: offset - this.lineStarts[low]! + 1 }
  }

  /** The line of `span.start` and a line with a caret, `~` up to the end of the span. */
  excerpt(span: TextSpan): string[] {
    const { line, column } = this.position(span.start)
    const lineStart = this.lineStarts[line - 1]!
    const lineEnd = this.lineStarts[line] ?? this.text.length + 1
    const whole = this.text.slice(lineStart, lineEnd - 1).replace(/\r$/, '').replace(/[\x00-\x08\x0b-\x1f\x7f]/g, '?')
    // A very long line is cut so that the caret stays on the screen.
    const cut = column > EXCERPT_COLUMNS ? column - EXCERPT_COLUMNS / 2 : 0
    const shown = whole.slice(cut, cut + EXCERPT_COLUMNS)
    const indent = whole.slice(cut, column - 1).replace(/[^\t]/g, ' ')
    const tildes = Math.max(0, Math.min(span.end - span.start, shown.length - indent.length) - 1)
    const gutter = `${line}`.padStart(5)
    return [`${gutter} | ${shown}`, `${' '.repeat(gutter.length)} | ${indent}^${'~'.repeat(tildes)}`]
  }

  /** A user error at `span`. The excerpt comes before `details`. */
  error(message: string, span: TextSpan, details: readonly string[] = []): UserError {
    return new UserError(message, this.position(span.start), [...this.excerpt(span), ...details])
  }
}
