// Reading the canonical text of a trace (text.ts writes it) back into its columns. A file that is
// cut off, out of order, of another version or no trace at all is told with line and column; what
// is read is byte for byte what was written, except the context flags, which the text does not have.

import { UserError } from '../base/errors.js'
import { EVENTS, FLUSH_REASONS } from './events.js'
import type { EventField, EventKind, TraceEra } from './events.js'
import { TraceRecorder } from './recorder.js'
import type { TraceData } from './recorder.js'
import { TEXT_TRACE_FIRST_LINE } from './text.js'
import type { TraceHeader } from './text.js'

export interface TextTrace {
  header: TraceHeader
  data: TraceData
  /** Line of the file on which record 0 stands; record i is on line `firstLine + i`. */
  firstLine: number
}

const ERAS: readonly TraceEra[] = ['linux-4.6', 'linux-6.x']
const EVENT_BY_NAME: ReadonlyMap<string, EventKind> = new Map(EVENTS.map(row => [row.name, row]))
const REASON_BY_NAME = new Map(FLUSH_REASONS.map(reason => [reason.name, reason.id]))
/** As in `48120 [000] writer-101 tlb_flush`. A comm may hold anything: the first `-pid event` that fits ends it. */
const PREFIX = /^ *(\d+) \[(\d{3,})\] (.*?)-(\d+) ([a-z]\w*)(?= |$)/
const MAX_SHOWN = 60

/** Parses a whole trace. Throws UserError with the place of the first thing that is wrong. */
export function parseTextTrace(text: string, file: string): TextTrace {
  const parser = new Parser(text, file)
  const header = parser.header()
  const firstLine = parser.line
  return { header, data: parser.records(header), firstLine }
}

class Parser {
  /** Line that is read next, from 1. */
  line = 1
  readonly #text: string
  readonly #file: string
  #at = 0

  constructor(text: string, file: string) {
    this.#text = text
    this.#file = file
  }

  header(): TraceHeader {
    const first = this.#nextLine()
    if (first !== TEXT_TRACE_FIRST_LINE) this.#wrongFirstLine(first ?? '')
    const found = new Map<string, string>()
    while (this.#text.startsWith('# ', this.#at)) {
      const line = this.#nextLine() ?? ''
      const colon = line.indexOf(': ')
      if (colon < 0) this.#fail('expected "# key: value" in the header', 1)
      found.set(line.slice(2, colon), line.slice(colon + 2))
    }
    const era = ERAS.find(each => each === found.get('era'))
    if (era === undefined) this.#fail(`the header names no kernel era: expected one of ${ERAS.join(', ')}`, 1)
    const number = (key: string): number => {
      const value = Number(found.get(key))
      if (!found.has(key) || !Number.isFinite(value)) this.#fail(`the header has no number "${key}"`, 1)
      return value
    }
    return {
      scenario: found.get('scenario') ?? '', era, cpus: number('cpus'), seed: number('seed'),
      frequencyGhz: number('frequencyGhz'),
    }
  }

  records(header: TraceHeader): TraceData {
    const recorder = new TraceRecorder()
    let lastCycle = 0
    let lastCpu = 0
    for (let line = this.#nextLine(); line !== undefined; line = this.#nextLine()) {
      const prefix = PREFIX.exec(line)
      if (prefix === null) this.#failBefore(`expected "cycle [cpu] comm-pid event ...", found "${shown(line)}"`, 1)
      const cycle = Number(prefix[1])
      const cpu = Number(prefix[2])
      if (cpu >= header.cpus) this.#failBefore(`CPU ${cpu}, but the header says ${header.cpus} CPUs`, 14)
      if (cycle < lastCycle || (cycle === lastCycle && cpu < lastCpu)) {
        this.#failBefore(`out of order: cycle ${cycle} of cpu${cpu} comes after cycle ${lastCycle} of cpu${lastCpu}`, 1)
      }
      lastCycle = cycle
      lastCpu = cpu
      const row = EVENT_BY_NAME.get(prefix[5]!)
      if (row === undefined) {
        this.#failBefore(`unknown event "${prefix[5]}"`, prefix[0].length - prefix[5]!.length + 1)
      }
      const [a, b, c, d, e, f] = this.#fields(recorder, row, line, prefix[0].length)
      const comm = recorder.intern(unescaped(prefix[3]!))
      recorder.record(row.id, cycle, cpu, Number(prefix[4]), comm, 0, a, b, c, d, e, f)
    }
    return recorder.finish()
  }

  /** The words a..f of a line whose fields begin at `from`. */
  #fields(recorder: TraceRecorder, row: EventKind, line: string, from: number): number[] {
    const words: number[] = []
    let at = from
    for (const field of row.fields) {
      const label = ` ${field.name}=`
      if (!line.startsWith(label, at)) {
        this.#failBefore(`expected "${label.slice(1)}" of ${row.name}, found "${shown(line.slice(at + 1))}"`, at + 2)
      }
      at += label.length
      const end = endOfValue(line, at)
      const value = line.slice(at, end)
      if (!pushWords(words, recorder, field, value)) {
        this.#failBefore(`${field.name}: expected ${EXPECTED[field.type]}, found "${shown(value)}"`, at + 1)
      }
      at = end
    }
    if (at < line.length) this.#failBefore(`unexpected "${shown(line.slice(at + 1))}" behind the fields`, at + 2)
    return words
  }

  #nextLine(): string | undefined {
    if (this.#at >= this.#text.length) return undefined
    const end = this.#text.indexOf('\n', this.#at)
    if (end < 0) this.#fail('the last line is cut off: the file is not complete', 1)
    const line = this.#text.slice(this.#at, end)
    this.#at = end + 1
    this.line += 1
    return line
  }

  #wrongFirstLine(line: string): never {
    const version = /^# shootdown trace v(\S+)$/.exec(line)
    const [, expected] = TEXT_TRACE_FIRST_LINE.split(' v')
    if (version !== null) {
      this.#failBefore(`this trace has format version ${version[1]}, this program reads version ${expected}`, 1,
        ['write it anew with this program'])
    }
    if (line.startsWith('# tracer:')) {
      this.#failBefore('this is ftrace text, not a trace in the canonical form', 1,
        [`expected "${TEXT_TRACE_FIRST_LINE}"`])
    }
    this.#failBefore(`this is not a trace: expected "${TEXT_TRACE_FIRST_LINE}", found "${shown(line)}"`, 1)
  }

  /** An error in the line that was read last. */
  #failBefore(message: string, column: number, details: readonly string[] = []): never {
    throw new UserError(message, { file: this.#file, line: Math.max(1, this.line - 1), column }, details)
  }

  #fail(message: string, column: number): never {
    throw new UserError(message, { file: this.#file, line: this.line, column })
  }
}

const EXPECTED: Readonly<Record<EventField['type'], string>> = {
  int: 'a whole number', cycles: 'a whole number', hex: 'a hexadecimal number',
  address: 'an address of 16 hexadecimal digits', reason: 'the name of a flush reason', string: 'text',
}

/** A value ends at a space; one in JSON quotes at its closing quote. */
function endOfValue(line: string, at: number): number {
  if (line[at] !== '"') {
    const space = line.indexOf(' ', at)
    return space < 0 ? line.length : space
  }
  for (let i = at + 1; i < line.length; i++) {
    if (line[i] === '\\') i += 1
    else if (line[i] === '"') return i + 1
  }
  return line.length
}

/** False: the text is not a value of this field. */
function pushWords(words: number[], recorder: TraceRecorder, field: EventField, value: string): boolean {
  switch (field.type) {
    case 'address': {
      if (!/^0x[0-9a-f]{16}$/.test(value)) return false
      words.push(Number.parseInt(value.slice(2, 10), 16) | 0, Number.parseInt(value.slice(10), 16) | 0)
      return true
    }
    case 'hex':
      words.push(Number.parseInt(value.slice(2), 16) | 0)
      return /^0x[0-9a-f]{1,8}$/.test(value)
    case 'string': {
      const text = value.startsWith('"') ? fromJson(value) : value
      if (text !== undefined) words.push(recorder.intern(text))
      return text !== undefined
    }
    case 'reason': {
      const reason = REASON_BY_NAME.get(value) ?? Number(value)
      words.push(reason)
      return value !== '' && Number.isInteger(reason)
    }
    default:
      words.push(Number(value))
      return /^-?\d+$/.test(value)
  }
}

function fromJson(text: string): string | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'string' ? value : undefined
  } catch {
    return undefined
  }
}

/** The inverse of oneLine(). */
function unescaped(text: string): string {
  if (!text.includes('\\x')) return text
  return text.replace(/\\x([0-9a-f]{2,4})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)))
}

function shown(text: string): string {
  const printable = text.replace(/[^\x20-\x7e]/g, '?')
  return printable.length > MAX_SHOWN ? `${printable.slice(0, MAX_SHOWN)}...` : printable
}
