// What a person sees after `shootdown run`: the question, the machine, who ended how, the
// shootdowns, the TLBs, the counters, what was expected, and what to look for. Pure: a report
// in, text out.

import type { SourcePosition } from '../base/errors.js'
import { formatBytes } from '../base/units.js'
import type { SimulationEnd } from '../engine/simulation.js'
import { CORE_COUNTERS, KERNEL_COUNTERS } from '../kernel/counters.js'
import { nativePolicy } from '../kernel/policies.js'
import type { CoreCounter, CounterName } from '../kernel/counters.js'
import type { SignalIncident } from './run-incidents.js'
import { shootdownLines } from './run-shootdowns.js'
import type { RunReport } from './run-report.js'
import { STANDARD_OUTPUT } from './run-trace.js'
import { tableLines } from '../base/table.js'
import { counted, grouped, microseconds, percentOf } from './text-table.js'
import type { Column } from '../base/table.js'
import type { Style } from './text-table.js'

const ROWS_MAX = 16
/** Totals that stand in other parts of the summary. */
const SHOWN_ELSEWHERE: ReadonlySet<CounterName> = new Set<CounterName>([
  'initiatorCycles', 'responderCycles', 'nr_tlb_remote_flush', 'nr_tlb_remote_flush_received',
  'nr_tlb_local_flush_all', 'nr_tlb_local_flush_one',
])

/** `trace` is where the trace went, if anywhere. */
export function formatSummary(report: RunReport, style: Style, trace: string | undefined): string {
  const { scenario, result, shootdowns } = report
  const { kernel, machine } = scenario.config
  const section = (title: string, lines: readonly string[]): string[] =>
    lines.length === 0 ? [] : ['', style('bold', title), ...lines]
  const { frequencyGhz } = machine.costs
  const lines = [
    style('bold', `${scenario.name}${scenario.question === undefined ? '' : `: ${scenario.question}`}`),
    ...headLines(report, style),
    ...section('Notes', noteLines(report)),
    ...section('Tasks', taskLines(report, style)),
    ...section('Failed system calls', failedCallLines(report)),
    ...section('Shootdowns', shootdownLines(shootdowns, {
      trace: result.trace, era: kernel.era, frequencyGhz, responderCycles: result.counters.responderCycles,
    })),
    ...section('TLBs', tlbLines(report)),
    ...section('Counters', counterLines(report)),
    ...section('Expectations', expectationLines(report, style)),
    ...section('What to look for', scenario.lookFor.flatMap((text) => bullet(text))),
    '',
    ...closingLines(report, style, trace),
  ]
  return `${lines.join('\n')}\n`
}

function headLines(report: RunReport, style: Style): string[] {
  const { scenario, result } = report
  const { machine, kernel, seed } = scenario.config
  const { cpus, sockets, costs: { frequencyGhz } } = machine
  const rival = kernel.policy === nativePolicy(kernel.era) ? '' : `, policy ${kernel.policy}`
  return [
    `  scenario  ${scenario.file}`,
    `  machine   ${machine.preset}: ${counted(cpus, 'CPU')}, ${counted(sockets, 'socket')}, ${frequencyGhz} GHz, `
      + `${machine.geometry}, ${formatBytes(machine.memoryBytes)} of memory`,
    `  kernel    ${kernel.era}${rival}${kernel.pcid ? ', PCID' : ''}, `
      + `flush ceiling ${counted(kernel.flushCeilingPages, 'page')}`,
    `  engine    ${threadsText(report)}; seed ${seed}`,
    `  end       ${endText(result.end, style)} at cycle ${grouped(result.cycle)} = `
      + microseconds(result.cycle, frequencyGhz),
    ...result.stall.map((line) => `            ${line}`),
  ]
}

/** What runs the CPUs. */
function threadsText({ scenario: { config: { machine, kernel } }, engine, hostThreads }: RunReport): string {
  if (engine !== 'threads') return `${engine}, one host thread`
  if (kernel.bugs.length > 0) return 'threads, but all CPUs in one, because the kernel has bugs'
  if (hostThreads === undefined || hostThreads >= machine.cpus) return 'threads, each CPU in its own worker_thread'
  return `threads, ${counted(machine.cpus, 'CPU')} in ${counted(hostThreads, 'worker_thread')}`
}

function endText(end: SimulationEnd, style: Style): string {
  switch (end) {
    case 'finished': return 'every task has ended,'
    case 'until': return 'stopped, as --until asked,'
    default: return style('red', `${end.toUpperCase()}: nothing can move any more,`)
  }
}

/** What is legal in the scenario, but may be a mistake. */
function noteLines({ scenario: { notes } }: RunReport): string[] {
  return notes.slice(0, ROWS_MAX).map(({ position: { file, line, column }, text }) =>
    `  ${file}:${line}:${column}  ${text}`).concat(moreLines(notes.length, 'note'))
}

function taskLines({ result: { tasks }, incidents }: RunReport, style: Style): string[] {
  const columns: Column[] = [
    { title: 'pid', align: 'right' }, { title: 'name', align: 'left' }, { title: 'outcome', align: 'left' },
  ]
  const signals = new Map(incidents.signals.map((one) => [one.pid, signalText(one)]))
  const rows = tasks.slice(0, ROWS_MAX).map(({ pid, comm, outcome }) =>
    [String(pid), comm, `${outcome}${signals.get(pid) ?? ''}`])
  const [titles, ...lines] = tableLines(columns, rows).map((line) => `  ${line}`)
  const coloured = lines.map((line, index) => tasks[index]!.outcome.startsWith('SIG') ? style('yellow', line) : line)
  return [titles!, ...coloured, ...moreLines(tasks.length, 'task')]
}

/** What brought the signal that ended a task. */
function signalText({ cycle, address, source }: SignalIncident): string {
  const where = source === undefined ? '' : ` in line ${source.line}`
  return ` at cycle ${grouped(cycle)}, access to ${address}${where}`
}

/** Only those that the scenario does not expect. */
function failedCallLines({ incidents: { failedCalls } }: RunReport): string[] {
  const lines = failedCalls.slice(0, ROWS_MAX).map(({ cycle, comm, pid, call, error }) =>
    `  cycle ${grouped(cycle)}: ${call} of ${comm}-${pid} returned ${error}`)
  return [...lines, ...moreLines(failedCalls.length, 'call')]
}

function tlbLines({ result: { cpus, counters } }: RunReport): string[] {
  const columns: Column[] = [
    { title: 'cpu', align: 'left' },
    ...['accesses', 'L1D lookups', 'misses', 'rate', 'L1I lookups', 'misses', 'STLB lookups', 'walks', 'rate', 'steps']
      .map((title): Column => ({ title, align: 'right' })),
  ]
  const row = (name: string, of: Record<CoreCounter, number>): string[] => [
    name, grouped(of.accesses),
    grouped(of.l1dLookups), grouped(of.l1dMisses), percentOf(of.l1dMisses, of.l1dLookups),
    grouped(of.l1iLookups), grouped(of.l1iMisses),
    grouped(of.stlbLookups), grouped(of.stlbMisses), percentOf(of.stlbMisses, of.stlbLookups), grouped(of.walkSteps),
  ]
  const rows = cpus.slice(0, ROWS_MAX).map((cpu, id) => row(String(id), cpu))
  if (cpus.length > 1) rows.push(row('all', counters))
  return [...tableLines(columns, rows).map((line) => `  ${line}`), ...moreLines(cpus.length, 'CPU')]
}

function moreLines(count: number, noun: string): string[] {
  return count > ROWS_MAX ? [`  and ${counted(count - ROWS_MAX, noun)} more (--json has all)`] : []
}

/** Those that counted anything. */
function counterLines({ result: { counters } }: RunReport): string[] {
  const words: Readonly<Record<string, string>> = { ...KERNEL_COUNTERS, failedLoads: CORE_COUNTERS.failedLoads }
  const names = (Object.keys(words) as CounterName[]).filter((name) => counters[name] > 0 && !SHOWN_ELSEWHERE.has(name))
  const width = Math.max(0, ...names.map((name) => name.length))
  const numbers = Math.max(0, ...names.map((name) => grouped(counters[name]).length))
  return names.map((name) =>
    `  ${name.padEnd(width)}  ${grouped(counters[name]).padStart(numbers)}  ${words[name]}`)
}

function expectationLines({ scenario, expectations, failures }: RunReport, style: Style): string[] {
  const failed = failures.slice(0, ROWS_MAX).map(({ position, text }) => expectationLine(false, position, text, style))
  failed.push(...moreLines(failures.length, 'failure'))
  if (expectations === undefined) {
    const open = counted(scenario.expectations.length, 'expectation')
    return scenario.expectations.length === 0 ? failed : [...failed, `  ${open} not checked: the run was stopped early`]
  }
  return [...failed, ...expectations.map(({ ok, position, text }) => expectationLine(ok, position, text, style))]
}

function expectationLine(ok: boolean, position: SourcePosition, text: string, style: Style): string {
  const { file, line, column } = position
  return `  ${ok ? style('green', 'ok    ') : style('red', 'FAILED')}  ${file}:${line}:${column}  ${text}`
}

const TEXT_COLUMNS = 100

function bullet(text: string): string[] {
  const lines: string[] = []
  let line = '  -'
  for (const word of text.split(/\s+/)) {
    if (line.length + 1 + word.length > TEXT_COLUMNS) {
      lines.push(line)
      line = '   '
    }
    line += ` ${word}`
  }
  return [...lines, line]
}

function closingLines(
  { ok, command, result, expectations, failures }: RunReport, style: Style, trace: string | undefined,
): string[] {
  const failed = failures.length + (expectations ?? []).filter((one) => !one.ok).length
  const what = [
    ...(result.end === 'stalled' ? ['the run stalled'] : []),
    ...(failed > 0 ? [`${counted(failed, 'expectation')} failed`] : []),
  ].join(', ')
  return [
    ...(ok ? [] : [style('red', `FAILED: ${what}; this run again: ${command}`)]),
    trace === undefined
      ? `To see all ${counted(result.trace.length, 'event')}: --trace out.txt (or out.ftrace)`
      : `Trace of ${counted(result.trace.length, 'event')}: ${trace === STANDARD_OUTPUT ? 'standard output' : trace}`,
  ]
}
