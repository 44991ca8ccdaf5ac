// `npm run bench`: runs every suite, or those named (`npm run bench -- mixes`), and prints medians,
// rates and ratios; `--json` prints them as one JSON object. Nothing here fails because something is
// slow; numbers are for reading, beside the machine they were taken on.

import { existsSync } from 'node:fs'
import { cpus } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { benchEngines } from './engines.js'
import { benchMixes } from './mixes.js'
import { benchReplay } from './replay.js'
import { benchStartup } from './startup.js'
import { timerQuality, type BenchRow, type BenchSuite } from './suite.js'

const SUITES: Readonly<Record<string, (root: string) => Promise<BenchSuite>>> = {
  mixes: benchMixes, replay: benchReplay, engines: benchEngines, startup: benchStartup,
}

const root = projectFolder()
const asJson = process.argv.includes('--json')
const wanted = process.argv.slice(2).filter((argument) => argument !== '--json')
const timer = timerQuality()
const host = { node: process.version, cpus: cpus().length, model: cpus()[0]?.model ?? 'unknown CPU' }
if (!asJson) {
  process.stdout.write(`node ${host.node}, ${host.cpus} x ${host.model}; ` +
    `the clock advances by ${timer.stepNs} ns, a look at it takes ${timer.readNs} ns\n`)
}
const suites: BenchSuite[] = []
for (const [name, run] of Object.entries(SUITES)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue
  const suite = await run(root)
  if (asJson) suites.push(suite)
  else print(suite)
}
if (asJson) process.stdout.write(`${JSON.stringify({ host, timer, suites }, undefined, 2)}\n`)

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
    rateText(rate, row.unit).padStart(30),
  ]
  const ratio = row.ratio === undefined ? '' : `${row.ratio.toFixed(2)}x of ${row.baseline ?? 'the baseline'}`
  if (ratio !== '') cells.push(`  ${ratio}`.padStart(20))
  if (row.note !== undefined) cells.push(`  ${row.note}`)
  return `  ${cells.join('')}`
}

function rateText(millions: number, unit: string): string {
  if (millions >= 1) return `${millions.toFixed(1)} M ${unit}/s`
  return millions >= 0.001 ? `${(millions * 1000).toFixed(1)} k ${unit}/s` : `${(millions * 1e6).toFixed(1)} ${unit}/s`
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
