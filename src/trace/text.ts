// The canonical text of a trace, the one that golden files hold: a short header, then one line
// per event in the total order.
//
//   # shootdown trace v1
//   # scenario: munmap
//          48120 [000] writer-101 tlb_flush pages=8 reason=TLB_REMOTE_SEND_IPI
//          cycle  cpu  comm-pid   event     fields, in the order of the table in events.ts
//
// The text is a function of the trace and the header, byte for byte. Context flags are left out
// (ftrace-text.ts has them), and so is everything about the host.

import { writeFileAtomic } from '../base/atomic-file.js'
import { assert } from '../base/assert.js'
import { EVENTS, FLUSH_REASONS } from './events.js'
import type { EventField, EventKind, TraceEra } from './events.js'
import type { TraceData } from './recorder.js'

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

/** One event as its canonical line, without the line end. */
export function formatEvent(data: TraceData, index: number): string {
  return formatLine(data, index, data.strings.map(oneLine), quotedStrings(data)).slice(0, -1)
}

/** Formats events one by one, each as its canonical line without the line end. */
export function lineFormatter(data: TraceData): (index: number) => string {
  const comms = data.strings.map(oneLine)
  const strings = quotedStrings(data)
  return (index) => formatLine(data, index, comms, strings).slice(0, -1)
}

/** ` key=value` for every field of a record; empty for a kind without fields. `strings` come from `quotedStrings`. */
export function formatFields(data: TraceData, index: number, row: EventKind, strings: readonly string[]): string {
  let text = ''
  let word = 0
  for (const field of row.fields) {
    text += ' ' + field.name + '='
    const value = data.words[word++]![index]!
    text += field.type === 'address'
      ? '0x' + hex8(value) + hex8(data.words[word++]![index]!)
      : formatWord(field, value, strings)
  }
  return text
}

/** The strings of a trace, those with spaces or quotes in JSON quotes, so that a line splits at its spaces. */
export function quotedStrings(data: TraceData): string[] {
  return data.strings.map((text) => (/^[\w.,:;/+*@<>()-]+$/.test(text) ? text : JSON.stringify(text)))
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

/** Text with line ends and other control characters spelled out. */
export function oneLine(text: string): string {
  return text.replace(/[\x00-\x1f\x7f\u2028\u2029]/g, (character) => {
    return '\\x' + character.charCodeAt(0).toString(16).padStart(2, '0')
  })
}

const CHUNK_CHARACTERS = 1 << 16

function formatLine(data: TraceData, index: number, comms: readonly string[], strings: readonly string[]): string {
  const row = EVENTS[data.kind[index]!]
  assert(row !== undefined, `trace record ${index} has the unknown kind ${data.kind[index]}`)
  return String(data.cycle[index]).padStart(12)
    + ' [' + String(data.cpu[index]).padStart(3, '0') + '] '
    + (comms[data.comm[index]!] ?? '') + '-' + data.pid[index] + ' '
    + row.name + formatFields(data, index, row, strings) + '\n'
}

function formatWord(field: EventField, value: number, strings: readonly string[]): string {
  switch (field.type) {
    case 'string':
      return strings[value] ?? '""'
    case 'hex':
      return '0x' + (value >>> 0).toString(16)
    case 'reason':
      return FLUSH_REASONS[value]?.name ?? String(value)
    default:
      return String(value)
  }
}

function hex8(word: number): string {
  return (word >>> 0).toString(16).padStart(8, '0')
}
