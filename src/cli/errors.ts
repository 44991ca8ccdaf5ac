// How a command ends when something went wrong: one message on standard error and an exit code,
// 2 for the user's input, 3 for our bug or the host's. Nothing here calls process.exit(): output
// that is still on its way to a pipe would be lost. The process ends by itself with the code.

import { CommanderError } from 'commander'
import { InvariantViolation } from '../base/assert.js'
import { EngineError, UserError } from '../base/errors.js'

export const EXIT_OK = 0
export const EXIT_DIFFERENT = 1
export const EXIT_USER = 2
export const EXIT_INTERNAL = 3

/** Reports `error` and sets the exit code. With SHOOTDOWN_DEBUG=1 unexpected errors show their stack. */
export function reportAndExit(error: unknown): void {
  if (error instanceof CommanderError) {
    // Commander has printed its message (or the help that was asked for) already.
    process.exitCode = error.exitCode === 0 ? EXIT_OK : EXIT_USER
    return
  }
  if (isClosedPipe(error)) {
    // The reader of our output has seen enough (`| head`).
    process.exitCode = EXIT_OK
    return
  }
  process.exitCode = error instanceof UserError ? EXIT_USER : EXIT_INTERNAL
  process.stderr.write(`error: ${describe(error)}\n`)
}

function describe(error: unknown): string {
  if (error instanceof UserError) return error.format()
  if (!(error instanceof Error)) return `internal: ${String(error)}`
  if (process.env['SHOOTDOWN_DEBUG'] === '1') return error.stack ?? error.message
  if (error instanceof EngineError) return error.message
  if (error instanceof InvariantViolation) return `an invariant does not hold\n${error.message}`
  return `internal: ${error.name}: ${error.message} (SHOOTDOWN_DEBUG=1 shows where)`
}

function isClosedPipe(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EPIPE'
}
