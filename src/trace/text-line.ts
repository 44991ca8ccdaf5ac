// One event as its canonical line: what text.ts writes to files and a report shows beside its
// timeline. Nothing here touches a file, so that it also runs in a browser.

import { fail } from '../base/assert.js'
import { EVENTS, FLUSH_REASONS } from './events.js'
import type { EventField, EventKind } from './events.js'
import type { TraceData } from './recorder.js'

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

/** The canonical line with its line end. `comms` and `strings`: those of the trace, by {@link oneLine} and quoted. */
export function formatLine(
  data: TraceData, index: number, comms: readonly string[], strings: readonly string[],
): string {
  const row = EVENTS[data.kind[index]!]
  if (row === undefined) fail(`trace record ${index} has the unknown kind ${data.kind[index]}`)
  return String(data.cycle[index]).padStart(12)
    + ' [' + String(data.cpu[index]).padStart(3, '0') + '] '
    + (comms[data.comm[index]!] ?? '') + '-' + data.pid[index] + ' '
    + row.name + formatFields(data, index, row, strings) + '\n'
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

/** Text with line ends and other control characters spelled out. */
export function oneLine(text: string): string {
  return text.replace(/[\x00-\x1f\x7f\u2028\u2029]/g, (character) => {
    return '\\x' + character.charCodeAt(0).toString(16).padStart(2, '0')
  })
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
