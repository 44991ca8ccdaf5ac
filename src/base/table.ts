// A table as plain text, padded columns under titles, or as Markdown; and how numbers and counts read.

export interface Column {
  title: string
  /** Numbers stand to the right of their column. */
  align: 'left' | 'right'
}

/** A line of titles and one line a row, two spaces between columns. */
export function tableLines(columns: readonly Column[], rows: readonly (readonly string[])[]): string[] {
  const widths = columns.map(({ title }, at) => Math.max(title.length, ...rows.map((row) => row[at]?.length ?? 0)))
  const line = (cells: readonly string[]): string => columns
    .map(({ align }, at) => {
      const cell = cells[at] ?? ''
      return align === 'right' ? cell.padStart(widths[at]!) : cell.padEnd(widths[at]!)
    })
    .join('  ').trimEnd()
  return [line(columns.map(({ title }) => title)), ...rows.map(line)]
}

/** The same as Markdown. */
export function markdownLines(columns: readonly Column[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [
    line(columns.map(({ title }) => title)),
    `|${columns.map(({ align }) => align === 'right' ? '---:' : '---').join('|')}|`,
    ...rows.map(line),
  ]
}

/** 12,000,000. */
export function grouped(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ',')
}

/** `1 page`, `3 pages`. */
export function counted(count: number, noun: string): string {
  return `${grouped(count)} ${noun}${count === 1 ? '' : 's'}`
}
