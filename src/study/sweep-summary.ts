// What a sweep found, for a terminal: one line for each combination of parameters but the seed, with the mean over
// seeds and its interval.

import { counted, grouped, tableLines, type Column } from '../base/table.js'
import { bootstrapMean, type Interval } from './statistics.js'
import type { Scalar } from './study-axes.js'
import type { ResultRow } from './sweep-point.js'

/** Combinations that are listed on a terminal. */
const LINES_LISTED = 40

/** Rows that differ in nothing but the seed. */
export interface Group {
  parameters: Readonly<Record<string, Scalar>>
  rows: ResultRow[]
}

/** Groups in the order of their first rows. */
export function groupBySeed(rows: readonly ResultRow[]): Group[] {
  const groups = new Map<string, Group>()
  for (const row of rows) {
    const { seed: _, ...parameters } = row.parameters
    const key = JSON.stringify(parameters)
    const group = groups.get(key)
    if (group === undefined) groups.set(key, { parameters, rows: [row] })
    else group.rows.push(row)
  }
  return [...groups.values()]
}

/** Mean over the seeds of a group, with its 95 % interval. */
export function intervalOf({ rows }: Group, metric: string): Interval {
  return bootstrapMean(rows.map(({ result }) => result[metric] ?? 0))
}

const METRICS: readonly (readonly [metric: string, title: string])[] = [
  ['latencyMean', 'flush cycles'], ['latencyP99', 'p99'], ['callMean', 'call cycles'], ['ipisSent', 'IPIs'],
  ['ipisAvoided', 'avoided'], ['stlbMisses', 'walks'], ['cycles', 'total cycles'],
]

export interface SummaryContext {
  file: string
  complete: boolean
  question: string
}

/** Text for a terminal, ending with a line end. */
export function sweepSummary(rows: readonly ResultRow[], { file, complete, question }: SummaryContext): string {
  const groups = groupBySeed(rows)
  const fields = [...new Set(groups.flatMap(({ parameters }) => Object.keys(parameters)))]
  const hasSeeds = groups.some((group) => group.rows.length > 1)
  const columns: Column[] = [
    ...fields.map((title): Column => ({ title, align: isNumeric(groups, title) ? 'right' : 'left' })),
    ...METRICS.map(([, title]): Column => ({ title, align: 'right' })),
  ]
  const cells = (group: Group): string[] => {
    const values = METRICS.map(([metric]) => intervalText(intervalOf(group, metric)))
    return fields.map((field) => String(group.parameters[field] ?? '')).concat(values)
  }
  const lines = tableLines(columns, groups.slice(0, LINES_LISTED).map(cells))
  return [
    ...(question === '' ? [] : [question, '']),
    ...lines,
    ...(groups.length > LINES_LISTED ? [`and ${counted(groups.length - LINES_LISTED, 'more line')}`] : []),
    '',
    `${counted(rows.length, 'point')} in ${file}${complete ? '' : ' (a part of the study)'}`
      + `${hasSeeds ? '; means over seeds, with 95 % bootstrap intervals' : ''}`,
    '',
  ].join('\n')
}

function isNumeric(groups: readonly Group[], field: string): boolean {
  return groups.every(({ parameters }) => typeof parameters[field] === 'number')
}

/** `1,234`, or with an interval `1,234 [1,200..1,280]`. */
export function intervalText({ mean, low, high }: Interval): string {
  const text = (value: number): string => grouped(Math.round(value))
  return low === high ? text(mean) : `${text(mean)} [${text(low)}..${text(high)}]`
}
