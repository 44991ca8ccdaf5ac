// `npm run bench`: runs every suite, or those named (`npm run bench -- mixes`), and prints medians,
// rates and ratios. Nothing here fails because something is slow; numbers are for reading, beside
// the machine they were taken on.

import { existsSync } from 'node:fs'
import { cpus } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { benchMixes } from './mixes.js'
import { benchReplay } from './replay.js'
import type { BenchRow, BenchSuite } from './suite.js'

const SUITES: Readonly<Record<string, (root: string) => Promise<BenchSuite>>> = {
  mixes: benchMixes, replay: benchReplay,
}

const root = projectFolder()
process.stdout.write(`node ${process.version}, ${cpus().length} x ${cpus()[0]?.model ?? 'unknown CPU'}\n`)
const wanted = process.argv.slice(2)
for (const [name, run] of Object.entries(SUITES)) {
  if (wanted.length === 0 || wanted.includes(name)) print(await run(root))
}

function print({ name, notes, rows }: BenchSuite): void {
  const width = Math.max(...rows.map((row) => row.name.length))
  const lines = rows.map((row) => formatRow(row, width))
  process.stdout.write(`\n${[name, ...notes.map((note) => `  ${note}`), ...lines].join('\n')}\n`)
}

function formatRow(row: BenchRow, width: number): string {
  const rate = row.operations / row.medianMs / 1000
  const cells = [
    row.name.padEnd(width),
    `${row.medianMs.toFixed(2)} ms`.padStart(12),
    `+-${(row.spread * 100).toFixed(1)} %`.padStart(9),
    `${rate.toFixed(1)} M ${row.unit}/s`.padStart(22),
  ]
  if (row.ratio !== undefined) cells.push(`${row.ratio.toFixed(2)}x of ${row.baseline ?? 'the baseline'}`.padStart(20))
  return `  ${cells.join('')}`
}

/** This file runs from its source and from the build: the project is the nearest folder with a package.json. */
function projectFolder(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'package.json'))) {
    if (folder === dirname(folder)) throw new Error('bench: no package.json above this file')
    folder = dirname(folder)
  }
  return folder
}
