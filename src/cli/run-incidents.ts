// What happened to programs that nobody held against them: signals that ended tasks, with the line
// of the scenario that was running, and system calls that returned an error which the scenario did
// not announce. A mistake in a scenario (memory that was never mapped, an mmap that got ENOMEM)
// shows here first.

import { hex64 } from '../base/units.js'
import { ERRNO, type ErrnoName, type ProgramImage, type SourceLine } from '../kernel/abi.js'
import { EVENT } from '../trace/events.js'
import type { TraceData } from '../trace/recorder.js'

/** Where page_fault_user shows a program's instructions, and how far apart (kernel/traps.ts). */
const PROGRAM_TEXT = 0x400000
const INSTRUCTION_BYTES = 4

export interface SignalIncident {
  pid: number
  comm: string
  signal: string
  cycle: number
  /** What the task accessed: `0x` and 16 digits. */
  address: string
  /** Undefined when no page fault brought the signal. */
  source: SourceLine | undefined
}

export interface FailedCall {
  pid: number
  comm: string
  cycle: number
  call: string
  error: string
}

export interface Incidents {
  signals: readonly SignalIncident[]
  failedCalls: readonly FailedCall[]
}

export function incidentsOf(trace: TraceData, image: ProgramImage): Incidents {
  const { length, kind, pid, comm, cycle, words, strings } = trace
  const faultIp = new Map<number, number>()
  const signals: SignalIncident[] = []
  const failedCalls: FailedCall[] = []
  for (let i = 0; i < length; i++) {
    const who = { pid: pid[i]!, comm: strings[comm[i]!] ?? '', cycle: cycle[i]! }
    switch (kind[i]) {
      case EVENT.pageFaultUser:
        faultIp.set(who.pid, words[3]![i]!)
        break
      case EVENT.signal:
        signals.push({
          ...who,
          signal: strings[words[0]![i]!] ?? '',
          address: hex64(words[1]![i]!, words[2]![i]!),
          source: sourceAt(image, who.comm, faultIp.get(who.pid)),
        })
        break
      case EVENT.sysExit: {
        const result = words[1]![i]!
        if (result >= 0) break
        const [call, error] = [strings[words[0]![i]!] ?? '', errorName(-result)]
        if (!isAnnounced(image, who.comm, call, error)) failedCalls.push({ ...who, call, error })
        break
      }
    }
  }
  return { signals, failedCalls }
}

/** Task names are unique in a scenario, and programs are named after their tasks. */
function sourceAt(image: ProgramImage, comm: string, ip: number | undefined): SourceLine | undefined {
  if (ip === undefined) return undefined
  const program = image.programs.find(({ name }) => name === comm)
  return program?.code[(ip - PROGRAM_TEXT) / INSTRUCTION_BYTES]?.source
}

/** Whether the program says somewhere that this call may fail so. */
function isAnnounced(image: ProgramImage, comm: string, call: string, error: string): boolean {
  const program = image.programs.find(({ name }) => name === comm)
  return program?.code.some(({ op, expectError }) => op === call && expectError === error) ?? false
}

function errorName(code: number): string {
  const names = Object.keys(ERRNO) as ErrnoName[]
  return names.find((name) => ERRNO[name] === code) ?? `error ${code}`
}
