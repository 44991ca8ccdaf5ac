// Reading a canonical trace from a file, piece by piece, so that a trace may be larger than a string can
// be. What is no trace is told from its first bytes; everything that is wrong is a UserError with its place.
//
// Memory: 108 bytes for each event at most, 52 in the end, whatever the size of the file.

import { isAscii } from 'node:buffer'
import { closeSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs'
import { brotliDecompressSync } from 'node:zlib'
import { UserError } from '../base/errors.js'
import { readFailure } from '../base/read-failure.js'
import { parseTextTrace, TextTraceParser } from './text-parse.js'
import type { TextTrace } from './text-parse.js'

const PIECE_BYTES = 1 << 20
/** A trace has no line as long as this; a file that has may be anything. */
const LINE_BYTES_MAX = 1 << 20
const LINE_FEED = 10
/** Long golden traces are kept so (study/golden-file.ts); brotli has no mark of its own. */
const COMPRESSED_ENDING = '.br'
const UNPACKED_BYTES_MAX = 400 * 2 ** 20

/** Files that are packed, by their first bytes, and what unpacks them. */
const PACKED: readonly { readonly name: string; readonly magic: readonly number[]; readonly tool: string }[] = [
  { name: 'gzip', magic: [0x1f, 0x8b], tool: 'zcat' },
  { name: 'xz', magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0], tool: 'xzcat' },
  { name: 'zstd', magic: [0x28, 0xb5, 0x2f, 0xfd], tool: 'zstdcat' },
  { name: 'bzip2', magic: [0x42, 0x5a, 0x68], tool: 'bzcat' },
  { name: 'zip', magic: [0x50, 0x4b, 3, 4], tool: 'unzip -p' },
]

/** Reads and parses a trace; a pipe will do as well as a file. Throws UserError when it cannot be read or is none. */
export function readTextTrace(path: string): TextTrace {
  const parser = new TextTraceParser(path)
  try {
    return path.endsWith(COMPRESSED_ENDING) ? parseTextTrace(unpacked(path), path) : parseFile(path, parser)
  } catch (error) {
    if (error instanceof UserError) throw error
    const at = { file: path, line: 1, column: 1 }
    if (error instanceof RangeError) {
      throw new UserError(`this trace is too large for the memory there is: ${parser.length} events were read`, at,
        ['record a shorter run, for example with "--until <cycle>"'])
    }
    throw new UserError(`cannot read the trace: ${readFailure(error)}`, at)
  }
}

function parseFile(path: string, parser: TextTraceParser): TextTrace {
  const descriptor = openSync(path, 'r')
  try {
    refuseNoFile(descriptor, path)
    const buffer = Buffer.allocUnsafe(PIECE_BYTES + LINE_BYTES_MAX)
    /** Bytes of the buffer that belong to a line whose end has not been read. */
    let kept = 0
    for (let isFirst = true; ; isFirst = false) {
      const read = readSync(descriptor, buffer, kept, PIECE_BYTES, null)
      if (read === 0 && isFirst) {
        throw new UserError('this is an empty file, not a trace', { file: path, line: 1, column: 1 })
      }
      if (read === 0) return parser.finish(buffer.toString('utf8', 0, kept))
      const length = kept + read
      if (isFirst) refuseNoText(buffer.subarray(0, length), path)
      const end = buffer.subarray(0, length).lastIndexOf(LINE_FEED) + 1
      parser.push(textOf(buffer.subarray(0, end)))
      buffer.copyWithin(0, end, length)
      kept = length - end
      if (kept >= LINE_BYTES_MAX) {
        throw new UserError(`this is not a trace: a line is longer than ${LINE_BYTES_MAX} bytes`,
          { file: path, line: parser.line, column: 1 })
      }
    }
  } finally {
    closeSync(descriptor)
  }
}

function unpacked(path: string): string {
  const bytes = readFileSync(path)
  try {
    return brotliDecompressSync(bytes, { maxOutputLength: UNPACKED_BYTES_MAX }).toString('utf8')
  } catch {
    throw new UserError('this is not packed with brotli, or it is cut off', { file: path, line: 1, column: 1 })
  }
}

function refuseNoFile(descriptor: number, path: string): void {
  const at = { file: path, line: 1, column: 1 }
  const stat = fstatSync(descriptor)
  if (stat.isDirectory()) throw new UserError('this is a directory, not a trace', at)
  if (!stat.isFile() && !stat.isFIFO()) throw new UserError('this is neither a file nor a pipe', at)
}

/** ASCII needs no decoding, and is what a trace nearly always is. */
function textOf(bytes: Buffer): string {
  return bytes.toString(isAscii(bytes) ? 'latin1' : 'utf8')
}

/** Said before anything is parsed: a NUL in the first piece is no text. */
function refuseNoText(bytes: Buffer, path: string): void {
  const at = { file: path, line: 1, column: 1 }
  const packed = PACKED.find(({ magic }) => magic.every((byte, i) => bytes[i] === byte))
  if (packed !== undefined) {
    throw new UserError(`this is packed with ${packed.name}, not the text of a trace`, at,
      [`unpack it first: ${packed.tool} ${path} > out.trace`])
  }
  if (bytes.includes(0)) throw new UserError('this is a binary file, not a trace', at)
}
