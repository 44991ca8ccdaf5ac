// The same programs as in two captures of a real 6.18 kernel give the same flush events: by CPU,
// reason, pages, interrupts, and the context flags that the kernel prints.

import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { simulateHere } from '../src/engine/simulate.js'
import type { ProgramImage } from '../src/kernel/abi.js'
import { parseFtrace } from '../src/trace/ftrace-parse.js'
import type { FtraceRecord } from '../src/trace/ftrace-parse.js'
import { formatFtrace } from '../src/trace/ftrace-text.js'
import { testConfig } from './support/machines.js'
import {
  area, compute, image, mark, mmap, munmap, program, repeat, signal, sleep, spin, touch,
} from './support/programs.js'
import type { Step } from './support/programs.js'

const capture = (name: string): FtraceRecord[] =>
  parseFtrace(readFileSync(new URL(`fixtures/ftrace/${name}`, import.meta.url), 'utf8'))

/** Our own ftrace text, read back by the same parser. */
async function simulated(programs: ProgramImage, cpus: number): Promise<FtraceRecord[]> {
  const config = testConfig({ cpus })
  const { result } = await simulateHere(config, programs, { check: true })
  return parseFtrace(formatFtrace(result.trace, { era: 'linux-6.x', cpus, frequencyGhz: 2 }))
}

/** The lines from each mark that starts with `begin` to the next that starts with `end`. */
function between(lines: readonly FtraceRecord[], begin: string, end: string): FtraceRecord[][] {
  const rounds: FtraceRecord[][] = []
  let round: FtraceRecord[] | undefined
  for (const line of lines) {
    if (line.event !== 'tracing_mark_write') {
      round?.push(line)
    } else if (line.payload.startsWith(begin)) {
      round = []
    } else if (line.payload.startsWith(end) && round !== undefined) {
      rounds.push(round)
      round = undefined
    }
  }
  return rounds
}

/** A line without times, names and symbols. */
function shape(line: FtraceRecord): string {
  const detail: Readonly<Record<string, string>> = {
    tlb_flush: ` ${line.payload}`, ipi_send_cpu: ` cpu=${line.fields['cpu']}`,
  }
  return `${line.cpu} ${line.flags} ${line.event}${detail[line.event] ?? ''}`
}

/** The captures were made without the csd events. */
const onCpu = (lines: readonly FtraceRecord[], cpu: number): string[] =>
  lines.filter(line => line.cpu === cpu && line.event !== 'csd_queue_cpu').map(shape)

describe('munmap of 3 of 5 pages while a thread spins on the other CPU', () => {
  const munmapOnce: Step[] = [
    mmap(0, 5), touch(area(0), 'write'), mark('BEGIN'), munmap(area(0, 1, 3)), mark('END'),
    mark('BEGIN rest'), munmap(area(0, 0, 5)), mark('END rest'),
  ]
  const programs = image([{ threads: [
    { comm: 'main', cpus: [0],
      program: program('main', signal(0), compute(20_000), repeat(5, ...munmapOnce), signal(1)) },
    { comm: 'remote', cpus: [1], program: program('remote', spin(0), spin(1)) },
  ] }])

  test('each CPU shows the events of the capture, in its order, with its flags', async () => {
    const real = between(capture('munmap3-remote-spin.txt'), 'BEGIN op=munmap', 'END op=munmap')
    const ours = between(await simulated(programs, 2), 'BEGIN', 'END').filter((_, i) => i % 2 === 0)
    expect(real.length).toBe(5)
    expect(ours.length).toBe(5)
    for (const [i, round] of real.entries()) {
      for (const cpu of [0, 1]) expect(onCpu(ours[i], cpu)).toEqual(onCpu(round, cpu))
    }
  })

  test('unmapping the rest, with its table, flushes everything, as the capture shows after each round', async () => {
    const lines = capture('munmap3-remote-spin.txt')
    const afterEnd = lines.findIndex(line => line.payload.startsWith('END op=munmap'))
    const real = lines.slice(afterEnd + 1, afterEnd + 7)
    const ours = between(await simulated(programs, 2), 'BEGIN rest', 'END rest')[0]
    for (const cpu of [0, 1]) expect(onCpu(ours, cpu)).toEqual(onCpu(real, cpu))
  })
})

describe('two processes that wake each other on one CPU', () => {
  test('after the first round every switch finds its address space still in a slot', async () => {
    const rounds = between(capture('pipe-pingpong.txt'), 'BEGIN op=pingpong', 'END op=pingpong')[0]
    // Two levels of preempt count: inside schedule(), not the exit of pong at the end.
    const isSwitching = (line: FtraceRecord): boolean => line.cpu === 0 && line.flags === 'd..2.' && (
      line.event === 'sched_switch' || line.payload.includes('flush on task switch'))
    const real = rounds.filter(isSwitching).map(shape)
    const wake = (comm: string): Step => ({ op: 'wake', source: { line: 1, column: 1 }, comm })
    const ours = (await simulated(image([
      { threads: [{ comm: 'ping',
        program: program('ping', mark('BEGIN'), repeat(12, wake('pong'), sleep(0)), mark('END')) }] },
      { threads: [{ comm: 'pong', program: program('pong', repeat(12, sleep(0), wake('ping')), sleep(1_000_000)) }] },
    ]), 1))
    const round = between(ours, 'BEGIN', 'END')[0].filter(isSwitching).map(shape)
    // First switch to the other mm: flush; from then on nothing is flushed.
    expect(real.slice(0, 4)).toEqual(round.slice(0, 4))
    expect(new Set(real.slice(4))).toEqual(new Set(round.slice(4)))
    expect(round.length).toBeGreaterThanOrEqual(24)
  })
})
