// The notation of the observed event sequences: `0: flush(4,8)` is a tlb_flush on CPU 0 with reason
// 4 for 8 pages, QUEUE, SEND and IRQ+/IRQ- are the call-function request, interrupt and handler.

import { simulateHere } from '../../src/engine/simulate.js'
import type { ProgramImage } from '../../src/kernel/abi.js'
import type { SimulationConfig } from '../../src/kernel/config.js'
import { CALLBACK_CALL_FUNCTION } from '../../src/trace/events.js'
import { eventsOf } from '../../src/trace/recorder.js'
import type { TraceEvent } from '../../src/trace/events.js'

/** Runs with invariants on and gives what happened after the mark `BEGIN` (up to `END` if there is one). */
export async function sequence(config: SimulationConfig, image: ProgramImage): Promise<string[]> {
  const { result } = await simulateHere(config, image, { check: true })
  const lines: string[] = []
  let isOn = false
  for (const event of eventsOf(result.trace)) {
    if (event.name === 'tracing_mark_write') {
      if (event.fields.text === 'BEGIN') isOn = true
      if (event.fields.text === 'END') isOn = false
    }
    const text = notation(event)
    if (isOn && text !== '') lines.push(`${event.cpu}: ${text}`)
  }
  return lines
}

/** The part of a sequence that happened on one CPU. */
export function onCpu(lines: readonly string[], cpu: number): string[] {
  return lines.filter(line => line.startsWith(`${cpu}: `)).map(line => line.slice(3))
}

export function notation(event: TraceEvent): string {
  switch (event.name) {
    case 'tlb_flush':
      return `flush(${event.fields.reason},${event.fields.pages})`
    case 'csd_queue_cpu':
      return `QUEUE ${event.fields.cpu}`
    case 'ipi_send_cpu':
      return event.fields.callback === CALLBACK_CALL_FUNCTION ? `SEND ${event.fields.cpu}` : ''
    case 'ipi_send_cpumask':
      return `SEND mask ${event.fields.cpumask}`
    case 'call_function_entry':
    case 'call_function_single_entry':
      return 'IRQ+'
    case 'call_function_exit':
    case 'call_function_single_exit':
      return 'IRQ-'
    case 'page_fault_user':
      return `fault 0x${event.fields.errorCode.toString(16)}`
    case 'sched_switch':
      return 'switch'
    default:
      return ''
  }
}
