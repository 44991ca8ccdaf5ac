// The fields of a record one after the other, for exporters that write each in their own way.

import { EVENTS, FLUSH_REASONS } from './events.js'
import type { EventField } from './events.js'
import type { TraceData } from './recorder.js'

/** `word` is the field's word, for an address its upper half; `low` is its lower half, else 0. */
export type FieldVisit = (field: EventField, word: number, low: number) => void

export function visitFields(data: TraceData, index: number, visit: FieldVisit): void {
  let at = 0
  for (const field of EVENTS[data.kind[index]!]!.fields) {
    const word = data.words[at++]![index]!
    visit(field, word, field.type === 'address' ? data.words[at++]![index]! : 0)
  }
}

/** The name of a flush reason, or its number when it has none. */
export function reasonName(reason: number): string {
  return FLUSH_REASONS[reason]?.name ?? String(reason)
}

/** 0x and 16 digits. */
export function addressText(hi: number, lo: number): string {
  return '0x' + hex8(hi) + hex8(lo)
}

/** 0x and as many digits as it takes. */
export function hexText(word: number): string {
  return '0x' + (word >>> 0).toString(16)
}

function hex8(word: number): string {
  return (word >>> 0).toString(16).padStart(8, '0')
}
