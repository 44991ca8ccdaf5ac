// Rows as a Parquet file: one row group, a column for each of result-table.ts.

import { parquetWriteBuffer } from 'hyparquet-writer'
import type { ColumnSource } from 'hyparquet-writer'
import { resultCells, resultColumns, type ResultColumn } from './result-table.js'
import type { ResultRow } from './sweep-point.js'

const TYPES = { number: 'DOUBLE', text: 'STRING', flag: 'BOOLEAN' } as const

/** The bytes of the file. */
export function resultParquet(rows: readonly ResultRow[]): Uint8Array {
  const columns = resultColumns(rows)
  const cells = rows.map((row) => resultCells(row, columns))
  const columnData = columns.map((column, at): ColumnSource => ({
    name: column.name, type: TYPES[column.type], nullable: isSparse(column), data: cells.map((row) => row[at] ?? null),
  }))
  return new Uint8Array(parquetWriteBuffer({ columnData }))
}

/** Points of a list need not have the same parameters. */
function isSparse({ name }: ResultColumn): boolean {
  return name !== 'index'
}
