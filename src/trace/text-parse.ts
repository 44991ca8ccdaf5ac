// Reading the canonical text of a trace (text.ts writes it) back into its columns. A file that is
// cut off, out of order, of another version or no trace at all is told with line and column; what
// is read is byte for byte what was written, except the context flags, which the text does not have.

import { UserError } from '../base/errors.js'
import { EVENTS, FLUSH_REASONS } from './events.js'
import type { EventField, EventKind, TraceEra } from './events.js'
import { TraceRecorder, WORDS_PER_RECORD } from './recorder.js'
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
/** ` name=` of each field, by kind of event. */
const LABELS: readonly (readonly string[])[] = EVENTS.map(row => row.fields.map(field => ` ${field.name}=`))
const MAX_SHOWN = 60

/** Parses a whole trace. Throws UserError with the place of the first thing that is wrong. */
export function parseTextTrace(text: string, file: string): TextTrace {
  const parser = new TextTraceParser(file)
  const end = text.lastIndexOf('\n') + 1
  parser.push(text.slice(0, end))
  return parser.finish(text.slice(end))
}

/** Parses a trace that comes in pieces. Every method throws UserError as {@link parseTextTrace} does. */
export class TextTraceParser {
  /** Line that is read next, from 1. */
  #line = 1
  readonly #file: string
  readonly #keys = new Map<string, string>()
  #header: TraceHeader | undefined
  #firstLine = 0
  readonly #recorder = new TraceRecorder()
  /** Interned names of tasks, by how they are written. */
  readonly #comms = new Map<string, number>()
  #lastCycle = 0
  #lastCpu = 0
  // The line that is being read, and how far; #text holds other lines as well.
  #text = ''
  #start = 0
  #at = 0
  #end = 0
  readonly #words = new Int32Array(WORDS_PER_RECORD)
  #wordCount = 0

  constructor(file: string) {
    this.#file = file
  }

  /** The line that comes next, from 1. */
  get line(): number {
    return this.#line
  }

  /** Events so far. */
  get length(): number {
    return this.#recorder.length
  }

  /** Takes whole lines, each with its line end. */
  push(lines: string): void {
    this.#text = lines
    for (let from = 0; from < lines.length; from = this.#end + 1) {
      this.#start = this.#at = from
      this.#end = lines.indexOf('\n', from)
      if (this.#header !== undefined) this.#record(this.#header)
      else this.#headerLine()
      this.#line += 1
    }
  }

  /** Ends the trace; `rest` is what follows the last line end. */
  finish(rest = ''): TextTrace {
    if (this.#line === 1) this.#wrongFirstLine(rest)
    if (rest !== '') this.#fail('the last line is cut off: the file is not complete', 1)
    const header = this.#header ?? this.#endHeader()
    const events = this.#keys.get('events')
    if (events !== undefined && Number(events) !== this.#recorder.length) {
      this.#fail(`the header says ${events} events, the file has ${this.#recorder.length}: it is not complete`, 1)
    }
    return { header, data: this.#recorder.take(), firstLine: this.#firstLine }
  }

  #headerLine(): void {
    const line = this.#text.slice(this.#start, this.#end)
    if (this.#line === 1) {
      if (line !== TEXT_TRACE_FIRST_LINE) this.#wrongFirstLine(line)
      return
    }
    if (!line.startsWith('# ')) {
      this.#record(this.#endHeader())
      return
    }
    const colon = line.indexOf(': ')
    if (colon < 0) this.#fail('expected "# key: value" in the header', 1)
    this.#keys.set(line.slice(2, colon), line.slice(colon + 2))
  }

  /** The header is over; what it lacks is missing on this line. */
  #endHeader(): TraceHeader {
    const found = this.#keys
    const era = ERAS.find(each => each === found.get('era'))
    if (era === undefined) this.#fail(`the header names no kernel era: expected one of ${ERAS.join(', ')}`, 1)
    const number = (key: string): number => {
      const value = Number(found.get(key))
      if (!found.has(key) || !Number.isFinite(value)) this.#fail(`the header has no number "${key}"`, 1)
      return value
    }
    this.#firstLine = this.#line
    this.#header = {
      scenario: found.get('scenario') ?? '', era, cpus: number('cpus'), seed: number('seed'),
      frequencyGhz: number('frequencyGhz'),
    }
    return this.#header
  }

  /** A line as `48120 [000] writer-101 tlb_flush pages=8 reason=TLB_REMOTE_SEND_IPI`. */
  #record({ cpus }: TraceHeader): void {
    while (this.#code() === SPACE) this.#at += 1
    const cycle = this.#digits()
    const isCpuNext = this.#skip(' [')
    const cpuAt = this.#at
    const cpu = this.#digits()
    if (cycle < 0 || !isCpuNext || this.#at - cpuAt < 3 || !this.#skip('] ')) this.#noRecord()
    if (cycle > Number.MAX_SAFE_INTEGER) this.#fail(`cycle ${cycle} is not exact`, 1)
    if (cpu >= cpus) this.#fail(`CPU ${cpu}, but the header says ${cpus} CPUs`, this.#columnOf(cpuAt - 1))
    if (cycle < this.#lastCycle || (cycle === this.#lastCycle && cpu < this.#lastCpu)) {
      this.#fail(
        `out of order: cycle ${cycle} of cpu${cpu} comes after cycle ${this.#lastCycle} of cpu${this.#lastCpu}`, 1)
    }
    this.#lastCycle = cycle
    this.#lastCpu = cpu
    const comm = this.#comm()
    const pid = this.#digits()
    if (pid > INT_MAX) this.#noRecord()
    this.#at += 1
    const nameAt = this.#at
    this.#at = this.#wordEnd(nameAt)
    const name = this.#text.slice(nameAt, this.#at)
    const row = EVENT_BY_NAME.get(name)
    if (row === undefined) this.#fail(`unknown event "${name}"`, this.#columnOf(nameAt))
    this.#fields(row)
    const words = this.#words
    this.#recorder.record(row.id, cycle, cpu, pid, comm, 0, words[0], words[1], words[2], words[3], words[4], words[5])
  }

  /** A comm may hold anything: the first `-pid event` that fits ends it. Stops in front of the pid. */
  #comm(): number {
    const from = this.#at
    for (let dash = this.#text.indexOf('-', from); dash >= 0 && dash < this.#end;) {
      this.#at = dash + 1
      if (this.#digits() >= 0 && this.#code() === SPACE && this.#isEventName(this.#at + 1)) {
        this.#at = dash + 1
        return this.#commId(this.#text.slice(from, dash))
      }
      dash = this.#text.indexOf('-', dash + 1)
    }
    return this.#noRecord()
  }

  #isEventName(from: number): boolean {
    const first = this.#text.charCodeAt(from)
    if (first < LOWER_A || first > LOWER_Z) return false
    const end = this.#wordEnd(from)
    return end === this.#end || this.#text.charCodeAt(end) === SPACE
  }

  #commId(written: string): number {
    let id = this.#comms.get(written)
    if (id === undefined) {
      id = this.#recorder.intern(unescaped(written))
      this.#comms.set(written, id)
    }
    return id
  }

  /** The words a..f of a line whose fields begin here. */
  #fields(row: EventKind): void {
    const labels = LABELS[row.id]!
    this.#words.fill(0)
    this.#wordCount = 0
    for (let i = 0; i < labels.length; i++) {
      const field = row.fields[i]!
      const label = labels[i]!
      if (!this.#skip(label)) {
        const found = this.#text.slice(this.#at + 1, this.#end)
        this.#fail(`expected "${label.slice(1)}" of ${row.name}, found "${shown(found)}"`, this.#columnOf(this.#at + 1))
      }
      const from = this.#at
      if (!this.#value(field)) {
        const value = this.#text.slice(from, endOfValue(this.#text, from, this.#end))
        this.#fail(`${field.name}: expected ${EXPECTED[field.type]}, found "${shown(value)}"`, this.#columnOf(from))
      }
    }
    if (this.#at < this.#end) {
      const behind = this.#text.slice(this.#at + 1, this.#end)
      this.#fail(`unexpected "${shown(behind)}" behind the fields`, this.#columnOf(this.#at + 1))
    }
  }

  /** Reads one value. False: the text is not a value of this field. */
  #value(field: EventField): boolean {
    switch (field.type) {
      case 'address': {
        const from = this.#at + 2
        const isHex = this.#skip('0x') && this.#hexDigits() === 16
        if (!isHex) return false
        this.#word(Number.parseInt(this.#text.slice(from, from + 8), 16))
        this.#word(Number.parseInt(this.#text.slice(from + 8, this.#at), 16))
        return this.#isValueEnd()
      }
      case 'hex': {
        const from = this.#at + 2
        const digits = this.#skip('0x') ? this.#hexDigits() : 0
        this.#word(Number.parseInt(this.#text.slice(from, this.#at), 16))
        return digits >= 1 && digits <= 8 && this.#isValueEnd()
      }
      case 'string': {
        const value = this.#valueText()
        const text = value.startsWith('"') ? fromJson(value) : value
        if (text !== undefined) this.#word(this.#recorder.intern(text))
        return text !== undefined
      }
      case 'reason': {
        const value = this.#valueText()
        const reason = REASON_BY_NAME.get(value) ?? Number(value)
        this.#word(reason)
        return value !== '' && Number.isInteger(reason)
      }
      default: {
        const isNegative = this.#code() === MINUS
        if (isNegative) this.#at += 1
        const value = this.#digits()
        this.#word(isNegative ? -value : value)
        // What does not fit in a word of a record was not written from one.
        return value >= 0 && value <= (isNegative ? INT_MAX + 1 : INT_MAX) && this.#isValueEnd()
      }
    }
  }

  #word(value: number): void {
    this.#words[this.#wordCount++] = value
  }

  #valueText(): string {
    const from = this.#at
    this.#at = endOfValue(this.#text, from, this.#end)
    return this.#text.slice(from, this.#at)
  }

  #isValueEnd(): boolean {
    return this.#at === this.#end || this.#code() === SPACE
  }

  #code(): number {
    return this.#text.charCodeAt(this.#at)
  }

  #skip(expected: string): boolean {
    // Labels are short: comparing them here is quicker than startsWith().
    for (let i = 0; i < expected.length; i++) {
      if (this.#text.charCodeAt(this.#at + i) !== expected.charCodeAt(i)) return false
    }
    this.#at += expected.length
    return true
  }

  /** A number without a sign; -1 when there is none here. */
  #digits(): number {
    const from = this.#at
    let value = 0
    for (;;) {
      const digit = this.#code() - DIGIT_0
      if (!(digit >= 0 && digit <= 9)) return this.#at === from ? -1 : value
      value = value * 10 + digit
      this.#at += 1
    }
  }

  /** How many hexadecimal digits in small letters stand here. */
  #hexDigits(): number {
    const from = this.#at
    for (;;) {
      const code = this.#code()
      const isHex = (code >= DIGIT_0 && code <= DIGIT_0 + 9) || (code >= LOWER_A && code <= LOWER_A + 5)
      if (!isHex) return this.#at - from
      this.#at += 1
    }
  }

  /** The end of a word of letters, digits and underscores. */
  #wordEnd(from: number): number {
    let at = from
    while (isWordCode(this.#text.charCodeAt(at))) at += 1
    return at
  }

  #columnOf(at: number): number {
    return at - this.#start + 1
  }

  #wrongFirstLine(line: string): never {
    const version = /^# shootdown trace v(\S+)$/.exec(line)
    const [, expected] = TEXT_TRACE_FIRST_LINE.split(' v')
    if (version !== null) {
      this.#fail(`this trace has format version ${version[1]}, this program reads version ${expected}`, 1,
        ['write it anew with this program'])
    }
    if (line === `${TEXT_TRACE_FIRST_LINE}\r`) {
      this.#fail('this trace has the line ends of another system (CR LF)', 1, ['expected line feeds alone'])
    }
    if (line.startsWith('# tracer:')) {
      this.#fail('this is ftrace text, not a trace in the canonical form', 1, [`expected "${TEXT_TRACE_FIRST_LINE}"`])
    }
    this.#fail(`this is not a trace: expected "${TEXT_TRACE_FIRST_LINE}", found "${shown(line)}"`, 1)
  }

  #noRecord(): never {
    const line = this.#text.slice(this.#start, this.#end)
    this.#fail(`expected "cycle [cpu] comm-pid event ...", found "${shown(line)}"`, 1)
  }

  #fail(message: string, column: number, details: readonly string[] = []): never {
    throw new UserError(message, { file: this.#file, line: this.#line, column }, details)
  }
}

const INT_MAX = 2 ** 31 - 1
const SPACE = 32
const MINUS = 45
const DIGIT_0 = 48
const LOWER_A = 97
const LOWER_Z = 122

function isWordCode(code: number): boolean {
  return (code >= LOWER_A && code <= LOWER_Z) || code === 95 || (code >= DIGIT_0 && code <= 57)
    || (code >= 65 && code <= 90)
}

const EXPECTED: Readonly<Record<EventField['type'], string>> = {
  int: 'a whole number', cycles: 'a whole number', hex: 'a hexadecimal number',
  address: 'an address of 16 hexadecimal digits', reason: 'the name of a flush reason', string: 'text',
}

/** A value ends at a space; one in JSON quotes at its closing quote. */
function endOfValue(text: string, at: number, end: number): number {
  if (text[at] !== '"') {
    const space = text.indexOf(' ', at)
    return space < 0 || space > end ? end : space
  }
  for (let i = at + 1; i < end; i++) {
    if (text[i] === '\\') i += 1
    else if (text[i] === '"') return i + 1
  }
  return end
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
