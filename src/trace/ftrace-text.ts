// A trace as the text that a real kernel's tracefs shows (spec 7.1, 7.2), so that the tools made
// for it can read ours:
//
//           <idle>-0       [001] d.h1.  4137.687958: tlb_flush: pages:0 reason:remote wrong CPU (5)
//   comm (16, right)-pid   [cpu] flags  seconds.microseconds: event: payload
//
// Only events that a real kernel has are written; with `synthetic`, ours follow as
// tracing_mark_write lines. In a 4.6 trace the ipi_send_ and csd_ events, which that kernel did
// not have, are left out in the same way.
//
// Simplified: there are no kernel symbols, so a callsite is the null pointer; every priority is
// 120. The prefix is the one of 6.x in both eras, because readers accept it.

import { writeFileAtomic } from '../base/atomic-file.js'
import { fail } from '../base/assert.js'
import { CALLBACK_CALL_FUNCTION, EVENT, EVENTS, flushReasonText } from './events.js'
import type { EventKind, TraceEra } from './events.js'
import { flagCharacters } from './flags.js'
import type { TraceData } from './recorder.js'
import { chunksOf, formatFields, oneLine, quotedStrings } from './text.js'

export interface FtraceOptions {
  era: TraceEra
  cpus: number
  /** Cycles become seconds by this clock. */
  frequencyGhz: number
  /** Also write what a real kernel of this era would not show. Default false. */
  synthetic?: boolean
}

/** The text in pieces of about 64 KiB. */
export function* ftraceChunks(data: TraceData, options: FtraceOptions): Generator<string, void, undefined> {
  const writer = new FtraceWriter(data, options)
  yield writer.header()
  yield* chunksOf(data.length, (index) => writer.line(index))
}

export function formatFtrace(data: TraceData, options: FtraceOptions): string {
  let text = ''
  for (const chunk of ftraceChunks(data, options)) text += chunk
  return text
}

/** Writes the file completely or not at all; throws UserError when it cannot. */
export function saveFtrace(path: string, data: TraceData, options: FtraceOptions): void {
  writeFileAtomic(path, (write) => {
    for (const chunk of ftraceChunks(data, options)) write(chunk)
  })
}

/** Width of a comm in the kernel, without the closing NUL. */
const TASK_COMM_CHARACTERS = 15
const PRIORITY = 120
const ONLY_IN_6X: ReadonlySet<number> = new Set([EVENT.ipiSendCpu, EVENT.ipiSendCpumask, EVENT.csdQueueCpu])

class FtraceWriter {
  readonly #data: TraceData
  readonly #options: FtraceOptions
  readonly #frequencyHz: number
  readonly #comms: readonly string[]
  readonly #lines: readonly string[]
  readonly #quoted: readonly string[]
  /** Of a kind: whether it appears as itself (1), as a marker (2) or not at all (0). */
  readonly #shown: Uint8Array

  constructor(data: TraceData, options: FtraceOptions) {
    this.#data = data
    this.#options = options
    this.#frequencyHz = Math.round(options.frequencyGhz * 1e9)
    // Below 9 GHz the microseconds below are computed without rounding.
    if (!(this.#frequencyHz >= 1 && this.#frequencyHz < 9e9)) fail(`a clock of ${options.frequencyGhz} GHz`)
    this.#lines = data.strings.map(oneLine)
    this.#comms = this.#lines.map((text) => text.slice(0, TASK_COMM_CHARACTERS))
    this.#quoted = quotedStrings(data)
    this.#shown = Uint8Array.from(EVENTS, (row) => {
      if (!row.ftrace) return options.synthetic ? 2 : 0
      return options.era === 'linux-4.6' && ONLY_IN_6X.has(row.id) && !options.synthetic ? 0 : 1
    })
  }

  header(): string {
    const kind = this.#data.kind
    let lines = 0
    for (let i = 0; i < this.#data.length; i++) if (this.#shown[kind[i]!] !== 0) lines++
    return '# tracer: nop\n'
      + '#\n'
      + `# entries-in-buffer/entries-written: ${lines}/${lines}   #P:${this.#options.cpus}\n`
      + '#\n'
      + '#                                _-----=> irqs-off/BH-disabled\n'
      + '#                               / _----=> need-resched\n'
      + '#                              | / _---=> hardirq/softirq\n'
      + '#                              || / _--=> preempt-depth\n'
      + '#                              ||| / _-=> migrate-disable\n'
      + '#                              |||| /     delay\n'
      + '#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION\n'
      + '#              | |         |   |||||     |         |\n'
  }

  /** One line with its line end, or nothing for an event that is not shown. */
  line(i: number): string {
    const kind = this.#data.kind[i]!
    const row = EVENTS[kind]
    if (row === undefined) fail(`trace record ${i} has the unknown kind ${kind}`)
    const shown = this.#shown[kind]
    if (shown === 0) return ''
    if (shown === 1) return this.#prefix(i) + row.name + ': ' + this.#payload(i, kind) + '\n'
    return this.#prefix(i) + 'tracing_mark_write: ' + row.name + ':'
      + formatFields(this.#data, i, row, this.#quoted) + '\n'
  }

  #prefix(i: number): string {
    const { cpu, pid, comm, flags, cycle } = this.#data
    const name = pid[i] === 0 ? '<idle>' : this.#comm(comm[i]!)
    return name.padStart(16) + '-' + String(pid[i]).padEnd(7)
      + ' [' + String(cpu[i]).padStart(3, '0') + '] '
      + flagCharacters(flags[i]!) + ' ' + this.#timestamp(cycle[i]!) + ': '
  }

  /** Seconds in five columns, a dot, microseconds rounded to nearest as the kernel does. */
  #timestamp(cycle: number): string {
    let seconds = Math.floor(cycle / this.#frequencyHz)
    let micros = Math.round(((cycle - seconds * this.#frequencyHz) * 1e6) / this.#frequencyHz)
    if (micros === 1e6) {
      seconds++
      micros = 0
    }
    return String(seconds).padStart(5) + '.' + String(micros).padStart(6, '0')
  }

  #payload(i: number, kind: number): string {
    const [a, b, c, d, e] = this.#data.words as [Int32Array, Int32Array, Int32Array, Int32Array, Int32Array]
    switch (kind) {
      case EVENT.schedSwitch:
        return 'prev_comm=' + this.#taskName(this.#data.comm[i]!, this.#data.pid[i]!, i)
          + ' prev_pid=' + this.#data.pid[i] + ' prev_prio=' + PRIORITY + ' prev_state=' + this.#lines[a[i]!]
          + ' ==> next_comm=' + this.#taskName(b[i]!, c[i]!, i) + ' next_pid=' + c[i] + ' next_prio=' + PRIORITY
      case EVENT.schedWakeup:
      case EVENT.schedWakeupNew:
        return this.#task(a[i]!, b[i]!, i) + ' target_cpu=' + String(c[i]).padStart(3, '0')
      case EVENT.schedMigrateTask:
        return this.#task(a[i]!, b[i]!, i) + ' orig_cpu=' + c[i] + ' dest_cpu=' + d[i]
      case EVENT.schedProcessFork:
        return 'comm=' + this.#taskName(this.#data.comm[i]!, this.#data.pid[i]!, i) + ' pid=' + this.#data.pid[i]
          + ' child_comm=' + this.#comm(a[i]!) + ' child_pid=' + b[i]
      case EVENT.schedProcessExit:
        return this.#task(this.#data.comm[i]!, this.#data.pid[i]!, i) + ' group_dead=' + (a[i] !== 0)
      case EVENT.schedProcessExec:
        return 'filename=' + this.#comm(a[i]!) + ' pid=' + this.#data.pid[i] + ' old_pid=' + b[i]
      case EVENT.signalGenerate:
        return 'sig=' + a[i] + ' errno=0 code=0 comm=' + this.#comm(b[i]!) + ' pid=' + c[i] + ' grp=1 res=0'
      case EVENT.tlbFlush:
        return 'pages:' + a[i] + ' reason:' + flushReasonText(b[i]!, this.#options.era) + ' (' + b[i] + ')'
      case EVENT.ipiSendCpu:
        return 'cpu=' + a[i] + ' callsite=0x0 callback=' + this.#callback(b[i]!)
      case EVENT.ipiSendCpumask:
        return 'cpumask=' + this.#lines[a[i]!] + ' callsite=0x0 callback=' + this.#callback(b[i]!)
      case EVENT.csdQueueCpu:
        return 'cpu=' + a[i] + ' callsite=0x0 func=flush_tlb_func csd=0x0'
      case EVENT.pageFaultUser:
      case EVENT.pageFaultKernel:
        return 'address=' + pointer(a[i]!, b[i]!) + ' ip=' + pointer(c[i]!, d[i]!) + ' error_code=' + pointer(0, e[i]!)
      case EVENT.tracingMarkWrite:
        return this.#lines[a[i]!] ?? ''
      default: {
        const row: EventKind = EVENTS[kind]!
        return 'vector=' + row.vector
      }
    }
  }

  #task(comm: number, pid: number, i: number): string {
    return 'comm=' + this.#taskName(comm, pid, i) + ' pid=' + pid + ' prio=' + PRIORITY
  }

  /** In payloads the idle task of a CPU goes by its real name. */
  #taskName(comm: number, pid: number, i: number): string {
    return pid === 0 ? 'swapper/' + this.#data.cpu[i] : this.#comm(comm)
  }

  #comm(id: number): string {
    return this.#comms[id] ?? ''
  }

  #callback(id: number): string {
    const name = this.#lines[id] ?? ''
    return name === CALLBACK_CALL_FUNCTION ? name + '+0x0/0x10' : name
  }
}

function pointer(hi: number, lo: number): string {
  const low = (lo >>> 0).toString(16)
  return '0x' + (hi === 0 ? low : (hi >>> 0).toString(16) + low.padStart(8, '0'))
}
