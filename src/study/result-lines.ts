// Files of results: one row (sweep-point.ts) a line. A file is scanned for what identifies each line, never held
// in memory, so a million points cost a few tens of bytes each. A line without its end is torn: the process that
// wrote it was killed, and its point is run again.

import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { UserError } from '../base/errors.js'
import type { SourcePosition } from '../base/errors.js'
import type { ResultRow } from './sweep-point.js'

/** Where one row is, and whose it is. */
export interface LineRef {
  readonly file: string
  readonly line: number
  readonly offset: number
  /** Bytes without the end of the line. */
  readonly bytes: number
  readonly study: string
  readonly version: string
  readonly index: number
  readonly of: number
}

export interface ScannedFile {
  readonly refs: readonly LineRef[]
  /** Bytes of whole lines. */
  readonly wholeBytes: number
  /** Bytes behind them: a torn line. */
  readonly tornBytes: number
}

const PIECE_BYTES = 1 << 20
const NEWLINE = 10
/** The keys with which every row begins, in this order (ResultRow). */
const HEAD = /^\{"study":"([0-9a-f]{16})","version":"([^"\\]*)","index":(\d+),"of":(\d+),/

/** Finds the rows of `file`. Throws a UserError for what is none; the last line may be torn. */
export function scanResults(file: string): ScannedFile {
  const refs: LineRef[] = []
  let line = 0
  const end = eachLine(file, (text, offset, bytes) => {
    line += 1
    const head = HEAD.exec(text)
    if (head === null || !text.endsWith('}')) {
      throw new UserError('this is not a line of results of "shootdown sweep"', { file, line, column: 1 },
        [text.length > 80 ? `${text.slice(0, 80)}...` : text])
    }
    refs.push({
      file, line, offset, bytes, study: head[1]!, version: head[2]!, index: Number(head[3]), of: Number(head[4]),
    })
  })
  return { refs, ...end }
}

/** The rows of `refs`, in their order. */
export function* readRows(refs: readonly LineRef[]): Generator<ResultRow> {
  for (const text of readLines(refs)) yield JSON.parse(text) as ResultRow
}

/** The lines of `refs`, in their order, without their ends. */
export function* readLines(refs: readonly LineRef[]): Generator<string> {
  const descriptors = new Map<string, number>()
  try {
    for (const { file, offset, bytes } of refs) {
      if (!descriptors.has(file)) descriptors.set(file, openSync(file, 'r'))
      const buffer = Buffer.alloc(bytes)
      readSync(descriptors.get(file)!, buffer, 0, bytes, offset)
      yield buffer.toString()
    }
  } finally {
    for (const descriptor of descriptors.values()) closeSync(descriptor)
  }
}

/** Where a row stands, for messages. */
export function placeOf({ file, line }: LineRef): SourcePosition {
  return { file, line, column: 1 }
}

function eachLine(
  file: string, take: (text: string, offset: number, bytes: number) => void,
): { wholeBytes: number; tornBytes: number } {
  let descriptor: number
  try {
    descriptor = openSync(file, 'r')
    if (fstatSync(descriptor).isDirectory()) throw Object.assign(new Error(), { code: 'EISDIR' })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new UserError(`cannot read the results: ${REASONS[code ?? ''] ?? code}`, { file, line: 1, column: 1 })
  }
  try {
    const piece = Buffer.alloc(PIECE_BYTES)
    let rest: Buffer = Buffer.alloc(0)
    let offset = 0
    for (;;) {
      const read = readSync(descriptor, piece, 0, PIECE_BYTES, null)
      if (read === 0) return { wholeBytes: offset, tornBytes: rest.length }
      const data = Buffer.concat([rest, piece.subarray(0, read)])
      let start = 0
      for (let at = data.indexOf(NEWLINE); at >= 0; at = data.indexOf(NEWLINE, start)) {
        take(data.toString('utf8', start, at), offset, at - start)
        offset += at + 1 - start
        start = at + 1
      }
      rest = Buffer.from(data.subarray(start))
    }
  } finally {
    closeSync(descriptor)
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file', EACCES: 'permission denied', EISDIR: 'it is a folder',
}
