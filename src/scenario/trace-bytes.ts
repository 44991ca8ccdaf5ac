// From a file to the bytes of a trace: opens it, recognises gzip and xz by their magic bytes
// (never by the name of the file) and unpacks them while reading. Files of several gzip members
// or xz streams and blocks are one trace, as `cat a.xz b.xz` promises. The source may be a pipe.
//
// Not here: what the bytes mean (trace-file.ts decides between text and packed records).

import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { Readable, pipeline } from 'node:stream'
import { createGunzip } from 'node:zlib'
import xz from 'xz-decompress'
import { UserError } from '../base/errors.js'

export type Encoding = 'plain' | 'gzip' | 'xz'

/** A trace file that is being read. */
export interface TraceBytes {
  encoding: Encoding
  chunks: AsyncGenerator<Uint8Array>
  /** Length of the file, bytes; 0 when it is a pipe. */
  fileBytes: number
  /** Bytes of the file that have been read so far. */
  readBytes(): number
}

const READ_CHUNK_BYTES = 1 << 18
const XZ_MAGIC = [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]
/** ID1, ID2 and the only compression method (RFC 1952, 2.3.1). */
const GZIP_MAGIC = [0x1f, 0x8b, 0x08]

/** Opens `file`. Throws UserError when it cannot be read, or (while iterating) unpacked. */
export async function openTraceBytes(file: string): Promise<TraceBytes> {
  const fileBytes = await checkReadable(file)
  let readBytes = 0
  async function* fromFile(): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of createReadStream(file, { highWaterMark: READ_CHUNK_BYTES })) {
        readBytes += (chunk as Uint8Array).length
        yield chunk as Uint8Array
      }
    } catch (error) {
      throw unreadable(file, error)
    }
  }
  const { head, chunks } = await peekBytes(fromFile(), XZ_MAGIC.length)
  if (head.length === 0) throw new UserError(`${file}: the file is empty`)
  const common = { fileBytes, readBytes: () => readBytes }
  if (startsWith(head, XZ_MAGIC)) return { encoding: 'xz', chunks: unpackXz(file, chunks), ...common }
  if (startsWith(head, GZIP_MAGIC)) return { encoding: 'gzip', chunks: unpackGzip(file, chunks), ...common }
  return { encoding: 'plain', chunks, ...common }
}

/** Looks at the first `wanted` bytes (fewer if there are no more); `chunks` still yields everything. */
export async function peekBytes(
  source: AsyncGenerator<Uint8Array>, wanted: number,
): Promise<{ head: Uint8Array, chunks: AsyncGenerator<Uint8Array> }> {
  const parts: Uint8Array[] = []
  let length = 0
  while (length < wanted) {
    const next = await source.next()
    if (next.done) break
    parts.push(next.value)
    length += next.value.length
  }
  const head = Buffer.concat(parts)
  async function* all(): AsyncGenerator<Uint8Array> {
    try {
      if (head.length > 0) yield head
      yield* source
    } finally {
      await source.return(undefined)
    }
  }
  return { head: head.subarray(0, wanted), chunks: all() }
}

async function checkReadable(file: string): Promise<number> {
  try {
    const stats = await stat(file)
    if (stats.isDirectory()) throw new UserError(`${file}: is a directory; expected a trace file`)
    return stats.isFile() ? stats.size : 0
  } catch (error) {
    throw unreadable(file, error)
  }
}

function unreadable(file: string, error: unknown): unknown {
  if (error instanceof UserError) return error
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (code === 'ENOENT' || code === 'ENOTDIR') return new UserError(`${file}: no such file`)
  if (code === 'EACCES' || code === 'EPERM') return new UserError(`${file}: permission denied`)
  if (code.startsWith('E')) return new UserError(`${file}: cannot be read (${code})`)
  return error
}

async function* unpackGzip(file: string, packed: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  const gunzip = createGunzip({ chunkSize: READ_CHUNK_BYTES })
  // The callback has nothing to do: an error of either stream also ends the loop below.
  pipeline(Readable.from(packed), gunzip, () => {})
  try {
    for await (const chunk of gunzip) yield chunk as Uint8Array
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : ''
    if (code === 'Z_BUF_ERROR') throw new UserError(`${file}: the gzip stream is truncated`)
    if (code.startsWith('Z_')) throw new UserError(`${file}: the gzip stream is damaged (${(error as Error).message})`)
    throw error
  }
}

/** Results of xz-embedded (`enum xz_ret`) that a file can cause; the library only reports the number. */
const XZ_RESULTS: Record<number, string> = {
  2: 'uses an integrity check that is not supported; recompress it with xz --check=crc64',
  3: 'needs more memory than there is',
  4: 'needs more memory than is allowed',
  5: 'is damaged: something else follows the compressed data',
  6: 'uses options that are not supported; recompress it with xz --check=crc64 and no filters',
  7: 'is damaged',
  8: 'is truncated',
}

async function* unpackXz(file: string, packed: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  // What ended the source before its time: a failure to read the file, or that nobody wants the rest.
  const ended: { by?: unknown } = {}
  const source = new ReadableStream<Uint8Array>({
    async pull(controller): Promise<void> {
      try {
        if (ended.by !== undefined) throw ended.by
        const next = await packed.next()
        if (next.done) controller.close()
        else controller.enqueue(next.value)
      } catch (error) {
        ended.by = error
        controller.error(error)
      }
    },
  }, { highWaterMark: 0 })
  const reader = new xz.XzReadableStream(source).getReader()
  let open = true
  try {
    for (;;) {
      const next = await reader.read()
      open = !next.done
      if (next.done) return
      if (next.value.length > 0) yield next.value
    }
  } catch (error) {
    open = false
    if (ended.by !== undefined) throw ended.by
    const result = /error code (\d+)/.exec(error instanceof Error ? error.message : '')
    if (!result) throw error
    throw new UserError(`${file}: the xz stream ${XZ_RESULTS[Number(result[1])] ?? `is damaged (${result[1]})`}`)
  } finally {
    ended.by ??= new Error('abandoned')
    if (open) await drain(reader)
    await packed.return(undefined)
  }
}

/**
 * Reads until the stream ends or fails, which it does at its next input. The unpacker serves one stream at a time,
 * for the whole process. Its own `cancel()` frees the context that a read under way goes on to use, so leaving by an
 * error of the source is the only tidy way out.
 */
async function drain(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
  try {
    while (!(await reader.read()).done);
  } catch {
    // Expected: the error that the source was ended with.
  }
}

function startsWith(bytes: Uint8Array, magic: readonly number[]): boolean {
  return magic.every((byte, index) => bytes[index] === byte)
}
