// The canonical text of a trace, the one that golden files hold: a short header, then one line
// per event in the total order.
//
//   # shootdown trace v1
//   # scenario: munmap
//          48120 [000] writer-101 tlb_flush pages=8 reason=TLB_REMOTE_SEND_IPI
//          cycle  cpu  comm-pid   event     fields, in the order of the table in events.ts
//
// The text is a function of the trace and the header, byte for byte. Context flags are left out
// (ftrace-text.ts has them), and so is everything about the host. One line: text-line.ts.

import { writeFileAtomic } from '../base/atomic-file.js'
import type { TraceEra } from './events.js'
import type { TraceData } from './recorder.js'
import { formatLine, oneLine, quotedStrings } from './text-line.js'

export { formatEvent, formatFields, lineFormatter, oneLine, quotedStrings } from './text-line.js'

/** What a reader must know about the run to make sense of its trace. */
export interface TraceHeader {
  scenario: string
  era: TraceEra
  cpus: number
  seed: number
  frequencyGhz: number
}

export const TEXT_TRACE_FIRST_LINE = '# shootdown trace v1'

/** The text in pieces of about 64 KiB. */
export function* textChunks(data: TraceData, header: TraceHeader): Generator<string, void, undefined> {
  yield [
    TEXT_TRACE_FIRST_LINE,
    `# scenario: ${oneLine(header.scenario)}`,
    `# era: ${header.era}`,
    `# cpus: ${header.cpus}`,
    `# seed: ${header.seed}`,
    `# frequencyGhz: ${header.frequencyGhz}`,
    // So that a file that was cut at a line end is noticed.
    `# events: ${data.length}`,
    '',
  ].join('\n')
  const strings = quotedStrings(data)
  const comms = data.strings.map(oneLine)
  yield* chunksOf(data.length, (index) => formatLine(data, index, comms, strings))
}

export function formatTextTrace(data: TraceData, header: TraceHeader): string {
  let text = ''
  for (const chunk of textChunks(data, header)) text += chunk
  return text
}

/** Writes the file completely or not at all; throws UserError when it cannot. */
export function saveTextTrace(path: string, data: TraceData, header: TraceHeader): void {
  writeFileAtomic(path, (write) => {
    for (const chunk of textChunks(data, header)) write(chunk)
  })
}

/** The lines of all indices below `count`, in pieces. A line may be empty, which leaves it out. */
export function* chunksOf(count: number, line: (index: number) => string): Generator<string, void, undefined> {
  let chunk = ''
  for (let index = 0; index < count; index++) {
    chunk += line(index)
    if (chunk.length >= CHUNK_CHARACTERS) {
      yield chunk
      chunk = ''
    }
  }
  if (chunk !== '') yield chunk
}

const CHUNK_CHARACTERS = 1 << 16
