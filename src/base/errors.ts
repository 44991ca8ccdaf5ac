// The two kinds of error that a person meets: their input was wrong (UserError, exit code 2)
// or the host failed us (EngineError, exit code 3). Simulated outcomes (page faults, ENOMEM)
// are never exceptions, and programmer errors live in assert.ts.

/** Where in a text file something stands. Lines and columns count from one. */
export interface SourcePosition {
  file: string
  line: number
  column: number
}

/** What was wrong with the user's input, in words, with its place. Printed without a stack. */
export class UserError extends Error {
  override name = 'UserError'
  readonly position: SourcePosition | undefined
  /** Further lines: an excerpt with a caret, what was expected, the nearest valid name. */
  readonly details: readonly string[]

  constructor(message: string, position?: SourcePosition, details: readonly string[] = []) {
    super(message)
    this.position = position
    this.details = details
  }

  /** `file:line:column: message`, then the details, one a line. */
  format(): string {
    const at = this.position
    const where = at ? `${at.file}:${at.line}:${at.column}: ` : ''
    return [`${where}${this.message}`, ...this.details].join('\n')
  }
}

/** A worker died, a thread did not arrive, the run was interrupted. */
export class EngineError extends Error {
  override name = 'EngineError'
}
