// Reading ftrace text, ours or a real kernel's: the counterpart of ftrace-text.ts. Header lines,
// gaps that the kernel announces (`CPU:1 [LOST 12 EVENTS]`, buffers that begin late), a file that is
// cut off, several per-CPU files one after the other: all of it is read, and what is missing is said
// in `notes`. Only a line that is not ftrace text at all is an error, with its place.
//
// How a line looks: ftrace-line.ts. What its payload holds: ftrace-payload.ts. What events mean is
// not known here.

import { UserError } from '../base/errors.js'
import { countsTime, parseFtraceLine } from './ftrace-line.js'
import type { FtraceRecord, LineProblem } from './ftrace-line.js'

export type { FtraceRecord } from './ftrace-line.js'

/** Something a reader should know about a capture, with the line that says it. */
export interface CaptureNote {
  line: number
  text: string
}

/** A whole capture. */
export interface FtraceCapture {
  file: string
  /** In the order of time. */
  records: readonly FtraceRecord[]
  /** CPUs of the machine, from the header (`#P:2`), or as many as events name. */
  cpus: number
  /** `x86-tsc` and `counter` count something; all other clocks are in seconds. */
  clock: 'seconds' | 'counts'
  /** At least one event says to which process its task belongs. */
  hasTgid: boolean
  /** Where the kernel lost events; `events` is undefined where it did not say how many. */
  lost: readonly { cpu: number; events: number | undefined; line: number }[]
  /** What is missing or odd. */
  notes: readonly CaptureNote[]
}

const LOST = /^CPU:(\d+) \[LOST (?:(\d+) )?EVENTS\]/
const ENTRIES = /^# entries-in-buffer\/entries-written: (\d+)\/(\d+) +#P:(\d+)/
const BUFFER_STARTED = /^#+ CPU (\d+) buffer started/
const LATENCY_HEADER = /^# .*latency trace v\d/
const STACK_LINE = /^ => /
/** The first line of `trace-cmd report`. */
const TRACE_CMD_LINE = /^(?:version = \d+|cpus=(\d+))$/
/** Not one of ours that lost its first characters. */
const MARK_LINE = /^(?!.*\[\d+\] ).{1,4096}$/
const MAX_EXCERPT = 160

/** All events of a trace. Throws UserError with the place of the first thing it cannot read. */
export function parseFtrace(text: string, file = 'trace'): FtraceRecord[] {
  return [...readFtrace(text, file).records]
}

/** Reads a whole capture. Throws UserError with the place of the first thing it cannot read. */
export function readFtrace(text: string, file = 'trace'): FtraceCapture {
  return new FtraceReader(text, file).read()
}

class FtraceReader {
  readonly #text: string
  readonly #file: string
  readonly #records: FtraceRecord[] = []
  readonly #lost: { cpu: number; events: number | undefined; line: number }[] = []
  readonly #notes: CaptureNote[] = []
  /** Events that headers announce: a file may hold one per-CPU trace after the other. */
  #announced = 0
  #cpus = 0
  #clock: FtraceCapture['clock'] = 'seconds'
  #isOrdered = true

  constructor(text: string, file: string) {
    this.#text = text
    this.#file = file
  }

  read(): FtraceCapture {
    let start = 0
    for (let number = 1; start < this.#text.length; number++) {
      let end = this.#text.indexOf('\n', start)
      const isWhole = end >= 0
      if (!isWhole) end = this.#text.length
      this.#line(this.#text.slice(start, this.#text[end - 1] === '\r' ? end - 1 : end), number, isWhole)
      start = end + 1
    }
    return this.#finish()
  }

  #line(line: string, number: number, isWhole: boolean): void {
    if (line.trim() === '') return
    if (line.startsWith('#')) return this.#header(line, number)
    const lost = LOST.exec(line)
    if (lost !== null) return this.#gap(Number(lost[1]), lost[2] === undefined ? undefined : Number(lost[2]), number)
    if (STACK_LINE.test(line)) return
    const traceCmd = this.#records.length === 0 ? TRACE_CMD_LINE.exec(line) : null
    if (traceCmd !== null) {
      this.#cpus = Math.max(this.#cpus, Number(traceCmd[1] ?? 0))
      return
    }
    const record = parseFtraceLine(line, number)
    if ('message' in record) return this.#bad(record, line, number, isWhole)
    const last = this.#records.at(-1)
    if (last === undefined) this.#clock = countsTime(line) ? 'counts' : 'seconds'
    else if (record.timeUs < last.timeUs) this.#isOrdered = false
    this.#records.push(record)
    if (!isWhole) this.#note(number, 'the last line has no end: the file may be cut off')
  }

  #header(line: string, number: number): void {
    if (LATENCY_HEADER.test(line)) {
      this.#fail({
        message: 'this is the latency format, whose times are relative', column: 1,
        expected: 'record again with "echo 0 > options/latency-format"',
      }, line, number)
    }
    const entries = ENTRIES.exec(line)
    if (entries !== null) {
      this.#announced += Number(entries[1])
      this.#cpus = Math.max(this.#cpus, Number(entries[3]))
      if (Number(entries[2]) > Number(entries[1])) {
        this.#note(number, `the buffer was too small: ${Number(entries[2]) - Number(entries[1])} older events were `
          + 'overwritten')
      }
    }
    const started = BUFFER_STARTED.exec(line)
    if (started !== null && this.#records.length > 0) {
      this.#note(number, `what CPU ${started[1]} did before this line was not recorded`)
    }
    const tracer = /^# tracer: (\S+)/.exec(line)?.[1]
    if (tracer?.startsWith('function_graph')) {
      this.#fail({
        message: `the tracer ${tracer} prints call graphs, not events`, column: 11,
        expected: 'record again with "echo nop > current_tracer"',
      }, line, number)
    }
  }

  #gap(cpu: number, events: number | undefined, line: number): void {
    this.#lost.push({ cpu, events, line })
    this.#note(line, `the kernel lost ${events ?? 'some'} ${events === 1 ? 'event' : 'events'} of CPU ${cpu} here; `
      + 'record again with a larger buffer')
  }

  #bad(problem: LineProblem, line: string, number: number, isWhole: boolean): void {
    const last = this.#records.at(-1)
    if (!isWhole && last !== undefined) {
      this.#note(number, 'the file is cut off in the middle of this line, which is left out')
      return
    }
    // A marker of several lines: only the first has a prefix.
    if (last?.event === 'tracing_mark_write' && problem.column === 1 && MARK_LINE.test(line)) return
    this.#fail(problem, line, number)
  }

  #finish(): FtraceCapture {
    if (this.#records.length === 0) {
      throw new UserError('there is no event in this file', { file: this.#file, line: 1, column: 1 },
        ['expected the text of the tracefs file "trace"'])
    }
    if (this.#announced > 0 && this.#records.length < this.#announced) {
      this.#note(this.#records.at(-1)!.line, `the header announces ${this.#announced} events, but there are `
        + `${this.#records.length}: lines are missing, maybe at the end`)
    }
    if (!this.#isOrdered) {
      // One CPU after the other, as in `cat per_cpu/cpu*/trace`. The order of a CPU's own events stays.
      this.#records.sort((a, b) => a.timeUs - b.timeUs)
    }
    let cpus = this.#cpus
    for (const { cpu } of this.#records) cpus = Math.max(cpus, cpu + 1)
    return {
      file: this.#file, records: this.#records, cpus, clock: this.#clock,
      hasTgid: this.#records.some(record => record.tgid !== undefined), lost: this.#lost, notes: this.#notes,
    }
  }

  #note(line: number, text: string): void {
    this.#notes.push({ line, text })
  }

  #fail({ message, column, expected }: LineProblem, line: string, number: number): never {
    const excerpt = line.length > MAX_EXCERPT ? `${line.slice(0, MAX_EXCERPT - 3)}...` : line
    throw new UserError(message, { file: this.#file, line: number, column },
      [excerpt, ...(expected === '' ? [] : [expected])])
  }
}
