// The comparison of a capture with a simulation as text for people: who is who, then each operation
// with the events of every CPU side by side, then what all of it means. Rounds that came out alike
// are shown once.

import { verdictOf } from './capture-compare.js'
import type { CaptureComparison, LaneRows, OperationComparison, Row } from './capture-compare.js'
import { EXPLANATIONS } from './capture-explain.js'
import type { Explanation } from './capture-explain.js'
import type { FtraceCapture } from './ftrace-parse.js'

export interface CaptureTextOptions {
  /** What the capture is compared with, in a few words. */
  ours: string
  /** Show the events of operations in which nothing differs as well. */
  all: boolean
}

const SIGNS = { same: '=', explained: '~', different: '!' } as const
const NOTHING = '-'
const MIN_COLUMN = 44
/** A longer text pushes the other side of its own row only. */
const MAX_COLUMN = 64

export function captureText(real: FtraceCapture, comparison: CaptureComparison, options: CaptureTextOptions): string {
  return [
    headText(real, comparison, options),
    ...groups(comparison.operations).map(group => groupText(group, comparison, options)),
    legendText(comparison), verdictText(comparison),
  ].filter(text => text !== '').join('\n')
}

function headText(real: FtraceCapture, comparison: CaptureComparison, options: CaptureTextOptions): string {
  const { roles, how, notes, notRecorded } = comparison
  const lines = [
    `capture     ${real.file}: ${real.records.length} events, ${real.cpus} CPUs`,
    `simulation  ${options.ours}`,
    `operations  ${how === 'marks' ? 'from BEGIN to END of the markers' : 'flush requests, as there are no markers'}`,
  ]
  for (const { comm, pid, as, why } of roles.how) lines.push(`task        ${comm}-${pid} is ${as} (${why})`)
  for (const comm of roles.missing) lines.push(`task        ${comm} is not in the capture`)
  if (roles.foreign.length > 0) {
    lines.push(`foreign     ${roles.foreign.map(({ comm, pid }) => `${comm}-${pid}`).join(', ')}`)
  }
  const moved = [...roles.cpus].filter(([from, to]) => from !== to)
  if (moved.length > 0) lines.push(`CPUs        ${moved.map(([from, to]) => `${from} is ${to}`).join(', ')}`)
  const missing = notRecorded.map(kind => KIND_NAMES[kind] ?? kind)
  if (missing.length > 0) lines.push(`lacks       ${missing.join(', ')}: not recorded`)
  const outside = Object.values(comparison.outside).reduce((sum, count) => sum + count, 0)
  if (outside > 0) lines.push(`outside     ${outside} events belong to no operation and are not compared`)
  for (const { line, text } of real.notes) lines.push(`note        ${real.file}:${line}: ${text}`)
  for (const note of notes) lines.push(`note        ${note}`)
  return `${lines.join('\n')}\n`
}

const KIND_NAMES: Readonly<Record<string, string>> = {
  csd: 'csd_queue_cpu', fault: 'page faults', switch: 'sched_switch', fork: 'sched_process_fork',
  exit: 'sched_process_exit',
}

/** Rounds of one operation that came out alike. */
function groups(operations: readonly OperationComparison[]): OperationComparison[][] {
  const found = new Map<string, OperationComparison[]>()
  for (const operation of operations) {
    const { name, verdict, problem, lanes } = operation
    const rows = lanes.map(({ cpu, context, rows: all }) =>
      [cpu, context, all.map(({ real, ours, explanation }) => [real, ours, explanation])])
    const key = JSON.stringify([name, verdict, problem, rows])
    const group = found.get(key)
    if (group === undefined) found.set(key, [operation])
    else group.push(operation)
  }
  return [...found.values()]
}

function groupText(
  group: readonly OperationComparison[], comparison: CaptureComparison, options: CaptureTextOptions,
): string {
  const [first] = group
  if (first === undefined) return ''
  const rounds = comparison.operations.filter(({ name }) => name === first.name).length
  const which = rounds === 1 ? '' : group.length === rounds ? `, all ${rounds} rounds`
    : `, ${group.length === 1 ? 'round' : 'rounds'} ${group.map(({ round }) => round + 1).join(', ')} of ${rounds}`
  const lines = [`${first.name}${which} (line ${first.firstLine}): ${VERDICTS[first.verdict]}`]
  if (first.problem !== undefined) lines.push(`  ${first.problem}`)
  const events = first.lanes.reduce((sum, { rows }) => sum + rows.length, 0)
  const shown = options.all || first.verdict === 'different' || events <= SHORT
    ? first.lanes : first.lanes.map(onlyDifferences)
  lines.push(...lanesText(shown.filter(({ rows }) => rows.length > 0)))
  const same = first.lanes.reduce((sum, { rows }) => sum + rows.filter(row => row.status === 'same').length, 0)
  if (shown !== first.lanes) lines.push(`  and ${same} events that are the same (--all shows them)`)
  for (const [why, count] of Object.entries(first.ignored)) {
    lines.push(`  not compared: ${count} ${count === 1 ? 'event' : 'events'} ${why}`)
  }
  return `${lines.join('\n')}\n`
}

/** An operation of so many events is shown completely. */
const SHORT = 24
const VERDICTS = {
  same: 'the same', explained: 'the same but for what has an explanation', different: 'DIFFERENT',
} as const

function onlyDifferences(lane: LaneRows): LaneRows {
  return { ...lane, rows: lane.rows.filter(row => row.status !== 'same') }
}

function lanesText(lanes: readonly LaneRows[]): string[] {
  if (lanes.length === 0) return []
  const lengths = lanes.flatMap(({ rows }) => rows.map(({ real }) => (real ?? NOTHING).length))
  const width = Math.max(MIN_COLUMN, ...lengths.filter(length => length <= MAX_COLUMN))
  const lines = [`    ${'capture'.padEnd(width)}  simulation`]
  for (const { cpu, context, rows } of lanes) {
    lines.push(`  cpu${cpu}${context === 'interrupt' ? ', in interrupts' : ''}`)
    for (const { count, ...row } of withoutRepeats(rows)) {
      const { real, ours, explanation } = row
      if (count > 1) {
        lines.push(`  ${SIGNS.explained} ${`${count} events such as ${real ?? ours}`.padEnd(width)}  [${explanation}]`)
        continue
      }
      const text = `  ${SIGNS[verdictOf(row)]} ${(real ?? NOTHING).padEnd(width)}  ${ours ?? NOTHING}`
      lines.push(explanation === undefined ? text : `${text}  [${explanation}]`)
    }
  }
  return lines
}

/** Runs of three and more that differ for the same reason are one line. */
function withoutRepeats(rows: readonly Row[]): (Row & { count: number })[] {
  const shown: (Row & { count: number })[] = []
  for (let from = 0; from < rows.length;) {
    const { explanation, status } = rows[from]!
    let to = from + 1
    while (to < rows.length && explanation !== undefined && rows[to]!.explanation === explanation
      && rows[to]!.status === status) to += 1
    if (to - from >= 3 && status !== 'changed') shown.push({ ...rows[from]!, count: to - from })
    else for (let i = from; i < to; i++) shown.push({ ...rows[i]!, count: 1 })
    from = to
  }
  return shown
}

function legendText({ operations }: CaptureComparison): string {
  const counts = new Map<Explanation, number>()
  for (const row of rowsOf(operations)) {
    if (row.explanation !== undefined) counts.set(row.explanation, (counts.get(row.explanation) ?? 0) + 1)
  }
  if (counts.size === 0) return ''
  const lines = ['Explained differences']
  for (const [explanation, count] of counts) {
    lines.push(`  ${String(count).padStart(5)}  ${explanation}: ${EXPLANATIONS[explanation]}`)
  }
  return `${lines.join('\n')}\n`
}

function verdictText({ operations, verdict }: CaptureComparison): string {
  const rows = rowsOf(operations)
  const count = (wanted: string): number => rows.filter(row => verdictOf(row) === wanted).length
  const unexplained = count('different') + operations.filter(({ problem }) => problem !== undefined).length
  const sum = [
    `${operations.length} ${operations.length === 1 ? 'operation' : 'operations'}`, `${count('same')} events the same`,
    `${count('explained')} explained`, `${unexplained} unexplained`,
  ].join(', ')
  return verdict === 'different' || operations.length === 0 ? `DIFFERENT: ${sum}\n`
    : `no unexplained difference: ${sum}\n`
}

function rowsOf(operations: readonly OperationComparison[]): Row[] {
  return operations.flatMap(({ lanes }) => lanes.flatMap(({ rows }) => rows))
}
