// Reading ftrace text, ours or a real kernel's: the counterpart of ftrace-text.ts.
//
// A comm may hold spaces, dashes and brackets. The prefix is therefore read from what follows
// the comm: the first `-pid [cpu] flags time: event:` that fits ends it. Payloads are read by
// the key list of their event, in order, so that a comm inside a payload may hold anything too.
//
// Not here: what the events mean. Events without a key list keep only their raw payload, split
// at `key=` where it has such pairs.

import { UserError } from '../base/errors.js'

export interface FtraceRecord {
  comm: string
  pid: number
  cpu: number
  /** The four or five flag characters. */
  flags: string
  /** Seconds, as printed. */
  time: number
  /** The same in whole microseconds, without rounding errors. */
  timeUs: number
  event: string
  /** Values as text under the kernel's keys; for tlb_flush `pages`, `reason` (the text) and `reason_id`. */
  fields: Readonly<Record<string, string>>
  /** Everything after `event: `. */
  payload: string
  /** Line in the file, from 1. */
  line: number
}

/** All events of a trace in file order. Throws UserError with the line of the first thing it cannot read. */
export function parseFtrace(text: string, file = 'trace'): FtraceRecord[] {
  const records: FtraceRecord[] = []
  let start = 0
  for (let number = 1; start < text.length; number++) {
    let end = text.indexOf('\n', start)
    if (end < 0) end = text.length
    const line = text.slice(start, text[end - 1] === '\r' ? end - 1 : end)
    start = end + 1
    if (line.startsWith('#') || line.trim() === '') continue
    records.push(parseLine(line, number, file))
  }
  return records
}

// In parts: comm-pid, tgid or (-----), [cpu], flags, seconds.microseconds, event and payload.
const PREFIX = new RegExp([
  /^\s*(.+?)-(\d+)\s+/, /(?:\(\s*[\d-]+\)\s+)?/, /\[(\d+)\]\s+/, /([\w.]{4,5})\s+/, /(\d+)\.(\d{6})\d*:\s+/,
  /(\w+):(?: (.*))?$/,
].map((part) => part.source).join(''))
const LOST = /^CPU:\d+ \[LOST (\d+) EVENTS\]/

const SCHED_TASK = ['comm', 'pid', 'prio'] as const
const KEYS: Readonly<Record<string, readonly string[]>> = {
  sched_wakeup: [...SCHED_TASK, 'target_cpu'],
  sched_wakeup_new: [...SCHED_TASK, 'target_cpu'],
  sched_waking: [...SCHED_TASK, 'target_cpu'],
  sched_migrate_task: [...SCHED_TASK, 'orig_cpu', 'dest_cpu'],
  sched_process_fork: ['comm', 'pid', 'child_comm', 'child_pid'],
  ipi_send_cpu: ['cpu', 'callsite', 'callback'],
  ipi_send_cpumask: ['cpumask', 'callsite', 'callback'],
  csd_queue_cpu: ['cpu', 'callsite', 'func', 'csd'],
  call_function_single_entry: ['vector'],
  call_function_single_exit: ['vector'],
  call_function_entry: ['vector'],
  call_function_exit: ['vector'],
  reschedule_entry: ['vector'],
  reschedule_exit: ['vector'],
  local_timer_entry: ['vector'],
  local_timer_exit: ['vector'],
  page_fault_user: ['address', 'ip', 'error_code'],
  page_fault_kernel: ['address', 'ip', 'error_code'],
}

const PAYLOADS = new Map(Object.entries(KEYS).map(([event, keys]) => [event, keyPattern(keys)]))
const PREV = 'prev_comm=(?<prev_comm>.*) prev_pid=(?<prev_pid>-?\\d+) prev_prio=(?<prev_prio>-?\\d+) '
const NEXT = 'next_comm=(?<next_comm>.*) next_pid=(?<next_pid>-?\\d+) next_prio=(?<next_prio>-?\\d+)'
PAYLOADS.set('sched_switch', new RegExp(`^${PREV}prev_state=(?<prev_state>\\S+) ==> ${NEXT}$`))
// Older kernels end after prio.
PAYLOADS.set('sched_process_exit',
  /^comm=(?<comm>.*) pid=(?<pid>\d+) prio=(?<prio>-?\d+)(?: group_dead=(?<group_dead>true|false))?$/)
PAYLOADS.set('tlb_flush', /^pages:(?<pages>-?\d+) reason:(?<reason>.*) \((?<reason_id>\d+)\)$/)
PAYLOADS.set('tracing_mark_write', /^(?<text>.*)$/)

function keyPattern(keys: readonly string[]): RegExp {
  return new RegExp(`^${keys.map((key) => `${key}=(?<${key}>.*)`).join(' ')}$`)
}

function parseLine(line: string, number: number, file: string): FtraceRecord {
  const match = PREFIX.exec(line)
  if (!match) {
    const lost = LOST.exec(line)
    const message = lost
      ? `the kernel lost ${lost[1]} events here; record again with a larger buffer`
      : 'not a line of an ftrace text trace'
    throw new UserError(message, { file, line: number, column: 1 }, [
      excerpt(line), 'expected: COMM-PID [CPU] FLAGS SECONDS.MICROSECONDS: EVENT: PAYLOAD',
    ])
  }
  const [, comm, pid, cpu, flags, seconds, micros, event, payload = ''] = match as unknown as string[]
  return {
    comm: comm!,
    pid: Number(pid),
    cpu: Number(cpu),
    flags: flags!,
    time: Number(`${seconds}.${micros}`),
    timeUs: Number(seconds) * 1e6 + Number(micros),
    event: event!,
    fields: parsePayload(event!, payload, { line, number, file }),
    payload,
    line: number,
  }
}

function parsePayload(
  event: string, payload: string, at: { line: string; number: number; file: string },
): Readonly<Record<string, string>> {
  const pattern = PAYLOADS.get(event)
  if (!pattern) return splitPairs(payload)
  const groups = pattern.exec(payload)?.groups
  if (!groups) {
    const column = at.line.length - payload.length + 1
    throw new UserError(`the payload of ${event} does not have its fields`, {
      file: at.file, line: at.number, column,
    }, [excerpt(at.line)])
  }
  const fields: Record<string, string> = {}
  for (const [key, value] of Object.entries(groups)) if (value !== undefined) fields[key] = value
  return fields
}

function splitPairs(payload: string): Record<string, string> {
  const fields: Record<string, string> = {}
  for (const match of payload.matchAll(/(?:^| )(\w+)=(.*?)(?= \w+=|$)/g)) fields[match[1]!] = match[2]!
  return fields
}

function excerpt(line: string): string {
  return line.length > 160 ? `${line.slice(0, 157)}...` : line
}
