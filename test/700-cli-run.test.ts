// `shootdown run` as its users meet it: a child process, its output and its exit code. The traces
// of all engines are compared here too, for every scenario of the tour.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openTraceTarget } from '../src/cli/run-trace.js'
import { runFacts } from '../src/engine/run-facts.js'
import { ENGINES } from '../src/engine/scheduler-loop.js'
import { simulate } from '../src/engine/simulate.js'
import { checkExpectations } from '../src/scenario/expect.js'
import { loadScenario } from '../src/scenario/parse.js'
import type { Scenario } from '../src/scenario/scenario.js'
import { EVENT } from '../src/trace/events.js'
import { formatFtrace } from '../src/trace/ftrace-text.js'
import { TraceRecorder } from '../src/trace/recorder.js'
import type { TraceData } from '../src/trace/recorder.js'
import { formatTextTrace } from '../src/trace/text.js'
import { ROOT, shootdown, temporaryFolder } from './support/cli.js'

const TOUR = readdirSync(join(ROOT, 'scenarios/tour')).filter((name) => name.endsWith('.yaml')).sort()
  .map((name) => `scenarios/tour/${name}`)
const SHOOTDOWN = 'scenarios/tour/02-shootdown.yaml'
const noTrace = (): never => {
  throw new Error('the tour needs no traces')
}

function headerOf({ config: { name, machine, kernel, seed } }: Scenario) {
  const { cpus, costs: { frequencyGhz } } = machine
  return { scenario: name, era: kernel.era, cpus, seed, frequencyGhz }
}

describe('the tour', () => {
  test('runs on threads with all invariants checked, and everything that it expects holds', async () => {
    const { code, stdout, stderr } = await shootdown(['run', ...TOUR, '--engine', 'threads', '--check'])
    expect({ code, stderr, failed: stdout.match(/FAILED.*/g) }).toEqual({ code: 0, stderr: '', failed: null })
    expect(stdout.match(/^Shootdowns$/gm)).toHaveLength(TOUR.length)
    expect(stdout.match(/^What to look for$/gm)).toHaveLength(TOUR.length)
  })

  test('gives the same traces on a host without WebAssembly', async () => {
    const folder = temporaryFolder()
    for (const [name, node] of [['with.txt', []], ['without.txt', ['--jitless']]] as const) {
      const options = ['--engine', 'inline', '--trace', join(folder, name)]
      expect((await shootdown(['run', SHOOTDOWN, ...options], { node })).code).toBe(0)
    }
    expect(readFileSync(join(folder, 'without.txt'), 'utf8')).toBe(readFileSync(join(folder, 'with.txt'), 'utf8'))
  })

  for (const file of TOUR) {
    test(`${file} gives the same trace on every engine`, async () => {
      const scenario = await loadScenario(join(ROOT, file), {}, noTrace)
      const traces: string[] = []
      for (const engine of ENGINES) {
        const { result } = await simulate(scenario.config, scenario.image, { engine, shortestWorkerWindow: 0 })
        traces.push(formatTextTrace(result.trace, headerOf(scenario)))
        const facts = runFacts(result, scenario.config.kernel.era, scenario.expectations)
        expect(checkExpectations(scenario.expectations, facts).filter(({ ok }) => !ok)).toEqual([])
      }
      expect(traces[1]).toBe(traces[0])
      expect(traces[2]).toBe(traces[0])
    })
  }
})

describe('the summary', () => {
  test('tells a shootdown: who interrupts whom, who flushes what, who is lazy, what it costs', async () => {
    const { stdout } = await shootdown(['run', SHOOTDOWN])
    const text = stdout.slice(stdout.indexOf('Shootdowns'), stdout.indexOf('done after'))
    expect(text.replace(/[\d,]+ cycles in/g, 'N cycles in').replace(/cycle [\d,]+:/, 'cycle N:')).toBe([
      'Shootdowns',
      '  cycle N: munmap of main-1 on cpu0 flushes 3 pages from 0x0000000010004000 of mm 2',
      '      cpu0 -> cpu1  IPI: flushes 3 pages (remote shootdown), N cycles in the handler',
      '      cpu0 -> cpu2  IPI: flushes 3 pages (remote shootdown), N cycles in the handler',
      '      cpu3          no IPI: skipped, lazy',
      '      cpu0          flushes 3 pages itself (local MM shootdown)',
      '      ',
    ].join('\n'))
    expect(stdout).toMatch(/done after [\d,]+ cycles = [\d.]+ us/)
    expect(stdout).toContain('engine    threads, each CPU in its own worker_thread; seed 1')
    expect(stdout).toContain(`ok      ${SHOOTDOWN}:52:5  exactly 1 of tlb_flush`)
    expect(stdout.trimEnd().split('\n').at(-1)).toMatch(/^To see all \d+ events: --trace out\.txt/)
  })

  test('points at what failed, and says how to run it again', async () => {
    const folder = temporaryFolder({ 'wrong.yaml': [
      'processes:',
      '  - name: app',
      '    program:',
      '      - mmap: {name: buf, pages: 4}',
      '      - store: {area: buf, value: 5}',
      '      - load: {area: buf, expect: 6}',
      '      - mmap: {pages: 1, expectError: ENOMEM}',
      'expect:',
      '  - {counter: pageFaults, equals: 7}',
      '  - {task: app, outcome: exited}',
    ].join('\n') })
    const args = ['run', 'wrong.yaml', '--engine', 'inline', '--seed', '9']
    const { code, stdout } = await shootdown(args, { cwd: folder })
    expect(code).toBe(1)
    expect(stdout).toMatch(/FAILED {2}wrong\.yaml:6:9 .*loaded 0x0{15}5, expected 0x0{15}6\n/)
    expect(stdout).toMatch(/FAILED {2}wrong\.yaml:7:9 .*mmap returned 0, expected ENOMEM\n/)
    expect(stdout).toContain('FAILED  wrong.yaml:9:5  pageFaults is exactly 7, but it is 1\n')
    expect(stdout).toContain('ok      wrong.yaml:10:5  task app ends with exited\n')
    expect(stdout).toContain(
      'FAILED: 3 expectations failed; this run again: shootdown run wrong.yaml --engine inline --seed 9\n')
  })

  test('says who waits when nothing can move any more', async () => {
    const folder = temporaryFolder({ 'stuck.yaml': [
      'processes:',
      '  - name: app',
      '    threads:',
      '      - {name: one, cpu: 0, program: [{spin: x}, {signal: y}]}',
      '      - {name: two, cpu: 1, program: [{spin: y}, {signal: x}]}',
    ].join('\n') })
    const { code, stdout } = await shootdown(['run', 'stuck.yaml', '--engine', 'inline'], { cwd: folder })
    expect(code).toBe(1)
    expect(stdout).toMatch(/STALLED.*\n +cpu0: one-1 .*\n +cpu1: two-2 /)
    expect(stdout).toContain('FAILED: the run stalled; this run again: shootdown run stuck.yaml --engine inline')
  })
})

describe('--json', () => {
  test('prints one object a scenario and nothing else', async () => {
    const { code, stdout, stderr } = await shootdown(['run', SHOOTDOWN, TOUR[0]!, '--json', '--engine', 'inline'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const [first, second, ...rest] = stdout.split('\n').filter((line) => line !== '').map((line) => JSON.parse(line))
    expect(rest).toEqual([])
    expect(first).toMatchObject({
      schemaVersion: 1, file: SHOOTDOWN, name: 'shootdown', engine: 'inline', end: 'finished', ok: true,
      tasks: [{ pid: 1, comm: 'main', outcome: 'exited' }, {}, {}, {}],
      counters: { lazySkipped: 1 },
      shootdowns: [{
        initiatorCpu: 0, comm: 'main', pages: 3, start: '0x0000000010004000', ipiCpus: [1, 2],
        local: { reason: 'TLB_LOCAL_MM_SHOOTDOWN', pages: 3 },
        responders: [
          { cpu: 1, reason: 'TLB_REMOTE_SHOOTDOWN', pages: 3 }, { cpu: 2, reason: 'TLB_REMOTE_SHOOTDOWN', pages: 3 },
        ],
        skipped: [{ cpu: 3, why: 'lazy' }],
      }, {}],
    })
    expect(first.cycle).toBeGreaterThan(0)
    expect(first.cpus).toHaveLength(4)
    expect(first.expectations).toHaveLength(7)
    expect(first.expectations[0]).toMatchObject({ ok: true, file: SHOOTDOWN, line: 52, column: 5 })
    expect(second).toMatchObject({ name: 'first-walk', ok: true })
  })
})

describe('options', () => {
  test('--until stops early and leaves the expectations open; --trace - has standard output for itself', async () => {
    const args = ['run', SHOOTDOWN, '--until', '200000', '--trace', '-', '--engine', 'inline']
    const { code, stdout, stderr } = await shootdown(args)
    expect(code).toBe(0)
    expect(stdout.split('\n')[0]).toBe('# shootdown trace v1')
    const cycles = stdout.split('\n').filter((line) => line.startsWith(' ')).map((line) => Number.parseInt(line, 10))
    expect(Math.max(...cycles)).toBeLessThan(200_000)
    expect(stderr).toContain('7 expectations not checked: the run was stopped early')
  })

  test('--host-threads packs the CPUs on fewer threads, and changes nothing else', async () => {
    const packed = await shootdown(['run', SHOOTDOWN, '--host-threads', '2'])
    const { stdout } = await shootdown(['run', SHOOTDOWN])
    expect(packed.stdout).toContain('engine    threads, 4 CPUs in 2 worker_threads; seed 1')
    expect(packed.stdout.replace('4 CPUs in 2 worker_threads', 'each CPU in its own worker_thread')).toBe(stdout)
  })

  test('--cpus adds CPUs; 64 of them work with the threads engine', async () => {
    const folder = temporaryFolder({ 'many.yaml': [
      'cpus: 2',
      'processes:',
      '  - name: app',
      '    threads:',
      '      - {name: main, program: [{mmap: {name: buf, pages: 8}}, {write: buf}, {signal: go}, {munmap: buf}]}',
      ...Array.from({ length: 63 }, (_, i) => `      - {name: t${i}, program: [{spin: go}, {compute: 60000}]}`),
    ].join('\n') })
    const { code, stdout, stderr } = await shootdown(
      ['run', 'many.yaml', '--cpus', '64', '--json', '--trace', 'out.trace'], { cwd: folder })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const run = JSON.parse(stdout)
    expect(run).toMatchObject({ engine: 'threads', end: 'finished', machine: { cpus: 64 } })
    expect(run.cpus).toHaveLength(64)
    expect(run.shootdowns[0].ipiCpus).toHaveLength(63)
    expect(readFileSync(join(folder, 'out.trace'), 'utf8')).toContain('# cpus: 64\n')
  })

  test('--version and help are fine; an unknown command is not, and the nearest one is named', async () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }
    expect(await shootdown(['--version'])).toMatchObject({ code: 0, stdout: `${version}\n` })
    const help = await shootdown(['help', 'run'])
    expect(help.code).toBe(0)
    expect(help.stdout).toContain('--trace <file>')
    const unknown = await shootdown(['rum', SHOOTDOWN])
    expect(unknown.code).toBe(2)
    expect(unknown.stderr).toContain("unknown command 'rum'\n(Did you mean run?)")
  })
})

describe('a trace file', () => {
  test('has the same bytes when the host has one CPU', async (context) => {
    const folder = temporaryFolder()
    const [all, one] = [join(folder, 'all.txt'), join(folder, 'one.txt')]
    expect((await shootdown(['run', SHOOTDOWN, '--trace', all])).code).toBe(0)
    const pinned = await shootdown(['run', SHOOTDOWN, '--trace', one], { prefix: ['taskset', '-c', '0'] })
      .catch((error: NodeJS.ErrnoException) => error)
    if (pinned instanceof Error || pinned.code !== 0) return context.skip('taskset is missing here or may not pin')
    expect(readFileSync(one)).toEqual(readFileSync(all))
    expect(readdirSync(folder).sort()).toEqual(['all.txt', 'one.txt'])
  })

  test('that is written in slices is the text in one piece, in both formats', async () => {
    const scenario = await loadScenario(join(ROOT, SHOOTDOWN), {}, noTrace)
    const trace = longTrace()
    const folder = temporaryFolder()
    const { signal } = new AbortController()
    const { kernel: { era }, machine: { cpus, costs: { frequencyGhz } } } = scenario.config
    for (const [name, text] of [
      ['a.txt', formatTextTrace(trace, headerOf(scenario))],
      ['a.ftrace', formatFtrace(trace, { era, cpus, frequencyGhz })],
    ] as const) {
      await openTraceTarget(join(folder, name), undefined, 1).save({ data: trace, header: headerOf(scenario) }, signal)
      expect(readFileSync(join(folder, name), 'utf8') === text).toBe(true)
    }
  })
})

function longTrace(): TraceData {
  const recorder = new TraceRecorder()
  const comm = recorder.intern('app')
  for (let i = 0; i < 2500; i++) recorder.record(EVENT.tlbFlush, i, i % 4, 1, comm, 0, i % 9, 3)
  return recorder.finish()
}
