// What `shootdown explore` prints: how many timings were run, the failures, and the command that shows
// each of them again. No host time stands in it: the same search prints the same text.

import type { Failure } from '../study/explore.js'
import type { SearchResult } from '../study/seed-search.js'
import type { ShrunkFailure } from '../study/shrink.js'
import { commandFor, shellWord } from './explore-flags.js'
import type { ExploreFlags } from './explore-flags.js'
import { counted, grouped } from './text-table.js'

export interface ExploreReport {
  file: string
  flags: ExploreFlags
  /** Seeds that were to be run. */
  count: number
  result: SearchResult
  /** The first failure, made smaller. */
  shrunk: ShrunkFailure | undefined
}

/** Failures of one name, in the order of their seeds. */
interface FailureGroup {
  name: string
  first: Failure
  seeds: number[]
}

/** Text for people. */
export function exploreText(report: ExploreReport): string {
  const { file, flags, count, result } = report
  const groups = groupsOf(result.failures)
  const ran = result.isComplete ? counted(result.runs, 'seed') : `${grouped(result.runs)} of ${counted(count, 'seed')}`
  const head = flags.seed === undefined
    ? `${file}: ${ran} run, ${failuresText(groups)}`
    : `${file}: seed ${flags.seed}: ${failuresText(groups)}`
  const lines = [head]
  for (const group of groups) lines.push('', ...groupLines(report, group))
  if (report.shrunk !== undefined) lines.push('', ...shrunkLines(report, report.shrunk))
  return `${lines.join('\n').trimEnd()}\n`
}

/** The same as one JSON object. */
export function exploreJson(report: ExploreReport): string {
  const { file, count, result } = report
  const failures = result.failures.map(failure => ({ ...failure, command: commandFor(report, failure.seed) }))
  const { runs, isComplete } = result
  const shrunk = report.shrunk === undefined ? undefined : {
    scenario: shrunkFile(report, report.shrunk), command: shrunkCommand(report, report.shrunk),
    seed: report.shrunk.failure.seed, operations: report.shrunk.operations,
    operationsBefore: report.shrunk.operationsBefore, runs: report.shrunk.runs, isMinimal: report.shrunk.isMinimal,
  }
  return `${JSON.stringify({ file, seeds: count, runs, isComplete, failures, shrunk }, undefined, 2)}\n`
}

/** The shrunk scenario as a file that explains itself. */
export function shrunkFile(report: ExploreReport, shrunk: ShrunkFailure): string {
  const { failure, text } = shrunk
  const comments = [
    `Shrunk from a failure of ${commandFor(report, report.result.failures[0]!.seed)}`,
    `It fails with: ${shrunkCommand(report, shrunk)}`,
    ...failure.message.split('\n'),
  ]
  return `${comments.map(line => `# ${line}`.trimEnd()).join('\n')}\n${text}`
}

function shrunkLines(report: ExploreReport, shrunk: ShrunkFailure): string[] {
  const { operations, operationsBefore, runs, isMinimal } = shrunk
  return [
    `shrunk to ${counted(operations, 'operation')} from ${grouped(operationsBefore)} in ${counted(runs, 'run')}`
    + (isMinimal ? '' : ' (there was no time to look for less)'),
    shrunkFile(report, shrunk).trimEnd(),
    ...(report.flags.output === undefined ? ['', '--output FILE keeps it'] : []),
  ]
}

function shrunkCommand({ flags: { output = 'FILE' } }: ExploreReport, { failure, kinds }: ShrunkFailure): string {
  const file = output === 'FILE' ? output : shellWord(output)
  if (failure.seed === 0) return `shootdown run ${file} --check`
  return commandFor({ file: output, flags: { expect: failure.kind === 'expectation', perturb: kinds } }, failure.seed)
}

function groupsOf(failures: readonly Failure[]): FailureGroup[] {
  const groups = new Map<string, FailureGroup>()
  for (const failure of failures) {
    const group = groups.get(failure.name)
    if (group === undefined) groups.set(failure.name, { name: failure.name, first: failure, seeds: [failure.seed] })
    else group.seeds.push(failure.seed)
  }
  return [...groups.values()]
}

function failuresText(groups: readonly FailureGroup[]): string {
  if (groups.length === 0) return 'nothing failed'
  const times = ({ seeds }: FailureGroup): string => (seeds.length === 1 ? '' : ` ${seeds.length} times`)
  return groups.map(group => nameOf(group.first) + times(group)).join(', ')
}

function groupLines(report: ExploreReport, { first, seeds }: FailureGroup): string[] {
  const others = seeds.length === 1 ? '' : ` (and ${counted(seeds.length - 1, 'other seed')})`
  return [`seed ${first.seed}${others}: ${nameOf(first)}`, first.message,
    `again: ${commandFor(report, first.seed)}`]
}

function nameOf({ kind, name }: Failure): string {
  switch (kind) {
    case 'invariant': return `invariant ${name} does not hold`
    case 'assertion': return 'the simulator failed (our bug)'
    case 'stall': return 'nothing moves any more'
    case 'endless': return 'the run does not end'
    case 'expectation': return 'an expectation does not hold'
  }
}
