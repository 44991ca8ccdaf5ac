// Rows as a table of columns: what CSV and Parquet have in common. Parameters come first, under their own
// names, then what a row says about itself, then the numbers of the run.

import type { ResultRow } from './sweep-point.js'
import type { Scalar } from './study-axes.js'

export interface ResultColumn {
  name: string
  /** Of the cells; a parameter that is sometimes a number and sometimes text is text. */
  type: 'number' | 'text' | 'flag'
}

/** Columns of `rows`, which have the parameters and numbers of the first one. */
export function resultColumns(rows: readonly ResultRow[]): ResultColumn[] {
  const [first] = rows
  if (first === undefined) return []
  const parameters = [...new Set(rows.flatMap((row) => Object.keys(row.parameters)))]
  return [
    { name: 'index', type: 'number' },
    ...parameters.map((name): ResultColumn => ({ name: parameterColumn(name), type: typeOf(rows, name) })),
    { name: 'problem', type: 'text' },
    ...Object.keys(first.result).map((name): ResultColumn => ({ name, type: 'number' })),
    { name: 'latencies', type: 'text' },
    { name: 'seedUsed', type: 'number' },
    { name: 'study', type: 'text' },
    { name: 'version', type: 'text' },
  ]
}

/** The cells of a row under `columns`; undefined where it has none. */
export function resultCells(row: ResultRow, columns: readonly ResultColumn[]): (Scalar | undefined)[] {
  const { index, problem, latencies, seed, study, version } = row
  const own: Readonly<Record<string, Scalar>> = {
    index, problem, latencies: JSON.stringify(latencies), seedUsed: seed, study, version,
  }
  const parameters = new Map(Object.entries(row.parameters).map(([name, value]) => [parameterColumn(name), value]))
  return columns.map(({ name, type }) => {
    const value = parameters.get(name) ?? row.result[name] ?? own[name]
    return type === 'text' && value !== undefined ? String(value) : value
  })
}

/** A parameter that is called like a number of the run gets out of its way. */
function parameterColumn(name: string): string {
  return RESERVED.has(name) ? `parameter.${name}` : name
}

const RESERVED: ReadonlySet<string> = new Set(['index', 'problem', 'latencies', 'study', 'version', 'cycles', 'flushes',
  'calls'])

function typeOf(rows: readonly ResultRow[], name: string): ResultColumn['type'] {
  const types = new Set(rows.flatMap(({ parameters }) => name in parameters ? [typeof parameters[name]] : []))
  if (types.size !== 1) return 'text'
  return types.has('number') ? 'number' : types.has('boolean') ? 'flag' : 'text'
}

/** RFC 4180, with a line of titles. */
export function resultCsv(rows: readonly ResultRow[], write: (piece: string) => void): void {
  const columns = resultColumns(rows)
  write(`${columns.map(({ name }) => csvCell(name)).join(',')}\n`)
  for (const row of rows) write(`${resultCells(row, columns).map(csvCell).join(',')}\n`)
}

function csvCell(value: Scalar | undefined): string {
  const text = value === undefined ? '' : String(value)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
