// `npm run mutation-check`: makes each mutation of mutations.ts in a copy of the project, builds it, and runs
// scenarios against their goldens with the invariants on: a scenario is stopped by an invariant, or ends and is
// compared. Every mutation must be noticed; docs/mutations.md says by what. Exit code 1 when one is not.

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { MUTATIONS } from './mutations.js'
import type { Mutation } from './mutations.js'
import { ProjectCopy } from './project-copy.js'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
const DOCUMENT = `${ROOT}docs/mutations.md`
/** They take seconds; what takes longer has come to hang, also on a busy machine. */
const TIMEOUT_MS = 900_000
/** Not those with bugs of their own, which break invariants anyway, and not the long ones. */
const FOLDERS = ['regression', 'tour', 'hunt', 'captures'].map(name => `scenarios/${name}`)

/** How the row of a mutation ends that nothing noticed. */
const UNNOTICED = '| none | none |'

/** What noticed a mutation. */
interface Verdict {
  mutation: Mutation
  /** Scenarios whose trace or facts differ. */
  goldens: string[]
  /** Invariants that fire, and scenarios in which one does. */
  invariants: Set<string>
  broken: string[]
  /** A run did not end, or ended with an assertion. */
  stopped: string
}

interface Report {
  outcomes: { file: string; status: string; message: string }[]
}

const { values } = parseArgs({ options: { only: { type: 'string' }, list: { type: 'boolean' } } })
const wanted = MUTATIONS.filter(({ name }) => values.only === undefined || name.includes(values.only))
if (values.list) for (const { name, file, what } of wanted) console.log(`${name.padEnd(30)} ${file}: ${what}`)
else process.exitCode = await check()

async function check(): Promise<number> {
  const copy = new ProjectCopy(ROOT)
  try {
    await copy.build()
    const clean = await judge(copy, undefined)
    if (isNoticed(clean)) throw new Error(`without a mutation already: ${clean.goldens.join(' ')} ${clean.stopped}`)
    const verdicts: Verdict[] = []
    for (const [index, mutation] of wanted.entries()) {
      const verdict = await tryOut(copy, mutation)
      verdicts.push(verdict)
      const count = `${String(index + 1).padStart(3)} of ${wanted.length}`
      console.log(`${count} ${mutation.name.padEnd(30)} ${inWords(verdict)}`)
    }
    const missed = verdicts.filter(verdict => !isNoticed(verdict))
    writeFileSync(DOCUMENT, document(verdicts))
    console.log(missed.length === 0 ? `all ${verdicts.length} noticed`
      : `NOT NOTICED: ${missed.map(({ mutation }) => mutation.name).join(', ')}`)
    return missed.length === 0 ? 0 : 1
  } finally {
    copy.remove()
  }
}

async function tryOut(copy: ProjectCopy, mutation: Mutation): Promise<Verdict> {
  const { file, find, replace, name } = mutation
  const original = copy.read(file)
  const parts = original.split(find)
  if (parts.length !== 2) {
    throw new Error(`${name}: its place in src/${file} is there ${parts.length - 1} times, expected once; `
      + 'the source has moved on, adapt test/mutations/mutations.ts')
  }
  copy.write(file, parts.join(replace))
  try {
    await copy.build()
    return await judge(copy, mutation)
  } finally {
    copy.write(file, original)
  }
}

async function judge(copy: ProjectCopy, mutation: Mutation | undefined): Promise<Verdict> {
  const verdict: Verdict = {
    mutation: mutation ?? { name: 'none', file: '', what: '', find: '', replace: '' },
    goldens: [], invariants: new Set(), broken: [], stopped: '',
  }
  const args = ['test', ...FOLDERS, '--ci', '--check', '--reporter', 'json']
  const { code, stdout, stderr } = await copy.shootdown(args, TIMEOUT_MS)
  if (code !== 0 && code !== 1) {
    verdict.stopped = code === null ? 'does not end' : stderr.split('\n')[0] ?? ''
    return verdict
  }
  for (const { file, status, message } of (JSON.parse(stdout) as Report).outcomes) {
    if (status === 'passed') continue
    const invariant = /^an invariant does not hold: (I\d+)/.exec(message)?.[1]
    if (invariant !== undefined) verdict.invariants.add(invariant)
    const list = invariant === undefined ? verdict.goldens : verdict.broken
    list.push(basename(file, '.yaml'))
  }
  return verdict
}

function isNoticed({ goldens, broken, stopped }: Verdict): boolean {
  return goldens.length + broken.length > 0 || stopped !== ''
}

function inWords({ goldens, invariants, broken, stopped }: Verdict): string {
  if (stopped !== '') return stopped
  return `${goldens.length} goldens (${goldens.slice(0, 2).join(', ')}), `
    + `${broken.length} runs break an invariant ${sorted(invariants).join(' ')}`
}

function sorted(invariants: ReadonlySet<string>): string[] {
  return [...invariants].toSorted((a, b) => Number(a.slice(1)) - Number(b.slice(1)))
}

/** docs/mutations.md: with --only the rows of the other mutations stay as they are. */
function document(verdicts: readonly Verdict[]): string {
  const rows = new Map(existsSync(DOCUMENT) ? rowsOf(readFileSync(DOCUMENT, 'utf8')) : [])
  for (const verdict of verdicts) rows.set(verdict.mutation.name, rowFor(verdict))
  const shown = MUTATIONS.flatMap(({ name }) => rows.get(name) ?? [])
  const noticed = shown.filter(row => !row.endsWith(UNNOTICED)).length
  return `# Would a mistake in the kernel be noticed?

Each row is one small deliberate change to the kernel (\`test/mutations/mutations.ts\`). It was made alone in a copy
of the project; then the scenarios of \`regression\`, \`tour\`, \`hunt\` and \`captures\` ran with the invariants on:
each was stopped by an invariant, or ended and was compared with its golden trace. Written by
\`npm run mutation-check\`, which fails when a mutation goes unnoticed: **${noticed} of ${shown.length} were noticed.**

| mutation | below src | what is wrong | goldens or facts that differ | invariants that fire |
|---|---|---|---|---|
${shown.join('\n')}
`
}

function rowFor({ mutation, goldens, invariants, broken, stopped }: Verdict): string {
  // A rule says more than a scenario in which it matters among other things.
  const example = goldens.find(name => /-(6x|46)$/.test(name)) ?? goldens[0] ?? ''
  const byGoldens = goldens.length === 0 ? 'none' : `${goldens.length}, such as ${example}`
  const runs = broken.length === 1 ? '1 scenario' : `${broken.length} scenarios`
  const byInvariants = broken.length === 0 ? 'none' : `${sorted(invariants).join(', ')} in ${runs}`
  return `| ${mutation.name} | ${mutation.file} | ${mutation.what} | ${stopped === '' ? byGoldens : stopped} `
    + `| ${byInvariants} |`
}

function rowsOf(text: string): [string, string][] {
  return [...text.matchAll(/^\| ([a-z0-9-]+) \| kernel\/.*$/gm)].map(([row, name]) => [name!, row])
}
