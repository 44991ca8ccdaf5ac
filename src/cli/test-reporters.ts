// How `shootdown test` says what came out: for people, for CI systems that read JUnit XML, as
// annotations of GitHub Actions at the scenario's line, as JSON.

import { isAbsolute, relative, resolve } from 'node:path'
import type { GoldenOutcome, GoldenStatus } from '../study/golden-run.js'
import type { Style } from './text-table.js'

export const REPORTERS = ['text', 'junit', 'github', 'json'] as const
export type ReporterName = (typeof REPORTERS)[number]

/** A golden that belongs to no scenario. */
export interface StaleGolden {
  path: string
  status: 'stale' | 'removed'
  /** It makes the test fail, as a missing one does. */
  isFailure: boolean
}

export interface TestReport {
  /** In the order of the files. */
  outcomes: readonly GoldenOutcome[]
  /** Scenarios that were not run, after --bail. */
  skipped: number
  stale: readonly StaleGolden[]
}

const JSON_VERSION = 1
const MARKS: Readonly<Record<GoldenStatus | StaleGolden['status'], string>> = {
  passed: 'ok     ', failed: 'FAILED ', written: 'written', updated: 'updated', error: 'ERROR  ', stale: 'STALE  ',
  removed: 'removed',
}
const STALE_TEXT = 'there is no scenario beside this golden trace'

/** The whole report as text. */
export function formatTestReport(name: ReporterName, report: TestReport, style: Style): string {
  switch (name) {
    case 'junit': return junit(report)
    case 'github': return github(report)
    case 'json': return json(report)
    default: return text(report, style)
  }
}

export function isGood({ status }: GoldenOutcome): boolean {
  return status !== 'failed' && status !== 'error'
}

export function isAllGood({ outcomes, stale }: TestReport): boolean {
  return outcomes.every(isGood) && !stale.some(one => one.isFailure)
}

function text(report: TestReport, style: Style): string {
  const lines = report.outcomes.map((one) => {
    const mark = style(isGood(one) ? 'green' : 'red', MARKS[one.status])
    const what = isGood(one) ? `${one.events} events, ${Math.round(one.milliseconds)} ms` : one.message
    return `${mark} ${isGood(one) ? one.file : place(one)}  ${what}\n`
  })
  const stale = report.stale.map(({ path, status, isFailure }) =>
    `${style(isFailure ? 'red' : 'yellow', MARKS[status])} ${path}  ${STALE_TEXT}`
    + `${status === 'removed' ? '' : ' (--update removes it)'}\n`)
  const bad = report.outcomes.filter(one => !isGood(one) && one.details !== '')
  const details = bad.map(one => `\n${style('bold', place(one))}: ${one.message}\n${indented(one.details)}`)
  return `${[...lines, ...stale, ...details].join('')}\n${closingLine(report)}\n`
}

/** `44 passed, 1 failed, 2 written`. */
function closingLine({ outcomes, skipped, stale }: TestReport): string {
  const count = (status: GoldenStatus): number => outcomes.filter(one => one.status === status).length
  const failed = count('failed') + count('error') + stale.filter(one => one.isFailure).length
  const parts = [
    [count('passed'), 'passed'], [failed, 'failed'], [count('written'), 'written'], [count('updated'), 'updated'],
    [stale.filter(one => one.status === 'removed').length, 'removed'],
    [stale.filter(one => one.status === 'stale' && !one.isFailure).length, 'stale'], [skipped, 'not run'],
  ] as const
  return parts.filter(([n], i) => i < 2 || n > 0).map(([n, what]) => `${n} ${what}`).join(', ')
}

/** One test case a scenario, as Jenkins, GitLab and others read it. */
function junit({ outcomes, skipped, stale }: TestReport): string {
  const old = stale.filter(one => one.isFailure)
  const failures = outcomes.filter(one => one.status === 'failed').length + old.length
  const errors = outcomes.filter(one => one.status === 'error').length
  const seconds = (ms: number): string => (ms / 1000).toFixed(3)
  const total = seconds(outcomes.reduce((sum, one) => sum + one.milliseconds, 0))
  const tests = outcomes.length + skipped + old.length
  const counts = `tests="${tests}" failures="${failures}" errors="${errors}" skipped="${skipped}"`
  const head = (file: string, line: number, ms: number): string =>
    `    <testcase name="${xml(file)}" classname="shootdown" file="${xml(file)}" line="${line}" time="${seconds(ms)}"`
  const cases = outcomes.map((one) => {
    const opening = head(one.file, one.position.line, one.milliseconds)
    if (isGood(one)) return `${opening}/>\n`
    const tag = one.status === 'error' ? 'error' : 'failure'
    return `${opening}>\n      <${tag} message="${xml(`${place(one)}: ${one.message}`)}">${xml(one.details)}</${tag}>\n`
      + '    </testcase>\n'
  })
  const staleCases = old.map(({ path }) =>
    `${head(path, 1, 0)}>\n      <failure message="${xml(STALE_TEXT)}"/>\n    </testcase>\n`)
  return '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n'
    + `  <testsuite name="shootdown" ${counts} time="${total}">\n${[...cases, ...staleCases].join('')}`
    + '  </testsuite>\n</testsuites>\n'
}

/** Workflow commands; everything behind the first line is kept out of the annotation's one line by escapes. */
function github(report: TestReport): string {
  const annotations = report.outcomes.filter(one => !isGood(one)).map(({ position, message, details }) => {
    const at = `file=${property(inWorkspace(position.file))},line=${position.line},col=${position.column}`
    return `::error ${at},title=shootdown test::${escaped([message, details].filter(Boolean).join('\n'))}\n`
  })
  const stale = report.stale.filter(one => one.status === 'stale').map(({ path, isFailure }) => {
    const level = isFailure ? 'error' : 'warning'
    return `::${level} file=${property(inWorkspace(path))},line=1,title=shootdown test::${escaped(STALE_TEXT)}\n`
  })
  return `${[...annotations, ...stale].join('')}${closingLine(report)}\n`
}

/** Annotations name files from the root of the repository, whatever the folder of the step is. */
function inWorkspace(file: string): string {
  const workspace = process.env['GITHUB_WORKSPACE'] ?? ''
  if (workspace === '') return file
  const path = relative(workspace, resolve(file))
  return path.startsWith('..') || isAbsolute(path) ? file : path
}

function json(report: TestReport): string {
  const { outcomes, skipped, stale } = report
  const value = { version: JSON_VERSION, ok: isAllGood(report), skipped, stale, outcomes }
  return `${JSON.stringify(value, undefined, 2)}\n`
}

function place({ position: { file, line, column } }: GoldenOutcome): string {
  return `${file}:${line}:${column}`
}

function indented(lines: string): string {
  return lines.trimEnd().split('\n').map(line => (line === '' ? '\n' : `    ${line}\n`)).join('')
}

function xml(value: string): string {
  return value.replace(/[&<>"]/g, character => `&#${character.charCodeAt(0)};`)
    // Characters that XML 1.0 cannot hold at all.
    .replace(/[^\t\n\r\x20-\ud7ff\ue000-\ufffd]/g, '?')
}

function escaped(value: string): string {
  return value.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A')
}

function property(value: string): string {
  return escaped(value).replaceAll(':', '%3A').replaceAll(',', '%2C')
}
