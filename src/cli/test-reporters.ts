// How `shootdown test` says what came out: for people, for CI systems that read JUnit XML, as
// annotations of GitHub Actions at the scenario's line, as JSON.

import type { GoldenOutcome, GoldenStatus } from '../study/golden-run.js'
import type { Style } from './text-table.js'

export const REPORTERS = ['text', 'junit', 'github', 'json'] as const
export type ReporterName = (typeof REPORTERS)[number]

export interface TestReport {
  /** In the order of the files. */
  outcomes: readonly GoldenOutcome[]
  /** Scenarios that were not run, after --bail. */
  skipped: number
}

const MARKS: Readonly<Record<GoldenStatus, string>> = {
  passed: 'ok     ', failed: 'FAILED ', written: 'written', updated: 'updated', error: 'ERROR  ',
}

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

function text({ outcomes, skipped }: TestReport, style: Style): string {
  const lines = outcomes.map((one) => {
    const mark = style(isGood(one) ? 'green' : 'red', MARKS[one.status])
    const what = isGood(one) ? `${one.events} events, ${Math.round(one.milliseconds)} ms` : one.message
    return `${mark} ${isGood(one) ? one.file : place(one)}  ${what}\n`
  })
  const bad = outcomes.filter(one => !isGood(one) && one.details !== '')
  const details = bad.map(one => `\n${style('bold', one.file)}: ${one.message}\n${indented(one.details)}`)
  const count = (status: GoldenStatus): number => outcomes.filter(one => one.status === status).length
  const parts = [
    `${count('passed')} passed`, `${count('failed') + count('error')} failed`,
    ...(['written', 'updated'] as const).filter(status => count(status) > 0)
      .map(status => `${count(status)} ${status}`),
    ...(skipped > 0 ? [`${skipped} not run`] : []),
  ]
  return `${lines.join('')}${details.join('')}\n${parts.join(', ')}\n`
}

/** One test case a scenario, as Jenkins, GitLab and others read it. */
function junit({ outcomes, skipped }: TestReport): string {
  const failures = outcomes.filter(one => one.status === 'failed').length
  const errors = outcomes.filter(one => one.status === 'error').length
  const seconds = (ms: number): string => (ms / 1000).toFixed(3)
  const total = seconds(outcomes.reduce((sum, one) => sum + one.milliseconds, 0))
  const counts = `tests="${outcomes.length + skipped}" failures="${failures}" errors="${errors}" skipped="${skipped}"`
  const cases = outcomes.map((one) => {
    const head = `    <testcase name="${xml(one.file)}" classname="shootdown" time="${seconds(one.milliseconds)}"`
    if (isGood(one)) return `${head}/>\n`
    const tag = one.status === 'error' ? 'error' : 'failure'
    return `${head}>\n      <${tag} message="${xml(`${place(one)}: ${one.message}`)}">${xml(one.details)}</${tag}>\n`
      + '    </testcase>\n'
  })
  return '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n'
    + `  <testsuite name="shootdown" ${counts} time="${total}">\n${cases.join('')}  </testsuite>\n</testsuites>\n`
}

/** Workflow commands; everything behind the first line is kept out of the annotation's one line by escapes. */
function github({ outcomes, skipped }: TestReport): string {
  const annotations = outcomes.filter(one => !isGood(one)).map(({ position, message, details }) => {
    const at = `file=${property(position.file)},line=${position.line},col=${position.column}`
    return `::error ${at},title=shootdown test::${escaped([message, details].filter(Boolean).join('\n'))}\n`
  })
  const bad = annotations.length
  const rest = skipped > 0 ? `, ${skipped} not run` : ''
  return `${annotations.join('')}${outcomes.length - bad} passed, ${bad} failed${rest}\n`
}

function json({ outcomes, skipped }: TestReport): string {
  return `${JSON.stringify({ ok: outcomes.every(isGood), skipped, outcomes }, undefined, 2)}\n`
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
