// Reading a canonical trace for a sub-command. What is wrong with the file is a user error with its place.

import { closeSync, openSync, readFileSync, readSync, statSync } from 'node:fs'
import { UserError } from '../base/errors.js'
import { parseTextTrace } from '../trace/text-parse.js'
import type { TextTrace } from '../trace/text-parse.js'

/** As long as a string may be in this runtime, with room to spare. */
const MAX_TRACE_BYTES = 400 * 2 ** 20
const SNIFFED_BYTES = 4096

/** Reads and parses a trace. Throws UserError when it cannot be read or is none. */
export function readTrace(path: string): TextTrace {
  const at = { file: path, line: 1, column: 1 }
  let text: string
  try {
    const stat = statSync(path)
    if (stat.isDirectory()) throw new UserError('this is a directory, not a trace', at)
    if (!stat.isFile()) throw new UserError('this is not a regular file', at)
    if (stat.size > MAX_TRACE_BYTES) {
      throw new UserError(`this is too large for a trace: ${stat.size} bytes, at most ${MAX_TRACE_BYTES}`, at,
        ['record a shorter run, for example with "--until <cycle>"'])
    }
    refuseBinary(path)
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if (error instanceof UserError) throw error
    const code = (error as NodeJS.ErrnoException).code
    const reason = code === 'ENOENT' ? 'there is no such file' : code === 'EACCES' ? 'permission denied' : String(code)
    throw new UserError(`cannot read the trace: ${reason}`, at)
  }
  return parseTextTrace(text, path)
}

/** A NUL in the first block: no text. Said before a large file is decoded. */
function refuseBinary(path: string): void {
  const descriptor = openSync(path, 'r')
  try {
    const buffer = Buffer.alloc(SNIFFED_BYTES)
    const length = readSync(descriptor, buffer, 0, SNIFFED_BYTES, 0)
    if (!buffer.subarray(0, length).includes(0)) return
  } finally {
    closeSync(descriptor)
  }
  throw new UserError('this is a binary file, not a trace', { file: path, line: 1, column: 1 })
}
