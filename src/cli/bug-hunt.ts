// `npm run bug-hunt`: looks for every bug of the catalogue in the plain programs of scenarios/hunt, by seeds
// and by orders, shrinks what it finds, and prints the table of docs/exploration.md. With `--update` the
// table there is replaced. The numbers are those of the search, so the same on every host.

import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'
import { Piscina } from 'piscina'
import { writeFileAtomic } from '../base/atomic-file.js'
import { UserError } from '../base/errors.js'
import { BUG_NAMES, BUGS } from '../kernel/bugs.js'
import { hunt, HUNTS } from '../study/catalogue.js'
import type { HuntResult } from '../study/catalogue.js'
import type { OrderOutcome } from '../study/exhaust.js'
import type { ExploreOutcome } from '../study/explore.js'
import { EXIT_DIFFERENT, reportAndExit } from './errors.js'
import { interruptible } from './interrupt.js'
import { counted, grouped } from './text-table.js'

const ROOT = new URL('../../../', import.meta.url)
const DOCUMENT = fileURLToPath(new URL('docs/exploration.md', ROOT))
const TABLE_HEAD =
  '| | bug | program | kernel | seeds until found | orders until found | invariant | operations, shrunk |'
const TABLE_RULE = `|${'---|'.repeat(8)}`
const SEEDS = 10_000
const SEEDS_WHEN_FOUND = 1000
const ORDERS = 150
const SHRINK_RUNS = 2000

interface Flags {
  update?: boolean
  shrink: boolean
}

async function main(wanted: readonly string[], { update, shrink }: Flags): Promise<void> {
  const unknown = wanted.find(name => !BUG_NAMES.some(bug => bug.startsWith(name)))
  if (unknown !== undefined) {
    throw new UserError(`no bug is called ${unknown}`, undefined, [`there are: ${BUG_NAMES.join(', ')}`])
  }
  if (update && wanted.length > 0) throw new UserError('--update wants all bugs')
  const jobs = availableParallelism()
  const pool = new Piscina({
    filename: new URL('../../workers/explore.js', import.meta.url).href, minThreads: 0, maxThreads: jobs,
  })
  await interruptible(() => 'while hunting', async ({ signal }) => {
    try {
      const rows: string[] = []
      let missed = 0
      for (const bug of BUG_NAMES) {
        const one = HUNTS[bug]
        if (wanted.length > 0 && !wanted.some(name => bug.startsWith(name))) continue
        const path = `scenarios/hunt/${one.file}`
        const text = readFileSync(new URL(path, ROOT), 'utf8')
        const found = await hunt(bug, one, { text, path }, {
          seeds: task => pool.run(task) as Promise<ExploreOutcome>,
          orders: task => pool.run(task, { name: 'orders' }) as Promise<OrderOutcome>,
        }, {
          seeds: SEEDS, seedsWhenFound: SEEDS_WHEN_FOUND, orders: ORDERS, shrinkRuns: shrink ? SHRINK_RUNS : 0, jobs,
          signal,
        })
        if (signal.aborted) return
        if (found.seeds === undefined && found.orders === undefined) missed += 1
        if (rows.length === 0) process.stdout.write(`${TABLE_HEAD}\n${TABLE_RULE}\n`)
        rows.push(rowOf(found))
        process.stdout.write(`${rows.at(-1)}\n`)
      }
      if (update) updateDocument(rows)
      if (missed > 0) {
        process.stderr.write(`${counted(missed, 'bug')} not found\n`)
        process.exitCode = EXIT_DIFFERENT
      }
    } finally {
      await pool.destroy()
    }
  })
}

function rowOf(found: HuntResult): string {
  const { bug, file, era, policy, seeds, orders, invariants, operations, operationsBefore, isPlain } = found
  const none = (count: number | undefined, limit: number): string =>
    (count === undefined ? `not in ${grouped(limit)}` : grouped(count))
  const kernel = policy === undefined ? era : `${era}, ${policy}`
  const plain = isPlain ? ', plain prices' : ''
  const shrunk = operations === undefined ? '' : `${operations} of ${operationsBefore}${plain}`
  const seedLimit = orders === undefined ? SEEDS : SEEDS_WHEN_FOUND
  const program = `[${file}](../scenarios/hunt/${file})`
  return `| H${BUGS[bug].number} | ${bug} | ${program} | ${kernel} | ${none(seeds, seedLimit)} | ` +
    `${none(orders, ORDERS)} | ${invariants.join(', ')} | ${shrunk} |`
}

function updateDocument(rows: readonly string[]): void {
  const text = readFileSync(DOCUMENT, 'utf8')
  const at = text.indexOf(TABLE_HEAD)
  const head = at < 0 ? text : text.slice(0, at)
  writeFileAtomic(DOCUMENT, write => write(`${head}${[TABLE_HEAD, TABLE_RULE, ...rows].join('\n')}\n`))
}

try {
  await new Command('bug-hunt')
    .description('look for every bug of the catalogue in the programs of scenarios/hunt')
    .argument('[bug...]', 'only these; a beginning of the name is enough')
    .option('--no-shrink', 'do not shrink what is found: much faster')
    .option('--update', 'write the table into docs/exploration.md')
    .exitOverride()
    .action(main)
    .parseAsync()
} catch (error) {
  reportAndExit(error)
}
