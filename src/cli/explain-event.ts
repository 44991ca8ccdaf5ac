// `shootdown explain FILE:CYCLE`: the story of one event (trace/story.ts) as text for people. FILE is a
// trace, or a scenario, which is then run.

import { UserError } from '../base/errors.js'
import { simulate } from '../engine/simulate.js'
import { suggestionLines } from '../scenario/suggest.js'
import type { CpuMoment } from '../trace/moment.js'
import { describeMoment, momentAt } from '../trace/moment.js'
import { EVENTS } from '../trace/events.js'
import type { TraceEra } from '../trace/events.js'
import type { TraceData } from '../trace/recorder.js'
import { recordsAt, storyOf } from '../trace/story.js'
import type { Delay, Operation, Story } from '../trace/story.js'
import type { Shootdown } from '../trace/summary.js'
import { lineFormatter } from '../trace/text.js'
import { interruptible } from './interrupt.js'
import { Progress } from './progress.js'
import { shootdownDetail } from './run-shootdowns.js'
import { openScenario } from './stopped-run.js'
import { counted, grouped, microseconds } from './text-table.js'
import { readTextTrace } from '../trace/text-file.js'

/** `FILE:CYCLE`. */
export interface EventPlace {
  file: string
  cycle: number
}

export interface EventFlags {
  cpu?: number
  event?: string
}

/** A trace and what must be known to read it. */
export interface ToldTrace {
  name: string
  data: TraceData
  era: TraceEra
  cpus: number
  frequencyGhz: number
  /** Its file is a scenario, so that one can look into the machine too. */
  isRun: boolean
}

/** What of a wide machine is shown. */
const CPUS_MAX = 16

/** `trace.txt:4812`, also `trace.txt:4,812`; undefined for anything that does not end in a colon and a number. */
export function eventPlace(text: string): EventPlace | undefined {
  const match = /^(.+):(\d[\d,_]*)$/.exec(text)
  if (match === null) return undefined
  const cycle = Number(match[2]!.replace(/[,_]/g, ''))
  return Number.isSafeInteger(cycle) ? { file: match[1]!, cycle } : undefined
}

/** Runs or reads, and prints. */
export async function explainEvent({ file, cycle }: EventPlace, flags: EventFlags): Promise<void> {
  const told = /\.ya?ml$/i.test(file) ? await run(file) : read(file)
  if (told === undefined) return
  const index = chooseRecord(told, file, cycle, flags)
  process.stdout.write(eventStory(told, index, cycle))
  const command = `shootdown dump ${file} --at ${told.data.cycle[index]}`
  if (told.isRun) process.stdout.write(`\nTables and TLBs right before it: ${command}\n`)
}

function read(file: string): ToldTrace {
  const { header, data } = readTextTrace(file)
  const { scenario: name, era, cpus, frequencyGhz } = header
  return { name, data, era, cpus, frequencyGhz, isRun: false }
}

async function run(file: string): Promise<ToldTrace | undefined> {
  const progress = new Progress()
  let told: ToldTrace | undefined
  await interruptible(() => `while running ${file}`, async ({ signal }) => {
    try {
      const { name, config, image } = await openScenario(file, progress)
      const { result } = await simulate(config, image, {
        engine: 'inline', signal,
        onProgress: (reached) => progress.update(() => `running ${file}: cycle ${grouped(reached)}`),
      })
      const { cpus, costs: { frequencyGhz } } = config.machine
      told = { name, data: result.trace, era: config.kernel.era, cpus, frequencyGhz, isRun: true }
    } finally {
      progress.done()
    }
  })
  return told
}

function chooseRecord({ data, cpus }: ToldTrace, file: string, cycle: number, { cpu, event }: EventFlags): number {
  if (cpu !== undefined && cpu >= cpus) {
    throw new UserError(`there is no cpu${cpu}`, undefined, [`${file} is of ${counted(cpus, 'CPU')}: 0 to ${cpus - 1}`])
  }
  const names = EVENTS.map(({ name }) => name as string)
  if (event !== undefined && !names.includes(event)) {
    throw new UserError(`there is no kind of event "${event}"`, undefined, suggestionLines(event, names, 0))
  }
  const choice = { ...(cpu === undefined ? {} : { cpu }), ...(event === undefined ? {} : { name: event }) }
  const [best] = recordsAt(data, cycle, choice)
  if (best !== undefined) return best
  if (data.length === 0) throw new UserError(`${file} has no events`)
  const what = `${event === undefined ? 'event' : event}${cpu === undefined ? '' : ` on cpu${cpu}`}`
  throw new UserError(`there is no ${what} at or before cycle ${grouped(cycle)}`, undefined, [
    `${file} has ${counted(data.length, 'event')}, from cycle ${grouped(data.cycle[0]!)} to `
      + grouped(data.cycle[data.length - 1]!),
  ])
}

/** Text of several paragraphs that ends in a newline. `asked` is the cycle that the person named. */
export function eventStory(told: ToldTrace, index: number, asked: number): string {
  const { data } = told
  const story = storyOf(data, index)
  const line = lineFormatter(data)
  return [
    headOf(told, index, asked),
    section('Why', causeLines(data, story, line)),
    section('The flush it belongs to', story.request === undefined ? [] : requestLines(told, story, story.request)),
    section('Who waited, and who worked for it', delayLines(story.delays)),
    section('What it cost', costLines(told, story)),
    section('What followed from it', [
      ...story.effects.map(line), ...(story.hasMoreEffects ? ['         ... and more'] : []),
    ]),
    section('What every CPU was doing', momentLines(told, index)),
  ].filter((text) => text !== '').join('\n')
}

function section(title: string, lines: readonly string[]): string {
  return lines.length === 0 ? '' : `${title}\n${lines.map((line) => `  ${line}\n`).join('')}`
}

function headOf({ name, data }: ToldTrace, index: number, asked: number): string {
  const cycle = data.cycle[index]!
  const others = recordsAt(data, cycle).filter((other) => other !== index)
  const lines = [
    `${name}, cycle ${grouped(cycle)} on cpu${data.cpu[index]}: event ${grouped(index + 1)} of ${grouped(data.length)}`,
    ...(cycle === asked ? [] : [`(nothing happened at cycle ${grouped(asked)}; this is the last event before it)`]),
    EVENTS[data.kind[index]!]!.doc,
  ]
  if (others.length > 0) {
    const names = others.map((other) => `${EVENTS[data.kind[other]!]!.name} on cpu${data.cpu[other]}`)
    lines.push(`In the same cycle (choose with --event and --cpu): ${names.join(', ')}`)
  }
  return lines.map((text) => `${text}\n`).join('')
}

/** The chain of causes, each with the cycles since the one before, then the event itself. */
function causeLines(data: TraceData, { causes, index }: Story, line: (index: number) => string): string[] {
  const chain = [...causes, index]
  const waits = chain.map((at, place) => (
    place === 0 ? '' : `+ ${grouped(data.cycle[at]! - data.cycle[chain[place - 1]!]!)}`))
  const width = Math.max(...waits.map(({ length }) => length))
  return [
    ...(causes.length === 0 ? ['the trace names no cause for it'] : []),
    ...chain.map((at, place) => `${at === index ? '->' : '  '} ${waits[place]!.padStart(width)} ${line(at)}`),
  ]
}

function requestLines({ era, frequencyGhz }: ToldTrace, story: Story, request: Shootdown): string[] {
  const cause = story.operation?.name ?? 'the kernel'
  const late = story.caughtUp.map(({ cpu, why, flushCycle }) => `    cpu${cpu} was left out (${why}) and `
    + (flushCycle === undefined ? 'never caught up' : `flushed at cycle ${grouped(flushCycle)}, when it came back`))
  return [...shootdownDetail(request, cause, { era, frequencyGhz }).map((text) => text.slice(2)), ...late]
}

function delayLines(delays: readonly Delay[]): string[] {
  const who = delays.map(({ cpu, comm, pid }) => `cpu${cpu} ${comm}-${pid}`)
  const cycles = delays.map((delay) => grouped(delay.cycles))
  const [wide, wideCycles] = [who, cycles].map((texts) => Math.max(0, ...texts.map(({ length }) => length)))
  return delays.map(({ what, startCycle, cycles: lasted }, at) => `${who[at]!.padEnd(wide!)}  ${what} for ${
    cycles[at]!.padStart(wideCycles!)} cycles, ${grouped(startCycle)} to ${grouped(startCycle + lasted)}`)
}

function costLines({ frequencyGhz }: ToldTrace, { operation, request }: Story): string[] {
  const lines: string[] = []
  const cost = (cycles: number): string => `${counted(cycles, 'cycle')} = ${microseconds(cycles, frequencyGhz)}`
  if (request?.cycles !== undefined) {
    const lost = request.responders.reduce((sum, { cycles }) => sum + cycles, 0)
    lines.push(`the flush: ${cost(request.cycles)} of cpu${request.initiatorCpu}`
      + (lost === 0 ? ', nothing of other CPUs' : `, and ${cost(lost)} in the handlers of other CPUs`))
  }
  if (operation?.endCycle !== undefined) lines.push(operationCost(operation, cost))
  else if (operation !== undefined) lines.push(`${nameOf(operation)}: the trace does not say when it ended`)
  return lines
}

function operationCost(
  { requests, startCycle, endCycle, ...rest }: Operation, cost: (cycles: number) => string,
): string {
  const total = endCycle! - startCycle
  const flushing = requests.reduce((sum, { cycles }) => sum + (cycles ?? 0), 0)
  const share = total === 0 ? '' : ` (${((flushing / total) * 100).toFixed(1)} %)`
  return `${nameOf(rest)}: ${cost(total)} from cycle ${grouped(startCycle)} to ${grouped(endCycle!)}`
    + (requests.length === 0 ? ', none of them for flushing'
      : `, ${grouped(flushing)}${share} of them for ${counted(requests.length, 'flush request')}`)
}

function nameOf({ name, comm, pid }: Pick<Operation, 'name' | 'comm' | 'pid'>): string {
  return `${name} of ${comm}-${pid}`
}

/** On wide machines those that did something last. */
function momentLines({ data, cpus }: ToldTrace, index: number): string[] {
  const moments = momentAt(data, index, cpus)
  if (cpus <= CPUS_MAX) return moments.map(describeMoment)
  const byAge = (a: CpuMoment, b: CpuMoment): number => b.lastCycle - a.lastCycle || a.cpu - b.cpu
  const shown = moments.toSorted(byAge).slice(0, CPUS_MAX).sort((a, b) => a.cpu - b.cpu)
  return [...shown.map(describeMoment), `and ${counted(cpus - CPUS_MAX, 'CPU')} that did nothing more recently`]
}
