// The payload of an ftrace event, from text to values under the kernel's own keys. The keys of an
// event come from the table in events.ts: its fields in snake_case, for an interrupt its vector.
// Where the kernel prints more than the table has, or in another order, OWN_KEYS says so.
//
// A comm inside a payload may hold anything, also spaces and `pid=`, so the keys are read as one
// pattern from both ends of the line. An event that is not in the table keeps its text, split at
// `key=` where it has such pairs.

import { EVENTS } from './events.js'
import type { EventKind } from './events.js'

export type FtraceFields = Readonly<Record<string, string>>

const INTEGER = '-?\\d+'
const ANYTHING = '.*'
/** What the value of a key looks like, where it is not free text. */
const VALUES: Readonly<Record<string, string>> = {
  pid: INTEGER, prio: INTEGER, child_pid: INTEGER, prev_pid: INTEGER, next_pid: INTEGER, prev_prio: INTEGER,
  next_prio: INTEGER, cpu: INTEGER, vector: INTEGER, target_cpu: INTEGER, orig_cpu: INTEGER, dest_cpu: INTEGER,
  error_code: '(?:0x)?[0-9a-f]+',
}

const SCHED_TASK = ['comm', 'pid', 'prio'] as const
const OWN_KEYS: Readonly<Record<string, readonly string[]>> = {
  sched_wakeup: [...SCHED_TASK, 'target_cpu'],
  sched_wakeup_new: [...SCHED_TASK, 'target_cpu'],
  sched_waking: [...SCHED_TASK, 'target_cpu'],
  sched_migrate_task: [...SCHED_TASK, 'orig_cpu', 'dest_cpu'],
  sched_process_fork: ['comm', 'pid', 'child_comm', 'child_pid'],
  sched_process_exec: ['filename', 'pid', 'old_pid'],
  signal_generate: ['sig', 'errno', 'code', 'comm', 'pid', 'grp', 'res'],
  ipi_send_cpu: ['cpu', 'callsite', 'callback'],
  ipi_send_cpumask: ['cpumask', 'callsite', 'callback'],
  csd_queue_cpu: ['cpu', 'callsite', 'func', 'csd'],
}

const PAYLOADS = new Map<string, RegExp>()
for (const row of EVENTS as readonly EventKind[]) {
  if (row.ftrace) PAYLOADS.set(row.name, keyPattern(OWN_KEYS[row.name] ?? keysOf(row)))
}
PAYLOADS.set('sched_waking', keyPattern(OWN_KEYS['sched_waking']!))
const PREV = ['prev_comm', 'prev_pid', 'prev_prio', 'prev_state'].map(keyText).join(' ')
const NEXT = ['next_comm', 'next_pid', 'next_prio'].map(keyText).join(' ')
PAYLOADS.set('sched_switch', new RegExp(`^${PREV} ==> ${NEXT}$`))
// Older kernels end after prio.
PAYLOADS.set('sched_process_exit', new RegExp(
  `^${SCHED_TASK.map(keyText).join(' ')}(?: group_dead=(?<group_dead>true|false|[01]))?$`))
PAYLOADS.set('tlb_flush', /^pages:(?<pages>-?\d+) reason:(?<reason>.*) \((?<reason_id>\d+)\)$/)
PAYLOADS.set('tracing_mark_write', /^(?<text>.*)$/)

/** The fields of a payload; undefined when an event that we know does not have its own. */
export function parsePayload(event: string, payload: string): FtraceFields | undefined {
  const pattern = PAYLOADS.get(event)
  if (pattern === undefined) return splitPairs(payload)
  const groups = pattern.exec(payload)?.groups
  if (groups === undefined) return undefined
  const fields: Record<string, string> = {}
  for (const [key, value] of Object.entries(groups)) if (value !== undefined) fields[key] = value
  return fields
}

function keysOf(row: EventKind): string[] {
  if (row.vector !== undefined) return ['vector']
  return row.fields.map(field => field.name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`))
}

/** Kernels before 4.3 print `success=1` in front of target_cpu. */
function keyPattern(keys: readonly string[]): RegExp {
  const text = keys.map(keyText).join(' ').replace(' target_cpu=', '(?: success=[01])? target_cpu=')
  return new RegExp(`^${text}$`)
}

function keyText(key: string): string {
  return `${key}=(?<${key}>${VALUES[key] ?? ANYTHING})`
}

function splitPairs(payload: string): Record<string, string> {
  const fields: Record<string, string> = {}
  for (const match of payload.matchAll(/(?:^| )(\w+)=(.*?)(?= \w+=|$)/g)) fields[match[1]!] = match[2]!
  return fields
}
