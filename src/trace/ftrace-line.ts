// One line of ftrace text: the prefix that every event has, in all the shapes that kernels and their
// options give it, and what follows it.
//
//           <idle>-0       (-------) [001] d.h1.  4137.687958: tlb_flush: pages:0 reason:...
//   comm (16, right)-pid   (tgid)    [cpu] flags  time:        event:     payload
//
// The tgid column is there with `options/record-tgid`. Flags have five characters, four before 5.x
// (no migrate-disable), none with `options/irq-info` off or before 2.6.39. Times are seconds with six
// digits, nine in what trace-cmd prints with -t, and plain counts with the clocks `counter` and
// `x86-tsc`. A comm may hold spaces, dashes and brackets: the first `-pid [cpu] ...` that fits ends it.

import { parsePayload } from './ftrace-payload.js'
import type { FtraceFields } from './ftrace-payload.js'

export interface FtraceRecord {
  comm: string
  pid: number
  /** Thread group, where the trace has the column and the kernel knew it. */
  tgid: number | undefined
  cpu: number
  /** The four or five flag characters; empty where the trace has none. */
  flags: string
  /** Seconds, as printed; a count with the clocks that count. */
  time: number
  /** The same in microseconds, without rounding errors; a count with the clocks that count. */
  timeUs: number
  event: string
  /** Values as text under the kernel's keys; for tlb_flush `pages`, `reason` (the text) and `reason_id`. */
  fields: FtraceFields
  /** Everything after `event: `. */
  payload: string
  /** Line in the file, from 1. */
  line: number
}

/** A line that is not an event: where it stops to be one, and what was expected there. */
export interface LineProblem {
  message: string
  column: number
  expected: string
}

const PARTS: readonly (readonly [RegExp, string])[] = [
  [/^(.+?)-(\d+)\s+/, 'COMM-PID'],
  [/(?:\(\s*([\d-]+)\)\s+)?\[(\d+)\]\s+/, '[CPU] in three digits'],
  [/(?:([dDbX.][NLBnplb.][ZzHhs.][0-9a-f.]{1,2})\s+)?/, 'four or five flag characters'],
  [/(\d+)(?:\.(\d{1,9}))?:\s+/, 'a time such as 4137.687956'],
  [/(?:\w+:)?([\w.]+):(?: +(.*)| *)$/, 'EVENT: PAYLOAD'],
]
const pattern = (parts: number): RegExp => new RegExp(PARTS.slice(0, parts).map(([part]) => part.source).join(''))
const LINE = pattern(PARTS.length)
/** Without the event; then function tracers print `callee <-caller`, stack traces a word, system calls as in C. */
const PREFIX = pattern(PARTS.length - 1)
const OTHER_TAILS: readonly (readonly [RegExp, string])[] = [
  [/^sys_(?<name>\w+)\((?<args>.*)\)\s*$/, 'sys_enter_'], [/^sys_(?<name>\w+) -> (?<result>\S+)\s*$/, 'sys_exit_'],
  [/^(?<callee>\S+) <-(?<caller>\S+)\s*$/, 'function'], [/^<(?:user )?stack trace>\s*$/, 'stack_trace'],
]

const EXPECTED = 'expected: COMM-PID [CPU] FLAGS SECONDS.MICROSECONDS: EVENT: PAYLOAD'
/** The kernel prints no line that is longer: a marker is at most a page. */
const MAX_LINE = 65536
/** As much of a wrong line is looked at to say what is wrong with it. */
const MAX_SNIFFED = 400
const LATENCY_LINE = /^.{1,16}-\d+\s+\d+[dDbX.][NLBnplb.][ZzHhs.]\S{1,3}\s+\d+us/
const PERF_LINE = /^\S.*?\s+\d+(?:\/\d+)?\s+\[\d+\]\s+(?:\S{4,5}\s+)?\d+\.\d+:\s/

/** The event on a line, or what is wrong with it. */
export function parseFtraceLine(text: string, number: number): FtraceRecord | LineProblem {
  const line = text.trimStart()
  const indent = text.length - line.length
  if (line.length > MAX_LINE) return { message: 'this line is too long for ftrace text', column: 1, expected: EXPECTED }
  const match = LINE.exec(line)
  if (match === null) return otherEvent(line, number) ?? problemOf(line, indent)
  const [event, payload = ''] = match.slice(8)
  const fields = parsePayload(event!, payload)
  if (fields === undefined) {
    const column = text.length - payload.length + 1
    return { message: `the payload of ${event} does not have its fields`, column, expected: '' }
  }
  return { ...prefixOf(match), event: event!, fields, payload, line: number }
}

/** Does a line have a time that counts something, instead of seconds? */
export function countsTime(line: string): boolean {
  const match = PREFIX.exec(line.trimStart())
  return match !== null && match[7] === undefined
}

function timeOf(whole: string, fraction: string | undefined): { time: number; timeUs: number } {
  if (fraction === undefined) return { time: Number(whole), timeUs: Number(whole) }
  const digits = fraction.padEnd(9, '0')
  return {
    time: Number(`${whole}.${fraction}`),
    timeUs: Number(whole) * 1e6 + Number(digits.slice(0, 6)) + Number(digits.slice(6)) / 1000,
  }
}

/** System calls; lines of function tracers and stack traces, which say nothing to us but belong into a trace. */
function otherEvent(line: string, number: number): FtraceRecord | undefined {
  const match = PREFIX.exec(line)
  if (match === null) return undefined
  const payload = line.slice(match[0].length)
  for (const [tail, event] of OTHER_TAILS) {
    const found = tail.exec(payload)
    if (found === null) continue
    const { name = '', ...fields } = found.groups ?? {}
    return { ...prefixOf(match), event: event + name, fields: fields as FtraceFields, payload, line: number }
  }
  return undefined
}

function prefixOf(match: RegExpExecArray): Omit<FtraceRecord, 'event' | 'fields' | 'payload' | 'line'> {
  const [, comm, pid, tgid, cpu, flags = '', whole, fraction] = match
  return {
    comm: comm!, pid: Number(pid), tgid: tgid === undefined || tgid.startsWith('-') ? undefined : Number(tgid),
    cpu: Number(cpu), flags, ...timeOf(whole!, fraction),
  }
}

function problemOf(whole: string, indent: number): LineProblem {
  const line = whole.slice(0, MAX_SNIFFED)
  if (LATENCY_LINE.test(line)) {
    return {
      message: 'this is the latency format, whose times are relative', column: 1,
      expected: 'record again with "echo 0 > options/latency-format" and read the file "trace"',
    }
  }
  for (let parts = PARTS.length - 1; parts > 0; parts--) {
    const match = pattern(parts).exec(line)
    if (match === null) continue
    return {
      message: 'not a line of an ftrace text trace', column: indent + match[0].length + 1,
      expected: `expected here: ${PARTS[parts]![1]}`,
    }
  }
  return {
    message: PERF_LINE.test(line) ? 'this looks like the output of perf script, not like ftrace text'
      : 'not a line of an ftrace text trace',
    column: 1, expected: EXPECTED,
  }
}
