// A capture from a file: ftrace text, plain or packed with gzip or xz, or from a pipe. What is not
// text, or too much of it, is told before anything is parsed.

import { UserError } from '../base/errors.js'
import { openTraceBytes } from '../scenario/trace-bytes.js'
import { readFtrace } from '../trace/ftrace-parse.js'
import type { FtraceCapture } from '../trace/ftrace-parse.js'

/** As long as a string may be in this runtime, with room to spare. */
export const MAX_CAPTURE_BYTES = 400 * 2 ** 20
/** trace-cmd's trace.dat: 0x17 0x08 0x44 and `tracing`. */
const TRACE_DAT = Buffer.from('\x17\x08Dtracing', 'latin1')

/** Reads and parses `file`. Throws UserError for whatever is wrong with it. */
export async function loadCapture(file: string): Promise<FtraceCapture> {
  return readFtrace(await readCaptureText(file), file)
}

/** The text of `file`, unpacked. */
export async function readCaptureText(file: string): Promise<string> {
  const at = { file, line: 1, column: 1 }
  const { chunks, encoding } = await openTraceBytes(file)
  const parts: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of chunks) {
    if (parts.length === 0 && TRACE_DAT.equals(chunk.subarray(0, TRACE_DAT.length))) {
      throw new UserError('this is a trace.dat of trace-cmd, which is binary', at,
        ['give the text: trace-cmd report trace.dat > trace.txt'])
    }
    if (chunk.includes(0)) throw new UserError('this is a binary file, not ftrace text', at)
    bytes += chunk.length
    if (bytes > MAX_CAPTURE_BYTES) {
      const what = encoding === 'plain' ? '' : ' when it is unpacked'
      throw new UserError(`this is too large for a capture: more than ${MAX_CAPTURE_BYTES} bytes${what}`, at,
        ['record less, or cut the file: lines may be left out'])
    }
    parts.push(chunk)
  }
  // A comm may hold bytes that are no UTF-8; they are shown as replacement characters.
  return new TextDecoder('utf-8').decode(Buffer.concat(parts))
}
