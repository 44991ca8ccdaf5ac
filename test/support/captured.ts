// Captures of our own making: a program as those that were captured for real (map, touch, BEGIN, call, END,
// clean up), simulated, written as ftrace text, and then spoiled in the ways in which real captures are.

import { simulateHere } from '../../src/engine/simulate.js'
import { parseScenario } from '../../src/scenario/parse.js'
import { readFtrace } from '../../src/trace/ftrace-parse.js'
import type { FtraceCapture } from '../../src/trace/ftrace-parse.js'
import { formatFtrace } from '../../src/trace/ftrace-text.js'

export interface CapturedProgram {
  /** The value of `op=` and whatever else stands in the marker. */
  mark: string
  /** Between mmap and BEGIN, between BEGIN and END, behind END; YAML operations. */
  prepare?: readonly string[]
  call: readonly string[]
  cleanUp?: readonly string[]
  rounds?: number
  /** Does each round map the area anew? */
  remaps?: boolean
  areaPages?: number
  touches?: string
  /** none: one thread. spin: another one runs on CPU 1. lazy: it sleeps there. wakes: it runs before each call. */
  remote?: 'none' | 'spin' | 'lazy' | 'wakes'
  kernel?: string
}

/** The scenario of such a program. */
export function programYaml(program: CapturedProgram): string {
  const { mark, call, rounds = 3, remote = 'spin', areaPages = 5, kernel = 'linux-6.x', remaps = true } = program
  const map = [`mmap: {name: a, at: 0x7f5451e3f000, pages: ${areaPages}, fixed: true}`, program.touches ?? 'write: a']
  const round = [
    ...(remaps ? map : []), ...(remote === 'wakes' ? ['wake: tlb_remote', 'compute: 50us'] : []),
    ...(program.prepare ?? []), `mark: BEGIN ${mark}`, ...call, `mark: END ${mark}`, ...(program.cleanUp ?? []),
    'sleep: 300us',
  ]
  const line = (text: string, depth: number): string => `${' '.repeat(depth)}- ${text}\n`
  const main = [
    ...(remote === 'none' ? [] : ['spin: ready', 'compute: 50us']), ...(remaps ? [] : map),
  ].map(text => line(text, 10)).join('')
    + Array.from({ length: rounds }, () => round.map(text => line(text, 10)).join('')).join('')
    + (remote === 'spin' ? line('signal: over', 10) : remote === 'none' ? '' : line('wake: tlb_remote', 10))
  const other = ({
    none: [], spin: ['signal: ready', 'spin: over'], lazy: ['signal: ready', 'sleep: forever'],
    wakes: ['signal: ready', ...Array.from({ length: rounds + 1 }, () => 'sleep: forever')],
  } as const)[remote]
  return `cpus: 2\nkernel: ${kernel}\nprocesses:\n  - name: captured\n    threads:\n`
    + `      - name: tlb_main\n        cpu: 0\n        program:\n${main}`
    + (other.length === 0 ? '' : `      - name: tlb_remote\n        cpu: 1\n        program:\n`
      + other.map(text => line(text, 10)).join(''))
}

/** The ftrace text of a scenario. */
export async function ftraceOf(yaml: string): Promise<string> {
  const { config, image } = await parseScenario(yaml, 'captured.yaml', {}, () => { throw new Error('no traces') })
  const { result } = await simulateHere(config, image, { check: true })
  const { cpus, costs: { frequencyGhz } } = config.machine
  return formatFtrace(result.trace, { era: config.kernel.era, cpus, frequencyGhz })
}

/** As the machine of the real captures shows it: no csd and wake-up events, idle tasks of CPU 1 silent, foreigners. */
export function spoiled(text: string): string {
  let lines = text.split('\n')
  lines = lines.filter(line => !/: (csd_queue_cpu|sched_wakeup\w*|sched_migrate_task|sched_process_fork): /.test(line))
  lines = lines.filter(line => !/<idle>-0 +\[001\] ..[^hH]/.test(line))
  const noise = [
    '          <idle>-0       [001] d.h1.     0.000000: call_function_single_entry: vector=251',
    '          <idle>-0       [001] d.h1.     0.000000: tlb_flush: pages:0 reason:remote wrong CPU (5)',
    '          <idle>-0       [001] d.h1.     0.000000: call_function_single_exit: vector=251',
    '     kworker/1:2-77      [001] d..2.     0.000000: sched_switch: prev_comm=kworker/1:2 prev_pid=77 prev_prio=120 '
      + 'prev_state=I ==> next_comm=swapper/1 next_pid=0 next_prio=120',
    '           other-99999   [001] d..2.     0.000000: tlb_flush: pages:-1 reason:flush on task switch (0)',
  ]
  const first = lines.findIndex(line => !line.startsWith('#'))
  lines.splice(first, 0, ...noise)
  // Faults on program text before each call, as of a program that really runs.
  return lines.flatMap(line => line.includes('tracing_mark_write: BEGIN')
    ? [line.replace(/: tracing.*/, ': page_fault_user: address=0x55a846caf13b ip=0x55a846caf13b error_code=0x14'), line]
    : [line]).join('\n')
}

export async function captureOf(program: CapturedProgram, spoil = true): Promise<FtraceCapture> {
  const text = await ftraceOf(programYaml(program))
  return readFtrace(spoil ? spoiled(text) : text, 'capture.txt')
}
