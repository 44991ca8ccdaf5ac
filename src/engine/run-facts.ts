// What `expect:` needs to know about a run, taken from its result: counters, outcomes, and the
// events in the words that scenarios use (flush reasons as ftrace prints them, addresses as hex).

import { EVENTS, flushReasonText } from '../trace/events.js'
import { eventAt } from '../trace/recorder.js'
import type { TraceData } from '../trace/recorder.js'
import type { KernelEra } from '../kernel/config.js'
import type { Expectation, RunEvent, RunFacts } from '../scenario/expect.js'
import type { RunResult } from './result.js'

/** Only events that some expectation names are decoded. */
export function runFacts(result: RunResult, era: KernelEra, expectations: readonly Expectation[]): RunFacts {
  const wanted = new Set(expectations.flatMap((one) => (one.kind === 'event' ? [one.event] : [])))
  return { counters: result.counters, outcomes: result.tasks, events: runEvents(result.trace, era, wanted) }
}

function* runEvents(trace: TraceData, era: KernelEra, wanted: ReadonlySet<string>): Generator<RunEvent> {
  const isWanted = EVENTS.map(({ name }) => wanted.has(name))
  for (let index = 0; index < trace.length; index++) {
    if (!isWanted[trace.kind[index]!]) continue
    const { name, cpu, comm, fields } = eventAt(trace, index)
    yield { event: name, cpu, task: comm, fields: fieldsInWords(name, fields, era) }
  }
}

function fieldsInWords(
  name: string, fields: Readonly<Record<string, string | number | bigint>>, era: KernelEra,
): Record<string, string | number> {
  const words = Object.entries(fields).map(([field, value]): [string, string | number] => {
    if (typeof value === 'bigint') return [field, `0x${value.toString(16)}`]
    if (name === 'tlb_flush' && field === 'reason') return [field, flushReasonText(Number(value), era)]
    return [field, value]
  })
  return Object.fromEntries(words)
}
