// What each field of each event can say, so that whoever asks about events (the `expect:` of a
// scenario) can be told about a name or a value that no record will ever have.

import { EVENTS, FLUSH_REASONS } from './events.js'
import type { EventField } from './events.js'

/** A value of a closed set, under all its names; the first is how `expect:` finds it in a record. */
export interface NamedValue {
  readonly names: readonly string[]
}

export type EventFieldKind = 'task' | 'cpu' | 'number' | 'text' | readonly NamedValue[]

/** By event, then by field. */
export type EventVocabulary = Readonly<Record<string, Readonly<Record<string, EventFieldKind>>>>

/** Both spellings of the eras, and the kernel's constant, which the canonical text prints. */
const REASONS: readonly NamedValue[] = FLUSH_REASONS.map(({ id, name, text }) =>
  ({ names: [text['linux-6.x'], text['linux-4.6'], name, String(id)].filter((one) => one !== undefined) }))

/** All events of events.ts. */
export const EVENT_VOCABULARY: EventVocabulary = Object.freeze(Object.fromEntries(EVENTS.map(({ name, fields }) =>
  [name, Object.fromEntries((fields as readonly EventField[]).map((field) => [field.name, kindOf(field)]))])))

function kindOf({ name, type }: EventField): EventFieldKind {
  if (type === 'reason') return REASONS
  if (type !== 'string') return /cpu$/i.test(name) ? 'cpu' : 'number'
  return /comm$/i.test(name) ? 'task' : 'text'
}
