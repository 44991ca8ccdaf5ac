// A capture against a simulation: captures of a real kernel, and captures of our own making of every
// kind of operation, each against a scenario that is derived from the capture alone. What is spoiled
// about a capture is explained; what is changed in it is found.

import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { loadScenario, parseScenario } from '../src/scenario/parse.js'
import { simulatedCapture } from '../src/study/compare-run.js'
import { deriveScenario } from '../src/study/derive-scenario.js'
import { compareCaptures } from '../src/trace/capture-compare.js'
import type { CaptureComparison } from '../src/trace/capture-compare.js'
import { readFtrace } from '../src/trace/ftrace-parse.js'
import type { FtraceCapture } from '../src/trace/ftrace-parse.js'
import { captureOf, ftraceOf, programYaml, spoiled } from './support/captured.js'
import type { CapturedProgram } from './support/captured.js'

const noTraces = (): never => { throw new Error('no traces') }
const real = (name: string): FtraceCapture =>
  readFtrace(readFileSync(new URL(`fixtures/ftrace/${name}.txt`, import.meta.url), 'utf8'), name)

/** Against a scenario made from the capture itself. */
async function derived(capture: FtraceCapture): Promise<CaptureComparison> {
  const { yaml, tasks, notes } = deriveScenario(capture)
  const scenario = await parseScenario(yaml, 'derived.yaml', {}, noTraces)
  const ours = await simulatedCapture(scenario, { engine: 'inline', check: true })
  return compareCaptures(capture, ours, { tasks }, notes)
}

/** Differences without an explanation, one a line. */
function unexplained({ operations }: CaptureComparison): string[] {
  return operations.flatMap(({ name, lanes, problem }) => [
    ...(problem === undefined ? [] : [`${name}: ${problem}`]),
    ...lanes.flatMap(({ cpu, rows }) => rows.filter(row => row.status !== 'same' && row.explanation === undefined)
      .map(row => `${name}: cpu${cpu}: ${row.real ?? '-'} | ${row.ours ?? '-'}`)),
  ])
}

/** Flushes and interrupts that are the same on both sides, of the first operation. */
function sameEvents({ operations }: CaptureComparison): string[] {
  return operations[0]!.lanes.flatMap(({ cpu, rows }) =>
    rows.filter(({ status }) => status === 'same').map(row => `${cpu}: ${row.real}`))
}

describe.each(['munmap3-remote-spin', 'pipe-pingpong'])('the real capture %s', (name) => {
  test('has no unexplained difference from its scenario', async () => {
    const scenario = await loadScenario(`scenarios/captures/${name}.yaml`, {}, noTraces)
    const comparison = compareCaptures(real(name), await simulatedCapture(scenario, { engine: 'inline', check: true }))
    expect(unexplained(comparison)).toEqual([])
    expect(comparison.operations.length).toBe(name === 'pipe-pingpong' ? 1 : 5)
  })

  test('has none from a scenario that is derived from it', async () => {
    const comparison = await derived(real(name))
    expect(unexplained(comparison)).toEqual([])
    expect(sameEvents(comparison).length).toBeGreaterThan(5)
  })
})

test('four CPUs, two calls in a row on the same pages: threads that run and one that sleeps', async () => {
  const spinner = (cpu: number): string =>
    `      - {name: tlb_s${cpu}, cpu: ${cpu}, program: [signal: r${cpu}, spin: over]}`
  const text = await ftraceOf(`cpus: 4
processes:
  - name: app
    threads:
      - name: tlb_main
        cpu: 2
        program:
          - spin: r0
          - spin: r1
          - spin: r3
          - compute: 50us
          - repeat:
              times: 3
              do:
                - mmap: {name: a, at: 0x7f5451e3f000, pages: 10, fixed: true}
                - write: a
                - mark: BEGIN op=mprotect pages=8 remote=mixed
                - mprotect: {area: a, offset: 4K, pages: 8, prot: r}
                - mark: END op=mprotect pages=8 remote=mixed
                - mark: BEGIN op=munmap pages=10 tables=freed
                - munmap: a
                - mark: END op=munmap pages=10 tables=freed
                - sleep: 100us
          - signal: over
          - wake: tlb_s3
${spinner(0)}
${spinner(1)}
      - {name: tlb_s3, cpu: 3, program: [signal: r3, sleep: forever]}
`)
  const comparison = await derived(readFtrace(text, 'four'))
  expect(unexplained(comparison)).toEqual([])
  expect(comparison.operations).toHaveLength(6)
  expect(sameEvents(comparison)).toContain('2: ipi_send_cpumask to cpu0, cpu1')
})

test('what others do meanwhile is not compared: they run, interrupt, are interrupted, or fault elsewhere', async () => {
  const sched = (prev: string, prevPid: number, state: string, next: string, nextPid: number): string =>
    `sched_switch: prev_comm=${prev} prev_pid=${prevPid} prev_prio=120 prev_state=${state} ==> `
    + `next_comm=${next} next_pid=${nextPid} next_prio=120`
  const [main, remote] = ['tlb_main-26323 [000]', 'tlb_remote-26324 [001]']
  const [bash, worker] = ['bash-500 [000]', 'kw-9 [000]']
  const call = 'callsite=on_each_cpu_cond_mask+0x20/0x60 callback=generic_smp_call_function_single_interrupt+0x0/0x10'
  const noise: string[][] = [
    [`${main} d..2. @: ${sched('tlb_main', 26323, 'R', 'bash', 500)}`,
      `${main} d..2. @: tlb_flush: pages:-1 reason:flush on task switch (0)`,
      `${bash} d..2. @: tlb_flush: pages:1 reason:local MM shootdown (3)`,
      `${bash} d..2. @: ${sched('bash', 500, 'S', 'tlb_main', 26323)}`,
      `${bash} d..2. @: tlb_flush: pages:0 reason:flush on task switch (0)`],
    [`${main} d.h1. @: local_timer_entry: vector=236`, `${main} dNh1. @: local_timer_exit: vector=236`,
      `${main} d..2. @: ${sched('tlb_main', 26323, 'R+', 'kw', 9)}`,
      `${worker} d..2. @: ${sched('kw', 9, 'I', 'tlb_main', 26323)}`],
    [`${remote} d.h.. @: call_function_single_entry: vector=251`,
      `${remote} d.h.. @: tlb_flush: pages:0 reason:remote wrong CPU (5)`,
      `${remote} d.h.. @: call_function_single_exit: vector=251`,
      `${main} d..1. @: ipi_send_cpu: cpu=1 callsite=native_smp_send_reschedule+0x1/0x2 callback=0x0`,
      `${remote} dNh.. @: reschedule_entry: vector=253`, `${remote} dNh.. @: reschedule_exit: vector=253`],
    [`${main} d.... @: page_fault_user: address=0x7f545605be40 ip=0x7f545605be40 error_code=0x7`,
      `${main} ...1. @: tlb_flush: pages:1 reason:remote IPI send (4)`, `${main} ...2. @: ipi_send_cpu: cpu=1 ${call}`,
      `${main} d..2. @: tlb_flush: pages:1 reason:local MM shootdown (3)`,
      `${remote} d.h.. @: call_function_single_entry: vector=251`,
      `${remote} d.h.. @: tlb_flush: pages:1 reason:remote shootdown (1)`,
      `${remote} d.h.. @: call_function_single_exit: vector=251`],
  ]
  const text = readFileSync(new URL('./fixtures/ftrace/munmap3-remote-spin.txt', import.meta.url), 'utf8')
  let round = 0
  const lines = text.split('\n').flatMap((line) => {
    if (!line.includes('BEGIN op=')) return [line]
    const time = /(\d+\.\d+): /.exec(line)![1]!
    return [line].concat((noise[round++] ?? []).map(one => one.replace('@', time)))
  })
  const comparison = await derived(readFtrace(lines.join('\n'), 'noise'))
  expect(unexplained(comparison)).toEqual([])
  const sameRows = comparison.operations.map(({ lanes }) =>
    lanes.flatMap(lane => lane.rows).filter(row => row.status === 'same').length)
  expect(sameRows).toEqual([6, 6, 6, 6, 6])
  expect(comparison.operations[0]!.ignored).toEqual({ 'of tasks that the scenario does not have': 5 })
})

test('a capture without markers is compared request by request, up to the exit of the process', async () => {
  const name = 'munmap3-remote-spin'
  const text = readFileSync(new URL(`./fixtures/ftrace/${name}.txt`, import.meta.url), 'utf8')
  const capture = readFtrace(text.split('\n').filter(line => !line.includes('tracing_mark_write')).join('\n'), name)
  const scenario = await loadScenario(`scenarios/captures/${name}.yaml`, {}, noTraces)
  const comparison = compareCaptures(capture, await simulatedCapture(scenario, { engine: 'inline' }))
  expect(comparison.how).toBe('requests')
  expect(unexplained(comparison)).toEqual([])
  expect(comparison.operations.map(operation => operation.name)).toEqual([
    ...Array.from({ length: 5 }, () => ['flush of 3 pages', 'flush of everything']).flat(), 'flush of everything',
  ])
})

describe('a scenario derived from a capture does what was captured', () => {
  const middle = { area: 'a', offset: '4K', pages: 3 }
  const range = (key: string, more: Record<string, string> = {}): string =>
    `${key}: ${JSON.stringify({ ...middle, ...more })}`
  const programs: Record<string, CapturedProgram> = {
    'munmap that keeps the table': { mark: 'op=munmap pages=3 remote=spin tables=kept', call: [range('munmap')],
      cleanUp: ['munmap: a'] },
    'munmap that frees the table': { mark: 'op=munmap pages=5 remote=spin tables=freed', call: ['munmap: a'] },
    'munmap of 40 pages': { mark: 'op=munmap pages=40 remote=spin tables=kept', areaPages: 42,
      call: ['munmap: {area: a, offset: 4K, pages: 40}'], cleanUp: ['munmap: a'] },
    'munmap while the other thread sleeps': { mark: 'op=munmap pages=3 remote=lazy tables=kept', remote: 'lazy',
      call: [range('munmap')], cleanUp: ['munmap: a'] },
    'munmap of tables while the other thread sleeps': { mark: 'op=munmap pages=5 remote=lazy tables=freed',
      remote: 'lazy', call: ['munmap: a'] },
    'munmap of tables, the other thread wakes in between': { mark: 'op=munmap pages=5 remote=lazy tables=freed',
      remote: 'wakes', call: ['munmap: a'] },
    'munmap by a single thread': { mark: 'op=munmap pages=3 remote=never tables=kept', remote: 'none',
      call: [range('munmap')], cleanUp: ['munmap: a'] },
    'mprotect to read-only': { mark: 'op=mprotect pages=3 remote=spin', remaps: false,
      call: [range('mprotect', { prot: 'r' })], cleanUp: [range('mprotect', { prot: 'rw' })] },
    'mprotect to none': { mark: 'op=mprotect pages=3 prot=none remote=spin', remaps: false,
      call: [range('mprotect', { prot: 'none' })], cleanUp: [range('mprotect', { prot: 'rw' })] },
    'mprotect that loosens': { mark: 'op=mprotect_rw pages=3 remote=spin', remaps: false,
      prepare: [range('mprotect', { prot: 'r' })], call: [range('mprotect', { prot: 'rw' })] },
    'mprotect while the other thread sleeps': { mark: 'op=mprotect pages=3 remote=lazy', remaps: false, remote: 'lazy',
      call: [range('mprotect', { prot: 'r' })], cleanUp: [range('mprotect', { prot: 'rw' })] },
    'madvise dontneed': { mark: 'op=madvise pages=3 advice=dontneed remote=spin', remaps: false, prepare: ['write: a'],
      call: [range('madvise', { advice: 'dontneed' })] },
    'dontneed with a new area each round': { mark: 'op=dontneed pages=3 remote=spin',
      call: [range('madvise', { advice: 'dontneed' })], cleanUp: ['munmap: a'] },
    'fork, the child exits on the same CPU': { mark: 'op=fork pages=5 remote=spin', rounds: 1,
      call: ['fork: {name: tlb_child, cpu: 0, program: [exit]}', 'wait'], cleanUp: ['munmap: a'] },
    'madvise free, round after round': { mark: 'op=madvise_free pages=3 remote=spin', remaps: false,
      prepare: ['write: a'], call: [range('madvise', { advice: 'free' })] },
    'mremap to a free address': { mark: 'op=mremap pages=3 remote=spin',
      call: ['mremap: {area: a, offset: 4K, pages: 3, newAt: 0x7f5551e40000}'],
      cleanUp: ['munmap: {at: 0x7f5451e3f000, pages: 1}', 'munmap: {at: 0x7f5451e43000, pages: 1}',
        'munmap: {at: 0x7f5551e40000, pages: 3}'] },
    'fork, the child exits on the other CPU': { mark: 'op=fork pages=5 remote=never', remote: 'none', rounds: 1,
      call: ['fork: {name: tlb_child, cpu: 1, program: [exit]}', 'wait'] },
    'writes to pages that a living child shares': { mark: 'op=cow pages=5 remote=never', remote: 'none', rounds: 1,
      prepare: ['fork: {name: tlb_child, cpu: 1, program: [sleep: 400us]}', 'compute: 60us'], call: ['write: a'],
      cleanUp: ['wait'] },
    'fork by a single thread': { mark: 'op=fork pages=5 remote=never', remote: 'none', rounds: 1,
      call: ['fork: {name: tlb_child, cpu: 0, program: [exit]}', 'wait'] },
  }
  test.each([0.45, 0.62, 0.78])('also of a capture that is cut off at %f of its length', async (share) => {
    for (const name of ['munmap3-remote-spin', 'pipe-pingpong']) {
      const text = readFileSync(new URL(`./fixtures/ftrace/${name}.txt`, import.meta.url), 'utf8')
      const comparison = await derived(readFtrace(text.slice(0, Math.floor(text.length * share)), name))
      expect(unexplained(comparison)).toEqual([])
      expect(comparison.operations.at(-1)!.verdict).toBe('explained')
    }
  })

  for (const [title, program] of Object.entries(programs)) {
    test(title, async () => {
      const capture = await captureOf(program)
      const comparison = await derived(capture)
      expect(unexplained(comparison)).toEqual([])
      expect(comparison.operations.length).toBe(program.rounds ?? 3)
      expect(sameEvents(comparison).length).toBeGreaterThan(0)
    })
  }
})

describe('what is changed in a capture is found, and nothing else', async () => {
  const yaml = programYaml({
    mark: 'op=munmap pages=3 remote=spin tables=kept', call: ['munmap: {area: a, offset: 4K, pages: 3}'],
    cleanUp: ['munmap: a'], rounds: 4,
  })
  const whole = await ftraceOf(yaml)
  const ours = readFtrace(whole, 'simulation')
  const changes: Record<string, (line: string) => string[]> = {
    'an event that is missing': () => [],
    'an event that is there twice': line => [line, line],
    'other pages': line => [line.replace('pages:3', 'pages:7')],
    'another reason': line => [line.replace(/reason:.*/, 'reason:local shootdown (2)')],
    'another target': line => [line.replace('cpu=1', 'cpu=0')],
  }
  const suits: Record<string, RegExp> = {
    'other pages': /tlb_flush/, 'another reason': /tlb_flush/, 'another target': /ipi_send_cpu/,
  }

  /** Lines between the markers that say what the kernel did. */
  function candidates(lines: readonly string[]): number[] {
    let inside = false
    return lines.flatMap((line, index) => {
      if (line.includes('tracing_mark_write: ')) inside = line.includes('BEGIN')
      return inside && /: (tlb_flush|ipi_send_cpu|call_function_single_\w+): /.test(line) ? [index] : []
    })
  }

  test.each([['whole', whole], ['spoiled', spoiled(whole)]])('in a %s capture', (_, text) => {
    const lines = text.split('\n')
    const places = candidates(lines)
    expect(places.length).toBe(4 * 6)
    expect(unexplained(compareCaptures(readFtrace(text, 'capture'), ours))).toEqual([])
    fc.assert(fc.property(fc.constantFrom(...Object.keys(changes)), fc.nat(), (change, choice) => {
      const fitting = places.filter(index => suits[change]?.test(lines[index]!) ?? true)
      const at = fitting[choice % fitting.length]!
      const changed = lines.flatMap((line, index) => index === at ? changes[change]!(line) : [line])
      const comparison = compareCaptures(readFtrace(changed.join('\n'), 'capture'), ours)
      const event = /: (\w+): /.exec(lines[at]!)![1]!
      const told = unexplained(comparison)
      expect(told).toHaveLength(1)
      expect(told[0]).toContain(event)
      expect(comparison.operations.filter(({ verdict }) => verdict === 'different')).toHaveLength(1)
    }), { numRuns: 150 })
  })

  test('an operation that is missing, or one more, is told', () => {
    const records = whole.split('\n')
    const begin = records.findIndex(line => line.includes('BEGIN'))
    const end = records.findIndex(line => line.includes('END'))
    const without = readFtrace(records.filter((_, index) => index < begin || index > end).join('\n'), 'capture')
    expect(compareCaptures(without, ours).notes).toEqual([
      'only in the simulation: 1 more operation, "op=munmap pages=3 remote=spin tables=kept"',
    ])
    const other = readFtrace(whole.replaceAll('op=munmap', 'op=mremap'), 'capture')
    expect(unexplained(compareCaptures(other, ours))[0]).toContain('the simulation has no such operation')
  })

  test('a capture that is cut off explains what is missing behind the cut', () => {
    const cut = whole.slice(0, whole.lastIndexOf('BEGIN') + 300)
    const comparison = compareCaptures(readFtrace(cut, 'capture'), ours)
    expect(unexplained(comparison)).toEqual([])
    expect(comparison.operations.at(-1)).toMatchObject({ verdict: 'explained', round: 3 })
  })
})
