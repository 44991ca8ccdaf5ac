// Reads a recorded memory trace, whatever it is packed in: valgrind lackey text or packed 8-byte
// records, each plain, gzip or xz. Both questions are answered by the bytes, not by the name of
// the file. The result is one shared array of words that workers can read without a copy.

import { UserError } from '../base/errors.js'
import type { TraceRecords } from '../kernel/abi.js'
import { LackeyDecoder } from './lackey-text.js'
import { PackedDecoder } from './packed-records.js'
import { RECORD_BYTES, RecordStore } from './record-store.js'
import { openTraceBytes, peekBytes } from './trace-bytes.js'

/** How far reading has come. */
export interface TraceProgress {
  file: string
  records: number
  /** Bytes of the file read so far, as it is packed. */
  readBytes: number
  /** Length of the file, bytes; 0 when it is a pipe. */
  fileBytes: number
}

/** Enough to tell text from packed records, bytes. */
const SNIFF_BYTES = 4096
/** Sixteen packed records hardly ever look like text. */
const TEXT_BYTES_SURE = 128
const FIRST_LINE = /^(?:I {2}| [LSM] |==|--|\*\*|SB |\s*(?:\n|$))/

/**
 * Reads the trace in `file`. Throws UserError for everything that is wrong with the file, with
 * line and column (text) or the record's number (packed). `onProgress` is called once a chunk.
 */
export async function loadTrace(file: string, onProgress?: (progress: TraceProgress) => void): Promise<TraceRecords> {
  const source = await openTraceBytes(file)
  const { head, chunks } = await peekBytes(source.chunks, SNIFF_BYTES)
  const isText = looksLikeText(head)
  const expectedRecords = isText || source.encoding !== 'plain' ? 0 : Math.ceil(source.fileBytes / RECORD_BYTES)
  const store = new RecordStore(file, expectedRecords)
  const decoder = isText ? new LackeyDecoder(store) : new PackedDecoder(store)
  for await (const chunk of chunks) {
    decoder.push(chunk)
    onProgress?.({ file, records: store.records, readBytes: source.readBytes(), fileBytes: source.fileBytes })
  }
  decoder.finish()
  if (store.records === 0) throw new UserError(`${file}: the trace has no records`)
  return store.finish()
}

/**
 * Text has no control characters but line ends, tabs and the escapes of coloured output, and no bytes that UTF-8
 * never uses. Packed records soon have one, as the high bytes of sizes and addresses are small; when there are only
 * a few records, the first line must look like a line of lackey's as well.
 */
function looksLikeText(head: Uint8Array): boolean {
  const isText = head.every((byte) => byte >= 0x20
    ? byte !== 0x7f && byte < 0xf8
    : byte === 9 || byte === 10 || byte === 13 || byte === 27)
  return isText && (head.length >= TEXT_BYTES_SURE || FIRST_LINE.test(Buffer.from(head).toString('latin1')))
}
